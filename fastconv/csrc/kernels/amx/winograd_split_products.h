/* The products on tiles: 32 lanes by 32 output channels, a block of split_tiles.h. The left operand's rows are lanes, the
 * right one's columns output channels, so that sums come out with channels along the vectors.
 * Bound: tile products, 16 cycles each. Weights beyond L2 stream from L3, 6 bytes each, once per panel of lanes:
 * each block asks for its share of the next one's while it multiplies.
 */
#ifndef FC_WINOGRAD_SPLIT_PRODUCTS_H
#define FC_WINOGRAD_SPLIT_PRODUCTS_H

#include "kernels/amx/split_tiles.h"
#include "kernels/amx/winograd_split_shape.h"

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
    int64_t blocks = divide_up(job->lane_tiles, 2), tiles = end - begin;
    split_ahead ahead = {.reads = 0};
    for (int64_t row = job->row; row < job->row_end; row += 2, b += 2 * row_reals, sums += 2 * l->row_stride) {
        if (job->part->block[WEIGHTS_STREAM]) { /* the next two row tiles', over all blocks of lanes */
            ahead.read = split_lines_of(b + 2 * row_reals, tiles * parts * TILE_SIDE, row_reals, 2);
            ahead.reads = split_share(&ahead.read, blocks * tiles * split_calls(parts));
        }
        for (int64_t lane = 0; lane < job->lane_tiles; lane += 2) {
            bool last = lane + 2 >= job->lane_tiles;
            split_operand left = {a + lane * l->tile_stride, l->tile_stride, NULL}, right = {b, row_reals, b};
            left.next = last ? a : left.at + 2 * l->tile_stride;
            if (last) /* of the next rows, or product */
                right.next = b + 2 * row_reals;
            if (last && row + 2 >= job->row_end)
                left.next = a + l->product_stride;
            split_sums block = {sums + lane * TILE_DWORDS, TILE_SIDE, l->row_stride, TILE_DWORDS};
            split_multiply(parts, job->lane_tiles - lane > 1, job->row_end - row > 1, tiles, left, right, block, add,
                           &ahead);
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
