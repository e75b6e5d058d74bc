/* The cost model: what dispatch compares.
 *
 *     seconds = images * kernel->seconds(part, machine)     the run, summed over the parts
 *             + packed bytes / pack_rate (+ l3_rate)        of a functional call, which packs every time; beyond
 *                                                           half of L2 the bytes come and go besides
 *             + call_seconds                                one plan run, without its work
 *
 * kernel->seconds is written beside each kernel, because only the kernel knows its loops: the cycles of its
 * instructions (multiply-adds at the efficiency of its register tile, loads, stores, copies and tails that hit L1) over
 * the clock, and the bytes that leave L1 or L2 over the rate of the level they come from. Kernels add the two, or take
 * the longer where they ask ahead for what they read. Whatever the terms, the sum is homogeneous in the machine's
 * rates: twice as fast a machine halves it.
 *
 * So what bounds a plan needs no bookkeeping: the share of a rate is how much the estimate falls with it (Euler's
 * theorem makes the shares add up to the whole).
 *
 * Neither the batch nor the number of threads enters the choice, which compares one image on one core: results do not
 * depend on them. What rounds too much for the precision asked for, or would let a NaN leak, is no candidate: that is
 * kernel->rejects, not a cost. */
#ifndef FC_COST_H
#define FC_COST_H

#include "kernel.h"

/* The rates of a machine until others are given, and those given (fc_rates_use), of which the first are measured with
 * `isa`. Never measured here: bits depend on them (README.md, "The cost model"). */
void fc_cost_rates(fc_machine *machine);
void fc_cost_take_rates(fc_machine *machine, fc_isa isa, const fc_rates *rates);

/* Kernels count in cycles of a clock at which a core multiplies and adds two vectors. Where it does one a cycle, since its
 * units are half as wide, that clock is half the core's: to load and to store a vector takes as many of its cycles as
 * elsewhere, but permutations, addresses, branches and calls half as many. This is their share: 1, or 0.5 there. */
double fc_cost_light(const fc_machine *machine, fc_isa isa);
/* Of work that is half the one and half the other, as most of it is. */
double fc_cost_mixed(const fc_machine *machine, fc_isa isa);

/* Of one part: a run of one image, and the packing that a functional call adds (else 0). */
double fc_cost_run(const fc_kernel *kernel, const fc_part *part);
double fc_cost_pack(const fc_kernel *kernel, const fc_part *part);

/* The share of x and out that L2 does not hold while they are read and written, whether L3 does not either, the rate at which
 * that share comes, and the seconds to bring both: once read, once written, by neighbours one after the other. */
double fc_cost_beyond_l2(const fc_part *part, const fc_machine *machine);
bool fc_cost_leaves_l3(const fc_part *part, const fc_machine *machine);
double fc_cost_far_rate(const fc_part *part, const fc_machine *machine);
double fc_cost_traffic(const fc_part *part, const fc_machine *machine);

/* Seconds to bring what half of L2 does not keep of packed weights from one call to the next. */
double fc_cost_weights(double bytes, const fc_machine *machine);

/* The share of an axis's taps, counted for each output, that lie inside x. */
double fc_cost_inside(const fc_axis *axis);

/* What a kernel that goes through x and out group by group brings besides: the rest of the lines that a pixel's channels of
 * one group begin and end in, where channels come last. */
double fc_cost_passes(const fc_part *part, const fc_machine *machine);

#endif
