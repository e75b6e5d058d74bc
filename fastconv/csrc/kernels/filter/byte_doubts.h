/* Bytes that sums in other arithmetic leave in doubt: whether one has reached a whole number is decided in double, in
 * SciPy's order, of a vector's outputs side by side. They read rows of bytes that lie `pitch` apart. */
#ifndef FC_FILTER_BYTE_DOUBTS_H
#define FC_FILTER_BYTE_DOUBTS_H

#include "filter.h"
#include "simd/words.h"

enum {
    BYTE_BLOCK = 4 * VL, /* columns whose doubts are taken together */
    MOST_DOUBTFUL = 512,
};

/* Outputs in doubt, by where the first byte of their window lies: of FC_FILTER_ROWS rows at most, `pitch` apart. */
typedef struct doubtful {
    const fc_filter_taps *taps;
    const uint8_t *base;
    int64_t pitch, count;
    double margin;
    uint8_t *to[FC_FILTER_ROWS];
    int32_t at[MOST_DOUBTFUL];
} doubtful;

FC_INLINE int64_t row_of(const doubtful *d, int64_t at) {
    return (at >= d->pitch) + (at >= 2 * d->pitch) + (at >= 3 * d->pitch);
}
FC_INLINE void settle_one(doubtful *d, int64_t at, double sum) {
    int64_t row = row_of(d, at);
    d->to[row][at - row * d->pitch] = (uint8_t)(int32_t)sum;
}

/* Sums of the windows `at` in double, in SciPy's order, and cut: of all cells, or of pairs at equal distances from the
 * middle. Cells come from eight bytes of each window, or of neighbours from bytes side by side. */
FC_INLINE void exact_bytes(doubtful *d, const int32_t at[DOUBLES], const bool neighbours) {
    const fc_filter_taps *taps = d->taps;
    doubles sum = {0}, x;
    eights eight = {0};
    bool pairs = taps->order == FC_ORDER_EVEN;
    for (int64_t t = 0; t < taps->count; t += pairs && t > 0 ? 2 : taps->run) {
        const uint8_t *row = d->base + taps->row[t] * d->pitch + taps->shift[t];
        for (int64_t i = 0; i < taps->run; i++) {
            if (neighbours) {
                x = v_widen_bytes(row + at[0] + i);
            } else {
                eight = i % 8 ? eight >> 8 : v_gather_eights(row + i, at);
                x = v_low_bytes(eight);
            }
            if (pairs && t > 0) {
                row = d->base + taps->row[t + 1] * d->pitch + taps->shift[t + 1];
                x += neighbours ? v_widen_bytes(row + at[0]) : v_low_bytes(v_gather_eights(row, at));
            }
            sum += x * taps->weight[t + i];
        }
    }
    if (neighbours) {
        int64_t r = row_of(d, at[0]);
        uint8_t *to = d->to[r] + at[0] - r * d->pitch;
        for (int i = 0; i < DOUBLES; i++)
            to[i] = (uint8_t)(int32_t)sum[i];
        return;
    }
    for (int i = 0; i < DOUBLES; i++)
        settle_one(d, at[i], sum[i]);
}

/* Those of BYTE_BLOCK neighbours, where much is in doubt: flat parts of a picture, and even slopes. */
static void byte_block(doubtful *d, int64_t first) {
    for (int i = 0; i < BYTE_BLOCK; i += DOUBLES) {
        int32_t at[DOUBLES];
        for (int j = 0; j < DOUBLES; j++)
            at[j] = (int32_t)first + i + j;
        exact_bytes(d, at, true);
    }
}

/* The sum in any order, where that tells on which side of a whole number it lies. */
static double rough_bytes(const doubtful *d, int64_t at) {
    const fc_filter_taps *taps = d->taps;
    doubles sum = {0};
    double rest = 0;
    for (int64_t t = 0; t < taps->count; t += taps->run) {
        const uint8_t *p = d->base + taps->row[t] * d->pitch + taps->shift[t] + at;
        const double *w = taps->weight + t;
        int64_t i = 0;
        for (; i + DOUBLES <= taps->run; i += DOUBLES) {
            doubles weight;
            memcpy(&weight, w + i, sizeof weight);
            sum += v_widen_bytes(p + i) * weight;
        }
        for (; i < taps->run; i++)
            rest += p[i] * w[i];
    }
    for (int i = 0; i < DOUBLES; i++)
        rest += sum[i];
    return rest;
}

FC_LOOP static void settle_listed(doubtful *d) {
    enum { LONG = 64 }; /* taps from which a rough sum is faster than one in order */
    int64_t left = d->taps->count < LONG ? d->count : 0;
    for (int64_t i = left; i < d->count; i++) {
        double sum = rough_bytes(d, d->at[i]);
        if (fabs(sum - rint(sum)) > d->margin)
            settle_one(d, d->at[i], sum);
        else
            d->at[left++] = d->at[i];
    }
    for (int64_t i = left; i < round_up(left, DOUBLES); i++)
        d->at[i] = d->at[left - 1];
    for (int64_t i = 0; i < left; i += DOUBLES)
        exact_bytes(d, d->at + i, false);
    d->count = 0;
}

/* Lists the outputs of BYTE_BLOCK columns from `first` on that are in doubt: few, as a rule one at most, which no branch
 * waits for. Bit i of `found` is column i, or by phases column i / VL of every `phases` from i % VL * phases on. */
FC_INLINE void list_doubts(doubtful *d, uint64_t found, int64_t first, const int phases) {
    int count = __builtin_popcountll(found);
    int32_t *at = d->at + d->count;
    d->count += count;
    do {
        int bit = __builtin_ctzll(found | (uint64_t)1 << 63);
        *at++ = (int32_t)first + (phases > 1 ? phases * (bit % VL) + bit / VL : bit);
        found &= found - 1;
    } while (--count > 0);
}

/* The doubts of BYTE_BLOCK columns of row r from `at` on, which of them all or `inside` are wanted. */
FC_INLINE void take_doubts(doubtful *d, uint64_t found, int64_t r, int64_t at, bool inside, const int phases) {
    if (__builtin_popcountll(found) > BYTE_BLOCK / 4 && inside)
        byte_block(d, r * d->pitch + at);
    else
        list_doubts(d, found, r * d->pitch + at, phases);
    if (d->count > MOST_DOUBTFUL - 2 * BYTE_BLOCK)
        settle_listed(d);
}

/* What a pass's doubts are about: `taps` of the rows from `base` on; nothing listed yet. */
static void begin_doubts(const fc_filter_taps *taps, double doubt, const uint8_t *base, int64_t pitch, doubtful *d) {
    d->taps = taps, d->base = base, d->pitch = pitch, d->count = 0;
    d->margin = doubt * 0x1p-20; /* doubt: of a few roundings to 24 bits; these are to 53 */
}

#endif
