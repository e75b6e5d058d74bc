/* The products on tiles: 32 lanes by 32 output channels, 2 x 2 tiles of sums, as in split_tiles.h but for the roles:
 * the left operand's rows are lanes, the right one's columns output channels, so that sums come out with channels along
 * the vectors, and both operands' parts in the order of split_tiles.h.
 * Bound: tile products, 16 cycles each. Weights beyond L2 stream from L3, 6 bytes each, once per panel of lanes:
 * each block asks for its share of the next one's while it multiplies.
 */
#ifndef FC_WINOGRAD_SPLIT_PRODUCTS_H
#define FC_WINOGRAD_SPLIT_PRODUCTS_H

#include "kernels/amx/winograd_split_shape.h"

#define LANE_PART(part) \
    do { \
        tile_load(4, a + (part) * TILE_DWORDS, 64); \
        if (high) \
            tile_load(5, a + a_step + (part) * TILE_DWORDS, 64); \
    } while (0)
#define ROW_PART(part) \
    do { \
        tile_load(6, b + (part) * TILE_DWORDS, 64); \
        if (wide) \
            tile_load(7, b + b_step + (part) * TILE_DWORDS, 64); \
    } while (0)
#define PART_PRODUCTS \
    do { \
        tile_dot(0, 4, 6); \
        if (wide) \
            tile_dot(1, 4, 7); \
        if (high) \
            tile_dot(2, 5, 6); \
        if (high && wide) \
            tile_dot(3, 5, 7); \
        for (int64_t line = 0; line < lines; line++, ahead += 64) \
            __builtin_prefetch(ahead, 0, 2); \
    } while (0)

/* Weights to ask for: `lines` of 64 bytes from `ahead` on, for every product of parts. */
typedef struct block_ahead {
    const char *from;
    int64_t lines;
} block_ahead;

/* sums += the products of `tiles` step tiles; from zero unless `add`. */
FC_INLINE void lane_block(int parts, const bool high, const bool wide, int64_t tiles, const real *a,
                          int64_t a_step, const real *b, int64_t b_step, real *sums, int64_t row_stride, bool add,
                          block_ahead next) {
    const int64_t bytes = TILE_SIDE * sizeof(real), lines = next.lines;
    const char *ahead = next.from;
    real *below = sums + TILE_DWORDS;
    if (add) {
        tile_load(0, sums, bytes);
        if (wide)
            tile_load(1, sums + row_stride, bytes);
        if (high)
            tile_load(2, below, bytes);
        if (high && wide)
            tile_load(3, below + row_stride, bytes);
    } else {
        tile_zero(0);
        tile_zero(1);
        tile_zero(2);
        tile_zero(3);
    }
    for (int64_t k = 0; k < tiles; k++, a += parts * TILE_DWORDS, b += parts * TILE_DWORDS) {
        LANE_PART(0);
        if (parts == 3) {
            ROW_PART(2);
            PART_PRODUCTS;
        }
        ROW_PART(1);
        PART_PRODUCTS;
        LANE_PART(1);
        if (parts == 3)
            PART_PRODUCTS;
        ROW_PART(0);
        PART_PRODUCTS;
        if (parts == 3) {
            LANE_PART(2);
            PART_PRODUCTS;
        }
        LANE_PART(0);
        PART_PRODUCTS;
    }
    tile_store(0, sums, bytes);
    if (wide)
        tile_store(1, sums + row_stride, bytes);
    if (high)
        tile_store(2, below, bytes);
    if (high && wide)
        tile_store(3, below + row_stride, bytes);
}

static __attribute__((noinline)) void multiply_lanes(int parts, bool high, bool wide, int64_t tiles, const real *a,
                                                     int64_t a_step, const real *b, int64_t b_step, real *sums,
                                                     int64_t row_stride, bool add,
                                                     block_ahead next) {
    switch (high * 2 + wide) {
#define BLOCK_CASE(high, wide) \
    case (high) * 2 + (wide): \
        lane_block(parts, high, wide, tiles, a, a_step, b, b_step, sums, row_stride, add, next); \
        return;
        BLOCK_CASE(0, 0)
        BLOCK_CASE(0, 1)
        BLOCK_CASE(1, 0)
        BLOCK_CASE(1, 1)
    }
}

typedef struct split_product {
    const fc_part *part;
    const shape *s;
    const split_layout *l;
    const real *weights;        /* of the group */
    int64_t row, row_end;       /* row tiles */
    int64_t lane_tiles;
    real *scratch;
} split_product;

/* Step tiles [begin, end) of one product, which the span holds from `span` on. */
static void multiply_steps(const split_product *job, int64_t product, int64_t begin, int64_t end, int64_t span,
                           bool add) {
    const split_layout *l = job->l;
    int parts = split_parts(job->part);
    int64_t row_reals = row_tile_reals(job->part, job->s), rows = row_tiles(job->part);
    const real *a = job->scratch + l->inputs + product * l->product_stride + (begin - span) * parts * TILE_DWORDS;
    const real *b = job->weights + (product * rows + job->row) * row_reals + begin * parts * TILE_DWORDS;
    real *sums = job->scratch + l->sums + product * l->sum_stride;
    int64_t blocks = divide_up(job->lane_tiles, 2), dots = parts * (parts + 1) / 2;
    /* Two row tiles' over all blocks of lanes; none where weights stay in L2. */
    int64_t lines = job->part->block[WEIGHTS_STREAM] ? divide_up(2 * parts * TILE_SIDE, dots * blocks) : 0;
    for (int64_t row = job->row; row < job->row_end; row += 2, b += 2 * row_reals, sums += 2 * l->row_stride) {
        block_ahead next = {(const char *)(b + 2 * row_reals), lines};
        for (int64_t lane = 0; lane < job->lane_tiles; lane += 2) {
            multiply_lanes(parts, job->lane_tiles - lane > 1, job->row_end - row > 1, end - begin,
                           a + lane * l->tile_stride, l->tile_stride, b, row_reals,
                           sums + lane * TILE_DWORDS, l->row_stride, add, next);
            next.from += lines * dots * (end - begin) * 64;
        }
    }
}

/* All products of the span's step tiles [begin, end), those left out that are zero for a whole slice. The tile state is
 * this thread's, which may be the caller's, and is given back. */
static void multiply_span(const split_product *job, int64_t begin, int64_t end) {
    const shape *s = job->s;
    int64_t per_slice = slice_tiles(s);
    tile_configure();
    for (int64_t product = 0; product < s->products; product++) {
        int64_t from = begin;
        for (int64_t tile = begin, next; tile < end; tile = next) {
            int64_t index = tile / per_slice;
            next = smaller((index + 1) * per_slice, end);
            if (!product_is_zero(s, product, index * s->channels, (index + 1) * s->channels))
                continue;
            if (from < tile)
                multiply_steps(job, product, from, tile, begin, from > 0);
            from = next;
        }
        if (from < end)
            multiply_steps(job, product, from, end, begin, from > 0);
    }
    tile_release();
}

#endif
