/* From x to transformed inputs, split into bfloat16 parts, with channels along the lanes.
 *
 * Per slice and up to LINE_PIXELS pixels of a run of tiles: each pixel of each window row is a vector of channels, read
 * where it lies in channels-last x, else from squares of x transposed into L1. The transform along height leaves
 * `lines`; that along width, of two vectors of channels at a time, ends in registers, which are split and stored as
 * rows of the CPU's tiles: [product][lane tile][step tile][part][lane][pair][2].
 * Bound: the vector unit, per 16 channels of one product about 5 instructions for the transforms and 8 for the split
 * into three, 7 cycles; 12 were measured with stores that stay in L1, 15 with the inputs' own place in L2.
 */
#ifndef FC_WINOGRAD_SPLIT_INPUT_H
#define FC_WINOGRAD_SPLIT_INPUT_H

#include "kernels/amx/winograd_split_shape.h"
#include "kernels/winograd/segments.h"

/* tile_split_pairs, with the first of three parts truncated and the last, which is exact, taken as it is: two thirds of
 * the instructions. What is left out is below 2^-23 of a product and, because later parts are rounded, as often
 * negative as positive. `parts` is 3 or 2, whose first is rounded. */
FC_INLINE void split_pairs(vec even, vec odd, int parts, real *to) {
    const __m512i half = _mm512_set1_epi32(0x8000), high = _mm512_set1_epi32((int)0xffff0000);
    const __m512i first = _mm512_set1_epi32(parts == 3 ? 0 : 0x8000);
    UNROLL for (int part = 0; part < 3; part++) {
        __m512i low = _mm512_castps_si512(even), top = _mm512_castps_si512(odd);
        if (part < 2) {
            low = _mm512_add_epi32(low, part == 0 ? first : half);
            top = _mm512_add_epi32(top, part == 0 ? first : half);
        } else if (parts < 3) {
            return;
        }
        __m512i pairs = _mm512_or_epi32(_mm512_srli_epi32(low, 16), _mm512_and_epi32(top, high));
        _mm512_storeu_si512(to + part * TILE_DWORDS, pairs);
        even = _mm512_sub_ps(even, _mm512_castsi512_ps(_mm512_and_epi32(low, high)));
        odd = _mm512_sub_ps(odd, _mm512_castsi512_ps(_mm512_and_epi32(top, high)));
    }
}

typedef struct split_input {
    const fc_part *part;
    const shape *s;
    const split_layout *l;
    const fc_tensor *x;
    const stor *group; /* channel 0 of the group, of the image */
    segment *segments;
    int64_t segment_count;
    real *scratch;
} split_input;

/* Pixels [first, first + count) of a segment, and where those of channel 0 lie in channels-last x. */
typedef struct pixel_run {
    const segment *g;
    int64_t first, count;
    const stor *at[LINE_PIXELS][WINDOW];
} pixel_run;

/* Channels-last x: every pixel where it lies, padding in the zeros. */
static void point_at_pixels(const split_input *job, pixel_run *run) {
    const shape *s = job->s;
    const segment *g = run->g;
    const stor *zeros = job->scratch + job->l->zeros;
    int64_t step = s->w.lattice * job->x->stride[4], skip = g->q - job->part->axis[2].pad_before;
    for (int64_t i = 0; i < s->h.window; i++)
        for (int64_t p = 0, pixel = run->first; p < run->count; p++, pixel++)
            if (pixel < g->begin || pixel >= g->end) {
                const stor *from = pixel_at(job->part, s, job->x, g, job->group, i, pixel);
                run->at[p][i] = from == NULL ? zeros : from;
            } else {
                run->at[p][i] = g->offset[i] == OUTSIDE
                                    ? zeros
                                    : job->group + g->offset[i] + skip * job->x->stride[4] + pixel * step;
            }
}

/* Pixel `pixel` of window row `i` to `to`, for `channels` channels from `channel` on. */
FC_INLINE void copy_pixel(const split_input *job, const segment *g, const stor *channel, int64_t i, int64_t pixel,
                          int64_t channels, real *to) {
    const stor *from = pixel_at(job->part, job->s, job->x, g, channel, i, pixel);
    for (int64_t c = 0; c < channels; c++)
        to[c] = from == NULL ? 0 : from[c * job->x->stride[1]];
}

/* The pixels of a row, dense for each of `channels` channels, to vectors of channels `pitch` apart: whole squares, so
 * that up to VL - 1 vectors past the last pixel are written too, and zeros for channels that there are not. */
static __attribute__((noinline, noclone)) void transpose_row(const stor *from, int64_t channel_step,
                                                            int64_t channels, int64_t count, real *to,
                                                            int64_t pitch) {
    for (int64_t p = 0; p < count; p += VL)
        for (int64_t c = 0; c < STEP_CHANNELS; c += VL) {
            lane_mask pixels = v_mask(0, smaller(count - p, VL));
            const stor *corner = from + c * channel_step + p;
            vec square[VL];
            if (channels - c >= VL)
                FC_UNROLL_SQUARE for (int i = 0; i < VL; i++)
                    square[i] = v_loadm(corner + i * channel_step, pixels);
            else
                FC_UNROLL_SQUARE for (int i = 0; i < VL; i++)
                    square[i] = i < channels - c ? v_loadm(corner + i * channel_step, pixels) : v_zero();
            v_transpose(square);
            FC_UNROLL_SQUARE for (int i = 0; i < VL; i++)
                v_store(to + (p + i) * pitch + c, square[i]);
        }
}

/* The row of pixels that is transposed after window row `i`, for rows are too short for the hardware to foresee it. */
FC_INLINE void ask_for_row(const split_input *job, const pixel_run *run, int64_t i, const stor *channel,
                           int64_t channels, int64_t begin) {
    const segment *g = run->g;
    int64_t next = i + 1 < job->s->h.window ? i + 1 : 0;
    if (g->offset[next] == OUTSIDE)
        return;
    uintptr_t at = (uintptr_t)channel + (uintptr_t)((g->offset[next] + g->q - job->part->axis[2].pad_before + begin) *
                                                    (int64_t)sizeof(stor));
    if (next == 0)
        at += (uintptr_t)(job->x->stride[1] * STEP_CHANNELS * (int64_t)sizeof(stor));
    for (int64_t c = 0; c < channels; c++, at += (uintptr_t)(job->x->stride[1] * (int64_t)sizeof(stor))) {
        __builtin_prefetch((const void *)at);
        __builtin_prefetch((const void *)(at + 64));
    }
}

/* Other x: the pixels of `channels` channels from `channel` on, transposed into the lines. */
static void transpose_pixels(const split_input *job, const pixel_run *run, const stor *channel, int64_t channels) {
    const shape *s = job->s;
    const fc_tensor *x = job->x;
    const segment *g = run->g;
    int64_t last = run->first + run->count, step = s->w.lattice * x->stride[4], pitch = s->h.window * STEP_CHANNELS;
    int64_t begin = larger(smaller(g->begin, last), run->first);
    int64_t end = larger(smaller(g->end, last), begin);
    for (int64_t i = 0; i < s->h.window; i++) {
        real *to = job->scratch + job->l->lines + i * STEP_CHANNELS, *inside = to + (begin - run->first) * pitch;
        const stor *from = channel + begin * step + (g->q - job->part->axis[2].pad_before) * x->stride[4] +
                           (g->offset[i] == OUTSIDE ? 0 : g->offset[i]);
        if (g->offset[i] == OUTSIDE)
            for (int64_t p = 0; p < end - begin; p++)
                for (int c = 0; c < STEP_CHANNELS; c += VL)
                    v_store(inside + p * pitch + c, v_zero());
        else if (step == 1) {
            ask_for_row(job, run, i, channel, channels, begin);
            transpose_row(from, x->stride[1], channels, end - begin, inside, pitch);
        } else {
            real *gathered = job->scratch + job->l->gathered;
            for (int64_t c = 0; c < channels && begin < end; c++)
                gather_pixels(from + c * x->stride[1], step, end - begin, gathered + c * LINE_PIXELS);
            transpose_row(gathered, LINE_PIXELS, channels, end - begin, inside, pitch);
        }
        for (int64_t pixel = run->first; pixel < begin; pixel++)
            copy_pixel(job, g, channel, i, pixel, channels, to + (pixel - run->first) * pitch);
        for (int64_t pixel = end; pixel < last; pixel++)
            copy_pixel(job, g, channel, i, pixel, channels, to + (pixel - run->first) * pitch);
    }
}

/* The transform along height, from x or, `in_lines`, of the lines in place; and the largest magnitudes of pixels. */
FC_INLINE void transform_columns(const int tall, const pixel_run *run, int64_t channel, lane_mask low, lane_mask high,
                                 bool in_lines, real *lines, tile_magnitude *seen) {
    const int rows = tall ? WINDOW : 1;
    for (int64_t p = 0; p < run->count; p++) {
        tile_magnitude most = tile_no_magnitude();
        real *line = lines + p * rows * STEP_CHANNELS;
        for (int half = 0; half < 2; half++) {
            vec d[WINDOW], t[WINDOW];
            UNROLL for (int i = 0; i < rows; i++) {
                const real *from = (in_lines ? line + i * STEP_CHANNELS : run->at[p][i] + channel) + half * VL;
                d[i] = v_loadm(from, half ? high : low);
                if (!in_lines) /* the next step tile's, or the next pixel's */
                    __builtin_prefetch(from + STEP_CHANNELS);
                most = tile_see(most, d[i]);
            }
            column_step(tall, d, t);
            UNROLL for (int i = 0; i < rows; i++)
                v_store(line + i * STEP_CHANNELS + half * VL, t[i]);
        }
        seen[p] = most;
    }
}

/* The transform along width and the split, `tiles` tiles from lane `lane` on; `to` points at lane 0's step tile. */
FC_INLINE void transform_rows(const int tall, const int wide, int parts, const split_layout *l, int64_t tiles,
                              int64_t lane, const real *lines, const tile_magnitude *pixel_seen, real *seen,
                              real *inputs) {
    const int rows = tall ? WINDOW : 1, window = wide ? WINDOW : 1, step = wide ? OUT_TILE : 1;
    const int64_t pitch = rows * STEP_CHANNELS;
    for (int64_t t = 0; t < tiles; t++, pixel_seen += step) {
        __m512i most = _mm512_loadu_si512(seen + (lane + t) * VL);
        UNROLL for (int j = 0; j < window; j++)
            most = _mm512_max_epu32(most, pixel_seen[j]);
        _mm512_storeu_si512(seen + (lane + t) * VL, most);
    }
    /* Row by row, because each product's tiles lie on a page of their own, and few pages can be stored to at once. */
    for (int i = 0; i < rows; i++, lines += STEP_CHANNELS, inputs += window * l->product_stride)
        for (int64_t t = 0; t < tiles; t++) {
            const real *from = lines + t * step * pitch;
            real *to = inputs + (lane + t) / TILE_SIDE * l->tile_stride + (lane + t) % TILE_SIDE * TILE_PAIRS;
            vec low[WINDOW], high[WINDOW], d[WINDOW];
            UNROLL for (int j = 0; j < window; j++)
                d[j] = v_load(from + j * pitch);
            column_step(wide, d, low);
            UNROLL for (int j = 0; j < window; j++)
                d[j] = v_load(from + j * pitch + VL);
            column_step(wide, d, high);
            UNROLL for (int j = 0; j < window; j++)
                split_pairs(low[j], high[j], parts, to + j * l->product_stride);
        }
}

/* One run of pixels, step tiles [begin, end) of its slice; the first of them is step tile `tile` of the span. */
FC_INLINE void transform_run(const int tall, const int wide, int parts, const split_input *job,
                             const pixel_run *run, int64_t lane, int64_t tiles, int64_t begin, int64_t end,
                             int64_t tile, bool in_lines) {
    const split_layout *l = job->l;
    real *lines = job->scratch + l->lines, *seen = job->scratch + l->seen;
    tile_magnitude pixel_seen[LINE_PIXELS];
    for (int64_t k = begin; k < end; k++, tile++) {
        int64_t channel = k * STEP_CHANNELS, channels = smaller(STEP_CHANNELS, job->s->channels - channel);
        lane_mask low = v_mask(0, smaller(channels, VL)), high = v_mask(0, larger(channels - VL, 0));
        if (in_lines)
            transpose_pixels(job, run, job->group + channel * job->x->stride[1], channels);
        transform_columns(tall, run, channel, low, high, in_lines, lines, pixel_seen);
        transform_rows(tall, wide, parts, l, tiles, lane, lines, pixel_seen, seen,
                       job->scratch + l->inputs + tile * parts * TILE_DWORDS);
    }
}

static __attribute__((noinline)) void transform_any_run(int parts, const split_input *job, const pixel_run *run,
                                                        int64_t lane, int64_t tiles, int64_t begin, int64_t end,
                                                        int64_t tile, bool in_lines) {
    int tall = job->s->h.window > 1, wide = job->s->w.window > 1;
    switch (tall * 2 + wide) {
#define RUN_CASE(tall, wide) \
    case (tall) * 2 + (wide): \
        transform_run(tall, wide, parts, job, run, lane, tiles, begin, end, tile, in_lines); \
        return;
        RUN_CASE(0, 1)
        RUN_CASE(1, 0)
        RUN_CASE(1, 1)
    }
}

/* Step tiles [begin, end) of one panel. */
static void split_inputs(const split_input *job, int64_t begin, int64_t end) {
    const shape *s = job->s;
    int64_t per_slice = slice_tiles(s), most = (LINE_PIXELS - s->w.window) / s->w.step + 1;
    bool in_lines = job->x->stride[1] != 1;
    pixel_run run;
    for (int64_t tile = begin, next; tile < end; tile = next) {
        int64_t index = tile / per_slice, start = index * per_slice;
        next = smaller(start + per_slice, end);
        for (int64_t k = 0; k < job->segment_count; k++) {
            segment *g = &job->segments[k];
            resolve_rows(job->part, s, job->x, slice_of(s, index), g);
            run.g = g;
            for (int64_t t = 0, tiles; t < g->tiles; t += tiles) {
                tiles = smaller(divide_up(g->tiles, divide_up(g->tiles, most)), g->tiles - t);
                run.first = t * s->w.step;
                run.count = (tiles - 1) * s->w.step + s->w.window;
                if (!in_lines)
                    point_at_pixels(job, &run);
                transform_any_run(split_parts(job->part), job, &run, g->lane + t, tiles, tile - start, next - start,
                                  tile - begin, in_lines);
            }
        }
    }
}

#endif
