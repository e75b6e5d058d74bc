/* The epilogue of one block of sums, 32 output channels by 32 pixels: bias, residual, activation and the store.
 *
 * Where the pixels follow one another in out, and the activation is two bounds, vectors are finished in registers,
 * squares of them transposed there for channels-last out. Everything else goes the way of common/epilogue.h; the bits
 * are the same. Bound: stores; channels-last ones of 4 KB apart share a cache set and take twice as long.
 */
#ifndef FC_SPLIT_STORE_H
#define FC_SPLIT_STORE_H

#include "kernels/amx/split_shape.h"
#include "kernels/amx/split_tiles.h"
#include "kernels/common/transpose.h"

/* One vector: n pixels of a channel or n channels of a pixel. */
FC_INLINE void split_finish_vector(vec v, vec bias, const real *residual, vec low, vec high, real *out, int64_t n) {
    v = v_add(v, bias);
    if (residual != NULL)
        v = v_add(v, v_loadn(residual, n));
    v = v_min(high, v_max(low, v));
    if (n == VL)
        v_store(out, v);
    else
        v_storen(out, v, n);
}

/* out[row * out_step + lane] for `rows` channels of `count` pixels; bias and residual may be NULL. */
FC_INLINE void split_finish_rows(const fc_bounds *bounds, const real *sums, int64_t rows, int64_t count,
                                 const real *bias, const real *residual, int64_t residual_step, real *out,
                                 int64_t out_step) {
    vec low = v_set1(bounds->low), high = v_set1(bounds->high);
    for (int64_t row = 0; row < rows; row++, sums += SPLIT_SUMS_STEP, out += out_step) {
        vec shared = v_set1(bias != NULL ? bias[row] : (real)-0.0); /* x + -0 is x */
        for (int64_t lane = 0; lane < count; lane += VL) {
            int64_t n = smaller(VL, count - lane);
            const real *add = residual == NULL ? NULL : residual + row * residual_step + lane;
            split_finish_vector(v_load(sums + lane), shared, add, low, high, out + lane, n);
        }
    }
}

/* out[pixel * out_step + channel]: squares are transposed in registers and stored from there. */
static void split_finish_turned(const fc_bounds *bounds, const real *sums, int64_t rows, int64_t count, const real *bias,
                                const real *residual, int64_t residual_step, real *out, int64_t out_step) {
    vec low = v_set1(bounds->low), high = v_set1(bounds->high), square[VL];
    for (int64_t pixel = 0; pixel < count; pixel += VL)
        for (int64_t row = 0; row < rows; row += VL) {
            int64_t n = smaller(VL, rows - row);
            vec shared = bias != NULL ? v_loadn(bias + row, n) : v_set1((real)-0.0);
            FC_UNROLL_SQUARE for (int i = 0; i < VL; i++)
                square[i] = v_load(sums + (row + i) * SPLIT_SUMS_STEP + pixel);
            v_transpose(square);
            real *to = out + pixel * out_step + row;
            const real *add = residual == NULL ? NULL : residual + pixel * residual_step + row;
            FC_UNROLL_SQUARE for (int i = 0; i < VL; i++)
                if (i < count - pixel)
                    split_finish_vector(square[i], shared, add == NULL ? NULL : add + i * residual_step, low, high,
                                        to + i * out_step, n);
        }
}

/* Whether pixels are equally far apart, whatever rows or planes they are of. */
FC_INLINE bool split_out_joins(const fc_part *part, const fc_tensor *t) {
    return fc_rows_join(part, t) && (t->data == NULL || part->axis[0].out == 1 || !part->block[SPLIT_LINE] ||
                                     t->stride[2] == part->axis[1].out * t->stride[3]);
}

/* Channels [channel, channel + rows) of `count` pixels from `first` on. */
static void split_finish(const fc_call *call, int64_t n, int64_t channel, int64_t rows, int64_t first, int64_t count,
                         const real *sums) {
    const fc_part *part = call->part;
    const fc_tensor *out = &call->tensors.out, *residual = &call->tensors.residual;
    const real *bias = call->tensors.bias == NULL ? NULL : (const real *)call->tensors.bias + channel;
    fc_pixel at = fc_pixel_at(part, first);
    real *to = (real *)out->data + fc_tensor_offset(out, n, channel, at);
    const real *add = residual->data ? (const real *)residual->data + fc_tensor_offset(residual, n, channel, at) : NULL;
    fc_bounds bounds = fc_bounds_of(&part->problem);
    bool simple = bounds.only && split_out_joins(part, out) && split_out_joins(part, residual);
    int along_pixels = out->stride[4] == 1 || out->stride[1] != 1;
    if (along_pixels && simple && out->stride[4] == 1 && (add == NULL || residual->stride[4] == 1)) {
        split_finish_rows(&bounds, sums, rows, count, bias, add, residual->stride[1], to, out->stride[1]);
        return;
    }
    if (along_pixels) {
        fc_store_pixel_lanes(call, n, channel, rows, first, count, sums, SPLIT_SUMS_STEP);
        return;
    }
    if (simple && (add == NULL || residual->stride[1] == 1)) {
        split_finish_turned(&bounds, sums, rows, count, bias, add, residual->stride[4], to, out->stride[4]);
        return;
    }
    real turned[SPLIT_ROWS * SPLIT_SUMS_STEP];
    fc_transpose_sums(sums, SPLIT_SUMS_STEP, rows, count, turned, SPLIT_SUMS_STEP);
    for (int64_t i = 0; i < count; i++) {
        fc_store_channel_lanes(call, n, channel, rows, at, turned + i * SPLIT_SUMS_STEP);
        if (++at.w == part->axis[2].out)
            fc_pixel_next_row(part, &at);
    }
}

#endif
