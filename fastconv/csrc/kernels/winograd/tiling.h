/* How one axis is cut into tiles and its kernel into pieces that a tile's transform can take.
 *
 * Output o and tap k read padded coordinate o * stride + k * dilation. With g the greatest common divisor of stride and
 * dilation, outputs `apart` = dilation / g from each other and taps `phases` = stride / g from each other step through
 * x by the same `lattice` = stride * dilation / g: they are an ordinary dense convolution of that lattice. So a tile's
 * outputs lie `apart`, its inputs `lattice` from one to the next, outputs come in `apart` residue classes, taps in
 * `phases`, and what is left of a phase beyond TAPS taps is cut off again. Each such piece of the kernel, filled up to
 * TAPS with zeros, is a further step of the reduction whose inputs begin `dilation` times its first tap further on;
 * pieces are added up before the transform back. An axis whose first phase has fewer than TAPS taps is not transformed:
 * there a tile is one output and a piece one tap.
 * After Huang et al., "DWM: A decomposable Winograd method for convolution acceleration" (2020).
 */
#ifndef FC_WINOGRAD_TILING_H
#define FC_WINOGRAD_TILING_H

#include "kernel.h"
#include "kernels/common/integers.h"
#include "kernels/winograd/tile.h"

typedef struct tiling {
    int64_t step, window, taps; /* outputs and inputs of a tile, taps of a piece: one each when not transformed */
    int64_t apart, lattice, phases;
    int64_t kernel, stride, dilation;
    int64_t pieces;
    int64_t classes, tiles; /* residue classes of outputs, and tiles of each */
} tiling;

static tiling tiling_of(int64_t kernel, int64_t stride, int64_t dilation, int64_t out) {
    int64_t common = fc_common_divisor(stride, dilation);
    tiling t = {.step = 1, .window = 1, .taps = 1, .apart = 1, .phases = 1, .kernel = kernel, .stride = stride,
                .dilation = dilation};
    if (divide_up(kernel, stride / common) >= TAPS) {
        t.step = OUT_TILE, t.window = WINDOW, t.taps = TAPS;
        t.apart = dilation / common, t.phases = stride / common;
    }
    t.lattice = t.apart * stride;
    int64_t whole = (kernel - 1) / (t.phases * t.taps); /* rounds of all phases before the last */
    t.pieces = whole * t.phases + smaller(t.phases, kernel - whole * t.phases * t.taps);
    t.classes = smaller(t.apart, out);
    t.tiles = divide_up(divide_up(out, t.apart), t.step);
    return t;
}

/* A piece's first tap, and how many it has. */
FC_INLINE int64_t first_tap(const tiling *t, int64_t piece) {
    return piece / t->phases * t->phases * t->taps + piece % t->phases;
}
FC_INLINE int64_t tap_count(const tiling *t, int64_t piece) {
    return smaller(t->taps, divide_up(t->kernel - first_tap(t, piece), t->phases));
}

/* The first output of tile `tile` of all classes, class by class. */
FC_INLINE int64_t first_output(const tiling *t, int64_t tile) {
    return tile / t->tiles + t->apart * t->step * (tile % t->tiles);
}

/* Outputs of `tiles` tiles from output `first` on that exist. */
FC_INLINE int64_t outputs_of(const tiling *t, int64_t first, int64_t tiles, int64_t out) {
    return first >= out ? 0 : smaller(tiles * t->step, divide_up(out - first, t->apart));
}

#endif
