/* Where the pixels of tiles lie in x: runs of neighbouring tiles, their rows for one slice, padding resolved.
 */
#ifndef FC_WINOGRAD_SEGMENTS_H
#define FC_WINOGRAD_SEGMENTS_H

#include "kernels/winograd/shape.h"

/* Padded coordinates from here on are read by no output. */
FC_INLINE int64_t coordinate_end(const fc_axis *axis) {
    return (axis->out - 1) * axis->stride + (axis->kernel - 1) * axis->dilation + 1;
}

/* The source of padded coordinate q along an axis, -1 also for those that only overhanging tiles or taps that fill up
 * a piece reach. */
FC_INLINE int64_t source_of(const fc_axis *axis, int64_t q) {
    return q < coordinate_end(axis) ? fc_axis_source(axis, q) : -1;
}

/* Cuts lanes [0, count) from tile `first` on into segments; returns their number. */
static int64_t cut_segments(const shape *s, int64_t first, int64_t count, segment *segments) {
    int64_t number = 0;
    for (int64_t lane = 0; lane < count; number++) {
        int64_t tile = first + lane, row = tile / s->w.tiles, col = tile % s->w.tiles;
        segment *g = &segments[number];
        g->lane = lane;
        g->tiles = smaller(s->w.tiles - col, count - lane);
        g->out_w = first_output(&s->w, row % s->w.classes * s->w.tiles + col);
        row /= s->w.classes;
        g->out_h = first_output(&s->h, row % (s->h.classes * s->h.tiles));
        g->d = row / (s->h.classes * s->h.tiles);
        if (s->fold > 0)
            g->out_w += g->out_h * s->fold, g->out_h = 0;
        g->pixels = s->w.step * (g->tiles - 1) + s->w.window;
        lane += g->tiles;
    }
    return number;
}

/* Outputs of a segment's line that begins at `pixel`, and the line below it in the same tiles. */
FC_INLINE int64_t line_outputs(const fc_part *part, const shape *s, const segment *g, fc_pixel pixel) {
    return s->fold > 0 ? smaller(g->tiles, larger(part->axis[2].out - pixel.w, 0))
                       : outputs_of(&s->w, g->out_w, g->tiles, part->axis[2].out);
}
FC_INLINE void next_line(const shape *s, fc_pixel *pixel) {
    if (s->fold > 0)
        pixel->w += s->fold;
    else
        pixel->h += s->h.apart;
}

/* Rows of folded x: those that padding cuts are put together pixel by pixel, and their neighbours with them. */
static void resolve_folded(const fc_part *part, const shape *s, const fc_tensor *x, segment *g) {
    const fc_axis *width = &part->axis[2];
    int64_t read_end = coordinate_end(width), x_end = smaller(width->in + width->pad_before, read_end);
    int64_t plane = g->offset[0];
    g->begin = 0, g->end = g->pixels;
    for (int64_t i = 0; i < s->h.window; i++) {
        int64_t first = g->q + s->fold * i, last = first + g->pixels - 1;
        bool zeros = first >= read_end || (width->pad_mode == FC_PAD_ZEROS && (first >= x_end || last < width->pad_before));
        g->offset[i] = plane == OUTSIDE || zeros ? OUTSIDE : plane + s->fold * i * x->stride[4];
        if (!zeros && (first < width->pad_before || last >= x_end))
            g->end = 0;
    }
}

/* Where the pixels of a segment lie for one slice. */
static void resolve_rows(const fc_part *part, const shape *s, const fc_tensor *x, slice at, segment *g) {
    const fc_axis *axis = part->axis, *width = &axis[2];
    int64_t d = fc_axis_source(&axis[0], g->d * axis[0].stride + at.d * axis[0].dilation);
    int64_t shift_h = first_tap(&s->h, at.h) * s->h.dilation, shift_w = first_tap(&s->w, at.w) * s->w.dilation;
    if (s->fold > 0) {
        g->q = g->out_w + shift_h * s->fold;
        g->offset[0] = d < 0 ? OUTSIDE : d * x->stride[2];
        resolve_folded(part, s, x, g);
        return;
    }
    for (int64_t i = 0; i < s->h.window; i++) {
        int64_t h = source_of(&axis[1], g->out_h * axis[1].stride + shift_h + i * s->h.lattice);
        g->offset[i] = d < 0 || h < 0 ? OUTSIDE : d * x->stride[2] + h * x->stride[3];
    }
    g->q = g->out_w * width->stride + shift_w;
    int64_t begin = width->pad_before - g->q;
    int64_t end = smaller(width->in + width->pad_before, coordinate_end(width)) - g->q;
    g->end = end < 0 ? 0 : smaller(divide_up(end, s->w.lattice), g->pixels);
    g->begin = begin < 0 ? 0 : smaller(divide_up(begin, s->w.lattice), g->end);
}

/* Pixel `pixel` of window row `i` of one channel, through the padding's map; NULL for a zero. */
FC_INLINE const stor *pixel_at(const fc_part *part, const shape *s, const fc_tensor *x, const segment *g,
                               const stor *channel, int64_t i, int64_t pixel) {
    if (g->offset[i] == OUTSIDE)
        return NULL;
    int64_t below = s->fold * i, source = source_of(&part->axis[2], g->q + below + pixel * s->w.lattice);
    return source < 0 ? NULL : channel + g->offset[i] + (source - below) * x->stride[4];
}

/* n <= VL pixels 2 elements apart; nothing is read past the last. */
FC_INLINE vec pixels_by_two(const stor *from, int64_t n) {
    int64_t left = 2 * n - 1;
    vec low = left >= VL ? v_loads(from) : v_loadsn(from, left), even, odd;
    vec high = left >= 2 * VL ? v_loads(from + VL) : left > VL ? v_loadsn(from + VL, left - VL) : v_zero();
    v_deinterleave(low, high, &even, &odd);
    return even;
}

/* The same 4 elements apart. */
FC_INLINE vec pixels_by_four(const stor *from, int64_t n) {
    int64_t half = VL / 2; /* pixels of two vectors */
    vec low = pixels_by_two(from, smaller(2 * n - 1, VL));
    vec high = n > half ? pixels_by_two(from + 2 * VL, 2 * (n - half) - 1) : v_zero(), even, odd;
    v_deinterleave(low, high, &even, &odd);
    return even;
}

/* `count` pixels `step` elements apart. */
FC_INLINE void gather_pixels(const stor *from, int64_t step, int64_t count, real *to) {
    if (step != 2 && step != 4) {
        for (int64_t p = 0; p < count; p++)
            to[p] = s_load(from + p * step);
        return;
    }
    for (int64_t p = 0; p < count; p += VL, from += VL * step) {
        int64_t n = smaller(count - p, VL);
        vec pixels = step == 2 ? pixels_by_two(from, n) : pixels_by_four(from, n);
        if (n == VL)
            v_store(to + p, pixels);
        else
            v_storen(to + p, pixels, n);
    }
}

/* Transforms VL (or n) pixels along height. */
FC_INLINE void column_step(const int tall, const vec d[WINDOW], vec t[WINDOW]) {
    if (tall)
        tile_input(d, t);
    else
        t[0] = d[0];
}

#endif
