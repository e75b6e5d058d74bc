/* winograd_f2: F(2, 3), see winograd.h. */
#define OUT_TILE 2
#define TAPS 3
#include "kernels/winograd/winograd.h"

KERNEL_RECORD("winograd_f2", FC_FN(fc_kernel_winograd_f2));
