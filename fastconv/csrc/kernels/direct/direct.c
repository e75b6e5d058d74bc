/* direct: output channels along the lanes, pixels broadcast.
 *
 * sums[pixel][channel] += window[pixel's place + tap][c] * weights[tap][c][channel], straight from a window of x
 * (window.h) that is dense along input channels, so there are no columns: a value of x is stored once and used
 * by every tap. One tap over channels-last x needs no window. Products of padding zeros are left out (taps.h), as
 * LIBXSMM does (Georganas et al., "Anatomy of high-performance deep learning convolutions on SIMD architectures",
 * 2018). Serves small maps, where lanes of pixels would stay empty, strided and dilated kernels, few input
 * channels and channels-last arrays; narrow group_out_ch leaves lanes empty instead.
 *
 * Weights: [group][block of BLOCK_VECS vectors][chunk of input channels][tap][channel][lane], zeros in lanes past
 * the last channel. A chunk holds about CHUNK_STEPS products per sum, starts from zero and is added to the block's
 * sums, so rounding grows more slowly than in one chain, and its weights (up to 160 KB a block) stream from L2, where a
 * functional call of few pixels packs them right before (pack.h).
 *
 * Tasks go group by group, or beyond L3 block of pixels by block of pixels where channels come last: 320->288 in 32 groups, 1x1
 * over 13650 pixels, 1.6-fold.
 * Loops of a task (image, group, depth, block of rows and columns, block of output channels):
 *     chunk (window loaded into L2) > block of vectors > group of pixels > pairs of rows > tile
 * Channels-last out beyond L2, one chunk: group of pixels > block of vectors, so that all channels of a pixel are stored
 * before the next pixels' and the CPU sees one stream. 1x1 layers of 24 to 64 channels on large maps: 1.15 to 1.35-fold.
 * The last chunk's tiles store to channels-last out from their registers; other layouts are turned around group by
 * group, while the sums are in L1 (store.h).
 * Bound: FMA throughput; L2 gives each tile step two vectors of weights per 14 cycles. One vector of channels needs 15 loads
 * for 14 FMAs: 0.93 of it at most.
 */
#include "kernels/direct/direct_cost.h"
#include "kernels/direct/store.h"

static FC_COLD const char *rejects(const fc_part *part) {
    if (part->problem.operation > FC_CONV_TRANSPOSED)
        return "only plain and transposed convolutions";
    if (part->taps == 0)
        return "a stride phase without taps has nothing to multiply";
    return NULL;
}

/* grid: rows per task, columns per task, lanes per task, tasks per image and group */
static int64_t partition(const fc_part *part, int threads, int64_t grid[4]) {
    int64_t outer = part->problem.batch * part->problem.groups;
    int64_t planes = part->axis[0].out, height = part->axis[1].out, width = part->axis[2].out;
    int64_t lanes = round_up(part->group_out_ch, VL);
    grid[0] = part->block[ROWS];
    grid[1] = part->block[COLUMNS];
    grid[2] = part->block[LANES];
    /* Ranges of lanes load the same window each. */
    int64_t wanted = threads > 1 ? (packs_at_use(part) ? 2 : 4) * (int64_t)threads : 1;
    for (;;) {
        grid[3] = planes * divide_up(height, grid[0]) * divide_up(width, grid[1]) * divide_up(lanes, grid[2]);
        if (outer * grid[3] >= wanted)
            break;
        if (packs_at_use(part) && grid[2] >= 2 * BLOCK_LANES) /* rows would pack the same weights again */
            grid[2] = round_up(divide_up(grid[2], 2), BLOCK_LANES);
        else if (packs_at_use(part) && outer * grid[3] >= threads)
            break;
        else if (grid[0] >= 8)
            grid[0] = round_up(divide_up(grid[0], 2), 2);
        else if (grid[2] >= 4 * BLOCK_LANES)
            grid[2] = round_up(divide_up(grid[2], 2), BLOCK_LANES);
        else if (grid[0] == 1 && grid[1] >= 8 * SEGMENT)
            grid[1] = divide_up(grid[1], 2);
        else
            break;
    }
    return outer * grid[3];
}

#if !FC_IS_NARROW
/* Whether the one tap reads channels that are dense in x as they are. */
static bool reads_in_place(const fc_call *call) {
    const fc_part *part = call->part;
    const fc_tensor *x = &call->tensors.x;
    bool inside = part->taps == 1 && x->stride[1] == 1;
    for (int i = 0; i < FC_MAX_SPATIAL; i++) {
        const fc_axis *axis = &part->axis[i];
        inside &= axis->pad_before == 0 && (axis->out - 1) * axis->stride < axis->in;
    }
    return inside && step_in_place(part, x->stride[4]);
}
#endif

/* A block of output pixels of one image and depth, and what the task does with it. */
typedef struct pixel_block {
    int64_t n, group, depth, row, rows, column, columns;
    int64_t lane_begin, lane_end; /* of the group, lane_end padded to VL */
} pixel_block;

static pixel_block block_of(const fc_call *call, int64_t task) {
    const fc_part *part = call->part;
    const int64_t *grid = call->grid;
    int64_t lanes = round_up(part->group_out_ch, VL);
    int64_t lane_blocks = divide_up(lanes, grid[2]), column_blocks = divide_up(part->axis[2].out, grid[1]);
    int64_t row_blocks = divide_up(part->axis[1].out, grid[0]);
    int64_t pixel_blocks = grid[3] / lane_blocks;
    pixel_block b;
    int64_t rest = task % grid[3], outer = task / grid[3], groups = part->problem.groups;
    b.group = outer % groups;
    b.n = outer / groups;
    if (part->block[PIXELS_FIRST]) {
        b.group = task % groups;
        rest = task / groups % grid[3];
    }
    /* Of weights and x, the larger is gone through once: a worker's tasks follow one another. */
    bool lanes_first = part->taps * lanes > part->in_pixels;
    b.lane_begin = (lanes_first ? rest / pixel_blocks : rest % lane_blocks) * grid[2];
    b.lane_end = smaller(b.lane_begin + grid[2], lanes);
    rest = lanes_first ? rest % pixel_blocks : rest / lane_blocks;
    b.column = rest % column_blocks * grid[1];
    b.columns = smaller(grid[1], part->axis[2].out - b.column);
    rest /= column_blocks;
    b.row = rest % row_blocks * grid[0];
    b.rows = smaller(grid[0], part->axis[1].out - b.row);
    b.depth = rest / row_blocks;
    return b;
}

/* Whether the rows of blocks follow one another in all that a 1 x 1 kernel reads and writes: each block is then one row,
 * which leaves fewer segments shorter than those of narrow maps. */
static bool rows_are_one(const fc_call *call) {
    const fc_part *part = call->part;
    int64_t width = part->axis[2].out;
    bool joined = true; /* in a window they do */
#if !FC_IS_NARROW
    const int64_t *stride = call->tensors.x.stride;
    if (reads_in_place(call))
        joined = part->axis[1].stride == 1 && part->axis[2].stride == 1 && stride[3] == width * stride[4];
#endif
    return part->taps == 1 && call->grid[1] >= width && joined && fc_rows_join(part, &call->tensors.out) &&
           fc_rows_join(part, &call->tensors.residual);
}

/* Pixels of a block of lanes that are finished and stored together. */
typedef struct store_group {
    int64_t rows, columns;
} store_group;

/* The sums of a group of pixels and a block of lanes. */
typedef struct group_sums {
    int64_t row, rows, column, columns; /* of the block */
    int64_t vecs;
    const real *weights;
    real *sums;
    int64_t sums_row;
    bool add;
    const store_to *store;
} group_sums;

/* Whole rows, or a piece of one, of about as many sums as L1 holds beside the window and the weights. */
static store_group store_group_of(int64_t rows, int64_t columns) {
    store_group group = {larger(GROUP_PIXELS / columns / 2 * 2, 1), columns};
    if (columns > GROUP_PIXELS)
        group.columns = GROUP_PIXELS;
    group.rows = smaller(group.rows, rows);
    return group;
}

/* Where one worker keeps its window, the runs of taps, the sums and weights packed at use. */
typedef struct scratch_map {
    size_t taps, sums, weights, bytes;
} scratch_map;

static size_t align_up(size_t bytes) { return (bytes + 63) / 64 * 64; }

static scratch_map scratch_of(const fc_part *part) {
    bool one_chunk = part->block[CHANNELS] >= part->group_in_ch;
    store_group group = store_group_of(part->block[ROWS], part->block[COLUMNS]);
    if (part->taps == 1) /* rows may be one */
        group = store_group_of(1, part->block[ROWS] * part->block[COLUMNS]);
    size_t pixels = (size_t)(one_chunk ? group.rows * group.columns : part->block[ROWS] * part->block[COLUMNS]);
    size_t lanes = (size_t)(one_chunk ? BLOCK_LANES : part->block[LANES]);
    size_t window_bytes = (size_t)window_elements(part, part->block[ROWS], part->block[COLUMNS]) * sizeof(real);
    scratch_map map;
    map.taps = align_up(window_bytes);
    map.sums = map.taps + align_up(2 * (size_t)part->taps * sizeof(tap_run));
    map.weights = map.sums + align_up(pixels * lanes * sizeof(real));
    int64_t packed = packs_at_use(part) ? chunk_channels(part) * part->taps * BLOCK_LANES : 0;
    map.bytes = map.weights + align_up((size_t)packed * sizeof(real));
    return map;
}

static size_t scratch_bytes(const fc_part *part) { return scratch_of(part).bytes; }

/* Whether segment and the next one of a row on its own are of one length and read by all runs of taps: then they go to
 * the tile in twos, as the sums of one are too few to hide the FMA's latency. */
static bool segments_join(const chunk_taps *chunk, int64_t segment, int64_t segments, int64_t long_ones, int64_t column,
                          int64_t pixels, bool whole) {
    bool alike = segment + 1 < segments && (segment + 1 < long_ones || segment >= long_ones);
    return alike && (whole || (column >= chunk->column_begin && column + 2 * pixels <= chunk->column_end));
}

/* Columns [column, column + columns) of one or two rows, in segments of nearly equal length, with the same runs of taps
 * for every tile: what they share is set once. */
static __attribute__((noinline)) void sum_alike(const chunk_taps *chunk, const piece_taps *taps, int64_t row, bool pair,
                                                int64_t column, int64_t columns, const group_sums *group) {
    int64_t segments = divide_up(columns, segment_of(group->vecs)), lanes = group->vecs * VL;
    int64_t shorter = columns / segments, long_ones = columns % segments;
    int64_t down = row - group->row, right = column - group->column;
    tile_job job = tile_job_of(chunk, group->weights, group->sums + down * group->sums_row + right * lanes,
                               group->sums_row, group->add);
    job.taps = taps->run;
    job.tap_count = taps->count;
    job.column = column;
    job.place[0] = row * chunk->row_step + column * chunk->pixel_step;
    job.place[1] = job.place[0] + chunk->row_step;
    job.to = tile_out_of(group->store, down, right, pair, 0);
    for (int64_t segment = 0; segment < segments;) {
        int64_t pixels = shorter + (segment < long_ones);
        bool twin = !pair && segments_join(chunk, segment, segments, long_ones, job.column, pixels, taps->whole);
        if (!pair) {
            job.place[1] = job.place[0] + pixels * job.pixel_step;
            job.sums_step = pixels * lanes;
            job.to.run_step = pixels * job.to.pixel_step;
            job.to.residual_run_step = pixels * job.to.residual_pixel_step;
        }
        if (job.to.fetching == FETCH_AT_ONCE)
            tile_fetch(pair || twin ? 2 : 1, pixels, group->vecs, &job.to);
        tile(pair || twin ? 2 : 1, pixels, group->vecs, &job);
        int64_t done = twin ? 2 * pixels : pixels;
        job.column += done;
        job.place[0] += done * job.pixel_step;
        job.place[1] += done * job.pixel_step;
        job.sums += done * lanes;
        if (job.to.out)
            job.to.out += done * job.to.pixel_step;
        if (job.to.residual)
            job.to.residual += done * job.to.residual_pixel_step;
        segment += twin ? 2 : 1;
    }
}

/* Columns [column, column + columns) of one or two rows. */
static __attribute__((noinline)) void sum_piece(const chunk_taps *chunk, int64_t row, bool pair, int64_t column,
                                                int64_t columns, const group_sums *group) {
    int64_t segments = divide_up(columns, segment_of(group->vecs)), lanes = group->vecs * VL;
    int64_t shorter = columns / segments, long_ones = columns % segments, end = column + columns;
    piece_taps alike = piece_taps_of(chunk, row, pair, column, columns, shorter);
    if (alike.run) {
        sum_alike(chunk, &alike, row, pair, column, columns, group);
        return;
    }
    if (pair && segments > 1) /* taps count for one row of the two: each by itself, in twos, if they count for whole ones */
        alike = piece_taps_of(chunk, row, false, column, columns, shorter);
    if (alike.run) {
        sum_alike(chunk, &alike, row, false, column, columns, group);
        sum_piece(chunk, row + 1, false, column, columns, group);
        return;
    }
    for (int64_t segment = 0; column < end;) {
        int64_t pixels = shorter + (segment < long_ones);
        bool twin = !pair && segments_join(chunk, segment, segments, long_ones, column, pixels, false);
        tile_pixels at = {pair || twin ? 2 : 1, pixels, {row, row + pair}, {column, twin ? column + pixels : column}};
        int64_t down = row - group->row, right = column - group->column;
        tile_out to = tile_out_of(group->store, down, right, pair, pixels);
        sum_tile(chunk, &at, group->vecs, group->weights, group->sums + down * group->sums_row + right * lanes,
                 pair ? group->sums_row : pixels * lanes, group->add, &to);
        column += twin ? 2 * pixels : pixels;
        segment += twin ? 2 : 1;
    }
}

/* A group of pixels, in pieces between the chunk's cuts. */
static void sum_group(const chunk_taps *chunk, const group_sums *group) {
    int64_t column_end = group->column + group->columns, row_end = group->row + group->rows;
    for (int64_t row = group->row; row < row_end; row += 2)
        for (int64_t piece = 0; piece < chunk->cuts; piece++) {
            int64_t begin = larger(chunk->cut[piece], group->column), end = smaller(chunk->cut[piece + 1], column_end);
            if (begin < end)
                sum_piece(chunk, row, row + 1 < row_end, begin, end - begin, group);
        }
}

/* One chunk's products for a block of lanes. */
typedef struct lane_job {
    const fc_call *call;
    const pixel_block *b;
    const chunk_taps *chunk;
    int64_t lane, lanes;
    const real *weights;
    real *sums;           /* of the block of lanes: of all pixels, or with one chunk of a group */
    bool one_chunk, add;
    bool store;           /* the last chunk: the sums go to out */
} lane_job;

/* The group of pixels from (row, column) of the block on. */
static __attribute__((noinline)) void run_group(const lane_job *job, store_group group, int64_t row, int64_t column) {
    const pixel_block *b = job->b;
    const fc_part *part = job->call->part;
    int64_t rows = smaller(group.rows, b->rows - row), columns = smaller(group.columns, b->columns - column);
    int64_t sums_row = (job->one_chunk ? columns : b->columns) * job->lanes;
    real *to = job->one_chunk ? job->sums : job->sums + row * sums_row + column * job->lanes;
    finished f = {.n = b->n, .channel = b->group * part->group_out_ch + job->lane,
                  .count = smaller(job->lanes, part->group_out_ch - job->lane),
                  .first = {b->depth, b->row + row, b->column + column},
                  .rows = rows, .columns = columns, .lanes = job->lanes, .sums_row = sums_row, .sums = to};
    store_to out = {.problem = NULL};
    if (job->store) {
        out = store_to_of(job->call, &f);
        if (part->block[FETCHES])
            out.fetching = job->chunk->length <= STREAM_STEPS ? FETCH_BY_STEPS : FETCH_AT_ONCE;
    }
    group_sums sum = {row, rows, column, columns, job->lanes / VL, job->weights, to, sums_row, job->add, &out};
    sum_group(job->chunk, &sum);
    if (job->store && !out.from_tile)
        store_finished(job->call, &out, &f);
}

/* Products of the chunk of input channels from `channel` on: from x in place or from the window, loaded here. */
static chunk_taps load_chunk(const fc_call *call, const pixel_block *b, int64_t channel, void *scratch,
                             const scratch_map *map) {
    const fc_part *part = call->part;
    tap_run *runs = (tap_run *)(void *)((char *)scratch + map->taps);
    int64_t first[FC_MAX_SPATIAL] = {b->depth, b->row, b->column}, outputs[FC_MAX_SPATIAL] = {1, b->rows, b->columns};
    int64_t channels = smaller(part->block[CHANNELS], part->group_in_ch - channel);
    int64_t group_channel = b->group * part->group_in_ch + channel;
#if !FC_IS_NARROW
    if (reads_in_place(call)) {
        const fc_tensor *x = &call->tensors.x;
        chunk_taps chunk = {.run = runs, .count = 1, .length = channels, .row_end = b->rows, .column_end = b->columns,
                            .pixel_step = part->axis[2].stride * x->stride[4],
                            .row_step = part->axis[1].stride * x->stride[3], .cuts = 1, .cut = {0, b->columns}};
        *runs = (tap_run){.row_end = b->rows, .column_end = b->columns};
        chunk.x = (const real *)x->data +
                  fc_tensor_offset(x, b->n, group_channel,
                                   (fc_pixel){b->depth * part->axis[0].stride, b->row * part->axis[1].stride,
                                              b->column * part->axis[2].stride});
        return chunk;
    }
#endif
    window win = {.channels = channels, .pixel_pitch = pixel_pitch(channels), .skip = skip_of(part)};
    for (int axis = 0; axis < FC_MAX_SPATIAL; axis++) {
        win.axis[axis] = window_axis_of(&part->axis[axis], first[axis], outputs[axis], win.skip.axis[axis]);
        win.first[axis] = first[axis] * part->axis[axis].stride;
    }
    load_window(call, &win, b->n, group_channel, scratch);
    chunk_taps chunk = chunk_taps_of(part, &win, first, outputs, runs);
    chunk.x = scratch;
    return chunk;
}

static void run(const fc_call *call, int64_t task, void *scratch) {
    const fc_part *part = call->part;
    const pixel_block loaded = block_of(call, task);
    pixel_block b = loaded;
    bool one_row = rows_are_one(call);
    if (one_row)
        b.columns *= b.rows, b.rows = 1;
    scratch_map map = scratch_of(part);
    real *sums = (real *)(void *)((char *)scratch + map.sums);
    int64_t in_ch = part->group_in_ch, chunk_size = part->block[CHANNELS];
    bool one_chunk = chunk_size >= in_ch;
    real *room = (real *)(void *)((char *)scratch + map.weights);
    direct_weights weights = weights_of(part, call->packed, b.group, room);
    store_group group = store_group_of(b.rows, b.columns);
    bool by_pixels = one_chunk && part->block[FETCHES] && call->tensors.out.stride[1] == 1 && !packs_at_use(part);
    if (by_pixels)
        group.columns = smaller(group.columns, STREAM_PIXELS);
    for (int64_t channel = 0; channel < in_ch; channel += chunk_size) {
        chunk_taps chunk = load_chunk(call, &loaded, channel, scratch, &map);
        if (one_row)
            chunk.column_end = chunk.run->column_end = chunk.cut[1] = b.columns;
        lane_job job = {.call = call, .b = &b, .chunk = &chunk, .one_chunk = one_chunk, .add = channel > 0,
                        .store = channel + chunk_size >= in_ch, .sums = sums};
        int64_t groups = divide_up(b.rows, group.rows) * divide_up(b.columns, group.columns);
        for (int64_t outer = 0; outer < (by_pixels ? groups : 1); outer++)
            for (job.lane = b.lane_begin; job.lane < b.lane_end; job.lane += job.lanes) {
                job.lanes = smaller(BLOCK_LANES, b.lane_end - job.lane);
                job.weights = weights_at(part, &weights, channel, smaller(chunk_size, in_ch - channel), job.lane,
                                         job.lanes);
                if (!one_chunk)
                    job.sums = sums + (job.lane - b.lane_begin) * b.rows * b.columns;
                for (int64_t i = by_pixels ? outer : 0; i < (by_pixels ? outer + 1 : groups); i++) {
                    int64_t across = divide_up(b.columns, group.columns);
                    run_group(&job, group, i / across * group.rows, i % across * group.columns);
                }
            }
    }
}

const fc_kernel FC_FN(fc_kernel_direct);
const fc_kernel FC_FN(fc_kernel_direct) = {
    .algorithm = "direct",
    .dtype = FC_TEXT(FC_DTYPE),
    .isa = FC_TEXT(FC_ISA),
    .name = FC_NAME("direct"),
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
