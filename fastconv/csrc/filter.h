/* The record of image filters (fc_filter of fastconv.h); like pooling, they are not in kernels.inc.
 *
 * filter.c checks, turns weights into lists of taps and cuts the work; kernels/filter/filter.c, compiled per
 * instruction set for float32 and float64 (and, beside float32, for 16-bit whole numbers), computes a block of rows of
 * one plane, a strip of columns at a time:
 *
 *   rows of x ──convert, extend──► ring of rows ──first stage──► row ──convert, extend──► second stage ──► out
 *
 * The ring holds a padded copy of every row the next FC_FILTER_ROWS outputs need, so that each row of a strip is
 * read and converted once, and neither stage knows about borders or element types. In a first stage along the height
 * columns do not mix: then its results are extended in place of what it reads, and a short one reads rows of x themselves
 * if they are reals.
 * Bytes smoothed to bytes, in two stages without negative weights, go a way of their own: kernels/filter/bytes.h; or if
 * the weights are whole numbers over a divisor kernels/filter/byte_quotients.h.
 */
#ifndef FC_FILTER_H
#define FC_FILTER_H

#include "fastconv.h"

enum {
    FC_FILTER_ROWS = 4,         /* output rows computed together */
    FC_FILTER_MOST_LANES = 16,  /* VL of every instruction set is at most this and divides it */
    FC_FILTER_LONGEST_MEAN = 64, /* 8-bit values of which 16 bits can take the mean */
    FC_FILTER_FOURS = 12,       /* rows of a box from which sums of four are kept */
    FC_FILTER_MANY = 16,        /* taps beyond which a blur of bytes adds pieces of so many, the first of three more: */
    FC_FILTER_PIECE = 8,
    FC_FILTER_MOST_WHOLES = 64, /* whole weights over a divisor */
};

/* Taps in the order in which they are added. Tap t reads row[t] of the table and starts shift[t] into it. */
typedef struct fc_filter_taps {
    fc_order order;
    bool grid;              /* RASTER only: every tap of the kernel is there, so rows can share loads */
    bool box;               /* all weights of one axis are 1 */
    int64_t piece;          /* of a box along the width: how many neighbours are added first; 0: none are */
    int64_t count, run;     /* run: taps that lie side by side with weights in order, as many each time */
    const double *weight;
    const int64_t *row, *shift;
    double divisor, doubt;
} fc_filter_taps;

typedef enum fc_filter_way {
    FC_WAY_REALS,
    FC_WAY_WHOLES,    /* in 16-bit whole numbers */
    FC_WAY_BYTES,     /* a blur of bytes to bytes */
    FC_WAY_QUOTIENTS, /* one whose weights are whole numbers over a divisor */
} fc_filter_way;

/* A pass over bytes whose weights are whole numbers over a divisor: (sum * times >> 16) * shift >> 16 is the quotient. */
typedef struct fc_filter_wholes {
    int64_t count;
    uint16_t weight[FC_FILTER_MOST_WHOLES];
    uint16_t divisor, times, shift; /* divisor 0: the other pass divides */
    bool even, ones; /* the weights: the same from both sides, all one */
    bool sure; /* SciPy's sum in double is exact as well, or its quotient rounded to no other whole number */
} fc_filter_wholes;

typedef struct fc_filter_call {
    const fc_filter *filter;
    const char *x;
    char *out;
    fc_filter_taps first, second, window;
    fc_filter_way way;
    fc_filter_wholes first_whole, second_whole; /* of quotients */
    bool inside;            /* the first stage's results are extended, not the rows it reads: columns do not mix in it */
    bool direct;            /* inside, and it reads rows of x where they lie */
    int64_t columns;        /* elements of a row: width * step */
    int64_t left[2], right[2]; /* elements the first and the second stage read beyond their outputs */
    int64_t strip, strips;  /* columns of out per strip */
    int64_t block, blocks;  /* rows of out per task */
    int64_t ring;           /* rows of one depth tap */
} fc_filter_call;

typedef struct fc_filter_kernel {
    const char *name; /* "filter.f32.avx512" */
    bool has_wholes;  /* runs calls of 16-bit whole numbers and of bytes as well */
    size_t (*scratch_bytes)(const fc_filter_call *call);
    void (*run)(const fc_filter_call *call, int64_t task, void *scratch);
} fc_filter_kernel;

static inline size_t fc_element_size(fc_element element) {
    static const unsigned char sizes[FC_ELEMENT_COUNT] = {1, 1, 2, 2, 4, 4, 8, 8, 4, 8};
    return sizes[element];
}

/* Where index i of an axis of n cells lies when the axis is extended, however far; -1 for the constant. */
static inline int64_t fc_extended(int64_t i, int64_t n, fc_extension extension) {
    if ((uint64_t)i < (uint64_t)n)
        return i;
    int64_t period = extension == FC_EXTEND_REFLECT ? 2 * n : extension == FC_EXTEND_MIRROR ? 2 * n - 2 : n;
    if (extension == FC_EXTEND_CONSTANT)
        return -1;
    if (extension == FC_EXTEND_NEAREST)
        return i < 0 ? 0 : n - 1;
    if (period == 0)
        return 0;
    i %= period;
    i += i < 0 ? period : 0;
    if (i < n)
        return i;
    return extension == FC_EXTEND_REFLECT ? period - 1 - i : period - i;
}

#endif
