/* Convolution of complex columns (fc_columns of fastconv.h) and what brings samples there and back (fc_pairs), what the
 * FFT leaves to the core where rows alone are transformed; like pooling and filters, no algorithm of kernels.inc.
 *
 * columns.c checks and finds the kernel; kernels/columns/columns.c, compiled per instruction set for float32 and
 * float64, computes. A call runs on the caller's thread.
 */
#ifndef FC_COLUMNS_H
#define FC_COLUMNS_H

#include "fastconv.h"

typedef struct fc_columns_kernel {
    const char *name; /* "columns.f64.avx512" */
    size_t (*scratch_bytes)(const fc_columns *columns);
    void (*run)(const fc_columns *columns, const void *x, const void *weights, void *out, void *scratch);
    /* Columns [begin, end) of the pairs lie side by side in x. */
    void (*join)(const fc_pairs *pairs, int64_t begin, int64_t end, const void *x, void *out);
    void (*part)(const fc_pairs *pairs, const void *x, void *out);
} fc_columns_kernel;

#endif
