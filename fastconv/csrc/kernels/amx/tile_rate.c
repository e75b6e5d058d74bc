/* tile_rate: bfloat16 tile products as fast as the unit does them; see rate.h.
 *
 * Four sums, two operands of each kind, as gemm_split has them, but loaded once. Operands are random, since the unit
 * slows down with the power its data draws: with zeros it does a quarter more. */
#include "rate.h"

#include "simd/tiles.h"

enum { SUMS = 4 };

/* Random signs, mantissas and a few exponents around 1, so that sums stay finite. */
static void fill_operand(uint32_t *dwords, uint32_t seed) {
    for (int i = 0; i < TILE_DWORDS; i++) {
        seed = seed * 1664525u + 1013904223u;
        dwords[i] = (seed & 0x81ff81ffu) | 0x3e003e00u;
    }
}

static void multiply(int64_t steps, void *values) {
    _Alignas(64) uint32_t operand[TILE_DWORDS], sums[TILE_DWORDS];
    tile_configure();
    tile_zero(0);
    tile_zero(1);
    tile_zero(2);
    tile_zero(3);
    fill_operand(operand, 1);
    tile_load(4, operand, 64);
    fill_operand(operand, 2);
    tile_load(5, operand, 64);
    fill_operand(operand, 3);
    tile_load(6, operand, 64);
    fill_operand(operand, 4);
    tile_load(7, operand, 64);
    for (int64_t step = 0; step < steps; step++) {
        tile_dot(0, 4, 6);
        tile_dot(1, 4, 7);
        tile_dot(2, 5, 6);
        tile_dot(3, 5, 7);
    }
    tile_store(0, sums, 64);
    *(real *)values = fc_bits_float(sums[0]);
    tile_release();
}

const fc_rate_kernel FC_FN(fc_tile_rate_kernel);
const fc_rate_kernel FC_FN(fc_tile_rate_kernel) = {
    .name = FC_NAME("tile_rate"),
    .step_flops = 2.0 * SUMS * TILE_SIDE * TILE_SIDE * 2 * TILE_PAIRS,
    .multiply = multiply,
};
