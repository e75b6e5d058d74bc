/* Sums of taps along a row, lanes along columns. Each output is added up in the order the taps are listed in, so
 * that double sums are SciPy's to the bit: there a product is rounded before it is added; float32 fuses the two.
 * Bound: FMA throughput where rows share loads (a grid), else loads, of which unaligned ones count double. */
#ifndef FC_FILTER_SWEEP_H
#define FC_FILTER_SWEEP_H

#include "filter.h"
#include "simd/vec.h"
#if FC_IS_F32
#include "simd/words.h"
#endif

/* A loop over cells. What is done once a row is compiled for size (FC_COLD), as functions it alone calls would be. */
#define FC_LOOP __attribute__((hot, noinline))

enum { LIST_VECS = 8, GRID_VECS = FC_ISA_IS >= 3 ? 4 : 2 };

FC_INLINE vec add_product(vec a, vec b, vec sum) {
#if FC_IS_F64
    return v_add(sum, v_mul(a, b));
#else
    return v_fma(a, b, sum);
#endif
}

/* Taps one by one. */
FC_INLINE void list_block(const real *const *taps, const real *weight, int64_t count, int64_t at, const int vecs,
                          real *to) {
    vec sum[LIST_VECS];
    for (int v = 0; v < vecs; v++)
        sum[v] = v_zero();
    for (int64_t t = 0; t < count; t++) {
        vec w = v_set1(weight[t]);
        const real *p = taps[t] + at;
        for (int v = 0; v < vecs; v++)
            sum[v] = add_product(w, v_load(p + v * VL), sum[v]);
    }
    for (int v = 0; v < vecs; v++)
        v_store(to + at + v * VL, sum[v]);
}

/* The middle, then pairs at equal distances from it. */
FC_INLINE void pair_block(const real *const *taps, const real *weight, int64_t count, int64_t at, const int vecs,
                          const int odd, real *to) {
    vec sum[LIST_VECS];
    vec w = v_set1(weight[0]);
    for (int v = 0; v < vecs; v++)
        sum[v] = v_mul(w, v_load(taps[0] + at + v * VL));
    for (int64_t t = 1; t < count; t += 2) {
        const real *left = taps[t] + at, *right = taps[t + 1] + at;
        w = v_set1(weight[t]);
        for (int v = 0; v < vecs; v++) {
            vec a = v_load(left + v * VL), b = v_load(right + v * VL);
            sum[v] = add_product(odd ? v_sub(a, b) : v_add(a, b), w, sum[v]);
        }
    }
    for (int v = 0; v < vecs; v++)
        v_store(to + at + v * VL, sum[v]);
}

FC_INLINE void one_block(fc_order order, const real *const *taps, const real *weight, int64_t count, int64_t at,
                         const int vecs, real *to) {
    if (order == FC_ORDER_EVEN)
        pair_block(taps, weight, count, at, vecs, 0, to);
    else if (order == FC_ORDER_ODD)
        pair_block(taps, weight, count, at, vecs, 1, to);
    else
        list_block(taps, weight, count, at, vecs, to);
}

/* `columns` outputs, rounded up to vectors, of one row. */
FC_LOOP static void real_sweep_row(fc_order order, const real *const *taps, const real *weight, int64_t count,
                           int64_t columns, real *to) {
    int64_t at = 0;
    for (; at + (LIST_VECS - 1) * VL < columns; at += LIST_VECS * VL)
        one_block(order, taps, weight, count, at, LIST_VECS, to);
    for (; at + VL < columns; at += 2 * VL)
        one_block(order, taps, weight, count, at, 2, to);
    if (at < columns)
        one_block(order, taps, weight, count, at, 1, to);
}

#if FC_IS_F32
/* DOUBLES outputs from column `at` on, added in double as SciPy does and cut to whole numbers. */
FC_INLINE void settle_neighbours(const fc_filter_taps *taps, const real *const *table, int64_t at, real *to) {
    doubles sum = {0};
    if (taps->order == FC_ORDER_EVEN || taps->order == FC_ORDER_ODD) {
        double sign = taps->order == FC_ORDER_EVEN ? 1 : -1;
        const real *row = table[taps->row[0]] + at;
        sum = v_widen_floats(row + taps->shift[0]) * taps->weight[0];
        for (int64_t t = 1; t < taps->count; t += 2) {
            row = table[taps->row[t]] + at;
            const real *other = table[taps->row[t + 1]] + at;
            sum += (v_widen_floats(row + taps->shift[t]) + sign * v_widen_floats(other + taps->shift[t + 1])) * taps->weight[t];
        }
    } else {
        for (int64_t t = 0; t < taps->count; t++)
            sum += v_widen_floats(table[taps->row[t]] + taps->shift[t] + at) * taps->weight[t];
    }
    for (int i = 0; i < DOUBLES; i++)
        to[at + i] = (real)trunc(sum[i]);
}

FC_LOOP static void settle_block(const fc_filter_taps *taps, const real *const *table, int64_t at, real *to) {
    for (int i = 0; i < VL; i += DOUBLES)
        settle_neighbours(taps, table, at + i, to);
}

/* The sum in any order, where that tells on which side of a whole number it lies. */
FC_LOOP static double rough_sum(const fc_filter_taps *taps, const real *const *table, int64_t at) {
    enum { CHAINS = 4 };
    doubles part = {0};
    double rest[CHAINS] = {0};
    for (int64_t t = 0; t < taps->count; t += taps->run) {
        const real *p = table[taps->row[t]] + taps->shift[t] + at;
        const double *w = taps->weight + t;
        int64_t i = 0;
        for (; i + DOUBLES <= taps->run; i += DOUBLES) {
            doubles weight;
            memcpy(&weight, w + i, sizeof weight);
            part += v_widen_floats(p + i) * weight;
        }
        for (; i + CHAINS <= taps->run; i += CHAINS)
            for (int j = 0; j < CHAINS; j++)
                rest[j] += (double)p[i + j] * w[i + j];
        for (; i < taps->run; i++)
            rest[i % CHAINS] += (double)p[i] * w[i];
    }
    double sum = rest[0] + rest[1] + rest[2] + rest[3];
    for (int i = 0; i < DOUBLES; i++)
        sum += part[i];
    return sum;
}

/* Outputs `at` in double, in SciPy's order, and cut. */
static void exact_sums(const fc_filter_taps *taps, const real *const *table, const int32_t at[DOUBLES], real *to) {
    bool pairs = taps->order == FC_ORDER_EVEN || taps->order == FC_ORDER_ODD;
    double sign = taps->order == FC_ORDER_EVEN ? 1 : -1;
    doubles sum = {0};
    for (int64_t t = 0; t < taps->count; t++) {
        const real *row = table[taps->row[t]] + taps->shift[t];
        double weight = taps->weight[t];
        doubles x = v_gather_floats(row, at);
        if (pairs && t > 0) {
            t++;
            row = table[taps->row[t]] + taps->shift[t];
            x += sign * v_gather_floats(row, at);
        }
        sum += x * weight;
    }
    for (int i = 0; i < DOUBLES; i++)
        to[at[i]] = (real)trunc(sum[i]);
}

/* The first `count` outputs of `at`. */
FC_LOOP static void settle_some(const fc_filter_taps *taps, const real *const *table, int64_t *at, int64_t count,
                                double margin, real *to) {
    enum { LONG = 64 }; /* taps from which a rough sum is faster than one in order */
    int64_t left = 0;
    for (int64_t i = 0; i < count; i++) {
        double sum = taps->count < LONG ? 0 : rough_sum(taps, table, at[i]);
        if (fabs(sum - rint(sum)) > margin)
            to[at[i]] = (real)trunc(sum);
        else
            at[left++] = at[i];
    }
    for (int64_t i = 0; i < left; i += DOUBLES) {
        int32_t some[DOUBLES]; /* columns of a strip */
        for (int j = 0; j < DOUBLES; j++)
            some[j] = (int32_t)at[smaller(i + j, left - 1)];
        exact_sums(taps, table, some, to);
    }
}

/* Where rounding could have carried a sum past a whole number, the double sum decides: of a vector where much of it
 * is in doubt (flat parts of a picture), else of single outputs. */
FC_LOOP static void settle_row(const fc_filter_taps *taps, const real *const *table, real doubt, int64_t columns,
                               real *to) {
    vec limit = v_set1(doubt);
    double margin = (double)doubt * 0x1p-20; /* doubt: a few roundings to 24 bits; these are to 53 */
    int64_t some[64], count = 0;
    for (int64_t at = 0; at < columns; at += VL) {
        vec sum = v_load(to + at);
        uint32_t found = v_lanes_below(v_abs(v_sub(sum, v_round(sum))), limit);
        if (!found)
            continue;
        if (__builtin_popcount(found) > VL / 4) {
            settle_block(taps, table, at, to);
            continue;
        }
        for (; found; found &= found - 1)
            some[count++] = at + __builtin_ctz(found);
        if (count > 64 - VL) {
            settle_some(taps, table, some, count, margin, to);
            count = 0;
        }
    }
    settle_some(taps, table, some, count, margin, to);
}
#else
/* Double sums leave no doubt. */
static void settle_row(const fc_filter_taps *taps, const real *const *table, real doubt, int64_t columns, real *to) {
    (void)taps, (void)table, (void)doubt, (void)columns, (void)to;
}
#endif

/* A grid of taps for FC_FILTER_ROWS rows of outputs: a row of x is loaded once for all that read it. */
typedef struct grid {
    const real *const *table; /* [depth tap][ring] */
    const real *weight;       /* [depth][height][width] */
    int64_t depth, height, width, ring, step;
    real *to[FC_FILTER_ROWS];
} grid;

/* What one row of x gives to output rows [low, high]; w: its taps of output row 0. */
FC_INLINE void grid_row(const grid *g, const real *row, const real *w, const int low, const int high, const int vecs,
                        const int64_t width, vec sum[FC_FILTER_ROWS][GRID_VECS]) {
    for (int64_t k = 0; k < width; k++, row += g->step) {
        vec x[GRID_VECS];
        for (int v = 0; v < vecs; v++)
            x[v] = v_load(row + v * VL);
        for (int r = low; r <= high; r++) {
            vec weight = v_set1(w[k - r * width]);
            for (int v = 0; v < vecs; v++)
                sum[r][v] = add_product(weight, x[v], sum[r][v]);
        }
    }
}

/* The bounds become constants, so that the sums stay in registers. */
FC_INLINE void grid_block(const grid *g, int64_t at, const int vecs, const int64_t width) {
    vec sum[FC_FILTER_ROWS][GRID_VECS];
    for (int r = 0; r < FC_FILTER_ROWS; r++)
        for (int v = 0; v < vecs; v++)
            sum[r][v] = v_zero();
    for (int64_t d = 0; d < g->depth; d++)
        for (int64_t s = 0; s < g->height + FC_FILTER_ROWS - 1; s++) {
            const real *row = g->table[d * g->ring + s] + at;
            const real *w = g->weight + (d * g->height + s) * width;
            int64_t low = s < g->height ? 0 : s - g->height + 1, high = s < FC_FILTER_ROWS ? s : FC_FILTER_ROWS - 1;
            switch (low * FC_FILTER_ROWS + high) {
#define FC_GRID_ROW(low, high) \
    case low * FC_FILTER_ROWS + high: grid_row(g, row, w, low, high, vecs, width, sum); break;
                FC_GRID_ROW(0, 0) FC_GRID_ROW(0, 1) FC_GRID_ROW(0, 2) FC_GRID_ROW(0, 3) FC_GRID_ROW(1, 1)
                FC_GRID_ROW(1, 2) FC_GRID_ROW(1, 3) FC_GRID_ROW(2, 2) FC_GRID_ROW(2, 3) FC_GRID_ROW(3, 3)
#undef FC_GRID_ROW
            }
        }
    for (int r = 0; r < FC_FILTER_ROWS; r++)
        for (int v = 0; v < vecs; v++)
            v_store(g->to[r] + at + v * VL, sum[r][v]);
}

FC_INLINE void sweep_columns(const grid *g, int64_t columns, const int64_t width) {
    int64_t at = 0;
    for (; at + (GRID_VECS - 1) * VL < columns; at += GRID_VECS * VL)
        grid_block(g, at, GRID_VECS, width);
    for (; at < columns; at += VL)
        grid_block(g, at, 1, width);
}

/* A sum over its number of cells. Whole numbers have to be cut as the quotient would be; of floats, the product with the
 * reciprocal in two parts is the rounded quotient but for rare last bits, and far faster. The low part is above zero, or
 * an infinite sum would become NaN. */
typedef struct real_mean {
    vec by, high, low;
    bool quotient;
} real_mean;

static real_mean real_mean_over(double divisor, bool quotient) {
    real high = (real)(1 / divisor);
    high = high * (1 - (FC_IS_F64 ? (real)0x1p-53 : (real)0x1p-24)); /* the next number below */
    double rest = fma(-(double)high, divisor, 1) / divisor;
    return (real_mean){v_set1((real)divisor), v_set1(high), v_set1((real)rest), quotient};
}

FC_INLINE vec real_take_mean(vec sum, const real_mean *mean) {
    return mean->quotient ? v_div(sum, mean->by) : v_fma(sum, mean->high, v_mul(sum, mean->low));
}

typedef vec real_cells;
FC_INLINE vec real_load_cells(const real *p) { return v_load(p); }
FC_INLINE void real_store_cells(real *p, vec a) { v_store(p, a); }
FC_INLINE vec real_add_cells(vec a, vec b) { return v_add(a, b); }
FC_INLINE vec real_no_cells(void) { return v_zero(); }

/* `columns` outputs of each row, rounded up to vectors. */
FC_LOOP static void sweep_grid(const grid *g, int64_t columns) {
    if (g->width == 3)
        sweep_columns(g, columns, 3);
    else
        sweep_columns(g, columns, g->width);
}

#endif
