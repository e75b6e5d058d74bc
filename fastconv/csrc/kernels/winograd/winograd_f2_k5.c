/* winograd_f2_k5: F(2, 5), see winograd.h. */
#define OUT_TILE 2
#define TAPS 5
#include "kernels/winograd/winograd.h"

KERNEL_RECORD("winograd_f2_k5", FC_FN(fc_kernel_winograd_f2_k5));
