/* AVX-512 F/BW/DQ/VL: 512-bit vectors, 32 registers: tiles of 8 x 3 (24 accumulators, 3 loads, 1
 * broadcast). Tails are masked, so n may be 0. */
#include <immintrin.h>

#include "narrow.h"

#define TILE_ROWS 8
#define TILE_VECS 3
#define VEC_MASKS_FMA 1

#if FC_IS_F64
#define VL 8
typedef __m512d vec;
FC_INLINE __mmask8 fc_mask(int64_t n) { return (__mmask8)((1u << n) - 1u); }
FC_INLINE vec v_zero(void) { return _mm512_setzero_pd(); }
FC_INLINE vec v_set1(real value) { return _mm512_set1_pd(value); }
FC_INLINE vec v_load(const real *p) { return _mm512_loadu_pd(p); }
FC_INLINE vec v_loadn(const real *p, int64_t n) { return _mm512_maskz_loadu_pd(fc_mask(n), p); }
FC_INLINE void v_store(real *p, vec a) { _mm512_storeu_pd(p, a); }
FC_INLINE void v_storen(real *p, vec a, int64_t n) { _mm512_mask_storeu_pd(p, fc_mask(n), a); }
FC_INLINE vec v_add(vec a, vec b) { return _mm512_add_pd(a, b); }
FC_INLINE vec v_sub(vec a, vec b) { return _mm512_sub_pd(a, b); }
FC_INLINE vec v_mul(vec a, vec b) { return _mm512_mul_pd(a, b); }
FC_INLINE vec v_div(vec a, vec b) { return _mm512_div_pd(a, b); }
FC_INLINE vec v_fma(vec a, vec b, vec c) { return _mm512_fmadd_pd(a, b, c); }
FC_INLINE vec v_max(vec a, vec b) { return _mm512_max_pd(a, b); }
FC_INLINE vec v_min(vec a, vec b) { return _mm512_min_pd(a, b); }
FC_INLINE vec v_max_nan(vec a, vec b) {
    return _mm512_mask_blend_pd(_mm512_cmp_pd_mask(a, a, _CMP_UNORD_Q), _mm512_max_pd(a, b), a);
}
FC_INLINE vec v_select_neg(vec x, vec a, vec b) {
    return _mm512_mask_blend_pd(_mm512_cmp_pd_mask(x, v_zero(), _CMP_LT_OQ), b, a);
}
FC_INLINE vec v_abs(vec a) { return _mm512_abs_pd(a); }
FC_INLINE vec v_round(vec a) { return _mm512_roundscale_pd(a, 0); }
FC_INLINE vec v_pow2(vec a) { return _mm512_scalef_pd(_mm512_set1_pd(1.0), a); }
FC_INLINE real v_reduce_max(vec a) { return _mm512_reduce_max_pd(a); }
FC_INLINE void v_deinterleave(vec a, vec b, vec *even, vec *odd) {
    const __m512i index = _mm512_setr_epi64(0, 2, 4, 6, 8, 10, 12, 14);
    *even = _mm512_permutex2var_pd(a, index, b);
    *odd = _mm512_permutex2var_pd(a, _mm512_add_epi64(index, _mm512_set1_epi64(1)), b);
}
typedef __m512i lane_index;
FC_INLINE lane_index v_lanes(const int32_t *index) {
    return _mm512_cvtepi32_epi64(_mm256_loadu_si256((const __m256i *)index));
}
FC_INLINE vec v_permute(vec a, lane_index index) { return _mm512_permutexvar_pd(index, a); }
/* Three stages, each placing lanes 1, 2, 4 apart. */
FC_INLINE void v_transpose(vec rows[VL]) {
    vec t[VL];
    for (int i = 0; i < 8; i += 2) {
        t[i] = _mm512_unpacklo_pd(rows[i], rows[i + 1]);
        t[i + 1] = _mm512_unpackhi_pd(rows[i], rows[i + 1]);
    }
    for (int i = 0; i < 2; i++) {
        vec a = t[i], b = t[i + 2], c = t[i + 4], d = t[i + 6];
        vec ab = _mm512_shuffle_f64x2(a, b, 0x88), ab_odd = _mm512_shuffle_f64x2(a, b, 0xdd);
        vec cd = _mm512_shuffle_f64x2(c, d, 0x88), cd_odd = _mm512_shuffle_f64x2(c, d, 0xdd);
        rows[i] = _mm512_shuffle_f64x2(ab, cd, 0x88);
        rows[i + 2] = _mm512_shuffle_f64x2(ab_odd, cd_odd, 0x88);
        rows[i + 4] = _mm512_shuffle_f64x2(ab, cd, 0xdd);
        rows[i + 6] = _mm512_shuffle_f64x2(ab_odd, cd_odd, 0xdd);
    }
}
typedef __mmask8 lane_mask;
FC_INLINE lane_mask v_mask(int64_t begin, int64_t end) { return (lane_mask)(fc_mask(end) & ~fc_mask(begin)); }
FC_INLINE vec v_loadm(const real *p, lane_mask mask) { return _mm512_maskz_loadu_pd(mask, p); }
FC_INLINE vec v_fma_lanes(vec a, vec b, vec c, lane_mask mask) { return _mm512_mask3_fmadd_pd(a, b, c, mask); }
FC_INLINE vec v_align(vec a, vec b, int n) {
    __m512i low = _mm512_castpd_si512(a), high = _mm512_castpd_si512(b);
    switch (n) { /* the count is part of the instruction */
#define FC_ALIGN(n) case n: return _mm512_castsi512_pd(_mm512_alignr_epi64(high, low, n));
        FC_ALIGN(1) FC_ALIGN(2) FC_ALIGN(3) FC_ALIGN(4) FC_ALIGN(5)
        FC_ALIGN(6) FC_ALIGN(7)
#undef FC_ALIGN
    default:
        return n == 0 ? a : b;
    }
}
FC_INLINE int v_any_nan(vec a) { return _mm512_cmp_pd_mask(a, a, _CMP_UNORD_Q) != 0; }
FC_INLINE vec fc_pick(vec a, vec b, int i0, int i1, int i2, int i3, int i4, int i5, int i6, int i7) {
    return _mm512_permutex2var_pd(a, _mm512_setr_epi64(i0, i1, i2, i3, i4, i5, i6, i7), b);
}
FC_INLINE void v_deinterleave2(const real *p, vec out[2]) {
    vec a = v_load(p), b = v_load(p + VL);
    out[0] = fc_pick(a, b, 0, 2, 4, 6, 8, 10, 12, 14);
    out[1] = fc_pick(a, b, 1, 3, 5, 7, 9, 11, 13, 15);
}
FC_INLINE void v_interleave2(real *p, const vec in[2]) {
    v_store(p, fc_pick(in[0], in[1], 0, 8, 1, 9, 2, 10, 3, 11));
    v_store(p + VL, fc_pick(in[0], in[1], 4, 12, 5, 13, 6, 14, 7, 15));
}
FC_INLINE void v_deinterleave4(const real *p, vec out[4]) {
    vec a = v_load(p), b = v_load(p + VL), c = v_load(p + 2 * VL), d = v_load(p + 3 * VL);
    for (int j = 0; j < 4; j += 2) { /* streams j and j + 1, of a pair of vectors, in one vector's halves */
        vec low = fc_pick(a, b, j, j + 4, j + 8, j + 12, j + 1, j + 5, j + 9, j + 13);
        vec high = fc_pick(c, d, j, j + 4, j + 8, j + 12, j + 1, j + 5, j + 9, j + 13);
        out[j] = _mm512_shuffle_f64x2(low, high, 0x44);
        out[j + 1] = _mm512_shuffle_f64x2(low, high, 0xee);
    }
}
FC_INLINE void v_interleave4(real *p, const vec in[4]) {
    for (int half = 0; half < 2; half++) {
        int k = 4 * half;
        vec ab = fc_pick(in[0], in[1], k, k + 8, k + 1, k + 9, k + 2, k + 10, k + 3, k + 11);
        vec cd = fc_pick(in[2], in[3], k, k + 8, k + 1, k + 9, k + 2, k + 10, k + 3, k + 11);
        v_store(p + 2 * half * VL, fc_pick(ab, cd, 0, 1, 8, 9, 2, 3, 10, 11));
        v_store(p + (2 * half + 1) * VL, fc_pick(ab, cd, 4, 5, 12, 13, 6, 7, 14, 15));
    }
}
#else
#define VL 16
typedef __m512 vec;
FC_INLINE __mmask16 fc_mask(int64_t n) { return (__mmask16)((1u << n) - 1u); }
FC_INLINE vec v_zero(void) { return _mm512_setzero_ps(); }
FC_INLINE vec v_set1(real value) { return _mm512_set1_ps(value); }
FC_INLINE vec v_load(const real *p) { return _mm512_loadu_ps(p); }
FC_INLINE vec v_loadn(const real *p, int64_t n) { return _mm512_maskz_loadu_ps(fc_mask(n), p); }
FC_INLINE void v_store(real *p, vec a) { _mm512_storeu_ps(p, a); }
FC_INLINE void v_storen(real *p, vec a, int64_t n) { _mm512_mask_storeu_ps(p, fc_mask(n), a); }
FC_INLINE vec v_add(vec a, vec b) { return _mm512_add_ps(a, b); }
FC_INLINE vec v_sub(vec a, vec b) { return _mm512_sub_ps(a, b); }
FC_INLINE vec v_mul(vec a, vec b) { return _mm512_mul_ps(a, b); }
FC_INLINE vec v_div(vec a, vec b) { return _mm512_div_ps(a, b); }
FC_INLINE vec v_fma(vec a, vec b, vec c) { return _mm512_fmadd_ps(a, b, c); }
FC_INLINE vec v_max(vec a, vec b) { return _mm512_max_ps(a, b); }
FC_INLINE vec v_min(vec a, vec b) { return _mm512_min_ps(a, b); }
FC_INLINE vec v_max_nan(vec a, vec b) {
    return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(a, a, _CMP_UNORD_Q), _mm512_max_ps(a, b), a);
}
FC_INLINE vec v_select_neg(vec x, vec a, vec b) {
    return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(x, v_zero(), _CMP_LT_OQ), b, a);
}
FC_INLINE vec v_abs(vec a) { return _mm512_abs_ps(a); }
FC_INLINE vec v_round(vec a) { return _mm512_roundscale_ps(a, 0); }
FC_INLINE vec v_pow2(vec a) { return _mm512_scalef_ps(_mm512_set1_ps(1.0f), a); }
FC_INLINE real v_reduce_max(vec a) { return _mm512_reduce_max_ps(a); }
FC_INLINE void v_deinterleave(vec a, vec b, vec *even, vec *odd) {
    const __m512i index = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    *even = _mm512_permutex2var_ps(a, index, b);
    *odd = _mm512_permutex2var_ps(a, _mm512_add_epi32(index, _mm512_set1_epi32(1)), b);
}
typedef __m512i lane_index;
FC_INLINE lane_index v_lanes(const int32_t *index) { return _mm512_loadu_si512(index); }
FC_INLINE vec v_permute(vec a, lane_index index) { return _mm512_permutexvar_ps(index, a); }
/* Pairs, then fours within 128 bits, then the 128-bit quarters. */
FC_INLINE void v_transpose(vec rows[VL]) {
    vec t[VL];
    for (int i = 0; i < 16; i += 4) {
        __m512d a = _mm512_castps_pd(_mm512_unpacklo_ps(rows[i], rows[i + 1]));
        __m512d b = _mm512_castps_pd(_mm512_unpackhi_ps(rows[i], rows[i + 1]));
        __m512d c = _mm512_castps_pd(_mm512_unpacklo_ps(rows[i + 2], rows[i + 3]));
        __m512d d = _mm512_castps_pd(_mm512_unpackhi_ps(rows[i + 2], rows[i + 3]));
        t[i] = _mm512_castpd_ps(_mm512_unpacklo_pd(a, c));
        t[i + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(a, c));
        t[i + 2] = _mm512_castpd_ps(_mm512_unpacklo_pd(b, d));
        t[i + 3] = _mm512_castpd_ps(_mm512_unpackhi_pd(b, d));
    }
    for (int i = 0; i < 4; i++) {
        vec a = t[i], b = t[i + 4], c = t[i + 8], d = t[i + 12];
        vec ab = _mm512_shuffle_f32x4(a, b, 0x88), ab_odd = _mm512_shuffle_f32x4(a, b, 0xdd);
        vec cd = _mm512_shuffle_f32x4(c, d, 0x88), cd_odd = _mm512_shuffle_f32x4(c, d, 0xdd);
        rows[i] = _mm512_shuffle_f32x4(ab, cd, 0x88);
        rows[i + 4] = _mm512_shuffle_f32x4(ab_odd, cd_odd, 0x88);
        rows[i + 8] = _mm512_shuffle_f32x4(ab, cd, 0xdd);
        rows[i + 12] = _mm512_shuffle_f32x4(ab_odd, cd_odd, 0xdd);
    }
}
typedef __mmask16 lane_mask;
FC_INLINE lane_mask v_mask(int64_t begin, int64_t end) { return (lane_mask)(fc_mask(end) & ~fc_mask(begin)); }
FC_INLINE vec v_loadm(const real *p, lane_mask mask) { return _mm512_maskz_loadu_ps(mask, p); }
FC_INLINE vec v_fma_lanes(vec a, vec b, vec c, lane_mask mask) { return _mm512_mask3_fmadd_ps(a, b, c, mask); }
FC_INLINE vec v_align(vec a, vec b, int n) {
    __m512i low = _mm512_castps_si512(a), high = _mm512_castps_si512(b);
    switch (n) { /* the count is part of the instruction */
#define FC_ALIGN(n) case n: return _mm512_castsi512_ps(_mm512_alignr_epi32(high, low, n));
        FC_ALIGN(1) FC_ALIGN(2) FC_ALIGN(3) FC_ALIGN(4) FC_ALIGN(5)
        FC_ALIGN(6) FC_ALIGN(7) FC_ALIGN(8) FC_ALIGN(9) FC_ALIGN(10)
        FC_ALIGN(11) FC_ALIGN(12) FC_ALIGN(13) FC_ALIGN(14) FC_ALIGN(15)
#undef FC_ALIGN
    default:
        return n == 0 ? a : b;
    }
}
FC_INLINE int v_any_nan(vec a) { return _mm512_cmp_ps_mask(a, a, _CMP_UNORD_Q) != 0; }
/* out lane i = (a, b)[first + i * step], the second half of the lanes from first + shift on. */
FC_INLINE vec fc_pick(vec a, vec b, int first, int step, int shift) {
    int i = first, j = first + shift;
    return _mm512_permutex2var_ps(
        a,
        _mm512_setr_epi32(i, i + step, i + 2 * step, i + 3 * step, i + 4 * step, i + 5 * step, i + 6 * step,
                          i + 7 * step, j, j + step, j + 2 * step, j + 3 * step, j + 4 * step, j + 5 * step,
                          j + 6 * step, j + 7 * step),
        b);
}
FC_INLINE vec fc_zip(vec a, vec b, int i) {
    return _mm512_permutex2var_ps(a,
                                  _mm512_setr_epi32(i, i + 16, i + 1, i + 17, i + 2, i + 18, i + 3, i + 19, i + 4,
                                                    i + 20, i + 5, i + 21, i + 6, i + 22, i + 7, i + 23),
                                  b);
}
FC_INLINE vec fc_zip_pairs(vec a, vec b, int i) {
    return _mm512_castpd_ps(
        _mm512_permutex2var_pd(_mm512_castps_pd(a), _mm512_setr_epi64(i, i + 8, i + 1, i + 9, i + 2, i + 10, i + 3, i + 11),
                               _mm512_castps_pd(b)));
}
FC_INLINE void v_deinterleave2(const real *p, vec out[2]) {
    vec a = v_load(p), b = v_load(p + VL);
    out[0] = fc_pick(a, b, 0, 2, 16);
    out[1] = fc_pick(a, b, 1, 2, 16);
}
FC_INLINE void v_interleave2(real *p, const vec in[2]) {
    v_store(p, fc_zip(in[0], in[1], 0));
    v_store(p + VL, fc_zip(in[0], in[1], 8));
}
FC_INLINE void v_deinterleave4(const real *p, vec out[4]) {
    vec a = v_load(p), b = v_load(p + VL), c = v_load(p + 2 * VL), d = v_load(p + 3 * VL);
    for (int j = 0; j < 4; j += 2) { /* streams j and j + 1, of a pair of vectors, in one vector's halves */
        vec low = fc_pick(a, b, j, 4, 1), high = fc_pick(c, d, j, 4, 1);
        out[j] = _mm512_shuffle_f32x4(low, high, 0x44);
        out[j + 1] = _mm512_shuffle_f32x4(low, high, 0xee);
    }
}
FC_INLINE void v_interleave4(real *p, const vec in[4]) {
    for (int half = 0; half < 2; half++) {
        vec ab = fc_zip(in[0], in[1], 8 * half), cd = fc_zip(in[2], in[3], 8 * half);
        v_store(p + 2 * half * VL, fc_zip_pairs(ab, cd, 0));
        v_store(p + (2 * half + 1) * VL, fc_zip_pairs(ab, cd, 4));
    }
}
#endif

#if FC_IS_F16
FC_INLINE vec v_loads(const stor *p) { return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)p)); }
FC_INLINE vec v_loadsn(const stor *p, int64_t n) {
    return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(fc_mask(n), p));
}
FC_INLINE __m256i fc_narrow(vec a) {
    return _mm512_cvtps_ph(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
FC_INLINE real s_load(const stor *p) { return _cvtsh_ss(*p); }
FC_INLINE void s_store(stor *p, real value) { *p = _cvtss_sh(value, _MM_FROUND_TO_NEAREST_INT); }
#elif FC_IS_BF16
FC_INLINE vec fc_widen(__m256i narrow) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(narrow), 16));
}
FC_INLINE vec v_loads(const stor *p) { return fc_widen(_mm256_loadu_si256((const __m256i *)p)); }
FC_INLINE vec v_loadsn(const stor *p, int64_t n) {
    return fc_widen(_mm256_maskz_loadu_epi16(fc_mask(n), p));
}
/* Round to nearest even; a NaN keeps its top bits and turns quiet. */
FC_INLINE __m256i fc_narrow(vec a) {
    __m512i bits = _mm512_castps_si512(a), high = _mm512_srli_epi32(bits, 16);
    __m512i odd = _mm512_and_epi32(high, _mm512_set1_epi32(1));
    __m512i rounded = _mm512_srli_epi32(
        _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff))), 16);
    __mmask16 nan = _mm512_cmp_ps_mask(a, a, _CMP_UNORD_Q);
    return _mm512_cvtepi32_epi16(_mm512_mask_or_epi32(rounded, nan, high, _mm512_set1_epi32(0x40)));
}
FC_INLINE real s_load(const stor *p) { return fc_bfloat16_to_float(*p); }
FC_INLINE void s_store(stor *p, real value) { *p = fc_float_to_bfloat16(value); }
#endif
#if FC_IS_NARROW
FC_INLINE void v_stores(stor *p, vec a) { _mm256_storeu_si256((__m256i *)p, fc_narrow(a)); }
FC_INLINE void v_storesn(stor *p, vec a, int64_t n) {
    _mm256_mask_storeu_epi16(p, fc_mask(n), fc_narrow(a));
}
#endif
