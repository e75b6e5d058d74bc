/* From x to transformed inputs, one panel of tiles at a time.
 *
 * Per step of the reduction: the transform along height runs over pixels as they lie in x and writes
 * `lines`, one per window row, in which tile t's own pixels are at t * step_w; segments follow each other
 * without a gap, so the HALO pixels a window reaches into the next tiles are overwritten when one of those
 * starts another row. They are kept in further copies of the lines, one per tile a window touches. All are then
 * split into vectors over tiles for the transform along width. Padding is put in after the transform along
 * height, column by column. x whose pixels are not dense, or which stride or dilation steps over, goes through a
 * dense stage first, VL channels at a time.
 * Bound: loads, stores and shuffles; about 5 of them per product vector, spread over all output channels.
 */
#ifndef FC_WINOGRAD_INPUT_H
#define FC_WINOGRAD_INPUT_H

#include "kernels/winograd/scratch.h"
#include "kernels/winograd/segments.h"

enum { COPY_PITCH = WINDOW * LINE_PITCH };
#define HALO_OF(k) ((k) * OUT_TILE < HALO ? (k) * OUT_TILE : HALO)
#define EVERY_COPY(k, wide) for (int k = 0; k < ((wide) ? COPIES : 1); k++)

/* Padding columns: zeros, or the transform of the column that the padding mode reads. */
FC_INLINE void put_padding(const int tall, const int wide, const fc_part *part, const shape *s, const fc_tensor *x,
                           const segment *g, const stor *channel, real *to, int64_t begin, int64_t end) {
    for (int64_t pixel = begin; pixel < end; pixel++) {
        if (s->fold == 0 && source_of(&part->axis[2], g->q + pixel * s->w.lattice) < 0) {
            for (int i = 0; i < (tall ? WINDOW : 1); i++)
                EVERY_COPY(k, wide) to[i * LINE_PITCH + pixel + k * COPY_PITCH] = 0;
            continue;
        }
        vec d[WINDOW], t[WINDOW];
        for (int i = 0; i < (tall ? WINDOW : 1); i++) {
            const stor *from = pixel_at(part, s, x, g, channel, i, pixel);
            d[i] = from == NULL ? v_zero() : v_loadsn(from, 1);
        }
        column_step(tall, d, t);
        for (int i = 0; i < (tall ? WINDOW : 1); i++)
            EVERY_COPY(k, wide) v_storen(to + i * LINE_PITCH + pixel + k * COPY_PITCH, t[i], 1);
    }
}

/* One segment of one channel, from x or the stage into the lines. Full vectors are stored past its end:
 * the next segment, or nobody, owns what lies there. */
FC_INLINE void fill_lines(const int tall, const int wide, const int staged, const fc_part *part, const shape *s,
                          const fc_tensor *x, const segment *g, const stor *channel, const real *stage,
                          int64_t stage_pitch, const stor *zeros, real *to) {
    real halo[COPIES][WINDOW][HALO]; /* of copy k, the pixels that the k tiles before reach into */
    if (wide)
        for (int i = 0; i < (tall ? WINDOW : 1); i++)
            UNROLL for (int k = 1; k < COPIES; k++)
                memcpy(halo[k][i], to + i * LINE_PITCH + k * COPY_PITCH, HALO_OF(k) * sizeof(real));
    put_padding(tall, wide, part, s, x, g, channel, to, 0, g->begin);
    const stor *row[WINDOW];
    int64_t first = g->q + g->begin * s->w.lattice - part->axis[2].pad_before; /* of x inside */
    if (!staged)
        for (int i = 0; i < (tall ? WINDOW : 1); i++)
            row[i] = g->offset[i] == OUTSIDE ? zeros : channel + g->offset[i] + first;
    int64_t inside = g->end - g->begin;
    uintptr_t ahead = (uintptr_t)x->stride[1] * sizeof(stor);
    for (int64_t at = 0; at < inside; at += VL) {
        vec d[WINDOW], t[WINDOW];
        int64_t n = inside - at;
        for (int i = 0; i < (tall ? WINDOW : 1); i++)
            if (staged)
                d[i] = n >= VL ? v_load(stage + i * stage_pitch + at) : v_loadn(stage + i * stage_pitch + at, n);
            else {
                d[i] = n >= VL ? v_loads(row[i] + at) : v_loadsn(row[i] + at, n);
                /* Rows are too short for the hardware to foresee the next channel's. */
                __builtin_prefetch((const void *)((uintptr_t)(row[i] + at) + ahead));
            }
        column_step(tall, d, t);
        real *line = to + g->begin + at;
        for (int i = 0; i < (tall ? WINDOW : 1); i++)
            EVERY_COPY(k, wide) v_store(line + i * LINE_PITCH + k * COPY_PITCH, t[i]);
    }
    put_padding(tall, wide, part, s, x, g, channel, to, g->end, g->pixels);
    if (wide)
        for (int i = 0; i < (tall ? WINDOW : 1); i++)
            UNROLL for (int k = 1; k < COPIES; k++)
                memcpy(to + i * LINE_PITCH + k * COPY_PITCH, halo[k][i], HALO_OF(k) * sizeof(real));
}

/* The transform along width, from the lines to the products' blocks. */
FC_INLINE void split_lines(const int tall, const int wide, int64_t vecs, int64_t lanes, const real *lines, real *to,
                           int64_t to_stride) {
    for (int64_t v = 0; v < vecs; v++)
        for (int i = 0; i < (tall ? WINDOW : 1); i++) {
            vec d[COPIES * OUT_TILE], t[WINDOW];
            if (wide) {
                EVERY_COPY(k, wide)
                    tile_split(lines + k * COPY_PITCH + i * LINE_PITCH + (v * VL + k) * OUT_TILE,
                               d + k * OUT_TILE);
                tile_input(d, t);
            } else {
                t[0] = v_load(lines + i * LINE_PITCH + v * VL);
            }
            for (int j = 0; j < (wide ? WINDOW : 1); j++)
                if (lanes >= VL)
                    v_store(to + (i * (wide ? WINDOW : 1) + j) * to_stride + v * VL, t[j]);
                else
                    v_storen(to + (i * (wide ? WINDOW : 1) + j) * to_stride, t[j], lanes);
        }
}

/* Makes the rows of one segment dense for `channels` channels. */
static void fill_stage(const fc_part *part, const shape *s, const fc_tensor *x, const segment *g, const stor *block,
                       int64_t channels, real *stage, int64_t channel_pitch, int64_t row_pitch) {
    int64_t count = g->end - g->begin, step = x->stride[4] * s->w.lattice;
    int64_t skip = g->q + g->begin * s->w.lattice - part->axis[2].pad_before;
    if (count == 0)
        return;
    for (int64_t i = 0; i < s->h.window; i++) {
        const stor *from = block + g->offset[i] + skip * x->stride[4];
        real *to = stage + i * row_pitch;
        if (g->offset[i] == OUTSIDE)
            for (int64_t c = 0; c < channels; c++)
                memset(to + c * channel_pitch, 0, (size_t)count * sizeof(real));
        else if (x->stride[1] == 1)
            fc_transpose_x(from, step, count, channels, to, channel_pitch);
        else
            for (int64_t c = 0; c < channels; c++)
                gather_pixels(from + c * x->stride[1], step, count, to + c * channel_pitch);
    }
}

typedef struct input_job {
    const fc_part *part;
    const shape *s;
    const layout *l;
    const fc_tensor *x;
    const stor *group; /* channel 0 of the group, of the image */
    segment *segments;
    int64_t segment_count, vecs;
    int64_t lanes; /* of a step of the transformed inputs: vecs * VL, or fewer than VL */
    real *scratch;
} input_job;

/* Channels [c, c_end) of the slice that the segments are resolved for; inputs go to `to`. */
FC_INLINE void transform_channels(const int tall, const int wide, const int staged, const input_job *job, int64_t c,
                                  int64_t c_end, real *to) {
    const shape *s = job->s;
    const layout *l = job->l;
    real *scratch = job->scratch;
    for (int64_t first = c; c < c_end; c++, to += job->lanes) {
        int64_t staged_at = (c - first) % VL;
        const stor *channel = job->group + c * job->x->stride[1];
        for (int64_t k = 0; staged && staged_at == 0 && k < job->segment_count; k++)
            fill_stage(job->part, s, job->x, &job->segments[k], channel, smaller(VL, c_end - c),
                       scratch + l->stage + job->segments[k].lane * s->w.window, l->stage_channel, l->stage_pitch);
        const real *stage = scratch + l->stage + staged_at * l->stage_channel;
        for (int64_t k = 0; k < job->segment_count; k++) {
            int64_t lane = job->segments[k].lane;
            fill_lines(tall, wide, staged, job->part, s, job->x, &job->segments[k], channel,
                       stage + lane * s->w.window, l->stage_pitch, (const stor *)(scratch + l->zeros),
                       scratch + l->lines + lane * s->w.step);
        }
        split_lines(tall, wide, job->vecs, job->lanes, scratch + l->lines, to, l->input_stride);
    }
}

/* Steps [begin, end) of one panel. */
FC_INLINE void transform_steps(const int tall, const int wide, const int staged, const input_job *job, int64_t begin,
                               int64_t end) {
    const shape *s = job->s;
    real *to = job->scratch + job->l->inputs;
    for (int64_t step = begin, next; step < end; step = next) {
        int64_t index = step / s->channels, start = index * s->channels;
        next = smaller(start + s->channels, end);
        for (int64_t k = 0; k < job->segment_count; k++)
            resolve_rows(job->part, s, job->x, slice_of(s, index), &job->segments[k]);
        transform_channels(tall, wide, staged, job, step - start, next - start, to + (step - begin) * job->lanes);
    }
}

static void transform_input(const input_job *job, int64_t begin, int64_t end) {
    int tall = job->s->h.window > 1, wide = job->s->w.window > 1;
    bool dense = job->x->stride[4] * job->s->w.lattice == 1 || job->part->axis[2].in == 1;
    if (tall && wide && dense)
        transform_steps(1, 1, 0, job, begin, end);
    else if (tall && wide)
        transform_steps(1, 1, 1, job, begin, end);
    else if (tall && dense)
        transform_steps(1, 0, 0, job, begin, end);
    else if (tall)
        transform_steps(1, 0, 1, job, begin, end);
    else if (dense)
        transform_steps(0, 1, 0, job, begin, end);
    else
        transform_steps(0, 1, 1, job, begin, end);
}

#endif
