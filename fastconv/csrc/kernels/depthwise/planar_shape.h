/* Which form of depthwise a part takes, and of the planar one how rows are shared, copied and read. */
#ifndef FC_PLANAR_SHAPE_H
#define FC_PLANAR_SHAPE_H

#include "kernels/common/integers.h"
#include "kernels/common/padded_rows.h"
#include "kernels/depthwise/row_sweep.h"

enum { STRIP = 0, CHUNK_ROWS = 1 }; /* of part->block */
enum { FEW_TAPS = 16, MOST_MASKS = 256, MOST_COLUMNS = 8192, MOST_EDGE_ROWS = 64 }; /* of rows read in place */

/* Few channels leave most lanes empty, so their planes are copied out instead. */
static bool enough_lanes(const fc_part *part) { return 2 * part->problem.in_ch >= VL; }

/* Their weights are packed for whichever layout. */
static bool channels_mix(const fc_part *part) {
    int64_t channels = part->problem.in_ch;
    return SWEEP_MASKED && !enough_lanes(part) && part->group_out_ch == 1 && channels >= 2 && channels <= 4;
}

static bool channels_in_lanes(const fc_part *part) { return part->problem.x_channels_last && enough_lanes(part); }

/* How rows are shared between output rows: see row_sweep.h. A single row of taps has nothing to share, but may be
 * read in place as well, which is worth more than aligned copies while its taps are few. */
static int64_t share_of(const fc_part *part) {
    const fc_axis *height = &part->axis[1], *width = &part->axis[2];
    bool several = height->kernel >= 2 || (width->kernel <= FEW_TAPS && height->out >= 4);
    bool shares = several && height->dilation == 1 && height->stride == width->stride;
    return shares && height->stride <= SWEEP_MOST_STRIDE ? height->stride : 0;
}

static bool zero_padding(const fc_part *part) {
    const fc_axis *axis = part->axis;
    return axis[0].pad_mode == FC_PAD_ZEROS && axis[1].pad_mode == FC_PAD_ZEROS && axis[2].pad_mode == FC_PAD_ZEROS;
}

static bool dense_taps(const fc_axis *width) { return width->stride * width->dilation == 1; }

/* Shared rows are read with their stride: their copies are those of a stride of 1. */
static fc_axis copied_axis(const fc_part *part) {
    fc_axis axis = part->axis[2];
    axis.stride = share_of(part) ? 1 : axis.stride;
    return axis;
}

/* Columns of that axis behind `columns` output columns. */
static int64_t copied_columns(const fc_part *part, int64_t columns) {
    int64_t share = share_of(part);
    return share ? (columns - 1) * share + 1 : columns;
}

static fc_row_shape copied_shape(const fc_part *part, int64_t columns) {
    fc_axis axis = copied_axis(part);
    return fc_row_shape_of(&axis, copied_columns(part, columns));
}

/* Rows of x behind `rows` output rows of one depth tap. */
static int64_t rows_read(const fc_part *part, int64_t rows) {
    return (rows - 1) * part->axis[1].stride + fc_axis_reach(&part->axis[1]) + 1;
}

/* What the loads of a row in place touch: from `before` elements before its first to `after` elements from there; one copy
 * of a row takes `pitch`. The first and the last rows of x are copied, so that nothing outside of it is read: at most
 * edge_rows behind a block of outputs, as rows are at least a row apart. */
typedef struct row_reach {
    int64_t before, after, pitch, edge_rows;
} row_reach;

static row_reach row_reach_of(const fc_part *part) {
    const fc_axis *width = &part->axis[2];
    if (!SWEEP_READS_PAST)
        return (row_reach){.pitch = smaller(width->in, MOST_COLUMNS)};
    int64_t lanes = channels_mix(part) ? MIXED_VECS * VL : VL;
    int64_t in = larger(width->in, 1), end = round_up(width->out, lanes) * width->stride;
    row_reach reach = {.before = larger(width->pad_before, 0)};
    reach.after = larger(end + fc_axis_reach(width) - width->pad_before, in);
    reach.pitch = round_up(reach.before + reach.after, VL);
    reach.edge_rows = part->axis[0].kernel * (divide_up(reach.before, in) + divide_up(reach.after - in, in));
    return reach;
}

/* See sweep_mixed: rows of a few interleaved channels that could be read as they lie. */
static bool channels_may_mix(const fc_part *part) {
    const fc_axis *axis = part->axis;
    return zero_padding(part) && part->problem.x_channels_last && channels_mix(part) &&
           axis[1].dilation == 1 && axis[1].stride * axis[2].stride == 1;
}

/* Such rows as rows of one channel. */
static fc_part mixed_part(const fc_part *part) {
    fc_part mixed = *part;
    int64_t channels = part->problem.in_ch;
    mixed.axis[2].in *= channels;
    mixed.axis[2].out *= channels;
    mixed.axis[2].dilation *= channels;
    mixed.axis[2].pad_before *= channels;
    return mixed;
}

#endif
