/* Convolution of complex columns (fc_columns of fastconv.h), what the FFT leaves to the core where rows alone are
 * transformed; like pooling and filters, no algorithm of kernels.inc.
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
} fc_columns_kernel;

#endif
