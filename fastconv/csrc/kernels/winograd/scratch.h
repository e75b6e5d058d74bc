/* Where in a task's scratch each piece lies when vectors multiply, and whether weights are transformed at packing.
 * Everything counts elements of `real`.
 */
#ifndef FC_WINOGRAD_SCRATCH_H
#define FC_WINOGRAD_SCRATCH_H

#include "kernels/winograd/given.h"

#ifndef PREPARED_BYTES
#define PREPARED_BYTES (20 << 20)
#endif
/* Lines of pixels of a panel; the pitches are constants so that addresses need no registers. */
enum { LINE_PITCH = PANEL_LANES * OUT_TILE + 3 * VL, FINISHED_PITCH = PANEL_LANES * OUT_TILE + VL };

/* Elements of the transformed weights. */
static int64_t transformed_reals(const fc_part *part, const shape *s) {
    return part->problem.groups * round_up(part->group_out_ch, PANEL_ROWS) * s->steps * s->products;
}

/* Whether pack transforms: not for one use, and not beyond what a last-level cache may hold. */
static bool weights_prepared(const fc_part *part, const shape *s) {
    return !part->problem.pack_per_call && transformed_reals(part, s) * (int64_t)sizeof(real) <= PREPARED_BYTES;
}

/* Offsets into the scratch. The products' blocks of inputs lie an odd number of vectors apart, so that they
 * do not share cache sets. */
typedef struct layout {
    int64_t input_stride, inputs;   /* [product][step of the span][lane] */
    int64_t sums;                   /* [row of the block][product][PANEL_LANES] */
    int64_t rest_stride, rest;      /* [product][panel of rows][MOST_REST][row] */
    int64_t given;                  /* weights packed at use: of a block of rows and a chunk, or of a panel */
    int64_t weight_stride, weights; /* [window column][panel of rows][step of the chunk][row] */
    int64_t lines;                  /* [window row][LINE_PITCH], COPIES times: see input.h */
    int64_t finished;               /* [row][tile row][FINISHED_PITCH] */
    int64_t stage_pitch, stage_channel, stage; /* [channel][window row][pixel] of x made dense */
    int64_t turned;                 /* [pixel][FINISH_ROWS], for out with dense channels */
    int64_t zeros;                  /* a row of padding */
    int64_t bad, segments;
    int64_t runs; /* [line of a segment], of ahead.h */
    int64_t total;
} layout;

static int64_t take(int64_t *total, int64_t count) {
    int64_t at = *total;
    *total += divide_up(count, 64 / (int64_t)sizeof(real)) * (64 / (int64_t)sizeof(real));
    return at;
}

static layout layout_of(const fc_part *part, const shape *s) {
    layout l = {.total = 0};
    int64_t lanes = s->most_lanes;
    l.input_stride = part->block[SPAN] * lanes + VL;
    l.inputs = take(&l.total, s->products * l.input_stride);
    int64_t rows = round_up(part->block[ROW_BLOCK], PANEL_ROWS);
    l.sums = take(&l.total, rows * s->products * PANEL_LANES);
    l.rest_stride = rows * MOST_REST + VL;
    l.rest = take(&l.total, s->rest > 0 ? s->products * l.rest_stride : 0);
    l.weight_stride = rows * s->chunk + VL;
    l.weights = take(&l.total, weights_prepared(part, s) ? 0 : s->w.window * l.weight_stride);
    int64_t given = larger(rows * s->chunk, PANEL_ROWS * s->steps) * s->taps;
    l.given = take(&l.total, packs_at_use(part, s) ? given : 0);
    l.lines = take(&l.total, COPIES * WINDOW * LINE_PITCH);
    l.finished = take(&l.total, FINISH_ROWS * OUT_TILE * FINISHED_PITCH);
    l.stage_pitch = s->w.window * lanes;
    l.stage_channel = s->h.window * l.stage_pitch + VL;
    l.stage = take(&l.total, VL * l.stage_channel);
    l.turned = take(&l.total, PANEL_LANES * OUT_TILE * FINISH_ROWS);
    l.zeros = take(&l.total, s->w.window * lanes + VL);
    l.bad = take(&l.total, lanes);
    l.segments = take(&l.total, lanes * (int64_t)(sizeof(segment) / sizeof(real)));
    int64_t runs = part->block[ASKS_AHEAD] ? lanes * s->h.step : 0;
    l.runs = take(&l.total, runs * (int64_t)(sizeof(ahead_run) / sizeof(real)));
    return l;
}

#endif
