/* Sizes of a Winograd problem, and where in the scratch each piece lies.
 *
 * Tiles of an image are numbered along width, height, depth. A panel is up to TILE_VECS vectors of tiles, lanes
 * over tiles, wrapping from one row of tiles to the next. A step of the reduction is one input channel at one
 * depth tap. Everything counts elements of `real`.
 */
#ifndef FC_WINOGRAD_SHAPE_H
#define FC_WINOGRAD_SHAPE_H

#include "kernels/common/epilogue.h"
#include "kernels/common/gemm_tile.h"
#include "kernels/common/transpose.h"
#include "kernels/winograd/tile.h"

enum { SPAN = 0, ROW_BLOCK = 1 }; /* of part->block */
enum { CHUNK_STEPS = 32 };
enum { HALO = 2 };                /* pixels a window reaches past its tile */
enum { PANEL_LANES = TILE_VECS * VL };
/* Lines of pixels of a panel; the pitches are constants so that addresses need no registers. */
enum { LINE_PITCH = PANEL_LANES * OUT_TILE + HALO + 2 * VL, FINISHED_PITCH = PANEL_LANES * OUT_TILE + VL };

static int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }
static int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

typedef struct shape {
    int64_t step_h, step_w, window_h, window_w; /* outputs and inputs of a tile */
    int64_t products;                           /* per tile, channel pair */
    int64_t tile_rows, tile_cols, tiles, vectors, panels, most_lanes;
    int64_t depth_taps, steps;
    int64_t chunk; /* steps summed from zero before they are added to the rest */
} shape;

static shape shape_of(const fc_part *part) {
    const fc_axis *axis = part->axis;
    shape s = {.step_h = 1, .step_w = 1, .window_h = 1, .window_w = 1};
    if (axis[1].kernel == 3)
        s.step_h = OUT_TILE, s.window_h = WINDOW;
    if (axis[2].kernel == 3)
        s.step_w = OUT_TILE, s.window_w = WINDOW;
    s.products = s.window_h * s.window_w;
    s.tile_rows = divide_up(axis[1].out, s.step_h);
    s.tile_cols = divide_up(axis[2].out, s.step_w);
    s.tiles = axis[0].out * s.tile_rows * s.tile_cols;
    s.vectors = divide_up(s.tiles, VL);
    s.panels = divide_up(s.vectors, TILE_VECS);
    s.most_lanes = s.panels > 0 ? divide_up(s.vectors, s.panels) * VL : VL;
    s.depth_taps = axis[0].kernel;
    s.steps = part->group_in_ch * s.depth_taps;
    int64_t chunks = divide_up(s.steps, CHUNK_STEPS);
    s.chunk = divide_up(part->group_in_ch, smaller(chunks, part->group_in_ch)) * s.depth_taps;
    return s;
}

/* Offsets into the scratch. The products' blocks of inputs lie an odd number of vectors apart, so that they
 * do not share cache sets. */
typedef struct layout {
    int64_t input_stride, inputs;   /* [product][step of the span][lane] */
    int64_t sums;                   /* [row of the block][product][PANEL_LANES] */
    int64_t lines;                  /* [window row][LINE_PITCH], twice: see input.h */
    int64_t finished;               /* [row of the panel][tile row][FINISHED_PITCH] */
    int64_t stage_pitch, stage_channel, stage; /* [channel][window row][pixel] of x made dense */
    int64_t turned;                 /* [pixel][TILE_ROWS], for out with dense channels */
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
    l.sums = take(&l.total, part->block[ROW_BLOCK] * s->products * PANEL_LANES);
    l.lines = take(&l.total, 2 * WINDOW * LINE_PITCH);
    l.finished = take(&l.total, TILE_ROWS * OUT_TILE * FINISHED_PITCH);
    l.stage_pitch = s->window_w * lanes;
    l.stage_channel = s->window_h * l.stage_pitch + VL;
    l.stage = take(&l.total, VL * l.stage_channel);
    l.turned = take(&l.total, PANEL_LANES * OUT_TILE * TILE_ROWS);
    l.zeros = take(&l.total, s->window_w * lanes + VL);
    l.bad = take(&l.total, lanes);
    l.segments = take(&l.total, lanes * (int64_t)(sizeof(segment) / sizeof(real)));
    return l;
}

#endif
