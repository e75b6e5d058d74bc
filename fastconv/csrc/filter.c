/* Image filters but for the arithmetic: checks, lists of taps, tasks. */
#include "filter.h"

#include <math.h>

#include "error.h"
#include "isa_rows.h"
#include "problem.h"
#include "threads.h"
#include "workspace.h"

FC_DEFINE_CHOICE(fc_filter_kernel)

static int64_t taps_of(const fc_filter_stage *stage) {
    return stage->weights ? stage->kernel[0] * stage->kernel[1] * stage->kernel[2] : 0;
}

static fc_status check_stage(const fc_filter_stage *stage, const char *name) {
    const int64_t limit = (int64_t)1 << 20;
    int axes = 0;
    for (int axis = 0; stage->weights != NULL && axis < FC_MAX_SPATIAL; axis++) {
        if (stage->kernel[axis] < 1 || stage->kernel[axis] > limit)
            return fc_fail(FC_INVALID_ARGUMENT, "weights: %s stage has %lld taps along an axis, wanted 1 to 2**20",
                           name, (long long)stage->kernel[axis]);
        if (stage->before[axis] < 0 || stage->before[axis] >= stage->kernel[axis])
            return fc_fail(FC_INVALID_ARGUMENT, "origin: %lld of %lld taps lie before the output",
                           (long long)stage->before[axis], (long long)stage->kernel[axis]);
        axes += stage->kernel[axis] > 1;
    }
    if (stage->weights != NULL && taps_of(stage) > 64 * limit)
        return fc_fail(FC_OVERFLOW, "weights: more than 2**26 taps");
    if (axes > 1 && stage->order != FC_ORDER_RASTER)
        return fc_fail(FC_INVALID_ARGUMENT, "weights: taps of one axis in order %d have several", (int)stage->order);
    if (stage->order >= FC_ORDER_EVEN && taps_of(stage) % 2 == 0)
        return fc_fail(FC_INVALID_ARGUMENT, "weights: an even number of taps has no middle");
    return FC_OK;
}

static fc_status check(const fc_filter *f) {
    const double limit = 0x1p50;
    if ((unsigned)f->x_element >= FC_ELEMENT_COUNT || (unsigned)f->out_element >= FC_ELEMENT_COUNT || f->step < 1 ||
        f->batch < 0 || f->first.weights == NULL)
        return fc_fail(FC_INVALID_ARGUMENT, "filter: an element type, the step, the batch or the stages");
    double elements = (double)f->batch * (double)f->step;
    for (int axis = 0; axis < FC_MAX_SPATIAL; axis++) {
        if (f->size[axis] < 0 || (unsigned)f->extension[axis] > FC_EXTEND_CONSTANT)
            return fc_fail(FC_INVALID_ARGUMENT, "filter: a size or an extension is out of range");
        elements *= (double)f->size[axis];
    }
    if (elements > limit)
        return fc_fail(FC_OVERFLOW, "x: more than 2**50 elements");
    fc_status status = check_stage(&f->first, "first");
    if (status == FC_OK)
        status = check_stage(&f->second, "second");
    if (status == FC_OK && f->second.weights && f->second.kernel[0] * f->second.kernel[1] != 1)
        return fc_fail(FC_INVALID_ARGUMENT, "weights: the second stage runs along the width only");
    if (status == FC_OK)
        status = check_stage(&f->window, "window");
    if (status == FC_OK && !f->single && (f->first.rounding > 0 || f->second.rounding > 0))
        return fc_fail(FC_INVALID_ARGUMENT, "filter: sums in double leave no doubt");
    if (status == FC_OK && f->window.weights &&
        (f->second.weights == NULL || f->first.kernel[0] * f->first.kernel[2] != 1 || f->window.kernel[0] != 1 ||
         f->window.kernel[1] != f->first.kernel[1] || f->window.kernel[2] != f->second.kernel[2]))
        return fc_fail(FC_INVALID_ARGUMENT, "weights: the stages are not the factors of the window");
    return status;
}

/* Whether 16-bit whole numbers hold every sum of a filter of 8-bit cells, and are faster than float32: they give the
 * same. Dense kernels of many taps are left to float32, where rows share loads. */
static bool fits_wholes(const fc_filter *f) {
    static const double most_of[] = {128, 255, 32768, 65535, 0x1p31, 0x1p32};
    const double limit = 0x1p15;
    const int most_taps = 9;
    if (!f->single || f->x_element > FC_U8 || f->out_element > FC_U32 || f->window.weights ||
        f->constant != rint(f->constant))
        return false;
    double most = most_of[f->x_element];
    for (int i = 0; i < 2; i++) {
        const fc_filter_stage *stage = i ? &f->second : &f->first;
        double total = 0;
        int taps = 0;
        for (int64_t t = 0; t < taps_of(stage); t++) {
            if (stage->weights[t] != rint(stage->weights[t]))
                return false;
            total += fabs(stage->weights[t]);
            taps += stage->weights[t] != 0;
        }
        most = fmax(most, fabs(f->constant)) * total;
        if (!(total < limit && most < limit) || stage->rounding != 0 ||
            (stage->order == FC_ORDER_RASTER && taps > most_taps))
            return false;
        if (stage->divisor != 0 && (stage->divisor != total || total > FC_FILTER_LONGEST_MEAN || f->x_element != FC_U8 ||
                                    f->out_element != FC_U8 || f->constant < 0 || f->constant > 255))
            return false;
        bool wraps = f->out_element == FC_U8 || f->out_element == FC_U16 || f->out_element == FC_U32;
        most = wraps ? most_of[f->out_element] : fmin(most, most_of[f->out_element]);
    }
    return true;
}

/* Whether bytes become bytes in a pass along the height and one along the width. */
static bool blurs_bytes(const fc_filter *f) {
    return f->single && f->x_element == FC_U8 && f->out_element == FC_U8 && f->second.weights != NULL &&
           f->first.kernel[0] * f->first.kernel[2] == 1 && f->constant >= 0 && f->constant <= 255 &&
           f->constant == rint(f->constant);
}

/* Whether kernels/filter/bytes.h can do it: no sum below zero, and in units of 2^-16 none beyond 32 bits. */
static bool fits_bytes(const fc_filter *f) {
    const double most = 0x1p14;
    const fc_filter_stage *stages[] = {&f->first, &f->second};
    double largest = 255;
    if (!blurs_bytes(f) || f->step != 1)
        return false;
    for (int i = 0; i < 2; i++) {
        double total = 0;
        for (int64_t t = 0; t < taps_of(stages[i]); t++) {
            if (!(stages[i]->weights[t] >= 0))
                return false;
            total += stages[i]->weights[t];
        }
        largest *= f->window.weights || i == 0 ? total : 1;
        largest = f->window.weights == NULL && i == 1 ? 255 * total : largest;
        bool sure = stages[i]->rounding == 0 && !(i == 0 && f->window.weights);
        if (taps_of(stages[i]) < FC_FILTER_ROWS || stages[i]->divisor != 0 || sure || !(largest < most))
            return false;
    }
    return f->window.weights || f->first.order != FC_ORDER_ODD;
}

/* The number that all taps of a stage are small whole multiples of, and those; 0 if there is none. */
static double multiples_of(const fc_filter_stage *stage, fc_filter_wholes *to) {
    const double close = 0x1p-44;
    const int most_parts = 8; /* of which the smallest tap may be made */
    double least = INFINITY;
    to->count = taps_of(stage);
    if (to->count < 3 || to->count > FC_FILTER_MOST_WHOLES)
        return 0;
    for (int64_t t = 0; t < to->count; t++)
        least = fmin(least, stage->weights[t]);
    for (int parts = 1; least > 0 && parts <= most_parts; parts++) {
        int64_t t = 0;
        to->ones = true;
        for (; t < to->count; t++) {
            double exact = stage->weights[t] / (least / parts), whole = rint(exact);
            if (!(whole <= UINT8_MAX && fabs(exact - whole) <= close * whole))
                break;
            to->weight[t] = (uint16_t)whole;
            to->ones = to->ones && whole == 1;
        }
        if (t < to->count)
            continue;
        to->even = true;
        for (t = 0; t < to->count; t++)
            to->even = to->even && to->weight[t] == to->weight[to->count - 1 - t];
        return least / parts;
    }
    return 0;
}

/* Lets a pass divide sums of bytes, which are `most` at most. With 2^k < divisor <= 2^(k + 1) and the multiplier m =
 * ceil(2^(16 + k) / divisor), sum * m / 2^(16 + k) exceeds the quotient by sum * (m - 2^(16 + k) / divisor) / 2^(16 + k):
 * too little to reach the next whole number if that is below 1 / divisor. A shift by a variable is a product as well. */
static bool divides(fc_filter_wholes *w, double divisor, double most) {
    int k = 1;
    if (!(divisor >= 3 && divisor <= UINT16_MAX && most <= UINT16_MAX))
        return false;
    while (ldexp(2, k) < divisor)
        k++;
    double power = ldexp(1, 16 + k), times = ceil(power / divisor);
    w->divisor = (uint16_t)divisor, w->times = (uint16_t)times, w->shift = (uint16_t)(65536 >> k);
    return most * (times * divisor - power) < power;
}

/* Whether kernels/filter/byte_quotients.h can do it: two short means, or the factors of a window, with whole weights. Of
 * long means box.h adds fewer cells. */
static bool fits_quotients(const fc_filter *f, fc_filter_call *call) {
    const double most = 255, close = 0x1p-44;
    const int64_t longest_mean = 5;
    fc_filter_wholes *a = &call->first_whole, *b = &call->second_whole;
    if (!blurs_bytes(f))
        return false;
    double part = multiples_of(&f->first, a) * multiples_of(&f->second, b);
    if (!(part > 0))
        return false;
    if (f->window.weights == NULL) {
        double rows = f->first.divisor, columns = f->second.divisor;
        a->sure = b->sure = true; /* sums are exact, and a quotient's rounding reaches no whole number that it is not */
        return a->ones && b->ones && part == 1 && rows == (double)a->count && columns == (double)b->count &&
               a->count <= longest_mean && b->count <= longest_mean && divides(a, rows, most * rows) &&
               divides(b, columns, most * columns);
    }
    double rows = 0, columns = 0, divisor = rint(1 / part);
    for (int64_t t = 0; t < a->count; t++)
        rows += a->weight[t];
    for (int64_t t = 0; t < b->count; t++)
        columns += b->weight[t];
    int exponent;
    b->sure = frexp(divisor, &exponent) == 0.5;
    for (int64_t t = 0; b->sure && t < a->count * b->count; t++)
        b->sure = f->window.weights[t] * divisor == (double)(a->weight[t / b->count] * b->weight[t % b->count]);
    a->divisor = 0;
    return f->first.divisor == 0 && f->second.divisor == 0 && fabs(1 / part - divisor) <= close * divisor &&
           rows * columns <= divisor && /* quotients are bytes */
           divides(b, divisor, most * rows * columns);
}

static fc_filter_way way_of(const fc_filter *f, fc_filter_call *call) {
    return fits_quotients(f, call) ? FC_WAY_QUOTIENTS
           : fits_wholes(f)        ? FC_WAY_WHOLES
           : fits_bytes(f)         ? FC_WAY_BYTES
                                   : FC_WAY_REALS;
}

/* How often at most one product of a float32 sum of whole numbers is rounded: its weight once, then for each tap, or for
 * each pair of equal ones, which are added first and exactly; two more for safety. */
static double roundings_of(const fc_filter_call *call, const fc_filter_stage *stage) {
    int64_t taps = taps_of(stage);
    if (call->way == FC_WAY_BYTES && taps > FC_FILTER_MANY)
        taps = FC_FILTER_PIECE + 3 + (taps - 3 + FC_FILTER_PIECE - 1) / FC_FILTER_PIECE;
    else if (call->way != FC_WAY_BYTES && stage->order >= FC_ORDER_EVEN)
        taps = taps / 2 + 1;
    return 3 + (double)taps;
}

/* By how much a sum may differ from the double one. A window's pairs are no whole numbers after the first stage, so that
 * they are rounded as well, and its factors' products are not its weights to the last bit. */
static void set_doubts(fc_filter_call *call) {
    const fc_filter *f = call->filter;
    double first = roundings_of(call, &f->first), second = call->second.count ? roundings_of(call, &f->second) : 0;
    if (f->window.weights)
        second += first + 2;
    call->first.doubt = first * f->first.rounding;
    call->second.doubt = second * f->second.rounding;
}

/* Position i of the taps of one axis in their order of addition. */
static int64_t in_order(fc_order order, int64_t count, int64_t i) {
    if (order == FC_ORDER_LINE)
        return i == 0 ? count - 1 : i - 1;
    if (order >= FC_ORDER_EVEN)
        return i == 0 ? count / 2 : i % 2 ? i / 2 : count - i / 2;
    return i;
}

/* Sums of `piece` neighbours, then of such sums and the neighbours left over: which length takes the fewest loads. The
 * sums between cost about one more to store; 0 where adding one by one does not take more. */
static int64_t piece_of_box(int64_t taps) {
    int64_t best = 0, least = taps;
    for (int64_t piece = 2; piece < taps; piece++) {
        int64_t loads = piece + taps / piece + taps % piece + 1;
        if (loads < least) {
            least = loads;
            best = piece;
        }
    }
    return best;
}

static bool is_box(const fc_filter_stage *stage) {
    int64_t total = taps_of(stage);
    bool ones = total == stage->kernel[1] || total == stage->kernel[2];
    for (int64_t i = 0; ones && i < total; i++)
        ones = stage->weights[i] == 1;
    return ones && total > 1;
}

static void list_taps(const fc_filter_stage *stage, int64_t ring, int64_t step, bool finite, double *weight,
                      int64_t *place, fc_filter_taps *taps) {
    int64_t total = taps_of(stage), height = stage->kernel[1], width = stage->kernel[2], kept = 0;
    bool raster = stage->order == FC_ORDER_RASTER, all = true;
    for (int64_t i = 0; raster && i < total; i++)
        all = all && fabs(stage->weights[i]) > 0x1p-52;
    for (int64_t i = 0; i < total; i++) {
        int64_t at = in_order(stage->order, total, i);
        double w = stage->weights[at];
        bool negligible = raster && fabs(w) <= 0x1p-52;
        if (negligible && !finite)
            continue;
        weight[kept] = negligible ? 0 : w;
        place[kept] = at / width / height * ring + at / width % height;
        place[total + kept++] = at % width * step;
    }
    bool box = stage->divisor != 0 && stage->rounding == 0 && is_box(stage);
    *taps = (fc_filter_taps){.order = stage->order,
                             .grid = raster && (all || finite),
                             .box = box,
                             .piece = box && width > 1 ? piece_of_box(total) : 0,
                             .count = kept,
                             .run = raster && all && step == 1 ? width : 1,
                             .weight = weight,
                             .row = place,
                             .shift = place + total,
                             .divisor = stage->divisor};
}

static int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }
static int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

/* Whether the first stage reads rows of x where they lie: short, along the height, rows of whole vectors that L2 holds. */
static bool reads_in_place(const fc_filter_call *call) {
    const int64_t most_taps = 8, most_bytes = 64 << 10; /* with many taps, aligned loads of copies are faster */
    const fc_filter *f = call->filter;
    fc_element real = f->single ? FC_REAL32 : FC_REAL64;
    return f->x_element == real && f->out_element == real && call->columns % FC_FILTER_MOST_LANES == 0 &&
           call->columns * (int64_t)fc_element_size(real) <= most_bytes && call->window.count == 0 &&
           f->first.kernel[0] == 1 && f->first.kernel[2] == 1 && f->first.kernel[1] <= most_taps;
}

/* Strips narrow enough for their rows to stay in L2, blocks tall enough for the rows read twice not to matter. */
static int64_t cut_tasks(fc_filter_call *call, int threads) {
    const int64_t cache = call->way == FC_WAY_BYTES ? 512 << 10 : 192 << 10, quantum = 2 * FC_FILTER_MOST_LANES;
    const fc_filter *f = call->filter;
    bool blur = call->way == FC_WAY_BYTES || call->way == FC_WAY_QUOTIENTS;
    int64_t least_strip = blur ? 512 : 8 * quantum;
    int64_t real_size = call->way == FC_WAY_WHOLES || call->way == FC_WAY_QUOTIENTS ? 2 : f->single ? 4 : 8;
    int64_t copies = call->ring * f->first.kernel[0];
    int64_t strip = cache / (copies + 2 * FC_FILTER_ROWS) / real_size / quantum * quantum;
    strip = call->direct ? call->columns : larger(smaller(strip, 4096), least_strip);
    call->strips = (call->columns + strip - 1) / strip;
    strip = (call->columns + call->strips - 1) / call->strips;
    call->strip = (strip + quantum - 1) / quantum * quantum;
    call->strips = (call->columns + call->strip - 1) / call->strip;
    call->inside = call->strips == 1 && f->first.kernel[2] == 1 && call->window.count == 0 && !blur;
    int64_t planes = f->batch * f->size[0] * call->strips, height = f->size[1];
    int64_t wanted = threads > 1 ? 4 * (int64_t)threads : 1;
    int64_t blocks = planes >= wanted ? 1 : (wanted + planes - 1) / planes;
    int64_t block = (height + blocks - 1) / blocks, least = smaller(4 * f->first.kernel[1] + 16, height);
    call->block = (larger(block, least) + FC_FILTER_ROWS - 1) / FC_FILTER_ROWS * FC_FILTER_ROWS;
    call->blocks = (height + call->block - 1) / call->block;
    return planes * call->blocks;
}

typedef struct filter_run {
    const fc_filter_kernel *kernel;
    fc_filter_call call;
} filter_run;

static void run_task(void *context, int64_t task, int64_t before, void *scratch) {
    (void)before;
    const filter_run *run = context;
    run->kernel->run(&run->call, task, scratch);
}

fc_status fc_filter_run(const fc_filter *f, const void *x, void *out, int threads) {
    fc_status status = check(f);
    if (status != FC_OK)
        return status;
    filter_run run = {.kernel = choose_kernel(f->single ? FC_F32 : FC_F64),
                      .call = {.filter = f, .x = x, .out = out, .columns = f->size[2] * f->step}};
    if (run.kernel == NULL)
        return fc_fail(FC_UNSUPPORTED, "filter: this build has no kernel for this CPU");
    fc_filter_call *call = &run.call;
    double elements = (double)f->batch * (double)f->size[0] * (double)f->size[1] * (double)call->columns;
    if (elements == 0)
        return FC_OK;
    int64_t counts[3] = {taps_of(&f->first), taps_of(&f->second), taps_of(&f->window)};
    int64_t all = counts[0] + counts[1] + counts[2];
    double *weights = fc_allocate((size_t)all * (sizeof(double) + 2 * sizeof(int64_t)));
    if (weights == NULL)
        return fc_fail(FC_OUT_OF_MEMORY, "weights: no memory for %lld taps", (long long)all);
    int64_t *places = (int64_t *)(weights + all);
    call->way = run.kernel->has_wholes ? way_of(f, call) : FC_WAY_REALS;
    bool finite = f->x_element < FC_REAL32 && isfinite(f->constant) && call->way != FC_WAY_WHOLES;
    call->ring = f->first.kernel[1] + FC_FILTER_ROWS - 1;
    list_taps(&f->first, call->ring, f->step, finite, weights, places, &call->first);
    call->first.grid = call->first.grid && call->way != FC_WAY_WHOLES; /* whole numbers have lists alone */
    if (counts[1])
        list_taps(&f->second, 1, f->step, finite, weights + counts[0], places + 2 * counts[0], &call->second);
    if (counts[2])
        list_taps(&f->window, call->ring, f->step, finite, weights + counts[0] + counts[1],
                  places + 2 * (counts[0] + counts[1]), &call->window);
    set_doubts(call);
    for (int i = 0; i < 2; i++) {
        const fc_filter_stage *stage = i ? &f->second : &f->first;
        call->left[i] = counts[i] ? stage->before[2] * f->step : 0;
        call->right[i] = counts[i] ? (stage->kernel[2] - 1 - stage->before[2]) * f->step : 0;
    }
    /* Converting and moving an element takes as long as about 16 flops. */
    threads = fc_threads_for(elements * (16 + 2 * (double)(counts[0] + counts[1])), threads);
    call->direct = reads_in_place(call);
    int64_t tasks = cut_tasks(call, threads);
    status = fc_parallel_for(tasks, threads, run.kernel->scratch_bytes(call), run_task, &run);
    fc_release(weights);
    return status;
}
