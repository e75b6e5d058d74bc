/* What a product of tiles costs, for every kernel on split values. */
#ifndef FC_SPLIT_COST_H
#define FC_SPLIT_COST_H

#include "cost.h"
#include "simd/tiles.h"

/* Seconds of one product of tiles, at the share of their rate that fits whole kernels as measured, whatever their
 * siblings did then: a busy one takes more than half of the tiles' rate and a third of the vectors', now and then. */
#define TILE_SHARE 0.70

FC_INLINE double split_dot_seconds(const fc_machine *machine) {
    return 2 * TILE_SIDE * TILE_SIDE * 2 * TILE_PAIRS / (TILE_SHARE * machine->tile_flops);
}

#endif
