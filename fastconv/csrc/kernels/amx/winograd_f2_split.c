/* winograd_f2_split: F(2, 3) with products on tiles, see winograd_split.h. */
#define OUT_TILE 2
#define TAPS 3
#include "kernels/amx/winograd_split.h"

SPLIT_KERNEL_RECORD("winograd_f2_split", FC_FN(fc_kernel_winograd_f2_split));
