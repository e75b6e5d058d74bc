/* The weights: as packed, and transformed.
 *
 * Packed: [group][panel of PANEL_ROWS out channels][step][tap][row], zeros in rows past the last channel and for taps
 * that fill up a piece of the kernel. Whoever
 * multiplies transforms a chunk of steps for a block of panels into its scratch, one window row's products at a
 * time, which costs less than reading four times as many transformed ones from memory. Where they fit a cache,
 * pack transforms all at once, [group][product][chunk][panel][step][row]. Both are this function, so the bits are
 * the same.
 * Bound: two FMAs and a store per product and vector of rows.
 */
#ifndef FC_WINOGRAD_WEIGHTS_H
#define FC_WINOGRAD_WEIGHTS_H

#include "kernels/winograd/shape.h"

/* Transformed weights of window row `i` for one step and a vector of rows, from the first tap's. */
FC_INLINE void weight_row(const int tall, const int wide, const int i, const real *from, vec u[WINDOW]) {
    const int taps_h = tall ? TAPS : 1, taps_w = wide ? TAPS : 1;
    vec row[TAPS], column[TAPS];
    UNROLL for (int kw = 0; kw < taps_w; kw++) {
        UNROLL for (int kh = 0; kh < taps_h; kh++)
            column[kh] = v_load(from + (kh * taps_w + kw) * PANEL_ROWS);
        if (tall)
            tile_weight(column, u);
        else
            u[i] = column[0];
        row[kw] = u[i];
    }
    if (wide)
        tile_weight(row, u);
    else
        u[0] = row[0];
}

/* One panel, steps [0, steps), products of window row `i`; that of column j goes to to + j * to_stride. */
FC_INLINE void transform_panel(const int tall, const int wide, const int i, int64_t steps, const real *from, real *to,
                               int64_t to_stride) {
    const int taps = (tall ? TAPS : 1) * (wide ? TAPS : 1), window_w = wide ? WINDOW : 1;
    for (int64_t step = 0; step < steps; step++, from += taps * PANEL_ROWS, to += PANEL_ROWS)
        for (int r = 0; r < PANEL_ROWS; r += VL) {
            vec u[WINDOW];
            weight_row(tall, wide, i, from + r, u);
            UNROLL for (int j = 0; j < window_w; j++)
                v_store(to + j * to_stride + r, u[j]);
        }
}

FC_INLINE void transform_row(const int i, const shape *s, int64_t steps, const real *from, real *to,
                             int64_t to_stride) {
    if (s->h.window > 1 && s->w.window > 1)
        transform_panel(1, 1, i, steps, from, to, to_stride);
    else if (s->h.window > 1)
        transform_panel(1, 0, i, steps, from, to, to_stride);
    else
        transform_panel(0, 1, i, steps, from, to, to_stride);
}

/* Products of window row `i` for `count` steps of `panels` panels, as packed from `from` on, `from_panel` apart. */
static void transform_weights(const shape *s, int64_t i, const real *from, int64_t from_panel, int64_t panels,
                              int64_t count, real *to, int64_t to_stride) {
    for (int64_t panel = 0; panel < panels; panel++, to += count * PANEL_ROWS) {
        const real *steps = from + panel * from_panel;
        switch (i) {
#define ROW_CASE(i) \
    case i: \
        transform_row(i, s, count, steps, to, to_stride); \
        break;
            ROW_CASE(0) ROW_CASE(1) ROW_CASE(2) ROW_CASE(3)
#if OUT_TILE + TAPS > 5
            ROW_CASE(4)
#endif
#if OUT_TILE + TAPS > 6
            ROW_CASE(5)
#endif
        }
    }
}

/* One slice's taps of `channels` channels of one panel: those of a channel follow one another. */
static void pack_slice(const shape *s, slice at, const fc_weight_view *weight, const real *from, int64_t rows,
                       int64_t channels, real *to) {
    /* The taps of folded x's height are those of the width. */
    int64_t step_h = weight->stride[s->fold > 0 ? 5 : 4] * s->h.phases, step_w = weight->stride[5] * s->w.phases;
    int64_t taps_h = tap_count(&s->h, at.h), taps_w = tap_count(&s->w, at.w);
    const int64_t *stride = weight->stride;
    from += at.d * stride[3] + first_tap(&s->h, at.h) * (step_h / s->h.phases) +
            first_tap(&s->w, at.w) * stride[5];
    for (int64_t c = 0; c < channels; c++, from += stride[2], to += s->taps * PANEL_ROWS)
        for (int64_t h = 0; h < taps_h; h++)
            for (int64_t w = 0; w < taps_w; w++) {
                real *tap = to + (h * s->w.taps + w) * PANEL_ROWS;
                for (int64_t r = 0; r < rows; r++)
                    tap[r] = from[r * stride[1] + h * step_h + w * step_w];
            }
}

/* Steps [begin, end) of one panel of `rows` out channels, as given to as packed. */
static __attribute__((noinline)) void pack_panel(const fc_part *part, const shape *s, const fc_weight_view *weight,
                                                 int64_t group, int64_t row, int64_t rows, int64_t begin, int64_t end,
                                                 real *to) {
    const int64_t *stride = weight->stride;
    const real *from = (const real *)weight->data + group * stride[0] + row * stride[1];
    bool dense = stride[5] == 1 && stride[4] == part->axis[2].kernel && stride[2] == s->taps;
    if (rows < PANEL_ROWS || s->slices > 1)
        memset(to, 0, (size_t)((end - begin) * s->taps * PANEL_ROWS) * sizeof(real));
    if (s->slices == 1 && dense) {
        fc_transpose_sums(from + begin * s->taps, stride[1], rows, (end - begin) * s->taps, to, PANEL_ROWS);
        return;
    }
    for (int64_t step = begin, count; step < end; step += count, to += count * s->taps * PANEL_ROWS) {
        int64_t index = step / s->channels, channel = step % s->channels;
        count = smaller(end - step, s->channels - channel);
        pack_slice(s, slice_of(s, index), weight, from + channel * stride[2], rows, count, to);
    }
}

#endif
