/* gemm: implicit GEMM, pixels along the lanes (common/gemm_driver.h).
 *
 * Runs every plain and transposed convolution: any rank, stride, dilation, group, padding and layout. Where the
 * columns come from: a pointwise convolution reads x where it lies; rows of whole vectors are read from padded rows,
 * shifted by the tap (shifted.h); the rest is packed a panel at a time (common/columns.h).
 * Bound: FMA throughput. Packing costs one load and store per panel vector against group_out_ch FMAs, so few output
 * channels are its weak side, as are small maps, and channels-last tensors pay for transposing.
 */
#include "kernels/gemm/shifted.h"

static const char *rejects(const fc_part *part) {
    if (part->problem.operation > FC_CONV_TRANSPOSED)
        return "only plain and transposed convolutions";
    return NULL;
}

static size_t packed_bytes(const fc_part *part) {
    return (size_t)part->problem.out_ch * (size_t)part->reduction * sizeof(real);
}

static void pack(const fc_part *part, const fc_weight_view *weight, const fc_weight_view *pointwise,
                 void *packed) {
    (void)pointwise;
    fc_gemm_pack(part, weight, part->axis, part->group_in_ch, packed);
}

/* The columns of a pointwise convolution are x's rows where they lie, but for a tail that would read past a plane. */
static bool columns_are_rows(const fc_part *part) {
    bool same = !FC_IS_NARROW && part->taps == 1;
    for (int i = 0; i < FC_MAX_SPATIAL; i++) {
        const fc_axis *axis = &part->axis[i];
        same &= axis->in == axis->out && axis->stride == 1 && axis->pad_before == 0;
    }
    return same;
}

static void place(fc_gemm_block *block, const fc_sweep *sweep, real *room, int64_t *offset) {
    const fc_part *part = block->call->part;
    const fc_tensor *x = &block->call->tensors.x;
    int64_t p = sweep->begin;
    if (columns_are_rows(part) && x->stride[4] == 1 && fc_planes_join(part, x)) {
        const real *columns = (const real *)x->data + block->n * x->stride[0] +
                              (block->group * part->group_in_ch + sweep->k) * x->stride[1];
        for (int64_t step = 0; step < sweep->depth; step++)
            offset[step] = step * x->stride[1];
        for (; p < sweep->end && block->panel[p].count == block->panel[p].vecs * VL; p++) {
            block->panel[p].columns = columns + block->panel[p].first;
            block->panel[p].offset = offset;
        }
        offset += FC_GEMM_CHUNK_MOST;
    }
    if (p < sweep->end)
        fc_pack_panels(block, sweep, p, room, offset, fc_load_columns);
}

static void prepare(fc_part *part, const fc_machine *machine) {
    fc_gemm_prepare(part, machine);
    shifted_prepare(part, machine);
}

static double seconds(const fc_part *part, const fc_machine *machine) {
    bool last = part->problem.x_channels_last;
    if (columns_are_rows(part) && !last)
        return fc_gemm_seconds(part, machine, 1, part->out_pixels, 0);
    fc_part blocked = *part;
    prepare(&blocked, machine);
    int64_t rows = part->axis[0].out * part->axis[1].out, width = part->axis[2].out;
    if (blocked.block[SHIFTED_ROWS]) {
        shifted s = shifted_of(&blocked, blocked.block[SHIFTED_ROWS], blocked.block[SHIFTED_COLUMNS]);
        /* Vectors of x copied, for each of the block's outputs, channels and taps. */
        int64_t vectors = blocked.block[SHIFTED_ROWS] * divide_up(blocked.block[SHIFTED_COLUMNS], VL);
        double copied = (double)(s.channel_pitch / VL) / (double)(vectors * part->taps);
        return fc_gemm_seconds(part, machine, rows, width, copied * (last ? 2.5 * VL : 6.0));
    }
    bool dense = !last && part->axis[2].stride == 1;
    /* Each output row of a panel is a run of its own, and its setup outweighs its few vectors. */
    double runs = (double)rows + (double)part->out_pixels / FC_PANEL_LANES;
    double vectors = (double)divide_up(part->out_pixels, VL);
    double setup = vectors > 0 ? 28.0 * runs / vectors : 0;
    return fc_gemm_seconds(part, machine, 1, part->out_pixels, setup + (dense ? 3.0 : 1.6 * VL));
}

static int64_t partition(const fc_part *part, int threads, int64_t grid[4]) {
    return part->block[SHIFTED_ROWS] ? shifted_partition(part, threads, grid) : fc_gemm_partition(part, threads, grid);
}

static size_t scratch_bytes(const fc_part *part) {
    if (part->block[SHIFTED_ROWS] == 0)
        return fc_gemm_scratch_bytes(part);
    int64_t count = shifted_of(part, part->block[SHIFTED_ROWS], part->block[SHIFTED_COLUMNS]).count;
    return (size_t)(fc_gemm_sums(part, part->block[FC_GEMM_PANELS]) + count) * sizeof(real);
}

static void run(const fc_call *call, int64_t task, void *scratch) {
    if (call->part->block[SHIFTED_ROWS] == 0) {
        fc_gemm_run(call, task, scratch, call->packed, place);
        return;
    }
    fc_gemm_block block;
    shifted_cut(&block, fc_gemm_block_of(call, task, &block));
    fc_gemm_run_block(&block, scratch, call->packed, shifted_place);
}

const fc_kernel FC_FN(fc_kernel_gemm);
const fc_kernel FC_FN(fc_kernel_gemm) = {
    .algorithm = "gemm",
    .dtype = FC_TEXT(FC_DTYPE),
    .isa = FC_TEXT(FC_ISA),
    .name = FC_NAME("gemm"),
    .rejects = rejects,
    .seconds = seconds,
    .prepare = prepare,
    .packed_bytes = packed_bytes,
    .pack = pack,
    .partition = partition,
    .scratch_bytes = scratch_bytes,
    .run = run,
};
