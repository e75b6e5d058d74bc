/* Sizes of a Winograd problem, and where in the scratch each piece lies.
 *
 * Tiles of an image are numbered along width, height, depth. A panel is up to TILE_VECS vectors of tiles, lanes
 * over tiles, wrapping from one row of tiles to the next. A step of the reduction is one input channel at one
 * depth tap. Everything counts elements of `real`.
 */
#ifndef FC_WINOGRAD_SHAPE_H
#define FC_WINOGRAD_SHAPE_H

#include "kernels/common/epilogue.h"
#include "kernels/common/integers.h"
#include "kernels/common/transpose.h"
#include "kernels/winograd/tile.h"

/* The register tile: ROWS out channels times VECS vectors of tiles. Weights come in panels of a vector of channels. */
#define ROWS (TILE_ROWS == 8 ? 8 : 4)
#if TILE_VECS == 3 || TILE_ROWS == 6
#define VECS 3
#else
#define VECS 2
#endif
#define PANEL_ROWS (VL < 8 ? 8 : VL)

enum { SPAN = 0, ROW_BLOCK = 1 }; /* of part->block */
enum { CHUNK_STEPS = 32 };
enum { HALO = TAPS - 1 };         /* pixels a window reaches past its tile */
enum { COPIES = (WINDOW + OUT_TILE - 1) / OUT_TILE }; /* tiles that a window touches */
enum { MOST_REST = VL / 2 };      /* tiles multiplied one by one */
enum { PANEL_LANES = (VECS + 1) * VL };
#ifndef PREPARED_BYTES
#define PREPARED_BYTES (20 << 20)
#endif
enum { FINISH_ROWS = PANEL_ROWS }; /* out channels transformed back together, at most */
/* Lines of pixels of a panel; the pitches are constants so that addresses need no registers. */
enum { LINE_PITCH = PANEL_LANES * OUT_TILE + 3 * VL, FINISHED_PITCH = PANEL_LANES * OUT_TILE + VL };


typedef struct shape {
    int64_t step_h, step_w, window_h, window_w; /* outputs and inputs of a tile */
    int64_t products;                           /* per tile, channel pair */
    int64_t tile_rows, tile_cols, tiles;
    int64_t vectors, rest, panels, most_lanes; /* panels share the full vectors; the last has the rest too */
    int64_t taps, depth_taps, steps;
    int64_t chunk; /* steps summed from zero before they are added to the rest */
} shape;

static shape shape_of(const fc_part *part) {
    const fc_axis *axis = part->axis;
    shape s = {.step_h = 1, .step_w = 1, .window_h = 1, .window_w = 1};
    if (axis[1].kernel == TAPS)
        s.step_h = OUT_TILE, s.window_h = WINDOW;
    if (axis[2].kernel == TAPS)
        s.step_w = OUT_TILE, s.window_w = WINDOW;
    s.products = s.window_h * s.window_w;
    s.tile_rows = divide_up(axis[1].out, s.step_h);
    s.tile_cols = divide_up(axis[2].out, s.step_w);
    s.tiles = axis[0].out * s.tile_rows * s.tile_cols;
    s.vectors = s.tiles / VL;
    s.rest = s.tiles % VL;
    if (s.rest > MOST_REST)
        s.vectors++, s.rest = 0;
    s.panels = s.vectors > VECS ? divide_up(s.vectors, VECS) : s.tiles > 0;
    s.most_lanes = s.panels > 0 ? (divide_up(s.vectors, s.panels) + (s.rest > 0)) * VL : VL;
    s.taps = axis[1].kernel * axis[2].kernel;
    s.depth_taps = axis[0].kernel;
    s.steps = part->group_in_ch * s.depth_taps;
    int64_t chunks = divide_up(s.steps, CHUNK_STEPS);
    s.chunk = divide_up(part->group_in_ch, smaller(chunks, part->group_in_ch)) * s.depth_taps;
    return s;
}

/* Elements of the weights as packed, and of the transformed ones. */
static int64_t given_reals(const fc_part *part) {
    return part->problem.groups * round_up(part->group_out_ch, PANEL_ROWS) * part->reduction;
}
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
    int64_t weight_stride, weights; /* [window column][panel of rows][step of the chunk][row] */
    int64_t lines;                  /* [window row][LINE_PITCH], COPIES times: see input.h */
    int64_t finished;               /* [row][tile row][FINISHED_PITCH] */
    int64_t stage_pitch, stage_channel, stage; /* [channel][window row][pixel] of x made dense */
    int64_t turned;                 /* [pixel][FINISH_ROWS], for out with dense channels */
    int64_t zeros;                  /* a row of padding */
    int64_t bad, segments, total;
} layout;

static int64_t take(int64_t *total, int64_t count) {
    int64_t at = *total;
    *total += divide_up(count, 64 / (int64_t)sizeof(real)) * (64 / (int64_t)sizeof(real));
    return at;
}

/* A run of neighbouring tiles of one row of tiles, on consecutive lanes. */
typedef struct segment {
    int64_t lane, tiles;
    int64_t d, tile_row, tile_col;
    int64_t first, begin, end, pixels; /* padded coordinate of the first pixel; those in x: [begin, end) of pixels */
    int64_t offset[WINDOW]; /* of each window row in x, from the channel's start; OUTSIDE for padding */
} segment;
#define OUTSIDE INT64_MIN

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
    l.weights = take(&l.total, weights_prepared(part, s) ? 0 : s->window_w * l.weight_stride);
    l.lines = take(&l.total, COPIES * WINDOW * LINE_PITCH);
    l.finished = take(&l.total, FINISH_ROWS * OUT_TILE * FINISHED_PITCH);
    l.stage_pitch = s->window_w * lanes;
    l.stage_channel = s->window_h * l.stage_pitch + VL;
    l.stage = take(&l.total, VL * l.stage_channel);
    l.turned = take(&l.total, PANEL_LANES * OUT_TILE * FINISH_ROWS);
    l.zeros = take(&l.total, s->window_w * lanes + VL);
    l.bad = take(&l.total, lanes);
    l.segments = take(&l.total, lanes * (int64_t)(sizeof(segment) / sizeof(real)));
    return l;
}

#endif
