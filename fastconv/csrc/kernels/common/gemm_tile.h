/* The register tile: rows of A (broadcast) times columns of B (vectors), sums kept in registers.
 *
 * A is a panel of `rows` values per step of the reduction, B a panel of vecs * VL values per step, both
 * dense and in order. Bound: FMA throughput; per step rows * vecs FMAs against rows broadcasts and vecs
 * loads. TILE_ROWS x TILE_VECS (vec.h) fills the register file. Any number of rows is cut into tiles of
 * TILE_ROWS, 4, 2 and 1, so nothing is computed twice or for padding.
 * After Goto and van de Geijn, "Anatomy of high-performance matrix multiplication" (2008).
 */
#ifndef FC_GEMM_TILE_H
#define FC_GEMM_TILE_H

#include "simd/vec.h"

/* Rows of the next panel when `left` are still to do. */
FC_INLINE int64_t fc_panel_rows(int64_t left) {
    return left >= TILE_ROWS ? TILE_ROWS : left >= 4 ? 4 : left >= 2 ? 2 : 1;
}

#define FC_UNROLL _Pragma("GCC unroll 16")

/* sums[row * sums_step + lane] = (add ? sums : 0) + sum over `depth` of a * b */
FC_INLINE void fc_tile_body(const int rows, const int vecs, int64_t depth, const real *a, const real *b,
                            real *sums, int64_t sums_step, int add) {
    vec acc[TILE_ROWS][TILE_VECS];
    FC_UNROLL for (int r = 0; r < rows; r++)
        FC_UNROLL for (int v = 0; v < vecs; v++)
            acc[r][v] = v_zero();
    for (int64_t k = 0; k < depth; k++) {
        vec column[TILE_VECS];
        FC_UNROLL for (int v = 0; v < vecs; v++)
            column[v] = v_load(b + v * VL);
        FC_UNROLL for (int r = 0; r < rows; r++) {
            vec weight = v_set1(a[r]);
            FC_UNROLL for (int v = 0; v < vecs; v++)
                acc[r][v] = v_fma(weight, column[v], acc[r][v]);
        }
        a += rows;
        b += vecs * VL;
    }
    FC_UNROLL for (int r = 0; r < rows; r++)
        FC_UNROLL for (int v = 0; v < vecs; v++) {
            real *to = sums + r * sums_step + v * VL;
            v_store(to, add ? v_add(v_load(to), acc[r][v]) : acc[r][v]);
        }
}

#define FC_TILE_CASE(rows, vecs) \
    case (rows) * 4 + (vecs): \
        fc_tile_body(rows, vecs, depth, a, b, sums, sums_step, add); \
        return;

/* rows: what fc_panel_rows gave; vecs: 1 to TILE_VECS. */
static __attribute__((unused, noinline)) void fc_tile(int64_t rows, int64_t vecs, int64_t depth, const real *a,
                                            const real *b, real *sums, int64_t sums_step, int add) {
    switch (rows * 4 + vecs) {
#if TILE_VECS >= 3
        FC_TILE_CASE(TILE_ROWS, 3)
        FC_TILE_CASE(4, 3)
        FC_TILE_CASE(2, 3)
        FC_TILE_CASE(1, 3)
#endif
#if TILE_ROWS != 4
        FC_TILE_CASE(TILE_ROWS, 2)
        FC_TILE_CASE(TILE_ROWS, 1)
#endif
        FC_TILE_CASE(4, 2)
        FC_TILE_CASE(4, 1)
        FC_TILE_CASE(2, 2)
        FC_TILE_CASE(2, 1)
        FC_TILE_CASE(1, 2)
        FC_TILE_CASE(1, 1)
    }
}

#endif
