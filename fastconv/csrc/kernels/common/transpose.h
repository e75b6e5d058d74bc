/* Transposed copies between rows that are dense along pixels and rows that are dense along channels.
 *
 *     to[column * to_step + row] = from[row * from_step + column]
 *
 * in squares of VL by VL held in registers. Bound: the shuffle port, log2(VL) shuffles per vector.
 */
#ifndef FC_TRANSPOSE_H
#define FC_TRANSPOSE_H

#include "simd/vec.h"

#define FC_UNROLL_SQUARE _Pragma("GCC unroll 16")

/* Writes the transposed square: `columns` rows of `rows` values. */
FC_INLINE void fc_store_square(vec square[VL], int64_t rows, int64_t columns, real *to, int64_t to_step) {
    v_transpose(square);
    if (rows == VL && columns == VL) {
        FC_UNROLL_SQUARE for (int i = 0; i < VL; i++)
            v_store(to + i * to_step, square[i]);
        return;
    }
    vec kept[VL];
    FC_UNROLL_SQUARE for (int i = 0; i < VL; i++)
        kept[i] = square[i];
    for (int64_t i = 0; i < columns; i++) {
        if (rows == VL)
            v_store(to + i * to_step, kept[i]);
        else
            v_storen(to + i * to_step, kept[i], rows);
    }
}

/* One definition for elements of x, converting, and one for sums; the compiler merges them where both are float32 or
 * float64. The square of the next rows is asked for, since rows that lie far apart are no stream. A square is a call of its
 * own: inside the loops, the compiler computes the 32 places of all squares before the first, which takes longer than the one or two squares of a
 * short row. */
#define FC_DEFINE_TRANSPOSE(name, type, load, loadn) \
    static __attribute__((unused, noinline)) void name##_square(const type *from, int64_t from_step, int64_t rows, \
                                                                int64_t wide, real *to, int64_t to_step) { \
        vec square[VL]; \
        int64_t high = rows < VL ? rows : VL; \
        for (int64_t i = VL; i < 2 * VL && i < rows; i++) \
            __builtin_prefetch(from + i * from_step); \
        if (high == VL && wide == VL) { \
            FC_UNROLL_SQUARE for (int i = 0; i < VL; i++) \
                square[i] = load(from + i * from_step); \
        } else { \
            FC_UNROLL_SQUARE for (int i = 0; i < VL; i++) \
                square[i] = i >= high    ? v_zero() \
                            : wide == VL ? load(from + i * from_step) \
                                         : loadn(from + i * from_step, wide); \
        } \
        fc_store_square(square, high, wide, to, to_step); \
    } \
    static __attribute__((unused)) void name(const type *from, int64_t from_step, int64_t rows, int64_t columns, \
                                             real *to, int64_t to_step) { \
        for (int64_t row = 0; row < rows; row += VL) \
            for (int64_t column = 0; column < columns; column += VL) \
                name##_square(from + row * from_step + column, from_step, rows - row, \
                              columns - column < VL ? columns - column : VL, to + column * to_step + row, to_step); \
    }

FC_DEFINE_TRANSPOSE(fc_transpose_x, stor, v_loads, v_loadsn)
FC_DEFINE_TRANSPOSE(fc_transpose_sums, real, v_load, v_loadn)

#endif
