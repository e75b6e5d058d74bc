/* The planar sweep of depthwise: one channel, pixels along the lanes, a block of rows x vectors of outputs
 * in registers.
 *
 * Rows of x come through a table of pointers. With stride 1 or 2 and no dilation along height every loaded
 * vector serves all the output rows it belongs to. Products are added in the order: group of height taps;
 * depth; width and height tap within the group when rows are shared, else height and width tap.
 * Bound: FMA throughput with `rows` of 4 or more and 3 taps or more (a 64-byte load that straddles cache
 * lines counts twice: about 0.8 of the load slots); L1 loads when rows are not shared (1D, dilated).
 */
#ifndef FC_ROW_SWEEP_H
#define FC_ROW_SWEEP_H

#include "kernels/common/epilogue.h"

#define FC_UNROLL_ALL _Pragma("GCC unroll 32")

enum { SWEEP_ROWS = 8, SWEEP_VECS = 8, SWEEP_SUMS = 16 * VL };

typedef struct row_sweep {
    const real *const *rows;    /* first output row's first tap, in the table */
    int64_t depth_pitch;        /* table entries between taps along depth */
    int64_t row_step, tap_step; /* table entries between output rows and between taps along height */
    const int64_t *shift;       /* of each tap along width, in reals */
    int64_t column;             /* first output column, from the table's */
    int64_t depth_taps, width_taps, taps; /* taps: along height, of this group */
    const real *weights;        /* [depth][width][height tap] of this group; unshared: [depth][height][width] */
    real *sums;                 /* [row][vecs * VL] */
    bool add;                   /* an earlier group has left its sums */
    bool finish;                /* bias, bounds and store straight from the registers */
    real bias, low, high;
    stor *out;
    int64_t out_pitch, valid_rows, valid_columns; /* of out; only when finish */
} row_sweep;

FC_INLINE void sweep_store(const int rows, const int vecs, const row_sweep *s, const vec *acc) {
    if (!s->finish) {
        FC_UNROLL_ALL for (int r = 0; r < rows; r++)
            FC_UNROLL_ALL for (int v = 0; v < vecs; v++)
                v_store(s->sums + (r * vecs + v) * VL, acc[r * vecs + v]);
        return;
    }
    vec bias = v_set1(s->bias), low = v_set1(s->low), high = v_set1(s->high);
    FC_UNROLL_ALL for (int r = 0; r < rows; r++) {
        if (r >= s->valid_rows)
            return;
        stor *to = s->out + r * s->out_pitch;
        FC_UNROLL_ALL for (int v = 0; v < vecs; v++) {
            vec y = v_min(high, v_max(low, v_add(acc[r * vecs + v], bias)));
            if (v < vecs - 1 || s->valid_columns == vecs * VL)
                v_stores(to + v * VL, y);
            else
                v_storesn(to + v * VL, y, s->valid_columns - v * VL);
        }
    }
}

/* share: the stride along height, when rows are shared between taps; 0: each tap loads its own and
 * taps is 0: known at run time. */
FC_INLINE void sweep_body(const int taps, const int rows, const int vecs, const int share, const row_sweep *s) {
    vec acc[SWEEP_SUMS / VL];
    FC_UNROLL_ALL for (int r = 0; r < rows; r++)
        FC_UNROLL_ALL for (int v = 0; v < vecs; v++)
            acc[r * vecs + v] = s->add ? v_load(s->sums + (r * vecs + v) * VL) : v_zero();
    const real *weights = s->weights;
    const real *const *table = s->rows;
    for (int64_t depth = 0; depth < s->depth_taps; depth++, table += s->depth_pitch) {
        for (int64_t k = 0; share && k < s->width_taps; k++, weights += taps) {
            int64_t shift = s->shift[k] + s->column;
            vec weight[7];
            FC_UNROLL_ALL for (int t = 0; t < taps; t++)
                weight[t] = v_set1(weights[t]);
            FC_UNROLL_ALL for (int i = 0; i < (rows - 1) * share + taps; i++) {
                const real *row = table[i] + shift;
                vec x[SWEEP_VECS];
                FC_UNROLL_ALL for (int v = 0; v < vecs; v++)
                    x[v] = v_load(row + v * VL);
                FC_UNROLL_ALL for (int r = 0; r < rows; r++)
                    if (i - r * share >= 0 && i - r * share < taps)
                        FC_UNROLL_ALL for (int v = 0; v < vecs; v++)
                            acc[r * vecs + v] = v_fma(weight[i - r * share], x[v], acc[r * vecs + v]);
            }
        }
        for (int64_t t = 0; !share && t < s->taps; t++) {
            const real *row[SWEEP_ROWS];
            FC_UNROLL_ALL for (int r = 0; r < rows; r++)
                row[r] = table[r * s->row_step + t * s->tap_step] + s->column;
            for (int64_t k = 0; k < s->width_taps; k++) {
                vec weight = v_set1(*weights++);
                FC_UNROLL_ALL for (int r = 0; r < rows; r++)
                    FC_UNROLL_ALL for (int v = 0; v < vecs; v++)
                        acc[r * vecs + v] = v_fma(weight, v_load(row[r] + s->shift[k] + v * VL), acc[r * vecs + v]);
            }
        }
    }
    sweep_store(rows, vecs, s, acc);
}

/* Whether a group of `taps` along height shares rows: its order of additions and of weights follows. */
FC_INLINE bool sweep_shares(int64_t share, int64_t taps) { return share != 0 && taps >= 3; }

/* Rows and vectors of the blocks, by vectors left in the row: enough sums to hide the FMA's latency. */
typedef struct sweep_block {
    int rows, vecs;
} sweep_block;

FC_INLINE sweep_block sweep_block_of(int64_t share, int64_t out_rows, int64_t vecs_left) {
    if (out_rows == 1 && share == 0)
        return (sweep_block){1, vecs_left >= 8 ? 8 : vecs_left >= 4 ? 4 : 1};
#if TILE_VECS >= 3 /* registers for 16 sums */
    if (vecs_left >= 4)
        return (sweep_block){4, 4};
#endif
    return vecs_left >= 2 ? (sweep_block){4, 2} : (sweep_block){8, 1};
}

/* Taps of the next group along height when `left` remain: shared groups are 7, 5 or 3 taps. */
FC_INLINE int64_t sweep_group(int64_t share, int64_t left) {
    if (share == 0)
        return left;
    return left >= 7 ? 7 : left >= 5 ? 5 : left >= 3 ? 3 : left;
}

#define SWEEP_SHARED(taps, rows, vecs)                   \
    case ((taps) * 16 + (rows)) * 16 + (vecs):           \
        if (share == 1)                                  \
            sweep_body(taps, rows, vecs, 1, s);          \
        else                                             \
            sweep_body(taps, rows, vecs, 2, s);          \
        return;
#define SWEEP_PLAIN(rows, vecs)                 \
    case (rows) * 16 + (vecs):                  \
        sweep_body(0, rows, vecs, 0, s);        \
        return;

/* share: 1 or 2, the stride along height when it has no dilation, else 0. */
static __attribute__((noinline)) void sweep(sweep_block block, int64_t share, const row_sweep *s) {
    int64_t shared_taps = sweep_shares(share, s->taps) ? s->taps : 0;
    switch ((shared_taps * 16 + block.rows) * 16 + block.vecs) {
#if TILE_VECS >= 3
        SWEEP_SHARED(3, 4, 4)
        SWEEP_SHARED(5, 4, 4)
        SWEEP_SHARED(7, 4, 4)
        SWEEP_PLAIN(4, 4)
#endif
        SWEEP_SHARED(3, 4, 2)
        SWEEP_SHARED(5, 4, 2)
        SWEEP_SHARED(7, 4, 2)
        SWEEP_SHARED(3, 8, 1)
        SWEEP_SHARED(5, 8, 1)
        SWEEP_SHARED(7, 8, 1)
        SWEEP_PLAIN(4, 2)
        SWEEP_PLAIN(8, 1)
        SWEEP_PLAIN(1, 8)
        SWEEP_PLAIN(1, 4)
        SWEEP_PLAIN(1, 1)
    }
}

#endif
