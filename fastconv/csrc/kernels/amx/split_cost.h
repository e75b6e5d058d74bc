/* What a product of tiles costs, for every kernel on split values. */
#ifndef FC_SPLIT_COST_H
#define FC_SPLIT_COST_H

#include "cost.h"
#include "simd/tiles.h"

/* Seconds of one product of tiles: at their rate, of which blocks of operands in L2 reach nine tenths while the sibling
 * thread idles. A busy one takes more than half of it and a third of the vectors', now and then. */
FC_INLINE double split_dot_seconds(const fc_machine *machine) {
    return 2 * TILE_SIDE * TILE_SIDE * 2 * TILE_PAIRS / machine->tile_flops;
}

#endif
