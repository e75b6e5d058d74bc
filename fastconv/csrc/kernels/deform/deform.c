/* deform: deformable convolution v1 and v2, as implicit GEMM over sampled columns.
 *
 * Tap k of output pixel p reads x bilinearly at p * stride - padding + k * dilation + offset[k, p], zero
 * outside, times mask[k, p] when there is one. The four corners and their shares are found once per tap,
 * pixel and offset group, in double, and used for every channel of the group while the panel is filled:
 * where x has dense channels, VL of them at a time for VL pixels, a square that is transposed in registers.
 * Steps of the reduction are ordered tap by tap, channels inside.
 * Bound: a square costs 4 VL loads and FMAs and its transposition, about 9 cycles a panel vector, beside the
 * FMAs of gemm; x with dense pixels costs four scalar loads a value instead. (Dai et al. 2017; Zhu et al. 2018.)
 *
 * A corner with share zero is outside the window: it is not read, so a NaN there stays where it is. An offset
 * that is NaN makes its sample NaN.
 */
#include "kernels/common/gemm_driver.h"
#include "kernels/common/transpose.h"

static FC_COLD const char *rejects(const fc_part *part) {
    return part->problem.operation == FC_CONV_DEFORM ? NULL : "only deformable convolutions";
}

static FC_COLD double seconds(const fc_part *part, const fc_machine *machine) {
    double sharing = (double)(part->problem.in_ch / part->problem.offset_groups); /* channels a sample serves */
    sharing = sharing < (double)part->group_in_ch ? sharing : (double)part->group_in_ch;
    double fill = part->problem.x_channels_last ? 9.0 : 3.0 * VL;
    return fc_gemm_seconds(part, machine, 1, part->out_pixels, fill + 30.0 * VL / sharing);
}

static size_t packed_bytes(const fc_part *part) {
    return (size_t)part->problem.out_ch * (size_t)part->reduction * sizeof(real);
}

/* The reduction runs tap by tap: to fc_gemm_pack, a tap's row is the channel and a channel the tap along width. */
static void pack(const fc_part *part, const fc_weight_view *weight, const fc_weight_view *pointwise, void *packed,
                 int64_t begin, int64_t end) {
    (void)pointwise;
    const int64_t *s = weight->stride;
    fc_weight_view turned = {weight->data, {s[0], s[1], s[4], s[5], 0, s[2]}};
    fc_axis axis[FC_MAX_SPATIAL] = {part->axis[2], part->axis[0], part->axis[2]};
    axis[2].kernel = part->group_in_ch;
    fc_gemm_pack(part, &turned, axis, part->axis[1].kernel, packed, begin, end);
}

/* Where one tap reads for one pixel: element offsets from a channel's start, and shares; `corners` of them, or
 * fewer than four because the others lie outside or have no share. */
typedef struct sample {
    int64_t corner[4];
    real share[4];
    int64_t corners;
} sample;

static void place_sample(const fc_call *call, double y, double x, real mask, sample *to) {
    const fc_axis *height = &call->part->axis[1], *width = &call->part->axis[2];
    int64_t row = call->tensors.x.stride[3], column = call->tensors.x.stride[4];
    to->corners = 0;
    if (!(y > -1 && y < (double)height->in && x > -1 && x < (double)width->in)) {
        if (isnan(y) || isnan(x))
            *to = (sample){.share = {(real)NAN}, .corners = 1};
        return;
    }
    int64_t top = (int64_t)(y + 1) - 1, left = (int64_t)(x + 1) - 1; /* floors: y and x are above -1 */
    double below = y - (double)top, right = x - (double)left;
    int64_t place = top * row + left * column;
    const double share[4] = {(1 - below) * (1 - right), (1 - below) * right, below * (1 - right), below * right};
    if (top >= 0 && top + 1 < height->in && left >= 0 && left + 1 < width->in && below > 0 && right > 0) {
        for (int corner = 0; corner < 4; corner++) {
            to->corner[corner] = place + (corner >> 1) * row + (corner & 1) * column;
            to->share[corner] = (real)share[corner] * mask;
        }
        to->corners = 4;
        return;
    }
    for (int corner = 0; corner < 4; corner++) {
        int64_t h = top + (corner >> 1), w = left + (corner & 1);
        if (share[corner] > 0 && h >= 0 && h < height->in && w >= 0 && w < width->in) {
            to->corner[to->corners] = h * row + w * column;
            to->share[to->corners++] = (real)share[corner] * mask;
        }
    }
}

/* Samples of tap (kh, kw) of one offset group for the panel's pixels. A mask of zero or NaN meets the
 * sampled value as a factor, so it is only folded into the shares when it is finite and not zero. */
static bool find_samples(const fc_call *call, int64_t n, int64_t offset_group, int64_t tap, int64_t first,
                         int64_t count, sample *to, real *mask_of_lane) {
    const fc_part *part = call->part;
    const fc_tensor *offset = &call->tensors.offset, *mask = &call->tensors.mask;
    const fc_axis *height = &part->axis[1], *width = &part->axis[2];
    int64_t kh = tap / width->kernel, kw = tap % width->kernel;
    int64_t channel = offset_group * part->taps + tap;
    fc_pixel pixel = fc_pixel_at(part, first);
    bool apart = false;
    for (int64_t lane = 0; lane < count; lane++) {
        const stor *move = (const stor *)offset->data + fc_tensor_offset(offset, n, 2 * channel, pixel);
        double y = (double)(pixel.h * height->stride + kh * height->dilation - height->pad_before) +
                   (double)s_load(move);
        double x = (double)(pixel.w * width->stride + kw * width->dilation - width->pad_before) +
                   (double)s_load(move + offset->stride[1]);
        real factor = mask->data ? s_load((const stor *)mask->data + fc_tensor_offset(mask, n, channel, pixel)) : 1;
        bool foldable = factor != 0 && factor - factor == 0;
        apart |= !foldable;
        mask_of_lane[lane] = foldable ? 1 : factor;
        place_sample(call, y, x, foldable ? factor : 1, &to[lane]);
        if (++pixel.w == width->out)
            fc_pixel_next_row(part, &pixel);
    }
    for (int64_t lane = count; lane < round_up(count, VL); lane++)
        to[lane].corners = 0;
    return apart;
}

/* One channel of x for every pixel, x with any strides. */
FC_INLINE void sample_channel(const stor *channel, const sample *at, int64_t count, real *to) {
    for (int64_t lane = 0; lane < count; lane++) {
        real sum = 0;
        if (at[lane].corners == 4) { /* nearly always */
            for (int corner = 0; corner < 4; corner++)
                sum += at[lane].share[corner] * s_load(channel + at[lane].corner[corner]);
        } else {
            for (int64_t corner = 0; corner < at[lane].corners; corner++)
                sum += at[lane].share[corner] * s_load(channel + at[lane].corner[corner]);
        }
        to[lane] = sum;
    }
}

FC_INLINE vec sample_corner(const int whole, const stor *x, const sample *at, int64_t corner, int64_t channels, vec sum) {
    const stor *from = x + at->corner[corner];
    return v_fma(v_set1(at->share[corner]), whole ? v_loads(from) : v_loadsn(from, channels), sum);
}

FC_INLINE vec sample_lanes(const int whole, const stor *x, const sample *at, int64_t channels) {
    vec sum = v_zero();
    if (at->corners == 4) {
        FC_UNROLL_SQUARE for (int corner = 0; corner < 4; corner++)
            sum = sample_corner(whole, x, at, corner, channels, sum);
        return sum;
    }
    for (int64_t corner = 0; corner < at->corners; corner++)
        sum = sample_corner(whole, x, at, corner, channels, sum);
    return sum;
}

/* Dense channels [0, channels) of x for VL pixels, to as many rows of the panel. */
static void sample_square(const stor *x, const sample *at, int64_t channels, real *panel, int64_t pitch) {
    vec square[VL];
    if (channels == VL)
        for (int i = 0; i < VL; i++)
            square[i] = sample_lanes(1, x, at + i, VL);
    else
        for (int i = 0; i < VL; i++)
            square[i] = sample_lanes(0, x, at + i, channels);
    fc_store_square(square, VL, channels, panel, pitch);
}

/* Rows of the panel for channels [c, c + channels) of one tap. */
static void fill_rows(const fc_tensor *x, const stor *channel, const sample *at, int64_t channels, int64_t count,
                      real *panel, int64_t pitch) {
    if (x->stride[1] == 1) {
        for (int64_t lane = 0; lane < count; lane += VL)
            for (int64_t c = 0; c < channels; c += VL)
                sample_square(channel + c, at + lane, smaller(VL, channels - c), panel + c * pitch + lane, pitch);
        return;
    }
    for (int64_t c = 0; c < channels; c++)
        sample_channel(channel + c * x->stride[1], at, round_up(count, VL), panel + c * pitch);
}

/* The panel of sampled values, k = tap * channels + channel: an fc_columns_fn. */
static void load_samples(const fc_call *call, int64_t n, int64_t group, int64_t first, int64_t count,
                         int64_t k_begin, int64_t k_end, int64_t pitch, real *panel) {
    const fc_part *part = call->part;
    const fc_tensor *x = &call->tensors.x;
    int64_t channels = part->group_in_ch, per_offset_group = part->problem.in_ch / part->problem.offset_groups;
    sample at[FC_PANEL_LANES];
    real mask_of_lane[FC_PANEL_LANES];
    for (int64_t k = k_begin, next; k < k_end; k = next) {
        int64_t tap = k / channels, c = group * channels + k % channels; /* of x */
        int64_t offset_group = c / per_offset_group;
        int64_t c_end = smaller((offset_group + 1) * per_offset_group, (group + 1) * channels);
        next = smaller(k + c_end - c, k_end);
        bool apart = find_samples(call, n, offset_group, tap, first, count, at, mask_of_lane);
        real *rows = panel + (k - k_begin) * pitch;
        fill_rows(x, (const stor *)x->data + n * x->stride[0] + c * x->stride[1], at, next - k, count, rows, pitch);
        for (int64_t row = 0; apart && row < next - k; row++)
            for (int64_t lane = 0; lane < count; lane++)
                rows[row * pitch + lane] *= mask_of_lane[lane];
    }
}

static void place(fc_gemm_block *block, const fc_sweep *sweep, real *room, int64_t *offset) {
    fc_pack_panels(block, sweep, sweep->begin, room, offset, load_samples);
}

static void run(const fc_call *call, int64_t task, void *scratch) {
    fc_gemm_run(call, task, scratch, call->packed, place);
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
    .pack_units = fc_gemm_pack_units,
    .pack = pack,
    .partition = fc_gemm_partition,
    .scratch_bytes = fc_gemm_scratch_bytes,
    .run = run,
};
