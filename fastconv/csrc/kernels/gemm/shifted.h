/* Columns without packing: what tap k reads for a run of output pixels of one row is a run of a padded row of x,
 * shifted by the tap. A block of output rows copies the rows of x it reads once, with their padding and stride phases
 * apart (common/padded_rows.h), and the tile reads each tap's vectors from there at an offset.
 *
 * A value of x is stored once instead of once a tap, so this serves few output channels, which share the copy
 * among few FMAs. Lanes past the end of an output row are multiplied for nothing: the more output channels, the more a row
 * must fill its vectors (shifted_pays). Bound: as the tile's, unaligned loads included.
 */
#ifndef FC_GEMM_SHIFTED_H
#define FC_GEMM_SHIFTED_H

#include "kernels/common/gemm_driver.h"
#include "kernels/common/padded_rows.h"

/* Of part->block: output rows and columns of a task, no rows if columns are packed instead; channels turned around together. */
enum { SHIFTED_ROWS = FC_GEMM_FREE, SHIFTED_COLUMNS, SHIFTED_TURNED };

/* Of a line of x, which would come from L3 again for each vector of them. */
enum { LINE_CHANNELS = VL * sizeof(stor) < 64 ? 64 / sizeof(stor) : VL };

typedef struct shifted {
    fc_row_shape shape;
    int64_t rows;                        /* of x, for one plane and channel */
    int64_t plane_pitch, channel_pitch;
    int64_t slots;                       /* channels held, channel c in slot c % slots */
    int64_t count;                       /* reals of all slots */
} shifted;

/* Channels whose copies a chunk of the reduction reads, whose first and last it may share with others. */
FC_INLINE int64_t shifted_channels_read(const fc_part *part) {
    return smaller(part->block[FC_GEMM_CHUNK] / part->taps + 3, part->group_in_ch);
}

/* A chunk of the reduction may begin and end within a channel's taps, and with more taps than steps many chunks read the
 * same one: what an earlier chunk copied stays in its slot. One slot more than a chunk reads, because a copy may write a
 * few lanes of the next slot. Channels-last rows are turned around for a vector of channels at a time, or a line of x where
 * those fit L2, ahead of chunks of fewer. */
FC_INLINE shifted shifted_of(const fc_part *part, int64_t rows, int64_t columns) {
    const fc_axis *height = &part->axis[1];
    shifted s = {.shape = fc_row_shape_of(&part->axis[2], columns)};
    s.rows = (rows - 1) * height->stride + fc_axis_reach(height) + 1;
    s.plane_pitch = s.rows * s.shape.row_pitch;
    s.channel_pitch = (part->axis[0].kernel * s.plane_pitch / VL | 1) * VL; /* channels in other sets of L1 each */
    s.slots = shifted_channels_read(part);
    if (part->problem.x_channels_last)
        s.slots = smaller(s.slots + part->block[SHIFTED_TURNED], part->group_in_ch);
    s.count = s.slots * s.channel_pitch + ROW_SLACK;
    return s;
}

/* Whether a block of `rows` output rows has its copies in L2. */
static bool shifted_fits(const fc_part *part, const fc_machine *machine, int64_t rows, int64_t columns) {
    return shifted_of(part, rows, columns).count <= (int64_t)(machine->l2_bytes / sizeof(real)) / 2;
}

/* Whether lanes past the ends of rows, which every output channel multiplies, cost less than packing columns. */
static bool shifted_pays(const fc_part *part) {
    int64_t width = part->axis[2].out, past = round_up(width, VL) - width;
    return past * 10 <= width || past * part->group_out_ch <= (VL >= 16 ? 24 : 16) * width;
}

/* Fills the fields of block: as many rows as the panels of a task, and L2, have room for. */
static void shifted_prepare(fc_part *part, const fc_machine *machine) {
    const fc_axis *width = &part->axis[2];
    part->block[SHIFTED_ROWS] = 0;
    if (part->taps <= 1 || width->stride > 2 || width->out == 0 || !shifted_pays(part))
        return;
    int64_t most = part->block[FC_GEMM_PANELS], panels = divide_up(width->out, FC_PANEL_LANES);
    int64_t columns = panels > most ? divide_up(panels, divide_up(panels, most)) * FC_PANEL_LANES : width->out;
    panels = divide_up(columns, FC_PANEL_LANES);
    int64_t rows = smaller(larger(most / panels, 1), part->axis[1].out);
    part->block[SHIFTED_TURNED] = VL;
    while (rows > 1 && !shifted_fits(part, machine, rows, columns))
        rows--;
    if (!shifted_fits(part, machine, rows, columns))
        return;
    part->block[SHIFTED_TURNED] = LINE_CHANNELS;
    if (!shifted_fits(part, machine, rows, columns))
        part->block[SHIFTED_TURNED] = VL;
    int64_t count = shifted_channels_read(part) * shifted_of(part, rows, columns).channel_pitch;
    part->block[SHIFTED_ROWS] = rows;
    part->block[SHIFTED_COLUMNS] = columns;
    part->block[FC_GEMM_PANELS] = panels * rows;
    int64_t l1 = (int64_t)(machine->l1d_bytes / sizeof(real)) * 2 / 3;
    part->block[FC_GEMM_SWEEP] = smaller(larger(panels * rows * l1 / count, 1), panels * rows);
}

/* grid: output rows per task, blocks of pixels, output channels per task, blocks of them */
static int64_t shifted_partition(const fc_part *part, int threads, int64_t grid[4]) {
    int64_t strips = part->axis[0].out * divide_up(part->axis[2].out, part->block[SHIFTED_COLUMNS]);
    int64_t height = part->axis[1].out, outer = part->problem.batch * part->problem.groups;
    int64_t wanted = threads > 1 ? 4 * (int64_t)threads : 1;
    grid[0] = part->block[SHIFTED_ROWS];
    grid[2] = part->block[FC_GEMM_ROWS];
    while (outer * strips * divide_up(height, grid[0]) * divide_up(part->group_out_ch, grid[2]) < wanted) {
        if (grid[0] > 1)
            grid[0] = divide_up(grid[0], 2);
        else if (grid[2] > 4 * GEMM_ROWS)
            grid[2] = divide_up(divide_up(grid[2], 2), GEMM_ROWS) * GEMM_ROWS;
        else
            break;
    }
    grid[1] = strips * divide_up(height, grid[0]);
    grid[3] = divide_up(part->group_out_ch, grid[2]);
    return outer * grid[1] * grid[3];
}

/* The block's output pixels: returns the first one's place. */
static fc_pixel shifted_cut(fc_gemm_block *block, int64_t pixel_block) {
    const fc_part *part = block->call->part;
    int64_t width = part->axis[2].out, height = part->axis[1].out;
    int64_t columns = part->block[SHIFTED_COLUMNS], at_once = block->call->grid[0];
    int64_t strips = divide_up(width, columns), row_blocks = divide_up(height, at_once);
    fc_pixel first = {.w = pixel_block % strips * columns,
                      .h = pixel_block / strips % row_blocks * at_once,
                      .d = pixel_block / strips / row_blocks};
    int64_t row_end = smaller(first.h + at_once, height);
    for (int64_t row = first.h; row < row_end; row++)
        fc_cut_panels(block, (first.d * height + row) * width + first.w, smaller(columns, width - first.w));
    return first;
}

/* Copies the rows of channels [begin, end) of the group that outputs from `first` on read; what only outputs past the
 * last would read is no part of x, in any padding mode. */
static void shifted_copy(const fc_gemm_block *block, const shifted *s, fc_pixel first, int64_t begin, int64_t end,
                         real *room) {
    const fc_part *part = block->call->part;
    const fc_axis *depth = &part->axis[0], *height = &part->axis[1];
    const fc_tensor *x = &block->call->tensors.x;
    const stor *image =
        (const stor *)x->data + block->n * x->stride[0] + block->group * part->group_in_ch * x->stride[1];
    int64_t columns = smaller(part->block[SHIFTED_COLUMNS], part->axis[2].out - first.w);
    int64_t row_end = (height->out - 1 - first.h) * height->stride + fc_axis_reach(height) + 1;
    enum { AT_ONCE = 16 };
    const stor *sources[AT_ONCE];
    bool turns = fc_runs_turn(&part->axis[2], x, end - begin);
    /* In the order the rows lie, since a copy may write a few lanes of the next one. */
    for (int64_t c = begin, together; c < end; c += together) {
        real *to = room + c % s->slots * s->channel_pitch;
        together = turns ? smaller(end - c, s->slots - c % s->slots) : 1;
        for (int64_t kd = 0; kd < depth->kernel; kd++) {
            int64_t d = fc_axis_source(depth, first.d * depth->stride + kd * depth->dilation);
            for (int64_t row = 0; row < s->rows; row += AT_ONCE) {
                int64_t count = smaller(smaller(s->rows, row_end) - row, AT_ONCE);
                real *rows = to + kd * s->plane_pitch + row * s->shape.row_pitch;
                for (int64_t i = 0; i < count; i++) {
                    int64_t h = fc_axis_source(height, first.h * height->stride + row + i);
                    sources[i] = d < 0 || h < 0 ? NULL
                                                : image + c * x->stride[1] + d * x->stride[2] + h * x->stride[3];
                }
                for (int64_t i = 0; turns && i < count; i++)
                    fc_turn_row(&part->axis[2], &s->shape, sources[i], x->stride[4], together, first.w, columns,
                                rows + i * s->shape.row_pitch, s->channel_pitch);
                if (!turns)
                    fc_copy_rows(&part->axis[2], &s->shape, sources, count, x->stride[4], first.w, columns, rows);
            }
        }
    }
}

/* Where the steps of a chunk from `k` on read, from a panel's first value in the copied rows on. Without a division for each:
 * they cost a small map more than its sums. */
static void shifted_offsets(const fc_part *part, const shifted *s, int64_t k, int64_t depth, int64_t *offset) {
    const fc_axis *height = &part->axis[1], *width = &part->axis[2];
    int64_t tap = k % part->taps, slot = k / part->taps % s->slots;
    int64_t kw = tap % width->kernel, kh = tap / width->kernel % height->kernel, kd = tap / width->kernel / height->kernel;
    for (int64_t step = 0; step < depth; step++) {
        int64_t q = kw * width->dilation, shift = width->stride == 1 ? q : q % 2 * s->shape.phase_pitch + q / 2;
        offset[step] = slot * s->channel_pitch + kd * s->plane_pitch + kh * height->dilation * s->shape.row_pitch + shift;
        if (++kw < width->kernel)
            continue;
        kw = 0;
        if (++kh < height->kernel)
            continue;
        kh = 0;
        if (++kd < part->axis[0].kernel)
            continue;
        kd = 0;
        slot = slot + 1 < s->slots ? slot + 1 : 0;
    }
}

/* An fc_columns_place_fn. All panels of a chunk are placed with its first sweep. */
static void shifted_place(fc_gemm_block *block, const fc_sweep *sweep, real *room, int64_t *offset) {
    const fc_part *part = block->call->part;
    const fc_axis *height = &part->axis[1];
    if (sweep->begin > 0 || sweep->depth == 0)
        return;
    fc_pixel first = fc_pixel_at(part, block->panel[0].first);
    shifted s = shifted_of(part, block->call->grid[0], part->block[SHIFTED_COLUMNS]);
    int64_t taps = part->taps, begin = sweep->k / taps, end = divide_up(sweep->k + sweep->depth, taps);
    begin = larger(begin, block->copied);
    if (begin < end && fc_runs_turn(&part->axis[2], &block->call->tensors.x, part->group_in_ch))
        end = larger(end, smaller(begin + (s.slots < part->group_in_ch ? s.slots - shifted_channels_read(part)
                                                                       : part->block[SHIFTED_TURNED]),
                                  part->group_in_ch));
    shifted_copy(block, &s, first, begin, end, room);
    block->copied = larger(block->copied, end);
    shifted_offsets(part, &s, sweep->k, sweep->depth, offset);
    for (int64_t p = 0; p < block->panels; p++) {
        fc_pixel pixel = fc_pixel_at(part, block->panel[p].first);
        block->panel[p].columns = room + (pixel.h - first.h) * height->stride * s.shape.row_pitch + pixel.w - first.w;
        block->panel[p].offset = offset;
    }
}

#endif
