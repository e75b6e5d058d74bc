/* Cells of 16-bit whole numbers, for filters of 8-bit pictures with whole weights: twice the lanes of float32, and
 * nothing to round. filter.c has made sure that every sum fits. */
#ifndef FC_FILTER_WHOLE_H
#define FC_FILTER_WHOLE_H

#include "filter.h"
#include "simd/words.h"

enum { WHOLE_CELLS = 2 * VL, WHOLE_VECS = 4 };

typedef halves whole_cells;
FC_INLINE halves whole_load_cells(const int16_t *p) {
    halves x;
    memcpy(&x, p, sizeof x);
    return x;
}
FC_INLINE void whole_store_cells(int16_t *p, halves a) { memcpy(p, &a, sizeof a); }
FC_INLINE halves whole_add_cells(halves a, halves b) { return a + b; }
FC_INLINE halves whole_no_cells(void) { return (halves){0}; }

#define FC_READ(name, type)                                                       \
    static void whole_read_##name(const void *from, int16_t *restrict to, int64_t n) { \
        const type *p = from;                                                     \
        for (int64_t i = 0; i < n; i++)                                           \
            to[i] = p[i];                                                         \
    }
#define FC_WRITE(name, type)                                                      \
    static void whole_write_##name(const int16_t *restrict from, void *to, int64_t n) { \
        type *restrict p = to;                                                    \
        for (int64_t i = 0; i < n; i++)                                           \
            p[i] = (type)from[i];                                                 \
    }
FC_READ(i8, int8_t)
FC_READ(u8, uint8_t)
FC_WRITE(8, uint8_t)
FC_WRITE(16, uint16_t)
FC_WRITE(32, uint32_t)
#undef FC_READ
#undef FC_WRITE

/* Those elements filter.c lets through; the low bits are the same, signed or not. */
typedef void fc_read_whole(const void *from, int16_t *to, int64_t n);
typedef void fc_write_whole(const int16_t *from, void *to, int64_t n);
static fc_read_whole *const whole_read_row[FC_ELEMENT_COUNT] = {whole_read_i8, whole_read_u8};
static fc_write_whole *const whole_write_row[FC_ELEMENT_COUNT] = {whole_write_8,  whole_write_8,  whole_write_16,
                                                                  whole_write_16, whole_write_32, whole_write_32};

/* Taps one by one; a weight of one, as all of a box have, needs no product. */
FC_INLINE void whole_list(const int16_t *const *taps, const int16_t *weight, int64_t count, int64_t at, const int vecs,
                          int16_t *to) {
    halves sum[WHOLE_VECS] = {{0}};
    for (int64_t t = 0; t < count; t++) {
        const int16_t *p = taps[t] + at;
        uint16_t w = (uint16_t)weight[t];
        for (int v = 0; v < vecs && w == 1; v++)
            sum[v] += whole_load_cells(p + v * WHOLE_CELLS);
        for (int v = 0; v < vecs && w != 1; v++)
            sum[v] += whole_load_cells(p + v * WHOLE_CELLS) * w;
    }
    for (int v = 0; v < vecs; v++)
        whole_store_cells(to + at + v * WHOLE_CELLS, sum[v]);
}

/* `columns` outputs, rounded up to vectors, of one row; whole sums do not depend on the order. */
FC_LOOP static void whole_sweep_row(fc_order order, const int16_t *const *taps, const int16_t *weight, int64_t count,
                            int64_t columns, int16_t *to) {
    int64_t at = 0;
    (void)order;
    for (; at + (WHOLE_VECS - 1) * WHOLE_CELLS < columns; at += WHOLE_VECS * WHOLE_CELLS)
        whole_list(taps, weight, count, at, WHOLE_VECS, to);
    for (; at < columns; at += WHOLE_CELLS)
        whole_list(taps, weight, count, at, 1, to);
}

/* Sums of `divisor` 8-bit values, which is 64 at most, over it. With 2^k < divisor <= 2^(k + 1) and the multiplier m =
 * ceil(2^(16 + k) / divisor), sum * m / 2^(16 + k) exceeds the quotient by sum * (divisor - 1) / divisor / 2^(16 + k) <
 * 1 / divisor: too little to reach the next whole number. A shift by a variable is a product as well. */
typedef struct whole_mean {
    halves times, shift;
    bool by_one;
} whole_mean;

static whole_mean whole_mean_over(double divisor, bool quotient) {
    uint32_t by = (uint32_t)divisor, k = 0;
    (void)quotient;
    if (by < 2)
        return (whole_mean){.by_one = true};
    while ((uint32_t)2 << k < by)
        k++;
    halves none = {0};
    return (whole_mean){.times = none + (uint16_t)((((uint32_t)65536 << k) + by - 1) / by),
                        .shift = none + (uint16_t)(32768 >> k)};
}

FC_INLINE halves whole_take_mean(halves sum, const whole_mean *mean) {
    return mean->by_one ? sum : h_product_high(h_product_high(sum + sum, mean->times), mean->shift);
}

#endif
