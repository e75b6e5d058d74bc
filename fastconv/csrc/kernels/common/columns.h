/* The panel of columns: for a run of output pixels, the x values each step of the reduction needs.
 *
 * panel[k * pitch + lane] is what tap and channel k (channel-major: k = channel * taps + tap) read for
 * output pixel first + lane; lanes past `count` hold zeros up to a whole vector. Padding, stride, dilation and layout are all
 * resolved here, so a panel of a few tens of KB replaces im2col. Bound: loads and stores, one vector each
 * per vector of the panel when x is dense along width and the stride is 1.
 */
#ifndef FC_COLUMNS_H
#define FC_COLUMNS_H

#include "kernels/common/epilogue.h"

/* `count` values from x[0], x[step], ... as reals. */
FC_INLINE void fc_copy_run(real *to, const stor *x, int64_t step, int64_t count) {
    if (step == 1) {
        int64_t i = 0;
        for (; i + VL <= count; i += VL)
            v_store(to + i, v_loads(x + i));
        if (i < count)
            v_storen(to + i, v_loadsn(x + i, count - i), count - i);
    } else {
        int64_t i = 0;
#if !FC_IS_NARROW
        if (step == 2) {
            for (vec part[2]; i + VL < count; i += VL) { /* the last value read is the last that is needed */
                v_deinterleave2(x + i * 2, part);
                v_store(to + i, part[0]);
            }
            if (i < count) {
                int64_t left = 2 * (count - i) - 1;
                vec low = v_loadn(x + i * 2, left < VL ? left : VL), odd;
                v_deinterleave(low, left > VL ? v_loadn(x + i * 2 + VL, left - VL) : v_zero(), &low, &odd);
                v_storen(to + i, low, count - i);
            }
            return;
        }
        if (step == 4)
            for (vec part[4]; i + VL < count; i += VL) {
                v_deinterleave4(x + i * 4, part);
                v_store(to + i, part[0]);
            }
#endif
        for (; i < count; i++)
            to[i] = s_load(x + i * step);
    }
}

/* One tap over one run of output pixels of one row, for one channel. `row` points at x's row or is NULL when
 * the row is padding; q is the padded width coordinate of the first pixel. */
typedef struct fc_run_source {
    int64_t lane, count;     /* lanes of the panel */
    int64_t offset;          /* of the row in x, from the channel's start; < 0 never */
    int64_t q;               /* padded width coordinate read by the first lane */
    int64_t begin, end;      /* lanes of the run inside x: [begin, end) */
    bool row_inside;
} fc_run_source;

FC_INLINE void fc_fill_zeros(real *to, int64_t count) {
    int64_t i = 0;
    for (; i + VL <= count; i += VL)
        v_store(to + i, v_zero());
    if (i < count)
        v_storen(to + i, v_zero(), count - i);
}

/* The lanes of a run outside of x; `row` points at x's row, or is NULL where that is padding. */
FC_INLINE void fc_load_sides(const fc_axis *width, const fc_run_source *run, const stor *row, int64_t width_stride,
                             real *to) {
    bool zeros = row == NULL || width->pad_mode == FC_PAD_ZEROS;
    for (int64_t side = 0; side < 2; side++) {
        int64_t i = side ? run->end : 0, stop = side ? run->count : run->begin;
        if (zeros)
            fc_fill_zeros(to + i, stop - i);
        for (; !zeros && i < stop; i++) {
            int64_t source = fc_axis_source(width, run->q + i * width->stride);
            to[i] = source < 0 ? 0 : s_load(row + source * width_stride);
        }
    }
}

/* Whether runs of no more than a vector of pixels are dense in x, and zeros outside of it. */
FC_INLINE bool fc_runs_are_vectors(const fc_axis *width, const fc_tensor *x) {
    return !FC_IS_NARROW && width->stride * x->stride[4] == 1 && width->pad_mode == FC_PAD_ZEROS;
}

/* Such runs of `count` channels as whole vectors where the panel has room for them, since later runs overwrite what lies past
 * these. */
static __attribute__((unused, noinline)) void fc_load_short_runs(const fc_axis *width, const fc_run_source *run,
                                                                 const stor *channel, int64_t channel_step, int64_t count,
                                                                 bool room, real *to, int64_t to_step) {
    const stor *from = channel + run->offset + run->q - width->pad_before;
    lane_mask inside = v_mask(run->begin, run->end);
    for (int64_t c = 0; c < count; c++, from += channel_step, to += to_step) {
        vec x = run->row_inside ? v_loadm((const real *)(const void *)from, inside) : v_zero(); /* stor is real */
        if (room)
            v_store(to, x);
        else
            v_storen(to, x, run->count);
    }
}

/* The first value of a run inside x, from its row's start. */
FC_INLINE int64_t fc_run_begin(const fc_axis *width, const fc_run_source *run, int64_t width_stride) {
    return (run->q + run->begin * width->stride - width->pad_before) * width_stride;
}

FC_INLINE void fc_load_run(const fc_axis *width, const fc_run_source *run, const stor *channel,
                           int64_t width_stride, real *to) {
    if (!run->row_inside) {
        fc_fill_zeros(to, run->count);
        return;
    }
    const stor *row = channel + run->offset;
    if (run->begin > 0 || run->end < run->count)
        fc_load_sides(width, run, row, width_stride, to);
    if (run->begin < run->end)
        fc_copy_run(to + run->begin, row + fc_run_begin(width, run, width_stride), width->stride * width_stride,
                    run->end - run->begin);
}

/* Whether the runs of several channels, dense in x and `step` from pixel to pixel, are worth turning around together: they
 * are neither so few nor so close that vectors draw them from its lines as well. */
FC_INLINE bool fc_channels_turn(const fc_axis *width, int64_t step, int64_t channels) {
    step *= width->stride;
    return step != 1 && (FC_IS_NARROW || (step != 2 && step != 4)) && channels >= 2 && 4 * channels >= VL;
}

FC_INLINE bool fc_runs_turn(const fc_axis *width, const fc_tensor *x, int64_t channels) {
    return x->stride[1] == 1 && fc_channels_turn(width, x->stride[4], channels);
}

/* The sides of the runs of `channels` channels, before what lies inside x: where they are zeros, whole vectors of these,
 * of which that overwrites a part. */
static __attribute__((unused, noinline)) void fc_turn_sides(const fc_axis *width, const fc_run_source *run, const stor *row,
                                                            int64_t channels, int64_t width_stride, real *to,
                                                            int64_t to_step) {
    int64_t left = run->begin, right = run->count - run->end;
    bool zeros = row != NULL && width->pad_mode == FC_PAD_ZEROS && left <= VL && right <= VL;
    if (zeros && run->count >= VL) {
        for (int64_t c = 0; c < channels; c++, to += to_step) {
            if (left > 0)
                v_store(to, v_zero());
            if (right > 0)
                v_store(to + run->count - VL, v_zero());
        }
    } else if (zeros) {
        for (int64_t c = 0; c < channels; c++)
            v_storen(to + c * to_step, v_zero(), run->count);
    } else {
        for (int64_t c = 0; c < channels; c++)
            fc_load_sides(width, run, row == NULL ? NULL : row + c, width_stride, to + c * to_step);
    }
}

/* The runs of `channels` channels, dense in x, `to_step` apart: lines of x are read once for all of them. Nothing is
 * written past the runs. */
static __attribute__((unused)) void fc_turn_runs(const fc_axis *width, const fc_run_source *run, const stor *channel,
                                                 int64_t channels, int64_t width_stride, real *to, int64_t to_step) {
    fc_run_source inside = *run;
    if (!run->row_inside)
        inside.begin = inside.end = inside.count;
    const stor *row = run->row_inside ? channel + run->offset : NULL;
    if (inside.begin > 0 || inside.end < inside.count)
        fc_turn_sides(width, &inside, row, channels, width_stride, to, to_step);
    if (inside.begin < inside.end)
        fc_transpose_x(row + fc_run_begin(width, &inside, width_stride), width->stride * width_stride,
                       inside.end - inside.begin, channels, to + inside.begin, to_step);
}

/* Where tap (kd, kh, kw) of the run of `count` pixels from `pixel` reads. */
FC_INLINE fc_run_source fc_run_of(const fc_part *part, const fc_tensor *x, fc_pixel pixel, int64_t lane,
                                  int64_t count, int64_t kd, int64_t kh, int64_t kw) {
    const fc_axis *depth = &part->axis[0], *height = &part->axis[1], *width = &part->axis[2];
    int64_t d = fc_axis_source(depth, pixel.d * depth->stride + kd * depth->dilation);
    int64_t h = fc_axis_source(height, pixel.h * height->stride + kh * height->dilation);
    fc_run_source run = {.lane = lane, .count = count};
    run.row_inside = d >= 0 && h >= 0;
    run.offset = d * x->stride[2] + h * x->stride[3];
    run.q = pixel.w * width->stride + kw * width->dilation;
    int64_t first = width->pad_before - run.q; /* smallest i * stride inside x */
    int64_t last = first + width->in - 1;      /* largest */
    run.begin = first <= 0 ? 0 : fc_quotient(first + width->stride - 1, width->stride);
    run.end = last < 0 ? 0 : (last >= count * width->stride ? count : fc_quotient(last, width->stride) + 1);
    if (run.end > count)
        run.end = count;
    if (run.begin > run.end)
        run.begin = run.end;
    return run;
}

/* Whether the one tap reads each pixel's own place, so that pixels are one run where x's planes join. */
FC_INLINE bool fc_pixels_are_line(const fc_part *part) {
    bool same = part->taps == 1;
    for (int i = 0; i < FC_MAX_SPATIAL; i++) {
        const fc_axis *axis = &part->axis[i];
        same &= axis->in == axis->out && axis->stride == 1 && axis->pad_before == 0;
    }
    return same;
}

/* Fills panel for reduction steps [k_begin, k_end) of group `group`, image n. */
static __attribute__((unused)) void fc_load_columns(const fc_call *call, int64_t n, int64_t group, int64_t first, int64_t count,
                                          int64_t k_begin, int64_t k_end, int64_t pitch, real *panel) {
    const fc_part *part = call->part;
    const fc_tensor *x = &call->tensors.x;
    int64_t taps = part->taps;
    int64_t c_begin = k_begin / taps;
    const stor *image = (const stor *)x->data + n * x->stride[0] + group * part->group_in_ch * x->stride[1];
    fc_pixel pixel = fc_pixel_at(part, first);
    bool line = fc_pixels_are_line(part) && fc_planes_join(part, x);
    bool vectors = !line && fc_runs_are_vectors(&part->axis[2], x);
    for (int64_t lane = 0; lane < count;) {
        int64_t run_count = line ? count : part->axis[2].out - pixel.w;
        if (run_count > count - lane)
            run_count = count - lane;
        bool is_vector = vectors && run_count <= VL;
        for (int64_t tap = 0, kd = 0, kh = 0, kw = 0; tap < taps; tap++) {
            /* A chunk shorter than a channel's taps has steps of few of them. */
            int64_t c = c_begin * taps + tap < k_begin ? c_begin + 1 : c_begin, k = c * taps + tap;
            if (k < k_end) {
                fc_run_source run = fc_run_of(part, x, pixel, lane, run_count, kd, kh, kw);
                if (line)
                    run.end = run_count; /* past the row's, which is followed by the next */
                const stor *channel = image + c * x->stride[1];
                int64_t channels = fc_quotient(k_end - k + taps - 1, taps);
                if (fc_runs_turn(&part->axis[2], x, channels)) {
                    fc_turn_runs(&part->axis[2], &run, channel, channels, x->stride[4],
                                 panel + (k - k_begin) * pitch + lane, taps * pitch);
                    k = k_end;
                } else if (is_vector) {
                    fc_load_short_runs(&part->axis[2], &run, channel, x->stride[1], channels, lane + VL <= pitch,
                                       panel + (k - k_begin) * pitch + lane, taps * pitch);
                    k = k_end;
                }
                for (; k < k_end; k += taps, channel += x->stride[1])
                    fc_load_run(&part->axis[2], &run, channel, x->stride[4], panel + (k - k_begin) * pitch + lane);
            }
            if (++kw == part->axis[2].kernel) {
                kw = 0;
                if (++kh == part->axis[1].kernel) {
                    kh = 0;
                    kd++;
                }
            }
        }
        lane += run_count;
        pixel.w += run_count - 1;
        fc_pixel_next_row(part, &pixel);
    }
    int64_t whole = round_up(count, VL);
    for (int64_t k = 0; count < whole && k < k_end - k_begin; k++)
        for (int64_t lane = count; lane < whole; lane++)
            panel[k * pitch + lane] = 0;
}

#endif
