/* The kernel record and its contract.
 *
 * A kernel is one algorithm for one dtype compiled for one instruction set. Its folder,
 * kernels/<algorithm>/, fills one fc_kernel per combination; kernels.inc lists the algorithms, and
 * nothing else in the library knows which there are.
 *
 * Contract. A kernel does not allocate, thread, check arguments, read the environment or look at
 * the CPU. It reads and writes no byte outside the elements its tensors name. Results must not depend on
 * how `partition` cuts the work, on the alignment of any pointer, or on the batch: the products of
 * one output are added in an order fixed by the weights' shape alone.
 */
#ifndef FC_KERNEL_H
#define FC_KERNEL_H

#include "cpu.h"
#include "problem.h"

typedef struct fc_call {
    const fc_part *part;
    const void *packed;   /* what pack wrote, 64-byte aligned */
    fc_tensors tensors;   /* out is this part's: start and step applied (residual likewise) */
    int64_t grid[4];      /* what partition chose; only the kernel reads it */
} fc_call;

typedef struct fc_kernel {
    const char *algorithm; /* "gemm" */
    const char *dtype;     /* "f32" */
    const char *isa;       /* "avx512" */
    const char *name;      /* "gemm.f32.avx512" */

    /* NULL when this kernel can run the part, else one sentence saying why not. */
    const char *(*rejects)(const fc_part *part);
    /* Seconds on one core of `machine`, for the whole part with the batch counted once. */
    double (*seconds)(const fc_part *part, const fc_machine *machine);
    /* Fills part->block. May depend on everything but the batch and threads. */
    void (*prepare)(fc_part *part, const fc_machine *machine);
    /* Size and content of the packed weights: functions of channels, groups, taps, strides and dilations, and of a call
     * that packs its own weights of anything. */
    size_t (*packed_bytes)(const fc_part *part);
    /* Units of weights that can be packed apart, as panels of output channels; NULL: all are one. */
    int64_t (*pack_units)(const fc_part *part);
    void (*pack)(const fc_part *part, const fc_weight_view *weight, const fc_weight_view *pointwise,
                 void *packed, int64_t begin, int64_t end); /* units [begin, end) */
    /* Cuts the part into independent tasks for `threads` workers: fills grid, returns their number. */
    int64_t (*partition)(const fc_part *part, int threads, int64_t grid[4]);
    size_t (*scratch_bytes)(const fc_part *part); /* per worker, given 64-byte aligned to run */
    void (*run)(const fc_call *call, int64_t task, void *scratch);
} fc_kernel;

/* registry.c: every kernel of this build, widest ISA first within an algorithm. */
int fc_registry_count(void);
const fc_kernel *fc_registry_kernel(int index);
bool fc_registry_available(int index);

#endif
