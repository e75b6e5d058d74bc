/* winograd_f4_k2: F(4, 2), see winograd.h. */
#define OUT_TILE 4
#define TAPS 2
#include "kernels/winograd/winograd.h"

KERNEL_RECORD("winograd_f4_k2", FC_FN(fc_kernel_winograd_f4_k2));
