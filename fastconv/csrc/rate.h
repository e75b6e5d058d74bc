/* What one core of this machine can do at most: the bounds that kernels are measured against.
 *
 * rate.c takes the time; kernels/rate/rate.c, compiled per instruction set and dtype, does work that keeps one
 * unit busy and nothing else. */
#ifndef FC_RATE_H
#define FC_RATE_H

#include "fastconv.h"

typedef struct fc_rate_kernel {
    const char *name;  /* "rate.f32.avx512" */
    double step_flops; /* of one step of multiply */
    /* As many independent chains of fused multiply-adds as a register tile has. `values` is 64-byte aligned and
     * takes a sum, so that no compiler can drop the work. */
    void (*multiply)(int64_t steps, void *values);
    /* Reads `bytes` (a multiple of 4096, 64-byte aligned) `passes` times. */
    void (*read)(const void *from, size_t bytes, int64_t passes, void *values); /* NULL: tiles */
} fc_rate_kernel;

#endif
