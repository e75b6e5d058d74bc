/* From x to transformed inputs, one panel of tiles at a time.
 *
 * Per step of the reduction: the transform along height runs over pixels as they lie in x and writes
 * `lines`, one per window row, in which tile t's own pixels are at t * step_w; segments follow each other
 * without a gap, so the HALO pixels a window reaches into the next tiles are overwritten when one of those
 * starts another row. They are kept in further copies of the lines, one per tile a window touches. All are then
 * split into vectors over tiles for the transform along width. Padding is put in after the transform along
 * height, column by column. x whose pixels are not dense goes through a dense stage first, VL channels at
 * a time.
 * Bound: loads, stores and shuffles; about 5 of them per product vector, spread over all output channels.
 */
#ifndef FC_WINOGRAD_INPUT_H
#define FC_WINOGRAD_INPUT_H

#include "kernels/winograd/shape.h"

/* Padded coordinates from here on are read by no output. */
FC_INLINE int64_t coordinate_end(const fc_axis *axis) { return axis->out - 1 + axis->kernel; }

/* The source of padded coordinate q along an axis, -1 also for those that only overhanging tiles reach. */
FC_INLINE int64_t source_of(const fc_axis *axis, int64_t q) {
    return q < coordinate_end(axis) ? fc_axis_source(axis, q) : -1;
}

/* Cuts lanes [0, count) from tile `first` on into segments; returns their number. */
static int64_t cut_segments(const fc_part *part, const shape *s, int64_t first, int64_t count, segment *segments) {
    const fc_axis *width = &part->axis[2];
    int64_t number = 0;
    for (int64_t lane = 0; lane < count; number++) {
        int64_t tile = first + lane, row = tile / s->tile_cols;
        segment *g = &segments[number];
        g->lane = lane;
        g->tile_col = tile % s->tile_cols;
        g->tiles = smaller(s->tile_cols - g->tile_col, count - lane);
        g->tile_row = row % s->tile_rows;
        g->d = row / s->tile_rows;
        g->first = g->tile_col * s->step_w;
        g->pixels = s->step_w * (g->tiles - 1) + s->window_w;
        int64_t begin = width->pad_before - g->first;
        int64_t end = smaller(width->in + width->pad_before, coordinate_end(width)) - g->first;
        g->end = end < 0 ? 0 : smaller(end, g->pixels);
        g->begin = begin < 0 ? 0 : smaller(begin, g->end);
        lane += g->tiles;
    }
    return number;
}

/* Where the window rows of a segment lie for one depth tap. */
static void resolve_rows(const fc_part *part, const shape *s, const fc_tensor *x, int64_t depth_tap, segment *g) {
    const fc_axis *depth = &part->axis[0];
    int64_t d = fc_axis_source(depth, g->d * depth->stride + depth_tap * depth->dilation);
    for (int64_t i = 0; i < s->window_h; i++) {
        int64_t h = source_of(&part->axis[1], g->tile_row * s->step_h + i);
        g->offset[i] = d < 0 || h < 0 ? OUTSIDE : d * x->stride[2] + h * x->stride[3];
    }
}

/* Rows of one segment for one channel: in x itself, or in the stage, where `real` and dense. */
typedef struct window_rows {
    const stor *x[WINDOW]; /* pixel 0 of the row's x */
    const real *staged[WINDOW]; /* pixel `begin` of the segment */
} window_rows;

/* Transforms VL (or n) pixels along height. */
FC_INLINE void column_step(const int tall, const vec d[WINDOW], vec t[WINDOW]) {
    if (tall)
        tile_input(d, t);
    else
        t[0] = d[0];
}

enum { COPY_PITCH = WINDOW * LINE_PITCH };
#define HALO_OF(k) ((k) * OUT_TILE < HALO ? (k) * OUT_TILE : HALO)
#define EVERY_COPY(k, wide) for (int k = 0; k < ((wide) ? COPIES : 1); k++)

/* Padding columns: zeros, or the transform of the column that the padding mode reads. */
FC_INLINE void put_padding(const int tall, const int wide, const fc_part *part, const fc_tensor *x,
                           const segment *g, const stor *channel, real *to, int64_t begin, int64_t end) {
    const fc_axis *width = &part->axis[2];
    for (int64_t pixel = begin; pixel < end; pixel++) {
        int64_t source = source_of(width, g->first + pixel);
        vec d[WINDOW], t[WINDOW];
        if (source < 0) {
            for (int i = 0; i < (tall ? WINDOW : 1); i++)
                EVERY_COPY(k, wide) to[i * LINE_PITCH + pixel + k * COPY_PITCH] = 0;
            continue;
        }
        for (int i = 0; i < (tall ? WINDOW : 1); i++)
            d[i] = g->offset[i] == OUTSIDE
                       ? v_zero()
                       : v_loadsn(channel + g->offset[i] + source * x->stride[4], 1);
        column_step(tall, d, t);
        for (int i = 0; i < (tall ? WINDOW : 1); i++)
            EVERY_COPY(k, wide) v_storen(to + i * LINE_PITCH + pixel + k * COPY_PITCH, t[i], 1);
    }
}

/* One segment of one channel, from x or the stage into the lines. Full vectors are stored past its end:
 * the next segment, or nobody, owns what lies there. */
FC_INLINE void fill_lines(const int tall, const int wide, const int staged, const fc_part *part, const fc_tensor *x,
                          const segment *g, const stor *channel, const real *stage, int64_t stage_pitch,
                          const stor *zeros, real *to) {
    real halo[COPIES][WINDOW][HALO]; /* of copy k, the pixels that the k tiles before reach into */
    if (wide)
        for (int i = 0; i < (tall ? WINDOW : 1); i++)
            UNROLL for (int k = 1; k < COPIES; k++)
                memcpy(halo[k][i], to + i * LINE_PITCH + k * COPY_PITCH, HALO_OF(k) * sizeof(real));
    put_padding(tall, wide, part, x, g, channel, to, 0, g->begin);
    const stor *row[WINDOW];
    if (!staged)
        for (int i = 0; i < (tall ? WINDOW : 1); i++)
            row[i] = g->offset[i] == OUTSIDE ? zeros
                                             : channel + g->offset[i] + g->first + g->begin - part->axis[2].pad_before;
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
    put_padding(tall, wide, part, x, g, channel, to, g->end, g->pixels);
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
    int64_t skip = g->first + g->begin - part->axis[2].pad_before, count = g->end - g->begin;
    for (int64_t i = 0; i < s->window_h; i++) {
        const stor *from = block + g->offset[i] + skip * x->stride[4];
        real *to = stage + i * row_pitch;
        if (g->offset[i] == OUTSIDE)
            for (int64_t c = 0; c < channels; c++)
                memset(to + c * channel_pitch, 0, (size_t)count * sizeof(real));
        else if (x->stride[1] == 1)
            fc_transpose_x(from, x->stride[4], count, channels, to, channel_pitch);
        else
            for (int64_t c = 0; c < channels; c++)
                for (int64_t p = 0; p < count; p++)
                    to[c * channel_pitch + p] = s_load(from + c * x->stride[1] + p * x->stride[4]);
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

/* Steps [begin, end), whole channels, of one panel. */
FC_INLINE void transform_steps(const int tall, const int wide, const int staged, const input_job *job, int64_t begin,
                               int64_t end) {
    const shape *s = job->s;
    const layout *l = job->l;
    real *scratch = job->scratch;
    int64_t lanes = job->lanes, channel_pitch = l->stage_channel;
    int64_t c_end = end / s->depth_taps;
    for (int64_t tap = 0; tap < s->depth_taps; tap++) {
        for (int64_t g = 0; g < job->segment_count; g++)
            resolve_rows(job->part, s, job->x, tap, &job->segments[g]);
        for (int64_t c = begin / s->depth_taps, block = c; c < c_end; c++) {
            if (staged && (c - block) % VL == 0) {
                block = c;
                for (int64_t g = 0; g < job->segment_count; g++)
                    fill_stage(job->part, s, job->x, &job->segments[g], job->group + c * job->x->stride[1],
                               smaller(VL, c_end - c),
                               scratch + l->stage + job->segments[g].lane * s->window_w, channel_pitch,
                               l->stage_pitch);
            }
            const real *stage = scratch + l->stage + (c - block) * channel_pitch;
            for (int64_t g = 0; g < job->segment_count; g++) {
                int64_t lane = job->segments[g].lane;
                fill_lines(tall, wide, staged, job->part, job->x, &job->segments[g],
                           job->group + c * job->x->stride[1], stage + lane * s->window_w, l->stage_pitch,
                           (const stor *)(scratch + l->zeros), scratch + l->lines + lane * s->step_w);
            }
            split_lines(tall, wide, job->vecs, lanes, scratch + l->lines,
                        scratch + l->inputs + (c * s->depth_taps + tap - begin) * lanes, l->input_stride);
        }
    }
}

static void transform_input(const input_job *job, int64_t begin, int64_t end) {
    int tall = job->s->window_h > 1, wide = job->s->window_w > 1;
    bool dense = job->x->stride[4] == 1 || job->part->axis[2].in == 1;
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
