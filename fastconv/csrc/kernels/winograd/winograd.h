/* winograd_f2, winograd_f4: F(2, 3) and F(4, 3) along height, width or both; kernels of 3 taps there.
 *
 * Tiles of OUT_TILE outputs and OUT_TILE + 2 inputs per axis (tile.h). A task takes a panel of tiles and a range
 * of out channels:
 *     transform the panel's inputs           -> [product][step][lane]      input.h
 *     for each block of out channels
 *         for each product, chunk of steps, panel of rows: the register tile -> [row][product][lane]
 *         transform back, epilogue, store                                   output.h
 * A chunk of the reduction is summed from zero and then added, as in gemm. The block's sums lie in L2 and the
 * chunk at hand in L1; the weights stream past once per panel. When the transformed inputs of all channels
 * would outgrow the scratch they are made span by span, anew for each block.
 *
 * Packed weights: transformed, [group][product][chunk][panel of rows][step][row], then as given, [group][panel of
 * rows][step][tap][row], for tiles that must be summed directly. A step is (in channel, depth tap).
 * Bound: FMA throughput with many channels both in and out; shuffles and stores of the transforms
 * with few; the L3 stream of weights with few tiles.
 */
#ifndef FC_WINOGRAD_H
#define FC_WINOGRAD_H

#include "kernels/winograd/output.h"

/* F(4, 3) of a few channels is less exact than the short direct sum it replaces: with this many steps or
 * more its largest error was measured below 4 times that of sequential sums, for inputs of which up to
 * nine tenths are zero (5.6 times at 97 % zeros; 3.4 from 128 steps on). One transformed axis loses less than two; F(2, 3) needs no bound. */
enum { EXACT_STEPS = OUT_TILE == 4 ? 64 : 1, EXACT_STEPS_ONE_AXIS = OUT_TILE == 4 ? 8 : 1 };

static const char *rejects(const fc_part *part) {
    const fc_problem *p = &part->problem;
    if (p->operation > FC_CONV_TRANSPOSED)
        return "only plain and transposed convolutions";
    int tapped = 0;
    for (int i = 1; i < FC_MAX_SPATIAL; i++) {
        const fc_axis *axis = &part->axis[i];
        if (axis->stride != 1)
            return "stride above 1";
        if (axis->kernel == 3 && axis->dilation == 1)
            tapped++;
        else if (axis->kernel != 1)
            return axis->kernel == 3 ? "dilation above 1" : "kernel height and width must be 3, or 3 and 1";
    }
    if (tapped == 0 || part->taps == 0)
        return "no axis has a kernel of 3";
    if (p->weights_unsafe)
        return "weights hold NaN, infinity or values near overflow";
    int64_t exact = tapped == 2 ? EXACT_STEPS : EXACT_STEPS_ONE_AXIS;
    if (p->precision == FC_PRECISION_HIGHEST && !FC_IS_NARROW && part->group_in_ch * part->axis[0].kernel < exact)
        return "too few in channels per group (8 along one axis, 64 along two): the error could pass what "
               "'highest' promises";
    return NULL;
}

static void prepare(fc_part *part, const fc_machine *machine) {
    shape s = shape_of(part);
    int64_t step_reals = s.products * s.most_lanes;
    int64_t span = (int64_t)(4 * machine->l2_bytes / sizeof(real)) / step_reals / s.chunk * s.chunk;
    part->block[SPAN] = smaller(span < s.chunk ? s.chunk : span, s.steps);
    int64_t panels = (int64_t)(machine->l2_bytes / 2 / sizeof(real)) / (s.products * PANEL_LANES * TILE_ROWS);
    int64_t wanted = divide_up(part->group_out_ch, TILE_ROWS);
    panels = divide_up(wanted, divide_up(wanted, panels > 2 ? panels : 2));
    part->block[ROW_BLOCK] = smaller(panels * TILE_ROWS, part->group_out_ch);
}

/* Cycles per vector of one product, for its share of the transform and of the traffic it causes. */
#define TRANSFORM_CYCLES (OUT_TILE == 4 ? 12.0 : 8.0)

static double seconds(const fc_part *part, const fc_machine *machine) {
    shape s = shape_of(part);
    const fc_problem *p = &part->problem;
    double vectors = (double)(p->groups * s.products * s.vectors);
    double rows = (double)part->group_out_ch, steps = (double)s.steps;
    double fma = vectors * rows * steps / 2 / 0.85 * (s.most_lanes == VL ? 1.15 : 1); /* one vector: load bound */
    double add = vectors * rows * (double)divide_up(s.steps, s.chunk) * 1.5;
    double input = vectors * steps * (TRANSFORM_CYCLES + (p->x_channels_last ? 6 : 0));
    double output = vectors * rows * (TRANSFORM_CYCLES + (p->out_channels_last ? 4 : 0));
    /* Every panel of tiles reads all weights of its group. */
    double weights = (double)s.products * rows * steps * sizeof(real);
    double rate = weights < (double)machine->l2_bytes / 2   ? machine->l2_rate
                  : weights < (double)machine->l3_bytes / 2 ? machine->l3_rate
                                                            : machine->memory_rate;
    double stream = weights * (double)(p->groups * s.panels) / rate;
    double cycles = fma + add + input + output;
    return cycles / (machine->vector_fma_rate[FC_PASTE(FC_ISA_, FC_ISA)] / 2) + stream;
}

static int64_t transformed_reals(const fc_part *part, const shape *s) {
    return part->problem.out_ch * s->steps * s->products;
}

static size_t packed_bytes(const fc_part *part) {
    shape s = shape_of(part);
    return (size_t)(transformed_reals(part, &s) + part->problem.out_ch * part->reduction) * sizeof(real);
}

/* G g G' of one pair of channels at one depth tap; the tap of an axis of 1 passes through. */
static void transform_weight(const shape *s, const real *weight, int64_t stride_h, int64_t stride_w, real *to,
                             int64_t to_stride) {
    double half[3][WINDOW], column[3], result[WINDOW];
    int64_t taps_h = s->window_h > 1 ? 3 : 1;
    for (int64_t kh = 0; kh < taps_h; kh++) {
        half[kh][0] = (double)weight[kh * stride_h];
        if (s->window_w > 1) {
            for (int64_t kw = 0; kw < 3; kw++)
                column[kw] = (double)weight[kh * stride_h + kw * stride_w];
            tile_weight(column, half[kh]);
        }
    }
    for (int64_t j = 0; j < s->window_w; j++) {
        result[0] = half[0][j];
        if (s->window_h > 1) {
            for (int64_t kh = 0; kh < 3; kh++)
                column[kh] = half[kh][j];
            tile_weight(column, result);
        }
        for (int64_t i = 0; i < s->window_h; i++)
            to[(i * s->window_w + j) * to_stride] = (real)result[i];
    }
}

static void pack(const fc_part *part, const fc_weight_view *weight, const fc_weight_view *pointwise, void *packed) {
    (void)pointwise;
    shape s = shape_of(part);
    const int64_t *stride = weight->stride;
    int64_t product_stride = part->group_out_ch * s.steps;
    real *direct = (real *)packed + transformed_reals(part, &s);
    for (int64_t g = 0; g < part->problem.groups; g++)
        for (int64_t row = 0, rows; row < part->group_out_ch; row += rows) {
            rows = fc_panel_rows(part->group_out_ch - row);
            real *to = (real *)packed + g * s.products * product_stride;
            for (int64_t step = 0; step < s.steps; step++) {
                int64_t chunk = step / s.chunk * s.chunk, depth = smaller(s.chunk, s.steps - chunk);
                int64_t place = chunk * part->group_out_ch + row * depth + (step - chunk) * rows;
                int64_t offset = g * stride[0] + row * stride[1] + step / s.depth_taps * stride[2] +
                                 step % s.depth_taps * stride[3];
                const real *from = (const real *)weight->data + offset;
                for (int64_t r = 0; r < rows; r++)
                    transform_weight(&s, from + r * stride[1], stride[4], stride[5], to + place + r,
                                     product_stride);
                for (int64_t kh = 0; kh < part->axis[1].kernel; kh++)
                    for (int64_t kw = 0; kw < part->axis[2].kernel; kw++)
                        for (int64_t r = 0; r < rows; r++)
                            *direct++ = from[r * stride[1] + kh * stride[4] + kw * stride[5]];
            }
        }
}

/* grid: panels of tiles, blocks of rows, rows per task */
static int64_t partition(const fc_part *part, int threads, int64_t grid[4]) {
    shape s = shape_of(part);
    grid[0] = s.panels;
    int64_t outer = part->problem.batch * part->problem.groups * s.panels;
    int64_t wanted = threads > 1 ? 4 * (int64_t)threads : 1;
    /* Every block of rows transforms the inputs for itself: not below 64 rows. */
    int64_t blocks = smaller(divide_up(wanted, outer > 0 ? outer : 1), divide_up(part->group_out_ch, 64));
    grid[2] = divide_up(divide_up(part->group_out_ch, blocks), TILE_ROWS) * TILE_ROWS;
    grid[1] = divide_up(part->group_out_ch, grid[2]);
    return outer * grid[1];
}

static size_t scratch_bytes(const fc_part *part) {
    shape s = shape_of(part);
    return (size_t)layout_of(part, &s).total * sizeof(real);
}

/* All products of rows [row, row_end) with steps [begin, end) of the span at hand. */
static void multiply(const input_job *in, const real *weights, int64_t row, int64_t row_end, int64_t begin, int64_t end) {
    const shape *s = in->s;
    const layout *l = in->l;
    int64_t lanes = in->vecs * VL;
    for (int64_t product = 0; product < s->products; product++) {
        const real *u = weights + product * in->part->group_out_ch * s->steps;
        for (int64_t step = begin, depth; step < end; step += depth) {
            depth = smaller(s->chunk, end - step);
            const real *inputs = in->scratch + l->inputs + product * l->input_stride + (step - begin) * lanes;
            real *sums = in->scratch + l->sums + product * PANEL_LANES;
            int64_t row_pitch = s->products * PANEL_LANES;
            for (int64_t r = row, rows; r < row_end; r += rows, sums += rows * row_pitch) {
                rows = fc_panel_rows(row_end - r);
                fc_tile(rows, in->vecs, depth, u + step * in->part->group_out_ch + r * depth, inputs, sums, row_pitch,
                        step > 0);
            }
        }
    }
}

static void run(const fc_call *call, int64_t task, void *scratch) {
    const fc_part *part = call->part;
    const int64_t *grid = call->grid;
    shape s = shape_of(part);
    layout l = layout_of(part, &s);
    int64_t panel = task % grid[0], row_task = task / grid[0] % grid[1];
    int64_t group = task / grid[0] / grid[1] % part->problem.groups;
    int64_t n = task / grid[0] / grid[1] / part->problem.groups;
    int64_t first = panel * s.vectors / s.panels, last = (panel + 1) * s.vectors / s.panels;
    int64_t count = smaller(last * VL, s.tiles) - first * VL;
    const fc_tensor *x = &call->tensors.x;
    input_job in = {.part = part, .s = &s, .l = &l, .x = x, .vecs = last - first, .scratch = scratch};
    in.group = (const stor *)x->data + n * x->stride[0] + group * part->group_in_ch * x->stride[1];
    in.segments = (segment *)(in.scratch + l.segments);
    in.segment_count = cut_segments(part, &s, first * VL, count, in.segments);
    memset(in.scratch + l.lines, 0, 2 * WINDOW * LINE_PITCH * sizeof(real));
    memset(in.scratch + l.zeros, 0, (size_t)(s.window_w * s.most_lanes + VL) * sizeof(real));
    const real *weights = call->packed;
    output_job out = {.in = &in, .call = call, .n = n, .group = group, .lanes = count};
    out.direct_weights = weights + transformed_reals(part, &s) + group * part->group_out_ch * part->reduction;
    weights += group * part->group_out_ch * s.steps * s.products;
    int64_t row_last = smaller((row_task + 1) * grid[2], part->group_out_ch), ready = -1;
    for (int64_t row = row_task * grid[2]; row < row_last; row += part->block[ROW_BLOCK]) {
        int64_t row_end = smaller(row + part->block[ROW_BLOCK], row_last);
        for (int64_t begin = 0, end; begin < s.steps; begin = end) {
            end = smaller(begin + part->block[SPAN], s.steps);
            if (ready != begin)
                transform_input(&in, begin, end);
            ready = begin;
            multiply(&in, weights, row, row_end, begin, end);
        }
        const real *sums = in.scratch + l.sums;
        for (int64_t r = row, rows; r < row_end; r += rows, sums += rows * s.products * PANEL_LANES) {
            rows = fc_panel_rows(row_end - r);
            finish_rows(&out, sums, r, rows);
        }
    }
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
        .pack = pack, \
        .partition = partition, \
        .scratch_bytes = scratch_bytes, \
        .run = run, \
    }

#endif
