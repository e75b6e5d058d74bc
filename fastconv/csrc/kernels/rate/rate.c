/* rate: loops that reach one bound of the core each; see rate.h. Nothing here is a convolution.
 *
 * multiply: TILE_ROWS * TILE_VECS chains, the number a register tile has, cover the latency of the FMA units.
 * read: one load and one addition per vector, eight chains, so the loads are what limits it.
 */
#include "rate.h"

#include "simd/vec.h"

enum { CHAINS = TILE_ROWS * TILE_VECS, READ_CHAINS = 8 };

static void multiply(int64_t steps, void *values) {
    real *value = values;
    vec factor = v_set1((real)0.5), term = v_set1((real)1), chain[CHAINS]; /* towards 2: never denormal */
    _Pragma("GCC unroll 32") for (int i = 0; i < CHAINS; i++)
        chain[i] = v_set1((real)i);
    for (int64_t step = 0; step < steps; step++) {
        _Pragma("GCC unroll 32") for (int i = 0; i < CHAINS; i++)
            chain[i] = v_fma(chain[i], factor, term);
    }
    vec sum = v_zero();
    _Pragma("GCC unroll 32") for (int i = 0; i < CHAINS; i++)
        sum = v_add(sum, chain[i]);
    *value = v_reduce_max(sum);
}

static void read(const void *from, size_t bytes, int64_t passes, void *values) {
    vec sums[READ_CHAINS];
    _Pragma("GCC unroll 8") for (int i = 0; i < READ_CHAINS; i++)
        sums[i] = v_zero();
    int64_t count = (int64_t)(bytes / sizeof(real));
    for (int64_t pass = 0; pass < passes; pass++) {
        for (int64_t at = 0; at < count; at += READ_CHAINS * VL)
            _Pragma("GCC unroll 8") for (int i = 0; i < READ_CHAINS; i++)
                sums[i] = v_add(sums[i], v_load((const real *)from + at + i * VL));
        __asm__ volatile("" ::: "memory"); /* every pass reads again */
    }
    _Pragma("GCC unroll 8") for (int i = 1; i < READ_CHAINS; i++)
        sums[0] = v_add(sums[0], sums[i]);
    *(real *)values = v_reduce_max(sums[0]);
}

const fc_rate_kernel FC_FN(fc_rate_kernel);
const fc_rate_kernel FC_FN(fc_rate_kernel) = {
    .name = FC_NAME("rate"),
    .step_flops = 2.0 * CHAINS * VL,
    .multiply = multiply,
    .read = read,
};
