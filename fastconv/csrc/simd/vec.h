/* The vector vocabulary: what kernels are written in. Each kernel source is compiled once per
 * instruction set and dtype (-DFC_ISA=avx2 -DFC_DTYPE=f16); this header gives it, for that pair,
 *
 *   real             the type computed in: float, or double for f64
 *   stor             the type of x and out: real, or a 16-bit pattern for f16 and bf16
 *   vec, VL          a vector of VL reals
 *   v_load v_loadn   VL reals, or the first n < VL with zeros after them; no byte beyond is read
 *   v_store v_storen the same for writing
 *   v_loads v_loadsn v_stores v_storesn v_sets1   the same over stor, converting
 *   s_load s_store   one stor from and to real
 *   v_zero v_set1 v_add v_sub v_mul v_div v_fma(a, b, c) = a * b + c
 *   v_max v_min      the second operand when either is NaN
 *   v_max_nan        NaN when either is
 *   v_select_neg(x, a, b)  a in lanes where x < 0, else b (also for NaN)
 *   v_round v_pow2   nearest whole number; 2 to a whole number in the exponent range
 *   v_abs v_reduce_max
 *   v_deinterleave(a, b, &even, &odd)  the 2 * VL values a, b parted by parity
 *   v_align(a, b, n)  lanes n, ..., n + VL - 1 of the 2 * VL values a, b; n from 0 to VL, known when unrolled
 *   lane_mask v_mask(begin, end)  lanes begin <= i < end; v_loadm(p, mask)  those lanes of p, else zeros; no
 *                    byte of another lane is read
 *   v_fma_lanes(a, b, c, mask)  a * b + c in those lanes, c in the others; VEC_MASKS_FMA: it costs no more than v_fma,
 *                    else it is not there
 *   v_keep(a)        a, kept in a register: compilers load again for each of several FMAs what lies in memory
 *   lane_index v_lanes(int32_t[VL]) v_permute(a, lanes)  lane i of the result is lane lanes[i] of a
 *   v_transpose(rows)  a square of VL vectors, in place
 *   v_any_nan(a)     whether some lane is NaN
 *   v_deinterleave2 v_deinterleave4 (p, out)  out[j] lane i = p[i * 2 + j] (4); v_interleave2 v_interleave4
 *                    (p, in) write it back
 *   FC_FN(name)      name_<dtype>_<isa>; FC_NAME(algorithm) the printed kernel name
 *
 * The tile constants say what fits the registers: TILE_ROWS x TILE_VECS accumulators.
 * Everything is static: differently flagged objects share no function.
 */
#ifndef FC_VEC_H
#define FC_VEC_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#define FC_PASTE3_(a, b, c) a##_##b##_##c
#define FC_PASTE3(a, b, c) FC_PASTE3_(a, b, c)
#define FC_PASTE_(a, b) a##b
#define FC_PASTE(a, b) FC_PASTE_(a, b)
#define FC_TEXT_(x) #x
#define FC_TEXT(x) FC_TEXT_(x)
#define FC_FN(name) FC_PASTE3(name, FC_DTYPE, FC_ISA)
#define FC_NAME(algorithm) algorithm "." FC_TEXT(FC_DTYPE) "." FC_TEXT(FC_ISA)

#define FC_INLINE static inline __attribute__((always_inline, unused))
/* Code that plans, compiled for size: there is a copy for every instruction set and dtype. */
#define FC_COLD __attribute__((cold))

/* Preprocessor forms of the two parameters. */
#define FC_PICK_DTYPE_f32 1
#define FC_PICK_DTYPE_f64 2
#define FC_PICK_DTYPE_f16 3
#define FC_PICK_DTYPE_bf16 4
#define FC_DTYPE_IS FC_PASTE(FC_PICK_DTYPE_, FC_DTYPE)
#define FC_IS_F32 (FC_DTYPE_IS == 1)
#define FC_IS_F64 (FC_DTYPE_IS == 2)
#define FC_IS_F16 (FC_DTYPE_IS == 3)
#define FC_IS_BF16 (FC_DTYPE_IS == 4)
#define FC_IS_NARROW (FC_IS_F16 || FC_IS_BF16)

#define FC_PICK_ISA_scalar 1
#define FC_PICK_ISA_avx2 2
#define FC_PICK_ISA_avx512 3
#define FC_PICK_ISA_amx 4
#define FC_ISA_IS FC_PASTE(FC_PICK_ISA_, FC_ISA)

#if FC_IS_F64
typedef double real;
#define FC_REAL_MAX 1.7976931348623157e308
#else
typedef float real;
#define FC_REAL_MAX 3.402823466e38f
#endif
#if FC_IS_NARROW
typedef uint16_t stor;
#else
typedef real stor;
#endif

#if FC_ISA_IS >= 3
#include "vec_avx512.h"
#elif FC_ISA_IS == 2
#include "vec_avx2.h"
#else
#include "vec_portable.h"
#endif

/* What follows needs nothing but the words above. */

#ifndef VEC_MASKS_FMA
#define VEC_MASKS_FMA 0
#endif

FC_INLINE vec v_keep(vec a) {
#if FC_ISA_IS >= 2 && defined __GNUC__
    __asm__("" : "+v"(a));
#endif
    return a;
}

#if !FC_IS_NARROW
FC_INLINE vec v_loads(const stor *p) { return v_load(p); }
FC_INLINE vec v_loadsn(const stor *p, int64_t n) { return v_loadn(p, n); }
FC_INLINE void v_stores(stor *p, vec a) { v_store(p, a); }
FC_INLINE void v_storesn(stor *p, vec a, int64_t n) { v_storen(p, a, n); }
FC_INLINE real s_load(const stor *p) { return *p; }
FC_INLINE void s_store(stor *p, real value) { *p = value; }
#endif
FC_INLINE vec v_sets1(const stor *p) { return v_set1(s_load(p)); }

/* VL elements `step` apart: the slow way in for strided rows. */
FC_INLINE vec v_loads_strided(const stor *p, int64_t step, int64_t n) {
    real lanes[VL];
    for (int64_t i = 0; i < n; i++)
        lanes[i] = s_load(p + i * step);
    return v_loadn(lanes, n);
}
FC_INLINE void v_stores_strided(stor *p, int64_t step, vec a, int64_t n) {
    real lanes[VL];
    v_store(lanes, a);
    for (int64_t i = 0; i < n; i++)
        s_store(p + i * step, lanes[i]);
}

#endif
