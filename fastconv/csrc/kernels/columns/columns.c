/* columns: out[r][j] = sum over t of weight[t][j] * x[r + t * dilation][j], all complex.
 *
 * VL / 2 columns at a time are copied as [row][as it is, parts exchanged][lane], for lines of x lie far apart; their
 * weights as [tap][both lanes the real part, minus and plus the imaginary][lane]. Then ROWS sums of rows `dilation`
 * apart take TAPS taps at a time, whose weights stay in registers, from ROWS - 1 + TAPS pairs of vectors:
 *
 *   sum += re(w) * x;  sum += -+im(w) * exchanged x        tap after tap
 *
 * Bound: FMA throughput, two a tap and vector; 0.31 loads an FMA (AVX-512) or 0.56 (AVX2).
 */
#include "columns.h"

#include "kernels/common/integers.h"
#include "simd/vec.h"

#if !FC_IS_NARROW

enum { ROWS = TILE_VECS >= 3 ? 12 : 8, TAPS = TILE_VECS >= 3 ? 4 : 2 };

#define UNROLL _Pragma("GCC unroll 32")

/* Rows of the window: tiles of ROWS in each of the `dilation` classes of rows, and the taps beyond. */
static int64_t window_rows(const fc_columns *c) {
    int64_t each = round_up(divide_up(c->rows, c->dilation), ROWS);
    return (each + c->taps - 1) * c->dilation;
}

static size_t scratch_bytes(const fc_columns *c) {
    return (size_t)(2 * VL * (window_rows(c) + c->taps)) * sizeof(real);
}

typedef struct exchange {
    lane_index parts, re, im; /* of lanes 2i and 2i + 1: the other one, the first, the second */
    vec sign;                 /* -1, 1 */
} exchange;

static exchange exchange_of(void) {
    int32_t parts[VL], re[VL], im[VL];
    real sign[VL];
    for (int i = 0; i < VL; i++) {
        parts[i] = i ^ 1;
        re[i] = i & ~1;
        im[i] = i | 1;
        sign[i] = i % 2 ? 1 : -1;
    }
    return (exchange){v_lanes(parts), v_lanes(re), v_lanes(im), v_load(sign)};
}

static void copy_weights(const fc_columns *c, const exchange *e, const real *weights, int64_t lanes, real *to) {
    for (int64_t t = 0; t < c->taps; t++, weights += 2 * c->length, to += 2 * VL) {
        vec w = lanes == VL ? v_load(weights) : v_loadn(weights, lanes);
        v_store(to, v_permute(w, e->re));
        v_store(to + VL, v_mul(v_permute(w, e->im), e->sign));
    }
}

static void copy_window(const fc_columns *c, const exchange *e, const real *x, int64_t lanes, int64_t rows, real *to) {
    int64_t count = c->rows + (c->taps - 1) * c->dilation;
    for (int64_t r = 0; r < count; r++, x += c->x_pitch, to += 2 * VL) {
        vec value = lanes == VL ? v_load(x) : v_loadn(x, lanes);
        v_store(to, value);
        v_store(to + VL, v_permute(value, e->parts));
    }
    for (int64_t i = 0; i < (rows - count) * 2; i++, to += VL)
        v_store(to, v_zero());
}

/* x: of the first row; step: reals between rows of one class. */
FC_INLINE void add_taps(const int taps, const real *x, int64_t step, const real *weights, vec *sums) {
    __asm__("" : "+r"(x)); /* or the compiler keeps vectors for the next taps, and spills sums for them */
    vec re[TAPS], im[TAPS];
    UNROLL for (int t = 0; t < taps; t++) {
        re[t] = v_load(weights + t * 2 * VL);
        im[t] = v_load(weights + t * 2 * VL + VL);
    }
    UNROLL for (int i = 0; i < ROWS - 1 + taps; i++, x += step) {
        vec value = v_load(x), exchanged = v_load(x + VL);
        UNROLL for (int t = 0; t < taps; t++)
            if (i - t >= 0 && i - t < ROWS) {
                sums[i - t] = v_fma(re[t], value, sums[i - t]);
                sums[i - t] = v_fma(im[t], exchanged, sums[i - t]);
            }
    }
}

static void sum_tile(const fc_columns *c, const real *x, int64_t step, const real *weights, vec *sums) {
    vec acc[ROWS];
    UNROLL for (int r = 0; r < ROWS; r++)
        acc[r] = v_zero();
    int64_t t = 0;
    for (; t + TAPS <= c->taps; t += TAPS)
        add_taps(TAPS, x + t * step, step, weights + t * 2 * VL, acc);
    for (; t < c->taps; t++)
        add_taps(1, x + t * step, step, weights + t * 2 * VL, acc);
    UNROLL for (int r = 0; r < ROWS; r++)
        sums[r] = acc[r];
}

static void run(const fc_columns *c, const void *x, const void *weights, void *out, void *scratch) {
    exchange e = exchange_of();
    int64_t rows = window_rows(c), step = 2 * VL * c->dilation;
    real *window = scratch, *packed = window + rows * 2 * VL;
    for (int64_t lane = 0; lane < 2 * c->length; lane += VL) {
        int64_t lanes = smaller(2 * c->length - lane, VL);
        copy_weights(c, &e, (const real *)weights + lane, lanes, packed);
        copy_window(c, &e, (const real *)x + lane, lanes, rows, window);
        for (int64_t class = 0; class < smaller(c->dilation, c->rows); class ++)
            for (int64_t row = class, at = 0; row < c->rows; at += ROWS) {
                vec sums[ROWS];
                sum_tile(c, window + class * 2 * VL + at * step, step, packed, sums);
                for (int r = 0; r < ROWS && row < c->rows; r++, row += c->dilation) {
                    real *to = (real *)out + row * c->out_pitch + lane;
                    if (lanes == VL)
                        v_store(to, sums[r]);
                    else
                        v_storen(to, sums[r], lanes);
                }
            }
    }
}

static void join_columns(const fc_pairs *p, const real *const row[2], int64_t begin, int64_t end, real *out) {
    for (int64_t j = begin; j < end; j++)
        for (int i = 0; i < 2; i++)
            out[2 * j + i] = row[i] && p->from_columns[j] >= 0 ? row[i][p->from_columns[j]] : (real)p->fill;
}

static void join(const fc_pairs *p, int64_t begin, int64_t end, const void *x, void *out) {
    real *to = out;
    int64_t whole = begin + (end - begin) / VL * VL;
    for (int64_t r = 0; r < p->rows; r++, to += p->out_pitch) {
        const real *row[2];
        for (int i = 0; i < 2; i++)
            row[i] = p->from_rows[i][r] < 0 ? NULL : (const real *)x + p->from_rows[i][r] * p->x_pitch;
        join_columns(p, row, 0, begin, to);
        for (int64_t j = begin; j < whole; j += VL) {
            vec both[2];
            for (int i = 0; i < 2; i++)
                both[i] = row[i] ? v_load(row[i] + p->from_columns[j]) : v_set1((real)p->fill);
            v_interleave2(to + 2 * j, both);
        }
        join_columns(p, row, whole, p->length, to);
    }
}

/* The last of a row may be that of x's memory, so nothing behind it is read. */
static void part(const fc_pairs *p, const void *x, void *out) {
    const real *from = x;
    real *to = out;
    for (int64_t r = 0; r < p->rows; r++, from += p->x_pitch, to += p->out_pitch) {
        int64_t j = 0;
        for (; j + VL < p->length; j += VL) {
            vec both[2];
            v_deinterleave2(from + 2 * j, both);
            v_store(to + j, both[0]);
        }
        for (; j < p->length; j++)
            to[j] = from[2 * j];
    }
}

#else

static size_t scratch_bytes(const fc_columns *c) { (void)c; return 0; }
static void run(const fc_columns *c, const void *x, const void *weights, void *out, void *scratch) {
    (void)c, (void)x, (void)weights, (void)out, (void)scratch;
}
static void join(const fc_pairs *p, int64_t begin, int64_t end, const void *x, void *out) {
    (void)p, (void)begin, (void)end, (void)x, (void)out;
}
static void part(const fc_pairs *p, const void *x, void *out) { (void)p, (void)x, (void)out; }

#endif

const fc_columns_kernel FC_FN(fc_columns_kernel);
const fc_columns_kernel FC_FN(fc_columns_kernel) = {
    .name = FC_NAME("columns"),
    .scratch_bytes = scratch_bytes,
    .run = run,
    .join = join,
    .part = part,
};
