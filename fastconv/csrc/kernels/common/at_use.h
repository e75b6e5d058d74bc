/* Weights of a functional call that are not packed ahead: what a kernel keeps of them is a view, and its tasks read them
 * where they lie, or pack a chunk into L2 right before they multiply it. So no packed form is written to memory and read
 * again, which takes as long as the products where few pixels share a weight. */
#ifndef FC_AT_USE_H
#define FC_AT_USE_H

#include "cost.h"
#include "kernel.h"
#include "simd/vec.h"

enum { FC_VIEW_BYTES = 64 };
_Static_assert(sizeof(fc_weight_view) <= FC_VIEW_BYTES, "a view is all that is kept of such a call's weights");

/* Seconds of turning all weights around once, by vectors, at use. */
FC_INLINE double fc_at_use_seconds(const fc_part *part, const fc_machine *machine) {
    const double cycles = 0.85; /* a weight */
    double weights = (double)(part->problem.out_ch * part->reduction), bytes = weights * sizeof(real);
    double stream = bytes > (double)machine->l2_bytes / 2 ? bytes / machine->l3_rate : 0;
    return 2 * cycles * weights / machine->vector_fma_rate[FC_PASTE(FC_ISA_, FC_ISA)] + stream;
}

#endif
