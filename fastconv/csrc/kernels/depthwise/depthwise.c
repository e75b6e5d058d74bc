/* depthwise: one input channel per group, any number of output channels per group.
 *
 * Planar x: lanes along width (row_sweep.h). A task is some channels x some output rows of an image; it
 * takes a strip of columns and a chunk of rows at a time, copies the rows of x it needs with their padding
 * (common/padded_rows.h) and sweeps the copies for each output channel of the group. The copies also keep
 * rows a power of two apart from falling into the same sets of L1, which costs more than copying.
 * Channels-last x: lanes along channels (common/channel_lanes.h).
 *
 * Packed weights: the planar form [out channel][group of height taps][taps as row_sweep.h wants], then, 64-byte
 * aligned, the form of channel_lanes.h; both, since which is used depends on the layout of x.
 * Bound: L1 loads, about one per two FMAs after reuse in registers; memory for small kernels on large planes.
 */
#include "kernels/common/channel_lanes_run.h"
#include "kernels/depthwise/row_sweep.h"

enum { STRIP = 0, CHUNK_ROWS = 1 }; /* of part->block */

static int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }
static int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }
static int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }
static int64_t vectors_up(int64_t count) { return divide_up(count, VL) * VL; }

static const char *rejects(const fc_part *part) {
    if (part->problem.operation > FC_CONV_TRANSPOSED)
        return "only plain and transposed convolutions";
    if (part->group_in_ch != 1)
        return "only one input channel per group";
    if (part->taps == 0)
        return "no tap reaches this stride phase";
    return NULL;
}

/* Few channels leave most lanes empty, so their planes are copied out instead. */
static bool channels_in_lanes(const fc_part *part) {
    return part->problem.x_channels_last && 2 * part->problem.in_ch >= VL;
}

/* How rows are shared between output rows: see row_sweep.h. */
static int64_t share_of(const fc_part *part) {
    const fc_axis *height = &part->axis[1];
    return height->kernel >= 3 && height->dilation == 1 && height->stride <= 2 ? height->stride : 0;
}

/* Rows of x behind `rows` output rows of one depth tap. */
static int64_t rows_read(const fc_part *part, int64_t rows) {
    return (rows - 1) * part->axis[1].stride + fc_axis_reach(&part->axis[1]) + 1;
}

static void prepare(fc_part *part, const fc_machine *machine) {
    const fc_axis *width = &part->axis[2], *height = &part->axis[1];
    int64_t budget = (int64_t)(machine->l1d_bytes / sizeof(real)) * 3 / 4;
    int64_t strip = smaller(larger(width->out, 1), 16 * SWEEP_VECS * VL), rows = 0;
    for (;; strip = vectors_up(strip / 2)) {
        int64_t pitch = fc_row_shape_of(width, strip).row_pitch * part->axis[0].kernel;
        rows = (budget / pitch - fc_axis_reach(height) - 1) / height->stride + 1;
        if (rows >= 2 * SWEEP_ROWS || strip <= SWEEP_VECS * VL)
            break;
    }
    rows = larger(rows / SWEEP_ROWS, 1) * SWEEP_ROWS;
    part->block[STRIP] = strip;
    part->block[CHUNK_ROWS] = smaller(rows, larger(height->out, 1));
}

static double seconds(const fc_part *part, const fc_machine *machine) {
    const fc_problem *p = &part->problem;
    double out_rows = (double)(part->axis[0].out * part->axis[1].out), taps = (double)part->taps, cycles;
    if (channels_in_lanes(part)) {
        cycles = lane_cycles(part);
    } else {
        double vectors = (double)divide_up(part->axis[2].out, VL);
        double row = vectors * (taps * (share_of(part) ? 0.65 : 1.1) + (p->out_channels_last ? 2.0 * VL : 3.0)) + 6;
        double copy = p->x_channels_last && p->in_ch > 1 ? 1.2 * VL
                      : part->axis[2].stride > 2         ? 1.2 * VL
                                                         : 2.0;
        double in_rows = (double)rows_read(part, part->axis[1].out) * (double)part->axis[0].kernel *
                         (double)part->axis[0].out;
        copy = in_rows * (vectors * (double)part->axis[2].stride * copy + 15);
        cycles = (double)p->out_ch * out_rows * row + (double)p->in_ch * copy;
    }
    return cycles / (machine->vector_fma_rate[FC_PASTE(FC_ISA_, FC_ISA)] / 2) + fc_traffic_seconds(part, machine);
}

static size_t planar_count(const fc_part *part) {
    return (size_t)(divide_up(part->problem.out_ch * part->taps, 64) * 64);
}

static size_t packed_bytes(const fc_part *part) {
    return (planar_count(part) + (size_t)lane_packed_count(part)) * sizeof(real);
}

static void pack(const fc_part *part, const fc_weight_view *weight, const fc_weight_view *pointwise, void *packed) {
    (void)pointwise;
    real *to = packed;
    const int64_t *s = weight->stride;
    int64_t share = share_of(part), height = part->axis[1].kernel;
    for (int64_t channel = 0; channel < part->problem.out_ch; channel++)
        for (int64_t first = 0, taps; first < height; first += taps) {
            taps = sweep_group(share, height - first);
            bool shares = sweep_shares(share, taps);
            int64_t inner = shares ? taps : part->axis[2].kernel, outer = shares ? part->axis[2].kernel : taps;
            for (int64_t i = 0; i < part->axis[0].kernel * taps * part->axis[2].kernel; i++) {
                int64_t a = i / inner % outer, b = i % inner, kd = i / inner / outer;
                int64_t kh = first + (shares ? b : a), kw = shares ? a : b;
                *to++ = ((const real *)weight->data)[channel / part->group_out_ch * s[0] +
                                                     channel % part->group_out_ch * s[1] + kd * s[3] + kh * s[4] +
                                                     kw * s[5]];
            }
        }
    lane_pack(part, weight, (real *)packed + planar_count(part));
}

/* grid: channels (or blocks of lanes) per task, tasks along them, output rows per task, tasks along them */
static int64_t partition(const fc_part *part, int threads, int64_t grid[4]) {
    int64_t rows = part->axis[0].out * part->axis[1].out, channels, row_unit;
    if (channels_in_lanes(part)) {
        channels = lane_shape_of(part).blocks;
        row_unit = 1;
    } else {
        channels = part->problem.in_ch;
        row_unit = part->block[CHUNK_ROWS];
    }
    grid[0] = channels;
    grid[2] = rows;
    int64_t wanted = threads > 1 ? 4 * (int64_t)threads : 1;
    while (part->problem.batch * divide_up(channels, grid[0]) * divide_up(rows, grid[2]) < wanted) {
        if (grid[0] > 1)
            grid[0] = divide_up(grid[0], 2);
        else if (grid[2] > row_unit)
            grid[2] = divide_up(divide_up(grid[2], 2), row_unit) * row_unit;
        else
            break;
    }
    grid[1] = divide_up(channels, grid[0]);
    grid[3] = divide_up(rows, grid[2]);
    return part->problem.batch * grid[1] * grid[3];
}

/* Scratch of a worker in planar form. */
typedef struct planar_scratch {
    const real **table;     /* [depth tap][row], into rows */
    const stor **sources;   /* the same, in x */
    int64_t *shift;         /* of each tap along width */
    real *sums, *rows;
    fc_row_shape shape;
    int64_t pitch, share;   /* of the table; see row_sweep.h */
    fc_bounds bounds;
} planar_scratch;

/* The table has room for the rows of a block that is cut off by the end of a chunk. */
static int64_t table_pitch(const fc_part *part) {
    return rows_read(part, part->block[CHUNK_ROWS] + SWEEP_ROWS);
}

static size_t planar_scratch_at(const fc_part *part, char *base, planar_scratch *scratch) {
    fc_row_shape shape = fc_row_shape_of(&part->axis[2], part->block[STRIP]);
    int64_t depth = part->axis[0].kernel, entries = depth * table_pitch(part), width = part->axis[2].kernel;
    int64_t rows = depth * rows_read(part, part->block[CHUNK_ROWS]) * shape.row_pitch + ROW_SLACK;
    size_t sizes[5] = {(size_t)entries * sizeof(real *), (size_t)entries * sizeof(stor *),
                       (size_t)width * sizeof(int64_t), SWEEP_SUMS * sizeof(real), (size_t)rows * sizeof(real)};
    size_t starts[5], total = 0;
    for (int i = 0; i < 5; i++) {
        starts[i] = total;
        total += (sizes[i] + 63) / 64 * 64;
    }
    if (base != NULL) {
        scratch->table = (const real **)(void *)(base + starts[0]);
        scratch->sources = (const stor **)(void *)(base + starts[1]);
        scratch->shift = (int64_t *)(void *)(base + starts[2]);
        scratch->sums = (real *)(void *)(base + starts[3]);
        scratch->rows = (real *)(void *)(base + starts[4]);
        scratch->shape = shape;
        scratch->pitch = table_pitch(part);
        scratch->share = share_of(part);
        scratch->bounds = fc_bounds_of(&part->problem);
        for (int64_t k = 0; k < width; k++)
            scratch->shift[k] = fc_tap_shift(&shape, &part->axis[2], k);
    }
    return total;
}

static size_t scratch_bytes(const fc_part *part) {
    return channels_in_lanes(part) ? lane_scratch_at(part, NULL, NULL) : planar_scratch_at(part, NULL, NULL);
}

typedef struct strip {
    int64_t n, channel;      /* of x */
    int64_t d, h, rows;      /* output rows */
    int64_t w, columns;      /* output columns */
} strip;

/* Copies the rows behind one strip of one input channel and fills the table. */
static void find_rows(const fc_call *call, const planar_scratch *scratch, const strip *at) {
    const fc_part *part = call->part;
    const fc_tensor *x = &call->tensors.x;
    const fc_axis *depth = &part->axis[0], *height = &part->axis[1], *width = &part->axis[2];
    const stor *plane = (const stor *)x->data + at->n * x->stride[0] + at->channel * x->stride[1];
    int64_t count = rows_read(part, at->rows), pitch = scratch->pitch, row_pitch = scratch->shape.row_pitch;
    for (int64_t kd = 0; kd < depth->kernel; kd++) {
        int64_t d = fc_axis_source(depth, at->d * depth->stride + kd * depth->dilation);
        const real **table = scratch->table + kd * pitch;
        const stor **sources = scratch->sources + kd * pitch;
        for (int64_t i = 0; i < count; i++) {
            int64_t h = fc_axis_source(height, at->h * height->stride + i);
            sources[i] = d < 0 || h < 0 ? NULL : plane + d * x->stride[2] + h * x->stride[3];
        }
        real *copies = scratch->rows + kd * count * row_pitch;
        fc_copy_rows(width, &scratch->shape, sources, count, x->stride[4], at->w, at->columns, copies);
        for (int64_t i = 0; i < pitch; i++) /* past count: read for output rows that are not stored */
            table[i] = copies + (i < count ? i : 0) * row_pitch;
    }
}

/* All output rows of a strip for one output channel. */
static void sweep_strip(const fc_call *call, const planar_scratch *scratch, const strip *at, int64_t channel) {
    const fc_part *part = call->part;
    const fc_problem *p = &part->problem;
    const fc_tensor *out = &call->tensors.out, *residual = &call->tensors.residual;
    const real *bias = call->tensors.bias ? (const real *)call->tensors.bias + channel : NULL;
    int64_t share = scratch->share, height_taps = part->axis[1].kernel;
    fc_bounds bounds = scratch->bounds;
    bool finish = bounds.only && out->stride[4] == 1 && residual->data == NULL;
    row_sweep s = {.depth_pitch = scratch->pitch, .row_step = part->axis[1].stride,
                   .tap_step = part->axis[1].dilation, .shift = scratch->shift,
                   .depth_taps = part->axis[0].kernel, .width_taps = part->axis[2].kernel, .sums = scratch->sums,
                   .bias = bias ? *bias : -(real)0.0, .low = bounds.low, .high = bounds.high,
                   .out_pitch = out->stride[3]};
    sweep_block block;
    for (int64_t w = 0; w < at->columns; w += block.vecs * VL) {
        s.column = w;
        block = sweep_block_of(share, part->axis[1].out, divide_up(at->columns - w, VL));
        for (int64_t h = 0; h < at->rows; h += block.rows) {
            fc_pixel pixel = {at->d, at->h + h, at->w + w};
            s.weights = (const real *)call->packed + channel * part->taps;
            s.valid_rows = smaller(block.rows, at->rows - h);
            s.valid_columns = smaller(block.vecs * VL, at->columns - w);
            s.out = (stor *)out->data + fc_tensor_offset(out, at->n, channel, pixel);
            for (int64_t first = 0; first < height_taps; first += s.taps) {
                s.taps = sweep_group(share, height_taps - first);
                s.rows = scratch->table + h * s.row_step + first * s.tap_step;
                s.add = first > 0;
                s.finish = finish && first + s.taps == height_taps;
                sweep(block, share, &s);
                s.weights += s.depth_taps * s.width_taps * s.taps;
            }
            for (int64_t r = 0; !finish && r < s.valid_rows; r++, pixel.h++)
                fc_finish(p, s.sums + r * block.vecs * VL, s.valid_columns, bias, 0,
                          residual->data ? (const stor *)residual->data +
                                               fc_tensor_offset(residual, at->n, channel, pixel)
                                         : NULL,
                          residual->stride[4], (stor *)out->data + fc_tensor_offset(out, at->n, channel, pixel),
                          out->stride[4]);
        }
    }
}

/* A chunk of output rows of one input channel, strip by strip. */
static void run_chunk(const fc_call *call, const planar_scratch *scratch, strip at) {
    const fc_part *part = call->part;
    int64_t multiplier = part->group_out_ch, width = part->axis[2].out;
    for (at.w = 0; at.w < width; at.w += at.columns) {
        at.columns = smaller(width - at.w, part->block[STRIP]);
        find_rows(call, scratch, &at);
        for (int64_t j = 0; j < multiplier; j++)
            sweep_strip(call, scratch, &at, at.channel * multiplier + j);
    }
}

static void run(const fc_call *call, int64_t task, void *scratch_base) {
    const fc_part *part = call->part;
    const int64_t *grid = call->grid;
    int64_t row_task = task % grid[3], channel_task = task / grid[3] % grid[1], n = task / grid[3] / grid[1];
    int64_t row_begin = row_task * grid[2];
    int64_t row_end = smaller(row_begin + grid[2], part->axis[0].out * part->axis[1].out);
    int64_t first = channel_task * grid[0];
    if (channels_in_lanes(part)) {
        int64_t last = smaller(first + grid[0], lane_shape_of(part).blocks);
        lane_run(call, (const real *)call->packed + planar_count(part), n, row_begin, row_end, first, last,
                 scratch_base);
        return;
    }
    int64_t last = smaller(first + grid[0], part->problem.in_ch), height = part->axis[1].out;
    planar_scratch scratch = {0};
    planar_scratch_at(part, scratch_base, &scratch);
    for (int64_t row = row_begin, d = row / height, h = row % height; row < row_end;) {
        int64_t rows = smaller(smaller(part->block[CHUNK_ROWS], row_end - row), height - h);
        for (int64_t channel = first; channel < last; channel++)
            run_chunk(call, &scratch, (strip){.n = n, .channel = channel, .d = d, .h = h, .rows = rows});
        row += rows;
        h += rows;
        if (h == height)
            h = 0, d++;
    }
}

const fc_kernel FC_FN(fc_kernel_depthwise);
const fc_kernel FC_FN(fc_kernel_depthwise) = {
    .algorithm = "depthwise",
    .dtype = FC_TEXT(FC_DTYPE),
    .isa = FC_TEXT(FC_ISA),
    .name = FC_NAME("depthwise"),
    .rejects = rejects,
    .seconds = seconds,
    .prepare = prepare,
    .packed_bytes = packed_bytes,
    .pack = pack,
    .partition = partition,
    .scratch_bytes = scratch_bytes,
    .run = run,
};
