/* gemm: implicit GEMM, pixels along the lanes (common/gemm_driver.h).
 *
 * Runs every plain and transposed convolution: any rank, stride, dilation, group, padding and layout. Where the
 * columns come from: a pointwise convolution reads x where it lies, or copies it row by row where many channels of out
 * stream past or planes meet in few sets of L1 (copies_rows); rows that fill their vectors, or of few outputs, are read from padded rows, shifted by the tap
 * (shifted.h); the rest is packed a panel at a time (common/columns.h). Channels-last rows are turned around in squares on
 * their way in, and sums on their way out.
 * A functional call of few pixels reads its weights where they lie.
 * Bound: FMA throughput; a tile in L1 reaches 0.95 to 0.99 of it (AVX2: 0.91 at 32 steps, 0.99 at 256), or 0.88 to 0.9
 * with AVX2 when vectors of columns lie across cache lines or in a page each. Measured with one core of Zen 4, weights
 * packed, AVX-512 and AVX2, of 118 GFLOP/s: 1x1 on 56 x 56 maps 108 to 113 and 90 to 101, on 14 x 14 107 and 92, on 7 x 7
 * 84 and 75 (49 of 64 lanes filled, of 56). With one core of Sapphire Rapids, of 165 and 82 GFLOP/s, a tile in L1 reaches
 * 0.87, 0.92 and 0.94 at 27, 64 and 128 steps (AVX2, tiles of 6 x 2: 0.85, 0.90, 0.91); where x and out lie in its slow L3, their
 * lines are asked for ahead, without which 1x1 on 112 x 112 maps fell to 0.4. What they still cost, AVX-512, rows copied,
 * 24->144 and 32->64 on such maps, and 256->64 on 56 x 56 (which as it is reads them in place): with neither x nor out 137,
 * 125, 133 GFLOP/s; with out 118, 116, 129; with x 128, 114, 110; with both 109, 100, 108. A plain loop fills an out of 3
 * to 13 MB at 20 to 25 GB/s, in runs of 1 KB a plane as well as in one; in runs of 256 bytes, without asking ahead, at 14
 * to 17.
 * Packing costs one load and store per panel vector against group_out_ch FMAs, so small maps are its weak side; channels-last
 * tensors pay for their squares, half full where a tile has half a vector of channels.
 */
#define FC_FETCHES_BY_STEPS 1
#include "kernels/common/at_use.h"
#include "kernels/common/l1_sets.h"
#include "kernels/gemm/shifted.h"

static FC_COLD const char *rejects(const fc_part *part) {
    if (part->problem.operation > FC_CONV_TRANSPOSED)
        return "only plain and transposed convolutions";
    return NULL;
}

enum { UNPACKED_PIXELS = 512, LEAD_PANELS = 16 };

/* Weights of one call that few pixels share are read where they lie: an output channel's are a stream along the
 * reduction. Sums are added in the same order as from packed ones, so the bits are the same. */
static bool reads_unpacked(const fc_part *part) {
    return part->problem.pack_per_call && part->out_pixels < UNPACKED_PIXELS;
}

/* Weights of one call begin with where they lie; that alone tells both forms apart by their size. */
static size_t view_bytes(const fc_part *part) { return part->problem.pack_per_call ? FC_VIEW_BYTES : 0; }

static size_t packed_bytes(const fc_part *part) {
    size_t panels = (size_t)part->problem.out_ch * (size_t)part->reduction * sizeof(real);
    return view_bytes(part) + (reads_unpacked(part) ? 0 : panels);
}

static int64_t pack_units(const fc_part *part) { return reads_unpacked(part) ? 1 : fc_gemm_pack_units(part); }

static void pack(const fc_part *part, const fc_weight_view *weight, const fc_weight_view *pointwise, void *packed,
                 int64_t begin, int64_t end) {
    (void)pointwise;
    if (reads_unpacked(part))
        memcpy(packed, weight, sizeof *weight);
    else
        fc_gemm_pack(part, weight, part->axis, part->group_in_ch, (real *)((char *)packed + view_bytes(part)), begin,
                     end);
}

/* The columns of a pointwise convolution are x's rows where they lie, but for a tail that would read past a plane. */
static bool columns_are_rows(const fc_part *part) { return !FC_IS_NARROW && fc_pixels_are_line(part); }

static bool reads_in_place(const fc_call *call) {
    const fc_tensor *x = &call->tensors.x;
    return columns_are_rows(call->part) && x->stride[4] == 1 && fc_planes_join(call->part, x);
}

/* Pixels from `first` on that go before vectors which are aligned in every plane of x; vectors across two lines of the
 * cache cost the tile a tenth and more of its speed. */
static int64_t lead_pixels(const fc_gemm_block *block, int64_t first, int64_t count) {
    const fc_tensor *x = &block->call->tensors.x;
    const real *from = (const real *)x->data + block->n * x->stride[0] +
                       block->group * block->call->part->group_in_ch * x->stride[1] + first;
    int64_t over = (int64_t)((uintptr_t)from % sizeof(vec) / sizeof(real));
    bool pays = x->stride[1] % VL == 0 && count >= LEAD_PANELS * FC_PANEL_LANES;
    return over > 0 && pays ? VL - over : 0;
}

/* What comes after `sweep`: the next panels, or the next chunk of the first ones. */
static fc_ahead rows_ahead(const fc_gemm_block *block, const fc_sweep *sweep) {
    const fc_part *part = block->call->part;
    const fc_tensor *x = &block->call->tensors.x;
    int64_t k = sweep->k, begin = sweep->end, panels = sweep->end - sweep->begin;
    if (begin == block->panels) {
        k += sweep->depth;
        begin = 0;
        panels = part->block[FC_GEMM_SWEEP];
    }
    int64_t last = smaller(begin + panels, block->panels) - 1, first = block->panel[begin].first;
    int64_t pixels = block->panel[last].first + block->panel[last].count - first;
    int64_t depth = smaller(part->block[FC_GEMM_CHUNK], part->reduction - k);
    const real *from = (const real *)x->data + block->n * x->stride[0] +
                       (block->group * part->group_in_ch + k) * x->stride[1] + first;
    return (fc_ahead){(const char *)from, x->stride[1] * (int64_t)sizeof(real), pixels * (int64_t)sizeof(real), depth};
}

/* Whether rows that could be read in place are copied. Where out streams past and has twice the channels or more, its lines
 * drive from L1 the rows that all those channels read again, a page each: 24->144, 32->64 and 64->256 gain 5 to 10 %; 64->64
 * would lose 2 to 9, 96->24 16. Planes that begin at few places of a page, as those of a power of two do, drive each other's
 * rows from its sets: on 64 x 64 maps 1.5 to 1.75-fold. With fewer channels the rows are read too seldom. */
static bool copies_rows(const fc_call *call) {
    enum { LEAST_CHANNELS = 32, MOST_L1_BYTES = (VL >= 16 ? 128 : 32) << 10 };
    const fc_part *part = call->part;
    int64_t l1_bytes = fc_l1_bytes_of(part->block[FC_GEMM_CHUNK], call->tensors.x.stride[1] * (int64_t)sizeof(real));
    bool streams = part->block[FC_GEMM_FETCHES] && part->group_out_ch >= 2 * part->reduction;
    return streams || (l1_bytes > MOST_L1_BYTES && part->group_out_ch >= LEAST_CHANNELS);
}

/* Copies the rows of panels [begin, end), `step` apart from `from` on, into dense panels from `to` on. */
static void copy_rows(const fc_panel *panel, int64_t begin, int64_t end, const real *from, int64_t step, int64_t depth,
                      real *to) {
    for (int64_t k = 0; k < depth; k++, from += step, to += FC_PANEL_LANES) {
        real *row = to;
        for (int64_t p = begin; p < end; p++, row += depth * FC_PANEL_LANES)
            for (int64_t v = 0; v < panel[p].vecs; v++)
                v_store(row + v * VL, v_load(from + panel[p].first + v * VL));
    }
}

static void place(fc_gemm_block *block, const fc_sweep *sweep, real *room, int64_t *offset) {
    const fc_part *part = block->call->part;
    const fc_tensor *x = &block->call->tensors.x;
    int64_t p = sweep->begin, end = p;
    if (reads_in_place(block->call)) {
        block->ahead = rows_ahead(block, sweep);
        const real *columns = (const real *)x->data + block->n * x->stride[0] +
                              (block->group * part->group_in_ch + sweep->k) * x->stride[1];
        bool copies = copies_rows(block->call);
        for (int64_t step = 0; step < sweep->depth; step++)
            offset[step] = step * (copies ? FC_PANEL_LANES : x->stride[1]);
        while (end < sweep->end && block->panel[end].first + block->panel[end].vecs * VL <= part->out_pixels)
            end++;
        if (copies)
            copy_rows(block->panel, p, end, columns, x->stride[1], sweep->depth, room);
        for (; p < end; p++) {
            block->panel[p].columns = copies ? room : columns + block->panel[p].first;
            block->panel[p].offset = offset;
            room += copies ? sweep->depth * FC_PANEL_LANES : 0;
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

/* Cycles of copying rows besides their vectors: of a row, or of both phases of one, and of a call for some; of a row of a
 * vector of channels that are turned around. */
#define ROW_CYCLES 21.0
#define PHASES_CYCLES 12.0
#define COPY_CYCLES 79.0
#define TURN_CYCLES 25.0
/* Of a run that is one vector, and of where such runs of a chunk's channels lie. */
#define VECTOR_RUN_CYCLES 7.0
#define VECTOR_FOUND_CYCLES 40.0

static bool is_padded(const fc_part *part) {
    bool padded = false;
    for (int i = 0; i < FC_MAX_SPATIAL; i++) {
        const fc_axis *axis = &part->axis[i];
        padded |= axis->pad_before > 0 || (axis->out - 1) * axis->stride + fc_axis_reach(axis) - axis->pad_before >= axis->in;
    }
    return padded;
}

/* Cycles of a vector of one channel's row, where squares turn vectors of pixels of so many channels around: into panels in
 * L1, or into rows in L2. */
static double turned_cycles(int64_t channels, bool into_rows) {
    double squares = (double)divide_up(channels, VL), wide = into_rows ? 5.2 : 6.6, narrow = into_rows ? 3.5 : 4.5;
    double least = into_rows ? (VL == 16 ? 80.0 : 24.0) : 0; /* of a square, and for each of its channels */
    double filled = into_rows ? (double)channels / squares : VL;
    return 1.5 + (least + (VL == 16 ? wide : narrow) * filled) * squares / (double)channels;
}

/* Besides their bytes, for lines of x beyond L2 that are a pixel apart, which no prefetcher foresees. */
static double lines_seconds(const fc_part *part, const fc_machine *machine) {
    double bytes = (double)(part->in_pixels * part->problem.in_ch) * (double)sizeof(stor);
    return 1.5 * bytes * fc_cost_beyond_l2(part, machine) / fc_cost_far_rate(part, machine);
}

/* But for weights that come from afar. */
static FC_COLD double near_seconds(const fc_part *part, const fc_machine *machine) {
    bool last = part->problem.x_channels_last && part->problem.in_ch > 1; /* one channel lies alike in both layouts */
    double lines = 1.02; /* loads from other lines each time */
    double mixed = fc_cost_mixed(machine, FC_PASTE(FC_ISA_, FC_ISA));
    double unpacked = reads_unpacked(part) ? lines : 1;
    if (part->out_pixels == 0 || part->reduction == 0)
        return fc_gemm_seconds(part, machine, 1, part->out_pixels, 0);
    if (columns_are_rows(part) && !last) {
        /* The last panel is packed if its vectors end past the channel's. */
        int64_t vectors = divide_up(part->out_pixels, VL), tail = part->out_pixels % VL ? (vectors - 1) % GEMM_VECS + 1 : 0;
        double packed = tail ? mixed * (28.0 + 3.0 * (double)tail) / (double)vectors : 0;
        return fc_gemm_seconds(part, machine, 1, part->out_pixels, packed) * unpacked * (tail ? lines * lines : 1);
    }
    fc_part blocked = *part;
    prepare(&blocked, machine);
    int64_t rows = part->axis[0].out * part->axis[1].out, width = part->axis[2].out;
    double inside = fc_cost_inside(&part->axis[0]) * fc_cost_inside(&part->axis[1]); /* the other rows are zeros */
    bool turns = part->problem.x_channels_last && fc_channels_turn(&part->axis[2], part->problem.in_ch, part->group_in_ch);
    if (blocked.block[SHIFTED_ROWS]) {
        shifted s = shifted_of(&blocked, blocked.block[SHIFTED_ROWS], blocked.block[SHIFTED_COLUMNS]);
        /* Vectors of x copied, for each of the block's outputs, channels and taps. */
        int64_t vectors = blocked.block[SHIFTED_ROWS] * divide_up(blocked.block[SHIFTED_COLUMNS], VL);
        double copied = (double)(s.channel_pitch / VL) / (double)(vectors * part->taps);
        /* Sixteen rows are copied at once; where channels have one, each of them is set up for a row of its own. */
        double row = part->axis[2].stride > 1 ? PHASES_CYCLES : ROW_CYCLES;
        double calls = (double)part->axis[0].kernel * ((double)s.rows * row + (double)divide_up(s.rows, 16) * COPY_CYCLES);
        if (turns)
            calls = (double)(part->axis[0].kernel * s.rows) * TURN_CYCLES / (double)smaller(part->group_in_ch, VL);
        calls += 10.0 * (double)part->taps; /* each step's place */
        bool drawn = !last || part->problem.in_ch == 2 || part->problem.in_ch == 4; /* from lines of other values too */
        double value = part->axis[2].stride > 1 || last ? 10.0 : 6.5;
        double square = turned_cycles(part->group_in_ch, true) * (part->axis[2].stride > 1 ? 1.25 : 1);
        copied *= inside * (turns ? square : drawn ? value : 1.3 * VL);
        copied = mixed * (copied + calls / (double)(vectors * part->taps));
        return unpacked * fc_gemm_seconds(part, machine, rows, width, copied) +
               (turns ? lines_seconds(part, machine) : 0);
    }
    bool dense = !last && part->axis[2].stride == 1;
    /* Each output row of a panel is a run of its own, and its setup outweighs its few vectors. */
    double panels = (double)part->out_pixels / FC_PANEL_LANES, apart = columns_are_rows(part) ? 1 : (double)rows;
    double runs = apart + panels, vectors = (double)divide_up(part->out_pixels, VL);
    /* Runs that padding cuts branch otherwise at each of many taps. */
    double padded = is_padded(part) ? 17.0 * (double)part->taps / (double)(part->taps + 32) : 0;
    bool strided = part->axis[2].stride > 1;
    /* Vectors draw every second or fourth value together, others come one by one; rows that end in all lanes of panels have
     * branches nobody foresees. */
    bool drawn = !FC_IS_NARROW && !last && (part->axis[2].stride == 2 || part->axis[2].stride == 4);
    double run = drawn ? 20.0 : strided || part->axis[2].out % 4 ? 32.0 : 20.0;
    /* Where a run lies is found once for the channels of a chunk. */
    int64_t channels = smaller(part->group_in_ch, larger(FC_GEMM_CHUNK_MOST / larger(part->taps, 1), 1));
    double found = (strided ? 40.0 : 20.0) / (double)channels + padded;
    if (turns) { /* a run in squares, of which its last fills a part */
        double squares = runs * (double)divide_up((int64_t)((double)part->out_pixels / runs) + 1, VL) / vectors;
        double setup = mixed * (run / (double)smaller(channels, VL) + found);
        return unpacked * fc_gemm_seconds(part, machine, 1, part->out_pixels,
                                          setup * runs / vectors + inside * squares * turned_cycles(channels, false));
    }
    double setup = (run + found) * runs / vectors, vector = dense || drawn ? 6.3 : inside * 1.2 * VL;
    if (dense && part->axis[2].out <= VL && part->axis[2].pad_mode == FC_PAD_ZEROS) /* each run a vector */
        setup = (VECTOR_RUN_CYCLES + VECTOR_FOUND_CYCLES / (double)channels) * runs / vectors, vector = 0;
    return unpacked * fc_gemm_seconds(part, machine, 1, part->out_pixels, mixed * (setup + vector));
}

static FC_COLD double seconds(const fc_part *part, const fc_machine *machine) {
    double bytes = (double)part->problem.out_ch * (double)part->reduction * sizeof(real);
    /* Weights read where they lie are a stream for each output channel, more than the hardware follows; those of one call
     * that are packed: cost.c. */
    double passes = reads_unpacked(part) ? 1.5 : part->problem.pack_per_call ? 0 : 1;
    return near_seconds(part, machine) + passes * fc_cost_weights(bytes, machine);
}

static int64_t partition(const fc_part *part, int threads, int64_t grid[4]) {
    return part->block[SHIFTED_ROWS] ? shifted_partition(part, threads, grid) : fc_gemm_partition(part, threads, grid);
}

static size_t scratch_bytes(const fc_part *part) {
    int64_t panels = part->block[FC_GEMM_PANELS], sums = fc_gemm_sums(part, panels + 1);
    int64_t columns = part->block[FC_GEMM_CHUNK] * part->block[FC_GEMM_SWEEP] * FC_PANEL_LANES;
    if (part->block[SHIFTED_ROWS])
        columns = shifted_of(part, part->block[SHIFTED_ROWS], part->block[SHIFTED_COLUMNS]).count;
    return (size_t)(sums + columns) * sizeof(real);
}

static void run(const fc_call *call, int64_t task, void *scratch) {
    const fc_part *part = call->part;
    fc_gemm_block block;
    int64_t pixel_block = fc_gemm_block_of(call, task, &block);
    block.unpacked = reads_unpacked(part) ? call->packed : NULL;
    const real *weights = (const real *)((const char *)call->packed + view_bytes(part));
    if (part->block[SHIFTED_ROWS]) {
        shifted_cut(&block, pixel_block);
        fc_gemm_run_block(&block, scratch, weights, shifted_place);
        return;
    }
    int64_t lanes = call->grid[0] * FC_PANEL_LANES, first = pixel_block * lanes;
    int64_t count = smaller(lanes, part->out_pixels - first);
    int64_t lead = reads_in_place(call) ? lead_pixels(&block, first, count) : 0;
    fc_cut_panels(&block, first, lead);
    fc_cut_panels(&block, first + lead, count - lead);
    fc_gemm_run_block(&block, scratch, weights, place);
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
    .pack_units = pack_units,
    .pack = pack,
    .partition = partition,
    .scratch_bytes = scratch_bytes,
    .run = run,
};
