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

typedef struct window_axis {
    int64_t unit;                 /* padded coordinates between neighbouring positions that can be read */
    int64_t out_pitch, tap_pitch; /* in positions */
    int64_t reach;                /* positions all outputs of one tap lie in */
    int64_t dilation;             /* in units; tap_pitch is smaller where the taps do not overlap */
    int64_t count;                /* positions */
} window_axis;

static int64_t common_divisor(int64_t a, int64_t b) {
    while (b != 0) {
        int64_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

static window_axis window_axis_of(const fc_axis *axis, int64_t outputs) {
    window_axis w;
    w.unit = axis->kernel > 1 ? common_divisor(axis->stride, axis->dilation) : axis->stride;
    w.out_pitch = axis->stride / w.unit;
    w.dilation = axis->kernel > 1 ? axis->dilation / w.unit : 1;
    w.reach = (outputs - 1) * w.out_pitch + 1;
    w.tap_pitch = w.dilation < w.reach ? w.dilation : w.reach;
    w.count = (axis->kernel - 1) * w.tap_pitch + w.reach;
    return w;
}

/* Padded coordinate of a position, from the block's first. */
static int64_t window_coordinate(const window_axis *w, int64_t position) {
    if (w->tap_pitch == w->dilation)
        return position * w->unit;
    return (position / w->reach * w->dilation + position % w->reach) * w->unit;
}

typedef struct window {
    window_axis axis[FC_MAX_SPATIAL];
    int64_t first[FC_MAX_SPATIAL]; /* padded coordinate of position 0 */
    int64_t channels;              /* of the chunk */
    int64_t pixel_pitch;           /* elements between neighbouring positions along width */
} window;

/* `count` positions along width from padded coordinate q; `row` is x's row at channel 0 of the chunk. */
static void load_positions(const fc_call *call, const window *win, const stor *row, int64_t q, int64_t count,
                           real *to) {
    const fc_axis *width = &call->part->axis[2];
    int64_t channel_step = call->tensors.x.stride[1], step = call->tensors.x.stride[4];
    int64_t unit = win->axis[2].unit, pitch = win->pixel_pitch, channels = win->channels;
    int64_t before = width->pad_before - q; /* the first position inside x is the first with j * unit >= before */
    int64_t begin = before <= 0 ? 0 : (before + unit - 1) / unit;
    int64_t end = before + width->in <= 0 ? 0 : (before + width->in - 1) / unit + 1;
    begin = begin < count ? begin : count;
    end = end < begin ? begin : end < count ? end : count;
    for (int64_t j = 0; j < count; j++) {
        if (j == begin)
            j = end;
        if (j >= count)
            break;
        int64_t source = fc_axis_source(width, q + j * unit);
        for (int64_t c = 0; c < channels; c++)
            to[j * pitch + c] = source < 0 ? 0 : s_load(row + source * step + c * channel_step);
    }
    if (begin == end)
        return;
    const stor *from = row + (begin * unit - before) * step;
    to += begin * pitch;
    count = end - begin;
    if (channel_step == 1)
        for (int64_t j = 0; j < count; j++)
            fc_copy_run(to + j * pitch, from + j * unit * step, 1, channels);
    else if (unit * step == 1 && channels > 4 && count > 2)
        fc_transpose_x(from, channel_step, channels, count, to, pitch);
    else
        for (int64_t j = 0; j < count; j++)
            for (int64_t c = 0; c < channels; c++)
                to[j * pitch + c] = s_load(from + j * unit * step + c * channel_step);
}

static void load_row(const fc_call *call, const window *win, const stor *row, real *to) {
    const window_axis *w = &win->axis[2];
    if (row == NULL)
        memset(to, 0, (size_t)(w->count * win->pixel_pitch) * sizeof *to);
    else if (w->tap_pitch == w->dilation)
        load_positions(call, win, row, win->first[2], w->count, to);
    else
        for (int64_t position = 0; position < w->count; position += w->reach)
            load_positions(call, win, row, win->first[2] + window_coordinate(w, position), w->reach,
                           to + position * win->pixel_pitch);
}

/* Fills the window from image n, input channels from `channel` on. */
static void load_window(const fc_call *call, const window *win, int64_t n, int64_t channel, real *to) {
    const fc_part *part = call->part;
    const fc_tensor *x = &call->tensors.x;
    const stor *image = (const stor *)x->data + n * x->stride[0] + channel * x->stride[1];
    for (int64_t d = 0; d < win->axis[0].count; d++) {
        int64_t at_d = fc_axis_source(&part->axis[0], win->first[0] + window_coordinate(&win->axis[0], d));
        for (int64_t h = 0; h < win->axis[1].count; h++) {
            int64_t at_h = fc_axis_source(&part->axis[1], win->first[1] + window_coordinate(&win->axis[1], h));
            bool inside = at_d >= 0 && at_h >= 0;
            load_row(call, win, inside ? image + at_d * x->stride[2] + at_h * x->stride[3] : NULL, to);
            to += win->axis[2].count * win->pixel_pitch;
        }
    }
}

#endif
