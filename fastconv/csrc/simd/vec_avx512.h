/* AVX-512 F/BW/DQ/VL: 512-bit vectors, 32 registers: tiles of 8 x 3 (24 accumulators, 3 loads, 1
 * broadcast). Tails are masked, so n may be 0. */
#include <immintrin.h>

#include "narrow.h"

#define TILE_ROWS 8
#define TILE_VECS 3

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
FC_INLINE vec v_select_neg(vec x, vec a, vec b) {
    return _mm512_mask_blend_pd(_mm512_cmp_pd_mask(x, v_zero(), _CMP_LT_OQ), b, a);
}
FC_INLINE vec v_abs(vec a) { return _mm512_abs_pd(a); }
FC_INLINE vec v_round(vec a) { return _mm512_roundscale_pd(a, 0); }
FC_INLINE vec v_pow2(vec a) { return _mm512_scalef_pd(_mm512_set1_pd(1.0), a); }
FC_INLINE real v_reduce_max(vec a) { return _mm512_reduce_max_pd(a); }
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
FC_INLINE vec v_select_neg(vec x, vec a, vec b) {
    return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(x, v_zero(), _CMP_LT_OQ), b, a);
}
FC_INLINE vec v_abs(vec a) { return _mm512_abs_ps(a); }
FC_INLINE vec v_round(vec a) { return _mm512_roundscale_ps(a, 0); }
FC_INLINE vec v_pow2(vec a) { return _mm512_scalef_ps(_mm512_set1_ps(1.0f), a); }
FC_INLINE real v_reduce_max(vec a) { return _mm512_reduce_max_ps(a); }
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
