/* filter: a block of rows of one plane and strip; see filter.h for the way of a row. */
#include "filter.h"

#include "kernels/common/integers.h"

#if !FC_IS_NARROW

#include "kernels/filter/elements.h"
#include "kernels/filter/sweep.h"

enum { SLACK = LIST_VECS * VL }; /* sweeps run over the end of a row by less */

typedef struct filter_scratch {
    const real **table;    /* [depth tap][ring], of the rows being computed */
    const real **pointers; /* of the taps */
    real *first_weight, *second_weight;
    real *ring;            /* [depth tap][ring][pitch] */
    real *constant;        /* a row of it */
    real *middle;          /* FC_FILTER_ROWS rows of what the first stage gives */
    real *result;          /* one row of what the second gives */
    char *converted;       /* one row of out's type */
    int64_t *edges;        /* of find_edges */
    int64_t pitch;
} filter_scratch;

static size_t scratch_at(const fc_filter_call *call, char *base, filter_scratch *s) {
    int64_t depth = call->filter->first.kernel[0];
    int64_t most = larger(larger(call->first.count, call->second.count), call->window.count);
    int64_t pitch = round_up(call->strip + call->left[0] + call->right[0] + call->left[1] + call->right[1] + SLACK, VL);
    pitch += 3 * VL; /* no power of two: rows must not compete for the same sets of L1 */
    size_t sizes[10] = {(size_t)(depth * call->ring) * sizeof(real *), (size_t)most * sizeof(real *),
                       (size_t)call->first.count * sizeof(real),      (size_t)call->second.count * sizeof(real),
                       (size_t)(depth * call->ring * pitch) * sizeof(real), (size_t)pitch * sizeof(real),
                       (size_t)(FC_FILTER_ROWS * pitch) * sizeof(real), (size_t)pitch * sizeof(real),
                       (size_t)pitch * 8,
                       (size_t)(call->left[0] + call->right[0] + call->left[1] + call->right[1]) * sizeof(int64_t)};
    char *starts[10];
    size_t total = 0;
    for (int i = 0; i < 10; i++) {
        starts[i] = base + total;
        total += (sizes[i] + 63) / 64 * 64;
    }
    if (base != NULL)
        *s = (filter_scratch){(const real **)(void *)starts[0], (const real **)(void *)starts[1],
                              (real *)(void *)starts[2],        (real *)(void *)starts[3],
                              (real *)(void *)starts[4],        (real *)(void *)starts[5],
                              (real *)(void *)starts[6],        (real *)(void *)starts[7],
                              starts[8],                        (int64_t *)(void *)starts[9],
                              pitch};
    return total;
}

static size_t scratch_bytes(const fc_filter_call *call) { return scratch_at(call, NULL, NULL); }

/* What this task computes. */
typedef struct piece {
    int64_t image, depth, begin, end; /* rows [begin, end) */
    int64_t column, columns;
} piece;

/* Where the elements of a strip that lie outside a row come from: -1 for the constant. */
static void find_edges(const fc_filter_call *call, const piece *p, int64_t *edges) {
    const fc_filter *f = call->filter;
    int64_t first = p->column - call->left[0] - call->left[1];
    int64_t last = p->column + p->columns + call->right[0] + call->right[1];
    for (int64_t i = first; i < last; i++) {
        if (i >= 0 && i < call->columns) { /* go on behind the row */
            i = call->columns - 1;
            continue;
        }
        int64_t pixel = i >= 0 ? i / f->step : -((f->step - 1 - i) / f->step);
        int64_t source = fc_extended(pixel, f->size[2], f->extension[2]);
        *edges++ = source < 0 ? -1 : source * f->step + i - pixel * f->step;
    }
}

/* The next `count` elements outside the row; its elements [begin, end) are copied already. */
static const int64_t *extend_row(const fc_filter_call *call, const char *row, const int64_t *edges, int64_t count,
                                 int64_t begin, int64_t end, const real *copied, real *to) {
    const fc_filter *f = call->filter;
    int64_t size = (int64_t)fc_element_size(f->x_element);
    for (int64_t i = 0; i < count; i++) {
        int64_t source = edges[i];
        if (source < 0)
            to[i] = (real)f->constant;
        else if (source >= begin && source < end)
            to[i] = copied[source - begin];
        else
            read_row[f->x_element](row + source * size, to + i, 1);
    }
    return edges + count;
}

/* Elements [first, last) of a row of x, extended. */
static void copy_row(const fc_filter_call *call, const char *row, const int64_t *edges, int64_t first, int64_t last,
                     real *to) {
    const fc_filter *f = call->filter;
    int64_t begin = smaller(larger(first, 0), last), end = larger(smaller(last, call->columns), begin);
    real *copied = to + (begin - first);
    if (end > begin)
        read_row[f->x_element](row + begin * (int64_t)fc_element_size(f->x_element), copied, end - begin);
    edges = extend_row(call, row, edges, begin - first, begin, end, copied, to);
    extend_row(call, row, edges, last - end, begin, end, copied, to + (end - first));
}

/* The table for output row h and the ones below it; rows up to *copied are in the ring already. */
static void fill_table(const fc_filter_call *call, const piece *p, int64_t h, int64_t *copied, filter_scratch *s) {
    const fc_filter *f = call->filter;
    int64_t size = (int64_t)fc_element_size(f->x_element), top = h - f->first.before[1];
    int64_t first = p->column - call->left[0] - call->left[1];
    int64_t last = p->column + p->columns + call->right[0] + call->right[1];
    int64_t needed = smaller(h + FC_FILTER_ROWS, p->end) - h + f->first.kernel[1] - 1; /* rows any output reads */
    for (int64_t kd = 0; kd < f->first.kernel[0]; kd++) {
        int64_t d = fc_extended(p->depth + kd - f->first.before[0], f->size[0], f->extension[0]);
        for (int64_t i = 0; i < call->ring; i++) {
            int64_t q = top + smaller(i, needed - 1), y = fc_extended(q, f->size[1], f->extension[1]);
            const real **entry = &s->table[kd * call->ring + i];
            if (d < 0 || y < 0) {
                *entry = s->constant;
                continue;
            }
            int64_t slot = (q + f->first.before[1]) % call->ring; /* never negative: q begins at -before */
            real *copy = s->ring + (kd * call->ring + slot) * s->pitch;
            *entry = copy;
            if (q >= *copied)
                copy_row(call, call->x + (p->image * f->x_stride[0] + d * f->x_stride[1] + y * f->x_stride[2]) * size,
                         s->edges, first, last, copy);
        }
    }
    *copied = top + needed;
}

static void divide_row(real divisor, int64_t n, real *row) {
    vec by = v_set1(divisor);
    for (int64_t i = 0; i < n; i += VL)
        v_store(row + i, v_div(v_load(row + i), by));
}

static void point_taps(const fc_filter_taps *taps, const real *const *table, int64_t r, const real **pointers) {
    for (int64_t t = 0; t < taps->count; t++)
        pointers[t] = table[taps->row[t] + r] + taps->shift[t];
}

/* The first stage of FC_FILTER_ROWS rows, of which the first `rows` count. */
static void run_first(const fc_filter_call *call, int64_t rows, int64_t columns, real *const *to, filter_scratch *s) {
    const fc_filter_stage *stage = &call->filter->first;
    const fc_filter_taps *taps = &call->first;
    if (taps->grid) {
        grid g = {s->table, s->first_weight, stage->kernel[0], stage->kernel[1], stage->kernel[2],
                  call->ring, call->filter->step, {to[0], to[1], to[2], to[3]}};
        sweep_grid(&g, columns);
    }
    for (int64_t r = 0; r < rows; r++) {
        if (!taps->grid) {
            point_taps(taps, s->table, r, s->pointers);
            sweep_row(taps->order, s->pointers, s->first_weight, taps->count, columns, to[r]);
        }
        if (taps->doubt > 0)
            settle_row(taps, s->table + r, (real)taps->doubt, columns, to[r]);
        if (taps->divisor != 0)
            divide_row((real)taps->divisor, columns, to[r]);
    }
}

/* What lies between the stages: of the type of out, with its own border. */
static void prepare_middle(const fc_filter_call *call, const piece *p, real *row, filter_scratch *s) {
    const fc_filter *f = call->filter;
    int64_t n = p->columns + call->left[1] + call->right[1], first = p->column - call->left[1];
    if (f->out_element != (f->single ? FC_REAL32 : FC_REAL64) && call->window.count == 0) {
        write_row[f->out_element](row, s->converted, n);
        read_row[f->out_element](s->converted, row, n);
    }
    for (int64_t i = first; f->extension[2] == FC_EXTEND_CONSTANT && i < 0; i++)
        row[i - first] = (real)f->constant;
    for (int64_t i = call->columns; f->extension[2] == FC_EXTEND_CONSTANT && i < first + n; i++)
        row[i - first] = (real)f->constant;
}

/* The second stage of row r of the block. */
static void run_second(const fc_filter_call *call, const real *row, int64_t r, int64_t columns, real *to,
                       filter_scratch *s) {
    const fc_filter_taps *taps = &call->second, *window = &call->window;
    for (int64_t t = 0; t < taps->count; t++)
        s->pointers[t] = row + taps->shift[t];
    sweep_row(taps->order, s->pointers, s->second_weight, taps->count, columns, to);
    if (window->count)
        settle_row(window, s->table + r, (real)taps->doubt, columns, to);
    else if (taps->doubt > 0)
        settle_row(taps, &row, (real)taps->doubt, columns, to);
    if (taps->divisor != 0)
        divide_row((real)taps->divisor, columns, to);
}

static void run(const fc_filter_call *call, int64_t task, void *scratch) {
    const fc_filter *f = call->filter;
    int64_t strip = task % call->strips, rest = task / call->strips;
    int64_t block = rest % call->blocks, plane = rest / call->blocks;
    piece p = {.image = plane / f->size[0], .depth = plane % f->size[0], .begin = block * call->block,
               .column = strip * call->strip};
    p.end = smaller(p.begin + call->block, f->size[1]);
    p.columns = smaller(call->strip, call->columns - p.column);
    filter_scratch s;
    scratch_at(call, scratch, &s);
    for (int64_t t = 0; t < call->first.count; t++)
        s.first_weight[t] = (real)call->first.weight[t];
    for (int64_t t = 0; t < call->second.count; t++)
        s.second_weight[t] = (real)call->second.weight[t];
    for (int64_t i = 0; i < s.pitch; i++)
        s.constant[i] = (real)f->constant;
    find_edges(call, &p, s.edges);
    bool two = call->second.count > 0, plain = f->out_element == (f->single ? FC_REAL32 : FC_REAL64);
    plain = plain && p.columns % VL == 0; /* out is written as it is computed, whole vectors at a time */
    int64_t out_size = (int64_t)fc_element_size(f->out_element), copied = INT64_MIN;
    int64_t middle = p.columns + call->left[1] + call->right[1];
    for (int64_t h = p.begin; h < p.end; h += FC_FILTER_ROWS) {
        int64_t rows = smaller(FC_FILTER_ROWS, p.end - h);
        char *out[FC_FILTER_ROWS];
        real *to[FC_FILTER_ROWS];
        for (int64_t r = 0; r < FC_FILTER_ROWS; r++) {
            int64_t at = p.image * f->out_stride[0] + p.depth * f->out_stride[1] + (h + r) * f->out_stride[2];
            out[r] = r < rows ? call->out + (at + p.column) * out_size : NULL;
            to[r] = plain && !two && r < rows ? (real *)(void *)out[r] : s.middle + r * s.pitch;
        }
        fill_table(call, &p, h, &copied, &s);
        run_first(call, rows, middle, to, &s);
        for (int64_t r = 0; r < rows; r++) {
            real *result = two ? plain ? (real *)(void *)out[r] : s.result : to[r];
            if (two) {
                prepare_middle(call, &p, to[r], &s);
                run_second(call, to[r], r, p.columns, result, &s);
            }
            if (!plain)
                write_row[f->out_element](result, out[r], p.columns);
        }
    }
}

#else

static size_t scratch_bytes(const fc_filter_call *call) { (void)call; return 0; }
static void run(const fc_filter_call *call, int64_t task, void *scratch) { (void)call, (void)task, (void)scratch; }

#endif

const fc_filter_kernel FC_FN(fc_filter_kernel);
const fc_filter_kernel FC_FN(fc_filter_kernel) = {.name = FC_NAME("filter"), .scratch_bytes = scratch_bytes, .run = run};
