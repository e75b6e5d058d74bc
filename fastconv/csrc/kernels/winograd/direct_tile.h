/* One tile summed by the definition, from x and the weights as packed: for windows that the transforms cannot take.
 */
#ifndef FC_WINOGRAD_DIRECT_TILE_H
#define FC_WINOGRAD_DIRECT_TILE_H

#include "kernels/winograd/segments.h"

/* The window of one tile for one channel and slice. */
static void load_window(const fc_part *part, const shape *s, const fc_tensor *x, const segment *g, int64_t tile,
                        const stor *channel, real *window) {
    for (int64_t i = 0; i < s->h.window; i++)
        for (int64_t j = 0; j < s->w.window; j++) {
            const stor *from = pixel_at(part, s, x, g, channel, i, tile * s->w.step + j);
            window[i * s->w.window + j] = from == NULL ? 0 : s_load(from);
        }
}

/* Adds one window's part to all outputs of the tile: of a piece's taps those that there are. */
static void add_window(const shape *s, slice at, const real *window, const real *weights, int64_t rows,
                       real sums[][FINISH_ROWS]) {
    int64_t taps_h = tap_count(&s->h, at.h), taps_w = tap_count(&s->w, at.w);
    for (int64_t i = 0; i < s->h.step; i++)
        for (int64_t j = 0; j < s->w.step; j++) {
            real *to = sums[i * s->w.step + j];
            for (int64_t kh = 0; kh < taps_h; kh++)
                for (int64_t kw = 0; kw < taps_w; kw++) {
                    real value = window[(i + kh) * s->w.window + j + kw];
                    const real *w = weights + (kh * s->w.taps + kw) * PANEL_ROWS;
                    for (int64_t r = 0; r < rows; r++)
                        to[r] += w[r] * value;
                }
        }
}

/* The outputs of lane `lane` for `rows` rows of one panel of weights as packed, [step][tap][row], from the first row's
 * on. `channel` is the group's first in x; the lane's segment is resolved anew. */
static void sum_tile(const fc_part *part, const shape *s, const fc_tensor *x, const stor *channel, segment *segments,
                     int64_t lane, const real *weights, int64_t rows, real sums[][FINISH_ROWS]) {
    segment *g = segments;
    while (lane >= g->lane + g->tiles)
        g++;
    real window[WINDOW * WINDOW];
    memset(sums, 0, (size_t)(s->h.step * s->w.step * FINISH_ROWS) * sizeof(real));
    for (int64_t index = 0; index < s->slices; index++) {
        slice at = slice_of(s, index);
        resolve_rows(part, s, x, at, g);
        for (int64_t c = 0; c < s->channels; c++, weights += s->taps * PANEL_ROWS) {
            load_window(part, s, x, g, lane - g->lane, channel + c * x->stride[1], window);
            add_window(s, at, window, weights, rows, sums);
        }
    }
}

#endif
