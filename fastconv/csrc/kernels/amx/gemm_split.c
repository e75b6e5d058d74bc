/* gemm_split: float32 as an implicit GEMM of bfloat16 parts on AMX tiles, which multiply more than ten times faster
 * than vectors do.
 *
 * Weights and columns are split into three bfloat16 parts, exactly, and the six products above 2^-24 are summed in
 * float32 by the tiles; two parts and three products under "high", one under "medium"; rounded, which loses less than
 * truncation in what is left out. What the tiles cannot multiply, a chunk of the reduction of a block of pixels and 32
 * output channels is summed by vectors: NaN and infinity, which do not split, and magnitudes whose parts or products
 * would be flushed as denormals or overflow. Weights: split_weights.h; columns: split_columns.h.
 *
 * Loops of a task (image, group, block of pixels, range of output channels):
 *     chunks of channels (x split into L2) > 64 pixels (columns copied) > 32 output channels > 32 pixels > tiles of the
 *     reduction, with what L3 holds of the weights or of x to come, and of out, asked for between
 *     products; all pixels of the block in place of 64 where weights are split at use
 * Bound: tile products, 2.43e12 bfloat16 flops per second on one core with random data, so 405e9 of float32; columns
 * take the vector unit, and weights beyond L2 its bandwidth, which layers with few pixels feel.
 */
#include "kernels/amx/split_columns.h"
#include "kernels/amx/split_store.h"
#include "kernels/amx/split_weights.h"

/* What tiles multiply: X and W the largest magnitudes of x and weights, X, W and X * W in [LEAST, MOST]. Parts are
 * 2^-24 of a value, and a flushed product is 2^-126, so errors are far below 2^-24 of the largest output even where the
 * largest of x and the largest weight never meet; and sums of 2^30 products stay finite. */
#define SPLIT_LEAST 0x1p-64f
#define SPLIT_MOST 0x1p+64f
enum { SPLIT_SCRATCH_MOST = 32 << 20 }; /* bytes */

/* Cycles of packing: splits of 2 x 16 values of x, each value as often as blocks read it, and copies of 16 pairs for
 * every tap, of as many pieces as rows they come from. Counted instructions, with a factor for what they wait for:
 * x from L3, columns and rows to and from L2. */
#define LINE_WAITS 0.8
#define ROW_WAITS 1.4
static double pack_cycles(const fc_part *part, double pixel_tiles, double tiles) {
    double parts = split_parts(part), split = 12 + 2 * parts + (part->problem.x_channels_last ? 12 : 2);
    double pairs = (double)part->problem.groups * (double)divide_up(part->group_in_ch, 2);
    if (part->block[SPLIT_LINE])
        return LINE_WAITS * pairs * (double)divide_up(part->in_pixels, VL) * split;
    int64_t rows = part->block[SPLIT_HEIGHT], read = split_row_slots(part, rows).count;
    /* Each row begins a vector of its own. */
    int64_t width = larger(part->axis[2].in, 1);
    double pair_vectors = pairs * (double)(part->in_pixels / width) * (double)divide_up(width, VL);
    double again = (double)read / (double)(rows * part->axis[1].stride);
    if (part->block[SPLIT_WIDTH] < part->axis[2].out) /* pieces of a row, which overlap */
        again *= 1 + (double)fc_axis_reach(&part->axis[2]) / (double)(part->block[SPLIT_WIDTH] * part->axis[2].stride);
    double pieces = 1 + (double)TILE_SIDE / (double)larger(part->axis[2].out, 1);
    /* The phases of a stride lie apart: of each row the last lanes of both. Beside a busy sibling and on two threads that
     * takes longest: 3x3 with 256 channels on 14x14 took 1.25 to 1.6 times as long as direct's, and 0.95 to 1.0 alone. */
    double row_vectors = (double)divide_up(width, VL);
    double phases = part->problem.x_channels_last ? 70 : part->axis[2].kernel == 1 ? 260 : 110;
    split += part->axis[2].stride == 1 ? 0 : phases / row_vectors;
    return ROW_WAITS * (pair_vectors * again * split + pixel_tiles * tiles * TILE_PAIRS * parts * (0.8 + 2 * pieces));
}

/* Cycles of splitting weights at use: of 2 x 16 of them, in one piece or gathered. */
#define WEIGHTS_CYCLES 24.0
#define GATHERED_CYCLES 34.0

/* Seconds of splitting a functional call's weights where they are used: plain ones come from L3 where they are many. */
static double at_use_seconds(const fc_part *part, const fc_machine *machine, double blocks) {
    double rows = (double)round_up(part->group_out_ch, TILE_SIDE), tiles = (double)split_all_tiles(part);
    double bytes = (double)(part->group_out_ch * part->reduction) * sizeof(real);
    double cycles = rows * tiles * (part->taps > 1 ? GATHERED_CYCLES : WEIGHTS_CYCLES);
    double stream = bytes > (double)machine->l2_bytes / 2 ? bytes / machine->l3_rate : 0;
    return blocks * (2 * cycles / machine->vector_fma_rate[FC_ISA_amx] + stream);
}

static FC_COLD double seconds(const fc_part *part, const fc_machine *machine) {
    fc_part shaped = *part;
    split_prepare(&shaped, machine);
    int parts = split_parts(part);
    double vector_rate = machine->vector_fma_rate[FC_ISA_amx], groups = (double)part->problem.groups;
    double blocks = groups * (double)split_blocks(&shaped), tiles = (double)split_all_tiles(part);
    int64_t pixels = shaped.block[SPLIT_WIDTH] * shaped.block[SPLIT_HEIGHT];
    double pixel_tiles = groups * (double)(part->out_pixels / pixels * divide_up(pixels, TILE_SIDE) +
                                           divide_up(part->out_pixels % pixels, TILE_SIDE));
    double row_tiles = (double)divide_up(part->group_out_ch, TILE_SIDE);
    /* A block of two sums instead of four waits for its products, which take 52 cycles. */
    double odd = divide_up(part->group_out_ch, TILE_SIDE) % 2 ? 0.6 / row_tiles : 0;
    odd += divide_up(pixels, TILE_SIDE) % 2 ? 0.6 / (double)divide_up(pixels, TILE_SIDE) : 0;
    double dots = (1 + odd) * parts * (parts + 1) / 2 * row_tiles * pixel_tiles * tiles *
                  0.86 * split_dot_seconds(machine);
    /* Weights that L2 does not keep come again for every block. */
    double weight_bytes = split_weight_bytes(part);
    bool at_use = shaped.block[SPLIT_AT_USE];
    bool streams = !at_use && weight_bytes > (double)machine->l2_bytes / 2;
    double stream = streams ? blocks * weight_bytes / machine->l3_rate : 0;
    double store = row_tiles * pixel_tiles * TILE_SIDE * (part->problem.out_channels_last ? 20 : 12);
    double sums = row_tiles * pixel_tiles * (double)(split_chunks(part) - 1) * 60;
    double cycles = pack_cycles(&shaped, pixel_tiles, tiles) + store + sums;
    /* Gathering weights, of which one tap's are apart, takes longer than the copy that cost.c counts. */
    if (part->problem.pack_per_call && part->taps > 1)
        cycles += 0.15 * (double)packed_bytes(part);
    double weights = at_use ? at_use_seconds(part, machine, blocks) : 0;
    /* x and out are asked for ahead, which hides about a fifth of their way. */
    return fmax(dots, stream) + 0.3 * fmin(dots, stream) + 2 * cycles / vector_rate + weights +
           1.3 * blocks * machine->task_seconds + 0.8 * fc_cost_traffic(part, machine) + fc_cost_passes(part, machine);
}

/* Output channels of a task at most: their sums, of all of a block's pixels, are half a megabyte. */
FC_INLINE int64_t split_rows_most(const fc_part *part) {
    int64_t pixels = round_up(part->block[SPLIT_WIDTH] * part->block[SPLIT_HEIGHT], SPLIT_SUMS_STEP);
    int64_t most = larger((128 << 10) / pixels, 512);
    int64_t ranges = divide_up(part->group_out_ch, most);
    return round_up(divide_up(part->group_out_ch, ranges), SPLIT_ROWS);
}

/* grid: blocks of pixels, output channels of a task, ranges of output channels. A block is split again for each range,
 * so ranges are cut only for more threads than blocks. */
static int64_t partition(const fc_part *part, int threads, int64_t grid[4]) {
    grid[0] = split_blocks(part);
    grid[1] = split_rows_most(part);
    int64_t outer = part->problem.batch * part->problem.groups * grid[0];
    while (outer * divide_up(part->group_out_ch, grid[1]) < threads && grid[1] > 2 * SPLIT_ROWS)
        grid[1] = round_up(divide_up(grid[1], 2), SPLIT_ROWS);
    grid[2] = divide_up(part->group_out_ch, grid[1]);
    return outer * grid[2];
}

/* Reals of each piece of scratch; the sums of all blocks are kept where the reduction has chunks. */
typedef struct scratch_sizes {
    int64_t columns, rows, plain, sums, panel, weights, places;
} scratch_sizes;

/* Pixels whose columns are filled, and multiplied by all weights, at a time. */
FC_INLINE int64_t split_unit(const fc_part *part) {
    int64_t pixels = round_up(part->block[SPLIT_WIDTH] * part->block[SPLIT_HEIGHT], SPLIT_SUMS_STEP);
    return part->block[SPLIT_AT_USE] ? pixels : SPLIT_UNIT;
}

static scratch_sizes scratch_sizes_of(const fc_part *part) {
    int64_t channels = smaller(part->block[SPLIT_CHUNK_CH], round_up(part->group_in_ch, 2)), parts = split_parts(part);
    int64_t pixels = round_up(part->block[SPLIT_WIDTH] * part->block[SPLIT_HEIGHT], SPLIT_SUMS_STEP);
    scratch_sizes s = {.columns = split_chunk_tiles(part) * TILE_PAIRS * parts};
    int64_t fallback = channels * part->taps * SPLIT_SUMS_STEP, copied;
    if (part->block[SPLIT_LINE]) {
        s.columns *= pixels;
        copied = SPLIT_BATCH * pixels;
    } else {
        fc_row_shape shape = fc_row_shape_of(&part->axis[2], part->block[SPLIT_WIDTH]);
        int64_t slots = part->axis[0].kernel * split_row_slots(part, part->block[SPLIT_HEIGHT]).count;
        s.columns *= split_unit(part);
        s.rows = slots * channels / 2 * parts * split_pitch(&shape) + VL;
        copied = (SPLIT_BATCH + 1) * shape.row_pitch + 2 * ROW_SLACK;
    }
    s.plain = round_up(larger(fallback, copied), VL);
    bool chunks = split_chunks(part) > 1;
    s.sums = chunks ? split_rows_most(part) * pixels : SPLIT_ROWS * SPLIT_SUMS_STEP;
    s.panel = round_up(channels * part->taps * GEMM_ROWS, VL);
    if (part->block[SPLIT_AT_USE]) {
        s.weights = SPLIT_ROWS / TILE_SIDE * split_chunk_tiles(part) * parts * TILE_DWORDS;
        s.places = round_up(split_chunk_tiles(part) * (int64_t)(sizeof(pair_places) / sizeof(real)), VL);
    }
    return s;
}

static size_t scratch_bytes(const fc_part *part) {
    scratch_sizes s = scratch_sizes_of(part);
    return (size_t)(s.columns + s.rows + s.plain + s.sums + s.panel + s.weights + s.places) * sizeof(real);
}

static FC_COLD const char *rejects(const fc_part *part) {
    if (part->problem.operation > FC_CONV_TRANSPOSED)
        return "only plain and transposed convolutions";
    if (part->taps == 0 || part->out_pixels == 0)
        return "nothing to multiply";
    fc_part shaped = *part;
    split_prepare(&shaped, NULL);
    if (scratch_bytes(&shaped) > SPLIT_SCRATCH_MOST)
        return "stride and dilation spread the taps of a row too far for rows kept in scratch";
    return NULL;
}

/* What a task works on, and with. */
typedef struct task_place {
    int64_t n, group, row_begin, row_end;
    split_block block;
    split_weights weights;
    split_scratch scratch;
    real *panel; /* of weights, for the vectors */
    real *split; /* weights split at use, and where they lie */
    pair_places *places;
} task_place;

static task_place place_of(const fc_call *call, int64_t task) {
    const int64_t *grid = call->grid;
    int64_t out_ch = call->part->group_out_ch, groups = call->part->problem.groups;
    task_place t = {.row_begin = task % grid[2] * grid[1]};
    t.block = split_block_at(call->part, task / grid[2] % grid[0]);
    t.row_end = smaller(t.row_begin + grid[1], out_ch);
    t.group = task / grid[2] / grid[0] % groups;
    t.n = task / grid[2] / grid[0] / groups;
    return t;
}

/* The block of sums of `row` and `pixel`. */
static real *sums_at(const fc_part *part, const task_place *t, int64_t row, int64_t pixel, real *sums) {
    if (split_chunks(part) == 1)
        return sums;
    int64_t across = divide_up(t->block.count, 2 * TILE_SIDE);
    return sums + ((row - t->row_begin) / SPLIT_ROWS * across + pixel / (2 * TILE_SIDE)) * SPLIT_ROWS * SPLIT_SUMS_STEP;
}

static void finish(const fc_call *call, const task_place *t, int64_t row, int64_t pixel, const real *sums) {
    split_finish(call, t->n, t->group * call->part->group_out_ch + row, smaller(SPLIT_ROWS, t->row_end - row),
                 t->block.first + pixel, smaller(SPLIT_SUMS_STEP, t->block.count - pixel), sums);
}

/* What the next chunk of a line splits of x, or else the first chunk of the next block. */
static split_lines lines_of_x(const fc_call *call, const task_place *t, int64_t end) {
    const fc_part *part = call->part;
    const fc_tensor *x = &call->tensors.x;
    bool last = end == part->group_in_ch;
    int64_t channel = last ? 0 : end, first = t->block.first + (last ? t->block.count : 0);
    int64_t pixels = smaller(t->block.count, part->out_pixels - first);
    int64_t channels = smaller(part->block[SPLIT_CHUNK_CH], part->group_in_ch - channel);
    if (!part->block[SPLIT_LINE] || x->stride[4] != 1 || !split_pixels_join(part, x) || pixels <= 0)
        return split_lines_of(NULL, 0, 0, 0);
    const real *at = (const real *)x->data + t->n * x->stride[0] +
                     (t->group * part->group_in_ch + channel) * x->stride[1] + first;
    return split_lines_of(at, divide_up(pixels, VL), x->stride[1], channels);
}

/* A chunk: channels [begin, end), of `tiles` tiles of pairs; `a` its first tile of packed weights, `a_step` from there
 * to the next rows', `largest` their magnitudes: NULL where they are split at use. `x`: the columns' magnitude. */
typedef struct chunk_place {
    int64_t begin, end, tiles, a_step;
    const real *a, *largest;
    float x;
} chunk_place;

/* The weights of two tiles of rows from `row` on. */
static split_lines lines_of_weights(const fc_part *part, const task_place *t, const chunk_place *c, int64_t row) {
    int64_t rows = divide_up(smaller(SPLIT_ROWS, t->row_end - row), TILE_SIDE);
    const real *at = c->a + row / TILE_SIDE * c->a_step;
    return split_lines_of(at, c->tiles * split_parts(part) * TILE_DWORDS / VL, c->a_step, rows);
}

/* Where a block of sums will be stored, along whichever of pixels and channels are dense. */
static split_lines lines_of_out(const fc_call *call, const task_place *t, int64_t row, int64_t pixel) {
    const fc_tensor *out = &call->tensors.out;
    const fc_part *part = call->part;
    int64_t rows = smaller(SPLIT_ROWS, t->row_end - row), pixels = smaller(SPLIT_SUMS_STEP, t->block.count - pixel);
    const real *at = (const real *)out->data + fc_tensor_offset(out, t->n, t->group * part->group_out_ch + row,
                                                                fc_pixel_at(part, t->block.first + pixel));
    bool along_pixels = out->stride[4] == 1;
    int64_t dense = along_pixels ? pixels : rows, apart = along_pixels ? rows : pixels;
    int64_t offset = (int64_t)((uintptr_t)at / sizeof(real) % VL);
    return split_lines_of(at, divide_up(offset + dense, VL), along_pixels ? out->stride[1] : out->stride[4], apart);
}

/* Pixels [pixel, stop) of 32 rows by tiles: `a` points at the rows' tiles, `step` apart, `b` at the pixels' columns. */
static void run_tiles(const fc_call *call, const task_place *t, const chunk_place *c, split_operand a, const real *b,
                      int64_t row, int64_t pixel, int64_t stop, split_ahead *ahead) {
    const fc_part *part = call->part;
    int parts = split_parts(part);
    int64_t pixel_reals = c->tiles * parts * TILE_DWORDS, calls = c->tiles * split_calls(parts);
    bool last_chunk = c->end == part->group_in_ch;
    split_operand left = {a.at, a.step, a.at};
    for (int64_t at = pixel; at < stop; at += SPLIT_SUMS_STEP) {
        real *sums = sums_at(part, t, row, at, t->scratch.sums);
        if (last_chunk) {
            ahead->write = lines_of_out(call, t, row, at);
            ahead->writes = split_share(&ahead->write, calls);
        }
        bool last = at + SPLIT_SUMS_STEP >= stop;
        split_operand right = {b + (at - pixel) / TILE_SIDE * pixel_reals, pixel_reals, NULL};
        if (last)
            left.next = a.next;
        right.next = last ? b : right.at + SPLIT_SUMS_STEP / TILE_SIDE * pixel_reals;
        split_sums block = {sums, SPLIT_SUMS_STEP, TILE_SIDE, TILE_SIDE * SPLIT_SUMS_STEP};
        split_multiply(parts, t->row_end - row > TILE_SIDE, stop - at > TILE_SIDE, c->tiles, left, right, block,
                       c->begin > 0, ahead);
        if (last_chunk)
            finish(call, t, row, at, sums);
    }
}

/* Rows [first, row_end) by vectors, columns read again as gemm reads them. */
static void run_vectors(const fc_call *call, const task_place *t, const chunk_place *c, int64_t first, int64_t row_end,
                        int64_t begin, int64_t stop) {
    const fc_part *part = call->part;
    int64_t k = c->begin * part->taps, depth = (c->end - c->begin) * part->taps, rows;
    const int64_t *step = t->weights.plain.stride;
    const real *weights = (const real *)t->weights.plain.data + t->group * step[0] + c->begin * step[2];
    for (int64_t pixel = begin; pixel < stop; pixel += SPLIT_SUMS_STEP) {
        int64_t count = smaller(SPLIT_SUMS_STEP, stop - pixel), vecs = divide_up(count, VL);
        fc_load_columns(call, t->n, t->group, t->block.first + pixel, count, k, k + depth, vecs * VL, t->scratch.plain);
        for (int64_t row = first; row < row_end; row += SPLIT_ROWS) {
            real *sums = sums_at(part, t, row, pixel, t->scratch.sums);
            for (int64_t r = row; r < smaller(row_end, row + SPLIT_ROWS); r += rows) {
                rows = fc_gemm_rows(smaller(row_end, row + SPLIT_ROWS) - r);
                fc_gemm_pack_rows(weights + r * step[1], step, rows, part->axis, c->end - c->begin, t->panel,
                                  t->panel + rows * depth);
                fc_tile(rows, vecs, depth, t->panel, t->scratch.plain, sums + (r - row) * SPLIT_SUMS_STEP,
                        SPLIT_SUMS_STEP, c->begin > 0);
            }
            if (c->end == part->group_in_ch)
                finish(call, t, row, pixel, sums);
        }
    }
}

static bool in_range(float value) { return value >= SPLIT_LEAST && value <= SPLIT_MOST; }

/* Whether tiles can multiply values of these largest magnitudes. */
static bool multiplies(float x, float w) {
    if (x == 0 || w == 0)
        return (x == 0 || in_range(x)) && (w == 0 || in_range(w));
    return in_range(x) && in_range(w) && in_range(x * w);
}

/* The tiles of 32 rows, and the largest magnitude of their weights. */
static split_operand weights_at(const fc_part *part, const task_place *t, const chunk_place *c, int64_t row,
                                float *largest) {
    if (c->a != NULL) {
        int64_t next = row + SPLIT_ROWS < t->row_end ? row + SPLIT_ROWS : t->row_begin, step = c->a_step;
        *largest = c->largest[row / SPLIT_ROWS];
        return (split_operand){c->a + row / TILE_SIDE * step, step, c->a + next / TILE_SIDE * step};
    }
    const int64_t *s = t->weights.plain.stride;
    const real *from = (const real *)t->weights.plain.data + t->group * s[0] + row * s[1] + c->begin * s[2];
    int parts = split_parts(part);
    int64_t rows = smaller(SPLIT_ROWS, t->row_end - row);
    *largest = split_weight_tiles(from, s[1], rows, t->places, c->tiles, parts, t->split);
    return (split_operand){t->split, c->tiles * parts * TILE_DWORDS, t->split};
}

/* A chunk: all rows by one unit of pixels after another. The tile state is this thread's, which may be the caller's,
 * and is given back. */
static void run_chunk(const fc_call *call, const task_place *t, const chunk_place *c) {
    const fc_part *part = call->part;
    int64_t calls = c->tiles * split_calls(split_parts(part)), unit = split_unit(part), count = t->block.count;
    int64_t blocks = divide_up(t->row_end - t->row_begin, SPLIT_ROWS) * divide_up(count, SPLIT_SUMS_STEP);
    split_ahead ahead = {.read = lines_of_x(call, t, c->end)};
    ahead.reads = split_share(&ahead.read, blocks * calls);
    for (int64_t tile = 0; part->block[SPLIT_AT_USE] && tile < c->tiles; tile++)
        t->places[tile] = places_of(part, t->weights.plain.stride, c->end - c->begin, tile);
    tile_configure();
    for (int64_t pixel = 0; pixel < count; pixel += unit) {
        int64_t stop = smaller(pixel + unit, count), panels = divide_up(stop - pixel, SPLIT_SUMS_STEP);
        if (!multiplies(c->x, 0)) {
            run_vectors(call, t, c, t->row_begin, t->row_end, pixel, stop);
            continue;
        }
        const real *b = t->scratch.columns;
        if (part->block[SPLIT_LINE])
            b += pixel / TILE_SIDE * c->tiles * split_parts(part) * TILE_DWORDS;
        else
            split_gather(part, c->end - c->begin, &t->block, pixel, stop - pixel, &t->scratch);
        for (int64_t row = t->row_begin; row < t->row_end; row += SPLIT_ROWS) {
            float w;
            split_operand a = weights_at(part, t, c, row, &w);
            if (part->block[SPLIT_AHEAD]) {
                int64_t next = row + SPLIT_ROWS < t->row_end ? row + SPLIT_ROWS : t->row_begin;
                ahead.read = lines_of_weights(part, t, c, next);
                ahead.reads = split_share(&ahead.read, panels * calls);
            }
            if (multiplies(c->x, w))
                run_tiles(call, t, c, a, b, row, pixel, stop, &ahead);
            else
                run_vectors(call, t, c, row, smaller(t->row_end, row + SPLIT_ROWS), pixel, stop);
        }
    }
    tile_release();
}

static void run(const fc_call *call, int64_t task, void *scratch) {
    const fc_part *part = call->part;
    task_place t = place_of(call, task);
    scratch_sizes sizes = scratch_sizes_of(part);
    split_scratch *s = &t.scratch;
    s->columns = scratch;
    s->rows = s->columns + sizes.columns;
    s->plain = s->rows + sizes.rows;
    s->sums = s->plain + sizes.plain;
    t.panel = s->sums + sizes.sums;
    t.split = t.panel + sizes.panel;
    t.places = (pair_places *)(void *)(t.split + sizes.weights);
    t.weights = split_weights_of(part, call->packed);
    int64_t chunk = part->block[SPLIT_CHUNK_CH];
    chunk_place c = {.a_step = row_tile_reals(part)};
    if (t.weights.tiles != NULL) {
        c.a = t.weights.tiles + t.group * group_reals(part);
        c.largest = t.weights.largest + t.group * split_chunks(part) * split_row_pairs(part);
    }
    for (; c.begin < part->group_in_ch; c.begin += chunk) {
        c.end = smaller(c.begin + chunk, part->group_in_ch);
        c.tiles = split_tiles(part, c.end - c.begin);
        c.x = split_load(call, t.n, t.group, &t.block, c.begin, c.end, s);
        run_chunk(call, &t, &c);
        if (c.a != NULL) {
            c.a += c.tiles * split_parts(part) * TILE_DWORDS;
            c.largest += split_row_pairs(part);
        }
    }
}

const fc_kernel FC_FN(fc_kernel_gemm_split);
const fc_kernel FC_FN(fc_kernel_gemm_split) = {
    .algorithm = "gemm_split",
    .dtype = FC_TEXT(FC_DTYPE),
    .isa = FC_TEXT(FC_ISA),
    .name = FC_NAME("gemm_split"),
    .rejects = rejects,
    .seconds = seconds,
    .prepare = split_prepare,
    .packed_bytes = packed_bytes,
    .pack_units = pack_units,
    .pack = pack,
    .partition = partition,
    .scratch_bytes = scratch_bytes,
    .run = run,
};
