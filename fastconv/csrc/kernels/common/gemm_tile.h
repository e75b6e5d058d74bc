/* The register tile: rows of A (broadcast) times columns of B (vectors), sums kept in registers.
 *
 * A is a dense panel of `rows` values per step of the reduction; B gives vecs * VL neighbouring values per step,
 * dense and in order (fc_tile) or at an offset per step (fc_tile_at). Bound: FMA throughput; per step rows * vecs
 * FMAs against rows broadcasts, vecs loads and an offset. GEMM_ROWS x GEMM_VECS fills the register file. Any number
 * of rows is cut into tiles of GEMM_ROWS, 4, 2 and 1, so nothing is computed twice or for padding. Tiles of one or two rows
 * have too few sums to hide the FMA's latency: two chains each, of even and of odd steps, added at the end.
 * After Goto and van de Geijn, "Anatomy of high-performance matrix multiplication" (2008).
 */
#ifndef FC_GEMM_TILE_H
#define FC_GEMM_TILE_H

#include <stdbool.h>

#include "simd/vec.h"

/* With 16 registers, a step of 4 x 3 sums loads 7 values for its 12 products, one of 6 x 2 loads 8; columns of 3 vectors
 * are set up less often, and 4 divides most numbers of channels. Medians of calls by turns beside a busy sibling thread,
 * over 6 x 2: 1x1 layers 1.0 to 1.1-fold, layers whose columns are packed 1.0 to 1.3. */
#if FC_ISA_IS == 2
#define GEMM_ROWS 4
#define GEMM_VECS 3
#else
#define GEMM_ROWS TILE_ROWS
#define GEMM_VECS TILE_VECS
#endif

/* Rows of the next panel, at most `most`, when `left` are still to do: of these tiles, and of tiles of TILE_ROWS. */
FC_INLINE int64_t fc_next_rows(int64_t most, int64_t left) {
    return left >= most ? most : left >= 4 ? 4 : left >= 2 ? 2 : 1;
}
FC_INLINE int64_t fc_gemm_rows(int64_t left) { return fc_next_rows(GEMM_ROWS, left); }
FC_INLINE int64_t fc_panel_rows(int64_t left) { return fc_next_rows(TILE_ROWS, left); }

/* Rows that have two chains: code in proportion to use. Bits depend on it, so it is a function of nothing else. */
#define FC_TWO_CHAINS_ROWS (FC_ISA_IS >= 2 && !FC_IS_NARROW ? 2 : 0)

#define FC_UNROLL _Pragma("GCC unroll 16")
/* Steps at a time. Counting them takes the ports of the FMAs on Intel: with short vectors a twentieth of a tile's time. */
#if FC_ISA_IS == 2
#define FC_UNROLL_STEPS _Pragma("GCC unroll 2")
#else
#define FC_UNROLL_STEPS
#endif
#define FC_EACH_SUM(rows, vecs) \
    FC_UNROLL for (int r = 0; r < (rows); r++) FC_UNROLL for (int v = 0; v < (vecs); v++)

/* Weights that were not packed: step k of row r is weights[offset[k] + r * row_step]. */
typedef struct fc_unpacked {
    const int64_t *offset;
    int64_t row_step;
} fc_unpacked;

/* Lines of memory to ask for, one with each of the first `count` steps, since many at once wait for one another, and the
 * tile behind them. */
typedef struct fc_fetches {
    const char *from;
    const int64_t *offset;
    int64_t count;
} fc_fetches;

/* Whether tiles of `rows` do so: code in proportion to use, in kernels that ask for it. */
#ifndef FC_FETCHES_BY_STEPS
#define FC_FETCHES_BY_STEPS 0
#endif
FC_INLINE bool fc_tile_fetches(int64_t rows) { return FC_FETCHES_BY_STEPS && rows == GEMM_ROWS && !FC_IS_NARROW; }

/* acc += one step's products: of the vectors at `b` and `rows` weights. */
FC_INLINE void fc_tile_step(const int rows, const int vecs, const real *a, int64_t a_step, const real *b,
                            vec acc[GEMM_ROWS][GEMM_VECS]) {
    vec column[GEMM_VECS];
    FC_UNROLL for (int v = 0; v < vecs; v++)
        column[v] = v_load(b + v * VL);
    FC_UNROLL for (int r = 0; r < rows; r++) {
        vec weight = v_set1(a[r * a_step]);
        FC_UNROLL for (int v = 0; v < vecs; v++)
            acc[r][v] = v_fma(weight, column[v], acc[r][v]);
    }
}

/* acc = sum over `depth` of a * b, where step k reads b + offset[k] if it is `scattered`, else the next vecs vectors,
 * and the next `rows` values of a unless it is unpacked. */
FC_INLINE void fc_tile_multiply(const int rows, const int vecs, const bool scattered, int64_t depth, const real *a,
                                const fc_unpacked *unpacked, const real *b, const int64_t *offset,
                                const fc_fetches *fetches, vec acc[GEMM_ROWS][GEMM_VECS]) {
    const int64_t *a_offset = unpacked ? unpacked->offset : NULL, a_step = unpacked ? unpacked->row_step : 1;
    FC_EACH_SUM(rows, vecs) acc[r][v] = v_zero();
    int64_t k = 0;
#define FC_TILE_STEP(k, acc)                                                      \
    fc_tile_step(rows, vecs, unpacked ? a + a_offset[k] : a + (k) * rows, a_step, \
                 scattered ? b + offset[k] : b + (k) * vecs * VL, acc)
    if (rows <= FC_TWO_CHAINS_ROWS) {
        vec odd[GEMM_ROWS][GEMM_VECS];
        FC_EACH_SUM(rows, vecs) odd[r][v] = v_zero();
        for (; k + 1 < depth; k += 2) {
            FC_TILE_STEP(k, acc);
            FC_TILE_STEP(k + 1, odd);
        }
        if (k < depth)
            FC_TILE_STEP(k, acc);
        FC_EACH_SUM(rows, vecs) acc[r][v] = v_add(acc[r][v], odd[r][v]);
        return;
    }
    if (fetches && fc_tile_fetches(rows))
        FC_UNROLL_STEPS for (; k < fetches->count; k++) {
            __builtin_prefetch(fetches->from + fetches->offset[k], 0, 2);
            FC_TILE_STEP(k, acc);
        }
    FC_UNROLL_STEPS for (; k < depth; k++)
        FC_TILE_STEP(k, acc);
#undef FC_TILE_STEP
}

/* sums[row * sums_step + lane] = (add ? sums : 0) + acc */
FC_INLINE void fc_tile_keep(const int rows, const int vecs, vec acc[GEMM_ROWS][GEMM_VECS], real *sums,
                            int64_t sums_step, bool add) {
    FC_EACH_SUM(rows, vecs) {
        real *to = sums + r * sums_step + v * VL;
        v_store(to, add ? v_add(v_load(to), acc[r][v]) : acc[r][v]);
    }
}

/* Up to GEMM_VECS vectors of neighbouring output pixels. */
typedef struct fc_panel {
    const real *columns;       /* step k of the chunk reads columns + offset[k] */
    const int64_t *offset;
    int64_t first, count, vecs; /* output pixels */
    stor *out;                 /* of channel 0; NULL when a tile cannot be stored from its registers */
    const stor *residual;      /* likewise, or NULL */
} fc_panel;

/* How the sums of the last chunk are finished in their registers, as fc_finish does, for out dense along the lanes. */
typedef struct fc_tile_end {
    int64_t out_step, residual_step; /* from channel to channel */
    const real *bias;                /* one a channel, or NULL */
    bool bounded;
    real low, high;
} fc_tile_end;

FC_INLINE void fc_tile_finish(const int rows, const int vecs, vec acc[GEMM_ROWS][GEMM_VECS], const fc_panel *panel,
                              int64_t channel, const fc_tile_end *end) {
    if (end->bias)
        FC_UNROLL for (int r = 0; r < rows; r++) {
            vec bias = v_set1(end->bias[channel + r]);
            FC_UNROLL for (int v = 0; v < vecs; v++)
                acc[r][v] = v_add(acc[r][v], bias);
        }
    int64_t last = panel->count - (vecs - 1) * VL;
    if (panel->residual)
        FC_EACH_SUM(rows, vecs) {
            const stor *from = panel->residual + (channel + r) * end->residual_step + v * VL;
            acc[r][v] = v_add(acc[r][v], v + 1 < vecs || last == VL ? v_loads(from) : v_loadsn(from, last));
        }
    if (end->bounded) {
        vec low = v_set1(end->low), high = v_set1(end->high);
        FC_EACH_SUM(rows, vecs) acc[r][v] = v_min(high, v_max(low, acc[r][v]));
    }
    stor *to = panel->out + channel * end->out_step;
    if (last == VL)
        FC_EACH_SUM(rows, vecs) v_stores(to + r * end->out_step + v * VL, acc[r][v]);
    else
        FC_EACH_SUM(rows, vecs) {
            if (v + 1 < vecs)
                v_stores(to + r * end->out_step + v * VL, acc[r][v]);
            else
                v_storesn(to + r * end->out_step + v * VL, acc[r][v], last);
        }
}

FC_INLINE void fc_tile_body(const int rows, const int vecs, int64_t depth, const real *a, const real *b,
                            real *sums, int64_t sums_step, int add) {
    vec acc[GEMM_ROWS][GEMM_VECS];
    fc_tile_multiply(rows, vecs, false, depth, a, NULL, b, NULL, NULL, acc);
    fc_tile_keep(rows, vecs, acc, sums, sums_step, add);
}

FC_INLINE void fc_tile_at_body(const int rows, const int vecs, int64_t depth, const real *a,
                               const fc_unpacked *unpacked, const fc_panel *panel, const fc_fetches *fetches,
                               real *sums, bool add, int64_t channel, const fc_tile_end *end) {
    vec acc[GEMM_ROWS][GEMM_VECS];
    fc_tile_multiply(rows, vecs, true, depth, a, unpacked, panel->columns, panel->offset, fetches, acc);
    if (end == NULL) {
        fc_tile_keep(rows, vecs, acc, sums, GEMM_VECS * VL, add);
        return;
    }
    if (add)
        FC_EACH_SUM(rows, vecs) acc[r][v] = v_add(v_load(sums + (r * GEMM_VECS + v) * VL), acc[r][v]);
    fc_tile_finish(rows, vecs, acc, panel, channel, end);
}

#if GEMM_VECS >= 3
#define FC_TILE_THREES(CASE) CASE(4, 3) CASE(2, 3) CASE(1, 3)
#else
#define FC_TILE_THREES(CASE)
#endif
#if GEMM_ROWS != 4
#define FC_TILE_FULL(CASE) CASE(GEMM_ROWS, 3) CASE(GEMM_ROWS, 2) CASE(GEMM_ROWS, 1)
#else
#define FC_TILE_FULL(CASE)
#endif
#define FC_TILE_CASES(CASE) \
    FC_TILE_THREES(CASE) FC_TILE_FULL(CASE) \
    CASE(4, 2) CASE(4, 1) CASE(2, 2) CASE(2, 1) CASE(1, 2) CASE(1, 1)

#define FC_TILE_CASE(rows, vecs) \
    case (rows) * 4 + (vecs): \
        fc_tile_body(rows, vecs, depth, a, b, sums, sums_step, add); \
        return;
#define FC_TILE_AT_CASE(rows, vecs) \
    case (rows) * 4 + (vecs): \
        fc_tile_at_body(rows, vecs, depth, a, NULL, panel, fetches, sums, add, channel, end); \
        return;
#define FC_TILE_UNPACKED_CASE(rows, vecs) \
    case (rows) * 4 + (vecs): \
        fc_tile_at_body(rows, vecs, depth, a, unpacked, panel, NULL, sums, add, channel, end); \
        return;

/* rows: what fc_gemm_rows gave; vecs: 1 to GEMM_VECS. */
static __attribute__((unused, noinline)) void fc_tile(int64_t rows, int64_t vecs, int64_t depth, const real *a,
                                            const real *b, real *sums, int64_t sums_step, int add) {
    switch (rows * 4 + vecs) {
        FC_TILE_CASES(FC_TILE_CASE)
    }
}

/* A tile of `panel` and channels [channel, channel + rows), whose weights `a` are. sums, rows of GEMM_VECS vectors,
 * hold those of the chunks before when `add`; without an end they are kept there, else finished and stored. */
static __attribute__((unused, noinline)) void fc_tile_at(int64_t rows, int64_t depth, const real *a,
                                                         const fc_panel *panel, const fc_fetches *fetches,
                                                         real *sums, bool add, int64_t channel,
                                                         const fc_tile_end *end) {
    switch (rows * 4 + panel->vecs) {
        FC_TILE_CASES(FC_TILE_AT_CASE)
    }
}

/* The same with the weights where the caller has them: `a` is the first row's. */
static __attribute__((unused, noinline)) void fc_tile_unpacked(int64_t rows, int64_t depth, const real *a,
                                                               const fc_unpacked *unpacked, const fc_panel *panel,
                                                               real *sums, bool add, int64_t channel,
                                                               const fc_tile_end *end) {
    switch (rows * 4 + panel->vecs) {
        FC_TILE_CASES(FC_TILE_UNPACKED_CASE)
    }
}

#endif
