/* gemm: implicit GEMM over columns packed a panel at a time (common/columns.h, common/gemm_driver.h).
 *
 * Runs every plain and transposed convolution: any rank, stride, dilation, group, padding and layout.
 * Bound: FMA throughput. Packing costs one load and store per panel vector against group_out_ch
 * FMAs, so few output channels are its weak side, and channels-last tensors pay for transposing.
 */
#include "kernels/common/gemm_driver.h"

static const char *rejects(const fc_part *part) {
    if (part->problem.operation > FC_CONV_TRANSPOSED)
        return "only plain and transposed convolutions";
    return NULL;
}

static double seconds(const fc_part *part, const fc_machine *machine) {
    bool dense = !part->problem.x_channels_last && part->axis[2].stride == 1;
    /* Each output row of a panel is a run of its own, and its setup outweighs its few vectors. */
    double runs = (double)(part->axis[0].out * part->axis[1].out) + (double)part->out_pixels / FC_PANEL_LANES;
    double vectors = (double)fc_divide_up(part->out_pixels, VL);
    double setup = vectors > 0 ? 28.0 * runs / vectors : 0;
    return fc_gemm_seconds(part, machine, setup + (dense ? 3.0 : 1.6 * VL));
}

static size_t packed_bytes(const fc_part *part) {
    return (size_t)part->problem.out_ch * (size_t)part->reduction * sizeof(real);
}

static void pack(const fc_part *part, const fc_weight_view *weight, const fc_weight_view *pointwise,
                 void *packed) {
    (void)pointwise;
    fc_gemm_pack(part, weight, part->axis, part->group_in_ch, packed);
}

static void run(const fc_call *call, int64_t task, void *scratch) {
    fc_gemm_run(call, task, scratch, call->packed, fc_load_columns);
}

const fc_kernel FC_FN(fc_kernel_gemm);
const fc_kernel FC_FN(fc_kernel_gemm) = {
    .algorithm = "gemm",
    .dtype = FC_TEXT(FC_DTYPE),
    .isa = FC_TEXT(FC_ISA),
    .name = FC_NAME("gemm"),
    .rejects = rejects,
    .seconds = seconds,
    .prepare = fc_gemm_prepare,
    .packed_bytes = packed_bytes,
    .pack = pack,
    .partition = fc_gemm_partition,
    .scratch_bytes = fc_gemm_scratch_bytes,
    .run = run,
};
