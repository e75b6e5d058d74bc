/* Sizes of a Winograd problem whose products run on tiles, and where in the scratch each piece lies.
 *
 * A lane is a tile of outputs; lanes come 16 to a tile of the CPU, channels of the reduction 32: the pair k of such a
 * step tile is channels k and k + 16, so that two vectors of channels split into pairs without a shuffle. Every slice
 * (winograd/shape.h) begins on a step tile, its tail zero in both operands. Everything counts elements of `real`.
 */
#ifndef FC_WINOGRAD_SPLIT_SHAPE_H
#define FC_WINOGRAD_SPLIT_SHAPE_H

#include "kernels/amx/split_cost.h"
#include "kernels/winograd/limits.h"
#include "kernels/winograd/shape.h"

enum { STEP_CHANNELS = 2 * TILE_PAIRS }; /* of a step tile */
enum { LINE_PIXELS = 32 };               /* transformed at a time: their lines and windows stay in L1 */
enum { SPAN_TILES = 0, LANE_TILES = 1, WEIGHTS_STREAM = 2 }; /* of part->block */
enum { ROWS_MOST = 512 };                /* output channels of a task */
enum { LANE_TILES_MOST = 8 };            /* of a panel */
enum { INPUT_BYTES = 8 << 20, WEIGHT_BYTES_MOST = 64 << 20 };

/* Sums too short for "highest" are of three parts under "high" as well: their transforms round enough. */
FC_INLINE int split_parts(const fc_part *part) {
    return part->problem.precision == FC_PRECISION_HIGHEST || part->reduction < EXACT_PRODUCTS ? 3 : 2;
}

FC_INLINE int64_t slice_tiles(const shape *s) { return divide_up(s->channels, STEP_CHANNELS); }
FC_INLINE int64_t step_tiles(const shape *s) { return s->slices * slice_tiles(s); }
FC_INLINE int64_t row_tiles(const fc_part *part) { return divide_up(part->group_out_ch, TILE_SIDE); }
FC_INLINE int64_t lane_tiles(const shape *s) { return divide_up(s->tiles, TILE_SIDE); }
FC_INLINE int64_t panels_of(const fc_part *part, const shape *s) {
    return divide_up(lane_tiles(s), larger(part->block[LANE_TILES], 1));
}

/* The packed weights: [largest magnitude of each group's row tiles], then for each group [product][row tile][step tile][part][pair]
 * [row][2] in bfloat16, then as winograd/weights.h gives them, for what the tiles cannot multiply. */
FC_INLINE int64_t row_tile_reals(const fc_part *part, const shape *s) {
    return step_tiles(s) * split_parts(part) * TILE_DWORDS;
}
FC_INLINE int64_t largest_reals(const fc_part *part) {
    return round_up(part->problem.groups * row_tiles(part), TILE_SIDE);
}
FC_INLINE int64_t group_reals(const fc_part *part, const shape *s) {
    return s->products * row_tiles(part) * row_tile_reals(part, s);
}

typedef struct split_layout {
    int64_t tile_stride, product_stride, inputs; /* [product][lane tile][step tile of the span][part][lane][pair][2] */
    int64_t sum_stride, row_stride, sums;        /* [row tile][product][lane][row] */
    int64_t lines;                               /* [pixel][window row][channel of a step tile] */
    int64_t gathered;                            /* [channel of a step tile][pixel] */
    int64_t finished;                            /* [tile row][pixel][row] */
    int64_t turned;                              /* [row][pixel] */
    int64_t zeros;                               /* a pixel's channels of padding */
    int64_t seen;                                /* [lane][channel lane]: magnitudes */
    int64_t bad, segments, total;
} split_layout;

FC_INLINE int64_t take_reals(int64_t *total, int64_t count) {
    int64_t at = *total;
    *total += round_up(count, 64 / (int64_t)sizeof(real));
    return at;
}

static split_layout split_layout_of(const fc_part *part, const shape *s) {
    split_layout l = {.total = 0};
    int64_t tiles = part->block[LANE_TILES], lanes = tiles * TILE_SIDE;
    l.tile_stride = part->block[SPAN_TILES] * split_parts(part) * TILE_DWORDS;
    l.product_stride = tiles * l.tile_stride + VL; /* not a multiple of a page: products do not share cache sets */
    l.inputs = take_reals(&l.total, s->products * l.product_stride);
    l.sum_stride = lanes * TILE_SIDE + VL;
    l.row_stride = s->products * l.sum_stride + VL;
    l.sums = take_reals(&l.total, smaller(row_tiles(part), ROWS_MOST / TILE_SIDE) * l.row_stride);
    l.lines = take_reals(&l.total, (LINE_PIXELS + VL) * s->h.window * STEP_CHANNELS);
    l.gathered = take_reals(&l.total, STEP_CHANNELS * LINE_PIXELS);
    l.finished = take_reals(&l.total, OUT_TILE * LINE_PIXELS * TILE_SIDE);
    l.turned = take_reals(&l.total, TILE_SIDE * LINE_PIXELS);
    l.zeros = take_reals(&l.total, round_up(s->channels, STEP_CHANNELS));
    l.seen = take_reals(&l.total, lanes * VL);
    l.bad = take_reals(&l.total, lanes);
    l.segments = take_reals(&l.total, lanes * (int64_t)(sizeof(segment) / sizeof(real)));
    return l;
}

#endif
