/* The implicit GEMM that gemm, deform and separable share: pixels along the lanes.
 *
 * out[channel, pixel] = sum over k of weight[channel, k] * column[k, pixel]. A kernel brings the columns of a block
 * of pixels, packed or where they are; this file cuts the work, walks it and stores it. The weights are packed once,
 * as panels of GEMM_ROWS output channels. A chunk of the reduction is summed in registers; the last one's sums
 * go from there to out, those before wait in an L2 block. Every chunk starts from zero and is added to the block, which
 * also halves the rounding error of one long chain.
 *
 * Loops of a task (image, group, block of pixels, block of output channels):
 *     chunks of k (columns in L2) > panels of output channels (weights in L1) > panels of pixels > tile
 * A panel of channels is swept over the block's pixels, so that out is written in long runs of few rows: the rows
 * of a tile for every channel in turn would often lie a multiple of 4096 bytes apart and drive each other out of L1.
 */
#ifndef FC_GEMM_DRIVER_H
#define FC_GEMM_DRIVER_H

#include "cost.h"
#include "kernels/common/columns.h"
#include "kernels/common/gemm_tile.h"
#include "kernels/common/integers.h"
#include "kernels/common/transpose.h"

/* Of part->block: steps of a chunk, output channels of a task, panels of pixels of a task and of a sweep, whether to ask
 * ahead for lines of out. */
enum { FC_GEMM_CHUNK, FC_GEMM_ROWS, FC_GEMM_PANELS, FC_GEMM_SWEEP, FC_GEMM_FETCHES, FC_GEMM_FREE };
enum {
    FC_PANEL_LANES = GEMM_VECS * VL,
    /* Steps summed in one chain or two (gemm_tile.h): a constant, because bits depend on it; a panel fits L1. */
    FC_GEMM_CHUNK_MOST = 128,
    FC_PANELS_MOST = 64,
    FC_SWEEP_BYTES = 24 << 10, /* columns that stay in L1 while the weights stream past */
};

static __attribute__((unused)) void fc_gemm_prepare(fc_part *part, const fc_machine *machine) {
    int64_t chunks = divide_up(part->reduction, FC_GEMM_CHUNK_MOST);
    int64_t l2 = (int64_t)(machine->l2_bytes / sizeof(real));
    part->block[FC_GEMM_CHUNK] = chunks > 0 ? divide_up(part->reduction, chunks) : 1;
    part->block[FC_GEMM_ROWS] = larger(part->group_out_ch, 1);
    int64_t panels = l2 / 2 / (part->block[FC_GEMM_CHUNK] * FC_PANEL_LANES);
    if (chunks > 1) { /* the sums stay in L2 */
        int64_t room = l2 * 3 / 8 / FC_PANEL_LANES, all = part->block[FC_GEMM_ROWS];
        panels = larger(room / all, 4);
        int64_t rows = larger(room / panels / GEMM_ROWS, 8) * GEMM_ROWS;
        if (rows < all - GEMM_ROWS) /* the columns are copied for each block of rows */
            part->block[FC_GEMM_ROWS] = round_up(divide_up(all, divide_up(all, rows)), GEMM_ROWS);
    }
    part->block[FC_GEMM_PANELS] = smaller(larger(panels, 1), FC_PANELS_MOST);
    part->block[FC_GEMM_FETCHES] = fc_out_leaves_l2(part, machine);
    int64_t panel_bytes = part->block[FC_GEMM_CHUNK] * FC_PANEL_LANES * (int64_t)sizeof(real);
    part->block[FC_GEMM_SWEEP] = smaller(larger(FC_SWEEP_BYTES / panel_bytes, 1), part->block[FC_GEMM_PANELS]);
}

/* Cycles of one step of the reduction over a panel of `vecs` vectors and every channel of a group: FMAs, or the
 * latency of a tile with too few sums to hide it, or its loads. */
FC_INLINE double fc_step_cycles(const fc_part *part, int64_t vecs) {
    double cycles = 0;
    int64_t rows, row = 0;
    for (; row < part->group_out_ch; row += rows * (rows == GEMM_ROWS ? (part->group_out_ch - row) / rows : 1)) {
        rows = fc_gemm_rows(part->group_out_ch - row);
        double tiles = rows == GEMM_ROWS ? (double)((part->group_out_ch - row) / rows) : 1;
        double fma = 0.5 * (double)(rows * vecs), load = 0.5 * (double)(rows + vecs + 2);
        double least = rows <= FC_TWO_CHAINS_ROWS ? 1.8 : 3.6;
        double most = fma > load ? fma : load;
        cycles += tiles * (most > least ? most : least);
    }
    return cycles;
}

/* Seconds on one core when every image has `runs` runs of `length` output pixels that panels do not straddle: the
 * tiles, `column` cycles for each vector of a panel's step, and the store. */
FC_INLINE double fc_gemm_seconds(const fc_part *part, const fc_machine *machine, int64_t runs, int64_t length,
                                 double column) {
    const fc_problem *p = &part->problem;
    int64_t vectors = divide_up(length, VL), rest = vectors % GEMM_VECS;
    double whole = (double)(vectors / GEMM_VECS), rows = (double)part->group_out_ch;
    double step = whole * fc_step_cycles(part, GEMM_VECS) + (rest ? fc_step_cycles(part, rest) : 0);
    double tiles = (whole + (rest > 0)) * (double)divide_up(part->group_out_ch, GEMM_ROWS);
    double chunks = (double)divide_up(part->reduction, FC_GEMM_CHUNK_MOST);
    bool last = p->out_channels_last && p->out_ch > 1; /* one channel lies alike in both layouts */
    bool in_registers = !last && part->out_step[2] == 1 && fc_bounds_of(p).only;
    /* Each tile's channels are turned around, which takes as long for few as for many: GEMM_ROWS, 4, 2 and 1 of them. */
    int64_t beyond = part->group_out_ch % GEMM_ROWS, row_tiles = part->group_out_ch / GEMM_ROWS;
    row_tiles += __builtin_popcountll((uint64_t)beyond);
    double turned = (VL == 16 ? 6.3 : 7.0) * VL * (double)row_tiles / rows;
    double aligned = (part->out_pixels % VL == 0 ? 1.1 : 2.2) * (VL == 16 ? 1 : 0.85); /* planes begin in the middle of a line */
    double called = tiles * (VL == 16 ? 32.0 : 21.0) + (VL == 16 ? 0 : 15.0) * (whole + (rest > 0)); /* tiles, panels */
    double store = in_registers ? aligned : last ? turned : 13.0;
    double cycles = (double)part->reduction * (step / 0.92 + 0.61 * column * (double)vectors) + called * chunks +
                    rows * (double)vectors * (store + 2 * (chunks - 1));
    /* Squares that pixels fill a part of. */
    cycles += last && VL == 16 && length % VL ? 90.0 * (double)row_tiles : 0;
    cycles = (double)p->groups * ((double)runs * cycles + 280); /* a group is a task of its own */
    /* A panel of channels-last channels is a piece of a pixel's lines, which beyond L2 come and go again for the next one. */
    double pieces = last ? (double)part->out_pixels * (double)p->groups * (double)(divide_up(part->group_out_ch, GEMM_ROWS) - 1) : 0;
    double again = pieces * (VL < 16 || p->groups == 1 ? 32 : 128) * fc_cost_beyond_l2(part, machine) / machine->l3_rate;
    return 2 * cycles / machine->vector_fma_rate[FC_PASTE(FC_ISA_, FC_ISA)] + again +
           fc_cost_traffic(part, machine) + fc_cost_passes(part, machine);
}

/* Turns a dense panel of `rows` output channels, at most VL, around. A row of less than a vector is stored as a whole one: what
 * follows it is stored later, up to `end`. */
static __attribute__((unused)) void fc_pack_panel(const real *from, int64_t from_step, int64_t rows, int64_t columns,
                                                  real *to, const real *end) {
    for (int64_t column = 0; column < columns; column += VL) {
        int64_t wide = smaller(columns - column, VL);
        vec square[VL];
        for (int64_t i = 0; i < VL; i++)
            square[i] = i >= rows ? v_zero()
                        : wide == VL ? v_load(from + i * from_step + column)
                                     : v_loadn(from + i * from_step + column, wide);
        v_transpose(square);
        for (int64_t i = 0; i < wide; i++, to += rows) {
            if (end - to >= VL)
                v_store(to, square[i]);
            else
                v_storen(to, square[i], rows);
        }
    }
}

/* Whether one output channel's weights, of strides `s`, lie in the order of the reduction. */
FC_INLINE bool fc_weight_row_is_dense(const int64_t *s, const fc_axis axis[FC_MAX_SPATIAL], int64_t in_ch) {
    int64_t width = axis[2].kernel, plane = axis[1].kernel * width;
    return (width == 1 || s[5] == 1) && (axis[1].kernel == 1 || s[4] == width) &&
           (axis[0].kernel == 1 || s[3] == plane) && (in_ch == 1 || s[2] == axis[0].kernel * plane);
}

/* One panel, [k][row]: `from` points at its first output channel, of strides `s`; `in_ch` input channels of it. Nothing
 * from `end` on is written. */
static __attribute__((unused)) void fc_gemm_pack_rows(const real *from, const int64_t *s, int64_t rows,
                                                      const fc_axis axis[FC_MAX_SPATIAL], int64_t in_ch, real *to,
                                                      const real *end) {
    int64_t width = axis[2].kernel, taps = axis[0].kernel * axis[1].kernel * width;
    bool dense = fc_weight_row_is_dense(s, axis, in_ch);
    if (dense && (GEMM_ROWS <= VL || rows <= VL)) { /* the first known to the compiler, which drops the other way */
        fc_pack_panel(from, s[1], rows, in_ch * taps, to, end);
        return;
    }
    if (dense) {
        fc_transpose_sums(from, s[1], rows, in_ch * taps, to, rows);
        return;
    }
    for (int64_t c = 0; c < in_ch; c++)
        for (int64_t kd = 0; kd < axis[0].kernel; kd++)
            for (int64_t kh = 0; kh < axis[1].kernel; kh++)
                for (int64_t kw = 0; kw < width; kw++, to += rows) {
                    const real *step = from + c * s[2] + kd * s[3] + kh * s[4] + kw * s[5];
                    for (int64_t r = 0; r < rows; r++)
                        to[r] = step[r * s[1]];
                }
}

/* Weights that are packed apart: GEMM_ROWS output channels of a group. */
static __attribute__((unused)) int64_t fc_gemm_pack_units(const fc_part *part) {
    return part->problem.groups * divide_up(part->group_out_ch, GEMM_ROWS);
}

/* Units [begin, end) of [group][panel of rows][k][row]: panel widths sum up to the channel, so channel * depth is its
 * place. */
static __attribute__((unused)) void fc_gemm_pack(const fc_part *part, const fc_weight_view *weight,
                                                 const fc_axis axis[FC_MAX_SPATIAL], int64_t in_ch, real *to,
                                                 int64_t begin, int64_t end) {
    const int64_t *s = weight->stride;
    int64_t depth = in_ch * axis[0].kernel * axis[1].kernel * axis[2].kernel, out = part->group_out_ch;
    int64_t units = divide_up(out, GEMM_ROWS);
    const real *stop = to + (end / units * out + smaller(end % units * GEMM_ROWS, out)) * depth;
    for (int64_t unit = begin; unit < end; unit++) {
        int64_t g = unit / units, row = unit % units * GEMM_ROWS, left = smaller(out - row, GEMM_ROWS);
        real *panel = to + (g * out + row) * depth;
        for (int64_t rows; left > 0; left -= rows, row += rows, panel += rows * depth) {
            rows = fc_gemm_rows(left);
            fc_gemm_pack_rows((const real *)weight->data + g * s[0] + row * s[1], s, rows, axis, in_ch, panel, stop);
        }
    }
}

/* grid: panels of pixels per task, blocks of pixels, rows per task, blocks of rows */
static __attribute__((unused)) int64_t fc_gemm_partition(const fc_part *part, int threads, int64_t grid[4]) {
    int64_t panels = divide_up(part->out_pixels, FC_PANEL_LANES);
    grid[0] = part->block[FC_GEMM_PANELS];
    grid[2] = part->block[FC_GEMM_ROWS];
    int64_t outer = part->problem.batch * part->problem.groups;
    int64_t wanted = threads > 1 ? 4 * (int64_t)threads : 1;
    while (outer * divide_up(panels, grid[0]) * divide_up(part->group_out_ch, grid[2]) < wanted) {
        if (grid[0] > 1)
            grid[0] = divide_up(grid[0], 2);
        else if (grid[2] > 4 * GEMM_ROWS)
            grid[2] = divide_up(divide_up(grid[2], 2), GEMM_ROWS) * GEMM_ROWS;
        else
            break;
    }
    grid[1] = divide_up(panels, grid[0]);
    grid[0] = divide_up(panels, grid[1]);
    grid[3] = divide_up(part->group_out_ch, grid[2]);
    return outer * grid[1] * grid[3];
}

/* The reals of scratch that hold sums; the columns follow. */
FC_INLINE int64_t fc_gemm_sums(const fc_part *part, int64_t panels) {
    bool one_chunk = part->reduction <= part->block[FC_GEMM_CHUNK];
    return (one_chunk ? GEMM_ROWS : part->block[FC_GEMM_ROWS] * panels) * FC_PANEL_LANES;
}

static __attribute__((unused)) size_t fc_gemm_scratch_bytes(const fc_part *part) {
    int64_t columns = part->block[FC_GEMM_CHUNK] * part->block[FC_GEMM_SWEEP] * FC_PANEL_LANES;
    return (size_t)(fc_gemm_sums(part, part->block[FC_GEMM_PANELS]) + columns) * sizeof(real);
}

/* Runs of memory, a fixed step apart. */
typedef struct fc_ahead {
    const char *from;
    int64_t step, bytes, count;
} fc_ahead;

typedef struct fc_gemm_block {
    const fc_call *call;
    int64_t n, group, row_begin, row_end;
    int64_t panels;
    fc_panel panel[FC_PANELS_MOST + 1]; /* one more where the first is cut short */
    fc_tile_end end;
    const fc_weight_view *unpacked; /* weights to read where they lie, or NULL */
    fc_ahead ahead;                 /* what the next sweep reads of x; count 0 when nothing is known of it */
    int64_t copied;                 /* channels of the group that gemm/shifted.h has copied so far */
} fc_gemm_block;

/* Appends `count` pixels from `first` as panels: GEMM_VECS vectors each, but no single one when two by two will do. */
static __attribute__((unused)) void fc_cut_panels(fc_gemm_block *block, int64_t first, int64_t count) {
    for (int64_t vecs, lanes; count > 0; first += lanes, count -= lanes) {
        int64_t left = divide_up(count, VL);
        vecs = left == GEMM_VECS + 1 && GEMM_VECS > 2 ? 2 : smaller(left, GEMM_VECS);
        lanes = smaller(vecs * VL, count);
        block->panel[block->panels++] = (fc_panel){.first = first, .count = lanes, .vecs = vecs};
    }
}

/* Where a task works; the caller cuts its pixels. Returns the number of the block of pixels. */
FC_INLINE int64_t fc_gemm_block_of(const fc_call *call, int64_t task, fc_gemm_block *block) {
    const int64_t *grid = call->grid;
    int64_t row_block = task % grid[3], pixel_block = task / grid[3] % grid[1];
    block->call = call;
    block->group = task / grid[3] / grid[1] % call->part->problem.groups;
    block->n = task / grid[3] / grid[1] / call->part->problem.groups;
    block->row_begin = row_block * grid[2];
    block->row_end = smaller(block->row_begin + grid[2], call->part->group_out_ch);
    block->panels = block->copied = 0;
    block->unpacked = NULL;
    block->ahead = (fc_ahead){.count = 0};
    return pixel_block;
}

/* Whether and where tiles store from their registers: an activation of two bounds, out and residual dense. */
static __attribute__((unused)) void fc_prepare_end(fc_gemm_block *block) {
    const fc_call *call = block->call;
    const fc_part *part = call->part;
    const fc_tensor *out = &call->tensors.out, *residual = &call->tensors.residual;
    fc_bounds bounds = fc_bounds_of(&part->problem);
    block->end = (fc_tile_end){.out_step = out->stride[1],
                               .residual_step = residual->stride[1],
                               .bias = call->tensors.bias,
                               .bounded = part->problem.activation != FC_ACT_NONE,
                               .low = bounds.low,
                               .high = bounds.high};
    if (!bounds.only || out->stride[4] != 1 || (residual->data && residual->stride[4] != 1))
        return;
    bool joined = fc_planes_join(part, out) && (residual->data == NULL || fc_planes_join(part, residual));
    for (int64_t p = 0; p < block->panels; p++) {
        fc_panel *panel = &block->panel[p];
        fc_pixel pixel = {.w = panel->first};
        if (!joined) {
            pixel = fc_pixel_at(part, panel->first);
            if (pixel.w + panel->count > part->axis[2].out)
                continue;
        }
        panel->out = (stor *)out->data + fc_tensor_offset(out, block->n, 0, pixel);
        if (residual->data)
            panel->residual = (const stor *)residual->data + fc_tensor_offset(residual, block->n, 0, pixel);
    }
}

/* Panels that fit L1 together, and the steps of the chunk. */
typedef struct fc_sweep {
    int64_t begin, end, k, depth;
} fc_sweep;

/* Places the columns of a sweep: sets columns and offset of its panels. The sweeps of a chunk come in order. `room`
 * has space for what scratch was sized for, `offset` for two tables of FC_GEMM_CHUNK_MOST. */
typedef void fc_columns_place_fn(fc_gemm_block *block, const fc_sweep *sweep, real *room, int64_t *offset);

/* Which lines of out to ask for while tiles are summed, from the place of the one that is stored next: its rows are
 * pages apart, and the CPU's prefetchers start anew at each. */
typedef struct fc_lines {
    int64_t count;
    int64_t offset[FC_GEMM_CHUNK_MOST];
} fc_lines;

static __attribute__((unused, noinline)) fc_lines fc_lines_of(int64_t rows, int64_t out_step) {
    enum { BYTES = FC_PANEL_LANES * (int)sizeof(stor), OF_ROW = BYTES / 64 + 1 };
    fc_lines lines = {.count = smaller(rows, GEMM_ROWS) * OF_ROW};
    for (int64_t k = 0; k < FC_GEMM_CHUNK_MOST; k++) {
        int64_t line = smaller(k, lines.count - 1), at = line % OF_ROW * 64;
        lines.offset[k] = line / OF_ROW * out_step * (int64_t)sizeof(stor) + smaller(at, BYTES - 1);
    }
    return lines;
}

/* The place in out of the tile after that of panel `p` and channels [row, row + rows), or else of this one. */
FC_INLINE const char *fc_next_out(const fc_gemm_block *block, const fc_sweep *sweep, int64_t p, int64_t row,
                                  int64_t rows) {
    int64_t first = block->group * block->call->part->group_out_ch, next = p + 1, next_row = row;
    if (next == sweep->end) {
        next = sweep->begin;
        next_row += rows;
    }
    if (next_row < block->row_end && block->panel[next].out)
        return (const char *)(block->panel[next].out + (first + next_row) * block->end.out_step);
    return (const char *)(block->panel[p].out + (first + row) * block->end.out_step);
}

/* Asks for lines [begin, end). */
static __attribute__((unused, noinline)) void fc_fetch_lines(const fc_lines *lines, const char *from, int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i++)
        __builtin_prefetch(from + lines->offset[i], 0, 2);
}

/* Asks for `count` of the runs, into L2: L1 is full of the sweep at work. */
FC_INLINE void fc_fetch_ahead(fc_ahead *ahead, int64_t count) {
    for (count = smaller(count, ahead->count), ahead->count -= count; count > 0; count--, ahead->from += ahead->step)
        for (int64_t byte = 0; byte < ahead->bytes; byte += 64)
            __builtin_prefetch(ahead->from + byte, 0, 2);
}

/* One panel of weights times the sweep's panels of pixels. `unpacked`: how these weights lie, or NULL. `sums`: of the
 * block's channels. */
static __attribute__((unused, noinline)) void fc_sweep_panels(const fc_gemm_block *block, const fc_sweep *sweep, int64_t row,
                                                    int64_t rows, const real *weights, const fc_unpacked *unpacked,
                                                    const fc_lines *lines, real *sums) {
    const fc_call *call = block->call;
    int64_t reduction = call->part->reduction, channel = block->group * call->part->group_out_ch + row;
    bool last = sweep->k + sweep->depth == reduction, one_chunk = sweep->depth == reduction;
    int64_t sums_step = one_chunk ? 0 : rows * FC_PANEL_LANES;
    if (!one_chunk)
        sums += (row - block->row_begin) * block->panels * FC_PANEL_LANES;
    if (unpacked && row + 2 * rows <= block->row_end) /* the next rows' weights, which no prefetcher foresees */
        for (int64_t r = rows; r < 2 * rows; r++)
            for (int64_t step = 0; step < sweep->depth; step += 64 / (int64_t)sizeof(real))
                __builtin_prefetch(weights + r * unpacked->row_step + unpacked->offset[0] + step, 0, 2);
    for (int64_t p = sweep->begin; p < sweep->end; p++) {
        const fc_panel *panel = &block->panel[p];
        real *tile = sums + p * sums_step;
        bool stores = last && panel->out;
        const fc_tile_end *end = stores ? &block->end : NULL;
        fc_fetches fetches = {.count = 0};
        if (stores && lines) {
            fetches = (fc_fetches){fc_next_out(block, sweep, p, row, rows), lines->offset,
                                   fc_tile_fetches(rows) && !unpacked ? smaller(lines->count, sweep->depth) : 0};
            if (p == sweep->begin && row == block->row_begin)
                fc_fetch_lines(lines, (const char *)(panel->out + channel * block->end.out_step), 0, lines->count);
            fc_fetch_lines(lines, fetches.from, fetches.count, lines->count);
        }
        if (unpacked)
            fc_tile_unpacked(rows, sweep->depth, weights, unpacked, panel, tile, sweep->k > 0, channel, end);
        else
            fc_tile_at(rows, sweep->depth, weights, panel, &fetches, tile, sweep->k > 0, channel, end);
        if (last && !stores)
            fc_store_pixel_lanes(call, block->n, channel, rows, panel->first, panel->count, tile, FC_PANEL_LANES);
    }
}

/* Where the weights of steps [k, k + depth) lie from an output channel's first on. */
static __attribute__((unused)) void fc_unpacked_offsets(const fc_part *part, const fc_weight_view *weight, int64_t k,
                                                        int64_t depth, int64_t *offset) {
    const int64_t *s = weight->stride, width = part->axis[2].kernel, height = part->axis[1].kernel;
    int64_t tap = part->taps ? k % part->taps : 0, c = part->taps ? k / part->taps : 0;
    int64_t kw = tap % width, kh = tap / width % height, kd = tap / width / height;
    for (int64_t step = 0; step < depth; step++) {
        offset[step] = c * s[2] + kd * s[3] + kh * s[4] + kw * s[5];
        if (++kw < width)
            continue;
        kw = 0;
        if (++kh < height)
            continue;
        kh = 0;
        if (++kd < part->axis[0].kernel)
            continue;
        kd = 0;
        c++;
    }
}

/* `weights`: all groups' panels as fc_gemm_pack wrote them, unless block->unpacked; `place` a constant, so that it is
 * inlined. */
FC_INLINE void fc_gemm_run_block(fc_gemm_block *block, void *scratch, const real *weights, fc_columns_place_fn *place) {
    const fc_call *call = block->call;
    const fc_part *part = call->part;
    int64_t reduction = part->reduction, chunk = part->block[FC_GEMM_CHUNK], together = part->block[FC_GEMM_SWEEP];
    int64_t offset[2 * FC_GEMM_CHUNK_MOST], weight_offset[FC_GEMM_CHUNK_MOST], row_step = reduction;
    real *sums = scratch, *room = sums + fc_gemm_sums(part, block->panels);
    const fc_weight_view *view = block->unpacked;
    if (view) {
        row_step = view->stride[1];
        weights = (const real *)view->data + block->group * view->stride[0];
    } else {
        weights += block->group * part->group_out_ch * reduction;
    }
    fc_unpacked unpacked = {weight_offset, row_step};
    fc_prepare_end(block);
    bool fetches = part->block[FC_GEMM_FETCHES];
    fc_lines lines;
    if (fetches)
        lines = fc_lines_of(part->group_out_ch, block->end.out_step);
    int64_t k = 0;
    do { /* once even when there is no reduction: the epilogue still writes */
        int64_t depth = smaller(chunk, reduction - k);
        if (view)
            fc_unpacked_offsets(part, view, k, depth, weight_offset);
        for (int64_t p = 0; p < block->panels; p += together) {
            fc_sweep sweep = {p, smaller(p + together, block->panels), k, depth};
            place(block, &sweep, room, offset);
            int64_t share = divide_up(block->ahead.count * GEMM_ROWS, block->row_end - block->row_begin);
            for (int64_t row = block->row_begin, rows; row < block->row_end; row += rows) {
                rows = fc_gemm_rows(block->row_end - row);
                fc_fetch_ahead(&block->ahead, share);
                fc_sweep_panels(block, &sweep, row, rows, weights + row * row_step + (view ? 0 : k * rows),
                                view ? &unpacked : NULL, fetches ? &lines : NULL, sums);
            }
        }
        k += depth;
    } while (k < reduction);
}

/* Fills panel[(k - k_begin) * pitch + lane] for `count` pixels from `first`, and lanes past count with zeros up to a
 * whole vector. */
typedef void fc_columns_fn(const fc_call *call, int64_t n, int64_t group, int64_t first, int64_t count, int64_t k_begin,
                           int64_t k_end, int64_t pitch, real *panel);

/* Columns packed into `room`, a dense panel of FC_PANEL_LANES after the other: the sweep's from panel `p` on. */
FC_INLINE void fc_pack_panels(fc_gemm_block *block, const fc_sweep *sweep, int64_t p, real *room, int64_t *offset,
                              fc_columns_fn *load) {
    int64_t k = sweep->k, depth = sweep->depth;
    for (int64_t step = 0; step < depth; step++)
        offset[step] = step * FC_PANEL_LANES;
    for (; p < sweep->end; p++, room += depth * FC_PANEL_LANES) {
        fc_panel *panel = &block->panel[p];
        panel->columns = room;
        panel->offset = offset;
        if (depth > 0)
            load(block->call, block->n, block->group, panel->first, panel->count, k, k + depth, FC_PANEL_LANES, room);
    }
}

/* A task of a block of consecutive pixels. */
FC_INLINE void fc_gemm_run(const fc_call *call, int64_t task, void *scratch, const real *weights,
                           fc_columns_place_fn *place) {
    fc_gemm_block block;
    int64_t lanes = call->grid[0] * FC_PANEL_LANES, first = fc_gemm_block_of(call, task, &block) * lanes;
    fc_cut_panels(&block, first, smaller(lanes, call->part->out_pixels - first));
    fc_gemm_run_block(&block, scratch, weights, place);
}

#endif
