/* The window: what a block of output pixels reads of x, for a chunk of the input channels.
 *
 * window[depth][height][width][channel], in the compute type, padding resolved, at most a few hundred KB.
 * Along an axis the outputs o = 0, 1, ... and taps k of the block read padded coordinates
 * first + o * stride + k * dilation; positions nobody reads are left out, so an output moves by out_pitch and a
 * tap by tap_pitch positions. Bound: one load and store per vector when x is dense along channels, plus the
 * shuffles of a transpose when it is dense along width; a value is used by taps * group_out_ch FMAs.
 */
#ifndef FC_DIRECT_WINDOW_H
#define FC_DIRECT_WINDOW_H

#include "kernels/common/columns.h"
#include "kernels/common/transpose.h"

/* Along which axes outputs leave out the products of padding zeros (taps.h), so that these are not in the window. */
typedef struct padding_skip {
    bool axis[FC_MAX_SPATIAL];
} padding_skip;

typedef struct window_axis {
    int64_t unit;                 /* padded coordinates between neighbouring positions that can be read */
    int64_t out_pitch, tap_pitch; /* in positions */
    int64_t reach;                /* positions all outputs of one tap lie in */
    int64_t dilation;             /* in units; tap_pitch is smaller where the taps do not overlap */
    int64_t skipped, count;       /* positions, of which the first kept and how many: others are not read */
} window_axis;

/* With skip_padding, only the positions inside x that outputs [first, first + outputs) read, where the taps overlap. */
static window_axis window_axis_of(const fc_axis *axis, int64_t first, int64_t outputs, bool skip_padding) {
    window_axis w = {.skipped = 0};
    w.unit = fc_axis_unit(axis);
    w.out_pitch = axis->stride / w.unit;
    w.dilation = axis->kernel > 1 ? axis->dilation / w.unit : 1;
    w.reach = (outputs - 1) * w.out_pitch + 1;
    w.tap_pitch = w.dilation < w.reach ? w.dilation : w.reach;
    w.count = (axis->kernel - 1) * w.tap_pitch + w.reach;
    if (skip_padding && w.tap_pitch == w.dilation) {
        int64_t before = axis->pad_before - first * axis->stride; /* inside: before <= position * unit < before + in */
        int64_t begin = before <= 0 ? 0 : divide_up(before, w.unit);
        int64_t end = before + axis->in <= 0 ? 0 : divide_up(before + axis->in, w.unit);
        w.skipped = smaller(begin, w.count);
        w.count = larger(smaller(end, w.count) - w.skipped, 0);
    }
    return w;
}

/* Padded coordinate of a kept position, from the block's first. */
static int64_t window_coordinate(const window_axis *w, int64_t position) {
    if (w->tap_pitch == w->dilation)
        return (w->skipped + position) * w->unit;
    return (position / w->reach * w->dilation + position % w->reach) * w->unit;
}

typedef struct window {
    window_axis axis[FC_MAX_SPATIAL];
    int64_t first[FC_MAX_SPATIAL]; /* padded coordinate of the block's first */
    int64_t channels;              /* of the chunk */
    int64_t pixel_pitch;           /* elements between neighbouring positions along width */
    padding_skip skip;
} window;

/* `count` positions `step` apart in x, all inside it. One channel is dense in either layout; a few are fewer than the square
 * of a long vector pays for. */
static void copy_positions(const stor *from, int64_t step, int64_t channel_step, int64_t count, int64_t channels,
                           real *to, int64_t pitch) {
    if ((channel_step == 1 || channels == 1) && step == channels && pitch == channels)
        fc_copy_run(to, from, 1, count * channels);
    else if (channel_step == 1)
        for (int64_t j = 0; j < count; j++)
            fc_copy_run(to + j * pitch, from + j * step, 1, channels);
    else if (step == 1 && channels > (VL >= 16 ? 4 : 1) && count > 2)
        fc_transpose_x(from, channel_step, channels, count, to, pitch);
    else
        for (int64_t j = 0; j < count; j++)
            for (int64_t c = 0; c < channels; c++)
                to[j * pitch + c] = s_load(from + j * step + c * channel_step);
}

/* `count` positions along width from padded coordinate q, `channels` of them; `row` is x's row at the first. */
static void load_positions(const fc_call *call, const window *win, const stor *row, int64_t channels, int64_t q,
                           int64_t count, real *to) {
    const fc_axis *width = &call->part->axis[2];
    int64_t channel_step = call->tensors.x.stride[1], step = call->tensors.x.stride[4];
    int64_t unit = win->axis[2].unit, pitch = win->pixel_pitch;
    int64_t before = width->pad_before - q; /* the first position inside x is the first with j * unit >= before */
    int64_t begin = before <= 0 ? 0 : (before + unit - 1) / unit;
    int64_t end = before + width->in <= 0 ? 0 : (before + width->in - 1) / unit + 1;
    begin = begin < count ? begin : count;
    end = end < begin ? begin : end < count ? end : count;
    bool zeros = width->pad_mode == FC_PAD_ZEROS && pitch == channels; /* cleared in two runs */
    if (zeros) {
        memset(to, 0, (size_t)(begin * pitch) * sizeof *to);
        memset(to + end * pitch, 0, (size_t)((count - end) * pitch) * sizeof *to);
    }
    for (int64_t j = 0; !zeros && j < count; j++) {
        if (j == begin)
            j = end;
        if (j >= count)
            break;
        int64_t source = fc_axis_source(width, q + j * unit);
        if (source < 0)
            memset(to + j * pitch, 0, (size_t)channels * sizeof *to);
        else
            for (int64_t c = 0; c < channels; c++)
                to[j * pitch + c] = s_load(row + source * step + c * channel_step);
    }
    if (begin < end)
        copy_positions(row + (begin * unit - before) * step, unit * step, channel_step, end - begin, channels,
                       to + begin * pitch, pitch);
}

/* One row of the window; `row` NULL: padding. */
static void load_row(const fc_call *call, const window *win, const stor *row, int64_t channels, real *to) {
    const window_axis *w = &win->axis[2];
    if (row == NULL && channels == win->channels)
        memset(to, 0, (size_t)(w->count * win->pixel_pitch) * sizeof *to);
    else if (row == NULL)
        for (int64_t position = 0; position < w->count; position++)
            memset(to + position * win->pixel_pitch, 0, (size_t)channels * sizeof *to);
    else if (w->tap_pitch == w->dilation)
        load_positions(call, win, row, channels, win->first[2] + window_coordinate(w, 0), w->count, to);
    else
        for (int64_t position = 0; position < w->count; position += w->reach)
            load_positions(call, win, row, channels, win->first[2] + window_coordinate(w, position), w->reach,
                           to + position * win->pixel_pitch);
}

/* How many rows of x from row `h` of the window on follow one another in x and in the window without padding
 * between them, so that they are one run of positions. */
static int64_t joined_rows(const fc_call *call, const window *win, int64_t h) {
    const fc_axis *height = &call->part->axis[1], *width = &call->part->axis[2];
    const window_axis *rows = &win->axis[1], *columns = &win->axis[2];
    const fc_tensor *x = &call->tensors.x;
    bool whole = win->first[2] + window_coordinate(columns, 0) == width->pad_before && columns->count == width->in &&
                 columns->unit == 1 && columns->tap_pitch == columns->dilation &&
                 x->stride[3] == width->in * x->stride[4];
    int64_t first = win->first[1] + window_coordinate(rows, h) - height->pad_before;
    if (!whole || rows->unit != 1 || rows->tap_pitch != rows->dilation || first < 0 || first >= height->in)
        return 1;
    int64_t left = rows->count - h;
    return left < height->in - first ? left : height->in - first;
}

/* Fills `channels` channels of the window from those `image` starts with. */
static void load_planes(const fc_call *call, const window *win, const stor *image, int64_t channels, real *to) {
    const fc_part *part = call->part;
    const fc_tensor *x = &call->tensors.x;
    int64_t row_pitch = win->axis[2].count * win->pixel_pitch;
    for (int64_t d = 0; d < win->axis[0].count; d++) {
        int64_t at_d = fc_axis_source(&part->axis[0], win->first[0] + window_coordinate(&win->axis[0], d));
        for (int64_t h = 0, rows; h < win->axis[1].count; h += rows, to += rows * row_pitch) {
            int64_t at_h = fc_axis_source(&part->axis[1], win->first[1] + window_coordinate(&win->axis[1], h));
            const stor *row = at_d < 0 || at_h < 0 ? NULL : image + at_d * x->stride[2] + at_h * x->stride[3];
            rows = row == NULL ? 1 : joined_rows(call, win, h);
            if (rows > 1)
                copy_positions(row, x->stride[4], x->stride[1], rows * win->axis[2].count, channels, to,
                               win->pixel_pitch);
            else
                load_row(call, win, row, channels, to);
        }
    }
}

/* Fills the window from image n, input channels from `channel` on. Channels that are planes of x are taken a vector
 * at a time, so that few planes are read at once and each in order. */
static void load_window(const fc_call *call, const window *win, int64_t n, int64_t channel, real *to) {
    const fc_tensor *x = &call->tensors.x;
    const stor *image = (const stor *)x->data + n * x->stride[0] + channel * x->stride[1];
    int64_t at_once = x->stride[1] == 1 || win->channels <= VL ? win->channels : VL;
    for (int64_t c = 0; c < win->channels; c += at_once) {
        int64_t channels = win->channels - c < at_once ? win->channels - c : at_once;
        load_planes(call, win, image + c * x->stride[1], channels, to + c);
    }
}

#endif
