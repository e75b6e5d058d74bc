/* Packing the weights, by group and block of lanes (a unit) and chunk of channels: [tap][channel][lane].
 *
 * Weights are dense along channel and tap as a rule, also mirrored: VL of them of VL output channels at a time are
 * turned around in registers. Bound: memory, read and written once. Weights of one functional call and few pixels are
 * never packed whole: what is kept is where they lie, and a block of lanes of a chunk at a time is packed into L2 by
 * the task that multiplies it.
 */
#ifndef FC_DIRECT_PACK_H
#define FC_DIRECT_PACK_H

#include "kernels/common/at_use.h"
#include "kernels/common/integers.h"
#include "kernels/direct/tile.h"

enum { CHUNK_STEPS = 1280, BLOCK_LANES = BLOCK_VECS * VL };

/* Pixels at most, and images and planes, of a functional call whose tasks pack the weights they multiply. */
enum { AT_USE_PIXELS = 400, AT_USE_PLANES = 2 };

static bool images_pack_at_use(const fc_part *part, int64_t images) {
    return part->problem.pack_per_call && images * part->axis[0].out <= AT_USE_PLANES &&
           images * part->out_pixels <= AT_USE_PIXELS;
}

static bool packs_at_use(const fc_part *part) { return images_pack_at_use(part, part->problem.batch); }

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

/* More rows are read at once than the CPU's prefetchers follow: lines are asked for ahead. */
enum { LINE_WEIGHTS = 64 / sizeof(real), AHEAD_LINES = 4 };

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
            if (high >= VL && wide == VL) {
                FC_UNROLL_TILE for (int i = 0; i < VL; i++)
                    square[v][i] = v_load(corner + i * step);
                if (column % LINE_WEIGHTS == 0)
                    FC_UNROLL_TILE for (int i = 0; i < VL; i++)
                        __builtin_prefetch(corner + i * step + AHEAD_LINES * LINE_WEIGHTS);
            } else
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

/* Chunk and block of lanes: `channels` input channels of `count` output channels, from the first's first weight on. */
static __attribute__((noinline)) void pack_block(const fc_part *part, const real *from, const int64_t *s, int dense,
                                                 int64_t channels, int64_t count, int64_t lanes, real *to) {
    if (dense == 0)
        pack_strided(part, from, s, channels, count, lanes, to);
    else
        pack_dense(part->taps, dense < 0, dense < 0 ? from - (part->taps - 1) : from, s[1], channels, count, lanes, to);
}

static int64_t pack_units(const fc_part *part) {
    return packs_at_use(part) ? 1 : part->problem.groups * divide_up(part->group_out_ch, BLOCK_LANES);
}

static size_t packed_bytes(const fc_part *part) {
    if (packs_at_use(part))
        return FC_VIEW_BYTES;
    return (size_t)(part->problem.groups * round_up(part->group_out_ch, VL) * part->reduction) * sizeof(real);
}

static void pack(const fc_part *part, const fc_weight_view *weight, const fc_weight_view *pointwise, void *packed,
                 int64_t begin, int64_t end) {
    (void)pointwise;
    if (packs_at_use(part)) {
        memcpy(packed, weight, sizeof *weight);
        return;
    }
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
            pack_block(part, from, s, dense, channels, count, lanes, to);
            to += part->taps * channels * lanes;
        }
    }
}

/* One group's weights: packed for the call, or to be packed at use. */
typedef struct direct_weights {
    const real *packed; /* NULL: packed at use into `room` */
    fc_weight_view plain;
    int dense;
    real *room;
} direct_weights;

static direct_weights weights_of(const fc_part *part, const void *packed, int64_t group, real *room) {
    direct_weights w = {.packed = packed, .room = room};
    if (!packs_at_use(part)) {
        w.packed += group * round_up(part->group_out_ch, VL) * part->reduction;
        return w;
    }
    memcpy(&w.plain, packed, sizeof w.plain);
    w.dense = dense_taps(part, w.plain.stride);
    w.plain.data = (const real *)w.plain.data + group * w.plain.stride[0];
    w.packed = NULL;
    return w;
}

/* `lanes` output channels from `lane` on of the chunk of `channels` input channels from `channel` on, packed. Those packed
 * at use are there until the next are asked for. */
static const real *weights_at(const fc_part *part, const direct_weights *w, int64_t channel, int64_t channels,
                              int64_t lane, int64_t lanes) {
    if (w->packed != NULL)
        return w->packed + lane * part->reduction + channel * part->taps * lanes;
    const int64_t *s = w->plain.stride;
    const real *from = (const real *)w->plain.data + lane * s[1] + channel * s[2];
    pack_block(part, from, s, w->dense, channels, smaller(lanes, part->group_out_ch - lane), lanes, w->room);
    return w->room;
}

#endif
