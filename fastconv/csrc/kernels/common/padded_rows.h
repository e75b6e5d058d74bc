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

/* Rows for `columns` outputs, a multiple of VL. */
FC_INLINE fc_row_shape fc_row_shape_of(const fc_axis *width, int64_t columns) {
    int64_t reach = fc_axis_reach(width);
    fc_row_shape shape;
    shape.phases = width->stride < reach + 1 ? width->stride : reach + 1;
    shape.phase_pitch = (columns + reach / width->stride + VL - 1) / VL * VL;
    shape.row_pitch = shape.phases * shape.phase_pitch;
    return shape;
}

FC_INLINE int64_t fc_tap_shift(const fc_row_shape *shape, const fc_axis *width, int64_t tap) {
    int64_t q = tap * width->dilation;
    return width->stride == 1 ? q : q % width->stride * shape->phase_pitch + q / width->stride;
}

/* Where phase `phase` of outputs [first, first + count) lies in x: the lanes [begin, end) are inside. */
FC_INLINE fc_run_source fc_phase_run(const fc_axis *width, int64_t phase, int64_t first, int64_t count) {
    fc_run_source run = {.q = first * width->stride + phase, .row_inside = true};
    int64_t last_read = (count - 1) * width->stride + fc_axis_reach(width) - phase;
    run.count = last_read < 0 ? 0 : last_read / width->stride + 1;
    int64_t before = width->pad_before - run.q, last = before + width->in - 1;
    run.begin = before <= 0 ? 0 : (before + width->stride - 1) / width->stride;
    run.end = last < 0 ? 0 : last / width->stride + 1;
    run.end = run.end < run.count ? run.end : run.count;
    run.begin = run.begin < run.end ? run.begin : run.end;
    return run;
}

/* `count` pairs from x[0], x[1], ...: the even ones to `even`, the odd ones to `odd`. */
FC_INLINE void fc_copy_pairs(real *even, real *odd, const stor *x, int64_t count) {
    for (int64_t i = 0; i < count; i += VL) {
        int64_t left = 2 * (count - i), n = left < 2 * VL ? left / 2 : VL;
        const stor *from = x + 2 * i;
        vec low = left >= VL ? v_loads(from) : v_loadsn(from, left);
        vec high = left >= 2 * VL ? v_loads(from + VL) : left > VL ? v_loadsn(from + VL, left - VL) : v_zero();
        vec evens, odds;
        v_deinterleave(low, high, &evens, &odds);
        if (n == VL) {
            v_store(even + i, evens);
            v_store(odd + i, odds);
        } else {
            v_storen(even + i, evens, n);
            v_storen(odd + i, odds, n);
        }
    }
}

/* Both phases of a row at stride 2, x dense along width. The pairs inside x go through vectors. */
FC_INLINE void fc_copy_row_by_pairs(const fc_axis *width, const fc_run_source *even_run,
                                    const fc_run_source *odd_run, const stor *row, real *even, real *odd) {
    int64_t begin = even_run->begin > odd_run->begin ? even_run->begin : odd_run->begin;
    int64_t end = even_run->end < odd_run->end ? even_run->end : odd_run->end;
    if (end <= begin)
        begin = end = 0;
    else
        fc_copy_pairs(even + begin, odd + begin, row + even_run->q + 2 * begin - width->pad_before, end - begin);
    for (int side = 0; side < 2; side++) {
        const fc_run_source *run = side ? odd_run : even_run;
        real *to = side ? odd : even;
        for (int64_t i = 0; i < run->count; i++) {
            if (i == begin)
                i = end;
            if (i >= run->count)
                break;
            int64_t source = fc_axis_source(width, run->q + 2 * i);
            to[i] = source < 0 ? 0 : s_load(row + source);
        }
    }
}

/* Copies `count` rows, those of outputs [first, first + columns): row i from sources[i], which points at x's
 * row, or zeros where that is NULL, to `to` + i * row_pitch. */
static __attribute__((unused)) void fc_copy_rows(const fc_axis *width, const fc_row_shape *shape,
                                                 const stor *const *sources, int64_t count,
                                                 int64_t width_stride, int64_t first, int64_t columns,
                                                 real *to) {
    int64_t phase = 0;
    if (width->stride == 2 && shape->phases == 2 && width_stride == 1) {
        fc_run_source even = fc_phase_run(width, 0, first, columns), odd = fc_phase_run(width, 1, first, columns);
        for (int64_t i = 0; i < count; i++)
            if (sources[i] != NULL)
                fc_copy_row_by_pairs(width, &even, &odd, sources[i], to + i * shape->row_pitch,
                                     to + i * shape->row_pitch + shape->phase_pitch);
            else
                memset(to + i * shape->row_pitch, 0, (size_t)shape->row_pitch * sizeof *to);
        return;
    }
    for (; phase < shape->phases; phase++) {
        fc_run_source run = fc_phase_run(width, phase, first, columns);
        for (int64_t i = 0; i < count; i++) {
            real *row = to + i * shape->row_pitch + phase * shape->phase_pitch;
            if (sources[i] != NULL)
                fc_load_run(width, &run, sources[i], width_stride, row);
            else
                memset(row, 0, (size_t)shape->phase_pitch * sizeof *row);
        }
    }
}

#endif
