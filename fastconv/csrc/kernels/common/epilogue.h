/* The epilogue: bias, residual, activation and the store, applied to a tile of sums while it is in L1.
 *
 * Kernels compute a tile of `real` sums either with pixels along the lanes (rows are output channels)
 * or with output channels along the lanes (rows are pixels); out may have any strides, and dense
 * lanes are the fast case.
 */
#ifndef FC_EPILOGUE_H
#define FC_EPILOGUE_H

#include "kernel.h"
#include "kernels/common/integers.h"
#include "kernels/common/transpose.h"

/* exp by 2**n * p(r), |r| <= ln(2)/2: Cody and Waite's reduction, a Taylor-Horner polynomial of degree 6 (float) or
 * 13 (double); relative error below 2 units in the last place. Saturates instead of overflowing. */
FC_INLINE vec fc_exp(vec x) {
#if FC_IS_F64
    const double low = -708.0, high = 709.0;
    const double ln2_high = 0x1.62e42fee00000p-1, ln2_low = 0x1.a39ef35793c76p-33;
    const int degree = 13;
#else
    const float low = -87.0f, high = 88.0f;
    const float ln2_high = 0x1.62e400p-1f, ln2_low = 0x1.7f7d1cp-20f;
    const int degree = 7;
#endif
    static const real reciprocal[] = {1, 1, (real)(1. / 2), (real)(1. / 3), (real)(1. / 4), (real)(1. / 5),
                                      (real)(1. / 6), (real)(1. / 7), (real)(1. / 8), (real)(1. / 9),
                                      (real)(1. / 10), (real)(1. / 11), (real)(1. / 12), (real)(1. / 13)};
    vec bounded = v_max(v_set1(low), v_min(v_set1(high), x)); /* NaN passes: it is the second operand */
    vec n = v_round(v_mul(bounded, v_set1((real)1.4426950408889634)));
    vec r = v_fma(n, v_set1(-ln2_high), bounded);
    r = v_fma(n, v_set1(-ln2_low), r);
    vec sum = v_set1(1);
    for (int i = degree; i >= 1; i--) /* 1 + r/1 (1 + r/2 (1 + r/3 (...))) */
        sum = v_fma(v_mul(r, v_set1(reciprocal[i])), sum, v_set1(1));
    return v_mul(sum, v_pow2(n));
}

FC_INLINE vec fc_sigmoid(vec x) {
    return v_div(v_set1(1), v_add(v_set1(1), fc_exp(v_sub(v_zero(), x))));
}

/* tanh x = 1 - 2 / (exp(2x) + 1) loses digits near 0, where the odd series takes over. */
FC_INLINE vec fc_tanh(vec x) {
    vec magnitude = v_abs(x);
    vec e = fc_exp(v_mul(v_set1(2), magnitude));
    vec far = v_sub(v_set1(1), v_div(v_set1(2), v_add(e, v_set1(1))));
    vec square = v_mul(x, x);
#if FC_IS_F64
    static const real series[] = {-0x1.5555555555555p-2, 0x1.1111111111111p-3, -0x1.ba1ba1ba1ba1cp-5,
                                  0x1.664f4882c10fap-6, -0x1.226e355e6c23dp-7, 0x1.d6d3d0e157de0p-9,
                                  -0x1.7da36452b75e3p-10, 0x1.355824803667bp-11, -0x1.f57d7734d1656p-13,
                                  0x1.967e18afcafadp-14};
    const int terms = 10;
    const real edge = (real)0.25;
#else
    static const real series[] = {-0x1.555556p-2f, 0x1.111112p-3f, -0x1.ba1ba2p-5f, 0x1.664f48p-6f,
                                  -0x1.226e36p-7f};
    const int terms = 5;
    const real edge = (real)0.25;
#endif
    vec near = v_set1(series[terms - 1]);
    for (int i = terms - 2; i >= 0; i--)
        near = v_fma(near, square, v_set1(series[i]));
    near = v_fma(v_mul(near, square), magnitude, magnitude);
    vec result = v_select_neg(v_sub(magnitude, v_set1(edge)), near, far);
    return v_select_neg(x, v_sub(v_zero(), result), result);
}

FC_INLINE vec fc_activate(const fc_problem *p, vec x) {
    real first = (real)p->activation_param[0], second = (real)p->activation_param[1];
    switch (p->activation) {
    case FC_ACT_RELU:
        return v_max(v_zero(), x);
    case FC_ACT_LEAKY_RELU:
        return v_select_neg(x, v_mul(x, v_set1(first)), x);
    case FC_ACT_CLIP:
        return v_min(v_set1(second), v_max(v_set1(first), x));
    case FC_ACT_SIGMOID:
        return fc_sigmoid(x);
    case FC_ACT_TANH:
        return fc_tanh(x);
    case FC_ACT_SILU:
        return v_mul(x, fc_sigmoid(x));
    case FC_ACT_HARDSWISH: /* x * clip(x / 6 + 1/2, 0, 1) */
        return v_mul(x, v_min(v_set1(1), v_max(v_zero(), v_fma(x, v_set1((real)(1. / 6)), v_set1((real)0.5)))));
    case FC_ACT_NONE:
        break;
    }
    return x;
}

/* An activation that is two bounds, so that a kernel can apply it in its registers: y = v_min(high, v_max(low,
 * x)), with the same bits as fc_activate. `only` is false for the others. */
typedef struct fc_bounds {
    bool only;
    real low, high;
} fc_bounds;

FC_INLINE fc_bounds fc_bounds_of(const fc_problem *p) {
    switch (p->activation) {
    case FC_ACT_NONE:
        return (fc_bounds){true, -(real)INFINITY, (real)INFINITY};
    case FC_ACT_RELU:
        return (fc_bounds){true, 0, (real)INFINITY};
    case FC_ACT_CLIP:
        return (fc_bounds){true, (real)p->activation_param[0], (real)p->activation_param[1]};
    default:
        return (fc_bounds){false, 0, 0};
    }
}

/* Out of line: the exponentials would take every caller's registers. */
static __attribute__((unused, noinline)) vec fc_activate_any(const fc_problem *p, vec x) { return fc_activate(p, x); }

/* Finishes `count` sums that go to out, out + out_step, ... `bias` is one value for all of them (bias_step
 * 0), one each (1), or NULL; `residual` may be NULL. No activation and those that only clamp are two bounds. */
FC_INLINE void fc_finish(const fc_problem *p, const real *sums, int64_t count, const real *bias, int bias_step,
                         const stor *residual, int64_t residual_step, stor *out, int64_t out_step) {
    fc_bounds bounds = fc_bounds_of(p);
    vec low = v_set1(bounds.low), high = v_set1(bounds.high);
    vec shared = bias != NULL && bias_step == 0 ? v_set1(*bias) : v_set1((real)-0.0); /* x + -0 is x */
    for (int64_t lane = 0; lane < count; lane += VL) {
        int64_t n = count - lane < VL ? count - lane : VL;
        vec v = n == VL ? v_load(sums + lane) : v_loadn(sums + lane, n);
        v = v_add(v, shared);
        if (bias != NULL && bias_step != 0)
            v = v_add(v, n == VL ? v_load(bias + lane) : v_loadn(bias + lane, n));
        if (residual != NULL)
            v = v_add(v, residual_step != 1 ? v_loads_strided(residual + lane * residual_step, residual_step, n)
                         : n == VL          ? v_loads(residual + lane)
                                            : v_loadsn(residual + lane, n));
        v = bounds.only ? v_min(high, v_max(low, v)) : fc_activate_any(p, v);
        if (out_step != 1)
            v_stores_strided(out + lane * out_step, out_step, v, n);
        else if (n == VL)
            v_stores(out + lane, v);
        else
            v_storesn(out + lane, v, n);
    }
}

/* Whether an image's out has left L2 for the next image, so that its lines are worth asking for ahead. */
static __attribute__((unused)) bool fc_out_leaves_l2(const fc_part *part, const fc_machine *machine) {
    int64_t values = part->problem.out_ch * part->out_pixels + part->problem.in_ch * part->in_pixels;
    return values * (int64_t)sizeof(stor) * 2 > (int64_t)machine->l2_bytes;
}

/* Output pixel `index`, counted along width, height, depth, of a part. */
typedef struct fc_pixel {
    int64_t d, h, w;
} fc_pixel;

FC_INLINE fc_pixel fc_pixel_at(const fc_part *part, int64_t index) {
    int64_t width = part->axis[2].out, height = part->axis[1].out;
    int64_t row = fc_quotient(index, width), depth = row < height ? 0 : fc_quotient(row, height);
    return (fc_pixel){depth, row - depth * height, index - row * width};
}

/* To the start of the next output row. */
FC_INLINE void fc_pixel_next_row(const fc_part *part, fc_pixel *pixel) {
    pixel->w = 0;
    if (++pixel->h == part->axis[1].out) {
        pixel->h = 0;
        pixel->d++;
    }
}

FC_INLINE int64_t fc_tensor_offset(const fc_tensor *t, int64_t n, int64_t c, fc_pixel pixel) {
    return n * t->stride[0] + c * t->stride[1] + pixel.d * t->stride[2] + pixel.h * t->stride[3] +
           pixel.w * t->stride[4];
}

/* Whether the rows of a plane follow one another, so that pixels of several are one run. */
FC_INLINE bool fc_rows_join(const fc_part *part, const fc_tensor *t) {
    return t->data == NULL || t->stride[3] == part->axis[2].out * t->stride[4];
}

/* Whether all pixels of an image's channel are one run. */
FC_INLINE bool fc_planes_join(const fc_part *part, const fc_tensor *t) {
    int64_t width = part->axis[2].out * t->stride[4], plane = part->axis[1].out * width;
    return (part->axis[1].out == 1 || t->stride[3] == width) && (part->axis[0].out == 1 || t->stride[2] == plane);
}

/* Stores `count` pixels, out->stride[4] apart, of `rows` output channels, dense and at most VL: a square is turned around in
 * registers, and bounds are applied there. */
static __attribute__((unused, noinline)) void fc_store_turned(const fc_problem *p, const real *sums, int64_t sums_step,
                                                              int64_t rows, int64_t count, const real *bias,
                                                              const stor *residual, const int64_t *residual_stride,
                                                              stor *out, int64_t out_step) {
    fc_bounds bounds = fc_bounds_of(p);
    vec low = v_set1(bounds.low), high = v_set1(bounds.high);
    vec shift = bias == NULL ? v_set1((real)-0.0) : rows == VL ? v_load(bias) : v_loadn(bias, rows);
    for (int64_t first = 0; first < count; first += VL) {
        int64_t wide = count - first < VL ? count - first : VL;
        vec square[VL], kept[VL];
        FC_UNROLL_SQUARE for (int i = 0; i < VL; i++)
            square[i] = i >= rows    ? v_zero()
                        : wide == VL ? v_load(sums + i * sums_step + first)
                                     : v_loadn(sums + i * sums_step + first, wide);
        v_transpose(square);
        FC_UNROLL_SQUARE for (int i = 0; i < VL; i++)
            kept[i] = square[i];
        stor *to = out + first * out_step;
        if (residual != NULL || !bounds.only) {
            const stor *add = residual == NULL ? NULL : residual + first * residual_stride[4];
            for (int64_t i = 0; i < wide; i++)
                fc_finish(p, (const real *)&kept[i], rows, bias, 1, add ? add + i * residual_stride[4] : NULL,
                          residual_stride[1], to + i * out_step, 1);
            continue;
        }
        for (int64_t i = 0; i < wide; i++) {
            vec v = v_min(high, v_max(low, v_add(kept[i], shift)));
            if (rows == VL)
                v_stores(to + i * out_step, v);
            else
                v_storesn(to + i * out_step, v, rows);
        }
    }
}

/* Stores a tile with pixels along the lanes: sums[row * sums_step + lane] is output channel channel +
 * row, pixel first + lane. */
static __attribute__((unused)) void fc_store_pixel_lanes(const fc_call *call, int64_t n, int64_t channel, int64_t rows,
                                                         int64_t first, int64_t count, const real *sums,
                                                         int64_t sums_step) {
    const fc_part *part = call->part;
    const fc_problem *p = &part->problem;
    const fc_tensor *out = &call->tensors.out, *residual = &call->tensors.residual;
    const real *bias = call->tensors.bias;
    fc_pixel pixel = fc_pixel_at(part, first);
    bool channels_dense = out->stride[1] == 1 && out->stride[4] != 1;
    bool join = fc_rows_join(part, out) && fc_rows_join(part, residual);
    for (int64_t lane = 0; lane < count;) {
        int64_t run = part->axis[2].out - pixel.w; /* to the end of the row, or of the plane */
        if (join)
            run += (part->axis[1].out - 1 - pixel.h) * part->axis[2].out;
        if (run > count - lane)
            run = count - lane;
        stor *to = (stor *)out->data + fc_tensor_offset(out, n, channel, pixel);
        const stor *add =
            residual->data ? (const stor *)residual->data + fc_tensor_offset(residual, n, channel, pixel) : NULL;
        if (channels_dense) {
            for (int64_t row = 0; row < rows; row += VL)
                fc_store_turned(p, sums + row * sums_step + lane, sums_step, rows - row < VL ? rows - row : VL, run,
                                bias ? bias + channel + row : NULL, add ? add + row * residual->stride[1] : NULL,
                                residual->stride, to + row, out->stride[4]);
        } else {
            for (int64_t row = 0; row < rows; row++)
                fc_finish(p, sums + row * sums_step + lane, run, bias ? bias + channel + row : NULL, 0,
                          add ? add + row * residual->stride[1] : NULL, residual->stride[4],
                          to + row * out->stride[1], out->stride[4]);
        }
        lane += run;
        if (lane == count)
            break;
        pixel.h += fc_quotient(pixel.w + run - 1, part->axis[2].out);
        fc_pixel_next_row(part, &pixel);
    }
}

/* Stores one pixel's sums with `count` output channels along the lanes, from channel `channel` on. */
FC_INLINE void fc_store_channel_lanes(const fc_call *call, int64_t n, int64_t channel, int64_t count,
                                      fc_pixel pixel, const real *sums) {
    const fc_tensor *out = &call->tensors.out, *residual = &call->tensors.residual;
    const real *bias = call->tensors.bias;
    fc_finish(&call->part->problem, sums, count, bias ? bias + channel : NULL, 1,
              residual->data ? (const stor *)residual->data + fc_tensor_offset(residual, n, channel, pixel) : NULL,
              residual->stride[1], (stor *)out->data + fc_tensor_offset(out, n, channel, pixel),
              out->stride[1]);
}

#endif
