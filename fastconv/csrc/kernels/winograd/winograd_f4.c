/* winograd_f4: F(4, 3), see winograd.h. */
#define OUT_TILE 4
#define TAPS 3
#include "kernels/winograd/winograd.h"

KERNEL_RECORD("winograd_f4", FC_FN(fc_kernel_winograd_f4));
