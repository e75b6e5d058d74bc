/* The loops around channel_lanes.h: which bodies there are, and a task of output rows x blocks of channels.
 *
 * x with dense channels is read in place, but for pixels that drive each other from L1 before the next block needs what is
 * left of their lines (lane_takes_lines); these, and any other x, are gathered, block by block, into dense columns first.
 */
#ifndef FC_CHANNEL_LANES_RUN_H
#define FC_CHANNEL_LANES_RUN_H

#include "kernels/common/channel_lanes.h"
#include "kernels/common/l1_sets.h"

/* Bodies for 3, 5 or 7 undilated taps at stride 1 or 2 share each vector of x between taps; the rest load it
 * anew. */
#define LANE_TAPS(kind, whole, table, taps)            \
    case (taps) * 2 + 0:                               \
        for (int64_t run = 0; run < s->runs; run++)    \
            lane_body(kind, whole, table, taps, 1, s, run); \
        return;                                        \
    case (taps) * 2 + 1:                               \
        for (int64_t run = 0; run < s->runs; run++)    \
            lane_body(kind, whole, table, taps, 2, s, run); \
        return;
#define LANE_TAPS_3(kind, whole, table) LANE_TAPS(kind, whole, table, 3)
#if FC_IS_NARROW || FC_ISA_IS < 2 /* code in proportion to use */
#define LANE_TAPS_357 LANE_TAPS_3
#else
#define LANE_TAPS_357(kind, whole, table)              \
    LANE_TAPS(kind, whole, table, 3) LANE_TAPS(kind, whole, table, 5) LANE_TAPS(kind, whole, table, 7)
#endif
#define LANE_SWITCH(name, kind, whole, table, shared)                                        \
    static __attribute__((noinline, unused)) void name(int64_t which, const lane_sweep *s) { \
        switch (which) {                                                                     \
            shared(kind, whole, table)                                                       \
        default:                                                                             \
            for (int64_t run = 0; run < s->runs; run++)                                      \
                lane_body(kind, whole, table, 0, 0, s, run);                                 \
        }                                                                                    \
    }
LANE_SWITCH(lane_plain_inside, LANES_PLAIN, 1, 0, LANE_TAPS_357)
LANE_SWITCH(lane_plain_table, LANES_PLAIN, 1, 1, LANE_TAPS_357)
LANE_SWITCH(lane_plain_part, LANES_PLAIN, 0, 0, LANE_TAPS_357)
LANE_SWITCH(lane_plain_tail, LANES_PLAIN, 0, 1, LANE_TAPS_3)
LANE_SWITCH(lane_permuted_inside, LANES_PERMUTED, 1, 0, LANE_TAPS_3)
LANE_SWITCH(lane_permuted_table, LANES_PERMUTED, 1, 1, LANE_TAPS_3)
LANE_SWITCH(lane_permuted_part, LANES_PERMUTED, 0, 0, LANE_TAPS_3)
LANE_SWITCH(lane_permuted_tail, LANES_PERMUTED, 0, 1, LANE_TAPS_3)
#define LANE_ONE(name, whole, table)                                          \
    static __attribute__((noinline, unused)) void name(const lane_sweep *s) { \
        for (int64_t run = 0; run < s->runs; run++)                           \
            lane_one_body(whole, table, s, run);                              \
    }
LANE_ONE(lane_one_inside, 1, 0)
LANE_ONE(lane_one_table, 1, 1)
LANE_ONE(lane_one_part, 0, 0)
LANE_ONE(lane_one_tail, 0, 1)

/* s->table is set, or all that is read of s->rows lies inside x or is a copy. */
FC_INLINE void lane_sweep_run(bool whole, const lane_sweep *s) {
    int64_t which = s->dilation == 1 && s->stride <= 2 ? s->taps * 2 + s->stride - 1 : 0;
    switch (s->kind) {
    case LANES_PLAIN:
        (!whole ? (s->table ? lane_plain_tail : lane_plain_part) : s->table ? lane_plain_table : lane_plain_inside)(which, s);
        return;
    case LANES_PERMUTED:
        (!whole ? (s->table ? lane_permuted_tail : lane_permuted_part) : s->table ? lane_permuted_table : lane_permuted_inside)(which, s);
        return;
    case LANES_ONE:
        (!whole ? (s->table ? lane_one_tail : lane_one_part) : s->table ? lane_one_table : lane_one_inside)(s);
        return;
    }
}

/* Cycles of a part, x and out in cache; light: fc_cost_light. */
FC_INLINE double lane_cycles(const fc_part *part, double light) {
    lane_shape shape = lane_shape_of(part);
    double rows = (double)(part->axis[0].out * part->axis[1].out);
    double blocks = rows * (double)((part->axis[2].out + LANE_PIXELS - 1) / LANE_PIXELS) * (double)shape.blocks;
    int64_t taps = part->axis[2].kernel;
    bool shared = lane_shares(&part->axis[2], shape.kind);
    double step = shared ? 0.70 : 1.38;
    if (shape.kind == LANES_ONE)
        step = VL == 16 ? 0.79 : 0.66;
    else if (shape.kind == LANES_PERMUTED) { /* groups that fill no vector lie across lines; Zen 3 permutes slowly */
        double slower = VL % part->group_in_ch && VL == 16 ? 0.4 : 0.15;
        step *= 1 + slower * (2 * light - 1); /* a unit of its own permutes beside multiply-adds that take theirs twice */
    }
    /* At the border every value comes through a table of pointers, and one that fills all lanes through a pointer anyway. */
    double inside = 1;
    for (int i = 0; i < FC_MAX_SPATIAL; i++) {
        int64_t begin, end, out = part->axis[i].out > 0 ? part->axis[i].out : 1;
        fc_axis_interior(&part->axis[i], &begin, &end);
        inside *= (double)(i == 2 ? (end - begin) / LANE_PIXELS * LANE_PIXELS : end - begin) / (double)out;
    }
    if (!part->problem.out_channels_last || !part->problem.x_channels_last)
        inside = 0;
    double border = 1 - inside, filled = (double)((LANE_PIXELS - 1) * part->axis[2].stride + fc_axis_reach(&part->axis[2]) + 1);
    double table = border * (double)shape.tap_rows * filled * 0.8 / (double)shape.blocks;
    double pointers = shape.kind == LANES_ONE ? (double)part->taps * (0.6 + 0.3 * border) : (double)part->reduction * 0.05 * border;
    if (taps > 7) /* what is set up for a row of taps serves more of them */
        step *= 0.91;
    double masked = shape.kind == LANES_ONE && part->group_out_ch % VL ? 1.2 : 0;
    double store = part->problem.out_channels_last ? 1.6 + masked : 2.4 * VL;
    enum { SETUP_CYCLES = 1500 }; /* of a call: lanes, zeros and places of columns */
    return SETUP_CYCLES + blocks * (LANE_PIXELS * ((double)part->reduction * step + pointers + store) + table + 34.0);
}

#define LANE_PADDING INT64_MIN

/* Of a line of x, where that is longer than a vector: what blocks of channels have in common. */
enum { LANE_LINE = 64 / sizeof(stor) > VL ? 64 / sizeof(stor) : VL };

/* Elements from one gathered column to the next. */
FC_INLINE int64_t lane_copy_pitch(const lane_shape *shape) { return larger(shape->slots, LANE_LINE); }

/* Scratch of a worker. */
typedef struct lane_scratch {
    const stor **rows, **table, **copied_rows; /* table: where columns lie in x; copied_rows: of gathered ones */
    int32_t *lane_of;
    int64_t *offset; /* of each padded column from the start of x's row, or LANE_PADDING */
    stor *zeros, *gathered;
    real *sums;
} lane_scratch;

FC_INLINE int64_t lane_columns(const fc_part *part) {
    return (LANE_PIXELS - 1) * part->axis[2].stride + fc_axis_reach(&part->axis[2]) + 1;
}

/* Lays the scratch out from `base`, or counts its bytes with base NULL. */
FC_INLINE size_t lane_scratch_at(const fc_part *part, char *base, lane_scratch *scratch) {
    lane_shape shape = lane_shape_of(part);
    int64_t entries = shape.tap_rows * lane_columns(part);
    int64_t width = lane_copy_pitch(&shape);
    const fc_axis *across = &part->axis[2];
    int64_t padded = (across->out + LANE_PIXELS) * across->stride + fc_axis_reach(across) + 1;
    size_t sizes[8] = {(size_t)shape.tap_rows * sizeof(stor *), (size_t)entries * sizeof(stor *),
                       (size_t)(shape.period * shape.slots) * VL * sizeof(int32_t), (size_t)(part->problem.in_ch + VL) * sizeof(stor),
                       (size_t)(entries * width) * sizeof(stor), LANE_PIXELS * VL * sizeof(real),
                       (size_t)padded * sizeof(int64_t), (size_t)shape.tap_rows * sizeof(stor *)};
    size_t starts[8], total = 0;
    for (int i = 0; i < 8; i++) {
        starts[i] = total;
        total += (sizes[i] + 63) / 64 * 64;
    }
    if (base != NULL) {
        scratch->rows = (const stor **)(void *)(base + starts[0]);
        scratch->table = (const stor **)(void *)(base + starts[1]);
        scratch->lane_of = (int32_t *)(void *)(base + starts[2]);
        scratch->zeros = (stor *)(void *)(base + starts[3]);
        scratch->gathered = (stor *)(void *)(base + starts[4]);
        scratch->sums = (real *)(void *)(base + starts[5]);
        scratch->offset = (int64_t *)(void *)(base + starts[6]);
        scratch->copied_rows = (const stor **)(void *)(base + starts[7]);
        for (int64_t r = 0; r < shape.tap_rows; r++)
            scratch->copied_rows[r] = scratch->gathered + r * lane_columns(part) * width;
        memset(scratch->zeros, 0, sizes[3]);
    }
    return total;
}

/* lane_of[block of a period][slot][lane]: which of the block's input channels lane `lane` reads. */
static __attribute__((noinline, unused)) void lane_fill_index(const fc_part *part, const lane_shape *shape, int32_t *lane_of) {
    int64_t out = part->group_out_ch, begin = 0; /* the place of the block's first channel in its group */
    for (int64_t b = 0; b < shape->period; b++, begin = (begin + VL) % out)
        for (int64_t slot = 0; slot < shape->slots; slot++)
            for (int64_t lane = 0; lane < VL; lane++, lane_of++) {
                int64_t channel = (begin + lane) / out * part->group_in_ch + slot;
                *lane_of = (int32_t)(channel < VL ? channel : 0);
            }
}

typedef struct lane_task {
    const fc_call *call;
    const lane_shape *shape;
    const lane_scratch *scratch;
    const real *weights;
    int64_t n, block_begin, block_end;
    bool lines;       /* lane_takes_lines */
    bool rows_inside; /* every row of taps of the current output row lies in x */
    int64_t first_inside, last_inside; /* output columns whose taps all lie in x */
    const stor *end;                   /* one past the last element of x in memory */
    int64_t beyond;                    /* elements from the last pixel that the current output row may read to there */
} lane_task;

/* One past x's last element in memory. */
FC_INLINE const stor *lane_end_of(const fc_call *call) {
    const fc_part *part = call->part;
    const fc_tensor *x = &call->tensors.x;
    const int64_t sizes[5] = {part->problem.batch, part->problem.in_ch, part->axis[0].in, part->axis[1].in, part->axis[2].in};
    const stor *end = (const stor *)x->data + 1;
    for (int i = 0; i < 5; i++)
        end += larger((sizes[i] - 1) * x->stride[i], 0);
    return end;
}

/* The current output row's rows of x. */
FC_INLINE void lane_find_rows(lane_task *task, int64_t d, int64_t h) {
    const fc_part *part = task->call->part;
    const fc_tensor *x = &task->call->tensors.x;
    const fc_axis *depth = &part->axis[0], *height = &part->axis[1];
    const stor *image = (const stor *)x->data + task->n * x->stride[0], *last = image;
    task->rows_inside = true;
    for (int64_t r = 0; r < task->shape->tap_rows; r++) {
        int64_t source_d = fc_axis_source(depth, d * depth->stride + r / height->kernel * depth->dilation);
        int64_t source_h = fc_axis_source(height, h * height->stride + r % height->kernel * height->dilation);
        bool inside = source_d >= 0 && source_h >= 0;
        task->scratch->rows[r] = inside ? image + source_d * x->stride[2] + source_h * x->stride[3] : NULL;
        task->rows_inside &= inside;
        last = inside && task->scratch->rows[r] > last ? task->scratch->rows[r] : last;
    }
    task->beyond = task->end - last - larger((part->axis[2].in - 1) * x->stride[4], 0);
}

/* Columns of the pixels from w on through the padding's map; columns no pixel reads are zeros. */
FC_INLINE void lane_fill_table(const lane_task *task, int64_t w) {
    const fc_part *part = task->call->part;
    int64_t columns = lane_columns(part);
    const lane_scratch *scratch = task->scratch;
    const int64_t *offset = scratch->offset + w * part->axis[2].stride;
    const stor **to = scratch->table;
    for (int64_t r = 0; r < task->shape->tap_rows; r++, to += columns) {
        const stor *row = scratch->rows[r];
        for (int64_t i = 0; i < columns; i++)
            to[i] = row == NULL || offset[i] == LANE_PADDING ? scratch->zeros : row + offset[i];
    }
}

FC_INLINE void lane_fill_offsets(const fc_call *call, int64_t *offset) {
    const fc_axis *width = &call->part->axis[2];
    int64_t used = (width->out - 1) * width->stride + fc_axis_reach(width) + 1;
    int64_t padded = (width->out + LANE_PIXELS) * width->stride + fc_axis_reach(width) + 1;
    for (int64_t i = 0; i < padded; i++) {
        int64_t source = i < used ? fc_axis_source(width, i) : -1;
        offset[i] = source < 0 ? LANE_PADDING : source * call->tensors.x.stride[4];
    }
}

/* Copies one block's channels of every column of the table; the sweep then reads the copies. */
FC_INLINE void lane_gather(const lane_task *task, const lane_block *block, int64_t count) {
    const lane_scratch *scratch = task->scratch;
    int64_t stride = task->call->tensors.x.stride[1], width = lane_copy_pitch(task->shape);
    for (int64_t i = 0; i < count; i++) {
        stor *to = scratch->gathered + i * width;
        bool zero = scratch->table[i] == scratch->zeros;
        for (int64_t c = 0; c < block->in_count; c++)
            to[c] = zero ? 0 : scratch->table[i][(block->first_in + c) * stride];
    }
}

/* Whether to copy whole lines of pixels that begin at one or two places of a page, of 512 or 1024 channels above all. A row of
 * taps then fills half the ways of its sets of L1 or more, so that its lines come from L2 again for the next block: copies
 * gain 1.05 to 1.6-fold. Where pixels begin at four places or more, taps are few, or those a dilation apart read a copy several
 * times, they lose 10 to 25 %. */
FC_INLINE bool lane_takes_lines(const fc_call *call, const lane_shape *shape) {
    const fc_tensor *x = &call->tensors.x;
    const fc_axis *width = &call->part->axis[2];
    bool shared = width->dilation == 1 && width->stride <= 2 && call->part->taps >= 9;
    return LANE_LINE > VL && shape->kind == LANES_PLAIN && x->stride[1] == 1 && shared &&
           fc_l1_bytes_of(1, x->stride[4] * (int64_t)sizeof(stor)) >= 2048;
}

/* Copies the line from channel `first` on of every column of the table: returns the channel after it. */
FC_INLINE int64_t lane_copy_lines(const lane_task *task, int64_t first, int64_t count) {
    const lane_scratch *scratch = task->scratch;
    int64_t channels = smaller(task->call->part->problem.in_ch - first, LANE_LINE);
    stor *to = scratch->gathered;
    for (int64_t i = 0; i < count; i++, to += LANE_LINE) { /* `slots` is one */
        if (channels == LANE_LINE)
            memcpy(to, scratch->table[i] + first, LANE_LINE * sizeof *to);
        else
            memcpy(to, scratch->table[i] + first, (size_t)channels * sizeof *to);
    }
    return first + channels;
}

/* What a sweep needs to know of a block of channels. */
FC_INLINE void lane_at_block(const lane_task *task, lane_sweep *s, int64_t index, const lane_block *block,
                             fc_pixel pixel) {
    const fc_call *call = task->call;
    const fc_tensor *out = &call->tensors.out;
    s->in_count = block->in_count;
    s->lane_of = task->scratch->lane_of + (task->shape->spans ? index % task->shape->period * task->shape->slots * VL : 0);
    s->weights = task->weights + index * task->shape->slots * call->part->taps * VL;
    s->out = (stor *)out->data + fc_tensor_offset(out, task->n, block->first_out, pixel);
    s->out_count = block->count;
    s->bias = call->tensors.bias ? (const real *)call->tensors.bias + block->first_out : NULL;
}

/* Whether a block's pixels are loaded in whole vectors; of copies always. */
FC_INLINE bool lane_whole(const lane_task *task, const lane_sweep *s, const lane_block *block, bool copies) {
    if (s->kind == LANES_ONE)
        return block->count == VL;
    return block->in_count == VL || copies || block->first_in + VL <= task->beyond;
}

/* One block of pixels of output row (d, h) for every block of channels of the task, through the table or copies. */
FC_INLINE void lane_run_pixels(const lane_task *task, lane_sweep *s, fc_pixel pixel, int64_t pixels) {
    const fc_call *call = task->call;
    bool dense = call->tensors.x.stride[1] == 1;
    int64_t columns = task->shape->tap_rows * lane_columns(call->part), line = 0, line_end = 0;
    s->pixels = pixels;
    s->runs = 1;
    s->table = dense && !task->lines ? task->scratch->table : NULL;
    lane_fill_table(task, pixel.w);
    for (int64_t b = task->block_begin; b < task->block_end; b++) {
        lane_block block = lane_block_at(call->part, task->shape, b);
        lane_at_block(task, s, b, &block, pixel);
        if (!dense)
            lane_gather(task, &block, columns);
        else if (task->lines && block.first_in >= line_end)
            line = block.first_in, line_end = lane_copy_lines(task, line, columns);
        s->at = dense ? block.first_in - line : 0;
        lane_sweep_run(lane_whole(task, s, &block, s->table == NULL), s);
        for (int64_t p = 0; !s->finish && p < pixels; p++)
            fc_store_channel_lanes(call, task->n, block.first_out, block.count,
                                   (fc_pixel){pixel.d, pixel.h, pixel.w + p}, s->sums + p * VL);
    }
}

/* `runs` blocks of pixels whose taps all lie in x, which is read in place. */
FC_INLINE void lane_run_inside(const lane_task *task, lane_sweep *s, fc_pixel pixel, int64_t runs) {
    const fc_call *call = task->call;
    const fc_axis *width = &call->part->axis[2];
    for (int64_t b = task->block_begin; b < task->block_end; b++) {
        lane_block block = lane_block_at(call->part, task->shape, b);
        s->pixels = LANE_PIXELS;
        s->runs = runs;
        s->table = NULL;
        s->at = (pixel.w * width->stride - width->pad_before) * call->tensors.x.stride[4] + block.first_in;
        lane_at_block(task, s, b, &block, pixel);
        lane_sweep_run(lane_whole(task, s, &block, false), s);
    }
}

/* Output rows [row_begin, row_end), counted over depth and height, of image n, for blocks of channels
 * [block_begin, block_end). */
static __attribute__((unused)) void lane_run(const fc_call *call, const real *weights, int64_t n, int64_t row_begin,
                                             int64_t row_end, int64_t block_begin, int64_t block_end,
                                             void *scratch_base) {
    const fc_part *part = call->part;
    lane_shape shape = lane_shape_of(part);
    lane_scratch scratch = {0};
    lane_scratch_at(part, scratch_base, &scratch);
    lane_fill_index(part, &shape, scratch.lane_of);
    lane_task task = {.call = call, .shape = &shape, .scratch = &scratch, .weights = weights, .n = n,
                      .block_begin = block_begin, .block_end = block_end, .lines = lane_takes_lines(call, &shape),
                      .end = lane_end_of(call)};
    const fc_axis *width = &part->axis[2];
    fc_axis_interior(width, &task.first_inside, &task.last_inside);
    const fc_tensor *out = &call->tensors.out;
    fc_bounds bounds = fc_bounds_of(&part->problem);
    bool copies = task.lines || call->tensors.x.stride[1] != 1;
    lane_sweep s = {.kind = shape.kind, .tap_rows = shape.tap_rows, .slots = shape.slots, .taps = width->kernel,
                    .stride = width->stride, .dilation = width->dilation,
                    .rows = copies ? scratch.copied_rows : scratch.rows, .table_pitch = lane_columns(part),
                    .pixel_stride = copies ? lane_copy_pitch(&shape) : call->tensors.x.stride[4],
                    .sums = scratch.sums, .bounds = bounds,
                    .clamps = part->problem.activation != FC_ACT_NONE,
                    .out_step = out->stride[4],
                    .finish = bounds.only && out->stride[1] == 1 && call->tensors.residual.data == NULL};
    bool in_place = s.finish && !copies;
    lane_fill_offsets(call, scratch.offset);
    for (int64_t row = row_begin; row < row_end; row++) {
        fc_pixel pixel = {row / part->axis[1].out, row % part->axis[1].out, 0};
        lane_find_rows(&task, pixel.d, pixel.h);
        while (pixel.w < width->out) {
            int64_t left = width->out - pixel.w, pixels = left < LANE_PIXELS ? left : LANE_PIXELS, runs = 0;
            if (in_place && task.rows_inside && pixel.w >= task.first_inside)
                runs = (task.last_inside - pixel.w) / LANE_PIXELS;
            if (runs > 0)
                lane_run_inside(&task, &s, pixel, runs);
            else
                lane_run_pixels(&task, &s, pixel, pixels);
            pixel.w += runs > 0 ? runs * LANE_PIXELS : pixels;
        }
    }
}

#endif
