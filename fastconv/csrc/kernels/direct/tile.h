/* The register tile of direct: one or two runs of up to SEGMENT neighbouring pixels, broadcast, times one or two
 * vectors of output channels.
 *
 * Two runs of SEGMENT pixels by two vectors fill the register file (2 x 7 x 2 accumulators of 32 registers, 2 x 3 x
 * 2 of 16). The two runs have a base pointer each: they may lie in two output rows, which serves narrow maps, or
 * follow one another. Each sum is a chain of its own, so its bits do not depend on the tile's shape. Bound: FMA
 * throughput; a step is 28 FMAs against 14 broadcasts and 2 loads of weights, which stream from L2.
 */
#ifndef FC_DIRECT_TILE_H
#define FC_DIRECT_TILE_H

#include <stdbool.h>

#include "simd/vec.h"

/* TILE_LATENCY: cycles from one sum to the next; the portable vectors multiply and add one after the other. */
#if FC_ISA_IS >= 3
#define SEGMENT 7
#define TILE_LATENCY 4
#elif FC_ISA_IS == 2
#define SEGMENT 3
#define TILE_LATENCY 4
#else
#define SEGMENT 2
#define TILE_LATENCY 8
#endif
enum { BLOCK_VECS = 2, PREFETCH_STEPS = 32, LINE_VECS = 64 / sizeof(vec) };

#define FC_UNROLL_TILE _Pragma("GCC unroll 16")

/* One chunk of the reduction: `run_count` dense runs of `run_length` values of the window. */
typedef struct chunk_runs {
    const int64_t *offset; /* of each run, from a pixel's place in the window */
    int64_t run_count, run_length;
    int64_t pixel_step; /* elements of the window between neighbouring pixels */
} chunk_runs;

/* sums[run][pixel][lane], runs `sums_step` apart, is set to or, with add, grows by the chunk's products. */
FC_INLINE void tile_body(const int runs, const int pixels, const int vecs, const chunk_runs *chunk,
                         const real *x0, const real *x1, const real *weights, real *sums, int64_t sums_step,
                         bool add) {
    vec acc[2 * SEGMENT][BLOCK_VECS];
    const int64_t step = chunk->pixel_step;
    FC_UNROLL_TILE for (int r = 0; r < runs * pixels; r++)
        FC_UNROLL_TILE for (int v = 0; v < vecs; v++)
            acc[r][v] = v_zero();
    for (int64_t run = 0; run < chunk->run_count; run++) {
        const real *p0 = x0 + chunk->offset[run], *p1 = x1 + chunk->offset[run];
        for (int64_t c = chunk->run_length; c > 0; c--) {
            vec weight[BLOCK_VECS];
            FC_UNROLL_TILE for (int v = 0; v < vecs; v++)
                weight[v] = v_load(weights + v * VL);
            FC_UNROLL_TILE for (int r = 0; r < runs * pixels; r++) {
                vec value = v_set1(r < pixels ? p0[r * step] : p1[(r - pixels) * step]);
                FC_UNROLL_TILE for (int v = 0; v < vecs; v++)
                    acc[r][v] = v_fma(value, weight[v], acc[r][v]);
            }
            FC_UNROLL_TILE for (int v = 0; v < vecs; v += LINE_VECS)
                __builtin_prefetch(weights + (PREFETCH_STEPS * vecs + v) * VL);
            weights += vecs * VL;
            p0++;
            p1++;
        }
    }
    FC_UNROLL_TILE for (int r = 0; r < runs * pixels; r++)
        FC_UNROLL_TILE for (int v = 0; v < vecs; v++) {
            real *to = sums + (r < pixels ? r : r - pixels) * vecs * VL + (r < pixels ? 0 : sums_step) + v * VL;
            v_store(to, add ? v_add(v_load(to), acc[r][v]) : acc[r][v]);
        }
}

#define TILE_CASE(runs, pixels, vecs) \
    case ((runs) * 16 + (pixels)) * 4 + (vecs): \
        tile_body(runs, pixels, vecs, chunk, x0, x1, weights, sums, sums_step, add); \
        return;
#define TILE_CASES(pixels) \
    TILE_CASE(1, pixels, 1) \
    TILE_CASE(1, pixels, 2) \
    TILE_CASE(2, pixels, 1) \
    TILE_CASE(2, pixels, 2)

static __attribute__((noinline)) void tile(int64_t runs, int64_t pixels, int64_t vecs, const chunk_runs *chunk,
                                           const real *x0, const real *x1, const real *weights, real *sums,
                                           int64_t sums_step, bool add) {
    switch ((runs * 16 + pixels) * 4 + vecs) {
        TILE_CASES(1)
        TILE_CASES(2)
#if SEGMENT >= 3
        TILE_CASES(3)
#endif
#if SEGMENT >= 7
        TILE_CASES(4)
        TILE_CASES(5)
        TILE_CASES(6)
        TILE_CASES(7)
#endif
    }
}

#endif
