/* A block of 32 by 32 sums: 2 x 2 tiles, with two tiles of each operand, for every kernel on split values.
 *
 * Products of the parts, with 1 the largest: 1*3, 1*2, 2*2, 2*1, 3*1, 1*1, an order in which each step changes one
 * operand and the largest come last. Those left out are below 2^-24 of the product.
 * Bound: tile products, 16 cycles each; 24 of them need 14 loads of 8 cycles, which run beside them.
 * After Henry, Tang and Heinecke, "Leveraging the bfloat16 artificial intelligence datatype for higher-precision
 * computations" (2019).
 */
#ifndef FC_SPLIT_TILES_H
#define FC_SPLIT_TILES_H

#include "kernels/common/integers.h"
#include "simd/tiles.h"

/* Lines that are used later: `rows` rows of `row_lines`, `step` reals apart. */
typedef struct split_lines {
    const real *at;
    int64_t left, row_lines, step, rows; /* left of the row at hand; rows from it on */
} split_lines;

FC_INLINE split_lines split_lines_of(const real *at, int64_t row_lines, int64_t step, int64_t rows) {
    return (split_lines){at, rows > 0 ? row_lines : 0, row_lines, step, rows};
}

/* The next line, or NULL. */
FC_INLINE const real *split_next_line(split_lines *l) {
    if (l->left == 0) {
        if (--l->rows <= 0)
            return NULL;
        l->left = l->row_lines;
        l->at += l->step - l->row_lines * VL;
    }
    l->left--;
    l->at += VL;
    return l->at - VL;
}

/* What is asked for into L2 between products, some lines at a time: weights or x to be read, and where the block's sums
 * will be stored, since each line of out otherwise waits for L3. */
typedef struct split_ahead {
    split_lines read, write;
    int64_t reads, writes; /* lines after all products of one pair of parts */
} split_ahead;

FC_INLINE void split_look_ahead(split_ahead *ahead) {
    const real *line;
    for (int64_t i = 0; i < ahead->reads && (line = split_next_line(&ahead->read)) != NULL; i++)
        __builtin_prefetch(line, 0, 2);
    for (int64_t i = 0; i < ahead->writes && (line = split_next_line(&ahead->write)) != NULL; i++)
        __builtin_prefetch(line, 1, 2);
}

/* Calls of split_look_ahead for one tile of the reduction: one for each product of parts. */
FC_INLINE int64_t split_calls(int parts) { return parts * (parts + 1) / 2; }

/* Lines to be asked for over `calls` calls of split_look_ahead, a few more in the end than there are. */
FC_INLINE int64_t split_share(const split_lines *l, int64_t calls) {
    return divide_up(l->rows * l->row_lines, larger(calls, 1));
}

/* Tiles of one operand, all parts of a step side by side; `step` reals on, those of the block's second tile. `next` is
 * where the block after this one begins. */
typedef struct split_operand {
    const real *at;
    int64_t step;
    const real *next;
} split_operand;

/* Where the sums lie: reals from one of a tile's rows to the next, from a tile to the one on its right and below. */
typedef struct split_sums {
    real *at;
    int64_t row, right, below;
} split_sums;

/* Half a tile into L1. */
FC_INLINE void split_ask(const real *half) {
    _Pragma("GCC unroll 8") for (int line = 0; line < TILE_SIDE / 2; line++)
        __builtin_prefetch(half + line * TILE_SIDE);
}

/* Tiles: 0 to 3 the sums, row by row; 4, 5 the left operand; 6, 7 the right one. `high`, `wide`: whether the left, the
 * right one has a second tile. */
#define SPLIT_LEFT(part) \
    do { \
        tile_load(4, a + (part) * TILE_DWORDS, 64); \
        if (high) \
            tile_load(5, a + left.step + (part) * TILE_DWORDS, 64); \
    } while (0)
#define SPLIT_RIGHT(part) \
    do { \
        tile_load(6, b + (part) * TILE_DWORDS, 64); \
        if (wide) \
            tile_load(7, b + right.step + (part) * TILE_DWORDS, 64); \
    } while (0)
/* Products of the tiles at hand; between them the same part of the next tile of the reduction is asked for into L1,
 * `from` it, `second` of them, `step` apart: a load that waits for L2 otherwise holds up the products behind it, which
 * costs a third of them while a sibling thread has half of the core's queues. */
#define SPLIT_PRODUCTS(from, second, step) \
    do { \
        const real *asked = (from), *other = (second) ? asked + (step) : asked; \
        tile_dot(0, 4, 6); \
        split_ask(asked); \
        if (wide) \
            tile_dot(1, 4, 7); \
        split_ask(asked + TILE_DWORDS / 2); \
        if (high) \
            tile_dot(2, 5, 6); \
        split_ask(other); \
        if (high && wide) \
            tile_dot(3, 5, 7); \
        split_ask(other + TILE_DWORDS / 2); \
        split_look_ahead(ahead); \
    } while (0)
#define SPLIT_PRODUCTS_LEFT(part) SPLIT_PRODUCTS(next_a + (part) * TILE_DWORDS, high, left.step)
#define SPLIT_PRODUCTS_RIGHT(part) SPLIT_PRODUCTS(next_b + (part) * TILE_DWORDS, wide, right.step)

/* sums += the products of `tiles` tiles of the reduction; from zero unless `add`. */
FC_INLINE void split_multiply_block(int parts, const bool high, const bool wide, int64_t tiles,
                                    split_operand left, split_operand right, split_sums sums, bool add,
                                    split_ahead *ahead) {
    const real *a = left.at, *b = right.at;
    const int64_t row_bytes = sums.row * (int64_t)sizeof(real);
    real *below = sums.at + sums.below;
    if (add) {
        tile_load(0, sums.at, row_bytes);
        if (wide)
            tile_load(1, sums.at + sums.right, row_bytes);
        if (high)
            tile_load(2, below, row_bytes);
        if (high && wide)
            tile_load(3, below + sums.right, row_bytes);
    } else {
        tile_zero(0);
        tile_zero(1);
        tile_zero(2);
        tile_zero(3);
    }
    for (int64_t k = 0; k < tiles; k++, a += parts * TILE_DWORDS, b += parts * TILE_DWORDS) {
        const real *next_a = k + 1 < tiles ? a + parts * TILE_DWORDS : left.next;
        const real *next_b = k + 1 < tiles ? b + parts * TILE_DWORDS : right.next;
        SPLIT_LEFT(0);
        if (parts < 3) {
            split_ask(next_a);
            split_ask(next_a + TILE_DWORDS / 2);
        }
        if (parts >= 3) {
            SPLIT_RIGHT(2);
            SPLIT_PRODUCTS_LEFT(0);
        }
        if (parts >= 2) {
            SPLIT_RIGHT(1);
            SPLIT_PRODUCTS_RIGHT(parts - 1);
            SPLIT_LEFT(1);
        }
        if (parts >= 3)
            SPLIT_PRODUCTS_RIGHT(1);
        SPLIT_RIGHT(0);
        if (parts >= 2)
            SPLIT_PRODUCTS_LEFT(1);
        if (parts >= 3) {
            SPLIT_LEFT(2);
            SPLIT_PRODUCTS_LEFT(2);
        }
        if (parts >= 2)
            SPLIT_LEFT(0);
        SPLIT_PRODUCTS_RIGHT(0);
    }
    tile_store(0, sums.at, row_bytes);
    if (wide)
        tile_store(1, sums.at + sums.right, row_bytes);
    if (high)
        tile_store(2, below, row_bytes);
    if (high && wide)
        tile_store(3, below + sums.right, row_bytes);
}

#define SPLIT_BLOCK_CASE(high, wide) \
    case (high) * 2 + (wide): \
        split_multiply_block(parts, high, wide, tiles, left, right, sums, add, ahead); \
        return;

static __attribute__((noinline)) void split_multiply(int parts, bool high, bool wide, int64_t tiles,
                                                     split_operand left, split_operand right, split_sums sums,
                                                     bool add, split_ahead *ahead) {
    switch (high * 2 + wide) {
        SPLIT_BLOCK_CASE(0, 0)
        SPLIT_BLOCK_CASE(0, 1)
        SPLIT_BLOCK_CASE(1, 0)
        SPLIT_BLOCK_CASE(1, 1)
    }
}

#endif
