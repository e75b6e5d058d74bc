/* The products: for each, transformed weights times transformed inputs, a register tile at a time.
 *
 * Full vectors of tiles go along the lanes, weights broadcast. The few tiles left over (up to MOST_REST) are
 * broadcast instead, with out channels along the lanes, which costs what they are worth and not a whole vector.
 * Either way an output's products are added in the same order.
 * Bound: FMA throughput. While a tile multiplies it asks for lines that a later one will read.
 * After Goto and van de Geijn, "Anatomy of high-performance matrix multiplication" (2008).
 */
#ifndef FC_WINOGRAD_PRODUCTS_H
#define FC_WINOGRAD_PRODUCTS_H

#include "kernels/winograd/ahead.h"
#include "kernels/winograd/scratch.h"

/* sums[row * sums_step + lane] = (add ? sums : 0) + sum over `depth` of a * b; asks for `depth` lines from `ahead`. */
FC_INLINE void tile_body(const int rows, const int vecs, int64_t depth, const real *a, const real *b, int64_t b_step,
                         real *sums, int64_t sums_step, int add, const real *ahead) {
    vec acc[PANEL_ROWS][VECS];
    UNROLL for (int r = 0; r < rows; r++)
        UNROLL for (int v = 0; v < vecs; v++)
            acc[r][v] = v_zero();
    for (int64_t k = 0; k < depth; k++) {
        vec column[VECS];
        UNROLL for (int v = 0; v < vecs; v++)
            column[v] = v_load(b + v * VL);
        UNROLL for (int r = 0; r < rows; r++) {
            vec weight = v_set1(a[r]);
            UNROLL for (int v = 0; v < vecs; v++)
                acc[r][v] = v_fma(weight, column[v], acc[r][v]);
        }
        __builtin_prefetch(ahead);
        ahead += 64 / sizeof(real);
        a += PANEL_ROWS;
        b += b_step;
    }
    UNROLL for (int r = 0; r < rows; r++)
        UNROLL for (int v = 0; v < vecs; v++) {
            real *to = sums + r * sums_step + v * VL;
            v_store(to, add ? v_add(v_load(to), acc[r][v]) : acc[r][v]);
        }
}

#define TILE_CASE(rows, vecs) \
    case (rows) * 4 + (vecs): \
        tile_body(rows, vecs, depth, a, b, b_step, sums, sums_step, add, ahead); \
        return;

static __attribute__((noinline)) void product_tile(int64_t rows, int64_t vecs, int64_t depth, const real *a,
                                                   const real *b, int64_t b_step, real *sums, int64_t sums_step,
                                                   int add, const real *ahead) {
    switch (rows * 4 + vecs) {
#if VECS >= 3
        TILE_CASE(ROWS, 3)
#endif
        TILE_CASE(ROWS, 2)
        TILE_CASE(ROWS, 1)
#if ROWS == 4
        TILE_CASE(8, 1)
#else
#if !FC_IS_F64
        TILE_CASE(16, 1)
#endif
        TILE_CASE(4, 3)
        TILE_CASE(4, 2)
        TILE_CASE(4, 1)
#endif
    }
}

/* The same for `tiles` single tiles and `panels` panels of rows along the lanes. */
FC_INLINE void rest_body(const int panels, const int tiles, int64_t depth, const real *a, const real *b,
                         int64_t b_step, real *sums, int add) {
    enum { vecs = PANEL_ROWS / VL };
    vec acc[4 * vecs * 8];
    UNROLL for (int i = 0; i < panels * vecs * tiles; i++)
        acc[i] = v_zero();
    for (int64_t k = 0; k < depth; k++, a += PANEL_ROWS, b += b_step) {
        vec column[8];
        UNROLL for (int t = 0; t < tiles; t++)
            column[t] = v_set1(b[t]);
        UNROLL for (int p = 0; p < panels; p++)
            UNROLL for (int v = 0; v < vecs; v++) {
                vec weight = v_load(a + p * depth * PANEL_ROWS + v * VL);
                UNROLL for (int t = 0; t < tiles; t++)
                    acc[(p * vecs + v) * tiles + t] = v_fma(weight, column[t], acc[(p * vecs + v) * tiles + t]);
            }
    }
    UNROLL for (int p = 0; p < panels; p++)
        UNROLL for (int v = 0; v < vecs; v++)
            UNROLL for (int t = 0; t < tiles; t++) {
                real *to = sums + (p * MOST_REST + t) * PANEL_ROWS + v * VL;
                vec sum = acc[(p * vecs + v) * tiles + t];
                v_store(to, add ? v_add(v_load(to), sum) : sum);
            }
}

#define REST_CASE(panels, tiles) \
    case (panels) * 16 + (tiles): \
        rest_body(panels, tiles, depth, a, b, b_step, sums, add); \
        return;

static __attribute__((noinline)) void rest_tile(int64_t panels, int64_t tiles, int64_t depth, const real *a,
                                                const real *b, int64_t b_step, real *sums, int add) {
    switch (panels * 16 + tiles) {
#if ROWS == 8
        REST_CASE(2, 8)
        REST_CASE(1, 8)
        REST_CASE(4, 4)
#endif
        REST_CASE(2, 4)
        REST_CASE(4, 2)
        REST_CASE(4, 1)
        REST_CASE(1, 4)
        REST_CASE(2, 2)
        REST_CASE(1, 2)
        REST_CASE(2, 1)
        REST_CASE(1, 1)
    }
}

/* As many panels at once as registers hold sums for. */
FC_INLINE int64_t rest_panels(int64_t tiles, int64_t left) {
    int64_t most = (ROWS == 8 ? 16 : 8) / (tiles * (PANEL_ROWS / VL));
    return left >= 4 && most >= 4 ? 4 : left >= 2 && most >= 2 ? 2 : 1;
}

typedef struct multiply_job {
    const shape *s;
    const layout *l;
    real *scratch;
    int64_t rows;              /* of the block */
    int64_t vecs, rest, lanes; /* full vectors of the panel of tiles, tiles beyond, lanes of its inputs */
    ahead out;                 /* what the block is stored to, as far as it is to be asked for */
} multiply_job;

static void multiply_rest(const multiply_job *job, int64_t depth, const real *u, const real *inputs, real *sums,
                          int add) {
    int64_t panels = divide_up(job->rows, PANEL_ROWS);
    for (int64_t t = 0, tiles; t < job->rest; t += tiles) {
        int64_t left = job->rest - t;
        tiles = left >= 8 ? 8 : left >= 4 ? 4 : left >= 2 ? 2 : 1;
        for (int64_t panel = 0, some; panel < panels; panel += some) {
            some = rest_panels(tiles, panels - panel);
            rest_tile(some, tiles, depth, u + panel * depth * PANEL_ROWS, inputs + t, job->lanes,
                      sums + (panel * MOST_REST + t) * PANEL_ROWS, add);
        }
    }
}

/* A chunk of `depth` steps of one product: weights u, [panel][step][row]; `next` is where the chunk after it begins. */
static void multiply(multiply_job *job, int64_t product, int64_t depth, const real *u, const real *inputs,
                     int add, const real *next) {
    const shape *s = job->s;
    int64_t row_pitch = s->products * PANEL_LANES;
    real *sums = job->scratch + job->l->sums + product * PANEL_LANES;
    int64_t panels = divide_up(job->rows, PANEL_ROWS);
    const real *input = inputs + depth * job->lanes; /* most often the next chunk's */
    for (int64_t panel = 0; job->vecs > 0 && panel < panels; panel++) {
        const real *a = u + panel * depth * PANEL_ROWS;
        const real *later = panel + 1 < panels ? a + depth * PANEL_ROWS : next;
        int64_t rows = smaller(PANEL_ROWS, job->rows - panel * PANEL_ROWS), height;
        for (int64_t r = 0; r < rows; r += height) {
            height = job->vecs == 1 && rows - r > ROWS ? PANEL_ROWS : rows - r > 4 ? ROWS : 4;
            product_tile(height, job->vecs, depth, a + r, inputs, job->lanes,
                         sums + (panel * PANEL_ROWS + r) * row_pitch, row_pitch, add,
                         r == 0 ? later : input);
            if (job->out.channels > 0)
                ask_ahead(&job->out);
            if (r > 0)
                input += depth * (int64_t)(64 / sizeof(real));
        }
    }
    if (job->rest > 0)
        multiply_rest(job, depth, u, inputs + job->vecs * VL,
                      job->scratch + job->l->rest + product * job->l->rest_stride, add);
}

#endif
