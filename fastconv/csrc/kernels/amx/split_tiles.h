/* A block of 32 output channels by 32 pixels: 2 x 2 tiles of sums, two tiles of weights, two of columns.
 *
 * Products of the parts, with 1 the largest: 1*3, 1*2, 2*2, 2*1, 3*1, 1*1, an order in which each step changes one
 * operand and the largest come last. Those left out are below 2^-24 of the product.
 * Bound: tile products, 16 cycles each; 24 of them need 14 loads of 8 cycles, which run beside them.
 * After Henry, Tang and Heinecke, "Leveraging the bfloat16 artificial intelligence datatype for higher-precision
 * computations" (2019).
 */
#ifndef FC_SPLIT_TILES_H
#define FC_SPLIT_TILES_H

#include "kernels/amx/split_shape.h"

/* Tiles: 0 to 3 the sums, row by row; 4, 5 the weights; 6, 7 the columns. `high`, `wide`: whether there is a second. */
#define SPLIT_WEIGHTS(part) \
    do { \
        tile_load(4, a + (part) * TILE_DWORDS, 64); \
        if (high) \
            tile_load(5, a + a_step + (part) * TILE_DWORDS, 64); \
    } while (0)
#define SPLIT_COLUMNS(part) \
    do { \
        tile_load(6, b + (part) * TILE_DWORDS, 64); \
        if (wide) \
            tile_load(7, b + b_step + (part) * TILE_DWORDS, 64); \
    } while (0)
#define SPLIT_PRODUCTS \
    do { \
        tile_dot(0, 4, 6); \
        if (wide) \
            tile_dot(1, 4, 7); \
        if (high) \
            tile_dot(2, 5, 6); \
        if (high && wide) \
            tile_dot(3, 5, 7); \
        split_look_ahead(ahead); \
    } while (0)

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

/* Calls of split_look_ahead for one tile of the reduction. */
FC_INLINE int64_t split_calls(int parts) { return parts * (parts + 1) / 2; }

/* sums += the products of `tiles` tiles of the reduction; from zero unless `add`. */
FC_INLINE void split_block_body(const int parts, const bool high, const bool wide, int64_t tiles, const real *a,
                                int64_t a_step, const real *b, int64_t b_step, real *sums, bool add,
                                split_ahead *ahead) {
    const int64_t row_bytes = SPLIT_SUMS_STEP * sizeof(real);
    real *below = sums + TILE_SIDE * SPLIT_SUMS_STEP;
    if (add) {
        tile_load(0, sums, row_bytes);
        if (wide)
            tile_load(1, sums + TILE_SIDE, row_bytes);
        if (high)
            tile_load(2, below, row_bytes);
        if (high && wide)
            tile_load(3, below + TILE_SIDE, row_bytes);
    } else {
        tile_zero(0);
        tile_zero(1);
        tile_zero(2);
        tile_zero(3);
    }
    for (int64_t k = 0; k < tiles; k++, a += parts * TILE_DWORDS, b += parts * TILE_DWORDS) {
        SPLIT_WEIGHTS(0);
        if (parts >= 3) {
            SPLIT_COLUMNS(2);
            SPLIT_PRODUCTS;
        }
        if (parts >= 2) {
            SPLIT_COLUMNS(1);
            SPLIT_PRODUCTS;
            SPLIT_WEIGHTS(1);
        }
        if (parts >= 3)
            SPLIT_PRODUCTS;
        SPLIT_COLUMNS(0);
        if (parts >= 2)
            SPLIT_PRODUCTS;
        if (parts >= 3) {
            SPLIT_WEIGHTS(2);
            SPLIT_PRODUCTS;
        }
        if (parts >= 2)
            SPLIT_WEIGHTS(0);
        SPLIT_PRODUCTS;
    }
    tile_store(0, sums, row_bytes);
    if (wide)
        tile_store(1, sums + TILE_SIDE, row_bytes);
    if (high)
        tile_store(2, below, row_bytes);
    if (high && wide)
        tile_store(3, below + TILE_SIDE, row_bytes);
}

#define SPLIT_BLOCK_CASE(parts, high, wide) \
    case (parts) * 4 + (high) * 2 + (wide): \
        split_block_body(parts, high, wide, tiles, a, a_step, b, b_step, sums, add, ahead); \
        return;
#define SPLIT_BLOCK_CASES(parts) \
    SPLIT_BLOCK_CASE(parts, 0, 0) \
    SPLIT_BLOCK_CASE(parts, 0, 1) \
    SPLIT_BLOCK_CASE(parts, 1, 0) \
    SPLIT_BLOCK_CASE(parts, 1, 1)

/* a, b: tiles as packed; a_step, b_step: reals from the first row or column of tiles to the second. */
static __attribute__((noinline)) void split_multiply(int parts, bool high, bool wide, int64_t tiles, const real *a,
                                                     int64_t a_step, const real *b, int64_t b_step, real *sums,
                                                     bool add, split_ahead *ahead) {
    switch (parts * 4 + high * 2 + wide) {
        SPLIT_BLOCK_CASES(3)
        SPLIT_BLOCK_CASES(2)
        SPLIT_BLOCK_CASES(1)
    }
}

#endif
