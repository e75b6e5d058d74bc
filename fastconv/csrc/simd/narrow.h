/* float16 and bfloat16 in plain C, rounding to nearest even; subnormals kept, NaN stays NaN. */
#ifndef FC_NARROW_H
#define FC_NARROW_H

#include <stdint.h>
#include <string.h>

static inline uint32_t fc_float_bits(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static inline float fc_bits_float(uint32_t bits) {
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* Not inlined: kernels unroll their loads, and without instructions for it this is a page of code. */
#define FC_OUTLINE static __attribute__((noinline, unused))

FC_OUTLINE float fc_half_to_float(uint16_t half) {
    uint32_t sign = (half & 0x8000u) << 16, magnitude = half & 0x7fffu;
    if (magnitude >= 0x7c00u) /* infinity, NaN */
        return fc_bits_float(sign | 0x7f800000u | (magnitude & 0x3ffu) << 13);
    if (magnitude >= 0x400u)
        return fc_bits_float(sign | ((magnitude << 13) + (112u << 23)));
    return fc_bits_float(sign | fc_float_bits((float)magnitude * 0x1p-24f));
}

FC_OUTLINE uint16_t fc_float_to_half(float value) {
    uint32_t bits = fc_float_bits(value);
    uint32_t sign = bits >> 16 & 0x8000u, magnitude = bits & 0x7fffffffu, half;
    if (magnitude > 0x7f800000u)
        half = 0x7e00u | (magnitude >> 13 & 0x1ffu);
    else if (magnitude >= 0x477ff000u) /* rounds above the largest half */
        half = 0x7c00u;
    else if (magnitude >= 0x38800000u)
        half = ((magnitude + 0xfffu + (magnitude >> 13 & 1u)) >> 13) - (112u << 10);
    else /* adding 1/2 leaves the subnormal's significand, rounded, in the low bits */
        half = fc_float_bits(fc_bits_float(magnitude) + 0.5f) - 0x3f000000u;
    return (uint16_t)(sign | half);
}

static inline float fc_bfloat16_to_float(uint16_t narrow) { return fc_bits_float((uint32_t)narrow << 16); }

static inline uint16_t fc_float_to_bfloat16(float value) {
    uint32_t bits = fc_float_bits(value);
    if ((bits & 0x7fffffffu) > 0x7f800000u)
        return (uint16_t)(bits >> 16 | 0x40u);
    return (uint16_t)((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}

#endif
