#include "problem.h"

#include "error.h"

static const char *const axis_names[FC_MAX_SPATIAL] = {"depth", "height", "width"};

fc_problem fc_problem_default(fc_dtype dtype, int spatial_rank) {
    fc_problem problem = {.dtype = dtype,
                          .spatial_rank = spatial_rank,
                          .batch = 1,
                          .in_ch = 1,
                          .out_ch = 1,
                          .groups = 1,
                          .depth_multiplier = 1,
                          .offset_groups = 1};
    for (int axis = 0; axis < FC_MAX_SPATIAL; axis++) {
        problem.in_size[axis] = problem.kernel[axis] = 1;
        problem.stride[axis] = problem.dilation[axis] = 1;
    }
    return problem;
}

/* Products and sums that stay below 2^62, so that derived sums of two cannot wrap either. */
static bool mul_fits(int64_t a, int64_t b, int64_t *out) {
    return !__builtin_mul_overflow(a, b, out) && *out < ((int64_t)1 << 62);
}

static fc_status check_axis(const fc_problem *p, int axis, int64_t *out) {
    const char *name = axis_names[axis];
    int64_t in = p->in_size[axis], kernel = p->kernel[axis];
    int64_t stride = p->stride[axis], dilation = p->dilation[axis];
    int64_t before = p->pad_before[axis], after = p->pad_after[axis];
    if (in < 0)
        return fc_fail(FC_INVALID_ARGUMENT, "x: %s is %lld, wanted 0 or more", name, (long long)in);
    if (kernel < 1)
        return fc_fail(FC_INVALID_ARGUMENT, "weight: kernel %s is %lld, wanted 1 or more", name,
                       (long long)kernel);
    if (stride < 1)
        return fc_fail(FC_INVALID_ARGUMENT, "stride: %s is %lld, wanted 1 or more", name,
                       (long long)stride);
    if (dilation < 1)
        return fc_fail(FC_INVALID_ARGUMENT, "dilation: %s is %lld, wanted 1 or more", name,
                       (long long)dilation);
    if (before < 0 || after < 0)
        return fc_fail(FC_INVALID_ARGUMENT, "padding: %s is (%lld, %lld), wanted 0 or more", name,
                       (long long)before, (long long)after);
    int64_t limit = (int64_t)1 << 40; /* no axis is longer; keeps every derived size below 2^62 */
    int64_t reach;
    if (in > limit || before > limit || after > limit || stride > limit ||
        !mul_fits(kernel - 1, dilation, &reach) || reach > limit)
        return fc_fail(FC_OVERFLOW, "%s: size, padding, stride or kernel * dilation above 2**40", name);
    if (p->operation == FC_CONV_TRANSPOSED) {
        int64_t spread;
        int64_t extra = p->output_padding[axis];
        if (extra < 0 || (extra >= stride && extra >= dilation))
            return fc_fail(FC_INVALID_ARGUMENT,
                           "output_padding: %s is %lld, wanted 0 or more and less than stride %lld or "
                           "dilation %lld",
                           name, (long long)extra, (long long)stride, (long long)dilation);
        if (!mul_fits(in - 1, stride, &spread) || spread > limit)
            return fc_fail(FC_OVERFLOW, "out: %s above 2**40", name);
        *out = in == 0 ? 0 : spread - before - after + reach + extra + 1;
        if (*out < 0)
            return fc_fail(FC_INVALID_ARGUMENT, "padding: %s (%lld, %lld) leaves an output of %lld",
                           name, (long long)before, (long long)after, (long long)*out);
        return FC_OK;
    }
    /* Short of the kernel by less than a stride is an empty output; by more, no output at all. */
    int64_t room = in + before + after - reach - 1;
    if (room < -stride)
        return fc_fail(FC_INVALID_ARGUMENT,
                       "weight: kernel %s covers %lld with dilation %lld, but x with padding has only "
                       "%lld",
                       name, (long long)reach + 1, (long long)dilation, (long long)(in + before + after));
    *out = room < 0 ? 0 : room / stride + 1;
    if (*out == 0)
        return FC_OK;
    int64_t most = before > after ? before : after;
    if (p->pad_mode == FC_PAD_REFLECT && most > 0 && most >= in)
        return fc_fail(FC_INVALID_ARGUMENT, "padding: reflect of %lld needs %s above it, x has %lld",
                       (long long)most, name, (long long)in);
    if (p->pad_mode == FC_PAD_CIRCULAR && most > in)
        return fc_fail(FC_INVALID_ARGUMENT, "padding: circular of %lld needs at least that %s, x has %lld",
                       (long long)most, name, (long long)in);
    if (p->pad_mode == FC_PAD_REPLICATE && most > 0 && in == 0)
        return fc_fail(FC_INVALID_ARGUMENT, "padding: replicate needs a non-empty %s", name);
    return FC_OK;
}

static fc_status check_channels(const fc_problem *p) {
    if (p->batch < 0)
        return fc_fail(FC_INVALID_ARGUMENT, "x: batch is %lld, wanted 0 or more", (long long)p->batch);
    if (p->in_ch < 1 || p->out_ch < 1)
        return fc_fail(FC_INVALID_ARGUMENT, "weight: channels are %lld in, %lld out, wanted 1 or more",
                       (long long)p->in_ch, (long long)p->out_ch);
    if (p->groups < 1 || p->in_ch % p->groups || p->out_ch % p->groups)
        return fc_fail(FC_INVALID_ARGUMENT,
                       "groups: %lld, wanted a divisor of the %lld input and %lld output channels",
                       (long long)p->groups, (long long)p->in_ch, (long long)p->out_ch);
    if (p->operation == FC_CONV_SEPARABLE && (p->depth_multiplier < 1 || p->groups != 1))
        return fc_fail(FC_INVALID_ARGUMENT, "depthwise_weight: multiplier %lld, groups %lld, wanted 1 or "
                       "more and 1", (long long)p->depth_multiplier, (long long)p->groups);
    if (p->operation == FC_CONV_DEFORM && (p->offset_groups < 1 || p->in_ch % p->offset_groups))
        return fc_fail(FC_INVALID_ARGUMENT, "offset: %lld groups, wanted a divisor of %lld channels",
                       (long long)p->offset_groups, (long long)p->in_ch);
    return FC_OK;
}

fc_status fc_problem_check(const fc_problem *p, int64_t out_size[FC_MAX_SPATIAL]) {
    if ((unsigned)p->dtype >= FC_DTYPE_COUNT || (unsigned)p->operation > FC_CONV_SEPARABLE ||
        (unsigned)p->pad_mode > FC_PAD_CIRCULAR || (unsigned)p->activation > FC_ACT_HARDSWISH ||
        (unsigned)p->precision > FC_PRECISION_MEDIUM || p->spatial_rank < 1 ||
        p->spatial_rank > FC_MAX_SPATIAL)
        return fc_fail(FC_INVALID_ARGUMENT, "problem: an enumeration or the rank is out of range");
    fc_status status = check_channels(p);
    if (status != FC_OK)
        return status;
    if (p->pad_mode != FC_PAD_ZEROS && p->operation != FC_CONV && p->operation != FC_CONV_SEPARABLE)
        return fc_fail(FC_UNSUPPORTED, "padding_mode: this operation knows only zeros");
    int64_t in_elements = p->in_ch, out_elements = p->out_ch, weight_elements;
    if (!mul_fits(p->in_ch / p->groups, p->out_ch, &weight_elements) ||
        !mul_fits(in_elements, p->batch ? p->batch : 1, &in_elements) ||
        !mul_fits(out_elements, p->batch ? p->batch : 1, &out_elements))
        return fc_fail(FC_OVERFLOW, "x: batch times channels does not fit");
    for (int axis = 0; axis < FC_MAX_SPATIAL; axis++) {
        status = check_axis(p, axis, &out_size[axis]);
        if (status != FC_OK)
            return status;
        int64_t in = p->in_size[axis] ? p->in_size[axis] : 1;
        int64_t out = out_size[axis] ? out_size[axis] : 1;
        if (!mul_fits(in_elements, in, &in_elements) || !mul_fits(out_elements, out, &out_elements) ||
            !mul_fits(weight_elements, p->kernel[axis], &weight_elements))
            return fc_fail(FC_OVERFLOW, "x, weight or out: more than 2**62 elements");
    }
    return FC_OK;
}

fc_status fc_problem_out_size(const fc_problem *problem, int64_t out_size[FC_MAX_SPATIAL]) {
    return fc_problem_check(problem, out_size);
}

/* Stride phases along one axis: those that own an output at all. */
static int64_t phase_count(const fc_problem *p, const int64_t *out_size, int axis) {
    if (p->operation != FC_CONV_TRANSPOSED)
        return 1;
    return p->stride[axis] < out_size[axis] ? p->stride[axis] : out_size[axis];
}

int64_t fc_problem_part_count(const fc_problem *p, const int64_t out_size[FC_MAX_SPATIAL]) {
    int64_t count = 1;
    for (int axis = 0; axis < FC_MAX_SPATIAL; axis++)
        if (!mul_fits(count, phase_count(p, out_size, axis), &count))
            return INT64_MAX;
    return count;
}

double fc_problem_flops(const fc_problem *p, const int64_t out_size[FC_MAX_SPATIAL]) {
    const int64_t *pixels = p->operation == FC_CONV_TRANSPOSED ? p->in_size : out_size;
    double taps = 1, positions = (double)p->batch;
    for (int axis = 0; axis < FC_MAX_SPATIAL; axis++) {
        taps *= (double)p->kernel[axis];
        positions *= (double)pixels[axis];
    }
    if (p->operation == FC_CONV_SEPARABLE) {
        double middle = (double)(p->in_ch * p->depth_multiplier);
        return 2 * positions * middle * (taps + (double)p->out_ch);
    }
    return 2 * positions * taps * (double)p->out_ch * (double)(p->in_ch / p->groups);
}

/* One stride phase along one axis. Output o receives x[i] * w[k] when i * s + k * d - p == o, so the
 * outputs with (o + p) mod s == phase read the taps with k * d mod s == phase: an arithmetic
 * progression of step s / gcd(s, d). Written over m, o = start + s * m, that is a correlation of
 * stride 1 and dilation d / gcd(s, d) with those taps in reverse. */
static void transposed_axis(const fc_problem *p, int axis, int64_t out, int64_t start, fc_part *part) {
    int64_t stride = p->stride[axis], dilation = p->dilation[axis], pad = p->pad_before[axis];
    int64_t phase = (start + pad) % stride;
    int64_t step = fc_common_divisor(stride, dilation);
    int64_t tap_step = stride / step, tap_dilation = dilation / step;
    int64_t first = 0;
    while (first < p->kernel[axis] && first < tap_step && (first * dilation) % stride != phase)
        first++;
    bool reached = first < p->kernel[axis] && (first * dilation) % stride == phase;
    int64_t taps = reached ? (p->kernel[axis] - 1 - first) / tap_step + 1 : 0;
    fc_axis *a = &part->axis[axis];
    a->in = p->in_size[axis];
    a->kernel = taps;
    a->stride = 1;
    a->dilation = tap_dilation;
    a->out = (out - start - 1) / stride + 1;
    a->pad_before = reached ? (taps - 1) * tap_dilation - (start + pad - first * dilation) / stride : 0;
    a->pad_mode = FC_PAD_ZEROS;
    part->in_step[axis] = 1;
    part->tap_start[axis] = reached ? first + (taps - 1) * tap_step : 0;
    part->tap_step[axis] = -tap_step;
    part->out_start[axis] = start;
    part->out_step[axis] = stride;
}

/* Leaves out the places between those that taps can read, where padding zeros are all there is beside x. */
static void plain_axis(const fc_problem *p, int axis, int64_t out, fc_part *part) {
    fc_axis a = {.in = p->in_size[axis], .out = out, .kernel = p->kernel[axis], .stride = p->stride[axis],
                 .dilation = p->dilation[axis], .pad_before = p->pad_before[axis], .pad_mode = p->pad_mode};
    int64_t unit = fc_axis_unit(&a), start = 0;
    if (axis == FC_MAX_SPATIAL - 1 || p->operation == FC_CONV_DEFORM || p->pad_mode != FC_PAD_ZEROS)
        unit = 1;
    if (unit > 1) {
        start = (unit - a.pad_before % unit) % unit;
        a.pad_before = (a.pad_before + start) / unit;
        a.in = a.in > start ? (a.in - start - 1) / unit + 1 : 0;
        a.stride /= unit;
        a.dilation = a.kernel > 1 ? a.dilation / unit : 1;
    }
    part->axis[axis] = a;
    part->in_start[axis] = a.in > 0 ? start : 0;
    part->in_step[axis] = unit;
    part->tap_step[axis] = part->out_step[axis] = 1;
}

void fc_problem_part(const fc_problem *p, const int64_t out_size[FC_MAX_SPATIAL], int64_t index,
                     fc_part *part) {
    *part = (fc_part){.problem = *p};
    part->group_in_ch = p->in_ch / p->groups;
    part->group_out_ch = p->out_ch / p->groups;
    part->taps = part->out_pixels = part->in_pixels = 1;
    for (int axis = FC_MAX_SPATIAL - 1; axis >= 0; axis--) {
        if (p->operation == FC_CONV_TRANSPOSED) {
            int64_t phases = phase_count(p, out_size, axis);
            transposed_axis(p, axis, out_size[axis], index % phases, part);
            index /= phases;
        } else {
            plain_axis(p, axis, out_size[axis], part);
        }
        if (part->axis[axis].kernel == 1) /* lies apart from nothing, and keeps no kernel from sharing rows */
            part->axis[axis].dilation = 1;
        part->taps *= part->axis[axis].kernel;
        part->out_pixels *= part->axis[axis].out;
        part->in_pixels *= part->axis[axis].in;
    }
    part->reduction = part->group_in_ch * part->taps;
    if (p->operation == FC_CONV_SEPARABLE)
        part->reduction = p->in_ch * p->depth_multiplier;
}

/* Every step[axis]-th place of a tensor from start[axis] on. */
static fc_tensor places_of(fc_tensor tensor, const int64_t *start, const int64_t *step, fc_dtype dtype) {
    int64_t offset = 0;
    for (int axis = 0; axis < FC_MAX_SPATIAL; axis++) {
        offset += start[axis] * tensor.stride[2 + axis];
        tensor.stride[2 + axis] *= step[axis];
    }
    tensor.data = (char *)tensor.data + offset * (int64_t)fc_storage_size(dtype);
    return tensor;
}

fc_tensor fc_part_x(const fc_part *part, fc_tensor x) {
    return places_of(x, part->in_start, part->in_step, part->problem.dtype);
}

fc_tensor fc_part_out(const fc_part *part, fc_tensor out) {
    return out.data ? places_of(out, part->out_start, part->out_step, part->problem.dtype) : out;
}

fc_weight_view fc_part_weight(const fc_part *part, fc_weight_view weight) {
    int64_t offset = 0;
    for (int axis = 0; axis < FC_MAX_SPATIAL; axis++) {
        offset += part->tap_start[axis] * weight.stride[3 + axis];
        weight.stride[3 + axis] *= part->tap_step[axis];
    }
    weight.data = (const char *)weight.data + offset * (int64_t)fc_compute_size(part->problem.dtype);
    return weight;
}
