/* From sums of products to out: the inverse transform, the tiles that must be summed directly, the epilogue.
 *
 * A NaN or infinity in one input of a tile reaches all its outputs, and large values overflow earlier than
 * in a direct sum. Both leave an output, or its square, that is not finite; the tile is then summed anew
 * from x and the original weights, for the rows of the panel at hand. Only the tile's own windows
 * decide it, so no other output knows.
 */
#ifndef FC_WINOGRAD_OUTPUT_H
#define FC_WINOGRAD_OUTPUT_H

#include "kernels/winograd/direct_tile.h"
#include "kernels/winograd/given.h"
#include "kernels/winograd/input.h"

/* What the transform back applies at once: bias and two bounds. Any other epilogue follows line by line. */
typedef struct quick {
    bool all; /* nothing is left to do */
    real bias, low, high;
} quick;

FC_INLINE vec apply_quick(const quick *q, vec y) {
    return v_min(v_set1(q->high), v_max(v_set1(q->low), v_add(y, v_set1(q->bias))));
}

/* One row's sums to finished lines; returns whether a lane went bad, and marks it. */
FC_INLINE bool finish_row(const int tall, const int wide, int64_t vecs, const quick *q, const real *sums, real *to,
                          real *bad) {
    bool any = false;
    const int window_w = wide ? WINDOW : 1, step_h = tall ? OUT_TILE : 1;
    for (int64_t v = 0; v < vecs; v++) {
        vec half[OUT_TILE][WINDOW], check = v_zero();
        for (int j = 0; j < window_w; j++) {
            vec m[WINDOW], y[OUT_TILE];
            for (int i = 0; i < (tall ? WINDOW : 1); i++)
                m[i] = v_load(sums + (i * window_w + j) * PANEL_LANES + v * VL);
            if (tall)
                tile_output(m, y);
            else
                y[0] = m[0];
            for (int i = 0; i < step_h; i++)
                half[i][j] = y[i];
        }
        for (int i = 0; i < step_h; i++) {
            vec y[OUT_TILE] = {half[i][0]};
            if (wide)
                tile_output(half[i], y);
            for (int j = 0; j < (wide ? OUT_TILE : 1); j++) {
                check = v_fma(y[j], y[j], check);
                y[j] = apply_quick(q, y[j]);
            }
            if (wide)
                tile_join(to + i * FINISHED_PITCH + v * VL * OUT_TILE, y);
            else
                v_store(to + i * FINISHED_PITCH + v * VL, y[0]);
        }
        check = v_sub(check, check); /* NaN unless finite */
        if (v_any_nan(check)) {
            v_store(bad + v * VL, v_add(v_load(bad + v * VL), check));
            any = true;
        }
    }
    return any;
}

typedef struct output_job {
    const input_job *in;
    const fc_call *call;
    const given_weights *given;
    int64_t n, group, lanes;
    fc_bounds bounds;
    bool quick;
} output_job;

static quick quick_of(const output_job *job, int64_t channel) {
    const real *bias = job->call->tensors.bias;
    if (!job->quick)
        return (quick){false, (real)-0.0, -(real)INFINITY, (real)INFINITY};
    return (quick){true, bias ? bias[channel] : (real)-0.0, job->bounds.low, job->bounds.high};
}

/* Sums lane `lane` of the rows from `row` on, all of one panel, directly into the finished lines. */
static void sum_directly(const output_job *job, int64_t lane, int64_t row, int64_t rows, real *finished) {
    const input_job *in = job->in;
    const shape *s = in->s;
    real sums[OUT_TILE * OUT_TILE][FINISH_ROWS];
    const real *weights = given_at(job->given, row / PANEL_ROWS * PANEL_ROWS, 1, 0, s->steps) + row % PANEL_ROWS;
    sum_tile(in->part, s, in->x, in->group, in->segments, lane, weights, rows, sums);
    for (int64_t r = 0; r < rows; r++) {
        quick q = quick_of(job, job->group * in->part->group_out_ch + row + r);
        for (int64_t i = 0; i < s->h.step; i++)
            for (int64_t j = 0; j < s->w.step; j++) {
                vec sum = apply_quick(&q, v_set1(sums[i * s->w.step + j][r]));
                v_storen(finished + (r * OUT_TILE + i) * FINISHED_PITCH + lane * s->w.step + j, sum, 1);
            }
    }
}

/* A line whose values are final. */
FC_INLINE void copy_line(const real *from, int64_t count, stor *to) {
    int64_t i = 0;
    for (; i + VL <= count; i += VL)
        v_stores(to + i, v_load(from + i));
    if (i < count)
        v_storesn(to + i, v_loadn(from + i, count - i), count - i);
}

/* One line of `count` pixels `apart` of each other from `pixel` on, of `rows` channels from `channel` on. */
FC_INLINE void store_line(const output_job *job, int64_t channel, int64_t rows, fc_pixel pixel, int64_t apart,
                          int64_t count, const real *line) {
    const fc_problem *p = &job->in->part->problem;
    const fc_tensor *out = &job->call->tensors.out, *residual = &job->call->tensors.residual;
    const real *bias = job->call->tensors.bias ? (const real *)job->call->tensors.bias + channel : NULL;
    stor *to = (stor *)out->data + fc_tensor_offset(out, job->n, channel, pixel);
    const stor *add =
        residual->data ? (const stor *)residual->data + fc_tensor_offset(residual, job->n, channel, pixel) : NULL;
    int64_t out_step = apart * out->stride[4], residual_step = apart * residual->stride[4];
    if (job->quick && out_step == 1) {
        for (int64_t r = 0; r < rows; r++)
            copy_line(line + r * OUT_TILE * FINISHED_PITCH, count, to + r * out->stride[1]);
    } else if (out->stride[1] == 1 && out_step != 1) {
#if !FC_IS_NARROW
        if (job->quick) {
            fc_transpose_sums(line, OUT_TILE * FINISHED_PITCH, rows, count, to, out_step);
            return;
        }
#endif
        real *turned = job->in->scratch + job->in->l->turned;
        fc_transpose_sums(line, OUT_TILE * FINISHED_PITCH, rows, count, turned, FINISH_ROWS);
        for (int64_t i = 0; i < count; i++)
            fc_finish(p, turned + i * FINISH_ROWS, rows, job->quick ? NULL : bias, 1,
                      add ? add + i * residual_step : NULL, residual->stride[1], to + i * out_step, 1);
    } else {
        for (int64_t r = 0; r < rows; r++)
            fc_finish(p, line + r * OUT_TILE * FINISHED_PITCH, count, bias && !job->quick ? bias + r : NULL, 0,
                      add ? add + r * residual->stride[1] : NULL, residual_step, to + r * out->stride[1],
                      out_step);
    }
}

/* Finished lines to out, through the epilogue. */
static void store_rows(const output_job *job, int64_t row, int64_t rows, const real *finished) {
    const input_job *in = job->in;
    const shape *s = in->s;
    const fc_axis *axis = in->part->axis;
    int64_t channel = job->group * in->part->group_out_ch + row;
    for (int64_t k = 0; k < in->segment_count; k++) {
        const segment *g = &in->segments[k];
        fc_pixel pixel = {g->d, g->out_h, g->out_w};
        for (int64_t i = 0; i < s->h.step && pixel.h < axis[1].out; i++) {
            int64_t count = line_outputs(in->part, s, g, pixel);
            if (count > 0)
                store_line(job, channel, rows, pixel, s->w.apart, count,
                           finished + i * FINISHED_PITCH + g->lane * s->w.step);
            next_line(s, &pixel);
        }
    }
}

/* The rest tiles' sums to where the transform expects them. */
static void place_rest(const layout *l, const shape *s, int64_t rows, int64_t lane, real *scratch) {
    for (int64_t product = 0; product < s->products; product++) {
        const real *from = scratch + l->rest + product * l->rest_stride;
        real *to = scratch + l->sums + product * PANEL_LANES + lane;
        for (int64_t r = 0; r < rows; r++)
            for (int64_t t = 0; t < s->rest; t++)
                to[r * s->products * PANEL_LANES + t] =
                    from[(r / PANEL_ROWS * MOST_REST + t) * PANEL_ROWS + r % PANEL_ROWS];
    }
}

/* The `rows` rows from `row` on, all of one panel: their sums to out. */
static void finish_rows(const output_job *job, const real *sums, int64_t row, int64_t rows) {
    const shape *s = job->in->s;
    const layout *l = job->in->l;
    real *finished = job->in->scratch + l->finished, *bad = job->in->scratch + l->bad;
    int64_t lanes = job->in->vecs * VL;
    bool any = false;
    for (int64_t lane = 0; lane < lanes; lane += VL)
        v_store(bad + lane, v_zero());
    for (int64_t r = 0; r < rows; r++) {
        const real *from = sums + r * s->products * PANEL_LANES;
        real *to = finished + r * OUT_TILE * FINISHED_PITCH;
        quick q = quick_of(job, job->group * job->in->part->group_out_ch + row + r);
        if (s->h.window > 1 && s->w.window > 1)
            any |= finish_row(1, 1, job->in->vecs, &q, from, to, bad);
        else if (s->h.window > 1)
            any |= finish_row(1, 0, job->in->vecs, &q, from, to, bad);
        else
            any |= finish_row(0, 1, job->in->vecs, &q, from, to, bad);
    }
    for (int64_t lane = 0; any && lane < job->lanes; lane++)
        if (bad[lane] != bad[lane])
            sum_directly(job, lane, row, rows, finished);
    store_rows(job, row, rows, finished);
}

#endif
