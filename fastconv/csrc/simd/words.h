/* Whole numbers beside float32 vectors, in the compilers' vector extension but for what that has no words for:
 *
 *   words            VL of 32 bits; v_to_words(vec) cuts, v_from_words(words); w_lanes_below(a, b)
 *   halves           2 * VL of 16 bits, unsigned, because only there is wrapping defined; h_product_high(a, b): the upper
 *                    half of each product; h_zero_lanes(a): bit i tells whether lane i is 0; h_widen_bytes(p),
 *                    h_pack_bytes(a, b, p): from and to bytes, which they must fit; none for the narrowest set
 *   v_lanes_below(a, b)  bit i of the result: whether lane i of a is below that of b
 *   doubles          DOUBLES, of which a vector holds as many; v_widen_floats(p), v_widen_bytes(p): neighbours from p on;
 *                    v_gather_floats(p, at)  p[at[0]], p[at[1]], ...
 *   eights           DOUBLES times eight bytes; v_gather_eights(p, at)  those from p + at[0], p + at[1], ... on;
 *                    v_low_bytes(eights)  the first byte of each; not for the narrowest set, nor v_widen_bytes
 */
#ifndef FC_WORDS_H
#define FC_WORDS_H

#include "simd/vec.h"

typedef int32_t words __attribute__((vector_size(VL * sizeof(int32_t))));
typedef uint16_t halves __attribute__((vector_size(VL * sizeof(int32_t))));
typedef uint64_t eights __attribute__((vector_size(VL * sizeof(int32_t))));
typedef double doubles __attribute__((vector_size(VL * sizeof(int32_t))));

enum { DOUBLES = VL / 2 };

FC_INLINE words v_to_words(vec a) { return __builtin_convertvector(a, words); }
FC_INLINE vec v_from_words(words a) { return __builtin_convertvector(a, vec); }

#if FC_ISA_IS >= 3
FC_INLINE uint32_t v_lanes_below(vec a, vec b) { return _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ); }
FC_INLINE uint32_t w_lanes_below(words a, words b) { return _mm512_cmplt_epi32_mask((__m512i)a, (__m512i)b); }
FC_INLINE halves h_product_high(halves a, halves b) { return (halves)_mm512_mulhi_epu16((__m512i)a, (__m512i)b); }
FC_INLINE uint32_t h_zero_lanes(halves a) { return _mm512_testn_epi16_mask((__m512i)a, (__m512i)a); }
FC_INLINE halves h_widen_bytes(const uint8_t *p) {
    return (halves)_mm512_cvtepu8_epi16(_mm256_loadu_si256((const __m256i *)(const void *)p));
}
FC_INLINE void h_pack_bytes(halves a, halves b, uint8_t *p) {
    __m512i mixed = _mm512_packus_epi16((__m512i)a, (__m512i)b);
    _mm512_storeu_si512(p, _mm512_permutexvar_epi64(_mm512_setr_epi64(0, 2, 4, 6, 1, 3, 5, 7), mixed));
}
FC_INLINE eights v_gather_eights(const uint8_t *p, const int32_t at[DOUBLES]) {
    return (eights)_mm512_i32gather_epi64(_mm256_loadu_si256((const __m256i *)(const void *)at), p, 1);
}
FC_INLINE doubles v_widen_bytes(const uint8_t *p) {
    return (doubles)_mm512_cvtepi32_pd(_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)p)));
}
FC_INLINE doubles v_widen_floats(const float *p) { return (doubles)_mm512_cvtps_pd(_mm256_loadu_ps(p)); }
FC_INLINE doubles v_gather_floats(const float *p, const int32_t at[DOUBLES]) {
    return (doubles)_mm512_cvtps_pd(_mm256_i32gather_ps(p, _mm256_loadu_si256((const __m256i *)(const void *)at), 4));
}
#elif FC_ISA_IS == 2
FC_INLINE uint32_t v_lanes_below(vec a, vec b) { return (uint32_t)_mm256_movemask_ps(_mm256_cmp_ps(a, b, _CMP_LT_OQ)); }
FC_INLINE uint32_t w_lanes_below(words a, words b) {
    return (uint32_t)_mm256_movemask_ps(_mm256_castsi256_ps(_mm256_cmpgt_epi32((__m256i)b, (__m256i)a)));
}
FC_INLINE halves h_product_high(halves a, halves b) { return (halves)_mm256_mulhi_epu16((__m256i)a, (__m256i)b); }
FC_INLINE uint32_t h_zero_lanes(halves a) {
    __m256i bytes = _mm256_packs_epi16((__m256i)(a == 0), _mm256_setzero_si256());
    uint32_t bits = (uint32_t)_mm256_movemask_epi8(bytes);
    return (bits & 255) | (bits >> 8 & 0xff00);
}
FC_INLINE halves h_widen_bytes(const uint8_t *p) {
    return (halves)_mm256_cvtepu8_epi16(_mm_loadu_si128((const __m128i *)(const void *)p));
}
FC_INLINE void h_pack_bytes(halves a, halves b, uint8_t *p) {
    __m256i mixed = _mm256_packus_epi16((__m256i)a, (__m256i)b);
    _mm256_storeu_si256((__m256i *)(void *)p, _mm256_permute4x64_epi64(mixed, 0xd8));
}
FC_INLINE eights v_gather_eights(const uint8_t *p, const int32_t at[DOUBLES]) {
    __m128i places = _mm_loadu_si128((const __m128i *)(const void *)at);
    return (eights)_mm256_i32gather_epi64((const long long *)(const void *)p, places, 1);
}
FC_INLINE doubles v_widen_bytes(const uint8_t *p) {
    int32_t four;
    memcpy(&four, p, sizeof four);
    return (doubles)_mm256_cvtepi32_pd(_mm_cvtepu8_epi32(_mm_cvtsi32_si128(four)));
}
FC_INLINE doubles v_widen_floats(const float *p) { return (doubles)_mm256_cvtps_pd(_mm_loadu_ps(p)); }
FC_INLINE doubles v_gather_floats(const float *p, const int32_t at[DOUBLES]) {
    return (doubles)_mm256_cvtps_pd(_mm_i32gather_ps(p, _mm_loadu_si128((const __m128i *)(const void *)at), 4));
}
#else
FC_INLINE uint32_t v_lanes_below(vec a, vec b) {
    uint32_t bits = 0;
    for (int i = 0; i < VL; i++)
        bits |= (uint32_t)(a[i] < b[i]) << i;
    return bits;
}
FC_INLINE doubles v_widen_floats(const float *p) {
    doubles to = {0};
    for (int i = 0; i < DOUBLES; i++)
        to[i] = p[i];
    return to;
}
FC_INLINE doubles v_gather_floats(const float *p, const int32_t at[DOUBLES]) {
    doubles to = {0};
    for (int i = 0; i < DOUBLES; i++)
        to[i] = p[at[i]];
    return to;
}
#endif

#if FC_ISA_IS >= 2
/* By way of a double whose last bits the byte is. */
FC_INLINE doubles v_low_bytes(eights a) { return (doubles)((a & 255) | 0x4330000000000000) - 0x1p52; }
#endif

#endif
