/* Sizes of a Winograd problem.
 *
 * Tiles of an image are numbered along width, height, depth. A panel is up to TILE_VECS vectors of tiles, lanes
 * over tiles, wrapping from one row of tiles to the next. A step of the reduction is one input channel at one
 * slice: a depth tap of a piece of the kernel (tiling.h); channels of a slice follow one another. Everything counts
 * elements of `real`.
 *
 * Along one axis of high dilation a tile's outputs lie far apart and its neighbours in the next residue classes: x is
 * then folded into rows of `dilation` pixels, whose height is transformed.
 */
#ifndef FC_WINOGRAD_SHAPE_H
#define FC_WINOGRAD_SHAPE_H

#include "kernels/common/epilogue.h"
#include "kernels/common/integers.h"
#include "kernels/common/transpose.h"
#include "kernels/winograd/tiling.h"

/* The register tile: ROWS out channels times VECS vectors of tiles. Weights come in panels of a vector of channels. */
#define ROWS (TILE_ROWS == 8 ? 8 : 4)
#if TILE_VECS == 3 || TILE_ROWS == 6
#define VECS 3
#else
#define VECS 2
#endif
#define PANEL_ROWS (VL < 8 ? 8 : VL)

enum { SPAN = 0, ROW_BLOCK = 1, ASKS_AHEAD = 2 }; /* of part->block */
enum { CHUNK_STEPS = 32 };
enum { TASK_ROWS = 32 };          /* of a task at least, where there are few panels for the threads */
enum { HALO = TAPS - 1 };         /* pixels a window reaches past its tile */
enum { COPIES = (WINDOW + OUT_TILE - 1) / OUT_TILE }; /* tiles that a window touches */
enum { MOST_REST = VL / 2 };      /* tiles multiplied one by one */
enum { PANEL_LANES = (VECS + 1) * VL };
enum { FINISH_ROWS = PANEL_ROWS }; /* out channels transformed back together, at most */

enum { FOLD_FROM = 4 }; /* shorter rows are not worth their bookkeeping */

typedef struct shape {
    tiling h, w;
    int64_t fold;     /* pixels of a row of folded x, or 0 */
    int64_t products; /* per tile, channel pair */
    int64_t tiles;
    int64_t vectors, rest, panels, most_lanes; /* panels share the full vectors; the last has the rest too */
    int64_t taps, channels, slices, steps;     /* taps of one step */
    int64_t chunk; /* steps summed from zero before they are added to the rest */
} shape;

/* Whether the only axis is dilated so far that rows of its residue classes fill vectors. */
static bool folds(const fc_part *part) {
    const fc_axis *height = &part->axis[1], *width = &part->axis[2];
    bool flat = height->in == 1 && height->out == 1 && height->kernel == 1 && height->pad_before == 0;
    return flat && width->stride == 1 && width->dilation >= FOLD_FROM && width->kernel >= TAPS;
}

static shape shape_of(const fc_part *part) {
    const fc_axis *axis = part->axis;
    shape s = {.fold = 0};
    if (folds(part)) {
        s.fold = axis[2].dilation;
        s.h = tiling_of(axis[2].kernel, 1, 1, divide_up(axis[2].out, s.fold));
        s.w = tiling_of(1, 1, 1, smaller(s.fold, axis[2].out));
    } else {
        s.h = tiling_of(axis[1].kernel, axis[1].stride, axis[1].dilation, axis[1].out);
        s.w = tiling_of(axis[2].kernel, axis[2].stride, axis[2].dilation, axis[2].out);
    }
    s.products = s.h.window * s.w.window;
    s.tiles = axis[0].out * s.h.classes * s.h.tiles * s.w.classes * s.w.tiles;
    s.vectors = s.tiles / VL;
    s.rest = s.tiles % VL;
    if (s.rest > MOST_REST)
        s.vectors++, s.rest = 0;
    s.panels = s.vectors > VECS ? divide_up(s.vectors, VECS) : s.tiles > 0;
    s.most_lanes = s.panels > 0 ? (divide_up(s.vectors, s.panels) + (s.rest > 0)) * VL : VL;
    s.taps = s.h.taps * s.w.taps;
    s.channels = part->group_in_ch;
    s.slices = s.h.pieces * s.w.pieces * axis[0].kernel;
    s.steps = s.channels * s.slices;
    s.chunk = s.channels < CHUNK_STEPS ? s.channels * smaller(CHUNK_STEPS / s.channels, s.slices)
                                       : divide_up(s.channels, divide_up(s.channels, CHUNK_STEPS));
    return s;
}

/* A slice's pieces and depth tap. */
typedef struct slice {
    int64_t h, w, d;
} slice;

FC_INLINE slice slice_of(const shape *s, int64_t index) {
    int64_t pieces = s->h.pieces * s->w.pieces, piece = index % pieces;
    return (slice){piece / s->w.pieces, piece % s->w.pieces, index / pieces};
}

/* Whether a product is zero in all of steps [begin, end): the last one of a window takes a piece's last tap only. */
FC_INLINE bool product_is_zero(const shape *s, int64_t product, int64_t begin, int64_t end) {
    bool last_h = product / s->w.window == s->h.window - 1, last_w = product % s->w.window == s->w.window - 1;
    if (s->slices == 1 || (!last_h && !last_w))
        return false;
    for (int64_t index = begin / s->channels; index * s->channels < end; index++) {
        slice at = slice_of(s, index);
        if (!(last_h && tap_count(&s->h, at.h) < s->h.taps) && !(last_w && tap_count(&s->w, at.w) < s->w.taps))
            return false;
    }
    return true;
}

/* Elements of the weights as packed. */
static int64_t given_reals(const fc_part *part, const shape *s) {
    return part->problem.groups * round_up(part->group_out_ch, PANEL_ROWS) * s->steps * s->taps;
}

/* A run of neighbouring tiles of one row of tiles, on consecutive lanes; what follows `out_w` is that of one slice. */
typedef struct segment {
    int64_t lane, tiles;
    int64_t d, out_h, out_w; /* the first output */
    int64_t pixels;          /* `lattice` of the width apart */
    int64_t q;               /* padded coordinate of the first pixel of window row 0 */
    int64_t begin, end;      /* pixels that all window rows have in x, or are zeros */
    int64_t offset[WINDOW];  /* of each window row's padded coordinate 0 in x, from the channel's start, or OUTSIDE */
} segment;
#define OUTSIDE INT64_MIN

/* A line of outputs, in bytes from a channel's start: see ahead.h. */
typedef struct ahead_run {
    int64_t first, end;
} ahead_run;

#endif
