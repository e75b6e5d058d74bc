/* Packing the weights, by group and block of lanes (a unit) and chunk of channels: [tap][channel][lane].
 *
 * Weights are dense along channel and tap as a rule, also mirrored: VL of them of VL output channels at a time are
 * turned around in registers. Bound: memory, read and written once.
 */
#ifndef FC_DIRECT_PACK_H
#define FC_DIRECT_PACK_H

#include "kernel.h"
#include "kernels/common/integers.h"
#include "kernels/direct/tile.h"

enum { CHUNK_STEPS = 1280, BLOCK_LANES = BLOCK_VECS * VL };

/* A function of the weights' shape alone: it fixes the order of additions and the packed form. */
static int64_t chunk_channels(const fc_part *part) {
    int64_t chunks = divide_up(part->reduction, CHUNK_STEPS);
    return smaller(round_up(divide_up(part->group_in_ch, chunks), 16), part->group_in_ch);
}

/* 1 where each input channel's taps are dense and in order, channel after channel; -1 where mirrored; else 0. */
static int dense_taps(const fc_part *part, const int64_t stride[6]) {
    for (int sign = 1; sign >= -1; sign -= 2) {
        int64_t expected = sign;
        bool dense = part->group_in_ch == 1 || stride[2] == part->taps;
        for (int axis = FC_MAX_SPATIAL - 1; axis >= 0; axis--) {
            dense &= part->axis[axis].kernel == 1 || stride[3 + axis] == expected;
            expected *= part->axis[axis].kernel;
        }
        if (dense)
            return sign;
    }
    return 0;
}

/* `count` of `lanes` output channels, the first's weights dense from `from` on, the others' `step` apart. */
static void pack_dense(int64_t taps, bool mirrored, const real *from, int64_t step, int64_t channels, int64_t count,
                       int64_t lanes, real *to) {
    int64_t columns = channels * taps, c = 0, tap = 0;
    for (int64_t column = 0; column < columns; column += VL) {
        int64_t wide = smaller(columns - column, VL);
        vec square[BLOCK_VECS][VL];
        for (int64_t v = 0; v < lanes / VL; v++) {
            const real *corner = from + v * VL * step + column;
            int64_t high = count - v * VL;
            if (high >= VL && wide == VL)
                FC_UNROLL_TILE for (int i = 0; i < VL; i++)
                    square[v][i] = v_load(corner + i * step);
            else
                for (int64_t i = 0; i < VL; i++)
                    square[v][i] = i >= high ? v_zero() : v_loadn(corner + i * step, wide);
            v_transpose(square[v]);
        }
        for (int64_t i = 0; i < wide; i++) {
            real *row = to + ((mirrored ? taps - 1 - tap : tap) * channels + c) * lanes;
            for (int64_t v = 0; v < lanes / VL; v++)
                v_store(row + v * VL, square[v][i]);
            if (++tap == taps) {
                tap = 0;
                c++;
            }
        }
    }
}

/* Any strides. */
static void pack_strided(const fc_part *part, const real *from, const int64_t *s, int64_t channels, int64_t count,
                         int64_t lanes, real *to) {
    for (int64_t kd = 0; kd < part->axis[0].kernel; kd++)
        for (int64_t kh = 0; kh < part->axis[1].kernel; kh++)
            for (int64_t kw = 0; kw < part->axis[2].kernel; kw++)
                for (int64_t c = 0; c < channels; c++, to += lanes) {
                    const real *tap = from + c * s[2] + kd * s[3] + kh * s[4] + kw * s[5];
                    for (int64_t lane = 0; lane < lanes; lane++)
                        to[lane] = lane < count ? tap[lane * s[1]] : 0;
                }
}

static int64_t pack_units(const fc_part *part) {
    return part->problem.groups * divide_up(part->group_out_ch, BLOCK_LANES);
}

static void pack(const fc_part *part, const fc_weight_view *weight, const fc_weight_view *pointwise, void *packed,
                 int64_t begin, int64_t end) {
    (void)pointwise;
    const int64_t *s = weight->stride;
    int64_t chunk = chunk_channels(part), padded = round_up(part->group_out_ch, VL);
    int64_t blocks = divide_up(padded, BLOCK_LANES);
    int dense = dense_taps(part, s);
    for (int64_t unit = begin; unit < end; unit++) {
        int64_t g = unit / blocks, lane = unit % blocks * BLOCK_LANES;
        int64_t lanes = smaller(BLOCK_LANES, padded - lane), count = smaller(lanes, part->group_out_ch - lane);
        real *to = (real *)packed + (g * padded + lane) * part->reduction;
        for (int64_t c = 0; c < part->group_in_ch; c += chunk) {
            int64_t channels = smaller(chunk, part->group_in_ch - c);
            const real *from = (const real *)weight->data + g * s[0] + lane * s[1] + c * s[2];
            if (dense == 0)
                pack_strided(part, from, s, channels, count, lanes, to);
            else
                pack_dense(part->taps, dense < 0, dense < 0 ? from - (part->taps - 1) : from, s[1], channels, count,
                           lanes, to);
            to += part->taps * channels * lanes;
        }
    }
}

#endif
