/* depthwise: one input channel per group, any number of output channels per group.
 *
 * Planar x: lanes along width (row_sweep.h). A task is some channels x some output rows of an image; it
 * sweeps a chunk of rows at a time for each output channel of the group. x with dense rows and zero padding is
 * read in place, the padding left out by masks; anything else is copied with its padding, a strip of columns at
 * a time (common/padded_rows.h). Copying a row costs about as much as three taps of it.
 * Channels-last x: lanes along channels (common/channel_lanes.h), or, of 2 to 4 channels, rows of all of them.
 * One tap at stride 1 over planes: these are scaled (scale.h).
 * Long rows of taps: lanes along channels of windows copied for them, in either layout (channel_strip.h).
 *
 * Packed weights: the planar form [out channel][group of height taps][taps as row_sweep.h wants], then, 64-byte
 * aligned, what channels-last x may want: the form of channel_lanes.h, or [tap][lane] of sweep_mixed; both forms,
 * since which is used depends on the layout of x.
 * Bound: FMA throughput and L1 loads, which are about even at 3 x 3; memory for small kernels on large planes.
 */
#include "cost.h"
#include "kernels/common/channel_lanes_run.h"
#include "kernels/common/integers.h"
#include "kernels/depthwise/channel_strip.h"
#include "kernels/depthwise/planar_cost.h"
#include "kernels/depthwise/scale.h"

static FC_COLD const char *rejects(const fc_part *part) {
    if (part->problem.operation > FC_CONV_TRANSPOSED)
        return "only plain and transposed convolutions";
    if (part->group_in_ch != 1)
        return "only one input channel per group";
    if (part->taps == 0)
        return "no tap reaches this stride phase";
    return NULL;
}

/* Output rows whose padded rows, strips of them, fit so many bytes. */
static int64_t rows_within(const fc_part *part, int64_t strip, double bytes) {
    const fc_axis *height = &part->axis[1];
    int64_t pitch = copied_shape(part, strip).row_pitch * part->axis[0].kernel;
    int64_t read = (int64_t)(bytes / sizeof(real)) / pitch - fc_axis_reach(height) - 1;
    return read < 0 ? 0 : read / height->stride + 1;
}

/* Chunks of rows stay in L1, unless more of them would be copied again for each chunk than are new. */
static void prepare(fc_part *part, const fc_machine *machine) {
    if (strip_runs(part)) {
        strip_prepare(part, machine, &part->block[STRIP], &part->block[CHUNK_ROWS]);
        return;
    }
    const fc_axis *width = &part->axis[2], *height = &part->axis[1];
    int64_t strip = smaller(larger(width->out, 1), 16 * SWEEP_VECS * VL), rows = 0;
    for (;; strip = round_up(strip / 2, VL)) {
        rows = rows_within(part, strip, 0.75 * (double)machine->l1d_bytes);
        if (rows >= 16 || strip <= SWEEP_VECS * VL)
            break;
    }
    if (rows * height->stride < fc_axis_reach(height))
        rows = rows_within(part, strip, 0.25 * (double)machine->l2_bytes);
    int64_t block = sweep_block_rows(share_of(part), dense_taps(width), height->out, divide_up(strip, VL));
    part->block[STRIP] = strip;
    part->block[CHUNK_ROWS] = smaller(larger(rows / block, 1) * block, larger(height->out, 1));
}

/* The planar form asks ahead for what it reads and writes, but was not seen to hide much of it on planes beyond L2. */
static FC_COLD double seconds(const fc_part *part, const fc_machine *machine) {
    double clock = machine->vector_fma_rate[FC_PASTE(FC_ISA_, FC_ISA)] / 2, traffic = fc_cost_traffic(part, machine);
    if (strip_runs(part))
        return strip_cycles(part, machine) / clock + traffic;
    if (channels_in_lanes(part))
        return lane_cycles(part, fc_cost_light(machine, FC_PASTE(FC_ISA_, FC_ISA))) / clock + traffic;
    if (scales(part))
        return scale_cycles(part, fc_cost_light(machine, FC_PASTE(FC_ISA_, FC_ISA))) / clock + traffic;
    fc_part blocked = *part;
    prepare(&blocked, machine);
    return planar_cycles(&blocked, machine) / clock + traffic;
}

static size_t planar_count(const fc_part *part) {
    return (size_t)(divide_up(part->problem.out_ch * part->taps, 64) * 64);
}

static size_t packed_bytes(const fc_part *part) {
    size_t lanes = enough_lanes(part) ? (size_t)lane_packed_count(part)
                   : channels_mix(part) ? (size_t)part->taps * MIXED_VECS * VL
                                        : 0;
    return (planar_count(part) + lanes) * sizeof(real);
}

static void pack(const fc_part *part, const fc_weight_view *weight, const fc_weight_view *pointwise, void *packed,
                 int64_t begin, int64_t end) {
    (void)pointwise, (void)begin, (void)end; /* all units are one */
    real *to = packed;
    const int64_t *s = weight->stride;
    int64_t share = share_of(part), height = part->axis[1].kernel, width = part->axis[2].kernel;
    for (int64_t channel = 0; channel < part->problem.out_ch; channel++) {
        const real *taps = (const real *)weight->data + channel / part->group_out_ch * s[0] +
                           channel % part->group_out_ch * s[1];
        for (int64_t first = 0, rows; first < height; first += rows) {
            rows = sweep_group(share, height - first);
            bool shares = sweep_shares(share, rows);
            int64_t inner = shares ? rows : width, outer = shares ? width : rows;
            int64_t inner_step = s[shares ? 4 : 5], outer_step = s[shares ? 5 : 4];
            for (int64_t kd = 0; kd < part->axis[0].kernel; kd++)
                for (int64_t a = 0; a < outer; a++)
                    for (int64_t b = 0; b < inner; b++)
                        *to++ = taps[kd * s[3] + first * s[4] + a * outer_step + b * inner_step];
        }
    }
    to = (real *)packed + planar_count(part);
    if (enough_lanes(part))
        lane_pack(part, weight, to);
    else if (channels_mix(part))
        for (int64_t tap = 0; tap < part->taps; tap++)
            for (int64_t lane = 0; lane < MIXED_VECS * VL; lane++)
                *to++ = ((const real *)packed)[lane % part->problem.in_ch * part->taps + tap];
}

/* grid: channels (or blocks of lanes) per task, tasks along them, output rows per task, tasks along them */
static int64_t partition(const fc_part *part, int threads, int64_t grid[4]) {
    int64_t rows = part->axis[0].out * part->axis[1].out, channels, row_unit;
    if (channels_in_lanes(part) || strip_runs(part)) {
        channels = lane_shape_of(part).blocks;
        row_unit = strip_runs(part) ? part->block[CHUNK_ROWS] : 1;
    } else {
        channels = part->problem.in_ch;
        row_unit = part->block[CHUNK_ROWS];
    }
    grid[0] = channels;
    grid[2] = rows;
    int64_t wanted = threads > 1 ? 4 * (int64_t)threads : 1;
    while (part->problem.batch * divide_up(channels, grid[0]) * divide_up(rows, grid[2]) < wanted) {
        if (grid[0] > 1 && !channels_may_mix(part))
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

/* Blocks of columns of an output row, one after another. */
typedef struct tile {
    int64_t column, count;
    const lane_mask *masks; /* see row_sweep.h */
    int64_t mask_step;
    int vecs;
} tile;

/* Scratch of a worker in planar form. */
typedef struct planar_scratch {
    const real **table;     /* [depth tap][row] */
    const stor **sources;   /* of the copies, in x */
    int64_t *shift;         /* of each tap along width */
    lane_mask *masks;
    tile *tiles;
    real *sums, *rows;      /* rows: the copies, or, in place, a row of zeros and copies of edge rows */
    const real *low, *high; /* of x: the first element and one past the last */
    row_reach reach;        /* of rows in place */
    fc_axis axis;           /* of the copies */
    fc_row_shape shape;
    int64_t pitch, share;   /* of the table; see row_sweep.h */
    int64_t tiled_columns, tile_count, block_rows;
    bool in_place;
    bool mixed;             /* see sweep_mixed; x and out are then rows of one channel */
    bool joined;            /* the blocks of a strip need not be swept one by one */
    row_sweep sweep;        /* what all blocks have in common */
} planar_scratch;

/* The table has room for the rows of a block that is cut off by the end of a chunk. */
static int64_t table_pitch(const fc_part *part) { return rows_read(part, part->block[CHUNK_ROWS] + SWEEP_ROWS); }

static size_t planar_scratch_at(const fc_part *part, char *base, planar_scratch *scratch) {
    fc_row_shape shape = copied_shape(part, part->block[STRIP]);
    int64_t depth = part->axis[0].kernel, entries = depth * table_pitch(part);
    int64_t copies = depth * rows_read(part, part->block[CHUNK_ROWS]) * shape.row_pitch + ROW_SLACK;
    row_reach reach = row_reach_of(part);
    int64_t in_place = reach.edge_rows > MOST_EDGE_ROWS ? 0 : (1 + reach.edge_rows) * reach.pitch;
    int64_t tiles = divide_up(larger(part->block[STRIP], smaller(part->axis[2].out, MOST_COLUMNS)), VL);
    size_t sizes[7] = {(size_t)entries * sizeof(real *), (size_t)entries * sizeof(stor *),
                       (size_t)part->axis[2].kernel * sizeof(int64_t),
                       (MOST_MASKS + 2 * SWEEP_VECS) * sizeof(lane_mask), (size_t)tiles * sizeof(tile),
                       (SWEEP_SUMS + MIXED_VECS * VL) * sizeof(real),
                       (size_t)larger(copies, in_place) * sizeof(real)};
    size_t starts[7], total = 0;
    for (int i = 0; i < 7; i++) {
        starts[i] = total;
        total += (sizes[i] + 63) / 64 * 64;
    }
    if (base != NULL) {
        scratch->table = (const real **)(void *)(base + starts[0]);
        scratch->sources = (const stor **)(void *)(base + starts[1]);
        scratch->shift = (int64_t *)(void *)(base + starts[2]);
        scratch->masks = (lane_mask *)(void *)(base + starts[3]);
        scratch->tiles = (tile *)(void *)(base + starts[4]);
        scratch->sums = (real *)(void *)(base + starts[5]);
        scratch->rows = (real *)(void *)(base + starts[6]);
        scratch->shape = shape;
    }
    return total;
}

static size_t scratch_bytes(const fc_part *part) {
    if (strip_runs(part))
        return strip_scratch_at(part, NULL, part->block[STRIP], part->block[CHUNK_ROWS], NULL);
    if (channels_in_lanes(part))
        return lane_scratch_at(part, NULL, NULL);
    size_t bytes = planar_scratch_at(part, NULL, NULL), mixed_bytes = 0;
    if (channels_may_mix(part)) {
        fc_part mixed = mixed_part(part);
        mixed_bytes = planar_scratch_at(&mixed, NULL, NULL);
    }
    return bytes > mixed_bytes ? bytes : mixed_bytes;
}

/* Whether what a tile of a row read in place loads lies in x. */
static bool tile_inside(const fc_axis *width, const tile *t) {
    int64_t first = t->column * width->stride - width->pad_before;
    return first >= 0 && first + t->vecs * VL * width->stride + fc_axis_reach(width) <= width->in;
}

/* The masks of a tile at the ends of such a row. */
static void fill_masks(const fc_axis *width, const tile *t, lane_mask *to) {
    int64_t per_vec = SWEEP_MASKS_PER_VEC(width->stride), step = width->stride / per_vec; /* of x, between lanes */
    for (int64_t k = 0; k < width->kernel; k++)
        for (int64_t i = 0; i < t->vecs * per_vec; i++) {
            int64_t first = t->column * width->stride + k * width->dilation + i * VL * step - width->pad_before;
            int64_t begin = first >= 0 ? 0 : smaller(divide_up(-first, step), VL);
            int64_t end = first >= width->in ? 0 : smaller(divide_up(width->in - first, step), VL);
            *to++ = v_mask(smaller(begin, end), end);
        }
}

/* Cuts `columns` output columns into tiles. False when rows read in place need too many masks. */
static bool cut_tiles(const fc_part *part, planar_scratch *scratch, int64_t columns) {
    const fc_axis *width = &part->axis[2];
    const lane_mask *all = scratch->masks + MOST_MASKS;
    int64_t used = 0;
    tile *t = scratch->tiles;
    scratch->tiled_columns = columns;
    scratch->block_rows =
        sweep_block_rows(scratch->share, dense_taps(width), part->axis[1].out, divide_up(columns, VL));
    if (scratch->mixed)
        scratch->block_rows = MIXED_ROWS;
    for (int64_t column = 0; column < columns;) {
        int64_t left = divide_up(columns - column, VL);
        int vecs = scratch->mixed ? MIXED_VECS : sweep_block_of((int)scratch->block_rows, left).vecs;
        *t = (tile){column, 1, SWEEP_INSIDE && !scratch->mixed ? NULL : all, 0, vecs};
        column += t->vecs * VL;
        if (scratch->in_place && !tile_inside(width, t)) {
            lane_mask *masks = scratch->masks + used;
            t->mask_step = t->vecs * SWEEP_MASKS_PER_VEC(width->stride);
            used += width->kernel * t->mask_step;
            if (used > MOST_MASKS)
                return false;
            fill_masks(width, t, masks);
            t->masks = masks;
        }
        bool joins = scratch->joined && (scratch->mixed || columns > 8 * VL) && t > scratch->tiles;
        if (joins && t[-1].vecs == t->vecs && t[-1].mask_step + t->mask_step == 0)
            t[-1].count++;
        else
            t++;
    }
    scratch->tile_count = t - scratch->tiles;
    return true;
}

/* Zeros that masks leave out are not multiplied: weights that are no numbers would not show there. */
static bool readable_in_place(const fc_part *part, const fc_tensor *x) {
    const fc_axis *width = &part->axis[2];
    bool masked = SWEEP_MASKED && zero_padding(part) && share_of(part) != 0 && x->stride[4] == 1 &&
                  width->in <= MOST_COLUMNS && width->out <= MOST_COLUMNS;
    if (!SWEEP_READS_PAST)
        return masked;
    int64_t step = x->stride[3] < 0 ? -x->stride[3] : x->stride[3];
    return masked && !part->problem.weights_unsafe && (step >= width->in || part->axis[1].in == 1) &&
           row_reach_of(part).edge_rows <= MOST_EDGE_ROWS;
}

/* The first element of x in memory and one past the last. */
static void find_ends(const fc_part *part, const fc_tensor *x, planar_scratch *scratch) {
    const int64_t sizes[5] = {part->problem.batch, scratch->mixed ? 1 : part->problem.in_ch, part->axis[0].in,
                              part->axis[1].in, part->axis[2].in};
    scratch->low = scratch->high = (const real *)x->data;
    for (int i = 0; i < 5; i++) {
        int64_t last = (sizes[i] - 1) * x->stride[i];
        scratch->low += smaller(last, 0);
        scratch->high += larger(last, 0);
    }
    scratch->high++;
}

/* What all channels of a task have in common. */
static void start_planar(const fc_call *call, planar_scratch *scratch) {
    const fc_part *part = call->part;
    const fc_axis *height = &part->axis[1], *width = &part->axis[2];
    const fc_tensor *out = &call->tensors.out;
    fc_bounds bounds = fc_bounds_of(&part->problem);
    bool finish = bounds.only && out->stride[4] == 1 && call->tensors.residual.data == NULL;
    scratch->pitch = table_pitch(part);
    scratch->share = share_of(part);
    scratch->axis = copied_axis(part);
    scratch->joined = finish && sweep_group(scratch->share, height->kernel) == height->kernel;
    scratch->in_place = readable_in_place(part, &call->tensors.x);
    for (int i = 0; i < 2 * SWEEP_VECS; i++)
        scratch->masks[MOST_MASKS + i] = v_mask(0, VL);
    if (scratch->in_place && !cut_tiles(part, scratch, width->out))
        scratch->in_place = false, scratch->tiled_columns = 0;
    if (scratch->in_place) {
        scratch->reach = row_reach_of(part);
        memset(scratch->rows, 0, (size_t)scratch->reach.pitch * sizeof(real));
        find_ends(part, &call->tensors.x, scratch);
    }
    for (int64_t k = 0; k < width->kernel; k++)
        scratch->shift[k] = scratch->in_place ? k * width->dilation - width->pad_before
                                              : fc_tap_shift(&scratch->shape, &scratch->axis, k);
    scratch->sweep = (row_sweep){.depth_pitch = scratch->pitch, .row_step = height->stride,
                                 .tap_step = height->dilation, .shift = scratch->shift,
                                 .depth_taps = part->axis[0].kernel, .width_taps = width->kernel,
                                 .dense_taps = dense_taps(width), .sums = scratch->sums,
                                 .finish = finish, .bounds = bounds,
                                 .clamps = part->problem.activation != FC_ACT_NONE,
                                 .out_pitch = out->stride[3]};
    if (!scratch->mixed)
        return;
    scratch->sweep.lane_bias = scratch->sums + SWEEP_SUMS;
    for (int64_t lane = 0; lane < MIXED_VECS * VL; lane++)
        scratch->sums[SWEEP_SUMS + lane] =
            call->tensors.bias ? ((const real *)call->tensors.bias)[lane % part->problem.in_ch] : -(real)0.0;
}

typedef struct strip {
    int64_t n, channel;      /* of x */
    int64_t d, h, rows;      /* output rows */
    bool again;              /* the same rows, of the channel after the last */
    int64_t w, columns;      /* output columns */
} strip;

/* Whether loads beside the row at `row` stay inside x. */
static bool beside_inside(const planar_scratch *scratch, const real *row) {
    return !SWEEP_READS_PAST ||
           (row - scratch->low >= scratch->reach.before && scratch->high - row >= scratch->reach.after);
}

/* In place of rows of x, `in` elements each, copies of those beside which loads would leave x. */
static void copy_edge_rows(const planar_scratch *scratch, int64_t in, const real **row, const real **end,
                           real **room) {
    for (; row < end; row++)
        if (!beside_inside(scratch, *row)) {
            *row = memcpy(*room + scratch->reach.before, *row, (size_t)in * sizeof **row);
            *room += scratch->reach.pitch;
        }
}

/* Fills the table with rows of x, and the row of zeros where those are padding. */
static void find_rows(const fc_call *call, const planar_scratch *scratch, const strip *at) {
    const fc_part *part = call->part;
    const fc_tensor *x = &call->tensors.x;
    const fc_axis *depth = &part->axis[0], *height = &part->axis[1];
    const real *plane = (const real *)x->data + at->n * x->stride[0] + at->channel * x->stride[1];
    int64_t blocks = fc_quotient(at->rows + scratch->block_rows - 1, scratch->block_rows);
    int64_t count = rows_read(part, blocks * scratch->block_rows);
    int64_t first = at->h * height->stride - height->pad_before;
    real *room = scratch->rows + scratch->reach.pitch;
    const real *zeros = scratch->rows + scratch->reach.before;
    for (int64_t kd = 0; kd < depth->kernel; kd++) {
        int64_t d = fc_axis_source(depth, at->d * depth->stride + kd * depth->dilation);
        int64_t begin = smaller(larger(-first, 0), count), end = smaller(larger(height->in - first, begin), count);
        const real **table = scratch->table + kd * scratch->pitch;
        if (d < 0)
            begin = end = count;
        const real *row = plane + d * x->stride[2] + (first + begin) * x->stride[3];
        for (int64_t i = begin; i < end; i++, row += x->stride[3])
            table[i] = row;
        if (begin < end && !(beside_inside(scratch, table[begin]) && beside_inside(scratch, table[end - 1])))
            copy_edge_rows(scratch, part->axis[2].in, table + begin, table + end, &room);
        for (int64_t i = 0; !at->again && i < begin; i++)
            table[i] = zeros;
        for (int64_t i = end; !at->again && i < count; i++)
            table[i] = zeros;
    }
}

/* Copies the rows behind one strip of one input channel and fills the table with the copies. */
static void copy_rows(const fc_call *call, const planar_scratch *scratch, const strip *at) {
    const fc_part *part = call->part;
    const fc_tensor *x = &call->tensors.x;
    const fc_axis *depth = &part->axis[0], *height = &part->axis[1];
    const stor *plane = (const stor *)x->data + at->n * x->stride[0] + at->channel * x->stride[1];
    int64_t count = rows_read(part, at->rows), pitch = scratch->pitch, row_pitch = scratch->shape.row_pitch;
    int64_t first = scratch->share ? at->w * scratch->share : at->w;
    for (int64_t kd = 0; kd < depth->kernel; kd++) {
        int64_t d = fc_axis_source(depth, at->d * depth->stride + kd * depth->dilation);
        const real **table = scratch->table + kd * pitch;
        const stor **sources = scratch->sources + kd * pitch;
        for (int64_t i = 0; i < count; i++) {
            int64_t h = fc_axis_source(height, at->h * height->stride + i);
            sources[i] = d < 0 || h < 0 ? NULL : plane + d * x->stride[2] + h * x->stride[3];
        }
        real *copies = scratch->rows + kd * count * row_pitch;
        fc_copy_rows(&scratch->axis, &scratch->shape, sources, count, x->stride[4], first,
                     copied_columns(part, at->columns), copies);
        for (int64_t i = 0; i < pitch; i++) /* past count: read for output rows that are not stored */
            table[i] = copies + (i < count ? i : 0) * row_pitch;
    }
}

/* One tile of one block of rows, or of several, for one output channel: the first is at `pixel`. */
static void sweep_tile(const fc_call *call, const planar_scratch *scratch, sweep_block block, const strip *at,
                       int64_t channel, fc_pixel pixel, row_sweep *s) {
    const fc_part *part = call->part;
    const fc_tensor *out = &call->tensors.out, *residual = &call->tensors.residual;
    const real *bias = call->tensors.bias ? (const real *)call->tensors.bias + channel : NULL;
    const real *const *rows = s->rows;
    int64_t share = scratch->share, height_taps = part->axis[1].kernel;
    bool finish = s->finish;
    s->out = (stor *)out->data + fc_tensor_offset(out, at->n, channel, pixel);
    s->bias = bias ? *bias : -(real)0.0;
    int64_t lanes = scratch->mixed ? MIXED_VECS * VL : 1;
    s->weights = (const real *)call->packed + (scratch->mixed ? (int64_t)planar_count(part) : channel * part->taps);
    for (int64_t first = 0; first < height_taps; first += s->taps) {
        s->taps = sweep_group(share, height_taps - first);
        s->rows = rows + first * s->tap_step;
        s->add = first > 0;
        s->finish = finish && first + s->taps == height_taps;
        sweep(block, share, s);
        s->weights += s->depth_taps * s->width_taps * s->taps * lanes;
    }
    s->rows = rows;
    s->finish = finish;
    for (int64_t r = 0; !finish && r < s->valid_rows; r++, pixel.h++)
        fc_finish(&part->problem, s->sums + r * block.vecs * VL, s->valid_columns, bias, 0,
                  residual->data
                      ? (const stor *)residual->data + fc_tensor_offset(residual, at->n, channel, pixel)
                      : NULL,
                  residual->stride[4], s->out + r * out->stride[3], out->stride[4]);
}

/* All output rows of a strip for every output channel of its group. Few tiles are swept down the rows of the
 * chunk, which stay in L1; many along the rows, in the order in which memory likes to be read. */
static void sweep_strip(const fc_call *call, const planar_scratch *scratch, const strip *at) {
    int64_t multiplier = call->part->group_out_ch, first = at->channel * multiplier, block_rows = scratch->block_rows;
    row_sweep s = scratch->sweep;
    bool down = scratch->joined && !scratch->mixed && at->columns <= 8 * VL;
    int64_t step = down ? at->rows : block_rows;
    s.row_advance = down ? block_rows : 0;
    for (int64_t h = 0; h < at->rows; h += step) {
        s.rows = scratch->table + h * s.row_step;
        s.valid_rows = smaller(step, at->rows - h);
        for (int64_t i = 0; i < scratch->tile_count; i++) {
            const tile *t = &scratch->tiles[i];
            sweep_block block = {(int)block_rows, t->vecs};
            s.column = t->column;
            s.masks = t->masks;
            s.mask_step = t->mask_step;
            s.column_advance = down ? 0 : t->vecs * VL;
            s.valid_columns = smaller(t->count * t->vecs * VL, at->columns - t->column);
            s.blocks = down ? fc_quotient(at->rows + block_rows - 1, block_rows) : t->count;
            for (int64_t channel = first; channel < first + multiplier; channel++)
                sweep_tile(call, scratch, block, at, channel, (fc_pixel){at->d, at->h + h, at->w + t->column}, &s);
        }
    }
}

/* A chunk of output rows of one input channel; copies, strip by strip. */
static void run_chunk(const fc_call *call, planar_scratch *scratch, strip at) {
    const fc_part *part = call->part;
    int64_t width = part->axis[2].out;
    if (scratch->in_place) {
        at.columns = width;
        find_rows(call, scratch, &at);
        sweep_strip(call, scratch, &at);
        return;
    }
    for (at.w = 0; at.w < width; at.w += at.columns) {
        at.columns = smaller(width - at.w, part->block[STRIP]);
        if (at.columns != scratch->tiled_columns)
            cut_tiles(part, scratch, at.columns);
        copy_rows(call, scratch, &at);
        sweep_strip(call, scratch, &at);
    }
}

/* Whether the rows of this call are dense and nothing is added to them. */
static bool rows_mix(const fc_call *call) {
    const fc_tensor *x = &call->tensors.x, *out = &call->tensors.out;
    int64_t channels = call->part->problem.in_ch;
    return channels_may_mix(call->part) && x->stride[1] == 1 && x->stride[4] == channels && out->stride[1] == 1 &&
           out->stride[4] == channels && call->tensors.residual.data == NULL &&
           fc_bounds_of(&call->part->problem).only;
}

static void run(const fc_call *call, int64_t task, void *scratch_base) {
    const fc_part *part = call->part;
    const int64_t *grid = call->grid;
    int64_t row_task = task % grid[3], channel_task = task / grid[3] % grid[1], n = task / grid[3] / grid[1];
    int64_t row_begin = row_task * grid[2];
    int64_t row_end = smaller(row_begin + grid[2], part->axis[0].out * part->axis[1].out);
    int64_t first = channel_task * grid[0];
    if (strip_runs(part)) {
        int64_t last = smaller(first + grid[0], lane_shape_of(part).blocks);
        strip_run(call, (const real *)call->packed + planar_count(part), n, row_begin, row_end, first, last,
                  part->block[STRIP], part->block[CHUNK_ROWS], scratch_base);
        return;
    }
    if (channels_in_lanes(part)) {
        int64_t last = smaller(first + grid[0], lane_shape_of(part).blocks);
        lane_run(call, (const real *)call->packed + planar_count(part), n, row_begin, row_end, first, last,
                 scratch_base);
        return;
    }
    int64_t last = smaller(first + grid[0], part->problem.in_ch), height = part->axis[1].out;
    if (scales_call(call)) {
        scale_rows(call, n, first * part->group_out_ch, last * part->group_out_ch, row_begin, row_end);
        return;
    }
    planar_scratch scratch = {0};
    fc_part mixed;
    fc_call mixed_call = *call;
    if (rows_mix(call)) {
        mixed = mixed_part(part);
        mixed_call.part = &mixed;
        mixed_call.tensors.x.stride[4] = mixed_call.tensors.out.stride[4] = 1;
        scratch.mixed = true;
        planar_scratch_at(&mixed, scratch_base, &scratch);
        start_planar(&mixed_call, &scratch);
        scratch.mixed = scratch.in_place;
    }
    if (scratch.mixed) {
        call = &mixed_call;
        last = 1;
    } else {
        planar_scratch_at(part, scratch_base, &scratch);
        start_planar(call, &scratch);
    }
    for (int64_t row = row_begin, d = row / height, h = row % height; row < row_end;) {
        int64_t rows = smaller(smaller(part->block[CHUNK_ROWS], row_end - row), height - h);
        for (int64_t channel = first; channel < last; channel++)
            run_chunk(call, &scratch, (strip){.n = n, .channel = channel, .d = d, .h = h, .rows = rows,
                                             .again = channel > first});
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
