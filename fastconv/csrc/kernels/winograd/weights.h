/* The weights: as packed, and transformed.
 *
 * Packed: [group][panel of PANEL_ROWS out channels][step][tap][row], zeros in rows past the last channel. Whoever
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
    if (s->window_h > 1 && s->window_w > 1)
        transform_panel(1, 1, i, steps, from, to, to_stride);
    else if (s->window_h > 1)
        transform_panel(1, 0, i, steps, from, to, to_stride);
    else
        transform_panel(0, 1, i, steps, from, to, to_stride);
}

/* Products of window row `i` for steps [begin, end) of `panels` panels; `from` is the first panel's, as packed. */
static void transform_weights(const shape *s, int64_t i, const real *from, int64_t panels, int64_t begin, int64_t end,
                              real *to, int64_t to_stride) {
    int64_t per_step = s->taps * PANEL_ROWS, count = end - begin;
    for (int64_t panel = 0; panel < panels; panel++, to += count * PANEL_ROWS) {
        const real *steps = from + (panel * s->steps + begin) * per_step;
        switch (i) {
#define ROW_CASE(i) \
    case i: \
        transform_row(i, s, count, steps, to, to_stride); \
        break;
            ROW_CASE(0) ROW_CASE(1) ROW_CASE(2) ROW_CASE(3)
#if OUT_TILE + TAPS > 5
            ROW_CASE(4) ROW_CASE(5)
#endif
        }
    }
}

/* One panel of `rows` out channels, as given to as packed. */
static void pack_panel(const fc_part *part, const fc_weight_view *weight, int64_t group, int64_t row, int64_t rows,
                       real *to) {
    const int64_t *stride = weight->stride;
    const fc_axis *axis = part->axis;
    const real *from = (const real *)weight->data + group * stride[0] + row * stride[1];
    int64_t plane = axis[1].kernel * axis[2].kernel;
    if (rows < PANEL_ROWS)
        memset(to, 0, (size_t)(part->reduction * PANEL_ROWS) * sizeof(real));
    if (stride[5] == 1 && stride[4] == axis[2].kernel && stride[3] == plane && stride[2] == plane * axis[0].kernel) {
        fc_transpose_sums(from, stride[1], rows, part->reduction, to, PANEL_ROWS);
        return;
    }
    for (int64_t c = 0; c < part->group_in_ch; c++)
        for (int64_t kd = 0; kd < axis[0].kernel; kd++)
            for (int64_t kh = 0; kh < axis[1].kernel; kh++)
                for (int64_t kw = 0; kw < axis[2].kernel; kw++, to += PANEL_ROWS)
                    for (int64_t r = 0; r < rows; r++)
                        to[r] = from[r * stride[1] + c * stride[2] + kd * stride[3] + kh * stride[4] + kw * stride[5]];
}

#endif
