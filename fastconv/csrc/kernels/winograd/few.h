/* Images of so few tiles that each transformed weight is used up to FEW_TILES times only: it is made in registers
 * and never stored. Out channels go along the lanes, tiles are broadcast, and the sums of a window row's products
 * stay in registers for a chunk of steps, added in the order of products.h.
 * Bound: FMA throughput, of which the transform takes a third.
 */
#ifndef FC_WINOGRAD_FEW_H
#define FC_WINOGRAD_FEW_H

#include "kernels/winograd/products.h"

#define FEW_TILES 4

/* Where the sums fit the registers. */
FC_INLINE bool tiles_are_few(const shape *s) {
    bool fits = ROWS == 8 && WINDOW <= 6 && s->h.window > 1 && s->w.window > 1;
    return fits && s->vectors == 0 && s->rest > 0 && s->rest <= FEW_TILES;
}

#if ROWS == 8 && OUT_TILE + TAPS <= 7

/* What a window row asks for while it multiplies, FEW_LINES lines with each step: its share of the next chunk's weights.
 * Where they lie as given, that is lines of as many output channels; of packed ones, lines that follow one another. */
enum { FEW_LINES = (PANEL_ROWS + WINDOW - 1) / WINDOW };
typedef struct few_ahead {
    const real *from;
    int64_t step, across;
} few_ahead;

static few_ahead few_ahead_of(const given_weights *w, int64_t i, int64_t row, int64_t step, int64_t depth,
                              const real *given) {
    const shape *s = w->s;
    if (w->packed != NULL)
        return (few_ahead){given + depth * s->taps * PANEL_ROWS * (WINDOW + i) / WINDOW,
                           s->taps * PANEL_ROWS / WINDOW, 64 / sizeof(real)};
    const int64_t *stride = w->plain.stride;
    step += depth;
    if (step == s->steps)
        step = 0, row += PANEL_ROWS;
    row = smaller(row + i * FEW_LINES, w->part->group_out_ch - 1);
    const real *from = (const real *)w->plain.data + w->group * stride[0] + row * stride[1] + step % s->channels * stride[2];
    return (few_ahead){from, 64 / sizeof(real), stride[1]};
}

/* Window row `i` of one panel of rows; inputs and sums of column j are j * input_stride and j * sums_stride on. */
FC_INLINE void few_row(const int i, const int tiles, int64_t depth, const real *given, const real *inputs,
                       int64_t input_stride, int64_t lanes, real *sums, int64_t sums_stride, int add, few_ahead ahead) {
    vec acc[WINDOW][FEW_TILES];
    UNROLL for (int j = 0; j < WINDOW; j++)
        UNROLL for (int t = 0; t < tiles; t++)
            acc[j][t] = v_zero();
    for (int64_t k = 0; k < depth; k++, given += TAPS * TAPS * PANEL_ROWS, inputs += lanes) {
        vec u[WINDOW];
        UNROLL for (int line = 0; line < FEW_LINES; line++)
            __builtin_prefetch(ahead.from + k * ahead.step + line * ahead.across);
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
                                                int64_t sums_stride, int add, few_ahead ahead) {
    switch (i * 8 + tiles) {
#define FEW_CASE(i, tiles) \
    case (i) * 8 + (tiles): \
        few_row(i, tiles, depth, given, inputs, input_stride, lanes, sums, sums_stride, add, ahead); \
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

/* Steps [begin, end) of the span at hand for the rows of the block, from `row` of the group on. */
static void multiply_few(const multiply_job *job, const given_weights *weights, int64_t row, int64_t begin,
                         int64_t end) {
    const shape *s = job->s;
    const layout *l = job->l;
    int64_t tiles = job->rest == 3 ? 4 : job->rest; /* the fourth is zeros */
    for (int64_t panel = 0; panel * PANEL_ROWS < job->rows; panel++)
        for (int64_t step = begin, depth; step < end; step += depth) {
            depth = smaller(s->chunk, end - step);
            int64_t first = row + panel * PANEL_ROWS;
            const real *given = given_at(weights, first, 1, step, step + depth);
            for (int64_t i = 0; i < WINDOW; i++)
                few_tiles(i, tiles, depth, given,
                          job->scratch + l->inputs + i * WINDOW * l->input_stride + (step - begin) * job->lanes,
                          l->input_stride, job->lanes,
                          job->scratch + l->rest + i * WINDOW * l->rest_stride + panel * MOST_REST * PANEL_ROWS,
                          l->rest_stride, step > 0, few_ahead_of(weights, i, first, step, depth, given));
        }
}

#else

static void multiply_few(const multiply_job *job, const given_weights *weights, int64_t row, int64_t begin,
                         int64_t end) {
    (void)job, (void)weights, (void)row, (void)begin, (void)end;
}

#endif
#endif
