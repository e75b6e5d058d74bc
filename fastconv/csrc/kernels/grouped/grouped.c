/* grouped: few channels per group, more than one group.
 *
 * Planar x: lanes along width. The rows of x that a chunk of output rows of one group reads are copied once
 * with their padding (common/padded_rows.h), for every channel of the group; then tiles of output channels x
 * vectors of pixels read the copies at one offset per step of the reduction, so no columns are packed; the fewer
 * the channels, the more vectors. Channels-last x: lanes along channels (common/channel_lanes.h), several groups to a vector,
 * or, where a group's outputs fill few of the lanes, the planar form again, whose copies turn x around (planar_pays).
 * Each output adds its products in the order input channel, depth, height, width (planar) or depth, height,
 * input channel, width (lanes along channels).
 *
 * Packed weights: [group][panel of output channels][k][channel] for planar x, then, 64-byte aligned, the form
 * of channel_lanes.h; both, since which is used depends on the layout of x, but of a call that packs its own weights.
 * Bound: FMA throughput from 4 channels per group; L1 loads below. Reached: 0.60 (4 channels per group, 3x3, 56x56)
 * to 0.66 (16, 14x14) over planes, where copying rows takes the rest and a seventh of the lanes stays empty; 0.83 and
 * 0.77 over channels-last arrays.
 */
#include "cost.h"
#include "kernels/common/channel_lanes_run.h"
#include "kernels/common/integers.h"
#include "kernels/common/gemm_tile.h"

enum { CHUNK_ROWS = 0 }; /* of part->block */
enum { MOST_CHANNELS = 32, MOST_VECS = TILE_VECS >= 3 ? 6 : 4, TILE_SUMS = TILE_ROWS * TILE_VECS * VL };
/* Vectors of the tiles of at least TILE_ROWS, at least 4, and fewer output channels: as registers allow. */
enum { VECS_OF_MANY = TILE_VECS, VECS_OF_4 = TILE_VECS >= 3 ? 4 : TILE_ROWS >= 6 ? 3 : TILE_VECS, VECS_OF_2 = MOST_VECS };

static FC_COLD const char *rejects(const fc_part *part) {
    if (part->problem.operation > FC_CONV_TRANSPOSED)
        return "only plain and transposed convolutions";
    if (part->problem.groups == 1)
        return "only more than one group";
    if (part->group_in_ch == 1)
        return "one input channel per group is depthwise";
    if (part->group_in_ch > MOST_CHANNELS || part->group_out_ch > MOST_CHANNELS)
        return "only groups of at most 32 channels";
    if (part->taps == 0)
        return "no tap reaches this stride phase";
    return NULL;
}

/* Whether the planar form, which turns channels-last rows around first, is faster than lanes of which a block's channels
 * fill few: it has pixels in all of them, but for the ends of rows. Whatever the map's size, since the forms add in
 * different orders, and chunks of a signal have the bits of the whole. */
static bool planar_pays(const fc_part *part) {
    lane_shape shape = lane_shape_of(part);
    int64_t filled = shape.block_groups * part->group_out_ch, lanes = shape.blocks_per_group * VL;
    bool shares = part->group_in_ch >= 8 && part->taps >= 3 && part->axis[2].stride == 1; /* what is copied, enough */
    return shares && !shape.spans && 2 * filled <= lanes;
}

static bool channels_in_lanes(const fc_part *part) {
    return part->problem.x_channels_last && 2 * part->problem.out_ch >= VL && !planar_pays(part);
}

/* Copied rows behind `rows` output rows. */
static int64_t rows_read(const fc_part *part, int64_t rows) {
    const fc_axis *height = &part->axis[1];
    return (rows - 1) * height->stride + fc_axis_reach(height) + 1;
}

static int64_t most_vecs(const fc_part *part) {
    int64_t out = part->group_out_ch;
    return out >= TILE_ROWS ? VECS_OF_MANY : out >= 4 ? VECS_OF_4 : VECS_OF_2;
}

/* Vectors of the next tile with `left` of a chunk to come: the last ones share what is left, so that few of them go past
 * the chunk. */
static int64_t tile_vecs(int64_t most, int64_t left) {
    int64_t even = divide_up(left, divide_up(left, most));
    return smaller(even <= VECS_OF_MANY ? VECS_OF_MANY : even <= VECS_OF_4 ? VECS_OF_4 : VECS_OF_2, most);
}

static int64_t row_vectors(const fc_part *part) { return divide_up(part->axis[2].out, VL); }

static void prepare(fc_part *part, const fc_machine *machine) {
    const fc_axis *height = &part->axis[1];
    int64_t row = fc_row_shape_of(&part->axis[2], larger(part->axis[2].out, 1)).row_pitch * part->group_in_ch *
                  part->axis[0].kernel * (int64_t)sizeof(real);
    int64_t budget = (int64_t)machine->l2_bytes / 4;
    int64_t rows = (budget / row - fc_axis_reach(height) - 1) / height->stride + 1;
    part->block[CHUNK_ROWS] = smaller(larger(rows, 4), larger(height->out, 1));
}

/* Vectors that the tiles of a chunk compute, some past its end, for each of its own. */
static double vectors_computed(const fc_part *part, int64_t rows) {
    int64_t most = most_vecs(part), vectors = rows * row_vectors(part);
    int64_t left = vectors > 2 * most ? vectors % most + most : vectors, computed = vectors - left;
    for (int64_t vecs; left > 0; left -= vecs, computed += vecs)
        vecs = tile_vecs(most, left);
    return (double)computed / (double)larger(vectors, 1);
}

/* Cycles of one step of the reduction over a row's vectors and every channel of a group: FMAs and loads, which panels of
 * two and of one channel share among few, or the latency of so few sums. */
static double step_cycles(const fc_part *part) {
    double cycles = 0, latency = 4.0 / (double)most_vecs(part);
    for (int64_t row = 0, rows; row < part->group_out_ch; row += rows) {
        rows = fc_panel_rows(part->group_out_ch - row);
        double loads = (rows == 1 ? 1.0 : rows == 2 ? 0.8 : 0) * (VL == 16 ? 0.9 : 0.6);
        double throughput = 0.57 * ((double)rows + loads);
        cycles += throughput > latency ? throughput : latency;
    }
    return cycles * (double)row_vectors(part);
}

/* The rows behind a row of outputs lie in L1, or come from L2 for each: short runs that nothing foresees. */
static double window_cycles(const fc_part *part, const fc_machine *machine) {
    int64_t rows = part->group_in_ch * part->axis[0].kernel * part->axis[1].kernel;
    int64_t pitch = fc_row_shape_of(&part->axis[2], larger(part->axis[2].out, 1)).row_pitch;
    bool fits = rows * pitch * (int64_t)sizeof(real) <= (int64_t)machine->l1d_bytes;
    double run = (3.5 + 0.5 * (double)part->axis[2].kernel) * (VL == 16 ? 1 : 0.6); /* short vectors share a line */
    run *= fc_cost_mixed(machine, FC_PASTE(FC_ISA_, FC_ISA));
    return fits ? 0 : run * (double)(part->reduction / part->axis[2].kernel * row_vectors(part));
}

static FC_COLD double seconds(const fc_part *part, const fc_machine *machine) {
    const fc_problem *p = &part->problem;
    double out_rows = (double)(part->axis[0].out * part->axis[1].out), cycles;
    double light = fc_cost_light(machine, FC_PASTE(FC_ISA_, FC_ISA));
    if (channels_in_lanes(part)) {
        cycles = lane_cycles(part, light);
    } else {
        double vectors = out_rows * (double)row_vectors(part), out = (double)part->group_out_ch;
        double placed = 10; /* a vector of pixels of a tile */
        double store = !p->out_channels_last ? 5.5 * out : out < 4 ? 2.0 * VL * out : VL * out;
        bool dense = !p->x_channels_last && part->axis[2].stride <= 2;
        double planes = (double)(part->axis[0].kernel * part->axis[0].out); /* of depth, copied for every output's */
        fc_part blocked = *part;
        prepare(&blocked, machine);
        int64_t chunk = blocked.block[CHUNK_ROWS], chunks = divide_up(part->axis[1].out, chunk);
        double in_rows = planes * (double)(rows_read(part, chunk) * chunks * part->group_in_ch);
        in_rows *= fc_cost_inside(&part->axis[0]) * fc_cost_inside(&part->axis[1]);
        bool turns = p->x_channels_last && fc_channels_turn(&part->axis[2], part->problem.in_ch, part->group_in_ch);
        /* Both phases of a stride begin and end in lanes of their own, and the zeros beside a row are stored apart. */
        bool padded = part->axis[2].pad_before > 0;
        double row = part->axis[2].stride > 1 && part->axis[2].kernel > 1 ? 26.0 : turns ? (padded ? 18.0 : 7.0) : 17.1;
        /* Of a square some of the time, whatever its channels. */
        double squares = (double)divide_up(part->group_in_ch, VL) / (double)part->group_in_ch;
        double turned = VL == 16 ? 0.36 + 1.9 * squares : 0.56;
        double value = dense ? 2.9 / VL : turns ? turned : VL == 16 ? 2.3 : 1.9;
        double width = (double)(turns ? round_up(part->axis[2].in, VL) : part->axis[2].in); /* squares are whole */
        int64_t phases = fc_row_shape_of(&part->axis[2], larger(part->axis[2].out, 1)).phases;
        width *= dense ? 1 : (double)phases / (double)part->axis[2].stride; /* the values between are not read */
        double copy = light * in_rows * (row + width * value);
        double steps = (double)part->reduction * step_cycles(part) * vectors_computed(part, chunk);
        double window = window_cycles(part, machine);
        bool shared = part->axis[1].stride * part->axis[1].dilation == 1; /* rows, with the next row of outputs */
        double rows = steps > window ? steps + (shared ? 0.15 : 1) * window : window + 0.3 * steps;
        double setup = turns ? 200.0 + 10.0 * planes * (double)part->group_in_ch
                             : 230.0 + 56.0 * planes * (double)part->group_in_ch;
        cycles = (double)p->groups * (out_rows * rows + vectors * (placed + store) + copy + setup);
    }
    return cycles / (machine->vector_fma_rate[FC_PASTE(FC_ISA_, FC_ISA)] / 2) + fc_cost_traffic(part, machine);
}

/* Whether the form for x with or without channels in lanes is packed. */
static bool packs(const fc_part *part, bool lanes) {
    return !part->problem.pack_per_call || channels_in_lanes(part) == lanes;
}

static size_t planar_count(const fc_part *part) {
    return packs(part, false) ? (size_t)round_up(part->problem.out_ch * part->reduction, 64) : 0;
}

static size_t packed_bytes(const fc_part *part) {
    size_t lanes = packs(part, true) ? (size_t)lane_packed_count(part) : 0;
    return (planar_count(part) + lanes) * sizeof(real);
}

static void pack_planar(const fc_part *part, const fc_weight_view *weight, real *to) {
    const int64_t *s = weight->stride;
    for (int64_t g = 0; g < part->problem.groups; g++)
        for (int64_t row = 0, rows; row < part->group_out_ch; row += rows) {
            rows = fc_panel_rows(part->group_out_ch - row);
            const real *panel = (const real *)weight->data + g * s[0] + row * s[1];
            for (int64_t c = 0; c < part->group_in_ch; c++)
                for (int64_t kd = 0; kd < part->axis[0].kernel; kd++)
                    for (int64_t kh = 0; kh < part->axis[1].kernel; kh++) {
                        const real *from = panel + c * s[2] + kd * s[3] + kh * s[4];
                        for (int64_t kw = 0; kw < part->axis[2].kernel; kw++, from += s[5])
                            for (int64_t r = 0; r < rows; r++)
                                *to++ = from[r * s[1]];
                    }
        }
}

static void pack(const fc_part *part, const fc_weight_view *weight, const fc_weight_view *pointwise, void *packed,
                 int64_t begin, int64_t end) {
    (void)pointwise, (void)begin, (void)end; /* all units are one */
    if (packs(part, false))
        pack_planar(part, weight, packed);
    if (packs(part, true))
        lane_pack(part, weight, (real *)packed + planar_count(part));
}

/* grid: groups (or blocks of lanes) per task, tasks along them, output rows per task, tasks along them */
static int64_t partition(const fc_part *part, int threads, int64_t grid[4]) {
    int64_t rows = part->axis[0].out * part->axis[1].out;
    int64_t units = channels_in_lanes(part) ? lane_shape_of(part).blocks : part->problem.groups;
    grid[0] = units;
    grid[2] = rows;
    int64_t wanted = threads > 1 ? 4 * (int64_t)threads : 1;
    while (part->problem.batch * divide_up(units, grid[0]) * divide_up(rows, grid[2]) < wanted) {
        if (grid[0] > 1)
            grid[0] = divide_up(grid[0], 2);
        else if (grid[2] > 1)
            grid[2] = divide_up(grid[2], 2);
        else
            break;
    }
    grid[1] = divide_up(units, grid[0]);
    grid[3] = divide_up(rows, grid[2]);
    return part->problem.batch * grid[1] * grid[3];
}

/* Reals of `count` copied rows of a channel and depth tap: an odd number of vectors, so that those that a tile reads at
 * every step lie in other sets of L1 each. */
static int64_t plane_pitch_of(const fc_row_shape *shape, int64_t count) {
    return (divide_up(count * shape->row_pitch, VL) | 1) * VL;
}

/* Scratch of a worker in planar form. */
typedef struct planar_scratch {
    int64_t *offset;       /* of each step of the reduction, from a pixel's first */
    const stor **sources;  /* rows of x behind one channel and depth tap */
    real *sums, *rows;     /* rows: [input channel][depth tap][row] */
    fc_row_shape shape;
} planar_scratch;

static size_t planar_scratch_at(const fc_part *part, char *base, planar_scratch *scratch) {
    fc_row_shape shape = fc_row_shape_of(&part->axis[2], part->axis[2].out);
    int64_t count = rows_read(part, part->block[CHUNK_ROWS]);
    int64_t rows = part->group_in_ch * part->axis[0].kernel * plane_pitch_of(&shape, count) + ROW_SLACK;
    size_t sizes[4] = {(size_t)part->reduction * sizeof(int64_t), (size_t)count * sizeof(stor *),
                       TILE_SUMS * sizeof(real), (size_t)rows * sizeof(real)};
    size_t starts[4], total = 0;
    for (int i = 0; i < 4; i++) {
        starts[i] = total;
        total += (sizes[i] + 63) / 64 * 64;
    }
    if (base != NULL) {
        scratch->offset = (int64_t *)(void *)(base + starts[0]);
        scratch->sources = (const stor **)(void *)(base + starts[1]);
        scratch->sums = (real *)(void *)(base + starts[2]);
        scratch->rows = (real *)(void *)(base + starts[3]);
        scratch->shape = shape;
    }
    return total;
}

static size_t scratch_bytes(const fc_part *part) {
    return channels_in_lanes(part) ? lane_scratch_at(part, NULL, NULL) : planar_scratch_at(part, NULL, NULL);
}

/* Where each step of the reduction lies in a window of `count` rows per channel and depth tap. */
static void fill_offsets(const fc_part *part, const planar_scratch *scratch, int64_t count) {
    const fc_axis *height = &part->axis[1], *width = &part->axis[2];
    int64_t *to = scratch->offset, pitch = plane_pitch_of(&scratch->shape, count);
    for (int64_t plane = 0; plane < part->group_in_ch * part->axis[0].kernel; plane++)
        for (int64_t kh = 0; kh < height->kernel; kh++)
            for (int64_t kw = 0; kw < width->kernel; kw++)
                *to++ = plane * pitch + kh * height->dilation * scratch->shape.row_pitch +
                        fc_tap_shift(&scratch->shape, width, kw);
}

/* The first of some output rows of one group. */
typedef struct chunk {
    int64_t n, group, d, h, rows;
} chunk;

static void copy_window(const fc_call *call, const planar_scratch *scratch, const chunk *at) {
    const fc_part *part = call->part;
    const fc_tensor *x = &call->tensors.x;
    const fc_axis *depth = &part->axis[0], *height = &part->axis[1], *width = &part->axis[2];
    int64_t count = rows_read(part, at->rows), plane_pitch = plane_pitch_of(&scratch->shape, count);
    bool turns = fc_runs_turn(width, x, part->group_in_ch);
    real *to = scratch->rows;
    for (int64_t c = 0; c < part->group_in_ch; c += turns ? part->group_in_ch : 1) {
        const stor *channel = (const stor *)x->data + at->n * x->stride[0] +
                              (at->group * part->group_in_ch + c) * x->stride[1];
        for (int64_t kd = 0; kd < depth->kernel; kd++, to += plane_pitch) {
            int64_t d = fc_axis_source(depth, at->d * depth->stride + kd * depth->dilation);
            for (int64_t i = 0; i < count; i++) {
                int64_t h = fc_axis_source(height, at->h * height->stride + i);
                scratch->sources[i] = d < 0 || h < 0 ? NULL : channel + d * x->stride[2] + h * x->stride[3];
            }
            for (int64_t i = 0; turns && i < count; i++)
                fc_turn_row(width, &scratch->shape, scratch->sources[i], x->stride[4], part->group_in_ch, 0, width->out,
                            to + i * scratch->shape.row_pitch, depth->kernel * plane_pitch);
            if (!turns)
                fc_copy_rows(width, &scratch->shape, scratch->sources, count, x->stride[4], 0, width->out, to);
        }
    }
}

/* A tile of output channels x vectors of pixels. */
typedef struct pixel_tile {
    const real *pixels[MOST_VECS]; /* in the copied rows */
    fc_pixel at[MOST_VECS];
    int64_t count[MOST_VECS];      /* pixels of each vector; 0: none */
    stor *out[MOST_VECS];          /* of the panel's first channel */
    int64_t out_step;              /* between channels */
    bool finish, clamps;           /* bias, bounds and store straight from the registers */
    fc_bounds bounds;
    const real *bias;              /* of the panel's first channel, or NULL */
} pixel_tile;

FC_INLINE void tile_store(const int rows, const int vecs, const pixel_tile *t, const vec *acc) {
    vec low = v_set1(t->bounds.low), high = v_set1(t->bounds.high);
    FC_UNROLL_ALL for (int r = 0; r < rows; r++) {
        vec bias = v_set1(t->bias ? t->bias[r] : -(real)0.0);
        FC_UNROLL_ALL for (int v = 0; v < vecs; v++) {
            vec y = v_add(acc[r * vecs + v], bias);
            if (t->clamps)
                y = v_min(high, v_max(low, y));
            stor *to = t->out[v] + r * t->out_step;
            if (t->count[v] == VL)
                v_stores(to, y);
            else if (t->count[v] > 0)
                v_storesn(to, y, t->count[v]);
        }
    }
}

/* The sums over the reduction: finished, or left as sums[row][vector]. */
FC_INLINE void tile_body(const int rows, const int vecs, int64_t depth, const int64_t *offset, const pixel_tile *t,
                         const real *weights, real *sums) {
    vec acc[TILE_SUMS / VL];
    FC_UNROLL_ALL for (int i = 0; i < rows * vecs; i++)
        acc[i] = v_zero();
    for (int64_t k = 0; k < depth; k++, weights += rows) {
        vec x[MOST_VECS];
        FC_UNROLL_ALL for (int v = 0; v < vecs; v++)
            x[v] = v_load(t->pixels[v] + offset[k]);
        FC_UNROLL_ALL for (int r = 0; r < rows; r++) {
            vec weight = v_set1(weights[r]);
            FC_UNROLL_ALL for (int v = 0; v < vecs; v++)
                acc[r * vecs + v] = v_fma(weight, x[v], acc[r * vecs + v]);
        }
    }
    if (t->finish) {
        tile_store(rows, vecs, t, acc);
        return;
    }
    FC_UNROLL_ALL for (int i = 0; i < rows * vecs; i++)
        v_store(sums + i * VL, acc[i]);
}

#define TILE_CASE(rows, vecs)                                         \
    case (rows) * 16 + (vecs):                                        \
        tile_body(rows, vecs, depth, offset, t, weights, sums);       \
        return;
static __attribute__((noinline)) void tile(int64_t rows, int64_t vecs, int64_t depth, const int64_t *offset,
                                           const pixel_tile *t, const real *weights, real *sums) {
    switch (rows * 16 + vecs) {
#if TILE_ROWS > 4
        TILE_CASE(TILE_ROWS, VECS_OF_MANY) TILE_CASE(4, VECS_OF_MANY)
#endif
        TILE_CASE(2, VECS_OF_MANY) TILE_CASE(1, VECS_OF_MANY)
#if TILE_ROWS > 4
        TILE_CASE(2, VECS_OF_4) TILE_CASE(1, VECS_OF_4)
#endif
        TILE_CASE(4, VECS_OF_4) TILE_CASE(2, VECS_OF_2) TILE_CASE(1, VECS_OF_2)
    }
}

/* Sums that are not finished in registers. */
static void store_tile(const fc_call *call, const chunk *at, int64_t channel, int64_t rows, int64_t vecs,
                       const pixel_tile *t, const real *sums) {
    const fc_part *part = call->part;
    const fc_tensor *out = &call->tensors.out, *residual = &call->tensors.residual;
    bool turns = out->stride[1] == 1 && out->stride[4] != 1 && rows >= 4; /* fewer take less one by one */
    for (int64_t v = 0; v < vecs && t->count[v] > 0; v++)
        for (int64_t r = 0, some; r < rows; r += some) {
            some = turns ? smaller(rows - r, VL) : 1;
            const real *from = sums + (r * vecs + v) * VL, *bias = t->bias ? t->bias + r : NULL;
            const stor *add = residual->data ? (const stor *)residual->data +
                                                   fc_tensor_offset(residual, at->n, channel + r, t->at[v])
                                             : NULL;
            stor *to = t->out[v] + r * t->out_step;
            if (turns)
                fc_store_turned(&part->problem, from, vecs * VL, some, t->count[v], bias, add, residual->stride, to,
                                out->stride[4]);
            else
                fc_finish(&part->problem, from, t->count[v], bias, 0, add, residual->stride[4], to, out->stride[4]);
        }
}

/* The vectors of a tile, from the one at `next`, which is moved past them. Past the chunk: the last again, to be
 * read and not stored. */
static void place_tile(const fc_call *call, const planar_scratch *scratch, const chunk *at, int64_t vecs,
                       fc_pixel *next, pixel_tile *t) {
    const fc_part *part = call->part;
    const fc_tensor *out = &call->tensors.out;
    const fc_axis *height = &part->axis[1];
    int64_t row_step = height->stride * scratch->shape.row_pitch, width = part->axis[2].out;
    for (int64_t v = 0; v < vecs; v++) {
        bool past = next->h >= at->h + at->rows;
        t->at[v] = past ? t->at[v - 1] : *next;
        t->count[v] = past ? 0 : smaller(VL, width - next->w);
        t->pixels[v] = scratch->rows + (t->at[v].h - at->h) * row_step + t->at[v].w;
        t->out[v] = (stor *)out->data + fc_tensor_offset(out, at->n, at->group * part->group_out_ch, t->at[v]);
        if (past)
            continue;
        next->w += VL;
        if (next->w >= width)
            next->w = 0, next->h++;
    }
}

static void run_chunk(const fc_call *call, const planar_scratch *scratch, const chunk *at) {
    const fc_part *part = call->part;
    const fc_tensor *out = &call->tensors.out;
    const real *weights = (const real *)call->packed + at->group * part->group_out_ch * part->reduction;
    const real *bias = call->tensors.bias;
    fc_bounds bounds = fc_bounds_of(&part->problem);
    int64_t first = at->group * part->group_out_ch, most = most_vecs(part), left = at->rows * row_vectors(part);
    pixel_tile t = {.out_step = out->stride[1], .bounds = bounds, .clamps = part->problem.activation != FC_ACT_NONE,
                    .finish = bounds.only && out->stride[4] == 1 && call->tensors.residual.data == NULL};
    copy_window(call, scratch, at);
    for (fc_pixel next = {at->d, at->h, 0}; left > 0;) {
        int64_t vecs = tile_vecs(most, left);
        left -= vecs;
        place_tile(call, scratch, at, vecs, &next, &t);
        for (int64_t row = 0, rows; row < part->group_out_ch; row += rows) {
            rows = fc_panel_rows(part->group_out_ch - row);
            t.bias = bias ? bias + first + row : NULL;
            tile(rows, vecs, part->reduction, scratch->offset, &t, weights + row * part->reduction, scratch->sums);
            if (!t.finish)
                store_tile(call, at, first + row, rows, vecs, &t, scratch->sums);
            for (int64_t v = 0; v < vecs; v++)
                t.out[v] += rows * t.out_step;
        }
    }
}

static void run(const fc_call *call, int64_t task, void *scratch_base) {
    const fc_part *part = call->part;
    const int64_t *grid = call->grid;
    int64_t row_task = task % grid[3], unit_task = task / grid[3] % grid[1], n = task / grid[3] / grid[1];
    int64_t height = part->axis[1].out, row_begin = row_task * grid[2], first = unit_task * grid[0];
    int64_t row_end = smaller(row_begin + grid[2], part->axis[0].out * height);
    if (channels_in_lanes(part)) {
        int64_t last = smaller(first + grid[0], lane_shape_of(part).blocks);
        lane_run(call, (const real *)call->packed + planar_count(part), n, row_begin, row_end, first, last,
                 scratch_base);
        return;
    }
    int64_t last = smaller(first + grid[0], part->problem.groups);
    planar_scratch scratch = {0};
    planar_scratch_at(part, scratch_base, &scratch);
    chunk at = {.n = n};
    for (int64_t row = row_begin; row < row_end; row += at.rows) {
        at.d = row / height;
        at.h = row % height;
        at.rows = smaller(smaller(part->block[CHUNK_ROWS], row_end - row), height - at.h);
        fill_offsets(part, &scratch, rows_read(part, at.rows));
        for (at.group = first; at.group < last; at.group++)
            run_chunk(call, &scratch, &at);
    }
}

const fc_kernel FC_FN(fc_kernel_grouped);
const fc_kernel FC_FN(fc_kernel_grouped) = {
    .algorithm = "grouped",
    .dtype = FC_TEXT(FC_DTYPE),
    .isa = FC_TEXT(FC_ISA),
    .name = FC_NAME("grouped"),
    .rejects = rejects,
    .seconds = seconds,
    .prepare = prepare,
    .packed_bytes = packed_bytes,
    .pack = pack,
    .partition = partition,
    .scratch_bytes = scratch_bytes,
    .run = run,
};
