/* The channel sweep of depthwise for long rows of taps: VL channels along the lanes, in either layout.
 *
 * The window of a strip of output columns is copied, one block of VL channels at a time, as
 * [depth tap][row][column][lane] with its padding, so that every tap of every pixel is one aligned vector. x of
 * planes is turned around on the way in and out: log2(VL) shuffles a vector, which a dozen taps pay for. Then, for
 * each output row and each row of taps that does not lie in padding, STRIP_PIXELS sums at a time take up to
 * STRIP_TAPS taps, whose weights stay in registers, from STRIP_PIXELS - 1 + STRIP_TAPS vectors. Sums wait in L1
 * between rows of taps. Products are added in the order depth, height, width.
 *
 * Weights: those of channel_lanes.h.
 * Bound: FMA throughput; 0.28 loads an FMA (AVX-512) or 0.4 (AVX2). Reached: 0.57 (31 taps, either layout), 0.82 (127
 * taps), 0.87 (31x31, channels-last); copying in and storing take as long as a dozen taps.
 */
#ifndef FC_CHANNEL_STRIP_H
#define FC_CHANNEL_STRIP_H

#include "kernels/common/channel_lanes.h"
#include "kernels/common/integers.h"
#include "kernels/common/transpose.h"

enum { STRIP_PIXELS = TILE_VECS >= 3 ? 16 : 8, STRIP_TAPS = TILE_VECS >= 3 ? 7 : 5, STRIP_MOST_COLUMNS = 160 };
enum { STRIP_AHEAD_BYTES = 1 << 20 }; /* x and out that are no more stay near enough */
enum { STRIP_LEAST_TAPS = 9, STRIP_LEAST_TAPS_OF_PLANES = 12 }; /* along width */

/* Whether a part runs so. Planes with several rows of taps could share their rows instead (row_sweep.h), but at shifts
 * that mostly lie across two lines of the cache: that is the better way only while many lanes here would be empty. */
static bool strip_runs(const fc_part *part) {
    const fc_axis *height = &part->axis[1], *width = &part->axis[2];
    int64_t channels = part->problem.in_ch;
    bool planes = !part->problem.x_channels_last, rows = planes && height->kernel > 1;
    bool fills = 2 * channels >= VL && (!rows || 4 * channels >= 3 * round_up(channels, VL));
    return part->group_out_ch == 1 && fills && width->stride * width->dilation == 1 &&
           width->kernel >= (planes ? STRIP_LEAST_TAPS_OF_PLANES : STRIP_LEAST_TAPS);
}

/* Columns of the window behind `columns` output columns. */
static int64_t strip_window_columns(const fc_part *part, int64_t columns) {
    return round_up(columns, STRIP_PIXELS) + part->axis[2].kernel - 1;
}

static int64_t strip_rows_read(const fc_part *part, int64_t rows) {
    const fc_axis *height = &part->axis[1];
    return (rows - 1) * height->stride + (height->kernel - 1) * height->dilation + 1;
}

/* Output columns and rows of a window. */
static void strip_prepare(const fc_part *part, const fc_machine *machine, int64_t *columns, int64_t *rows) {
    const fc_axis *height = &part->axis[1], *width = &part->axis[2];
    int64_t strips = divide_up(larger(width->out, 1), STRIP_MOST_COLUMNS);
    *columns = round_up(divide_up(larger(width->out, 1), strips), STRIP_PIXELS);
    int64_t row = strip_window_columns(part, *columns) * VL * (int64_t)sizeof(real) * part->axis[0].kernel;
    *rows = smaller(larger(height->out, 1), 16);
    while (*rows > 1 && strip_rows_read(part, *rows) * row > (int64_t)machine->l2_bytes / 2)
        *rows = divide_up(*rows, 2);
}

/* Cycles, x and out in cache, in the units of channel_lanes_run.h. */
static double strip_cycles(const fc_part *part, const fc_machine *machine) {
    int64_t strip, rows;
    strip_prepare(part, machine, &strip, &rows);
    const fc_axis *height = &part->axis[1];
    double blocks = (double)divide_up(part->problem.in_ch, VL);
    double pixels = (double)round_up(part->axis[2].out, STRIP_PIXELS);
    double out_rows = (double)(part->axis[0].out * height->out);
    double tap_rows = (double)(part->axis[0].kernel * height->kernel);
    double store = part->problem.out_channels_last ? 3.6 : 6, copy = part->problem.x_channels_last ? 1.8 : 3.6;
    double read = (double)strip_rows_read(part, rows) / (double)rows * (double)part->axis[0].kernel;
    double columns = (double)strip_window_columns(part, part->axis[2].out);
    double inside = fc_cost_inside(&part->axis[0]) * fc_cost_inside(height); /* rows of padding are not multiplied */
    double sums = inside * ((double)part->taps * (VL == 16 ? 0.55 : 0.48) + tap_rows * 1.8);
    return blocks * out_rows * (pixels * (sums + store) + columns * read * copy);
}

typedef struct strip_scratch {
    const real **rows;  /* [depth tap][row] of the window; NULL in padding */
    real *sums, *window;
} strip_scratch;

static size_t strip_scratch_at(const fc_part *part, char *base, int64_t columns, int64_t rows,
                               strip_scratch *scratch) {
    int64_t count = part->axis[0].kernel * strip_rows_read(part, rows);
    size_t table = ((size_t)count * sizeof(real *) + 63) / 64 * 64, sums = (size_t)(columns * VL) * sizeof(real);
    sums = (sums + 63) / 64 * 64;
    if (base != NULL) {
        scratch->rows = (const real **)(void *)base;
        scratch->sums = (real *)(void *)(base + table);
        scratch->window = (real *)(void *)(base + table + sums);
    }
    return table + sums + (size_t)(count * strip_window_columns(part, columns) * VL) * sizeof(real);
}

typedef struct strip_at {
    int64_t n, d, h, rows, w, columns; /* output rows and columns of the window */
    lane_block block;
} strip_at;

/* Columns [first, first + count) of one padded row, from x's row at the block's first channel. */
static void strip_copy_row(const fc_axis *width, const fc_tensor *x, const stor *row, int64_t channels, int64_t first,
                           int64_t count, real *to) {
    int64_t begin = smaller(larger(width->pad_before - first, 0), count);
    int64_t end = smaller(larger(width->pad_before + width->in - first, begin), count);
    const stor *from = row + (first + begin - width->pad_before) * x->stride[4];
    if (x->stride[1] == 1) {
        for (int64_t i = begin; i < end; i++, from += x->stride[4])
            v_store(to + i * VL, channels == VL ? v_loads(from) : v_loadsn(from, channels));
    } else {
        if (channels < VL)
            memset(to + begin * VL, 0, (size_t)((end - begin) * VL) * sizeof(real));
        if (x->stride[4] == 1)
            fc_transpose_x(from, x->stride[1], channels, end - begin, to + begin * VL, VL);
        else
            for (int64_t i = begin; i < end; i++, from += x->stride[4])
                v_store(to + i * VL, v_loads_strided(from, x->stride[1], channels));
    }
    for (int64_t i = begin == 0 ? end : 0; i < count; i = i + 1 == begin ? end : i + 1) {
        bool needed = first + i < width->out + width->kernel - 1;
        int64_t source = needed ? fc_axis_source(width, first + i) : -1;
        v_store(to + i * VL, source < 0 ? v_zero()
                                        : v_loads_strided(row + source * x->stride[4], x->stride[1], channels));
    }
}

static void strip_copy(const fc_call *call, const strip_scratch *scratch, const strip_at *at) {
    const fc_part *part = call->part;
    const fc_tensor *x = &call->tensors.x;
    const fc_axis *depth = &part->axis[0], *height = &part->axis[1];
    const stor *image = (const stor *)x->data + at->n * x->stride[0] + at->block.first_in * x->stride[1];
    int64_t count = strip_rows_read(part, at->rows), columns = strip_window_columns(part, at->columns);
    real *to = scratch->window;
    const real **row = scratch->rows;
    for (int64_t kd = 0; kd < depth->kernel; kd++) {
        int64_t d = fc_axis_source(depth, at->d * depth->stride + kd * depth->dilation);
        for (int64_t i = 0; i < count; i++, row++, to += columns * VL) {
            int64_t h = fc_axis_source(height, at->h * height->stride + i);
            *row = d < 0 || h < 0 ? NULL : to;
            if (*row != NULL)
                strip_copy_row(&part->axis[2], x, image + d * x->stride[2] + h * x->stride[3], at->block.count, at->w,
                               columns, to);
        }
    }
}

FC_INLINE void strip_taps(const int taps, const real *x, const real *weights, vec *acc) {
    __asm__("" : "+r"(x)); /* or the compiler keeps vectors for the next taps, and spills sums for them */
    vec weight[STRIP_TAPS];
    FC_UNROLL_ALL for (int t = 0; t < taps; t++)
        weight[t] = v_load(weights + t * VL);
    FC_UNROLL_ALL for (int i = 0; i < STRIP_PIXELS - 1 + taps; i++) {
        vec value = v_load(x + i * VL);
        FC_UNROLL_ALL for (int p = 0; p < STRIP_PIXELS; p++)
            if (i - p >= 0 && i - p < taps)
                acc[p] = v_fma(weight[i - p], value, acc[p]);
    }
}

/* Lines to ask for while a window is computed, so that the next need not wait for them: pixels of many channels, and
 * planes of many pixels, are strides that the hardware does not follow. */
typedef struct strip_ahead {
    const stor *x, *out; /* of the next window; x NULL: nothing */
    int64_t x_step, x_block_step, out_step, out_block_step; /* per pixel, and per STRIP_PIXELS of them */
} strip_ahead;

FC_INLINE void strip_prefetch(const strip_ahead *ahead, int64_t block) {
    FC_UNROLL_ALL for (int p = 0; p < STRIP_PIXELS; p++) {
        __builtin_prefetch(ahead->x + block * ahead->x_block_step + p * ahead->x_step);
        __builtin_prefetch(ahead->out + block * ahead->out_block_step + p * ahead->out_step, 1);
    }
}

/* One row of taps, `rest` + a multiple of STRIP_TAPS, for `blocks` times STRIP_PIXELS pixels. */
FC_INLINE void strip_row_body(const int rest, bool add, int64_t blocks, int64_t taps, const real *x,
                              const real *weights, real *sums, const strip_ahead *ahead) {
    for (int64_t b = 0; b < blocks; b++, x += STRIP_PIXELS * VL, sums += STRIP_PIXELS * VL) {
        if (ahead->x != NULL)
            strip_prefetch(ahead, b);
        vec acc[STRIP_PIXELS];
        FC_UNROLL_ALL for (int p = 0; p < STRIP_PIXELS; p++)
            acc[p] = add ? v_load(sums + p * VL) : v_zero();
        int64_t k = 0;
        for (; k + STRIP_TAPS <= taps; k += STRIP_TAPS)
            strip_taps(STRIP_TAPS, x + k * VL, weights + k * VL, acc);
        if (rest)
            strip_taps(rest, x + k * VL, weights + k * VL, acc);
        FC_UNROLL_ALL for (int p = 0; p < STRIP_PIXELS; p++)
            v_store(sums + p * VL, acc[p]);
    }
}

static __attribute__((noinline)) void strip_row(bool add, int64_t blocks, int64_t taps, const real *x,
                                                const real *weights, real *sums, const strip_ahead *ahead) {
    switch (taps % STRIP_TAPS) {
#define STRIP_REST(rest)                                                  \
    case rest:                                                            \
        strip_row_body(rest, add, blocks, taps, x, weights, sums, ahead); \
        return;
        STRIP_REST(0) STRIP_REST(1) STRIP_REST(2) STRIP_REST(3) STRIP_REST(4)
#if TILE_VECS >= 3
        STRIP_REST(5) STRIP_REST(6)
#endif
#undef STRIP_REST
    }
}

/* The sums of an output row as rows of pixels. */
static void strip_store_planes(const fc_call *call, const strip_at *at, fc_pixel pixel, const real *sums) {
    const fc_tensor *out = &call->tensors.out, *residual = &call->tensors.residual;
    const real *bias = call->tensors.bias ? (const real *)call->tensors.bias + at->block.first_out : NULL;
    fc_bounds bounds = fc_bounds_of(&call->part->problem);
    bool finish = bounds.only && out->stride[4] == 1 && residual->data == NULL;
    vec low = v_set1(bounds.low), high = v_set1(bounds.high);
    for (int64_t w = 0; w < at->columns; w += VL, sums += VL * VL) {
        int64_t pixels = smaller(at->columns - w, VL);
        real turned[VL * VL];
        pixel.w = at->w + w;
        fc_transpose_sums(sums, VL, VL, VL, turned, VL);
        for (int64_t c = 0; c < at->block.count; c++) {
            stor *to = (stor *)out->data + fc_tensor_offset(out, at->n, at->block.first_out + c, pixel);
            if (finish) {
                vec y = v_add(v_load(turned + c * VL), v_set1(bias ? bias[c] : -(real)0.0));
                y = v_min(high, v_max(low, y));
                if (pixels == VL)
                    v_stores(to, y);
                else
                    v_storesn(to, y, pixels);
            } else {
                fc_finish(&call->part->problem, turned + c * VL, pixels, bias ? bias + c : NULL, 0,
                          residual->data ? (const stor *)residual->data +
                                               fc_tensor_offset(residual, at->n, at->block.first_out + c, pixel)
                                         : NULL,
                          residual->stride[4], to, out->stride[4]);
            }
        }
    }
}

static void strip_store(const fc_call *call, const strip_at *at, fc_pixel pixel, const real *sums) {
    const fc_tensor *out = &call->tensors.out;
    fc_bounds bounds = fc_bounds_of(&call->part->problem);
    int64_t count = at->block.count;
    pixel.w = at->w;
    if (out->stride[1] != 1) {
        strip_store_planes(call, at, pixel, sums);
    } else if (!bounds.only || call->tensors.residual.data != NULL) {
        for (int64_t p = 0; p < at->columns; p++, pixel.w++)
            fc_store_channel_lanes(call, at->n, at->block.first_out, count, pixel, sums + p * VL);
    } else {
        const real *bias = call->tensors.bias ? (const real *)call->tensors.bias + at->block.first_out : NULL;
        vec start = bias ? (count == VL ? v_load(bias) : v_loadn(bias, count)) : v_set1(-(real)0.0);
        vec low = v_set1(bounds.low), high = v_set1(bounds.high);
        stor *to = (stor *)out->data + fc_tensor_offset(out, at->n, at->block.first_out, pixel);
        for (int64_t p = 0; p < at->columns; p++, to += out->stride[4]) {
            vec y = v_min(high, v_max(low, v_add(v_load(sums + p * VL), start)));
            if (count == VL)
                v_stores(to, y);
            else
                v_storesn(to, y, count);
        }
    }
}

/* The window after `at` when a window is one row of taps; larger ones do not wait long enough to matter. */
static strip_ahead strip_next(const fc_call *call, const strip_at *at) {
    const fc_part *part = call->part;
    const fc_tensor *x = &call->tensors.x, *out = &call->tensors.out;
    const fc_axis *width = &part->axis[2];
    int64_t bytes = (part->in_pixels + part->out_pixels) * part->problem.in_ch * (int64_t)sizeof(stor);
    if (part->taps > width->kernel || at->rows > 1 || bytes <= STRIP_AHEAD_BYTES)
        return (strip_ahead){0};
    bool along = at->w + at->columns < width->out;
    int64_t w = along ? at->w + at->columns : 0, channels = along ? 0 : VL;
    fc_pixel pixel = {at->d, at->h, w};
    const stor *from = (const stor *)x->data + at->n * x->stride[0] + (at->block.first_in + channels) * x->stride[1] +
                       w * x->stride[4]; /* near enough in depth and height, where there are none */
    bool dense = x->stride[1] == 1, out_dense = out->stride[1] == 1;
    return (strip_ahead){.x = from, .out = (const stor *)out->data +
                                           fc_tensor_offset(out, at->n, at->block.first_out + channels, pixel),
                         .x_step = x->stride[dense ? 4 : 1], .x_block_step = STRIP_PIXELS * x->stride[4],
                         .out_step = out->stride[out_dense ? 4 : 1],
                         .out_block_step = STRIP_PIXELS * out->stride[4]};
}

/* The output rows of one window. */
static void strip_sweep(const fc_call *call, const strip_scratch *scratch, const strip_at *at, const real *weights) {
    const fc_part *part = call->part;
    const fc_axis *height = &part->axis[1];
    int64_t count = strip_rows_read(part, at->rows), taps = part->axis[2].kernel;
    strip_ahead ahead = strip_next(call, at);
    for (int64_t h = 0; h < at->rows; h++) {
        const real *row_weights = weights;
        bool add = false;
        for (int64_t kd = 0; kd < part->axis[0].kernel; kd++)
            for (int64_t kh = 0; kh < height->kernel; kh++, row_weights += taps * VL) {
                const real *row = scratch->rows[kd * count + h * height->stride + kh * height->dilation];
                if (row == NULL)
                    continue;
                strip_row(add, divide_up(at->columns, STRIP_PIXELS), taps, row, row_weights, scratch->sums,
                          &ahead);
                add = true;
            }
        if (!add)
            memset(scratch->sums, 0, (size_t)(round_up(at->columns, STRIP_PIXELS) * VL) * sizeof(real));
        strip_store(call, at, (fc_pixel){at->d, at->h + h, 0}, scratch->sums);
    }
}

/* Output rows [row_begin, row_end), counted over depth and height, of image n, for blocks of channels
 * [block_begin, block_end). columns, rows: of a window. */
static void strip_run(const fc_call *call, const real *weights, int64_t n, int64_t row_begin, int64_t row_end,
                      int64_t block_begin, int64_t block_end, int64_t columns, int64_t rows, void *scratch_base) {
    const fc_part *part = call->part;
    lane_shape shape = lane_shape_of(part);
    strip_scratch scratch = {0};
    strip_scratch_at(part, scratch_base, columns, rows, &scratch);
    int64_t height = part->axis[1].out, width = part->axis[2].out;
    for (int64_t b = block_begin; b < block_end; b++) {
        strip_at at = {.n = n, .block = lane_block_at(part, &shape, b)};
        for (int64_t row = row_begin; row < row_end; row += at.rows) {
            at.d = row / height;
            at.h = row % height;
            at.rows = smaller(smaller(rows, row_end - row), height - at.h);
            for (at.w = 0; at.w < width; at.w += at.columns) {
                at.columns = smaller(columns, width - at.w);
                strip_copy(call, &scratch, &at);
                strip_sweep(call, &scratch, &at, weights + b * part->taps * VL);
            }
        }
    }
}

#endif
