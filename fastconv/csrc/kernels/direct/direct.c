/* direct: output channels along the lanes, pixels broadcast.
 *
 * sums[pixel][channel] += window[pixel's place + tap][c] * weights[tap][c][channel], straight from a window of x
 * (window.h) that is dense along input channels, so there are no columns: a value of x is stored once and used
 * by every tap. Serves small maps, where lanes of pixels would stay empty, strided and dilated kernels, few input
 * channels and channels-last arrays; narrow group_out_ch leaves lanes empty instead.
 *
 * Weights: [group][block of BLOCK_VECS vectors][chunk of input channels][tap][channel][lane], zeros in lanes past
 * the last channel. A chunk holds about CHUNK_STEPS products per sum, starts from zero and is added to the block's
 * sums, so rounding grows more slowly than in one chain, and its weights (a few tens of KB a block) stream from L2.
 *
 * Loops of a task (image, group, depth, block of rows and columns, block of output channels):
 *     chunk (window loaded into L2) > block of vectors > pairs of rows > tile
 * Bound: FMA throughput; L2 gives each tile step two vectors of weights per 14 cycles.
 */
#include "kernels/direct/tile.h"
#include "kernels/direct/window.h"

enum { CHANNELS = 0, ROWS = 1, COLUMNS = 2, LANES = 3 }; /* of part->block */
enum { CHUNK_STEPS = 768, BLOCK_LANES = BLOCK_VECS * VL };

static int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }
static int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }
static int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }
static int64_t round_up(int64_t a, int64_t b) { return divide_up(a, b) * b; }

static const char *rejects(const fc_part *part) {
    if (part->problem.operation > FC_CONV_TRANSPOSED)
        return "only plain and transposed convolutions";
    if (part->taps == 0)
        return "a stride phase without taps has nothing to multiply";
    return NULL;
}

/* A function of the weights' shape alone: it fixes the order of additions and the packed form. */
static int64_t chunk_channels(const fc_part *part) {
    int64_t chunks = divide_up(part->reduction, CHUNK_STEPS);
    return smaller(round_up(divide_up(part->group_in_ch, chunks), 16), part->group_in_ch);
}

/* Short chunks stay dense, so that the taps of a row are one run; longer ones get a pitch that spreads the
 * pixels of a tile over the sets of L1 and over the steps at which they reach a new line. */
static int64_t pixel_pitch(int64_t channels) { return channels < 32 ? channels : round_up(channels, 16) + 4; }

static int64_t window_elements(const fc_part *part, int64_t rows, int64_t columns) {
    const int64_t outputs[FC_MAX_SPATIAL] = {1, rows, columns};
    int64_t elements = pixel_pitch(part->block[CHANNELS]);
    for (int axis = 0; axis < FC_MAX_SPATIAL; axis++)
        elements *= window_axis_of(&part->axis[axis], outputs[axis]).count;
    return elements;
}

/* The block of pixels: as much of the map as keeps the window and the sums in L2, whole rows if possible. */
static void prepare(fc_part *part, const fc_machine *machine) {
    int64_t l2 = (int64_t)(machine->l2_bytes / sizeof(real));
    int64_t *block = part->block;
    block[CHANNELS] = chunk_channels(part);
    block[LANES] = smaller(round_up(part->group_out_ch, VL), 16 * BLOCK_LANES);
    int64_t lanes = block[CHANNELS] < part->group_in_ch ? block[LANES] : BLOCK_LANES;
    int64_t pixels = larger(l2 * 3 / 8 / lanes, 2 * SEGMENT);
    int64_t width = larger(part->axis[2].out, 1), height = larger(part->axis[1].out, 1);
    int64_t columns = smaller(width, pixels);
    while (columns > 2 * SEGMENT && window_elements(part, 1, columns) > l2 / 3)
        columns = divide_up(columns, 2);
    columns = divide_up(width, divide_up(width, columns));
    int64_t rows = smaller(height, larger(pixels / columns, 1));
    while (rows > 1 && window_elements(part, rows, columns) > l2 / 3)
        rows--;
    rows = divide_up(height, divide_up(height, rows));
    if (rows > 1 && rows < height)
        rows += rows % 2; /* rows go in pairs */
    block[ROWS] = rows;
    block[COLUMNS] = columns;
}

/* Cycles of one step (one input channel of one tap) over a row of `columns` pixels, cut as run() cuts it. */
static double row_cycles(int64_t columns, int64_t runs, int64_t vecs) {
    int64_t segments = divide_up(columns, SEGMENT);
    double cycles = 0;
    for (int wide = 0; wide < 2; wide++) {
        int64_t count = wide ? columns % segments : segments - columns % segments;
        double pixels = (double)(runs * (columns / segments + wide));
        double fma = pixels * (double)vecs / 2, loads = (pixels + (double)vecs) / 2;
        double issue = (pixels * (double)(vecs + 1) + (double)vecs + 4) / 4, most = fma > loads ? fma : loads;
        most = most > issue ? most : issue;
        cycles += (double)count * (most > TILE_LATENCY ? most : TILE_LATENCY) / (double)runs;
    }
    return cycles;
}

/* Cycles to load every window once: a block of output channels past the first loads them again. */
static double window_cycles(const fc_part *part, const fc_machine *machine) {
    fc_part blocked = *part;
    prepare(&blocked, machine);
    const int64_t *block = blocked.block;
    int64_t tasks = part->axis[0].out * divide_up(part->axis[1].out, block[ROWS]) *
                    divide_up(part->axis[2].out, block[COLUMNS]) *
                    divide_up(round_up(part->group_out_ch, VL), block[LANES]);
    double positions = (double)window_elements(&blocked, block[ROWS], block[COLUMNS]) /
                       (double)pixel_pitch(block[CHANNELS]);
    double channels = (double)part->group_in_ch, vectors = channels / VL;
    double chunks = (double)divide_up(part->group_in_ch, block[CHANNELS]);
    double dense = chunks * 10 + vectors * 3;           /* copies of a few vectors */
    double turned = channels <= 4 ? channels * 3 : 8 * (vectors < 1 ? 1 : vectors); /* squares, or one by one */
    bool strided = window_axis_of(&part->axis[2], 2).unit > 1;
    if (strided)
        turned = channels * 2;
    return (double)tasks * positions * (part->problem.x_channels_last ? dense : turned);
}

static double seconds(const fc_part *part, const fc_machine *machine) {
    double groups = (double)part->problem.groups, reduction = (double)part->reduction;
    double rows = (double)(part->axis[0].out * part->axis[1].out), pixels = (double)part->out_pixels;
    int64_t vectors = divide_up(part->group_out_ch, VL), pairs = vectors / BLOCK_VECS;
    int64_t columns = part->axis[2].out, runs = part->axis[1].out > 1 ? 2 : 1;
    if (part->out_pixels == 0)
        return 0;
    double step = (double)pairs * row_cycles(columns, runs, BLOCK_VECS);
    if (vectors % BLOCK_VECS)
        step += row_cycles(columns, runs, 1);
    double chunks = (double)divide_up(part->group_in_ch, chunk_channels(part));
    double tile = rows * step * reduction / 0.88 + pixels * (double)vectors * chunks * 6;
    double store = pixels * (part->problem.out_channels_last ? (double)(12 * divide_up(vectors, 2) + 5 * vectors)
                                                             : 12.0 * (double)vectors);
    double cycles = groups * (tile + window_cycles(part, machine) + store);
    return cycles / (machine->vector_fma_rate[FC_PASTE(FC_ISA_, FC_ISA)] / 2);
}

static size_t packed_bytes(const fc_part *part) {
    return (size_t)(part->problem.groups * round_up(part->group_out_ch, VL) * part->reduction) * sizeof(real);
}

/* One input channel range of one block of lanes: [tap][channel][lane]. */
static real *pack_chunk(const fc_part *part, const real *from, const int64_t *s, int64_t channels, int64_t count,
                        int64_t lanes, real *to) {
    for (int64_t kd = 0; kd < part->axis[0].kernel; kd++)
        for (int64_t kh = 0; kh < part->axis[1].kernel; kh++)
            for (int64_t kw = 0; kw < part->axis[2].kernel; kw++)
                for (int64_t c = 0; c < channels; c++, to += lanes) {
                    const real *tap = from + c * s[2] + kd * s[3] + kh * s[4] + kw * s[5];
                    for (int64_t lane = 0; lane < lanes; lane++)
                        to[lane] = lane < count ? tap[lane * s[1]] : 0;
                }
    return to;
}

static void pack(const fc_part *part, const fc_weight_view *weight, const fc_weight_view *pointwise,
                 void *packed) {
    (void)pointwise;
    const int64_t *s = weight->stride;
    int64_t chunk = chunk_channels(part), lanes = round_up(part->group_out_ch, VL);
    real *to = packed;
    for (int64_t g = 0; g < part->problem.groups; g++)
        for (int64_t lane = 0; lane < lanes; lane += BLOCK_LANES)
            for (int64_t c = 0; c < part->group_in_ch; c += chunk)
                to = pack_chunk(part, (const real *)weight->data + g * s[0] + lane * s[1] + c * s[2], s,
                                smaller(chunk, part->group_in_ch - c),
                                smaller(BLOCK_LANES, part->group_out_ch - lane), smaller(BLOCK_LANES, lanes - lane),
                                to);
}

/* grid: rows per task, columns per task, lanes per task, tasks per image and group */
static int64_t partition(const fc_part *part, int threads, int64_t grid[4]) {
    int64_t outer = part->problem.batch * part->problem.groups;
    int64_t planes = part->axis[0].out, height = part->axis[1].out, width = part->axis[2].out;
    int64_t lanes = round_up(part->group_out_ch, VL);
    grid[0] = part->block[ROWS];
    grid[1] = part->block[COLUMNS];
    grid[2] = part->block[LANES];
    int64_t wanted = threads > 1 ? 4 * (int64_t)threads : 1;
    for (;;) {
        grid[3] = planes * divide_up(height, grid[0]) * divide_up(width, grid[1]) * divide_up(lanes, grid[2]);
        if (outer * grid[3] >= wanted)
            break;
        if (grid[0] >= 8)
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

/* Where one worker keeps its window, the runs' offsets, the sums, and sums turned around for the store. */
typedef struct scratch_map {
    size_t offsets, sums, turned, bytes;
} scratch_map;

static size_t align_up(size_t bytes) { return (bytes + 63) / 64 * 64; }

static scratch_map scratch_of(const fc_part *part) {
    size_t pixels = (size_t)(part->block[ROWS] * part->block[COLUMNS]);
    size_t lanes = (size_t)(part->block[CHANNELS] < part->group_in_ch ? part->block[LANES] : BLOCK_LANES);
    size_t window_bytes = (size_t)window_elements(part, part->block[ROWS], part->block[COLUMNS]) * sizeof(real);
    scratch_map map;
    map.offsets = align_up(window_bytes);
    map.sums = map.offsets + align_up((size_t)part->taps * sizeof(int64_t));
    map.turned = map.sums + align_up(pixels * lanes * sizeof(real));
    map.bytes = map.turned + align_up(pixels * BLOCK_LANES * sizeof(real));
    return map;
}

static size_t scratch_bytes(const fc_part *part) { return scratch_of(part).bytes; }

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
    pixel_block b;
    int64_t rest = task % grid[3], outer = task / grid[3];
    b.group = outer % part->problem.groups;
    b.n = outer / part->problem.groups;
    b.lane_begin = rest % lane_blocks * grid[2];
    b.lane_end = smaller(b.lane_begin + grid[2], lanes);
    rest /= lane_blocks;
    b.column = rest % column_blocks * grid[1];
    b.columns = smaller(grid[1], part->axis[2].out - b.column);
    rest /= column_blocks;
    b.row = rest % row_blocks * grid[0];
    b.rows = smaller(grid[0], part->axis[1].out - b.row);
    b.depth = rest / row_blocks;
    return b;
}

static window window_of(const fc_part *part, const pixel_block *b) {
    const int64_t first[FC_MAX_SPATIAL] = {b->depth, b->row, b->column};
    const int64_t outputs[FC_MAX_SPATIAL] = {1, b->rows, b->columns};
    window win = {.channels = 0};
    for (int axis = 0; axis < FC_MAX_SPATIAL; axis++) {
        win.axis[axis] = window_axis_of(&part->axis[axis], outputs[axis]);
        win.first[axis] = first[axis] * part->axis[axis].stride;
    }
    return win;
}

/* The chunk's products as dense runs of the window, in the order of the packed weights. */
static chunk_runs runs_of(const fc_part *part, const window *win, int64_t *offset) {
    const window_axis *d = &win->axis[0], *h = &win->axis[1], *w = &win->axis[2];
    bool whole_rows = win->pixel_pitch == win->channels && w->tap_pitch == 1;
    int64_t taps_per_run = whole_rows ? part->axis[2].kernel : 1;
    chunk_runs runs = {.offset = offset,
                       .run_length = taps_per_run * win->channels,
                       .pixel_step = w->out_pitch * win->pixel_pitch};
    for (int64_t kd = 0; kd < part->axis[0].kernel; kd++)
        for (int64_t kh = 0; kh < part->axis[1].kernel; kh++)
            for (int64_t kw = 0; kw < part->axis[2].kernel; kw += taps_per_run) {
                int64_t place = (kd * d->tap_pitch * h->count + kh * h->tap_pitch) * w->count + kw * w->tap_pitch;
                offset[runs.run_count++] = place * win->pixel_pitch;
            }
    return runs;
}

/* One or two rows of the block, `pair` sums apart, cut into segments of nearly equal length. A row on its own gives
 * its segments to the tile in twos. */
static void sum_rows(const chunk_runs *chunk, int64_t runs, int64_t columns, const real *x, int64_t row_step,
                     int64_t vecs, const real *weights, real *sums, bool add) {
    int64_t segments = divide_up(columns, SEGMENT), lanes = vecs * VL;
    int64_t shorter = columns / segments, long_ones = columns % segments;
    for (int64_t segment = 0, column = 0; segment < segments;) {
        int64_t pixels = shorter + (segment < long_ones);
        const real *first = x + column * chunk->pixel_step;
        real *to = sums + column * lanes;
        bool twin = segment + 1 < segments && (segment + 1 < long_ones || segment >= long_ones);
        if (runs == 2)
            tile(2, pixels, vecs, chunk, first, first + row_step, weights, to, columns * lanes, add);
        else if (twin)
            tile(2, pixels, vecs, chunk, first, first + pixels * chunk->pixel_step, weights, to, pixels * lanes, add);
        else
            tile(1, pixels, vecs, chunk, first, first, weights, to, 0, add);
        int64_t done = runs == 1 && twin ? 2 : 1;
        column += done * pixels;
        segment += done;
    }
}

/* The finished sums [pixel][lane] of up to BLOCK_LANES channels from `lane` on, to out. */
static void store_block(const fc_call *call, const pixel_block *b, int64_t lane, int64_t lanes, const real *sums,
                        real *turned) {
    const fc_part *part = call->part;
    int64_t channel = b->group * part->group_out_ch + lane, count = smaller(lanes, part->group_out_ch - lane);
    if (call->tensors.out.stride[1] == 1) {
        for (int64_t row = 0; row < b->rows; row++)
            for (int64_t column = 0; column < b->columns; column++, sums += lanes)
                fc_store_channel_lanes(call, b->n, channel, count,
                                       (fc_pixel){b->depth, b->row + row, b->column + column}, sums);
        return;
    }
    int64_t pixels = b->rows * b->columns;
    fc_transpose_sums(sums, lanes, pixels, count, turned, pixels);
    bool whole_rows = b->columns == part->axis[2].out;
    int64_t at_once = whole_rows ? pixels : b->columns;
    for (int64_t done = 0; done < pixels; done += at_once) {
        int64_t row = b->depth * part->axis[1].out + b->row + done / b->columns;
        fc_store_pixel_lanes(call, b->n, channel, count, row * part->axis[2].out + b->column, at_once,
                             turned + done, pixels);
    }
}

static void run(const fc_call *call, int64_t task, void *scratch) {
    const fc_part *part = call->part;
    pixel_block b = block_of(call, task);
    window win = window_of(part, &b);
    scratch_map map = scratch_of(part);
    real *x = scratch, *sums = (real *)((char *)scratch + map.sums);
    real *turned = (real *)((char *)scratch + map.turned);
    int64_t *offset = (int64_t *)((char *)scratch + map.offsets);
    int64_t in_ch = part->group_in_ch, chunk_size = part->block[CHANNELS], pixels = b.rows * b.columns;
    bool one_chunk = chunk_size >= in_ch;
    const real *weights =
        (const real *)call->packed + b.group * round_up(part->group_out_ch, VL) * part->reduction;
    for (int64_t channel = 0; channel < in_ch; channel += chunk_size) {
        win.channels = smaller(chunk_size, in_ch - channel);
        win.pixel_pitch = pixel_pitch(win.channels);
        load_window(call, &win, b.n, b.group * in_ch + channel, x);
        chunk_runs chunk = runs_of(part, &win, offset);
        int64_t row_step = win.axis[1].out_pitch * win.axis[2].count * win.pixel_pitch;
        bool last = channel + chunk_size >= in_ch;
        for (int64_t lane = b.lane_begin, lanes; lane < b.lane_end; lane += lanes) {
            lanes = smaller(BLOCK_LANES, b.lane_end - lane);
            const real *w = weights + lane * part->reduction + channel * part->taps * lanes;
            real *block = sums + (one_chunk ? 0 : (lane - b.lane_begin) * pixels);
            for (int64_t row = 0; row < b.rows; row += 2)
                sum_rows(&chunk, smaller(2, b.rows - row), b.columns, x + row * row_step, row_step, lanes / VL, w,
                         block + row * b.columns * lanes, channel > 0);
            if (last)
                store_block(call, &b, lane, lanes, block, turned);
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
    .pack = pack,
    .partition = partition,
    .scratch_bytes = scratch_bytes,
    .run = run,
};
