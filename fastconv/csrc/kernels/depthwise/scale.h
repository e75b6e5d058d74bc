/* One tap at stride 1 without padding: planes of x times a weight, read and written as long runs.
 *
 * x, out: planes, or rows, whose pixels are dense. A piece of a run that L1 keeps serves all outputs of its channel.
 * Bound: one load and one store for each vector of outputs; stores to L2 and beyond. */
#ifndef FC_SCALE_H
#define FC_SCALE_H

#include "kernels/common/epilogue.h"
#include "kernels/depthwise/planar_shape.h"

enum { SCALE_PIECE = 2048, SCALE_VECS = 4 };

/* Narrow dtypes do without, for the size of the code. */
static bool scales(const fc_part *part) {
    return !FC_IS_NARROW && !part->problem.x_channels_last && !part->problem.out_channels_last && fc_pixels_are_line(part);
}

/* Whether this call's runs are dense and end in registers. */
static bool scales_call(const fc_call *call) {
    return scales(call->part) && call->tensors.x.stride[4] == 1 && call->tensors.out.stride[4] == 1 &&
           call->tensors.residual.data == NULL && fc_bounds_of(&call->part->problem).only;
}

/* Cycles, x and out in cache: of a call, of a run of each output channel, of its vectors. */
static double scale_cycles(const fc_part *part, double light) {
    return 300 + (double)part->problem.out_ch * (26 * light + 1.4 * (double)divide_up(part->out_pixels, VL));
}

static __attribute__((noinline)) void scale_piece(real weight, real bias, fc_bounds bounds, const stor *x, int64_t count,
                                                  stor *out) {
    const vec w = v_set1(weight), b = v_set1(bias), low = v_set1(bounds.low), high = v_set1(bounds.high);
    int64_t i = 0;
#define SCALED(x) v_min(high, v_max(low, v_add(v_fma(w, x, v_zero()), b)))
    for (; i + SCALE_VECS * VL <= count; i += SCALE_VECS * VL)
        FC_UNROLL_ALL for (int v = 0; v < SCALE_VECS; v++)
            v_stores(out + i + v * VL, SCALED(v_loads(x + i + v * VL)));
    for (; i < count; i += VL) {
        int64_t left = smaller(count - i, VL);
        v_storesn(out + i, SCALED(v_loadsn(x + i, left)), left);
    }
#undef SCALED
}

/* Output channels [begin, end) x `count` pixels from `pixel` on, a run in x and out. */
static FC_COLD void scale_run(const fc_call *call, int64_t n, int64_t begin, int64_t end, fc_pixel pixel, int64_t count) {
    const fc_part *part = call->part;
    const fc_tensor *x = &call->tensors.x, *out = &call->tensors.out;
    const real *weights = call->packed, *bias = call->tensors.bias;
    fc_bounds bounds = fc_bounds_of(&part->problem);
    for (int64_t channel = begin, group = part->group_out_ch; channel < end; channel += group) {
        const stor *from = (const stor *)x->data + fc_tensor_offset(x, n, channel / group, pixel);
        for (int64_t at = 0, piece; at < count; at += piece) {
            piece = smaller(count - at, SCALE_PIECE);
            for (int64_t i = channel; i < channel + group; i++) {
                stor *to = (stor *)out->data + fc_tensor_offset(out, n, i, pixel) + at;
                scale_piece(weights[i], bias ? bias[i] : -(real)0.0, bounds, from + at, piece, to);
            }
        }
    }
}

/* Output rows [row, row_end), counted through the planes of an image. */
static FC_COLD void scale_rows(const fc_call *call, int64_t n, int64_t begin, int64_t end, int64_t row, int64_t row_end) {
    const fc_part *part = call->part;
    int64_t height = part->axis[1].out, width = part->axis[2].out;
    bool join = fc_planes_join(part, &call->tensors.x) && fc_planes_join(part, &call->tensors.out);
    for (int64_t rows; row < row_end; row += rows) {
        rows = join ? row_end - row : 1;
        scale_run(call, n, begin, end, (fc_pixel){row / height, row % height, 0}, rows * width);
    }
}

#endif
