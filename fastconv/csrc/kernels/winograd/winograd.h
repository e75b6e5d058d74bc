/* winograd_f2, winograd_f4, winograd_f4_k2: F(2, 3), F(4, 3) and F(4, 2) along height, width or both; any kernel, stride and dilation that leaves TAPS taps in a phase of the stride, cut into pieces (tiling.h).
 *
 * Tiles of OUT_TILE outputs and OUT_TILE + TAPS - 1 inputs per axis (tile.h). A task takes a panel of tiles and a range
 * of out channels:
 *     transform the panel's inputs           -> [product][step][lane]      input.h
 *     for each block of out channels
 *         for each product, chunk of steps, panel of rows: the register tile -> [row][product][lane]    products.h
 *         transform back, epilogue, store                                   output.h
 * with weights that pack transformed, or that are transformed a chunk at a time (weights.h), or that a functional call of
 * one panel packs a chunk at a time too (given.h). A chunk of the reduction
 * is summed from zero and then added, as in gemm. The block's sums lie in L2 and the chunk at hand in L1; the
 * weights stream past once per panel. When the transformed inputs of all channels would outgrow the
 * scratch they are made span by span, anew for each block. A step is (piece of the kernel, depth tap, in channel).
 * Bound: FMA throughput with many channels both in and out; shuffles and stores of the transforms
 * with few; the L3 stream of weights with few tiles.
 */
#ifndef FC_WINOGRAD_H
#define FC_WINOGRAD_H

#include "before.h"
#include "cost.h"
#include "kernels/winograd/few.h"
#include "kernels/winograd/limits.h"
#include "kernels/winograd/output.h"

static void prepare(fc_part *part, const fc_machine *machine) {
    shape s = shape_of(part);
    int64_t step_reals = s.products * s.most_lanes;
    int64_t span = (int64_t)(4 * machine->l2_bytes / sizeof(real)) / step_reals / s.chunk * s.chunk;
    part->block[SPAN] = smaller(span < s.chunk ? s.chunk : span, s.steps);
    int64_t panels = (int64_t)(machine->l2_bytes / 2 / sizeof(real)) / (s.products * PANEL_LANES * PANEL_ROWS);
    int64_t wanted = divide_up(part->group_out_ch, PANEL_ROWS);
    panels = divide_up(wanted, divide_up(wanted, panels > 2 ? panels : 2));
    part->block[ROW_BLOCK] = smaller(panels * PANEL_ROWS, part->group_out_ch);
    part->block[ASKS_AHEAD] = fc_cost_beyond_l2(part, machine) > 0;
}

/* Cycles per vector of one product: its share of the transforms, and of making transformed weights. */
#define INPUT_CYCLES (TAPS == 2 ? 10.0 : OUT_TILE == 2 ? 9.4 : VL == 16 ? 11.3 : 10.3)
#define LINE_SHARE 0.9 /* of INPUT_CYCLES, where one axis is transformed */
#define OUTPUT_CYCLES (TAPS == 2 ? 6.5 : OUT_TILE == 2 ? (VL == 16 ? 6.0 : 2.7) : 6.8)
#define PRODUCT_CYCLES 4.5 /* at least, for each output channel: sums of a few steps wait for one another */
#define REST_CYCLES 1.5 /* of a tile that fills no vector, whose sums lie along the rows */
#define WEIGHT_CYCLES (TILE_VECS >= 3 ? 6.5 : 8.0) /* of 32 registers, or of 16 */
/* Of a row of tiles that fills no vector: copies of its pixels, its padding, and a vector all the same; of finding
 * where its window rows lie for a slice; of storing a row of its outputs. Of VL pixels of VL channels turned around
 * into the stage, most of which L1 does not hold; of a pixel copied to it, and of one stored apart from the next. */
#define ROW_CYCLES 77.0
#define RESOLVE_CYCLES 200.0
#define STORE_CYCLES 8.0
#define SQUARE_CYCLES ((VL == 16 ? 0.52 : 0.45) * VL * VL)
#define STAGE_CYCLES(step) ((step) == 2 || (step) == 4 ? 0.8 : 2.4)
#define SCATTER_CYCLES 2.2
/* Of a task besides: its shape, its panels, the first misses; much of groups of a few channels. */
#define TASK_CYCLES 910.0

/* Products that are multiplied, those known to be zero left out, on average over the slices. */
static double products_multiplied(const shape *s) {
    double full[2] = {0, 0};
    const tiling *axis[2] = {&s->h, &s->w};
    for (int i = 0; i < 2; i++) {
        for (int64_t piece = 0; piece < axis[i]->pieces; piece++)
            full[i] += (double)(axis[i]->window - (tap_count(axis[i], piece) < axis[i]->taps));
        full[i] /= (double)axis[i]->pieces;
    }
    return s->channels < CHUNK_STEPS ? (double)s->products : full[0] * full[1];
}

/* Cycles of the products for one step of one row of the transformed weights' matrix and all products. */
static double multiply_cycles(const shape *s, double rows) {
    double full = (double)s->vectors * rows / 2 / (s->vectors == 1 ? 0.82 : 0.93);
    double rest = s->rest > 0 ? (1.05 + 0.57 * (double)s->rest) * rows / VL : 0;
    if (tiles_are_few(s)) /* lanes of rows, all of them */
        rest = (1.65 + 0.57 * (double)s->rest) * (double)divide_up((int64_t)rows, VL);
    return (tiles_are_few(s) ? (double)s->products : products_multiplied(s)) * (full + rest);
}

/* Cycles of one step's inputs and of one row's outputs, for all tiles. */
static double input_cycles(const fc_part *part, const shape *s) {
    double vectors = (double)(s->vectors + (s->rest > 0)), segments = (double)s->tiles / (double)s->w.tiles;
    double products = (double)s->products, pixels = (double)(s->tiles * s->w.step) + 2 * segments;
    double share = s->h.window == 1 ? LINE_SHARE : 1;
    double cycles = products * vectors * INPUT_CYCLES * share + (segments > vectors ? segments - vectors : 0) * ROW_CYCLES;
    cycles += segments * RESOLVE_CYCLES / (double)s->channels;
    if (part->problem.x_channels_last && part->problem.in_ch > 1) {
        int64_t squares = s->h.window * divide_up(s->w.tiles * s->w.step + 2, VL);
        cycles += segments * (double)squares * SQUARE_CYCLES / (double)smaller(s->channels, VL);
    } else if (s->w.lattice > 1)
        cycles += pixels * (double)s->h.window * STAGE_CYCLES(s->w.lattice);
    return cycles;
}

static double output_cycles(const fc_part *part, const shape *s) {
    double vectors = (double)(s->vectors + (s->rest > 0)), products = (double)s->products;
    double scattered = s->w.apart > 1 && !part->problem.out_channels_last ? (double)part->out_pixels : 0;
    double vector = OUTPUT_CYCLES + (part->problem.out_channels_last ? 1 : 0);
    /* Rows of tiles that fill no vector are stored one by one. */
    double segments = (double)s->tiles / (double)s->w.tiles;
    double rows = part->problem.out_channels_last || segments < vectors ? 0 : (segments - vectors) * (double)s->h.step;
    double rest = (double)s->rest * REST_CYCLES + (tiles_are_few(s) ? OUTPUT_CYCLES : 0);
    return products * (vectors * vector + rest) + rows * STORE_CYCLES + scattered * SCATTER_CYCLES;
}

/* A panel's transformed inputs are written and read again: what L2 does not hold of them goes by L3. */
static double spilt_bytes(const shape *s) {
    return 2 * (double)(s->products * s->steps * (s->vectors + (s->rest > 0)) * VL) * sizeof(real);
}

static double spilt_share(const shape *s, const fc_machine *machine) {
    /* x, weights and sums lie there too: 384 channels' took a quarter longer than 192's, with 0.42 of L2. */
    double held = 0.35 * (double)machine->l2_bytes, panel = (double)(s->products * s->most_lanes * s->steps) * sizeof(real);
    return panel <= held ? 0 : 1 - held / panel;
}

static size_t packed_bytes(const fc_part *part) {
    shape s = shape_of(part);
    if (packs_at_use(part, &s))
        return FC_VIEW_BYTES;
    int64_t reals = given_reals(part, &s) + (weights_prepared(part, &s) ? transformed_reals(part, &s) : 0);
    return (size_t)reals * sizeof(real);
}

static FC_COLD double seconds(const fc_part *part, const fc_machine *machine) {
    shape s = shape_of(part);
    double groups = (double)part->problem.groups, steps = (double)s.steps, products = (double)s.products;
    double vectors = (double)(s.vectors + (s.rest > 0)), panels = (double)s.panels;
    double rows = (double)round_up(part->group_out_ch, 4);
    double multiply = fmax(steps * multiply_cycles(&s, rows), PRODUCT_CYCLES * products * vectors * rows);
    double mixed = fc_cost_mixed(machine, FC_PASTE(FC_ISA_, FC_ISA));
    double cycles = multiply + mixed * (steps * input_cycles(part, &s) + rows * output_cycles(part, &s));
    if (OUT_TILE == 2 && s.h.pieces * s.w.pieces > 1) /* as measured; why was not looked for */
        cycles *= 0.95;
    cycles += mixed * TASK_CYCLES * panels;
    cycles += products * vectors * rows * (double)divide_up(s.steps, s.chunk) * 1.14; /* chunks added up */
    double bytes = 0;
    if (weights_prepared(part, &s)) /* every panel of tiles reads all weights of its group, for the most part ahead */
        bytes = products * rows * steps * sizeof(real);
    else if (!tiles_are_few(&s))
        cycles += mixed * panels * products * steps * (double)round_up(part->group_out_ch, PANEL_ROWS) / VL * WEIGHT_CYCLES;
    double rate = bytes < (double)machine->l2_bytes / 2   ? machine->l2_rate
                  : bytes < (double)machine->l3_bytes / 2 ? machine->l3_rate
                                                          : machine->memory_rate;
    /* Only tiles in whole vectors, and few, ask ahead for the weights. */
    double given = part->problem.pack_per_call ? 0 : 0.4 * fc_cost_weights((double)packed_bytes(part), machine) / groups;
    double stream = tiles_are_few(&s) ? given : s.vectors == 0 ? 0.9 * bytes / rate : panels * bytes / (2.1 * rate);
    stream += 0.5 * spilt_bytes(&s) / machine->l3_rate * spilt_share(&s, machine);
    /* Transforms wait for what L2 does not hold of x: each row of tiles reads its window rows anew. */
    double read = (double)(part->in_pixels * part->group_in_ch) * sizeof(stor) * (double)s.h.window / (double)s.h.step;
    read *= s.h.window == 1 ? 0.2 : part->problem.x_channels_last ? 0.39 : 0.67; /* a line is a stream */
    /* A panel of channels-last channels is a piece of each pixel's lines, which leave L1 before the next one. */
    double pieces = part->problem.out_channels_last ? (double)part->out_pixels * rows / PANEL_ROWS : 0;
    if ((double)part->out_pixels * rows * sizeof(stor) > (double)machine->l1d_bytes && VL == 16)
        stream += (OUT_TILE == 2 ? 0.25 : 0.7) * pieces * 128 / machine->l2_rate;
    stream += read * fc_cost_beyond_l2(part, machine) / machine->l3_rate;
    return groups * (cycles / (machine->vector_fma_rate[FC_PASTE(FC_ISA_, FC_ISA)] / 2) + stream) +
           fc_cost_traffic(part, machine) + fc_cost_passes(part, machine) +
           (images_pack_at_use(part, &s, 1) ? fc_at_use_seconds(part, machine) : 0); /* whatever the batch */
}

static int64_t pack_units(const fc_part *part) {
    shape s = shape_of(part);
    return packs_at_use(part, &s) ? 1 : part->problem.groups * divide_up(part->group_out_ch, PANEL_ROWS);
}

static void pack(const fc_part *part, const fc_weight_view *weight, const fc_weight_view *pointwise, void *packed,
                 int64_t begin, int64_t end) {
    (void)pointwise;
    shape s = shape_of(part);
    if (packs_at_use(part, &s)) {
        memcpy(packed, weight, sizeof *weight);
        return;
    }
    int64_t panels = divide_up(part->group_out_ch, PANEL_ROWS), padded = panels * PANEL_ROWS, at_once;
    int64_t panel_reals = PANEL_ROWS * s.steps * s.taps;
    for (int64_t unit = begin; unit < end; unit += at_once) {
        int64_t g = unit / panels, first = unit % panels;
        at_once = smaller(panels - first, end - unit);
        real *given = (real *)packed + unit * panel_reals;
        for (int64_t panel = first; panel < first + at_once; panel++)
            pack_panel(part, &s, weight, g, panel * PANEL_ROWS,
                       smaller(PANEL_ROWS, part->group_out_ch - panel * PANEL_ROWS), 0, s.steps,
                       given + (panel - first) * panel_reals);
        if (!weights_prepared(part, &s))
            continue;
        real *transformed = (real *)packed + given_reals(part, &s) + g * padded * s.steps * s.products;
        for (int64_t from = 0; from < s.steps; from += s.chunk) {
            int64_t to = smaller(from + s.chunk, s.steps);
            for (int64_t i = 0; i < s.h.window; i++)
                transform_weights(&s, i, given + from * s.taps * PANEL_ROWS, panel_reals, at_once, to - from,
                                  transformed + (i * s.w.window * s.steps + from) * padded +
                                      first * PANEL_ROWS * (to - from),
                                  padded * s.steps);
        }
    }
}

/* grid: panels of tiles, blocks of rows, rows per task. Blocks of a panel are neighbours, and a worker that goes from
 * one to the next keeps the transformed inputs. */
static int64_t partition(const fc_part *part, int threads, int64_t grid[4]) {
    shape s = shape_of(part);
    grid[0] = s.panels;
    int64_t outer = part->problem.batch * part->problem.groups * s.panels;
    int64_t wanted = threads > 1 ? 4 * (int64_t)threads : 1;
    int64_t blocks = smaller(divide_up(wanted, outer > 0 ? outer : 1), divide_up(part->group_out_ch, TASK_ROWS));
    grid[2] = round_up(divide_up(part->group_out_ch, blocks), PANEL_ROWS);
    grid[1] = divide_up(part->group_out_ch, grid[2]);
    return outer * grid[1];
}

static size_t scratch_bytes(const fc_part *part) {
    shape s = shape_of(part);
    return (size_t)layout_of(part, &s).total * sizeof(real);
}

/* One task's place in the work, and what its stages share. */
typedef struct task_job {
    input_job in;
    output_job out;
    multiply_job multiply;
    given_weights given;
    const real *transformed; /* weights of the group; NULL when transformed here */
} task_job;

/* Steps [begin, end) of the span at hand, with weights that pack transformed: the sums of a product stay in L1. */
static void multiply_prepared(task_job *job, int64_t row, int64_t begin, int64_t end) {
    const shape *s = job->in.s;
    int64_t padded = round_up(job->in.part->group_out_ch, PANEL_ROWS);
    for (int64_t product = 0; product < s->products; product++)
        for (int64_t step = begin, depth; step < end; step += depth) {
            depth = smaller(s->chunk, end - step);
            if (product_is_zero(s, product, step, step + depth))
                continue;
            const real *u = job->transformed + product * padded * s->steps + step * padded + row * depth;
            const real *inputs = job->in.scratch + job->in.l->inputs + product * job->in.l->input_stride +
                                 (step - begin) * job->multiply.lanes;
            int64_t to_next = step + depth < end ? padded * depth : padded * (s->steps - step + begin);
            multiply(&job->multiply, product, depth, u, inputs, step > 0, u + to_next);
        }
}

/* The same with weights transformed here, a chunk at a time. */
static void multiply_given(task_job *job, int64_t row, int64_t begin, int64_t end) {
    const shape *s = job->in.s;
    const layout *l = job->in.l;
    int64_t panels = divide_up(job->multiply.rows, PANEL_ROWS);
    for (int64_t step = begin, depth; step < end; step += depth) {
        depth = smaller(s->chunk, end - step);
        const real *given = given_at(&job->given, row, panels, step, step + depth);
        for (int64_t product = 0; product < s->products; product++) {
            int64_t j = product % s->w.window;
            if (j == 0)
                transform_weights(s, product / s->w.window, given, given_pitch(&job->given, step, step + depth), panels,
                                  depth, job->in.scratch + l->weights, l->weight_stride);
            if (product_is_zero(s, product, step, step + depth))
                continue;
            const real *u = job->in.scratch + l->weights + j * l->weight_stride;
            const real *inputs =
                job->in.scratch + l->inputs + product * l->input_stride + (step - begin) * job->multiply.lanes;
            multiply(&job->multiply, product, depth, u, inputs, step > 0, u + l->weight_stride);
        }
    }
}

/* Lines of out that rows [row, row_end) are stored to, spread over their register tiles. */
static ahead ahead_of_rows(const task_job *job, int64_t row, int64_t row_end) {
    const input_job *in = &job->in;
    const shape *s = in->s;
    const fc_tensor *out = &job->out.call->tensors.out;
    if (!in->part->block[ASKS_AHEAD] || out->stride[4] != 1)
        return (ahead){.channels = 0};
    int64_t tiles = s->products * divide_up(s->steps, s->chunk) * divide_up(row_end - row, ROWS);
    return ahead_of(in->part, s, out, job->out.n, job->out.group * in->part->group_out_ch + row, row_end - row,
                    in->segments, in->segment_count, tiles, (ahead_run *)(in->scratch + in->l->runs));
}

/* Rows [row, row_end) of the panel of tiles. */
static void run_rows(task_job *job, int64_t row, int64_t row_end, int64_t *ready) {
    const input_job *in = &job->in;
    const shape *s = in->s;
    job->multiply.rows = row_end - row;
    job->multiply.out = ahead_of_rows(job, row, row_end);
    for (int64_t begin = 0, end; begin < s->steps; begin = end) {
        end = smaller(begin + in->part->block[SPAN], s->steps);
        if (*ready != begin)
            transform_input(in, begin, end);
        *ready = begin;
        if (tiles_are_few(s))
            multiply_few(&job->multiply, &job->given, row, begin, end);
        else if (job->transformed != NULL)
            multiply_prepared(job, row, begin, end);
        else
            multiply_given(job, row, begin, end);
    }
    if (job->multiply.rest > 0)
        place_rest(in->l, s, row_end - row, job->multiply.vecs * VL, in->scratch);
    const real *sums = in->scratch + in->l->sums;
    for (int64_t r = row, rows; r < row_end; r += rows, sums += rows * s->products * PANEL_LANES) {
        rows = smaller(in->part->problem.out_channels_last ? FINISH_ROWS : 8, row_end - r);
        finish_rows(&job->out, sums, r, rows);
    }
}

static void run(const fc_call *call, int64_t task, void *scratch) {
    const fc_part *part = call->part;
    const int64_t *grid = call->grid;
    shape s = shape_of(part);
    layout l = layout_of(part, &s);
    int64_t row_task = task % grid[1], panel = task / grid[1] % grid[0];
    int64_t group = task / grid[1] / grid[0] % part->problem.groups;
    int64_t n = task / grid[1] / grid[0] / part->problem.groups;
    int64_t first = panel * s.vectors / s.panels, last = (panel + 1) * s.vectors / s.panels;
    int64_t rest = panel == s.panels - 1 ? s.rest : 0;
    int64_t count = smaller(last * VL, s.tiles) - first * VL + rest;
    const fc_tensor *x = &call->tensors.x;
    task_job job = {.in = {.part = part, .s = &s, .l = &l, .x = x, .scratch = scratch}};
    input_job *in = &job.in;
    in->vecs = last - first + (rest > 0);
    in->group = (const stor *)x->data + n * x->stride[0] + group * part->group_in_ch * x->stride[1];
    in->segments = (segment *)(in->scratch + l.segments);
    in->segment_count = cut_segments(&s, first * VL, count, in->segments);
    memset(in->scratch + l.lines, 0, COPIES * WINDOW * LINE_PITCH * sizeof(real));
    memset(in->scratch + l.zeros, 0, (size_t)(s.w.window * s.most_lanes + VL) * sizeof(real));
    int64_t padded = round_up(part->group_out_ch, PANEL_ROWS);
    job.given = given_weights_of(part, &s, call->packed, group, in->scratch + l.given);
    if (weights_prepared(part, &s))
        job.transformed = (const real *)call->packed + given_reals(part, &s) + group * padded * s.steps * s.products;
    in->lanes = tiles_are_few(&s) ? FEW_TILES : in->vecs * VL;
    job.multiply = (multiply_job){.s = &s, .l = &l, .scratch = scratch, .vecs = last - first, .rest = rest,
                                  .lanes = in->lanes};
    job.out = (output_job){in, call, &job.given, n, group, count, fc_bounds_of(&part->problem), false};
    job.out.quick = job.out.bounds.only && call->tensors.residual.data == NULL;
    int64_t row_last = smaller((row_task + 1) * grid[2], part->group_out_ch);
    int64_t before = fc_task_before(scratch);
    bool kept = before >= 0 && before / grid[1] == task / grid[1] && part->block[SPAN] == s.steps;
    int64_t ready = kept ? 0 : -1;
    for (int64_t row = row_task * grid[2]; row < row_last; row += part->block[ROW_BLOCK])
        run_rows(&job, row, smaller(row + part->block[ROW_BLOCK], row_last), &ready);
}

#define KERNEL_RECORD(algorithm_name, record) \
    const fc_kernel record; \
    const fc_kernel record = { \
        .algorithm = algorithm_name, \
        .dtype = FC_TEXT(FC_DTYPE), \
        .isa = FC_TEXT(FC_ISA), \
        .name = FC_NAME(algorithm_name), \
        .rejects = rejects, \
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
