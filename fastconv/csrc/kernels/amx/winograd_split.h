/* winograd_f2_split, winograd_f4_split: F(2, 3) and F(4, 3) as in winograd/winograd.h, with the products on AMX tiles
 * as gemm_split multiplies: float32 split into three bfloat16 parts, exactly, and the six products above 2^-24; two
 * parts and three products under "high".
 *
 * A task takes a panel of lanes (tiles of outputs) and a range of output channels. Channels go along the vectors in
 * both transforms, so neither needs a shuffle; channels-first tensors are transposed on the way in and out.
 *     transform and split the panel's inputs  -> [product][lane tile][step tile][part]...  winograd_split_input.h
 *     for each product, two row tiles, two lane tiles: -> [row tile][lane][product][row]   winograd_split_products.h
 *     transform back, epilogue, store                                                      winograd_split_output.h
 * A tile one of whose windows holds NaN, infinity, or only magnitudes whose parts or products the CPU's tiles would
 * flush or overflow is summed by the definition; its lane is a row of every operand, so that no other lane knows.
 * Weights are transformed and split at packing. Where they fit L2, panels are one lane tile, else larger.
 * Bound: tile products over six (three under "high"), 4 (F(4, 3)) or 2.25 times fewer than gemm_split's; the vector
 * unit for the transforms and the split, which do not overlap with them; weights of 6 bytes that stream from L3.
 */
#ifndef FC_WINOGRAD_SPLIT_H
#define FC_WINOGRAD_SPLIT_H

#include "before.h"
#include "kernels/amx/winograd_split_output.h"
#include "kernels/amx/winograd_split_products.h"
#include "kernels/winograd/weights.h"

/* As gemm_split's: X and W the largest magnitudes of a lane's windows and of the group's weights; X, W and X * W must
 * be in [LEAST, MOST]. */
#define SPLIT_LEAST 0x1p-64f
#define SPLIT_MOST 0x1p+64f

static const char *rejects_split(const fc_part *part) {
    const char *why = rejects(part);
    if (why != NULL)
        return why;
    shape s = shape_of(part);
    if ((double)(part->problem.groups * group_reals(part, &s)) * sizeof(real) > WEIGHT_BYTES_MOST)
        return "transformed weights of all parts would not fit a last-level cache";
    return NULL;
}

FC_INLINE double weight_bytes(const fc_part *part, const shape *s) {
    return (double)group_reals(part, s) * sizeof(real);
}

/* Lane tiles of a panel. One where weights stay in L2, so that inputs and sums do too; else as many as make the
 * weights' stream about as long as the inputs', which L2 does not keep then. */
static void prepare(fc_part *part, const fc_machine *machine) {
    shape s = shape_of(part);
    int64_t tiles = larger(lane_tiles(&s), 1);
    int64_t most = (int64_t)(2 * weight_bytes(part, &s) / (double)machine->l2_bytes) + 1;
    most = smaller(most, LANE_TILES_MOST);
    most = divide_up(tiles, divide_up(tiles, most));
    int64_t bytes = most * s.products * split_parts(part) * TILE_DWORDS * (int64_t)sizeof(real);
    part->block[LANE_TILES] = most;
    part->block[WEIGHTS_STREAM] = weight_bytes(part, &s) > (double)machine->l2_bytes / 2;
    part->block[SPAN_TILES] = smaller(larger(INPUT_BYTES / bytes, 1), larger(step_tiles(&s), 1));
}

/* Cycles per vector of one product, of an input and of an output: the transforms, the split, loads and stores. */
#define SPLIT_INPUT_CYCLES (OUT_TILE == 2 ? 13.5 : 16.0)
#define SPLIT_OUTPUT_CYCLES (OUT_TILE == 2 ? 4.5 : 10.0)
/* Of a square transposed, with what loading it waits for; of a pixel gathered for that; of a run of tiles. */
#define SQUARE_CYCLES 200.0
#define GATHER_CYCLES 1.5
#define RUN_CYCLES 250.0

/* Bytes that come in pieces between products take longer than the machine's rate says. */
#define STREAM_FACTOR 1.3

/* Products that are multiplied of a slice, those known to be zero left out, on average. */
static double products_of_slice(const shape *s) {
    const tiling *axis[2] = {&s->h, &s->w};
    double product = 1;
    for (int i = 0; i < 2; i++) {
        double sum = 0;
        for (int64_t piece = 0; piece < axis[i]->pieces; piece++)
            sum += (double)(axis[i]->window - (tap_count(axis[i], piece) < axis[i]->taps));
        product *= sum / (double)axis[i]->pieces;
    }
    return product;
}

/* Cycles of one step tile's inputs and of one row tile's outputs, for all lanes. */
static double split_input_cycles(const fc_part *part, const shape *s) {
    int64_t most = (LINE_PIXELS - s->w.window) / s->w.step + 1, tiles = smaller(most, s->w.tiles);
    double runs = (double)s->tiles / (double)tiles, rows = (double)s->h.window, lanes = (double)s->tiles;
    int64_t pixels = (tiles - 1) * s->w.step + s->w.window;
    double cycles = 2 * (double)s->products * lanes * SPLIT_INPUT_CYCLES + runs * RUN_CYCLES;
    if (!part->problem.x_channels_last) {
        cycles += 2 * runs * rows * (double)divide_up(pixels, VL) * SQUARE_CYCLES;
        if (s->w.lattice > 1)
            cycles += runs * rows * (double)pixels * STEP_CHANNELS * GATHER_CYCLES;
    }
    return cycles;
}

static double split_output_cycles(const fc_part *part, const shape *s) {
    double lanes = (double)s->tiles, pixels = (double)(s->h.step * s->w.step) * lanes;
    double cycles = (double)s->products * lanes * SPLIT_OUTPUT_CYCLES;
    return cycles + (part->problem.out_channels_last ? 0 : pixels / VL * SQUARE_CYCLES * (s->w.apart > 1 ? 3 : 1));
}

/* The stream of weights is asked for ahead, but was not seen to overlap much. */
static FC_COLD double seconds(const fc_part *part, const fc_machine *machine) {
    fc_part shaped = *part;
    prepare(&shaped, machine);
    shape s = shape_of(part);
    int parts = split_parts(part);
    double vector_rate = machine->vector_fma_rate[FC_ISA_amx], rows = (double)row_tiles(part);
    double lanes = (double)lane_tiles(&s), steps = (double)step_tiles(&s), groups = (double)part->problem.groups;
    /* Between the products of one block and the next, sums are stored. */
    double blocks = 1 + 0.35 / steps, products = products_of_slice(&s);
    double dots = lanes * rows * steps * products * blocks * parts * (parts + 1) / 2 * split_dot_seconds(machine);
    double cycles = steps * split_input_cycles(part, &s) + rows * split_output_cycles(part, &s), stream = 0;
    double weights = weight_bytes(part, &s), l3 = machine->l3_rate;
    if (shaped.block[WEIGHTS_STREAM]) {
        /* Per lane tile: its inputs, and its sums, out of L2 and back. */
        double spilt = (double)s.products * (steps * parts + rows) * TILE_DWORDS * sizeof(real);
        stream = STREAM_FACTOR * ((double)panels_of(&shaped, &s) * weights + lanes * spilt);
    }
    /* As measured; why F(2, 3) takes less of its products' time was not looked for. */
    double share = OUT_TILE == 2 ? 0.82 : 0.97;
    share *= rows == 1 ? 1.5 : 1; /* as measured: each tile of inputs meets one of weights */
    return groups * (share * dots + 1.85 * cycles / vector_rate + 0.57 * stream / l3 +
                     1.3 * (double)panels_of(&shaped, &s) * machine->task_seconds);
}

static size_t packed_bytes(const fc_part *part) {
    shape s = shape_of(part);
    int64_t tiles = part->problem.groups * group_reals(part, &s);
    return (size_t)(largest_reals(part) + tiles + given_reals(part, &s)) * sizeof(real);
}

/* The products of window row `i` of one row tile and one step tile: `from` is the row tile's panel of given weights,
 * `to` the step tile in the first of these products. */
static void pack_step_tile(const fc_part *part, const shape *s, int64_t i, const real *from, int64_t begin, int64_t end,
                           int64_t product_reals, real *to) {
    real transformed[WINDOW][STEP_CHANNELS * PANEL_ROWS];
    int parts = split_parts(part);
    if (end - begin < STEP_CHANNELS)
        memset(transformed, 0, sizeof transformed);
    transform_weights(s, i, from + begin * s->taps * PANEL_ROWS, 0, 1, end - begin, transformed[0],
                      STEP_CHANNELS * PANEL_ROWS);
    for (int64_t j = 0; j < s->w.window; j++, to += product_reals)
        for (int pair = 0; pair < TILE_PAIRS; pair++) {
            vec even = v_load(transformed[j] + pair * PANEL_ROWS);
            vec odd = v_load(transformed[j] + (pair + TILE_PAIRS) * PANEL_ROWS);
            tile_split_pairs(even, odd, parts, to + pair * TILE_SIDE, TILE_DWORDS);
        }
}

static void pack_row_tile(const fc_part *part, const shape *s, int64_t row, const real *given, real *tiles) {
    int64_t rows = row_tiles(part), row_reals = row_tile_reals(part, s), per_slice = slice_tiles(s);
    int parts = split_parts(part);
    for (int64_t tile = 0; tile < step_tiles(s); tile++) {
        int64_t index = tile / per_slice, channel = tile % per_slice * STEP_CHANNELS;
        int64_t begin = index * s->channels + channel;
        int64_t end = begin + smaller(STEP_CHANNELS, s->channels - channel);
        for (int64_t i = 0; i < s->h.window; i++)
            pack_step_tile(part, s, i, given, begin, end, rows * row_reals,
                           tiles + (i * s->w.window * rows + row) * row_reals + tile * parts * TILE_DWORDS);
    }
}

/* One row tile of a group each. */
static int64_t pack_units(const fc_part *part) { return part->problem.groups * row_tiles(part); }

static void pack(const fc_part *part, const fc_weight_view *weight, const fc_weight_view *pointwise, void *packed,
                 int64_t begin, int64_t end) {
    (void)pointwise;
    shape s = shape_of(part);
    int64_t rows = row_tiles(part), reals = PANEL_ROWS * s.steps * s.taps;
    real *largest = packed, *tiles = largest + largest_reals(part);
    real *given = tiles + part->problem.groups * group_reals(part, &s);
    for (int64_t unit = begin; unit < end; unit++) {
        int64_t g = unit / rows, row = unit % rows;
        real *panel = given + unit * reals;
        pack_panel(part, &s, weight, g, row * PANEL_ROWS, smaller(PANEL_ROWS, part->group_out_ch - row * PANEL_ROWS), 0,
                   s.steps, panel);
        pack_row_tile(part, &s, row, panel, tiles + g * group_reals(part, &s));
        tile_magnitude most = tile_no_magnitude();
        for (int64_t i = 0; i < reals; i += VL)
            most = tile_see(most, v_load(panel + i));
        largest[unit] = tile_largest(most);
    }
}

/* The largest magnitude of a group's weights. */
static real group_largest(const fc_part *part, const real *largest, int64_t group) {
    real most = 0;
    for (int64_t row = 0; row < row_tiles(part); row++) {
        real each = largest[group * row_tiles(part) + row];
        most = each > most ? each : most;
    }
    return most;
}

/* grid: panels of lanes, ranges of output channels, output channels of a range. Ranges of a panel are neighbours, and a
 * worker that goes from one to the next keeps the inputs. */
static int64_t partition(const fc_part *part, int threads, int64_t grid[4]) {
    shape s = shape_of(part);
    grid[0] = panels_of(part, &s);
    int64_t outer = part->problem.batch * part->problem.groups * grid[0];
    int64_t wanted = threads > 1 ? 4 * (int64_t)threads : 1, least = part->block[WEIGHTS_STREAM] ? 64 : 32;
    int64_t ranges = smaller(divide_up(wanted, larger(outer, 1)), divide_up(part->group_out_ch, least));
    ranges = larger(ranges, divide_up(part->group_out_ch, ROWS_MOST));
    grid[2] = round_up(divide_up(part->group_out_ch, ranges), 2 * TILE_SIDE);
    grid[1] = divide_up(part->group_out_ch, grid[2]);
    return outer * grid[1];
}

static size_t scratch_bytes(const fc_part *part) {
    shape s = shape_of(part);
    return (size_t)split_layout_of(part, &s).total * sizeof(real);
}

static bool in_range(float value) { return value >= SPLIT_LEAST && value <= SPLIT_MOST; }

/* Marks the lanes that the tiles cannot multiply. */
static void judge_lanes(int64_t lanes, float weight, const real *seen, real *bad) {
    for (int64_t lane = 0; lane < lanes; lane++) {
        float x = tile_largest(_mm512_loadu_si512(seen + lane * VL));
        bad[lane] = x != 0 && !(in_range(x) && in_range(weight) && in_range(x * weight));
    }
}

static void run(const fc_call *call, int64_t task, void *scratch) {
    const fc_part *part = call->part;
    const int64_t *grid = call->grid;
    shape s = shape_of(part);
    split_layout l = split_layout_of(part, &s);
    int64_t range = task % grid[1], panel = task / grid[1] % grid[0];
    int64_t group = task / grid[1] / grid[0] % part->problem.groups;
    int64_t n = task / grid[1] / grid[0] / part->problem.groups;
    int64_t before = fc_task_before(scratch);
    bool kept = before >= 0 && before / grid[1] == task / grid[1] && part->block[SPAN_TILES] >= step_tiles(&s);
    int64_t first = panel * lane_tiles(&s) / grid[0], last = (panel + 1) * lane_tiles(&s) / grid[0];
    int64_t lanes = smaller(last * TILE_SIDE, s.tiles) - first * TILE_SIDE;
    const fc_tensor *x = &call->tensors.x;
    split_input in = {.part = part, .s = &s, .l = &l, .x = x, .scratch = scratch};
    in.group = (const stor *)x->data + n * x->stride[0] + group * part->group_in_ch * x->stride[1];
    in.segments = (segment *)(in.scratch + l.segments);
    in.segment_count = cut_segments(&s, first * TILE_SIDE, lanes, in.segments);
    memset(in.scratch + l.zeros, 0, (size_t)round_up(s.channels, STEP_CHANNELS) * sizeof(real));
    if (!kept)
        memset(in.scratch + l.seen, 0, (size_t)(lanes * VL) * sizeof(real));
    const real *largest = call->packed, *tiles = largest + largest_reals(part);
    const real *given = tiles + part->problem.groups * group_reals(part, &s);
    int64_t row = range * grid[2], row_end = smaller(row + grid[2], part->group_out_ch);
    split_product products = {.part = part, .s = &s, .l = &l, .weights = tiles + group * group_reals(part, &s),
                              .row = row / TILE_SIDE, .row_end = divide_up(row_end, TILE_SIDE),
                              .lane_tiles = last - first, .scratch = scratch};
    for (int64_t begin = 0, end; begin < step_tiles(&s); begin = end) {
        end = smaller(begin + part->block[SPAN_TILES], step_tiles(&s));
        if (!kept)
            split_inputs(&in, begin, end);
        multiply_span(&products, begin, end);
    }
    judge_lanes(lanes, group_largest(part, largest, group), in.scratch + l.seen, in.scratch + l.bad);
    split_output out = {.in = &in, .call = call, .n = n, .group = group, .bounds = fc_bounds_of(&part->problem)};
    out.given = given + group * round_up(part->group_out_ch, PANEL_ROWS) * s.steps * s.taps;
    out.quick = out.bounds.only && call->tensors.residual.data == NULL;
    finish_all(&out, row, row_end);
}

#define SPLIT_KERNEL_RECORD(algorithm_name, record) \
    const fc_kernel record; \
    const fc_kernel record = { \
        .algorithm = algorithm_name, \
        .dtype = FC_TEXT(FC_DTYPE), \
        .isa = FC_TEXT(FC_ISA), \
        .name = FC_NAME(algorithm_name), \
        .rejects = rejects_split, \
        .seconds = seconds, \
        .prepare = prepare, \
        .packed_bytes = packed_bytes, \
        .pack_units = pack_units, \
        .pack = pack, \
        .partition = partition, \
        .scratch_bytes = scratch_bytes, \
        .run = run, \
    }

#endif
