/* Pooling's own record and contract; it is no convolution, so dispatch and kernels.inc do not know it.
 *
 * pool.c checks a pool, chooses lanes and cuts the work into rows of out; kernels/pool/pool.c, compiled per
 * instruction set and dtype, computes rows. As for convolutions, results depend on sizes and strides
 * only, never on how rows are cut into tasks.
 */
#ifndef FC_POOL_H
#define FC_POOL_H

#include "fastconv.h"

typedef struct fc_pool_axis {
    int64_t in, out, kernel, stride, dilation, padding;
} fc_pool_axis;

typedef enum fc_pool_lanes {
    FC_LANES_CHANNELS, /* x is dense along channels */
    FC_LANES_OUTPUTS,  /* neighbouring outputs of a row; window height first, then width */
    FC_LANES_WINDOW,   /* one output at a time: long windows, far apart, or only one per row */
} fc_pool_lanes;

typedef struct fc_pool_call {
    fc_pool_kind kind;
    fc_pool_axis axis[FC_MAX_SPATIAL];
    int64_t batch, channels;
    bool count_padding;
    int64_t divisor;
    fc_tensor x, out;
    fc_pool_lanes lanes;
    int64_t rows;         /* of out: over batch, (channel unless lanes are channels,) depth, height */
    int64_t row_block;    /* rows per task */
    int64_t channel_block, channel_blocks; /* lanes over channels: a task takes channel_block of them */
    int64_t tile;         /* lanes over outputs: outputs per pass */
    int64_t span;         /* reals of scratch: a tile's columns, or 4 vectors of double sums */
    int64_t spans;        /* how many of them, rows of out computed together */
} fc_pool_call;

typedef struct fc_pool_kernel {
    const char *name; /* "pool.f32.avx512" */
    /* Rows [begin, end), channels [channel_begin, channel_end) when the lanes are channels. */
    void (*run)(const fc_pool_call *call, int64_t begin, int64_t end, int64_t channel_begin,
                int64_t channel_end, void *scratch);
} fc_pool_kernel;

enum {
    FC_POOL_MOST_LANES = 16, /* VL of every instruction set is at most this and divides it */
    FC_POOL_SPANS = 8,
};

/* Division takes longer than a row of small windows; without dilation there is nothing to divide. */
static inline int64_t fc_pool_steps(int64_t distance, int64_t dilation) {
    return dilation == 1 ? distance : (distance + dilation - 1) / dilation;
}

/* Taps [*begin, *end) of output o's window that fall inside x. */
static inline void fc_pool_taps(const fc_pool_axis *axis, int64_t o, int64_t *begin, int64_t *end) {
    int64_t start = o * axis->stride - axis->padding, room = axis->in - start;
    *begin = start < 0 ? fc_pool_steps(-start, axis->dilation) : 0;
    int64_t last = room > 0 ? fc_pool_steps(room, axis->dilation) : 0;
    *end = last < axis->kernel ? last : axis->kernel;
    if (*begin > *end)
        *begin = *end;
}

/* Cells by which a mean over output o's window divides, along one axis. */
static inline int64_t fc_pool_count(const fc_pool_axis *axis, int64_t o, bool count_padding) {
    int64_t start = o * axis->stride - axis->padding, end = start + axis->kernel;
    int64_t low = count_padding ? -axis->padding : 0, high = axis->in + (count_padding ? axis->padding : 0);
    start = start < low ? low : start;
    end = end > high ? high : end;
    return end > start ? end - start : 0;
}

#endif
