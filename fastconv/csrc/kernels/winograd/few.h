/* Images of so few tiles that each transformed weight is used up to FEW_TILES times only: it is made in registers
 * and never stored. Out channels go along the lanes, tiles are broadcast, and the sums of a window row's products
 * stay in registers for a chunk of steps, added in the order of products.h.
 * Bound: FMA throughput, of which the transform takes a third.
 */
#ifndef FC_WINOGRAD_FEW_H
#define FC_WINOGRAD_FEW_H

#include "kernels/winograd/products.h"
#include "kernels/winograd/weights.h"

#define FEW_TILES 4

/* Where the sums fit the registers. */
FC_INLINE bool tiles_are_few(const shape *s) {
    bool fits = ROWS == 8 && WINDOW <= 6 && s->h.window > 1 && s->w.window > 1;
    return fits && s->vectors == 0 && s->rest > 0 && s->rest <= FEW_TILES;
}

#if ROWS == 8 && OUT_TILE + TAPS <= 7

/* Window row `i` of one panel of rows; inputs and sums of column j are j * input_stride and j * sums_stride on. */
FC_INLINE void few_row(const int i, const int tiles, int64_t depth, const real *given, const real *inputs,
                       int64_t input_stride, int64_t lanes, real *sums, int64_t sums_stride, int add) {
    vec acc[WINDOW][FEW_TILES];
    UNROLL for (int j = 0; j < WINDOW; j++)
        UNROLL for (int t = 0; t < tiles; t++)
            acc[j][t] = v_zero();
    /* This window row's share of the next chunk's weights: two lines a step cover 9 taps over 6 rows, or 25 in part. */
    const real *ahead = given + depth * TAPS * TAPS * PANEL_ROWS * (WINDOW + i) / WINDOW;
    for (int64_t k = 0; k < depth; k++, given += TAPS * TAPS * PANEL_ROWS, inputs += lanes) {
        vec u[WINDOW];
        __builtin_prefetch(ahead + k * TAPS * TAPS * PANEL_ROWS / WINDOW);
        __builtin_prefetch(ahead + k * TAPS * TAPS * PANEL_ROWS / WINDOW + 64 / sizeof(real));
        weight_row(1, 1, i, given, u);
        UNROLL for (int j = 0; j < WINDOW; j++)
            UNROLL for (int t = 0; t < tiles; t++)
                acc[j][t] = v_fma(u[j], v_set1(inputs[j * input_stride + t]), acc[j][t]);
    }
    UNROLL for (int j = 0; j < WINDOW; j++)
        UNROLL for (int t = 0; t < tiles; t++) {
            real *to = sums + j * sums_stride + t * PANEL_ROWS;
            v_store(to, add ? v_add(v_load(to), acc[j][t]) : acc[j][t]);
        }
}

static __attribute__((noinline)) void few_tiles(int64_t i, int64_t tiles, int64_t depth, const real *given,
                                                const real *inputs, int64_t input_stride, int64_t lanes, real *sums,
                                                int64_t sums_stride, int add) {
    switch (i * 8 + tiles) {
#define FEW_CASE(i, tiles) \
    case (i) * 8 + (tiles): \
        few_row(i, tiles, depth, given, inputs, input_stride, lanes, sums, sums_stride, add); \
        break;
#define FEW_ROW(i) FEW_CASE(i, 1) FEW_CASE(i, 2) FEW_CASE(i, 4)
        FEW_ROW(0) FEW_ROW(1) FEW_ROW(2) FEW_ROW(3)
#if OUT_TILE + TAPS > 5
        FEW_ROW(4)
#endif
#if OUT_TILE + TAPS > 6
        FEW_ROW(5)
#endif
    }
}

/* Steps [begin, end) of the span at hand for the rows of the block, whose weights as packed begin at `given`. */
static void multiply_few(const multiply_job *job, const real *given, int64_t begin, int64_t end) {
    const shape *s = job->s;
    const layout *l = job->l;
    int64_t tiles = job->rest == 3 ? 4 : job->rest; /* the fourth is zeros */
    for (int64_t panel = 0; panel * PANEL_ROWS < job->rows; panel++)
        for (int64_t step = begin, depth; step < end; step += depth) {
            depth = smaller(s->chunk, end - step);
            for (int64_t i = 0; i < WINDOW; i++)
                few_tiles(i, tiles, depth, given + (panel * s->steps + step) * s->taps * PANEL_ROWS,
                          job->scratch + l->inputs + i * WINDOW * l->input_stride + (step - begin) * job->lanes,
                          l->input_stride, job->lanes,
                          job->scratch + l->rest + i * WINDOW * l->rest_stride + panel * MOST_REST * PANEL_ROWS,
                          l->rest_stride, step > 0);
        }
}

#else

static void multiply_few(const multiply_job *job, const real *given, int64_t begin, int64_t end) {
    (void)job, (void)given, (void)begin, (void)end;
}

#endif
#endif
