/* winograd_f4_split: F(4, 3) with products on tiles, see winograd_split.h. */
#define OUT_TILE 4
#define TAPS 3
#include "kernels/amx/winograd_split.h"

SPLIT_KERNEL_RECORD("winograd_f4_split", FC_FN(fc_kernel_winograd_f4_split));
