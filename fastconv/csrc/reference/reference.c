/* reference: the definition, as loops. The tests' truth for geometry and the last resort of dispatch.
 *
 * Sums in double whatever the dtype, reads every element through one function, and is never optimised.
 * Weights are kept as given: [out channel][in channel of the group][tap]; separable: the depthwise
 * [middle channel][tap], then the pointwise [out channel][middle channel].
 */
#include <math.h>
#include <string.h>

#include "kernel.h"
#include "simd/narrow.h"

static double load(fc_dtype dtype, const void *data, int64_t index) {
    switch (dtype) {
    case FC_F64:
        return ((const double *)data)[index];
    case FC_F16:
        return fc_half_to_float(((const uint16_t *)data)[index]);
    case FC_BF16:
        return fc_bfloat16_to_float(((const uint16_t *)data)[index]);
    default:
        return ((const float *)data)[index];
    }
}

static void store(fc_dtype dtype, void *data, int64_t index, double value) {
    switch (dtype) {
    case FC_F64:
        ((double *)data)[index] = value;
        break;
    case FC_F16:
        ((uint16_t *)data)[index] = fc_float_to_half((float)value);
        break;
    case FC_BF16:
        ((uint16_t *)data)[index] = fc_float_to_bfloat16((float)value);
        break;
    default:
        ((float *)data)[index] = (float)value;
    }
}

/* Bias and packed weights are in the compute type. */
static fc_dtype compute_dtype(const fc_part *part) {
    return part->problem.dtype == FC_F64 ? FC_F64 : FC_F32;
}

static double activate(const fc_problem *p, double x) {
    double first = p->activation_param[0], second = p->activation_param[1];
    switch (p->activation) {
    case FC_ACT_RELU:
        return x < 0 ? 0 : x;
    case FC_ACT_LEAKY_RELU:
        return x < 0 ? first * x : x;
    case FC_ACT_CLIP:
        return x < first ? first : x > second ? second : x;
    case FC_ACT_SIGMOID:
        return 1 / (1 + exp(-x));
    case FC_ACT_TANH:
        return tanh(x);
    case FC_ACT_SILU:
        return x / (1 + exp(-x));
    case FC_ACT_HARDSWISH:
        return x * fmin(fmax(x / 6 + 0.5, 0), 1);
    case FC_ACT_NONE:
        break;
    }
    return x;
}

static int64_t offset_of(const fc_tensor *t, int64_t n, int64_t c, int64_t d, int64_t h, int64_t w) {
    return n * t->stride[0] + c * t->stride[1] + d * t->stride[2] + h * t->stride[3] + w * t->stride[4];
}

/* x of image n, channel c at padded coordinates, a padding zero included. */
static double x_at(const fc_call *call, int64_t n, int64_t c, int64_t qd, int64_t qh, int64_t qw) {
    const fc_axis *axis = call->part->axis;
    int64_t d = fc_axis_source(&axis[0], qd), h = fc_axis_source(&axis[1], qh), w = fc_axis_source(&axis[2], qw);
    if (d < 0 || h < 0 || w < 0)
        return 0;
    return load(call->part->problem.dtype, call->tensors.x.data, offset_of(&call->tensors.x, n, c, d, h, w));
}

/* Bilinear sample of x at (y, x_position), zero outside; a corner of weight zero is not read. */
static double x_sampled(const fc_call *call, int64_t n, int64_t c, double y, double x_position) {
    const fc_axis *axis = call->part->axis;
    if (isnan(y) || isnan(x_position))
        return NAN;
    double top = floor(y), left = floor(x_position), sum = 0;
    for (int corner = 0; corner < 4; corner++) {
        double h = top + (corner >> 1), w = left + (corner & 1);
        double share = (1 - fabs(y - h)) * (1 - fabs(x_position - w));
        if (share > 0 && h >= 0 && h < (double)axis[1].in && w >= 0 && w < (double)axis[2].in)
            sum += share * load(call->part->problem.dtype, call->tensors.x.data,
                                offset_of(&call->tensors.x, n, c, 0, (int64_t)h, (int64_t)w));
    }
    return sum;
}

/* What tap (kd, kh, kw) of channel c reads for output pixel (d, h, w). */
static double tap_value(const fc_call *call, int64_t n, int64_t c, const int64_t k[3], const int64_t o[3]) {
    const fc_part *part = call->part;
    int64_t q[3];
    for (int axis = 0; axis < FC_MAX_SPATIAL; axis++)
        q[axis] = o[axis] * part->axis[axis].stride + k[axis] * part->axis[axis].dilation;
    if (part->problem.operation != FC_CONV_DEFORM)
        return x_at(call, n, c, q[0], q[1], q[2]);
    const fc_tensor *offset = &call->tensors.offset, *mask = &call->tensors.mask;
    int64_t offset_group = c / (part->problem.in_ch / part->problem.offset_groups);
    int64_t tap = offset_group * part->taps + k[1] * part->axis[2].kernel + k[2];
    fc_dtype dtype = part->problem.dtype;
    double y = (double)(q[1] - part->axis[1].pad_before) +
               load(dtype, offset->data, offset_of(offset, n, 2 * tap, 0, o[1], o[2]));
    double x = (double)(q[2] - part->axis[2].pad_before) +
               load(dtype, offset->data, offset_of(offset, n, 2 * tap + 1, 0, o[1], o[2]));
    double value = x_sampled(call, n, c, y, x);
    return mask->data ? value * load(dtype, mask->data, offset_of(mask, n, tap, 0, o[1], o[2])) : value;
}

/* Sum over the taps of one input channel with the weights starting at index `weight`. */
static double channel_sum(const fc_call *call, int64_t n, int64_t c, int64_t weight, const int64_t o[3]) {
    const fc_axis *axis = call->part->axis;
    double sum = 0;
    int64_t k[3];
    for (k[0] = 0; k[0] < axis[0].kernel; k[0]++)
        for (k[1] = 0; k[1] < axis[1].kernel; k[1]++)
            for (k[2] = 0; k[2] < axis[2].kernel; k[2]++)
                sum += load(compute_dtype(call->part), call->packed, weight++) * tap_value(call, n, c, k, o);
    return sum;
}

static double pixel_sum(const fc_call *call, int64_t n, int64_t channel, const int64_t o[3]) {
    const fc_part *part = call->part;
    double sum = 0;
    if (part->problem.operation == FC_CONV_SEPARABLE) {
        int64_t multiplier = part->problem.depth_multiplier, middle = part->problem.in_ch * multiplier;
        for (int64_t m = 0; m < middle; m++)
            sum += load(compute_dtype(part), call->packed, middle * part->taps + channel * middle + m) *
                   channel_sum(call, n, m / multiplier, m * part->taps, o);
        return sum;
    }
    int64_t group = channel / part->group_out_ch;
    for (int64_t c = 0; c < part->group_in_ch; c++)
        sum += channel_sum(call, n, group * part->group_in_ch + c, (channel * part->group_in_ch + c) * part->taps, o);
    return sum;
}

static const char *rejects(const fc_part *part) {
    (void)part;
    return NULL;
}

static double seconds(const fc_part *part, const fc_machine *machine) {
    (void)machine;
    return 20e-9 * (1 + (double)part->out_pixels * (double)part->problem.out_ch * (double)part->reduction);
}

static void prepare(fc_part *part, const fc_machine *machine) {
    (void)part;
    (void)machine;
}

static size_t depthwise_count(const fc_part *part) {
    return part->problem.operation == FC_CONV_SEPARABLE
               ? (size_t)(part->problem.in_ch * part->problem.depth_multiplier * part->taps)
               : 0;
}

static size_t packed_bytes(const fc_part *part) {
    size_t dense = part->problem.operation == FC_CONV_SEPARABLE
                       ? (size_t)part->problem.out_ch * (size_t)(part->problem.in_ch * part->problem.depth_multiplier)
                       : (size_t)part->problem.out_ch * (size_t)part->reduction;
    return (depthwise_count(part) + dense) * fc_compute_size(part->problem.dtype);
}

/* One weight view, dense: [group][out][in][d][h][w]. */
static void copy_view(const fc_part *part, const fc_weight_view *view, const int64_t count[6], char *to) {
    size_t size = fc_compute_size(part->problem.dtype);
    const int64_t *s = view->stride;
    int64_t i[6];
    for (i[0] = 0; i[0] < count[0]; i[0]++)
        for (i[1] = 0; i[1] < count[1]; i[1]++)
            for (i[2] = 0; i[2] < count[2]; i[2]++)
                for (i[3] = 0; i[3] < count[3]; i[3]++)
                    for (i[4] = 0; i[4] < count[4]; i[4]++)
                        for (i[5] = 0; i[5] < count[5]; i[5]++, to += size) {
                            int64_t at = i[0] * s[0] + i[1] * s[1] + i[2] * s[2] + i[3] * s[3] + i[4] * s[4] +
                                         i[5] * s[5];
                            memcpy(to, (const char *)view->data + at * (int64_t)size, size);
                        }
}

static void pack(const fc_part *part, const fc_weight_view *weight, const fc_weight_view *pointwise, void *packed,
                 int64_t begin, int64_t end) {
    (void)begin, (void)end; /* all units are one */
    const fc_axis *axis = part->axis;
    const fc_problem *p = &part->problem;
    if (p->operation == FC_CONV_SEPARABLE) {
        int64_t depthwise[6] = {p->in_ch, p->depth_multiplier, 1, axis[0].kernel, axis[1].kernel, axis[2].kernel};
        int64_t dense[6] = {1, p->out_ch, p->in_ch * p->depth_multiplier, 1, 1, 1};
        copy_view(part, weight, depthwise, packed);
        copy_view(part, pointwise, dense,
                  (char *)packed + depthwise_count(part) * fc_compute_size(p->dtype));
        return;
    }
    int64_t count[6] = {p->groups, part->group_out_ch, part->group_in_ch, axis[0].kernel, axis[1].kernel,
                        axis[2].kernel};
    copy_view(part, weight, count, packed);
}

static int64_t partition(const fc_part *part, int threads, int64_t grid[4]) {
    (void)threads;
    (void)grid;
    return part->problem.batch * part->problem.out_ch;
}

static size_t scratch_bytes(const fc_part *part) {
    (void)part;
    return 0;
}

static void run(const fc_call *call, int64_t task, void *scratch) {
    (void)scratch;
    const fc_part *part = call->part;
    const fc_problem *p = &part->problem;
    int64_t n = task / p->out_ch, channel = task % p->out_ch, o[3];
    for (o[0] = 0; o[0] < part->axis[0].out; o[0]++)
        for (o[1] = 0; o[1] < part->axis[1].out; o[1]++)
            for (o[2] = 0; o[2] < part->axis[2].out; o[2]++) {
                double sum = pixel_sum(call, n, channel, o);
                if (call->tensors.bias != NULL)
                    sum += load(compute_dtype(part), call->tensors.bias, channel);
                if (call->tensors.residual.data != NULL)
                    sum += load(p->dtype, call->tensors.residual.data,
                                offset_of(&call->tensors.residual, n, channel, o[0], o[1], o[2]));
                store(p->dtype, call->tensors.out.data,
                      offset_of(&call->tensors.out, n, channel, o[0], o[1], o[2]), activate(p, sum));
            }
}

#define REFERENCE(name_of_dtype)                                    \
    extern const fc_kernel fc_kernel_reference_##name_of_dtype##_scalar; \
    const fc_kernel fc_kernel_reference_##name_of_dtype##_scalar = { \
        .algorithm = "reference",                                   \
        .dtype = #name_of_dtype,                                    \
        .isa = "scalar",                                            \
        .name = "reference." #name_of_dtype ".scalar",              \
        .rejects = rejects,                                         \
        .seconds = seconds,                                         \
        .prepare = prepare,                                         \
        .packed_bytes = packed_bytes,                               \
        .pack = pack,                                               \
        .partition = partition,                                     \
        .scratch_bytes = scratch_bytes,                             \
        .run = run,                                                 \
    };
REFERENCE(f32)
REFERENCE(f64)
REFERENCE(f16)
REFERENCE(bf16)
