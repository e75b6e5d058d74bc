/* Integer arithmetic of sizes and block sizes that every kernel needs. Operands of a division are positive. */
#ifndef FC_INTEGERS_H
#define FC_INTEGERS_H

#include <stdint.h>

#include "simd/vec.h"

FC_INLINE int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }
FC_INLINE int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }
FC_INLINE int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }
FC_INLINE int64_t round_up(int64_t a, int64_t b) { return divide_up(a, b) * b; }

/* a / b of non-negative values: a 64-bit division takes three times as long as the 32-bit one that nearly always
 * serves. */
FC_INLINE int64_t fc_quotient(int64_t a, int64_t b) {
    return ((uint64_t)a | (uint64_t)b) >> 32 ? a / b : (int64_t)((uint32_t)a / (uint32_t)b);
}

#endif
