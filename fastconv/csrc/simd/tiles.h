/* The tile vocabulary: AMX's eight registers of 16 rows by 64 bytes, and float32 split into bfloat16 parts.
 *
 *   tile_configure()           every tile 16 rows by 64 bytes; per thread, before anything else
 *   tile_release()             gives the state back: the thread is as it was, and switches as cheaply
 *   tile_zero(t)
 *   tile_load(t, p, step)      16 rows of 64 bytes, `step` bytes apart
 *   tile_store(t, p, step)
 *   tile_dot(sums, a, b)       sums[m][n] += sum over k of a[m][2k] * b[k][2n] + a[m][2k+1] * b[k][2n+1], a and b
 *                              bfloat16, sums float32
 *   tile_split_pairs(...)      two vectors of float32 to interleaved bfloat16 parts
 *
 * Tile numbers are constants 0 to 7. With FC_EMULATE_TILES the same words run on AVX-512, bit for bit as the
 * instruction is specified, so that kernels are tested on CPUs without tiles; that build is for tests only.
 */
#ifndef FC_TILES_H
#define FC_TILES_H

#include "simd/vec.h"

enum {
    TILE_SIDE = 16,   /* rows; dwords in a row */
    TILE_PAIRS = 16,  /* pairs of reduction steps one tile_dot adds */
    TILE_DWORDS = TILE_SIDE * TILE_SIDE,
    TILE_PARTS = 3,   /* bfloat16 parts that hold a float32 exactly */
};

#if FC_EMULATE_TILES

#include <stdlib.h>

typedef struct fc_tiles {
    int configured;
    uint32_t dword[8][TILE_SIDE][TILE_SIDE];
} fc_tiles;
static _Thread_local fc_tiles fc_tile_state;

/* As on the CPU, where a tile instruction without configuration is an illegal one. */
static inline fc_tiles *fc_tiles_ready(void) {
    if (!fc_tile_state.configured)
        abort();
    return &fc_tile_state;
}
/* The CPU allows it, but a second configuration means that the first was never released. */
static inline void tile_configure(void) {
    if (fc_tile_state.configured)
        abort();
    memset(&fc_tile_state, 0, sizeof fc_tile_state);
    fc_tile_state.configured = 1;
}
static inline void tile_release(void) { fc_tile_state.configured = 0; }
static inline void tile_zero(int t) { memset(fc_tiles_ready()->dword[t], 0, sizeof fc_tile_state.dword[t]); }
static inline void tile_load(int t, const void *p, int64_t step) {
    fc_tiles *tiles = fc_tiles_ready();
    for (int row = 0; row < TILE_SIDE; row++)
        memcpy(tiles->dword[t][row], (const char *)p + row * step, sizeof tiles->dword[t][row]);
}
static inline void tile_store(int t, void *p, int64_t step) {
    fc_tiles *tiles = fc_tiles_ready();
    for (int row = 0; row < TILE_SIDE; row++)
        memcpy((char *)p + row * step, tiles->dword[t][row], sizeof tiles->dword[t][row]);
}
/* Both halves of the pairs are summed apart, by fused products from zero; their sum is added to the tile. Denormals
 * are zero going in and coming out, which the workers' float mode (threads.c) gives vector instructions as well. */
static __attribute__((noinline, unused)) void tile_dot(int sums, int a, int b) {
    fc_tiles *tiles = fc_tiles_ready();
    const __m512i high = _mm512_set1_epi32((int)0xffff0000);
    for (int m = 0; m < TILE_SIDE; m++) {
        __m512 even = _mm512_setzero_ps(), odd = even;
        for (int k = 0; k < TILE_PAIRS; k++) {
            __m512i x = _mm512_set1_epi32((int)tiles->dword[a][m][k]), y = _mm512_loadu_si512(tiles->dword[b][k]);
            even = _mm512_fmadd_ps(_mm512_castsi512_ps(_mm512_slli_epi32(x, 16)),
                                   _mm512_castsi512_ps(_mm512_slli_epi32(y, 16)), even);
            odd = _mm512_fmadd_ps(_mm512_castsi512_ps(_mm512_and_epi32(x, high)),
                                  _mm512_castsi512_ps(_mm512_and_epi32(y, high)), odd);
        }
        float *row = (float *)tiles->dword[sums][m];
        _mm512_storeu_ps(row, _mm512_add_ps(_mm512_loadu_ps(row), _mm512_add_ps(even, odd)));
    }
}

#else

/* Palette 1: bytes per row from byte 16 on, rows from byte 48 on. */
typedef struct fc_tile_config {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
} fc_tile_config;
_Static_assert(sizeof(fc_tile_config) == 64, "what ldtilecfg reads");
static const fc_tile_config fc_square_tiles = {
    .palette = 1, .row_bytes = {64, 64, 64, 64, 64, 64, 64, 64}, .rows = {16, 16, 16, 16, 16, 16, 16, 16}};

/* gcc's tile intrinsics do not say that they touch memory. */
#define FC_TILE_MEMORY __asm__ volatile("" ::: "memory")

static inline void tile_configure(void) { _tile_loadconfig(&fc_square_tiles); }
static inline void tile_release(void) { _tile_release(); }
#define tile_zero(t) _tile_zero(t)
#define tile_load(t, p, step) \
    do { \
        FC_TILE_MEMORY; \
        _tile_loadd(t, p, step); \
    } while (0)
#define tile_store(t, p, step) \
    do { \
        _tile_stored(t, p, step); \
        FC_TILE_MEMORY; \
    } while (0)
#define tile_dot(sums, a, b) _tile_dpbf16ps(sums, a, b)

#endif

/* The largest magnitude seen, as the bits of a float32: infinity and NaN are above every number. */
typedef __m512i tile_magnitude;
FC_INLINE tile_magnitude tile_no_magnitude(void) { return _mm512_setzero_si512(); }
FC_INLINE float tile_largest(tile_magnitude m) { return fc_bits_float(_mm512_reduce_max_epu32(m)); }

FC_INLINE tile_magnitude tile_see(tile_magnitude seen, vec a) {
    __m512i magnitude = _mm512_and_epi32(_mm512_castps_si512(a), _mm512_set1_epi32(0x7fffffff));
    return _mm512_max_epu32(seen, magnitude);
}

/* Writes 16 dwords per part, part p at to + p * part_step: even[i] in the low half, odd[i] in the high one. Each part
 * is the rest of the value rounded to 8 significant bits, half away from zero; three hold it exactly: the rest
 * after the first has 16 bits with its sign, after the second 8. Finite values below 2^127 only. */
FC_INLINE void tile_split_pairs(vec even, vec odd, const int parts, real *to, int64_t part_step) {
    const __m512i half = _mm512_set1_epi32(0x8000), high = _mm512_set1_epi32((int)0xffff0000);
    for (int part = 0; part < parts; part++) {
        __m512i low = _mm512_and_epi32(_mm512_add_epi32(_mm512_castps_si512(even), half), high);
        __m512i top = _mm512_and_epi32(_mm512_add_epi32(_mm512_castps_si512(odd), half), high);
        _mm512_storeu_si512(to + part * part_step, _mm512_or_epi32(_mm512_srli_epi32(low, 16), top));
        even = _mm512_sub_ps(even, _mm512_castsi512_ps(low));
        odd = _mm512_sub_ps(odd, _mm512_castsi512_ps(top));
    }
}

#endif
