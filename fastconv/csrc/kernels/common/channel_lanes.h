/* Channels along the lanes: depthwise and small groups over x with dense channels.
 *
 * A block is VL or fewer consecutive output channels, of whole groups, or of any where their input channels fit one
 * vector too (`spans`). Each of a group's `slots` input channels is one vector whose lane i holds the channel lane i's
 * group reads: x itself (one channel in, one out), x with its lanes permuted in a register (several groups in a block),
 * or one value for all lanes (a block inside one group). So no lane ever meets another group's values. Several output
 * pixels along width are held in registers, and with 3, 5 or 7 undilated taps each vector of x serves all the pixels and
 * taps it belongs to.
 *
 * Packed weights: [block][row of taps][slot][tap along width][lane], or [tap along width][slot] when one value
 * fills the lanes. Products are added in that order.
 * Padding reads a vector of zeros through a table of pointers; blocks of pixels inside x need no table. Fewer channels than a
 * vector are loaded with what follows them, but where that would leave x, and stored through masks.
 * Bound: FMA throughput; permuted lanes share a port with the FMAs. Reached: 0.83 (permuted, 4 channels per group),
 * 0.77 (one value in all lanes), 0.79 (plain, 7x7); 3x3 on maps of 14x14, all border, 0.37.
 */
#ifndef FC_CHANNEL_LANES_H
#define FC_CHANNEL_LANES_H

#include "kernels/common/padded_rows.h"

#define FC_UNROLL_ALL _Pragma("GCC unroll 32")

enum { LANE_PIXELS = 8 };
typedef enum lane_kind { LANES_PLAIN, LANES_PERMUTED, LANES_ONE } lane_kind;

typedef struct lane_shape {
    lane_kind kind;
    int64_t slots;        /* input channels of a group */
    bool spans;           /* blocks begin and end within groups: all but the last have VL channels */
    int64_t block_groups; /* whole groups in a block, where it does not span them */
    int64_t blocks, blocks_per_group;
    int64_t period;       /* blocks after which channels lie in the lanes alike */
    int64_t tap_rows;     /* depth * height taps */
} lane_shape;

/* Whether a body shares each vector of x between the taps along width; the rest load it anew (channel_lanes_run.h). */
FC_INLINE bool lane_shares(const fc_axis *width, lane_kind kind) {
    bool taps = width->kernel == 3 || (kind == LANES_PLAIN && (width->kernel == 5 || width->kernel == 7));
    return taps && width->dilation == 1 && width->stride <= 2;
}

/* Blocks of whole groups, or of a part of one. */
FC_INLINE lane_shape lane_shape_of_groups(const fc_part *part) {
    int64_t in = part->group_in_ch, out = part->group_out_ch, groups = part->problem.groups;
    lane_shape shape = {.slots = in, .tap_rows = part->axis[0].kernel * part->axis[1].kernel, .period = 1};
    int64_t together = VL / (in > out ? in : out);
    shape.kind = in == 1 && out == 1 ? LANES_PLAIN : together > 1 ? LANES_PERMUTED : LANES_ONE;
    shape.block_groups = together > 1 ? together : 1;
    shape.blocks_per_group = (out + VL - 1) / VL;
    shape.blocks = (groups + shape.block_groups - 1) / shape.block_groups * shape.blocks_per_group;
    return shape;
}

/* Blocks that span groups use all their lanes, where the channels that one reads fit a vector. In place of one value in all
 * lanes they pay where a permuted vector serves several taps, or for a third fewer blocks: 9 channels of each group, 3x3,
 * AVX2 on Zen 3, 2.4-fold, of dilation 2 1.4-fold; not measured under AVX-512. */
FC_INLINE bool lane_spans(const fc_part *part, const lane_shape *groups) {
    int64_t in = part->group_in_ch, out = part->group_out_ch, most_groups = (VL - 2) / out + 2;
    if (groups->kind == LANES_PLAIN || part->problem.groups == 1 || most_groups * in > VL)
        return false;
    int64_t blocks = (part->problem.out_ch + VL - 1) / VL;
    bool fewer = (in == 1 || part->taps == 1) && 3 * groups->blocks >= 4 * blocks;
    bool pays = groups->kind == LANES_PERMUTED || lane_shares(&part->axis[2], LANES_PERMUTED) || fewer;
    return pays && blocks < groups->blocks;
}

static __attribute__((noinline, unused)) lane_shape lane_shape_of(const fc_part *part) {
    lane_shape shape = lane_shape_of_groups(part);
    if (lane_spans(part, &shape)) {
        shape.kind = LANES_PERMUTED;
        shape.spans = true;
        shape.blocks = (part->problem.out_ch + VL - 1) / VL;
        for (shape.period = part->group_out_ch; shape.period % 2 == 0;) /* VL is a power of two */
            shape.period /= 2;
    }
    return shape;
}

FC_INLINE int64_t lane_packed_count(const fc_part *part) {
    lane_shape shape = lane_shape_of(part);
    return shape.blocks * shape.slots * part->taps * VL;
}

typedef struct lane_block {
    int64_t first_out, count; /* output channels */
    int64_t first_in, in_count;
} lane_block;

FC_INLINE lane_block lane_block_at(const fc_part *part, const lane_shape *shape, int64_t index) {
    int64_t in = part->group_in_ch, out = part->group_out_ch;
    if (shape->spans) {
        int64_t first = index * VL, count = part->problem.out_ch - first, group = fc_quotient(first, out);
        count = count < VL ? count : VL;
        return (lane_block){first, count, group * in, (fc_quotient(first + count - 1, out) + 1 - group) * in};
    }
    int64_t major = shape->blocks_per_group == 1 ? index : fc_quotient(index, shape->blocks_per_group);
    int64_t group = major * shape->block_groups;
    int64_t groups = part->problem.groups - group;
    groups = groups < shape->block_groups ? groups : shape->block_groups;
    int64_t from = (index - major * shape->blocks_per_group) * VL;
    int64_t count = groups * out - from;
    return (lane_block){group * out + from, count < VL ? count : VL, group * in, groups * in};
}

static __attribute__((unused)) void lane_pack(const fc_part *part, const fc_weight_view *weight, real *to) {
    lane_shape shape = lane_shape_of(part);
    const fc_axis *axis = part->axis;
    const int64_t *s = weight->stride;
    bool slot_inside = shape.kind == LANES_ONE;
    int64_t outer = slot_inside ? axis[2].kernel : shape.slots, inner = slot_inside ? shape.slots : axis[2].kernel;
    int64_t outer_step = s[slot_inside ? 5 : 2], inner_step = s[slot_inside ? 2 : 5];
    for (int64_t b = 0; b < shape.blocks; b++) {
        lane_block block = lane_block_at(part, &shape, b);
        int64_t lane_at[VL];
        for (int64_t lane = 0; lane < block.count; lane++) {
            int64_t channel = block.first_out + lane, out = part->group_out_ch;
            lane_at[lane] = channel / out * s[0] + channel % out * s[1];
        }
        for (int64_t row = 0; row < shape.tap_rows; row++) {
            int64_t at_row = row / axis[1].kernel * s[3] + row % axis[1].kernel * s[4];
            for (int64_t i = 0; i < outer; i++)
                for (int64_t j = 0; j < inner; j++, to += VL) {
                    const real *from = (const real *)weight->data + at_row + i * outer_step + j * inner_step;
                    for (int64_t lane = 0; lane < VL; lane++)
                        to[lane] = lane < block.count ? from[lane_at[lane]] : 0;
                }
        }
    }
}

FC_INLINE vec lane_load(const lane_kind kind, const int whole, const stor *x, int64_t count, lane_index index) {
    vec loaded = whole ? v_loads(x) : v_loadsn(x, count);
    return kind == LANES_PLAIN ? loaded : v_permute(loaded, index);
}

/* LANE_PIXELS output pixels of a row, for one block of channels; or, of pixels whose taps lie inside x and that are
 * finished in registers, `runs` times as many. */
typedef struct lane_sweep {
    lane_kind kind;
    int64_t tap_rows, slots, taps, stride, dilation; /* taps, stride, dilation: along width */
    const stor *const *rows;  /* per row of taps, x's row: for pixels whose taps all lie inside x */
    const stor *const *table; /* else [row of taps][column]: each column's first channel, or zeros; or NULL */
    int64_t table_pitch, pixel_stride;
    int64_t at;               /* elements from those pointers to the block's first pixel and channel */
    int64_t in_count;         /* channels to load for plain and permuted lanes */
    const int32_t *lane_of;   /* [slot][lane], for permuted lanes */
    const real *weights;
    real *sums;               /* [pixel][lane] */
    bool finish;              /* bias, bounds and store straight from the registers */
    const real *bias;
    bool clamps;              /* the bounds are not infinite */
    fc_bounds bounds;
    stor *out;
    int64_t out_step, out_count, pixels, runs;
} lane_sweep;

FC_INLINE void lane_keep(const lane_sweep *s, const vec *acc) {
    FC_UNROLL_ALL for (int p = 0; p < LANE_PIXELS; p++)
        v_store(s->sums + p * VL, acc[p]);
}

/* Finishes and stores kept sums of less than VL channels. */
static __attribute__((noinline, unused)) void lane_store_part(const lane_sweep *s, int64_t run) {
    vec bias = s->bias != NULL ? v_loadn(s->bias, s->out_count) : v_set1((real)-0.0); /* x + -0 is x */
    vec low = v_set1(s->bounds.low), high = v_set1(s->bounds.high);
    stor *out = s->out + run * LANE_PIXELS * s->out_step;
    for (int64_t p = 0; p < s->pixels; p++, out += s->out_step) {
        vec y = v_add(v_load(s->sums + p * VL), bias);
        v_storesn(out, s->clamps ? v_min(high, v_max(low, y)) : y, s->out_count);
    }
}

/* Whether bodies that load whole vectors store parts of some from their registers: 1.06 to 1.15-fold at 3x3 under AVX2. */
#define LANE_STORES_PARTS (FC_ISA_IS >= 2 && !FC_IS_NARROW)

FC_INLINE void lane_store(const int whole, const lane_sweep *s, int64_t run, vec *acc) {
    const bool part = !whole || s->out_count < VL;
    if (!s->finish || (part && !(whole && LANE_STORES_PARTS))) {
        lane_keep(s, acc);
        if (s->finish)
            lane_store_part(s, run);
        return;
    }
    if (s->bias != NULL) {
        vec bias = part ? v_loadn(s->bias, s->out_count) : v_load(s->bias);
        FC_UNROLL_ALL for (int p = 0; p < LANE_PIXELS; p++)
            acc[p] = v_add(acc[p], bias);
    }
    if (s->clamps) { /* these would take the slots of FMAs */
        vec low = v_set1(s->bounds.low), high = v_set1(s->bounds.high);
        FC_UNROLL_ALL for (int p = 0; p < LANE_PIXELS; p++)
            acc[p] = v_min(high, v_max(low, acc[p]));
    }
    stor *out = s->out + run * LANE_PIXELS * s->out_step;
    FC_UNROLL_ALL for (int p = 0; p < LANE_PIXELS; p++) {
        if (p >= s->pixels)
            return;
        if (LANE_STORES_PARTS && part)
            v_storesn(out + p * s->out_step, acc[p], s->out_count);
        else
            v_stores(out + p * s->out_step, acc[p]);
    }
}

/* One value fills the lanes: each step is a weight vector times LANE_PIXELS broadcasts. */
FC_INLINE void lane_one_body(const int whole, const int table, const lane_sweep *s, int64_t run) {
    vec acc[LANE_PIXELS];
    FC_UNROLL_ALL for (int p = 0; p < LANE_PIXELS; p++)
        acc[p] = v_zero();
    const real *weights = s->weights;
    int64_t at = s->at + run * LANE_PIXELS * s->stride * s->pixel_stride;
    for (int64_t r = 0; r < s->tap_rows; r++)
        for (int64_t t = 0; t < s->taps; t++) {
            const stor *x[LANE_PIXELS];
            FC_UNROLL_ALL for (int p = 0; p < LANE_PIXELS; p++) {
                int64_t column = p * s->stride + t * s->dilation;
                x[p] = at + (table ? s->table[r * s->table_pitch + column] : s->rows[r] + column * s->pixel_stride);
            }
            for (int64_t slot = 0; slot < s->slots; slot++, weights += VL) {
                vec weight = v_load(weights);
                FC_UNROLL_ALL for (int p = 0; p < LANE_PIXELS; p++)
                    acc[p] = v_fma(weight, v_sets1(x[p] + slot), acc[p]);
            }
        }
    lane_store(whole, s, run, acc);
}

/* whole: VL elements may be loaded from each pixel, whatever those past the block's channels are: no lane that is stored
 * meets them. table: whether pixels come through the table. taps, stride: along width, when known here and undilated; else 0. */
FC_INLINE void lane_body(const lane_kind kind, const int whole, const int table, const int taps, const int stride,
                         const lane_sweep *s, int64_t run) {
    vec acc[LANE_PIXELS];
    FC_UNROLL_ALL for (int p = 0; p < LANE_PIXELS; p++)
        acc[p] = v_zero();
    const real *weights = s->weights;
    int64_t at = s->at + run * LANE_PIXELS * s->stride * s->pixel_stride;
    for (int64_t r = 0; r < s->tap_rows; r++) {
        const stor *const *columns = s->table + r * s->table_pitch;
        for (int64_t slot = 0; slot < s->slots; slot++) {
            const stor *row = table ? NULL : s->rows[r] + at;
            lane_index index = v_lanes(s->lane_of + slot * VL);
#define LANE_X(column)                                                                             \
    lane_load(kind, whole, table ? columns[column] + at : row + (column) * s->pixel_stride, s->in_count, index)
            if (taps) {
                vec weight[7];
                FC_UNROLL_ALL for (int t = 0; t < taps; t++)
                    weight[t] = v_load(weights + t * VL);
                FC_UNROLL_ALL for (int i = 0; i < (LANE_PIXELS - 1) * stride + taps; i++) {
                    vec x = LANE_X(i);
                    FC_UNROLL_ALL for (int p = 0; p < LANE_PIXELS; p++)
                        if (i - p * stride >= 0 && i - p * stride < taps)
                            acc[p] = v_fma(weight[i - p * stride], x, acc[p]);
                }
                weights += taps * VL;
            } else {
                for (int64_t t = 0; t < s->taps; t++, weights += VL) {
                    vec weight = v_load(weights);
                    FC_UNROLL_ALL for (int p = 0; p < LANE_PIXELS; p++)
                        acc[p] = v_fma(weight, LANE_X(p * s->stride + t * s->dilation), acc[p]);
                }
            }
#undef LANE_X
        }
    }
    lane_store(whole, s, run, acc);
}

#endif
