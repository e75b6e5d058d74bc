/* Weights of gemm_split: split and in tiles, and as they are.
 *
 *     tiles[group][tile of 16 out channels][tile of 16 pairs][part][out channel][pair][2]  bfloat16
 *
 * with pairs in the order of split_shape.h. Beside them stay the plain weights, dense, for what the tiles cannot
 * multiply: 10 bytes a weight. Weights of one functional call and few pixels are never packed: what is kept is where
 * they lie, and 32 output channels of a chunk at a time are split into L2, for all pixels of a block.
 * Bound: the vector unit, about 30 instructions for 2 x 16 weights, and a gather of 16 each where taps are apart.
 */
#ifndef FC_SPLIT_WEIGHTS_H
#define FC_SPLIT_WEIGHTS_H

#include "kernels/amx/split_shape.h"
#include "kernels/common/at_use.h"
#include "kernels/common/gemm_driver.h"

/* A call's weights: `largest` magnitudes of [group][chunk][32 out channels] and `tiles`, NULL both where they are split
 * at use; `plain` the weights as they are. */
typedef struct split_weights {
    const real *largest, *tiles;
    fc_weight_view plain;
} split_weights;

/* A functional call of few pixels packs nothing. */
static bool split_packs_nothing(const fc_part *part) {
    if (!part->problem.pack_per_call)
        return false;
    fc_part shaped = *part;
    split_prepare(&shaped, NULL);
    return shaped.block[SPLIT_AT_USE];
}

FC_INLINE int64_t row_tile_reals(const fc_part *part) {
    return split_all_tiles(part) * split_parts(part) * TILE_DWORDS;
}
FC_INLINE int64_t group_reals(const fc_part *part) {
    return divide_up(part->group_out_ch, TILE_SIDE) * row_tile_reals(part);
}
FC_INLINE int64_t split_row_pairs(const fc_part *part) { return divide_up(part->group_out_ch, SPLIT_ROWS); }
FC_INLINE int64_t largest_reals(const fc_part *part) {
    return round_up(part->problem.groups * split_chunks(part) * split_row_pairs(part), VL);
}

/* [view, of a functional call][largest][tiles][plain, unless of a functional call] */
static size_t packed_bytes(const fc_part *part) {
    if (split_packs_nothing(part))
        return FC_VIEW_BYTES;
    size_t split = (size_t)(largest_reals(part) + part->problem.groups * group_reals(part)) * sizeof(real);
    size_t plain = (size_t)(part->problem.out_ch * part->reduction) * sizeof(real);
    return split + (part->problem.pack_per_call ? (size_t)FC_VIEW_BYTES : plain);
}

static split_weights split_weights_of(const fc_part *part, const void *packed) {
    const fc_axis *axis = part->axis;
    split_weights w = {.largest = NULL};
    if (part->problem.pack_per_call) {
        memcpy(&w.plain, packed, sizeof w.plain);
        packed = (const char *)packed + FC_VIEW_BYTES;
        if (part->block[SPLIT_AT_USE])
            return w;
    }
    w.largest = packed;
    w.tiles = w.largest + largest_reals(part);
    if (!part->problem.pack_per_call) {
        int64_t width = axis[2].kernel, plane = axis[1].kernel * width, *s = w.plain.stride;
        w.plain.data = w.tiles + part->problem.groups * group_reals(part);
        s[5] = 1, s[4] = width, s[3] = plane, s[2] = part->taps, s[1] = part->reduction;
        s[0] = part->group_out_ch * part->reduction;
    }
    return w;
}

/* Where one row's weights of a tile's pairs lie, from its first; where there is none, 0 of a lane that the mask leaves
 * out. */
typedef struct pair_places {
    int64_t even[TILE_PAIRS], odd[TILE_PAIRS];
    lane_mask has_even, has_odd;
    bool dense; /* one after the other, all there */
    bool near;  /* offsets of 32 bits */
} pair_places;

/* Pairs [16 * tile, 16 * tile + 16) of a chunk of `channels` channels, in the order of split_shape.h. */
static pair_places places_of(const fc_part *part, const int64_t *step, int64_t channels, int64_t tile) {
    const fc_axis *axis = part->axis;
    int64_t pairs = divide_up(channels, 2), evens = 0, odds = 0;
    pair_places p = {.near = true};
    for (int64_t k = 0; k < TILE_PAIRS; k++) {
        int64_t pair = tile * TILE_PAIRS + k, tap = pair / pairs, c = pair % pairs * 2;
        int64_t kw = tap % axis[2].kernel, kh = tap / axis[2].kernel % axis[1].kernel;
        int64_t kd = tap / axis[2].kernel / axis[1].kernel;
        bool even = tap < part->taps, odd = even && c + 1 < channels;
        p.even[k] = even ? c * step[2] + kd * step[3] + kh * step[4] + kw * step[5] : 0;
        p.odd[k] = odd ? p.even[k] + step[2] : 0;
        p.near &= p.even[k] == (int32_t)p.even[k] && p.odd[k] == (int32_t)p.odd[k];
        evens |= (int64_t)even << k;
        odds |= (int64_t)odd << k;
    }
    p.has_even = (lane_mask)evens;
    p.has_odd = (lane_mask)odds;
    p.dense = part->taps == 1 && step[2] == 1 && odds == (1 << TILE_PAIRS) - 1;
    return p;
}

static vec gather(const real *from, const int64_t *at, lane_mask lanes, bool near) {
    __m512i low = _mm512_loadu_si512(at), high = _mm512_loadu_si512(at + VL / 2);
    if (near) {
        __m512i both = _mm512_inserti64x4(_mm512_castsi256_si512(_mm512_cvtepi64_epi32(low)),
                                          _mm512_cvtepi64_epi32(high), 1);
        return _mm512_mask_i32gather_ps(v_zero(), lanes, both, from, sizeof(real));
    }
    __m256 first = _mm512_mask_i64gather_ps(_mm256_setzero_ps(), (__mmask8)lanes, low, from, sizeof(real));
    __m256 second = _mm512_mask_i64gather_ps(_mm256_setzero_ps(), (__mmask8)(lanes >> VL / 2), high, from, sizeof(real));
    return _mm512_insertf32x8(_mm512_castps256_ps512(first), second, 1);
}

/* One row's weights of one tile of pairs. Returns `seen` and what it saw. */
FC_INLINE tile_magnitude split_weight_row(const real *weight, const pair_places *p, const int parts, real *to,
                                          tile_magnitude seen) {
    const __m512i evens = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    const __m512i odds = _mm512_add_epi32(evens, _mm512_set1_epi32(1));
    vec even, odd;
    if (p->dense) {
        vec low = v_load(weight + p->even[0]), high = v_load(weight + p->even[0] + VL);
        even = _mm512_permutex2var_ps(low, evens, high);
        odd = _mm512_permutex2var_ps(low, odds, high);
    } else {
        even = gather(weight, p->even, p->has_even, p->near);
        odd = gather(weight, p->odd, p->has_odd, p->near);
    }
    tile_split_pairs(even, odd, parts, to, TILE_DWORDS);
    return tile_see(tile_see(seen, even), odd);
}

/* Splits `rows` rows `from_step` apart, and rows of zeros that fill their tiles: `tiles` tiles of pairs, where `places`
 * says, into to[tile of rows][tile of pairs]. The next row's lines, as many as a dense one has, are asked for into L1.
 * Returns the largest magnitude. */
FC_INLINE float split_rows_of_weights(const real *from, int64_t from_step, int64_t rows, const pair_places *places,
                                      int64_t tiles, const int parts, real *to) {
    tile_magnitude seen = tile_no_magnitude();
    for (int64_t row = 0; row < round_up(rows, TILE_SIDE); row++, from += from_step) {
        real *at = to + row / TILE_SIDE * tiles * parts * TILE_DWORDS + row % TILE_SIDE * TILE_PAIRS;
        for (int64_t tile = 0; tile < tiles; tile++, at += parts * TILE_DWORDS) {
            if (row + 1 < rows) {
                __builtin_prefetch(from + from_step + 2 * tile * VL);
                __builtin_prefetch(from + from_step + (2 * tile + 1) * VL);
            }
            if (row < rows)
                seen = split_weight_row(from, places + tile, parts, at, seen);
            else
                for (int part = 0; part < parts; part++)
                    v_store(at + part * TILE_DWORDS, v_zero());
        }
    }
    return tile_largest(seen);
}

/* At most SPLIT_ROWS output channels and the tiles of one chunk. */
static __attribute__((noinline)) float split_weight_tiles(const real *from, int64_t from_step, int64_t rows,
                                                          const pair_places *places, int64_t tiles, int parts,
                                                          real *to) {
    switch (parts) {
    case 3:
        return split_rows_of_weights(from, from_step, rows, places, tiles, 3, to);
    case 2:
        return split_rows_of_weights(from, from_step, rows, places, tiles, 2, to);
    default:
        return split_rows_of_weights(from, from_step, rows, places, tiles, 1, to);
    }
}

/* One tile of 16 output channels and a chunk's tiles of pairs; returns the largest magnitude. */
static float pack_row_tile(const fc_part *part, const real *from, const int64_t *step, int64_t rows, int64_t channels,
                           real *to) {
    int parts = split_parts(part);
    int64_t tiles = split_tiles(part, channels);
    uint32_t most = 0;
    for (int64_t tile = 0; tile < tiles; tile++, to += parts * TILE_DWORDS) {
        pair_places places = places_of(part, step, channels, tile);
        float seen = split_weight_tiles(from, step[1], rows, &places, 1, parts, to);
        most = (uint32_t)larger(most, fc_float_bits(seen));
    }
    return fc_bits_float(most);
}

/* Plain weights of output channels [begin, end) of a group, dense. */
static void split_copy_plain(const fc_part *part, const fc_weight_view *weight, int64_t group, int64_t begin,
                             int64_t end, real *to) {
    const fc_axis *axis = part->axis;
    const int64_t *s = weight->stride;
    bool dense = fc_weight_row_is_dense(s, axis, part->group_in_ch);
    to += (group * part->group_out_ch + begin) * part->reduction;
    for (int64_t row = begin; row < end; row++) {
        const real *from = (const real *)weight->data + group * s[0] + row * s[1];
        if (dense) {
            memcpy(to, from, (size_t)part->reduction * sizeof(real));
            to += part->reduction;
            continue;
        }
        for (int64_t c = 0; c < part->group_in_ch; c++)
            for (int64_t kd = 0; kd < axis[0].kernel; kd++)
                for (int64_t kh = 0; kh < axis[1].kernel; kh++)
                    for (int64_t kw = 0; kw < axis[2].kernel; kw++)
                        *to++ = from[c * s[2] + kd * s[3] + kh * s[4] + kw * s[5]];
    }
}

/* Weights that are packed apart: SPLIT_ROWS output channels of a group. */
static int64_t pack_units(const fc_part *part) {
    return split_packs_nothing(part) ? 1 : part->problem.groups * split_row_pairs(part);
}

/* Splits the output channels [begin, end) of a group, one unit's. */
static void pack_rows(const fc_part *part, const fc_weight_view *weight, int64_t group, int64_t begin, int64_t end,
                      real *largest, real *tiles) {
    int64_t chunk = split_chunk_channels(part), in_ch = part->group_in_ch, pairs = split_row_pairs(part);
    const int64_t *step = weight->stride;
    largest += group * split_chunks(part) * pairs + begin / SPLIT_ROWS;
    tiles += group * group_reals(part) + begin / TILE_SIDE * row_tile_reals(part);
    for (int64_t row = begin; row < end; row += TILE_SIDE) {
        real *most = largest;
        for (int64_t c = 0; c < in_ch; c += chunk, most += pairs) {
            int64_t channels = smaller(chunk, in_ch - c), rows = smaller(TILE_SIDE, end - row);
            const real *from = (const real *)weight->data + group * step[0] + row * step[1] + c * step[2];
            float seen = pack_row_tile(part, from, step, rows, channels, tiles);
            *most = row == begin ? seen
                                 : fc_bits_float((uint32_t)larger(fc_float_bits(*most), fc_float_bits(seen)));
            tiles += split_tiles(part, channels) * split_parts(part) * TILE_DWORDS;
        }
    }
}

static void pack(const fc_part *part, const fc_weight_view *weight, const fc_weight_view *pointwise, void *packed,
                 int64_t begin, int64_t end) {
    (void)pointwise;
    char *at = packed;
    if (part->problem.pack_per_call) {
        if (begin == 0)
            memcpy(at, weight, sizeof *weight);
        at += FC_VIEW_BYTES;
        if (split_packs_nothing(part))
            return;
    }
    real *largest = (real *)(void *)at, *tiles = largest + largest_reals(part);
    real *plain = tiles + part->problem.groups * group_reals(part);
    for (int64_t unit = begin; unit < end; unit++) {
        int64_t group = unit / split_row_pairs(part), row = unit % split_row_pairs(part) * SPLIT_ROWS;
        int64_t stop = smaller(row + SPLIT_ROWS, part->group_out_ch);
        pack_rows(part, weight, group, row, stop, largest, tiles);
        if (!part->problem.pack_per_call)
            split_copy_plain(part, weight, group, row, stop, plain);
    }
}

#endif
