/* The planar sweep of depthwise: one channel, pixels along the lanes, a block of rows x vectors of outputs
 * in registers.
 *
 * Rows of x come through a table of pointers: to x itself, whose padding is lanes that masks leave out of the sums or of
 * the loads, or to padded copies. With equal strides of 1 or 2 and no dilation along height every loaded vector serves all the
 * output rows it belongs to. Products are added in the order: group of height taps; depth; width and height
 * tap within the group when rows are shared, else height and width tap.
 * Bound: FMA throughput with `rows` of 4 or more and 3 taps or more (a 64-byte load that straddles cache
 * lines counts twice: about 0.8 of the load slots); L1 loads when rows are not shared (1D, dilated), unless
 * half of the vectors are put together from their aligned neighbours.
 */
#ifndef FC_ROW_SWEEP_H
#define FC_ROW_SWEEP_H

#include "kernels/common/epilogue.h"

#define FC_UNROLL_ALL _Pragma("GCC unroll 32")

enum { SWEEP_AHEAD = 4, MIXED_ROWS = 4, MIXED_VECS = 3 };
enum { SWEEP_ROWS = 14, SWEEP_VECS = TILE_VECS >= 3 ? 12 : 8, SWEEP_SUMS = 16 * VL }; /* the most of each */

typedef struct row_sweep {
    const real *const *rows;    /* first output row's first tap, in the table */
    int64_t depth_pitch;        /* table entries between taps along depth */
    int64_t row_step, tap_step; /* table entries between output rows and between taps along height */
    const int64_t *shift;       /* of each tap along width, in reals */
    int64_t column;             /* first output column, from the table's */
    const lane_mask *masks;     /* [tap along width][vector or load]: lanes inside x; or NULL, see SWEEP_MASKS */
    int64_t mask_step;          /* from one tap's to the next's */
    int64_t depth_taps, width_taps, taps; /* taps: along height, of this group */
    bool dense_taps;            /* tap k's shift is k */
    const real *lane_bias;      /* channels interleaved along the row: theirs, for MIXED_VECS vectors; or NULL */
    const real *weights;        /* [depth][width][height tap] of this group; unshared: [depth][height][width] */
    real *sums;                 /* [row][vecs * VL] */
    bool add;                   /* an earlier group has left its sums */
    bool finish;                /* bias, bounds and store straight from the registers */
    real bias;
    bool clamps;                /* the bounds are not infinite */
    fc_bounds bounds;
    stor *out;
    int64_t out_pitch, valid_rows, valid_columns; /* of out; only when finish */
    /* More than one block only when they finish: from one to the next, in output rows or columns. */
    int64_t blocks, row_advance, column_advance;
} row_sweep;

FC_INLINE void sweep_start(const int rows, const int vecs, const row_sweep *s, vec *acc) {
    FC_UNROLL_ALL for (int i = 0; i < rows * vecs; i++)
        acc[i] = s->add ? v_load(s->sums + i * VL) : v_zero();
}

FC_INLINE void sweep_store(const int rows, const int vecs, const row_sweep *s, int64_t block, const vec *acc) {
    if (!s->finish) {
        FC_UNROLL_ALL for (int i = 0; i < rows * vecs; i++)
            v_store(s->sums + i * VL, acc[i]);
        return;
    }
    vec bias = v_set1(s->bias), low = v_set1(s->bounds.low), high = v_set1(s->bounds.high);
    stor *to = s->out + block * (s->row_advance * s->out_pitch + s->column_advance);
    int64_t valid_rows = s->valid_rows - block * s->row_advance;
    int64_t last_columns = s->valid_columns - block * s->column_advance - (vecs - 1) * VL;
    FC_UNROLL_ALL for (int r = 0; r < rows; r++, to += s->out_pitch) {
        if (r >= valid_rows)
            return;
        FC_UNROLL_ALL for (int v = 0; v < vecs; v++) {
            vec y = v_add(acc[r * vecs + v], bias);
            if (s->clamps) /* these would take the slots of FMAs */
                y = v_min(high, v_max(low, y));
            if (v < vecs - 1 || last_columns >= VL)
                v_stores(to + v * VL, y);
            else
                v_storesn(to + v * VL, y, last_columns);
        }
    }
}

/* Which bodies there are, with and without masks. Rows are copied where a masked load is many instructions; where
 * masks cost little, rows without padding have masks of all lanes. */
#define SWEEP_MASKED (!FC_IS_NARROW && FC_ISA_IS >= 2)
#define SWEEP_INSIDE (!SWEEP_MASKED || TILE_VECS < 3)
/* Masks of the sums' lanes in place of the loads': 1.05 to 1.2-fold as measured, if what is loaded is kept (v_keep). Loads
 * then read past a row's ends, which must lie in memory that may be read. */
#define SWEEP_READS_PAST (SWEEP_MASKED && VEC_MASKS_FMA)
/* The masks of a vector of outputs: of its sums, or of its one or two loads. */
#define SWEEP_MASKS_PER_VEC(stride) (SWEEP_READS_PAST ? 1 : (stride))

/* VL values `stride` apart. */
FC_INLINE vec sweep_load(const int stride, const int masked, const real *p, const lane_mask *mask) {
    vec low = masked ? v_loadm(p, mask[0]) : v_load(p);
    if (stride == 1)
        return low;
    vec high = masked ? v_loadm(p + VL, mask[1]) : v_load(p + VL), odd;
    v_deinterleave(low, high, &low, &odd);
    return low;
}

FC_INLINE vec sweep_fma(const int masked, vec weight, vec x, vec sum, const lane_mask *mask) {
#if SWEEP_READS_PAST
    if (masked)
        return v_fma_lanes(weight, x, sum, *mask);
#endif
    (void)masked, (void)mask;
    return v_fma(weight, x, sum);
}

/* Asks for what the blocks SWEEP_AHEAD further along the row read and write: a dozen rows at once are more streams
 * than the hardware follows. Twice as fast beyond the caches, and costs nothing within. */
FC_INLINE void sweep_prefetch(const int taps, const int rows, const int vecs, const int stride, const row_sweep *s,
                              int64_t block) {
    int64_t ahead = (block + SWEEP_AHEAD) * s->column_advance;
    FC_UNROLL_ALL for (int i = 0; i < rows * stride; i++) /* the rows above have been read by the blocks above */
        FC_UNROLL_ALL for (int v = 0; v < vecs * stride; v++)
            if (taps - stride + i >= 0)
                __builtin_prefetch(s->rows[taps - stride + i] + (s->column + ahead) * stride + v * VL);
    FC_UNROLL_ALL for (int r = 0; r < rows; r++)
        FC_UNROLL_ALL for (int v = 0; v < vecs; v++)
            __builtin_prefetch(s->out + ahead + r * s->out_pitch + v * VL, 1);
}

/* Rows shared between `taps` taps along height; stride: of both axes, 1 or 2. */
FC_INLINE void sweep_shared(const int taps, const int rows, const int vecs, const int stride, const int masked,
                            const row_sweep *s, int64_t block) {
    const int masks_sums = masked && SWEEP_READS_PAST, masks_loads = masked && !SWEEP_READS_PAST;
    const int per_vec = SWEEP_MASKS_PER_VEC(stride);
    vec acc[SWEEP_SUMS / VL];
    sweep_start(rows, vecs, s, acc);
    const real *weights = s->weights;
    const real *const *table = s->rows + block * s->row_advance * s->row_step;
    int64_t column = s->column + block * s->column_advance;
    if (rows == 4 && s->row_advance == 0)
        sweep_prefetch(taps, rows, vecs, stride, s, block);
    for (int64_t depth = 0; depth < s->depth_taps; depth++, table += s->depth_pitch) {
        const lane_mask *masks = s->masks;
        for (int64_t k = 0; k < s->width_taps; k++, weights += taps, masks += s->mask_step) {
            int64_t shift = s->shift[k] + column * stride;
            vec weight[7];
            lane_mask mask[SWEEP_VECS];
            FC_UNROLL_ALL for (int t = 0; t < taps; t++)
                weight[t] = v_set1(weights[t]);
            if (masked)
                FC_UNROLL_ALL for (int v = 0; v < vecs * per_vec; v++)
                    mask[v] = masks[v];
            FC_UNROLL_ALL for (int i = 0; i < (rows - 1) * stride + taps; i++) {
                const real *row = table[i] + shift;
                vec x[SWEEP_VECS];
                FC_UNROLL_ALL for (int v = 0; v < vecs; v++)
                    x[v] = sweep_load(stride, masks_loads, row + v * stride * VL, mask + v * per_vec);
                if (TILE_VECS >= 3 || taps >= 5) /* else there are no registers for it */
                    FC_UNROLL_ALL for (int v = 0; v < vecs; v++)
                        x[v] = v_keep(x[v]);
                FC_UNROLL_ALL for (int r = 0; r < rows; r++)
                    if (i - r * stride >= 0 && i - r * stride < taps)
                        FC_UNROLL_ALL for (int v = 0; v < vecs; v++)
                            acc[r * vecs + v] = sweep_fma(masks_sums, weight[i - r * stride], x[v], acc[r * vecs + v],
                                                          mask + v * per_vec);
            }
        }
    }
    sweep_store(rows, vecs, s, block, acc);
}

/* A row of 2, 3 or 4 interleaved channels, as an RGB picture's: one row of pixels whose taps are that many apart,
 * with the weights of lane i's channel in lane i. Those repeat every MIXED_VECS vectors. */
FC_INLINE void sweep_mixed_store(const row_sweep *s, int64_t block, const vec *acc) {
    if (!s->finish) {
        sweep_store(MIXED_ROWS, MIXED_VECS, s, block, acc);
        return;
    }
    vec low = v_set1(s->bounds.low), high = v_set1(s->bounds.high);
    stor *to = s->out + block * s->column_advance;
    int64_t columns = s->valid_columns - block * s->column_advance;
    FC_UNROLL_ALL for (int r = 0; r < MIXED_ROWS; r++, to += s->out_pitch) {
        if (r >= s->valid_rows)
            return;
        FC_UNROLL_ALL for (int v = 0; v < MIXED_VECS; v++) {
            vec y = v_add(acc[r * MIXED_VECS + v], v_load(s->lane_bias + v * VL));
            y = v_min(high, v_max(low, y));
            int64_t n = columns - v * VL;
            if (n >= VL)
                v_stores(to + v * VL, y);
            else if (n > 0)
                v_storesn(to + v * VL, y, n);
        }
    }
}

FC_INLINE void sweep_mixed(const int taps, const row_sweep *s, int64_t block) {
    enum { ROWS = MIXED_ROWS, VECS = MIXED_VECS };
    vec acc[SWEEP_SUMS / VL];
    sweep_start(ROWS, VECS, s, acc);
    const real *weights = s->weights;
    const real *const *table = s->rows;
    int64_t column = s->column + block * s->column_advance;
    sweep_prefetch(taps, ROWS, VECS, 1, s, block);
    for (int64_t depth = 0; depth < s->depth_taps; depth++, table += s->depth_pitch) {
        const lane_mask *masks = s->masks;
        for (int64_t k = 0; k < s->width_taps; k++, weights += taps * VECS * VL, masks += s->mask_step)
            FC_UNROLL_ALL for (int i = 0; i < ROWS - 1 + taps; i++) {
                const real *row = table[i] + s->shift[k] + column;
                FC_UNROLL_ALL for (int v = 0; v < VECS; v++) {
                    vec x = v_keep(sweep_load(1, !SWEEP_READS_PAST, row + v * VL, masks + v));
                    FC_UNROLL_ALL for (int r = 0; r < ROWS; r++)
                        if (i - r >= 0 && i - r < taps)
                            acc[r * VECS + v] = sweep_fma(SWEEP_READS_PAST, v_load(weights + ((i - r) * VECS + v) * VL), x,
                                                          acc[r * VECS + v], masks + v);
                }
            }
    }
    sweep_mixed_store(s, block, acc);
}

/* Each tap loads its own vectors, from padded copies. */
FC_INLINE void sweep_plain(const int rows, const int vecs, const row_sweep *s, int64_t block) {
    vec acc[SWEEP_SUMS / VL];
    sweep_start(rows, vecs, s, acc);
    const real *weights = s->weights;
    const real *const *table = s->rows + block * s->row_advance * s->row_step;
    int64_t column = s->column + block * s->column_advance;
    for (int64_t depth = 0; depth < s->depth_taps; depth++, table += s->depth_pitch)
        for (int64_t t = 0; t < s->taps; t++) {
            const real *row[SWEEP_ROWS];
            FC_UNROLL_ALL for (int r = 0; r < rows; r++)
                row[r] = table[r * s->row_step + t * s->tap_step] + column;
            for (int64_t k = 0; k < s->width_taps; k++) {
                vec weight = v_set1(*weights++);
                FC_UNROLL_ALL for (int r = 0; r < rows; r++)
                    FC_UNROLL_ALL for (int v = 0; v < vecs; v++)
                        acc[r * vecs + v] = v_fma(weight, v_load(row[r] + s->shift[k] + v * VL), acc[r * vecs + v]);
            }
        }
    sweep_store(rows, vecs, s, block, acc);
}

/* One row of dense taps. A load that straddles cache lines takes the slots of two, so every other vector comes
 * from its two aligned neighbours instead: loads, shifts and FMAs then keep up with one another. */
FC_INLINE void sweep_line(const int vecs, const row_sweep *s, int64_t block) {
    vec acc[SWEEP_SUMS / VL];
    sweep_start(1, vecs, s, acc);
    const real *weights = s->weights;
    const real *const *table = s->rows + block * s->row_advance * s->row_step;
    int64_t column = s->column + block * s->column_advance;
    for (int64_t depth = 0; depth < s->depth_taps; depth++, table += s->depth_pitch)
        for (int64_t t = 0; t < s->taps; t++) {
            const real *row = table[t * s->tap_step] + column;
            for (int64_t k = 0; k < s->width_taps; k += VL, row += VL) {
                vec x[SWEEP_VECS + 1];
                FC_UNROLL_ALL for (int v = 0; v <= vecs; v++)
                    x[v] = v_load(row + v * VL);
                FC_UNROLL_ALL for (int i = 0; i < VL; i++) {
                    if (k + i == s->width_taps)
                        break;
                    vec weight = v_set1(*weights++);
                    FC_UNROLL_ALL for (int v = 0; v < vecs; v++) {
                        vec shifted = v % 2 == 0 ? v_align(x[v], x[v + 1], i) : v_load(row + v * VL + i);
                        acc[v] = v_fma(weight, shifted, acc[v]);
                    }
                }
            }
        }
    sweep_store(1, vecs, s, block, acc);
}

/* Whether a group of `taps` along height shares rows: its order of additions and of weights follows. */
FC_INLINE bool sweep_shares(int64_t share, int64_t taps) { return share != 0 && taps >= 1; }

/* Taps of the next group along height when `left` remain: shared groups are 7, 5, 3 or 2 taps, or the only
 * one. */
FC_INLINE int64_t sweep_group(int64_t share, int64_t left) {
    if (share == 0)
        return left;
    return left >= 7 && left != 8 ? 7 : left >= 5 && left != 6 ? 5 : left == 4 ? 2 : smaller(left, 3);
}

/* Registers for 16 sums; narrow dtypes do without, for the size of the code. */
#define SWEEP_TALL (TILE_VECS >= 3 && !FC_IS_NARROW)

/* Rows and vectors of the blocks, by vectors left in the row: enough sums to hide the FMA's latency. Rows depend
 * on the part alone, so that blocks can be taken along a row. */
typedef struct sweep_block {
    int rows, vecs;
} sweep_block;

FC_INLINE int sweep_block_rows(int64_t share, bool dense_taps, int64_t out_rows, int64_t row_vecs) {
    if (share == 0 && (out_rows == 1 || (dense_taps && TILE_VECS >= 3 && row_vecs >= 6)))
        return 1;
#if SWEEP_TALL
    if (share != 0 && row_vecs == 2 && out_rows > 4)
        return 7;
    if (share != 0 && row_vecs == 1 && out_rows > 8)
        return 14;
#endif
    return row_vecs >= 2 ? 4 : 8;
}

FC_INLINE int sweep_most_vecs(int rows) {
    return rows == 1 ? SWEEP_VECS : rows == 4 ? (TILE_VECS >= 3 ? 4 : 2) : rows == 7 ? 2 : 1;
}

/* The blocks of a row are as even as can be: a narrow one hides less of the latency. */
FC_INLINE sweep_block sweep_block_of(int rows, int64_t vecs_left) {
    int most = sweep_most_vecs(rows);
    return (sweep_block){rows, (int)divide_up(vecs_left, divide_up(vecs_left, most))};
}

#if SWEEP_TALL
#define SWEEP_BLOCKS(BLOCK, taps) \
    BLOCK(taps, 4, 4) BLOCK(taps, 4, 3) BLOCK(taps, 4, 2) BLOCK(taps, 7, 2) BLOCK(taps, 14, 1) BLOCK(taps, 8, 1)
#elif TILE_VECS >= 3
#define SWEEP_BLOCKS(BLOCK, taps) BLOCK(taps, 4, 4) BLOCK(taps, 4, 3) BLOCK(taps, 4, 2) BLOCK(taps, 8, 1)
#else
#define SWEEP_BLOCKS(BLOCK, taps) BLOCK(taps, 4, 2) BLOCK(taps, 4, 1) BLOCK(taps, 8, 1)
#endif
#if TILE_VECS >= 3
#define SWEEP_PLAIN_BLOCKS(BLOCK) BLOCK(0, 4, 4) BLOCK(0, 4, 3) BLOCK(0, 4, 2) BLOCK(0, 8, 1)
#else
#define SWEEP_PLAIN_BLOCKS(BLOCK) BLOCK(0, 4, 2) BLOCK(0, 4, 1) BLOCK(0, 8, 1)
#endif
#define SWEEP_ROW(BLOCK) \
    BLOCK(0, 1, 8) BLOCK(0, 1, 7) BLOCK(0, 1, 6) BLOCK(0, 1, 5) \
    BLOCK(0, 1, 4) BLOCK(0, 1, 3) BLOCK(0, 1, 2) BLOCK(0, 1, 1)
#define SWEEP_LONG_ROW(BLOCK) BLOCK(0, 1, 12) BLOCK(0, 1, 11) BLOCK(0, 1, 10) BLOCK(0, 1, 9)

/* Rows are shared at a stride of 2 as well where the code that takes is worth its size. */
#define SWEEP_MOST_STRIDE (SWEEP_MASKED ? 2 : 1)

#define SWEEP_KEY(taps, rows, vecs) (((taps) * 16 + (rows)) * 16 + (vecs))
#define SWEEP_CASE(taps, rows, vecs, body)                  \
    case SWEEP_KEY(taps, rows, vecs):                       \
        for (int64_t block = 0; block < s->blocks; block++) \
            body;                                           \
        return;
#define SWEEP_MASKED_1(t, r, v) SWEEP_CASE(t, r, v, sweep_shared(t, r, v, 1, 1, s, block))
#define SWEEP_MASKED_2(t, r, v) SWEEP_CASE(t, r, v, sweep_shared(t, r, v, 2, 1, s, block))
#define SWEEP_INSIDE_1(t, r, v) SWEEP_CASE(t, r, v, sweep_shared(t, r, v, 1, 0, s, block))
#define SWEEP_INSIDE_2(t, r, v) SWEEP_CASE(t, r, v, sweep_shared(t, r, v, 2, 0, s, block))
#define SWEEP_PLAIN(t, r, v) SWEEP_CASE(t, r, v, sweep_plain(r, v, s, block))
#define SWEEP_LINE(t, r, v) SWEEP_CASE(t, r, v, sweep_line(v, s, block))
#define SWEEP_TAPS(BODY)                                                                                      \
    SWEEP_BLOCKS(BODY, 1) SWEEP_BLOCKS(BODY, 2) SWEEP_BLOCKS(BODY, 3) SWEEP_BLOCKS(BODY, 5) SWEEP_BLOCKS(BODY, 7)
#define SWEEP_DEFINE(name, cases)                                                               \
    static __attribute__((noinline)) void name(sweep_block at, int64_t taps, const row_sweep *s) { \
        switch (SWEEP_KEY(taps, at.rows, at.vecs)) { cases }                                    \
    }
#if SWEEP_MASKED
SWEEP_DEFINE(sweep_masked, SWEEP_TAPS(SWEEP_MASKED_1))
SWEEP_DEFINE(sweep_masked_by_2, SWEEP_TAPS(SWEEP_MASKED_2))
#define SWEEP_MIXED(t) SWEEP_CASE(t, MIXED_ROWS, MIXED_VECS, sweep_mixed(t, s, block))
SWEEP_DEFINE(sweep_mixed_rows, SWEEP_MIXED(1) SWEEP_MIXED(2) SWEEP_MIXED(3) SWEEP_MIXED(5) SWEEP_MIXED(7))
#endif
#if SWEEP_INSIDE
SWEEP_DEFINE(sweep_inside, SWEEP_TAPS(SWEEP_INSIDE_1))
#endif
#if SWEEP_INSIDE && SWEEP_MOST_STRIDE == 2
SWEEP_DEFINE(sweep_inside_by_2, SWEEP_TAPS(SWEEP_INSIDE_2))
#endif
#if TILE_VECS >= 3
SWEEP_DEFINE(sweep_unshared, SWEEP_PLAIN_BLOCKS(SWEEP_PLAIN) SWEEP_ROW(SWEEP_PLAIN) SWEEP_LONG_ROW(SWEEP_PLAIN))
SWEEP_DEFINE(sweep_dense_line, SWEEP_ROW(SWEEP_LINE) SWEEP_LONG_ROW(SWEEP_LINE))
#else
SWEEP_DEFINE(sweep_unshared, SWEEP_PLAIN_BLOCKS(SWEEP_PLAIN) SWEEP_ROW(SWEEP_PLAIN))
#endif

/* share: 1 or 2, the stride of both axes when rows are shared, else 0. */
FC_INLINE void sweep(sweep_block at, int64_t share, const row_sweep *s) {
#if SWEEP_MASKED
    if (s->lane_bias != NULL) {
        sweep_mixed_rows(at, s->taps, s);
        return;
    }
    if (share != 0 && s->masks != NULL) {
        (share == 1 ? sweep_masked : sweep_masked_by_2)(at, s->taps, s);
        return;
    }
#endif
#if SWEEP_INSIDE
    if (share == 1) {
        sweep_inside(at, s->taps, s);
        return;
    }
#endif
#if SWEEP_INSIDE && SWEEP_MOST_STRIDE == 2
    if (share == 2) {
        sweep_inside_by_2(at, s->taps, s);
        return;
    }
#endif
#if TILE_VECS >= 3
    if (at.rows == 1 && s->dense_taps) {
        sweep_dense_line(at, 0, s);
        return;
    }
#endif
    sweep_unshared(at, 0, s);
}

#endif
