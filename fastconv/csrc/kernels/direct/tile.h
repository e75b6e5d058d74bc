/* The register tile of direct: one or two runs of up to SEGMENT neighbouring pixels, broadcast, times one or two
 * vectors of output channels.
 *
 * Two runs of SEGMENT pixels by two vectors fill the register file (2 x 7 x 2 accumulators of 32 registers, 2 x 3 x
 * 2 of 16). With AVX2, runs are twice as long for one vector, as six sums would wait for the FMA's latency. The two runs
 * have a place each: they may lie in two output rows, which serves narrow maps, or follow one another. Each sum is a
 * chain of its own, so its bits do not depend on the tile's shape. Bound: FMA throughput; a step is 28 FMAs against 14
 * broadcasts and 2 loads of weights, which stream from L2.
 */
#ifndef FC_DIRECT_TILE_H
#define FC_DIRECT_TILE_H

#include <stdbool.h>

#include "simd/vec.h"

/* TILE_LATENCY: cycles from one sum to the next; the portable vectors multiply and add one after the other. */
#if FC_ISA_IS >= 3
#define SEGMENT 7
#define TILE_LATENCY 4
#elif FC_ISA_IS == 2
#define SEGMENT 3
#define TILE_LATENCY 4
#else
#define SEGMENT 2
#define TILE_LATENCY 8
#endif
/* Pixels of a run for one vector of output channels; narrow dtypes: for the size of the code. */
#define SEGMENT_OF_ONE (SEGMENT == 3 && !FC_IS_NARROW ? 6 : SEGMENT)
enum { BLOCK_VECS = 2, PREFETCH_STEPS = 32, LINE_VECS = 64 / sizeof(vec) };
/* While out streams past, pixels of out asked for at each tile, how far ahead, and the longest run of taps to do so. */
enum { STREAM_PIXELS = 8 * SEGMENT, STREAM_STEPS = 64 };
enum { SQUARE = 16, SQUARE_STEPS = 4 };

#define FC_UNROLL_TILE _Pragma("GCC unroll 16")

/* A dense run of the window's values that some taps read, and the outputs it counts for. */
typedef struct tap_run {
    int64_t offset; /* of its first value from a pixel's place in the window */
    int64_t step;   /* where its weights begin among the chunk's */
    int64_t row_begin, row_end, column_begin, column_end; /* outputs of the block it is multiplied for */
} tap_run;

typedef enum tile_sums { SUMS_SET, SUMS_ADD, SUMS_CONTINUE } tile_sums;

/* How lines of out beyond L2 are asked for: no, all of a tile's before it, or one pixel's with each step, the same place
 * STREAM_PIXELS ahead. Many at once wait for one another, and the tile behind them. */
typedef enum tile_fetching { FETCH_NOTHING, FETCH_AT_ONCE, FETCH_BY_STEPS } tile_fetching;

/* The epilogue of channels that are dense in out, applied to the tile's registers. */
typedef struct tile_out {
    stor *out; /* NULL: the sums stay where they are */
    const stor *residual; /* may be NULL */
    const real *bias;     /* may be NULL */
    int64_t pixel_step, run_step, residual_pixel_step, residual_run_step;
    int64_t last;         /* channels of the last vector; narrow dtypes: VL, for the size of the code */
    real low, high;
    tile_fetching fetching;
} tile_out;

typedef struct tile_job {
    const real *x, *weights;
    int64_t place[2];   /* in x of the first pixel of each run of pixels */
    int64_t pixel_step;
    const tap_run *taps;
    int64_t tap_count, tap_length;
    int64_t column;     /* the first pixel's: tap runs may not count for the first or last one or two */
    real *sums;         /* [run of pixels][pixel][lane] */
    int64_t sums_step;  /* between the runs of pixels */
    tile_sums mode;
    tile_out to;
} tile_job;

FC_INLINE int64_t segment_of(int64_t vecs) { return vecs == 1 ? SEGMENT_OF_ONE : SEGMENT; }

typedef vec tile_acc[2 * SEGMENT * BLOCK_VECS]; /* [run of pixels][pixel][vector] */

/* Lines to ask for during a run of taps, those of one step after the other. */
typedef struct tile_ahead {
    const char *from;
    int64_t step;
} tile_ahead;

/* Those of the weights to come; or, for the first steps of a tile, as many as its most pixels, of pixels of out. */
FC_INLINE tile_ahead tile_ahead_of(const int vecs, const tile_job *job, int64_t done, const real *weights) {
    const tile_out *to = &job->to;
    if (to->fetching == FETCH_BY_STEPS && done < 2 * segment_of(vecs))
        return (tile_ahead){(const char *)(to->out + (STREAM_PIXELS + done) * to->pixel_step),
                            to->pixel_step * (int64_t)sizeof(stor)};
    return (tile_ahead){(const char *)(weights + PREFETCH_STEPS * vecs * VL), vecs * (int64_t)sizeof(vec)};
}

/* Adds the products of one run of taps to the sums of pixels [first, last) of each run of pixels. */
FC_INLINE void tile_tap(const int runs, const int pixels, const int vecs, const int first, const int last,
                        int64_t length, const real *p0, const real *p1, int64_t step, const real *weights,
                        tile_ahead ahead, tile_acc acc) {
    for (int64_t c = length; c > 0; c--) {
        vec weight[BLOCK_VECS];
        FC_UNROLL_TILE for (int v = 0; v < vecs; v++)
            weight[v] = v_load(weights + v * VL);
        FC_UNROLL_TILE for (int r = 0; r < runs * pixels; r++) {
            const int pixel = r < pixels ? r : r - pixels;
            if (pixel < first || pixel >= last)
                continue;
            vec value = v_set1(r < pixels ? p0[pixel * step] : p1[pixel * step]);
            FC_UNROLL_TILE for (int v = 0; v < vecs; v++)
                acc[r * vecs + v] = v_fma(value, weight[v], acc[r * vecs + v]);
        }
        FC_UNROLL_TILE for (int v = 0; v < vecs; v += LINE_VECS)
            __builtin_prefetch(ahead.from + v * (int64_t)sizeof(vec));
        ahead.from += ahead.step;
        weights += vecs * VL;
        p0++;
        p1++;
    }
}

/* The same for all pixels of a whole tile of SQUARE channels, with as many in the window: the places of its values are
 * known here, so that every multiply-add is one instruction with its broadcast and pointers cost next to nothing, which
 * counts where two threads share a core's decoders. The weights of so few channels need no asking ahead. */
FC_INLINE void tile_tap_square(const int vecs, int64_t length, const real *p0, const real *p1, const real *weights,
                               tile_acc acc) {
    for (int64_t c = 0; c < length; c += SQUARE_STEPS) {
        FC_UNROLL_TILE for (int i = 0; i < SQUARE_STEPS; i++) {
            vec weight[BLOCK_VECS];
            FC_UNROLL_TILE for (int v = 0; v < vecs; v++)
                weight[v] = v_load(weights + (i * vecs + v) * VL);
            FC_UNROLL_TILE for (int r = 0; r < 2 * SEGMENT; r++) {
                vec value = v_set1(r < SEGMENT ? p0[r * SQUARE + i] : p1[(r - SEGMENT) * SQUARE + i]);
                FC_UNROLL_TILE for (int v = 0; v < vecs; v++)
                    acc[r * vecs + v] = v_fma(value, weight[v], acc[r * vecs + v]);
            }
        }
        weights += SQUARE_STEPS * vecs * VL;
        p0 += SQUARE_STEPS;
        p1 += SQUARE_STEPS;
    }
}

FC_INLINE void tile_finish(const int runs, const int pixels, const int vecs, const tile_out *to, tile_acc acc) {
    const bool whole = FC_IS_NARROW || to->last == VL;
    if (to->bias != NULL) {
        vec bias[BLOCK_VECS];
        FC_UNROLL_TILE for (int v = 0; v < vecs; v++)
            bias[v] = whole || v < vecs - 1 ? v_load(to->bias + v * VL) : v_loadn(to->bias + v * VL, to->last);
        FC_UNROLL_TILE for (int r = 0; r < runs * pixels; r++)
            FC_UNROLL_TILE for (int v = 0; v < vecs; v++)
                acc[r * vecs + v] = v_add(acc[r * vecs + v], bias[v]);
    }
    if (to->residual != NULL) {
        const stor *residual[2] = {to->residual, to->residual + to->residual_run_step};
        FC_UNROLL_TILE for (int r = 0; r < runs * pixels; r++)
            FC_UNROLL_TILE for (int v = 0; v < vecs; v++) {
                const int pixel = r < pixels ? r : r - pixels;
                const stor *from = residual[r >= pixels] + pixel * to->residual_pixel_step + v * VL;
                acc[r * vecs + v] = v_add(acc[r * vecs + v], whole || v < vecs - 1 ? v_loads(from) : v_loadsn(from, to->last));
            }
    }
    /* Bounds that are none would take the FMAs' ports: of a tile of 27 steps a twentieth of its time each. */
    if (to->low > -(real)INFINITY) {
        vec low = v_set1(to->low);
        FC_UNROLL_TILE for (int r = 0; r < runs * pixels; r++)
            FC_UNROLL_TILE for (int v = 0; v < vecs; v++)
                acc[r * vecs + v] = v_max(low, acc[r * vecs + v]);
    }
    if (to->high < (real)INFINITY) {
        vec high = v_set1(to->high);
        FC_UNROLL_TILE for (int r = 0; r < runs * pixels; r++)
            FC_UNROLL_TILE for (int v = 0; v < vecs; v++)
                acc[r * vecs + v] = v_min(high, acc[r * vecs + v]);
    }
    stor *out[2] = {to->out, to->out + to->run_step};
    FC_UNROLL_TILE for (int r = 0; r < runs * pixels; r++)
        FC_UNROLL_TILE for (int v = 0; v < vecs; v++) {
            stor *at = out[r >= pixels] + (r < pixels ? r : r - pixels) * to->pixel_step + v * VL;
            if (whole || v < vecs - 1)
                v_stores(at, acc[r * vecs + v]);
            else
                v_storesn(at, acc[r * vecs + v], to->last);
        }
}

/* Sets the sums to the products' chains, adds these to them, or continues the chains the sums are. */
FC_INLINE void tile_body(const int runs, const int pixels, const int vecs, const tile_job *job) {
    tile_acc acc;
    const int64_t step = job->pixel_step, length = job->tap_length;
    real *const sums[2] = {job->sums, job->sums + job->sums_step - pixels * vecs * VL};
#define TILE_SUM(r, v) (sums[(r) >= pixels] + ((r) * vecs + (v)) * VL)
    if (job->mode == SUMS_CONTINUE) {
        FC_UNROLL_TILE for (int r = 0; r < runs * pixels; r++)
            FC_UNROLL_TILE for (int v = 0; v < vecs; v++)
                acc[r * vecs + v] = v_load(TILE_SUM(r, v));
    } else {
        FC_UNROLL_TILE for (int r = 0; r < runs * pixels; r++)
            FC_UNROLL_TILE for (int v = 0; v < vecs; v++)
                acc[r * vecs + v] = v_zero();
    }
    const tap_run *tap = job->taps;
    for (int64_t taps = job->tap_count; taps > 0; taps--, tap++) {
        const real *p0 = job->x + (job->place[0] + tap->offset), *p1 = job->x + (job->place[1] + tap->offset);
        const real *weights = job->weights + tap->step * vecs * VL;
        tile_ahead ahead = tile_ahead_of(vecs, job, (tap - job->taps) * length, weights);
        int64_t left = tap->column_begin - job->column, right = job->column + pixels - tap->column_end;
        if (pixels > 1 && left == 1)
            tile_tap(runs, pixels, vecs, 1, pixels, length, p0, p1, step, weights, ahead, acc);
        else if (pixels > 2 && left == 2)
            tile_tap(runs, pixels, vecs, 2, pixels, length, p0, p1, step, weights, ahead, acc);
        else if (pixels > 1 && right == 1)
            tile_tap(runs, pixels, vecs, 0, pixels - 1, length, p0, p1, step, weights, ahead, acc);
        else if (pixels > 2 && right == 2)
            tile_tap(runs, pixels, vecs, 0, pixels - 2, length, p0, p1, step, weights, ahead, acc);
        else if (runs == 2 && pixels == SEGMENT && vecs * VL == SQUARE && step == SQUARE && length % SQUARE == 0)
            tile_tap_square(vecs, length, p0, p1, weights, acc);
        else
            tile_tap(runs, pixels, vecs, 0, pixels, length, p0, p1, step, weights, ahead, acc);
    }
    if (job->mode == SUMS_ADD) {
        FC_UNROLL_TILE for (int r = 0; r < runs * pixels; r++)
            FC_UNROLL_TILE for (int v = 0; v < vecs; v++)
                acc[r * vecs + v] = v_add(v_load(TILE_SUM(r, v)), acc[r * vecs + v]);
    }
    if (job->to.out != NULL) {
        tile_finish(runs, pixels, vecs, &job->to, acc);
        return;
    }
    FC_UNROLL_TILE for (int r = 0; r < runs * pixels; r++)
        FC_UNROLL_TILE for (int v = 0; v < vecs; v++)
            v_store(TILE_SUM(r, v), acc[r * vecs + v]);
#undef TILE_SUM
}

#define TILE_CASE(runs, pixels, vecs) \
    case ((runs) * 16 + (pixels)) * 4 + (vecs): \
        tile_body(runs, pixels, vecs, job); \
        return;
#define TILE_CASES_OF_ONE(pixels) \
    TILE_CASE(1, pixels, 1) \
    TILE_CASE(2, pixels, 1)
#define TILE_CASES(pixels) \
    TILE_CASES_OF_ONE(pixels) \
    TILE_CASE(1, pixels, 2) \
    TILE_CASE(2, pixels, 2)

/* Asks for the lines the tile will store, so that they arrive while it is summed: they are parts of pixels, which no
 * prefetcher of the CPU foresees. */
static void tile_fetch(int64_t runs, int64_t pixels, int64_t vecs, const tile_out *to) {
    enum { LINE = 64 / sizeof(stor) };
    for (int64_t r = 0; r < runs; r++)
        for (int64_t pixel = 0; pixel < pixels; pixel++)
            for (int64_t lane = 0; lane < vecs * VL; lane += LINE)
                __builtin_prefetch(to->out + r * to->run_step + pixel * to->pixel_step + lane, 1);
}

static __attribute__((noinline)) void tile(int64_t runs, int64_t pixels, int64_t vecs, const tile_job *job) {
    switch ((runs * 16 + pixels) * 4 + vecs) {
        TILE_CASES(1)
        TILE_CASES(2)
#if SEGMENT >= 3
        TILE_CASES(3)
#endif
#if SEGMENT == 3 && !FC_IS_NARROW
        TILE_CASES_OF_ONE(4)
        TILE_CASES_OF_ONE(5)
        TILE_CASES_OF_ONE(6)
#endif
#if SEGMENT >= 7
        TILE_CASES(4)
        TILE_CASES(5)
        TILE_CASES(6)
        TILE_CASES(7)
#endif
    }
}

#endif
