/* separable: depthwise k x k, then pointwise 1 x 1, the middle never leaving cache.
 *
 * The implicit GEMM of gemm, whose column k is middle channel k of the depthwise stage, computed into the panel
 * just before the pointwise tiles read it: a panel row is x's row of each tap times its weight, added
 * up with pixels along the lanes. Packed weights: depthwise [middle channel][tap], then the pointwise panels.
 * Bound: FMA throughput of the pointwise stage; the depthwise stage costs taps loads and FMAs per panel
 * vector, shared by out_ch. (MobileNet, Howard et al. 2017; Xception, Chollet 2017.)
 */
#include "kernels/common/gemm_driver.h"

static FC_COLD const char *rejects(const fc_part *part) {
    return part->problem.operation == FC_CONV_SEPARABLE ? NULL : "only depthwise separable convolutions";
}

static FC_COLD double seconds(const fc_part *part, const fc_machine *machine) {
    bool dense = !part->problem.x_channels_last && part->axis[2].stride == 1;
    return fc_gemm_seconds(part, machine, 1, part->out_pixels, (double)part->taps * (dense ? 2.0 : 1.5 * VL));
}

/* The pointwise panels start on a cache line. */
static int64_t depthwise_count(const fc_part *part) {
    return divide_up(part->reduction * part->taps, VL) * VL;
}

static size_t packed_bytes(const fc_part *part) {
    return (size_t)(depthwise_count(part) + part->problem.out_ch * part->reduction) * sizeof(real);
}

static void pack(const fc_part *part, const fc_weight_view *weight, const fc_weight_view *pointwise, void *packed,
                 int64_t begin, int64_t end) {
    (void)begin, (void)end; /* all units are one */
    const int64_t *s = weight->stride;
    real *to = packed;
    for (int64_t c = 0; c < part->problem.in_ch; c++)
        for (int64_t m = 0; m < part->problem.depth_multiplier; m++)
            for (int64_t kd = 0; kd < part->axis[0].kernel; kd++)
                for (int64_t kh = 0; kh < part->axis[1].kernel; kh++)
                    for (int64_t kw = 0; kw < part->axis[2].kernel; kw++)
                        *to++ = ((const real *)weight->data)[c * s[0] + m * s[1] + kd * s[3] + kh * s[4] + kw * s[5]];
    static const fc_axis point[FC_MAX_SPATIAL] = {{.kernel = 1}, {.kernel = 1}, {.kernel = 1}};
    fc_gemm_pack(part, pointwise, point, part->reduction, (real *)packed + depthwise_count(part), 0,
                 fc_gemm_pack_units(part));
}

/* sums[i] += weight * x of one tap, for the lanes of one run. */
FC_INLINE void add_tap(const fc_axis *width, const fc_run_source *run, const stor *channel, int64_t width_stride,
                       real weight, real *sums) {
    real values[FC_PANEL_LANES];
    vec factor = v_set1(weight);
    fc_load_run(width, run, channel, width_stride, values);
    int64_t i = 0;
    for (; i + VL <= run->count; i += VL)
        v_store(sums + i, v_fma(factor, v_load(values + i), v_load(sums + i)));
    if (i < run->count) {
        int64_t n = run->count - i;
        v_storen(sums + i, v_fma(factor, v_loadn(values + i, n), v_loadn(sums + i, n)), n);
    }
}

/* The panel of depthwise results: an fc_columns_fn. */
static void load_depthwise(const fc_call *call, int64_t n, int64_t group, int64_t first, int64_t count,
                           int64_t k_begin, int64_t k_end, int64_t pitch, real *panel) {
    const fc_part *part = call->part;
    const fc_tensor *x = &call->tensors.x;
    int64_t kh_count = part->axis[1].kernel, kw_count = part->axis[2].kernel;
    const stor *image = (const stor *)x->data + n * x->stride[0];
    (void)group;
    for (int64_t i = 0; i < (k_end - k_begin) * pitch; i++)
        panel[i] = 0;
    fc_pixel pixel = fc_pixel_at(part, first);
    for (int64_t lane = 0; lane < count;) {
        int64_t run_count = smaller(part->axis[2].out - pixel.w, count - lane);
        for (int64_t tap = 0; tap < part->taps; tap++) {
            int64_t kw = tap % kw_count, kh = tap / kw_count % kh_count, kd = tap / kw_count / kh_count;
            fc_run_source run = fc_run_of(part, x, pixel, lane, run_count, kd, kh, kw);
            for (int64_t k = k_begin; k < k_end; k++)
                add_tap(&part->axis[2], &run, image + k / part->problem.depth_multiplier * x->stride[1], x->stride[4],
                        ((const real *)call->packed)[k * part->taps + tap], panel + (k - k_begin) * pitch + lane);
        }
        lane += run_count;
        pixel.w += run_count - 1;
        fc_pixel_next_row(part, &pixel);
    }
}

static void place(fc_gemm_block *block, const fc_sweep *sweep, real *room, int64_t *offset) {
    fc_pack_panels(block, sweep, sweep->begin, room, offset, load_depthwise);
}

static void run(const fc_call *call, int64_t task, void *scratch) {
    fc_gemm_run(call, task, scratch, (const real *)call->packed + depthwise_count(call->part), place);
}

const fc_kernel FC_FN(fc_kernel_separable);
const fc_kernel FC_FN(fc_kernel_separable) = {
    .algorithm = "separable",
    .dtype = FC_TEXT(FC_DTYPE),
    .isa = FC_TEXT(FC_ISA),
    .name = FC_NAME("separable"),
    .rejects = rejects,
    .seconds = seconds,
    .prepare = fc_gemm_prepare,
    .packed_bytes = packed_bytes,
    .pack = pack,
    .partition = fc_gemm_partition,
    .scratch_bytes = fc_gemm_scratch_bytes,
    .run = run,
};
