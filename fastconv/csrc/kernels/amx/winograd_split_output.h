/* From sums to out with output channels along the lanes: the inverse transform, tiles that are summed directly, the
 * epilogue.
 *
 * A run of tiles of one row of tiles becomes finished[tile row][pixel][16 channels] in L1. Channels-last out is stored
 * from there, bias, residual and activation applied to vectors of channels; else squares are transposed into out where
 * the epilogue is a bias and two bounds, and into lines of pixels for any other.
 * Bound: loads of the sums, from L2 or beyond, one per product; about 3 instructions each, and with channels-first out
 * 4 shuffles for each of the 16 (F(4, 3)) vectors of outputs of a tile.
 */
#ifndef FC_WINOGRAD_SPLIT_OUTPUT_H
#define FC_WINOGRAD_SPLIT_OUTPUT_H

#include "kernels/amx/winograd_split_input.h"
#include "kernels/winograd/direct_tile.h"

typedef struct split_output {
    const split_input *in;
    const fc_call *call;
    const real *given; /* weights of the group as packed for the definition */
    int64_t n, group;
    fc_bounds bounds;
    bool quick; /* the epilogue is a bias and two bounds */
} split_output;

FC_INLINE vec finish_quick(vec y, vec bias, vec low, vec high) { return v_min(high, v_max(low, v_add(y, bias))); }

/* One lane of one row tile. */
FC_INLINE void finish_lane(const int tall, const int wide, const real *sums, int64_t sum_stride, vec bias, vec low,
                           vec high, real *finished) {
    const int window_h = tall ? WINDOW : 1, window_w = wide ? WINDOW : 1;
    const int step_h = tall ? OUT_TILE : 1, step_w = wide ? OUT_TILE : 1;
    vec half[OUT_TILE][WINDOW];
    UNROLL for (int j = 0; j < window_w; j++) {
        vec m[WINDOW], y[OUT_TILE];
        UNROLL for (int i = 0; i < window_h; i++)
            m[i] = v_load(sums + (i * window_w + j) * sum_stride);
        if (tall)
            tile_output(m, y);
        else
            y[0] = m[0];
        UNROLL for (int i = 0; i < step_h; i++)
            half[i][j] = y[i];
    }
    UNROLL for (int i = 0; i < step_h; i++) {
        vec y[OUT_TILE] = {half[i][0]};
        if (wide)
            tile_output(half[i], y);
        UNROLL for (int j = 0; j < step_w; j++)
            v_store(finished + (i * LINE_PIXELS + j) * TILE_SIDE, finish_quick(y[j], bias, low, high));
    }
}

/* The same by the definition. */
static void finish_directly(const split_output *job, int64_t lane, int64_t row, int64_t rows, vec bias, vec low,
                            vec high, real *finished) {
    const split_input *in = job->in;
    const shape *s = in->s;
    real sums[OUT_TILE * OUT_TILE][FINISH_ROWS];
    const real *weights = job->given + row / PANEL_ROWS * PANEL_ROWS * s->steps * s->taps + row % PANEL_ROWS;
    sum_tile(in->part, s, in->x, in->group, in->segments, lane, weights, rows, sums);
    for (int64_t i = 0; i < s->h.step; i++)
        for (int64_t j = 0; j < s->w.step; j++)
            v_store(finished + (i * LINE_PIXELS + j) * TILE_SIDE,
                    finish_quick(v_load(sums[i * s->w.step + j]), bias, low, high));
}

/* Vectors of channels to `rows` dense rows of `count` pixels, `step` apart. Vectors past the last pixel are read. */
static __attribute__((noinline, noclone)) void transpose_line(const real *line, int64_t count, int64_t rows, real *to,
                                                             int64_t step) {
    for (int64_t p = 0; p < count; p += VL) {
        vec square[VL];
        FC_UNROLL_SQUARE for (int i = 0; i < VL; i++)
            square[i] = v_load(line + (p + i) * TILE_SIDE);
        v_transpose(square);
        FC_UNROLL_SQUARE for (int i = 0; i < VL; i++)
            if (i < rows && count - p >= VL)
                v_store(to + i * step + p, square[i]);
            else if (i < rows)
                v_storen(to + i * step + p, square[i], count - p);
    }
}

/* `count` pixels of a line, `apart` of each other from `pixel` on, of `rows` channels from `channel` on. */
static void store_pixels(const split_output *job, int64_t channel, int64_t rows, fc_pixel pixel, int64_t apart,
                         int64_t count, const real *line) {
    const fc_problem *p = &job->in->part->problem;
    const fc_tensor *out = &job->call->tensors.out, *residual = &job->call->tensors.residual;
    const real *bias = job->call->tensors.bias ? (const real *)job->call->tensors.bias + channel : NULL;
    real *to = (real *)out->data + fc_tensor_offset(out, job->n, channel, pixel);
    const real *add =
        residual->data ? (const real *)residual->data + fc_tensor_offset(residual, job->n, channel, pixel) : NULL;
    int64_t out_step = apart * out->stride[4], residual_step = apart * residual->stride[4];
    if (out->stride[1] == 1) {
        for (int64_t i = 0; i < count; i++, line += TILE_SIDE, to += out_step)
            if (!job->quick)
                fc_finish(p, line, rows, bias, 1, add ? add + i * residual_step : NULL, residual->stride[1], to, 1);
            else if (rows == VL)
                v_store(to, v_load(line));
            else
                v_storen(to, v_load(line), rows);
        return;
    }
    if (job->quick && out_step == 1) {
        transpose_line(line, count, rows, to, out->stride[1]);
        return;
    }
    real *turned = job->in->scratch + job->in->l->turned;
    transpose_line(line, count, rows, turned, LINE_PIXELS);
    for (int64_t r = 0; r < rows; r++)
        fc_finish(p, turned + r * LINE_PIXELS, count, bias && !job->quick ? bias + r : NULL, 0,
                  add ? add + r * residual->stride[1] : NULL, residual_step, to + r * out->stride[1], out_step);
}

/* `tiles` tiles of segment g from its tile `first` on, finished, to out. */
static void store_run(const split_output *job, const segment *g, int64_t first, int64_t tiles, int64_t channel,
                      int64_t rows, const real *finished) {
    const shape *s = job->in->s;
    const fc_axis *axis = job->in->part->axis;
    int64_t out_w = g->out_w + first * s->w.step * s->w.apart;
    fc_pixel pixel = {g->d, g->out_h, out_w};
    for (int64_t i = 0; i < s->h.step && pixel.h < axis[1].out; i++) {
        int64_t count = s->fold > 0 ? smaller(tiles, larger(axis[2].out - pixel.w, 0))
                                    : outputs_of(&s->w, out_w, tiles, axis[2].out);
        if (count > 0)
            store_pixels(job, channel, rows, pixel, s->w.apart, count, finished + i * LINE_PIXELS * TILE_SIDE);
        if (s->fold > 0)
            pixel.w += s->fold;
        else
            pixel.h += s->h.apart;
    }
}

/* The rows of one row tile, from `row` of the group on, whose sums begin at `sums`. */
FC_INLINE void finish_rows(const int tall, const int wide, const split_output *job, const real *sums, int64_t row,
                           int64_t rows) {
    const split_input *in = job->in;
    const shape *s = in->s;
    const real *bias = job->call->tensors.bias, *bad = in->scratch + in->l->bad;
    real *finished = in->scratch + in->l->finished;
    int64_t channel = job->group * in->part->group_out_ch + row, most = LINE_PIXELS / s->w.step;
    vec add = job->quick && bias != NULL ? v_loadn(bias + channel, rows) : v_set1((real)-0.0);
    vec low = v_set1(job->quick ? job->bounds.low : -(real)INFINITY);
    vec high = v_set1(job->quick ? job->bounds.high : (real)INFINITY);
    for (int64_t k = 0; k < in->segment_count; k++) {
        const segment *g = &in->segments[k];
        for (int64_t first = 0, tiles; first < g->tiles; first += tiles) {
            tiles = smaller(most, g->tiles - first);
            for (int64_t t = 0; t < tiles; t++) {
                int64_t lane = g->lane + first + t;
                real *to = finished + t * s->w.step * TILE_SIDE;
                if (bad[lane] != 0)
                    finish_directly(job, lane, row, rows, add, low, high, to);
                else
                    finish_lane(tall, wide, sums + lane * TILE_SIDE, in->l->sum_stride, add, low, high, to);
            }
            store_run(job, g, first, tiles, channel, rows, finished);
        }
    }
}

/* Output channels [row, row_end) of the group. */
static void finish_all(const split_output *job, int64_t row, int64_t row_end) {
    const shape *s = job->in->s;
    const real *sums = job->in->scratch + job->in->l->sums;
    for (; row < row_end; row += TILE_SIDE, sums += job->in->l->row_stride) {
        int64_t rows = smaller(TILE_SIDE, row_end - row);
        if (s->h.window > 1 && s->w.window > 1)
            finish_rows(1, 1, job, sums, row, rows);
        else if (s->h.window > 1)
            finish_rows(1, 0, job, sums, row, rows);
        else
            finish_rows(0, 1, job, sums, row, rows);
    }
}

#endif
