/* AVX2 + FMA + F16C: 256-bit vectors, 16 registers: tiles of 6 x 2 (12 accumulators, 2 loads, 1
 * broadcast). */
#include <immintrin.h>

#include "narrow.h"

#define TILE_ROWS 6
#define TILE_VECS 2

/* Part of a vector is stored in halves, quarters and eighths: AMD's cores take a masked store apart into micro-ops of a
 * microcode routine, and kernels of short rows or few channels spent half their time there (Zen 3). It is long:
 * a function of its own but for float32, where calls of it took up to a third of such a kernel's time. */
#define FC_STORES_BY_CALL (FC_IS_F64 || FC_IS_NARROW)
static const int32_t fc_tail_mask[16] = {-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0};

#if FC_IS_F64
#define VL 4
typedef __m256d vec;
FC_INLINE __m256i fc_mask(int64_t n) {
    return _mm256_loadu_si256((const __m256i *)(fc_tail_mask + 8 - 2 * n));
}
FC_INLINE vec v_zero(void) { return _mm256_setzero_pd(); }
FC_INLINE vec v_set1(real value) { return _mm256_set1_pd(value); }
FC_INLINE vec v_load(const real *p) { return _mm256_loadu_pd(p); }
FC_INLINE vec v_loadn(const real *p, int64_t n) { return _mm256_maskload_pd(p, fc_mask(n)); }
FC_INLINE void v_store(real *p, vec a) { _mm256_storeu_pd(p, a); }
FC_INLINE void fc_store_lanes(real *p, vec a, int64_t n) {
    if (n & 4) {
        _mm256_storeu_pd(p, a);
        return;
    }
    __m128d rest = _mm256_castpd256_pd128(a);
    if (n & 2) {
        _mm_storeu_pd(p, rest);
        rest = _mm256_extractf128_pd(a, 1);
        p += 2;
    }
    if (n & 1)
        _mm_store_sd(p, rest);
}
FC_INLINE vec v_add(vec a, vec b) { return _mm256_add_pd(a, b); }
FC_INLINE vec v_sub(vec a, vec b) { return _mm256_sub_pd(a, b); }
FC_INLINE vec v_mul(vec a, vec b) { return _mm256_mul_pd(a, b); }
FC_INLINE vec v_div(vec a, vec b) { return _mm256_div_pd(a, b); }
FC_INLINE vec v_fma(vec a, vec b, vec c) { return _mm256_fmadd_pd(a, b, c); }
FC_INLINE vec v_max(vec a, vec b) { return _mm256_max_pd(a, b); }
FC_INLINE vec v_min(vec a, vec b) { return _mm256_min_pd(a, b); }
FC_INLINE vec v_max_nan(vec a, vec b) {
    return _mm256_blendv_pd(_mm256_max_pd(a, b), a, _mm256_cmp_pd(a, a, _CMP_UNORD_Q));
}
FC_INLINE vec v_select_neg(vec x, vec a, vec b) {
    return _mm256_blendv_pd(b, a, _mm256_cmp_pd(x, v_zero(), _CMP_LT_OQ));
}
FC_INLINE vec v_abs(vec a) { return _mm256_andnot_pd(_mm256_set1_pd(-0.0), a); }
FC_INLINE vec v_round(vec a) { return _mm256_round_pd(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
FC_INLINE vec v_pow2(vec a) {
    __m256i n = _mm256_cvtepi32_epi64(_mm256_cvtpd_epi32(a));
    return _mm256_castsi256_pd(_mm256_slli_epi64(_mm256_add_epi64(n, _mm256_set1_epi64x(1023)), 52));
}
FC_INLINE void v_deinterleave(vec a, vec b, vec *even, vec *odd) {
    *even = _mm256_permute4x64_pd(_mm256_unpacklo_pd(a, b), 0xd8);
    *odd = _mm256_permute4x64_pd(_mm256_unpackhi_pd(a, b), 0xd8);
}
/* A 64-bit lane is moved as its two halves. */
typedef __m256i lane_index;
FC_INLINE lane_index v_lanes(const int32_t *index) {
    __m256i wide = _mm256_slli_epi64(_mm256_cvtepi32_epi64(_mm_loadu_si128((const __m128i *)index)), 1);
    return _mm256_or_si256(_mm256_or_si256(wide, _mm256_slli_epi64(wide, 32)),
                           _mm256_set1_epi64x((long long)1 << 32));
}
FC_INLINE vec v_permute(vec a, lane_index index) {
    return _mm256_castps_pd(_mm256_permutevar8x32_ps(_mm256_castpd_ps(a), index));
}
FC_INLINE void v_transpose(vec rows[VL]) {
    vec a = _mm256_unpacklo_pd(rows[0], rows[1]), b = _mm256_unpackhi_pd(rows[0], rows[1]);
    vec c = _mm256_unpacklo_pd(rows[2], rows[3]), d = _mm256_unpackhi_pd(rows[2], rows[3]);
    rows[0] = _mm256_permute2f128_pd(a, c, 0x20);
    rows[1] = _mm256_permute2f128_pd(b, d, 0x20);
    rows[2] = _mm256_permute2f128_pd(a, c, 0x31);
    rows[3] = _mm256_permute2f128_pd(b, d, 0x31);
}
typedef __m256i lane_mask;
FC_INLINE lane_mask v_mask(int64_t begin, int64_t end) {
    __m256i lane = _mm256_setr_epi64x(0, 1, 2, 3);
    return _mm256_andnot_si256(_mm256_cmpgt_epi64(_mm256_set1_epi64x(begin), lane),
                               _mm256_cmpgt_epi64(_mm256_set1_epi64x(end), lane));
}
FC_INLINE vec v_loadm(const real *p, lane_mask mask) { return _mm256_maskload_pd(p, mask); }
FC_INLINE int v_any_nan(vec a) { return _mm256_movemask_pd(_mm256_cmp_pd(a, a, _CMP_UNORD_Q)) != 0; }
FC_INLINE void v_deinterleave2(const real *p, vec out[2]) {
    vec a = _mm256_insertf128_pd(_mm256_castpd128_pd256(_mm_loadu_pd(p)), _mm_loadu_pd(p + 4), 1);
    vec b = _mm256_insertf128_pd(_mm256_castpd128_pd256(_mm_loadu_pd(p + 2)), _mm_loadu_pd(p + 6), 1);
    out[0] = _mm256_unpacklo_pd(a, b);
    out[1] = _mm256_unpackhi_pd(a, b);
}
FC_INLINE void v_interleave2(real *p, const vec in[2]) {
    vec low = _mm256_unpacklo_pd(in[0], in[1]), high = _mm256_unpackhi_pd(in[0], in[1]);
    v_store(p, _mm256_permute2f128_pd(low, high, 0x20));
    v_store(p + VL, _mm256_permute2f128_pd(low, high, 0x31));
}
FC_INLINE void v_deinterleave4(const real *p, vec out[4]) {
    for (int i = 0; i < 4; i++)
        out[i] = v_load(p + i * VL);
    v_transpose(out);
}
FC_INLINE void v_interleave4(real *p, const vec in[4]) {
    vec rows[4] = {in[0], in[1], in[2], in[3]};
    v_transpose(rows);
    for (int i = 0; i < 4; i++)
        v_store(p + i * VL, rows[i]);
}
#else
#define VL 8
typedef __m256 vec;
FC_INLINE __m256i fc_mask(int64_t n) {
    return _mm256_loadu_si256((const __m256i *)(fc_tail_mask + 8 - n));
}
FC_INLINE vec v_zero(void) { return _mm256_setzero_ps(); }
FC_INLINE vec v_set1(real value) { return _mm256_set1_ps(value); }
FC_INLINE vec v_load(const real *p) { return _mm256_loadu_ps(p); }
FC_INLINE vec v_loadn(const real *p, int64_t n) { return _mm256_maskload_ps(p, fc_mask(n)); }
FC_INLINE void v_store(real *p, vec a) { _mm256_storeu_ps(p, a); }
FC_INLINE void fc_store_lanes(real *p, vec a, int64_t n) {
    if (n & 8) {
        _mm256_storeu_ps(p, a);
        return;
    }
    __m128 rest = _mm256_castps256_ps128(a);
    if (n & 4) {
        _mm_storeu_ps(p, rest);
        rest = _mm256_extractf128_ps(a, 1);
        p += 4;
    }
    if (n & 2) {
        _mm_storel_pi((__m64 *)p, rest);
        rest = _mm_movehl_ps(rest, rest);
        p += 2;
    }
    if (n & 1)
        _mm_store_ss(p, rest);
}
FC_INLINE vec v_add(vec a, vec b) { return _mm256_add_ps(a, b); }
FC_INLINE vec v_sub(vec a, vec b) { return _mm256_sub_ps(a, b); }
FC_INLINE vec v_mul(vec a, vec b) { return _mm256_mul_ps(a, b); }
FC_INLINE vec v_div(vec a, vec b) { return _mm256_div_ps(a, b); }
FC_INLINE vec v_fma(vec a, vec b, vec c) { return _mm256_fmadd_ps(a, b, c); }
FC_INLINE vec v_max(vec a, vec b) { return _mm256_max_ps(a, b); }
FC_INLINE vec v_min(vec a, vec b) { return _mm256_min_ps(a, b); }
FC_INLINE vec v_max_nan(vec a, vec b) {
    return _mm256_blendv_ps(_mm256_max_ps(a, b), a, _mm256_cmp_ps(a, a, _CMP_UNORD_Q));
}
FC_INLINE vec v_select_neg(vec x, vec a, vec b) {
    return _mm256_blendv_ps(b, a, _mm256_cmp_ps(x, v_zero(), _CMP_LT_OQ));
}
FC_INLINE vec v_abs(vec a) { return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), a); }
FC_INLINE vec v_round(vec a) { return _mm256_round_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
FC_INLINE vec v_pow2(vec a) {
    __m256i n = _mm256_cvtps_epi32(a);
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(n, _mm256_set1_epi32(127)), 23));
}
FC_INLINE void v_deinterleave(vec a, vec b, vec *even, vec *odd) {
    __m256d evens = _mm256_castps_pd(_mm256_shuffle_ps(a, b, 0x88));
    __m256d odds = _mm256_castps_pd(_mm256_shuffle_ps(a, b, 0xdd));
    *even = _mm256_castpd_ps(_mm256_permute4x64_pd(evens, 0xd8));
    *odd = _mm256_castpd_ps(_mm256_permute4x64_pd(odds, 0xd8));
}
typedef __m256i lane_index;
FC_INLINE lane_index v_lanes(const int32_t *index) { return _mm256_loadu_si256((const __m256i *)index); }
FC_INLINE vec v_permute(vec a, lane_index index) { return _mm256_permutevar8x32_ps(a, index); }
FC_INLINE void v_transpose(vec rows[VL]) {
    vec t[VL];
    for (int i = 0; i < 8; i += 4) {
        vec a = _mm256_unpacklo_ps(rows[i], rows[i + 1]), b = _mm256_unpackhi_ps(rows[i], rows[i + 1]);
        vec c = _mm256_unpacklo_ps(rows[i + 2], rows[i + 3]), d = _mm256_unpackhi_ps(rows[i + 2], rows[i + 3]);
        t[i] = _mm256_shuffle_ps(a, c, 0x44);
        t[i + 1] = _mm256_shuffle_ps(a, c, 0xee);
        t[i + 2] = _mm256_shuffle_ps(b, d, 0x44);
        t[i + 3] = _mm256_shuffle_ps(b, d, 0xee);
    }
    for (int i = 0; i < 4; i++) {
        rows[i] = _mm256_permute2f128_ps(t[i], t[i + 4], 0x20);
        rows[i + 4] = _mm256_permute2f128_ps(t[i], t[i + 4], 0x31);
    }
}
typedef __m256i lane_mask;
FC_INLINE lane_mask v_mask(int64_t begin, int64_t end) {
    __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    return _mm256_andnot_si256(_mm256_cmpgt_epi32(_mm256_set1_epi32((int32_t)begin), lane),
                               _mm256_cmpgt_epi32(_mm256_set1_epi32((int32_t)end), lane));
}
FC_INLINE vec v_loadm(const real *p, lane_mask mask) { return _mm256_maskload_ps(p, mask); }
FC_INLINE int v_any_nan(vec a) { return _mm256_movemask_ps(_mm256_cmp_ps(a, a, _CMP_UNORD_Q)) != 0; }
/* p[0..3] and p[shift..shift+3] in the two halves */
FC_INLINE vec fc_load_halves(const real *p, int shift) {
    return _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(p)), _mm_loadu_ps(p + shift), 1);
}
FC_INLINE void v_deinterleave2(const real *p, vec out[2]) {
    vec a = fc_load_halves(p, 8), b = fc_load_halves(p + 4, 8);
    out[0] = _mm256_shuffle_ps(a, b, 0x88);
    out[1] = _mm256_shuffle_ps(a, b, 0xdd);
}
FC_INLINE void v_interleave2(real *p, const vec in[2]) {
    vec low = _mm256_unpacklo_ps(in[0], in[1]), high = _mm256_unpackhi_ps(in[0], in[1]);
    v_store(p, _mm256_permute2f128_ps(low, high, 0x20));
    v_store(p + VL, _mm256_permute2f128_ps(low, high, 0x31));
}
/* A transpose of 4 x 4 in each half. */
FC_INLINE void fc_transpose4(const vec in[4], vec out[4]) {
    vec a = _mm256_unpacklo_ps(in[0], in[1]), b = _mm256_unpackhi_ps(in[0], in[1]);
    vec c = _mm256_unpacklo_ps(in[2], in[3]), d = _mm256_unpackhi_ps(in[2], in[3]);
    out[0] = _mm256_shuffle_ps(a, c, 0x44);
    out[1] = _mm256_shuffle_ps(a, c, 0xee);
    out[2] = _mm256_shuffle_ps(b, d, 0x44);
    out[3] = _mm256_shuffle_ps(b, d, 0xee);
}
FC_INLINE void v_deinterleave4(const real *p, vec out[4]) {
    vec rows[4] = {fc_load_halves(p, 16), fc_load_halves(p + 4, 16), fc_load_halves(p + 8, 16),
                   fc_load_halves(p + 12, 16)};
    fc_transpose4(rows, out);
}
FC_INLINE void v_interleave4(real *p, const vec in[4]) {
    vec rows[4];
    fc_transpose4(in, rows);
    v_store(p, _mm256_permute2f128_ps(rows[0], rows[1], 0x20));
    v_store(p + VL, _mm256_permute2f128_ps(rows[2], rows[3], 0x20));
    v_store(p + 2 * VL, _mm256_permute2f128_ps(rows[0], rows[1], 0x31));
    v_store(p + 3 * VL, _mm256_permute2f128_ps(rows[2], rows[3], 0x31));
}
#endif

static __attribute__((noinline, unused)) void fc_store_part(real *p, vec a, int64_t n) { fc_store_lanes(p, a, n); }
FC_INLINE void v_storen(real *p, vec a, int64_t n) {
    if (!FC_STORES_BY_CALL || __builtin_constant_p(n))
        fc_store_lanes(p, a, n);
    else
        fc_store_part(p, a, n);
}
/* Through memory: the count of the instructions that shift is theirs alone. */
FC_INLINE vec v_align(vec a, vec b, int n) {
    real lanes[2 * VL];
    v_store(lanes, a);
    v_store(lanes + VL, b);
    return v_load(lanes + n);
}
FC_INLINE real v_reduce_max(vec a) {
    real lanes[VL];
    v_store(lanes, a);
    real most = lanes[0];
    for (int i = 1; i < VL; i++)
        most = lanes[i] > most ? lanes[i] : most;
    return most;
}

#if FC_IS_F16
FC_INLINE vec v_loads(const stor *p) { return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)p)); }
FC_INLINE void v_stores(stor *p, vec a) {
    _mm_storeu_si128((__m128i *)p, _mm256_cvtps_ph(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}
FC_INLINE real s_load(const stor *p) { return _cvtsh_ss(*p); }
FC_INLINE void s_store(stor *p, real value) { *p = _cvtss_sh(value, _MM_FROUND_TO_NEAREST_INT); }
#elif FC_IS_BF16
FC_INLINE vec v_loads(const stor *p) {
    __m256i wide = _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)p));
    return _mm256_castsi256_ps(_mm256_slli_epi32(wide, 16));
}
/* Round to nearest even; a NaN keeps its top bits and turns quiet. */
FC_INLINE void v_stores(stor *p, vec a) {
    __m256i bits = _mm256_castps_si256(a), high = _mm256_srli_epi32(bits, 16);
    __m256i odd = _mm256_and_si256(high, _mm256_set1_epi32(1));
    __m256i rounded = _mm256_srli_epi32(
        _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff))), 16);
    __m256i nan = _mm256_castps_si256(_mm256_cmp_ps(a, a, _CMP_UNORD_Q));
    __m256i quiet = _mm256_or_si256(high, _mm256_set1_epi32(0x40));
    rounded = _mm256_blendv_epi8(rounded, quiet, nan);
    __m256i packed = _mm256_permute4x64_epi64(_mm256_packus_epi32(rounded, rounded), 0x08);
    _mm_storeu_si128((__m128i *)p, _mm256_castsi256_si128(packed));
}
FC_INLINE real s_load(const stor *p) { return fc_bfloat16_to_float(*p); }
FC_INLINE void s_store(stor *p, real value) { *p = fc_float_to_bfloat16(value); }
#endif
#if FC_IS_NARROW
FC_INLINE vec v_loadsn(const stor *p, int64_t n) {
    stor lanes[VL] = {0};
    memcpy(lanes, p, (size_t)n * sizeof *p);
    return v_loads(lanes);
}
FC_INLINE void v_storesn(stor *p, vec a, int64_t n) {
    stor lanes[VL];
    v_stores(lanes, a);
    memcpy(p, lanes, (size_t)n * sizeof *p);
}
#endif
