/* Padded rows: rows of x copied into scratch with their padding, as reals, so that kernels with pixels
 * along the lanes need no case for borders, strides, layouts or narrow types.
 *
 * A copied row keeps its stride phases apart: phase f holds the padded coordinates first + f, first + f +
 * stride, ... so that what tap k reads for consecutive outputs is consecutive:
 *     row[fc_tap_shift(k) + o] is padded coordinate (first output + o) * stride + k * dilation.
 * Bound: one vector load and one store per vector of x, plus a shuffle each at stride 2; element by
 * element when x is not dense along width or the stride is above 2.
 */
#ifndef FC_PADDED_ROWS_H
#define FC_PADDED_ROWS_H

#include "kernels/common/columns.h"

typedef struct fc_row_shape {
    int64_t phases;      /* stride phases some tap reads */
    int64_t phase_pitch; /* reals from one phase to the next */
    int64_t row_pitch;   /* reals from one row to the next */
} fc_row_shape;

FC_INLINE int64_t fc_axis_reach(const fc_axis *axis) { return (axis->kernel - 1) * axis->dilation; }

/* Rows for `columns` outputs. Vectors may read past a row into the next, lanes that are not stored, and a copy
 * may write there before the next row is copied; so a buffer of rows has ROW_SLACK reals after the last. */
enum { ROW_SLACK = 2 * VL };
FC_INLINE fc_row_shape fc_row_shape_of(const fc_axis *width, int64_t columns) {
    int64_t reach = fc_axis_reach(width);
    fc_row_shape shape;
    bool one = width->dilation % width->stride == 0; /* phase, whichever the tap */
    shape.phases = one ? 1 : width->stride < reach + 1 ? width->stride : reach + 1;
    shape.phase_pitch = (columns + reach / width->stride + VL - 1) / VL * VL;
    if (shape.phases > 1) /* phases are not copied in the order they lie in */
        shape.phase_pitch += VL;
    shape.row_pitch = shape.phases * shape.phase_pitch;
    return shape;
}

FC_INLINE int64_t fc_tap_shift(const fc_row_shape *shape, const fc_axis *width, int64_t tap) {
    int64_t q = tap * width->dilation;
    return width->stride == 1 ? q : q % width->stride * shape->phase_pitch + q / width->stride;
}

/* Where phase `phase` of outputs [first, first + count) lies in x: the lanes [begin, end) are inside. */
FC_INLINE fc_run_source fc_phase_run(const fc_axis *width, int64_t phase, int64_t first, int64_t count) {
    int64_t stride = width->stride;
    fc_run_source run = {.q = first * stride + phase, .row_inside = true};
    int64_t last_read = (count - 1) * stride + fc_axis_reach(width) - phase;
    int64_t before = width->pad_before - run.q, last = before + width->in - 1;
    if (stride == 1) { /* spares the divisions: this is done per strip and channel */
        run.count = last_read + 1;
        run.begin = before <= 0 ? 0 : before;
        run.end = last < 0 ? 0 : last + 1;
    } else {
        run.count = last_read < 0 ? 0 : last_read / stride + 1;
        run.begin = before <= 0 ? 0 : (before + stride - 1) / stride;
        run.end = last < 0 ? 0 : last / stride + 1;
    }
    run.end = run.end < run.count ? run.end : run.count;
    run.begin = run.begin < run.end ? run.begin : run.end;
    return run;
}

/* The lanes [from, to) of a run one by one, through the padding's map. */
FC_INLINE void fc_load_lanes(const fc_axis *width, const fc_run_source *run, const stor *row, int64_t step,
                             int64_t from, int64_t to, real *lanes) {
    for (int64_t i = from; i < to; i++) {
        int64_t source = fc_axis_source(width, run->q + i * width->stride);
        lanes[i] = source < 0 ? 0 : s_load(row + source * step);
    }
}

FC_INLINE void fc_zero_lanes(int64_t from, int64_t to, real *lanes) {
    for (int64_t i = from; i < to; i += VL)
        v_store(lanes + i, v_zero());
}

/* A run of consecutive elements. Stores up to VL lanes past the run. */
FC_INLINE void fc_copy_row(const fc_axis *width, const fc_run_source *run, const stor *row, real *to) {
    const stor *from = row + run->q + run->begin - width->pad_before;
    fc_zero_lanes(0, run->begin, to);
    int64_t i = run->begin;
    for (; i + VL <= run->end; i += VL, from += VL)
        v_store(to + i, v_loads(from));
    if (i < run->end) {
        v_store(to + i, v_loadsn(from, run->end - i));
        i += VL;
    }
    fc_zero_lanes(i, run->count, to);
    if (width->pad_mode != FC_PAD_ZEROS) {
        fc_load_lanes(width, run, row, 1, 0, run->begin, to);
        fc_load_lanes(width, run, row, 1, run->end, run->count, to);
    }
}

#if !FC_IS_NARROW
/* VL values of a dense row of `in` from place `at` on, zeros outside of it. */
FC_INLINE vec fc_load_padded(const real *row, int64_t in, int64_t at) {
    if (at >= 0 && at + VL <= in)
        return v_load(row + at);
    int64_t begin = at < 0 ? -at : 0, end = in - at < 0 ? 0 : in - at;
    return v_loadm(row + at, v_mask(begin < VL ? begin : VL, end < VL ? end : VL));
}
#endif

/* Both phases of a row at stride 2, x dense along width: pairs inside x through vectors. Stores up to VL lanes
 * past the runs. */
static __attribute__((unused, noinline)) void fc_copy_row_by_pairs(const fc_axis *width, const fc_run_source *even_run,
                                    const fc_run_source *odd_run, const stor *row, real *even, real *odd) {
#if !FC_IS_NARROW
    if (width->pad_mode == FC_PAD_ZEROS) {
        int64_t count = even_run->count > odd_run->count ? even_run->count : odd_run->count;
        int64_t at = even_run->q - width->pad_before;
        for (int64_t i = 0; i < count; i += VL, at += 2 * VL) {
            vec evens, odds;
            v_deinterleave(fc_load_padded(row, width->in, at), fc_load_padded(row, width->in, at + VL), &evens, &odds);
            v_store(even + i, evens);
            v_store(odd + i, odds);
        }
        return;
    }
#endif
    int64_t begin = even_run->begin > odd_run->begin ? even_run->begin : odd_run->begin;
    int64_t end = even_run->end < odd_run->end ? even_run->end : odd_run->end;
    end = end > begin ? end : begin;
    const stor *from = row + even_run->q + 2 * begin - width->pad_before;
    for (int64_t i = begin; i < end; i += VL, from += 2 * VL) {
        int64_t left = 2 * (end - i);
        vec low = left >= VL ? v_loads(from) : v_loadsn(from, left);
        vec high = left >= 2 * VL ? v_loads(from + VL) : left > VL ? v_loadsn(from + VL, left - VL) : v_zero();
        vec evens, odds;
        v_deinterleave(low, high, &evens, &odds);
        v_store(even + i, evens);
        v_store(odd + i, odds);
    }
    bool zeros = width->pad_mode == FC_PAD_ZEROS;
    for (int side = 0; side < 2; side++) {
        const fc_run_source *run = side ? odd_run : even_run;
        real *to = side ? odd : even;
        int64_t left = zeros ? run->begin : 0, right = !zeros ? run->count : run->end > end ? run->end : end;
        fc_load_lanes(width, run, row, 1, left, begin, to);
        fc_load_lanes(width, run, row, 1, end, right, to);
        if (zeros) {
            fc_fill_zeros(to, left);
            fc_fill_zeros(to + right, run->count - right);
        }
    }
}

/* Copies `count` rows, those of outputs [first, first + columns): row i from sources[i], which points at x's
 * row, or zeros where that is NULL, to `to` + i * row_pitch. */
static __attribute__((unused)) void fc_copy_rows(const fc_axis *width, const fc_row_shape *shape,
                                                 const stor *const *sources, int64_t count,
                                                 int64_t width_stride, int64_t first, int64_t columns,
                                                 real *to) {
    bool pairs = width->stride == 2 && shape->phases == 2 && width_stride == 1;
    for (int64_t phase = 0; phase < shape->phases; phase += pairs ? 2 : 1) {
        fc_run_source run = fc_phase_run(width, phase, first, columns);
        fc_run_source odd = fc_phase_run(width, phase + pairs, first, columns);
        real *row = to + phase * shape->phase_pitch;
        for (int64_t i = 0; i < count; i++, row += shape->row_pitch) {
            if (sources[i] == NULL)
                fc_zero_lanes(0, pairs ? shape->row_pitch : run.count, row);
            else if (pairs)
                fc_copy_row_by_pairs(width, &run, &odd, sources[i], row, row + shape->phase_pitch);
            else if (width->stride * width_stride == 1)
                fc_copy_row(width, &run, sources[i], row);
            else
                fc_load_run(width, &run, sources[i], width_stride, row);
        }
    }
}

/* One row of `channels` channels, dense in x, `step` from pixel to pixel, into rows `to_step` apart, with phases as
 * fc_copy_rows; zeros where `row` is NULL. */
static __attribute__((unused)) void fc_turn_row(const fc_axis *width, const fc_row_shape *shape, const stor *row,
                                                int64_t step, int64_t channels, int64_t first, int64_t columns,
                                                real *to, int64_t to_step) {
    for (int64_t phase = 0; phase < shape->phases; phase++, to += shape->phase_pitch) {
        fc_run_source run = fc_phase_run(width, phase, first, columns);
        run.row_inside = row != NULL;
        fc_turn_runs(width, &run, row, channels, step, to, to_step);
    }
}

#endif
