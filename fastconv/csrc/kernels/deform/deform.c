/* deform: deformable convolution v1 and v2, as implicit GEMM over sampled columns.
 *
 * Tap k of output pixel p reads x bilinearly at p * stride - padding + k * dilation + offset[k, p], zero
 * outside, times mask[k, p] when there is one. The four corners and their shares are found once per tap,
 * pixel and offset group, in double, and used for every channel of the group while the panel is filled.
 * Bound: four strided loads and multiply-adds per panel value, then FMA throughput as in gemm.
 * (Dai et al. 2017; Zhu et al. 2018.) A corner with share zero is outside the window: it is not read, so a NaN
 * there stays where it is. An offset that is NaN makes its sample NaN.
 */
#include "kernels/common/gemm_driver.h"

static const char *rejects(const fc_part *part) {
    return part->problem.operation == FC_CONV_DEFORM ? NULL : "only deformable convolutions";
}

static double seconds(const fc_part *part, const fc_machine *machine) {
    return fc_gemm_seconds(part, machine, 5.0 * VL);
}

static size_t packed_bytes(const fc_part *part) {
    return (size_t)part->problem.out_ch * (size_t)part->reduction * sizeof(real);
}

static void pack(const fc_part *part, const fc_weight_view *weight, const fc_weight_view *pointwise, void *packed) {
    (void)pointwise;
    fc_gemm_pack(part, weight, part->axis, part->group_in_ch, packed);
}

/* Where one tap reads for every pixel of a panel: element offsets from a channel's start, and shares. */
typedef struct samples {
    int64_t corner[4][FC_PANEL_LANES];
    real share[4][FC_PANEL_LANES];
} samples;

static void place_sample(const fc_call *call, double y, double x, real mask, int64_t lane, samples *to) {
    const fc_axis *height = &call->part->axis[1], *width = &call->part->axis[2];
    const int64_t *stride = call->tensors.x.stride;
    for (int corner = 0; corner < 4; corner++) {
        to->corner[corner][lane] = 0;
        to->share[corner][lane] = 0;
    }
    if (isnan(y) || isnan(x)) {
        to->share[0][lane] = (real)NAN;
        return;
    }
    if (!(y > -1 && y < (double)height->in && x > -1 && x < (double)width->in))
        return;
    int64_t top = (int64_t)floor(y), left = (int64_t)floor(x);
    double below = y - (double)top, right = x - (double)left;
    for (int corner = 0; corner < 4; corner++) {
        int64_t h = top + (corner >> 1), w = left + (corner & 1);
        double share = (corner >> 1 ? below : 1 - below) * (corner & 1 ? right : 1 - right);
        if (share > 0 && h >= 0 && h < height->in && w >= 0 && w < width->in) {
            to->corner[corner][lane] = h * stride[3] + w * stride[4];
            to->share[corner][lane] = (real)share * mask;
        }
    }
}

/* Samples of tap (kh, kw) of one offset group for the panel's pixels. A mask of zero or NaN meets the
 * sampled value as a factor, so it is only folded into the shares when it is finite and not zero. */
static bool find_samples(const fc_call *call, int64_t n, int64_t offset_group, int64_t tap, int64_t first,
                         int64_t count, samples *to, real *mask_of_lane) {
    const fc_part *part = call->part;
    const fc_tensor *offset = &call->tensors.offset, *mask = &call->tensors.mask;
    const fc_axis *height = &part->axis[1], *width = &part->axis[2];
    int64_t kh = tap / width->kernel, kw = tap % width->kernel;
    int64_t channel = offset_group * part->taps + tap;
    fc_pixel pixel = fc_pixel_at(part, first);
    bool apart = false;
    for (int64_t lane = 0; lane < count; lane++) {
        const stor *move = (const stor *)offset->data;
        double y = (double)(pixel.h * height->stride + kh * height->dilation - height->pad_before) +
                   (double)s_load(move + fc_tensor_offset(offset, n, 2 * channel, pixel));
        double x = (double)(pixel.w * width->stride + kw * width->dilation - width->pad_before) +
                   (double)s_load(move + fc_tensor_offset(offset, n, 2 * channel + 1, pixel));
        real factor = mask->data ? s_load((const stor *)mask->data + fc_tensor_offset(mask, n, channel, pixel)) : 1;
        bool foldable = factor != 0 && factor - factor == 0;
        apart |= !foldable;
        mask_of_lane[lane] = foldable ? 1 : factor;
        place_sample(call, y, x, foldable ? factor : 1, lane, to);
        if (++pixel.w == width->out)
            fc_pixel_next_row(part, &pixel);
    }
    return apart;
}

FC_INLINE void sample_channel(const stor *channel, const samples *at, int64_t count, real *to) {
    for (int64_t lane = 0; lane < count; lane++) {
        real sum = 0;
        for (int corner = 0; corner < 4; corner++) {
            real share = at->share[corner][lane];
            if (share != 0)
                sum += share * s_load(channel + at->corner[corner][lane]);
        }
        to[lane] = sum;
    }
}

/* The panel of sampled values: an fc_columns_fn. */
static void load_samples(const fc_call *call, int64_t n, int64_t group, int64_t first, int64_t count,
                         int64_t k_begin, int64_t k_end, int64_t width, real *panel) {
    const fc_part *part = call->part;
    const fc_tensor *x = &call->tensors.x;
    int64_t taps = part->taps, per_offset_group = part->problem.in_ch / part->problem.offset_groups;
    int64_t first_channel = group * part->group_in_ch; /* of x */
    int64_t c_begin = first_channel + k_begin / taps, c_end = first_channel + (k_end + taps - 1) / taps;
    const stor *image = (const stor *)x->data + n * x->stride[0];
    samples at;
    real mask_of_lane[FC_PANEL_LANES];
    for (int64_t offset_group = c_begin / per_offset_group; offset_group * per_offset_group < c_end; offset_group++) {
        int64_t c_from = offset_group * per_offset_group, c_to = fc_smaller(c_from + per_offset_group, c_end);
        if (c_from < c_begin)
            c_from = c_begin;
        for (int64_t tap = 0; tap < taps; tap++) {
            bool apart = find_samples(call, n, offset_group, tap, first, count, &at, mask_of_lane);
            for (int64_t c = c_from; c < c_to; c++) {
                int64_t k = (c - first_channel) * taps + tap;
                if (k < k_begin || k >= k_end)
                    continue;
                real *row = panel + (k - k_begin) * width;
                sample_channel(image + c * x->stride[1], &at, count, row);
                for (int64_t lane = 0; apart && lane < count; lane++)
                    row[lane] *= mask_of_lane[lane];
                for (int64_t lane = count; lane < width; lane++)
                    row[lane] = 0;
            }
        }
    }
}

static void run(const fc_call *call, int64_t task, void *scratch) {
    fc_gemm_run(call, task, scratch, call->packed, load_samples);
}

const fc_kernel FC_FN(fc_kernel_deform);
const fc_kernel FC_FN(fc_kernel_deform) = {
    .algorithm = "deform",
    .dtype = FC_TEXT(FC_DTYPE),
    .isa = FC_TEXT(FC_ISA),
    .name = FC_NAME("deform"),
    .rejects = rejects,
    .seconds = seconds,
    .prepare = fc_gemm_prepare,
    .packed_bytes = packed_bytes,
    .pack = pack,
    .partition = fc_gemm_partition,
    .scratch_bytes = fc_gemm_scratch_bytes,
    .run = run,
};
