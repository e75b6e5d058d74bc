/* Whole numbers beside float32 vectors, in the compilers' vector extension but for what that has no words for:
 *
 *   words            VL of 32 bits; v_to_words(vec) cuts, v_from_words(words); w_lanes_below(a, b)
 *   halves           2 * VL of 16 bits, unsigned, because only there is wrapping defined; h_product_high(a, b): the upper
 *                    half of each product; not for the narrowest set
 *   v_lanes_below(a, b)  bit i of the result: whether lane i of a is below that of b
 *   v_gather_floats(p, at, &to)  p[at[0]], ..., p[at[7]]
 *   eights           eight times eight bytes; v_gather_eights(p, at, &to)  those from p + at[0], ..., p + at[7] on;
 *                    v_widen_bytes(p, &to)  eight bytes as doubles; neither for the narrowest set
 *
 * Of wider vectors than `vec` there are no functions' values: how one returns depends on the instruction set.
 */
#ifndef FC_WORDS_H
#define FC_WORDS_H

#include "simd/vec.h"

typedef int32_t words __attribute__((vector_size(VL * sizeof(int32_t))));
typedef uint16_t halves __attribute__((vector_size(VL * sizeof(int32_t))));
typedef uint64_t eights __attribute__((vector_size(64)));
typedef float eight_floats __attribute__((vector_size(32)));
typedef double eight_doubles __attribute__((vector_size(64)));

FC_INLINE words v_to_words(vec a) { return __builtin_convertvector(a, words); }
FC_INLINE vec v_from_words(words a) { return __builtin_convertvector(a, vec); }

#if FC_ISA_IS >= 3
FC_INLINE uint32_t v_lanes_below(vec a, vec b) { return _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ); }
FC_INLINE uint32_t w_lanes_below(words a, words b) { return _mm512_cmplt_epi32_mask((__m512i)a, (__m512i)b); }
FC_INLINE halves h_product_high(halves a, halves b) { return (halves)_mm512_mulhi_epu16((__m512i)a, (__m512i)b); }
FC_INLINE void v_gather_eights(const uint8_t *p, const int32_t at[8], eights *to) {
    *to = (eights)_mm512_i32gather_epi64(_mm256_loadu_si256((const __m256i *)(const void *)at), p, 1);
}
FC_INLINE void v_widen_bytes(const uint8_t *p, eight_doubles *to) {
    *to = (eight_doubles)_mm512_cvtepi32_pd(_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)p)));
}
#elif FC_ISA_IS == 2
FC_INLINE uint32_t v_lanes_below(vec a, vec b) { return (uint32_t)_mm256_movemask_ps(_mm256_cmp_ps(a, b, _CMP_LT_OQ)); }
FC_INLINE uint32_t w_lanes_below(words a, words b) {
    return (uint32_t)_mm256_movemask_ps(_mm256_castsi256_ps(_mm256_cmpgt_epi32((__m256i)b, (__m256i)a)));
}
FC_INLINE halves h_product_high(halves a, halves b) { return (halves)_mm256_mulhi_epu16((__m256i)a, (__m256i)b); }
FC_INLINE void v_gather_eights(const uint8_t *p, const int32_t at[8], eights *to) {
    for (int i = 0; i < 8; i++)
        memcpy((char *)to + 8 * i, p + at[i], 8);
}
FC_INLINE void v_widen_bytes(const uint8_t *p, eight_doubles *to) {
    __m128i bytes = _mm_loadl_epi64((const __m128i *)(const void *)p);
    __m256d half[2] = {_mm256_cvtepi32_pd(_mm_cvtepu8_epi32(bytes)),
                       _mm256_cvtepi32_pd(_mm_cvtepu8_epi32(_mm_srli_si128(bytes, 4)))};
    memcpy(to, half, sizeof half);
}
#else
FC_INLINE uint32_t v_lanes_below(vec a, vec b) {
    uint32_t bits = 0;
    for (int i = 0; i < VL; i++)
        bits |= (uint32_t)(a[i] < b[i]) << i;
    return bits;
}
#endif

#if FC_ISA_IS >= 2
FC_INLINE void v_gather_floats(const float *p, const int32_t at[8], eight_floats *to) {
    *to = (eight_floats)_mm256_i32gather_ps(p, _mm256_loadu_si256((const __m256i *)(const void *)at), 4);
}
#else
FC_INLINE void v_gather_floats(const float *p, const int32_t at[8], eight_floats *to) {
    for (int i = 0; i < 8; i++)
        (*to)[i] = p[at[i]];
}
#endif

#endif
