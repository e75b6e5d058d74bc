/* The epilogue of direct: finished sums [pixel][lane], still in L1, to out in either layout.
 *
 * Channels-last out takes vectors of channels as they are. Other layouts take squares of VL pixels by VL channels
 * turned around in registers, so rows of out are written in vectors of pixels.
 */
#ifndef FC_DIRECT_STORE_H
#define FC_DIRECT_STORE_H

#include "kernels/common/epilogue.h"
#include "kernels/direct/tile.h"

/* Rows of finished outputs of one image: sums[row * sums_row + column * lanes + lane]. */
typedef struct finished {
    int64_t n, channel, count; /* output channels */
    fc_pixel first;
    int64_t rows, columns, lanes, sums_row;
    const real *sums;
} finished;

/* Where a block of outputs goes, and how. */
typedef struct store_to {
    const fc_problem *problem;
    fc_bounds bounds;
    const real *bias;
    const stor *residual;
    stor *out;
    const fc_tensor *out_tensor, *residual_tensor;
    bool channels_dense, pixels_dense;
    tile_fetching fetching;
    bool from_tile; /* the tile stores from its registers */
    int64_t last;   /* channels of the last vector */
} store_to;

static store_to store_to_of(const fc_call *call, const finished *f) {
    const fc_tensor *out = &call->tensors.out, *residual = &call->tensors.residual;
    store_to s = {.problem = &call->part->problem, .bounds = fc_bounds_of(&call->part->problem),
                  .out_tensor = out, .residual_tensor = residual};
    s.bias = call->tensors.bias == NULL ? NULL : (const real *)call->tensors.bias + f->channel;
    s.out = (stor *)out->data + fc_tensor_offset(out, f->n, f->channel, f->first);
    s.residual = residual->data == NULL
                     ? NULL
                     : (const stor *)residual->data + fc_tensor_offset(residual, f->n, f->channel, f->first);
    s.channels_dense = out->stride[1] == 1 && (s.residual == NULL || residual->stride[1] == 1);
    s.pixels_dense = out->stride[4] == 1 && (s.residual == NULL || residual->stride[4] == 1);
    s.from_tile = s.channels_dense && s.bounds.only && (!FC_IS_NARROW || f->count == f->lanes);
    s.last = VL - (f->lanes - f->count);
    return s;
}

/* The tile whose first pixel is (row, column) of the group; its second run of pixels is in the next row or follows. */
static tile_out tile_out_of(const store_to *s, int64_t row, int64_t column, bool pair, int64_t pixels) {
    tile_out to = {.out = NULL};
    if (!s->from_tile)
        return to;
    const int64_t *out = s->out_tensor->stride, *residual = s->residual_tensor->stride;
    to.out = s->out + row * out[3] + column * out[4];
    to.pixel_step = out[4];
    to.run_step = pair ? out[3] : pixels * out[4];
    to.residual = s->residual == NULL ? NULL : s->residual + row * residual[3] + column * residual[4];
    to.residual_pixel_step = residual[4];
    to.residual_run_step = pair ? residual[3] : pixels * residual[4];
    to.bias = s->bias;
    to.last = s->last;
    to.low = s->bounds.low;
    to.high = s->bounds.high;
    to.fetching = s->fetching;
    return to;
}

/* Up to VL outputs along a dense axis of out. */
FC_INLINE void store_vector(const store_to *s, vec low, vec high, vec sums, vec bias, const stor *residual, stor *out,
                            int64_t n) {
    vec y = v_add(sums, bias);
    if (residual != NULL)
        y = v_add(y, n == VL ? v_loads(residual) : v_loadsn(residual, n));
    y = s->bounds.only ? v_min(high, v_max(low, y)) : fc_activate_any(s->problem, y);
    if (n == VL)
        v_stores(out, y);
    else
        v_storesn(out, y, n);
}

/* Channels are dense in out, and in the residual. */
static void store_channels(const store_to *s, const finished *f) {
    vec low = v_set1(s->bounds.low), high = v_set1(s->bounds.high);
    for (int64_t lane = 0; lane < f->count; lane += VL) {
        int64_t n = smaller(f->count - lane, VL);
        vec bias = s->bias == NULL ? v_set1((real)-0.0) /* x + -0 is x */
                   : n == VL       ? v_load(s->bias + lane)
                                   : v_loadn(s->bias + lane, n);
        for (int64_t row = 0; row < f->rows; row++) {
            const real *sums = f->sums + row * f->sums_row + lane;
            stor *out = s->out + row * s->out_tensor->stride[3] + lane;
            const stor *residual = s->residual ? s->residual + row * s->residual_tensor->stride[3] + lane : NULL;
            for (int64_t column = 0; column < f->columns; column++)
                store_vector(s, low, high, v_load(sums + column * f->lanes), bias,
                             residual ? residual + column * s->residual_tensor->stride[4] : NULL,
                             out + column * s->out_tensor->stride[4], n);
        }
    }
}

/* A square of VL pixels and VL channels, all of out. */
FC_INLINE void store_square(const store_to *s, vec square[VL], const real *bias, const stor *residual, stor *out) {
    vec low = v_set1(s->bounds.low), high = v_set1(s->bounds.high);
    int64_t to = s->out_tensor->stride[1], from = s->residual_tensor->stride[1];
    v_transpose(square);
    FC_UNROLL_TILE for (int c = 0; c < VL; c++)
        square[c] = v_add(square[c], v_set1(bias == NULL ? (real)-0.0 : bias[c]));
    if (residual != NULL)
        FC_UNROLL_TILE for (int c = 0; c < VL; c++)
            square[c] = v_add(square[c], v_loads(residual + c * from));
    FC_UNROLL_TILE for (int c = 0; c < VL; c++)
        v_stores(out + c * to, v_min(high, v_max(low, square[c])));
}

/* `columns` pixels dense in out and in the residual, `rows` times. */
static void store_pixels(const store_to *s, const finished *f, int64_t rows, int64_t columns) {
    vec low = v_set1(s->bounds.low), high = v_set1(s->bounds.high);
    const int64_t *to = s->out_tensor->stride, *from = s->residual_tensor->stride;
    for (int64_t row = 0; row < rows; row++)
        for (int64_t lane = 0; lane < f->count; lane += VL)
            for (int64_t column = 0; column < columns; column += VL) {
                int64_t n = smaller(columns - column, VL), channels = smaller(f->count - lane, VL);
                const real *sums = f->sums + row * f->sums_row + column * f->lanes + lane;
                stor *out = s->out + row * to[3] + column + lane * to[1];
                const real *bias = s->bias == NULL ? NULL : s->bias + lane;
                const stor *residual = s->residual ? s->residual + row * from[3] + column + lane * from[1] : NULL;
                vec square[VL];
                if (n == VL && channels == VL && s->bounds.only) {
                    FC_UNROLL_TILE for (int i = 0; i < VL; i++)
                        square[i] = v_load(sums + i * f->lanes);
                    store_square(s, square, bias, residual, out);
                    continue;
                }
                for (int i = 0; i < VL; i++)
                    square[i] = i < n ? v_load(sums + i * f->lanes) : v_zero();
                v_transpose(square);
                for (int64_t c = 0; c < channels; c++)
                    store_vector(s, low, high, square[c], v_set1(bias == NULL ? (real)-0.0 : bias[c]),
                                 residual ? residual + c * from[1] : NULL, out + c * to[1], n);
            }
}

/* Any strides. */
static void store_anywhere(const fc_call *call, const finished *f) {
    for (int64_t row = 0; row < f->rows; row++)
        for (int64_t column = 0; column < f->columns; column++)
            fc_store_channel_lanes(call, f->n, f->channel, f->count,
                                   (fc_pixel){f->first.d, f->first.h + row, f->first.w + column},
                                   f->sums + row * f->sums_row + column * f->lanes);
}

static void store_finished(const fc_call *call, const store_to *s, const finished *f) {
    if (s->channels_dense) {
        store_channels(s, f);
    } else if (s->pixels_dense) {
        bool join = f->columns == call->part->axis[2].out && f->sums_row == f->columns * f->lanes &&
                    fc_rows_join(call->part, s->out_tensor) && fc_rows_join(call->part, s->residual_tensor);
        store_pixels(s, f, join ? 1 : f->rows, join ? f->rows * f->columns : f->columns);
    } else {
        store_anywhere(call, f);
    }
}

#endif
