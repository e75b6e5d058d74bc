/* The columns of pixels for one chunk of channels, split and in tiles:
 *
 *     columns[tile of 16 pixels][tile of 16 pairs][part][pair][pixel][2]  bfloat16
 *
 * Pointwise parts split x straight into that, a block of pixels at a time. Others split each padded row of x once for
 * the block, keeping the phases of a stride apart (common/padded_rows.h),
 *     rows[depth tap][slot][pair][part][pixel][2]
 * and copy from there for every tap, 32 pixels at a time, so that the columns stay close to L1.
 * Bound: the vector unit, about 26 instructions for a split of 2 x 16 values; for copies of 16 pairs the stores, two or
 * three cycles each, since columns and rows share L1.
 */
#ifndef FC_SPLIT_COLUMNS_H
#define FC_SPLIT_COLUMNS_H

#include "kernels/amx/split_shape.h"
#include "kernels/common/transpose.h"

enum { SPLIT_BATCH = 2 * TILE_PAIRS }; /* channels whose rows are copied at a time */

/* Scratch of a task, all 64-byte aligned. */
typedef struct split_scratch {
    real *columns, *rows, *plain, *sums;
} split_scratch;

/* Where the split halves of one pair go: vector v of part p at to + v * vector_step + p * part_step. */
static __attribute__((noinline)) tile_magnitude split_run(const real *even, const real *odd, int64_t count, int parts,
                                                          real *to, int64_t vector_step, int64_t part_step,
                                                          tile_magnitude seen) {
    for (int64_t i = 0; i < count; i += VL, to += vector_step) {
        int64_t n = count - i;
        vec low = n >= VL ? v_load(even + i) : v_loadn(even + i, n);
        vec high = odd == NULL ? v_zero() : n >= VL ? v_load(odd + i) : v_loadn(odd + i, n);
        seen = tile_see(tile_see(seen, low), high);
        switch (parts) {
        case 3:
            tile_split_pairs(low, high, 3, to, part_step);
            break;
        case 2:
            tile_split_pairs(low, high, 2, to, part_step);
            break;
        default:
            tile_split_pairs(low, high, 1, to, part_step);
        }
    }
    return seen;
}

/* Vectors of zeros over `count` reals, rounded up. */
FC_INLINE void split_zero(real *to, int64_t count) {
    for (int64_t i = 0; i < count; i += VL)
        v_store(to + i, v_zero());
}

/* Pair `pair` of a tile of pixels, part 0. */
FC_INLINE int64_t split_pair_place(int64_t pair, int parts) {
    return pair / TILE_PAIRS * parts * TILE_DWORDS + pair % TILE_PAIRS * TILE_SIDE;
}

/* Zeros for the pairs from `pairs` on: 0 * anything would do but for NaN. */
static void split_zero_tail(real *columns, int64_t pairs, int64_t tiles, int64_t pixel_tiles, int parts) {
    for (int64_t pair = pairs; pair < tiles * TILE_PAIRS; pair++)
        for (int64_t t = 0; t < pixel_tiles; t++)
            for (int part = 0; part < parts; part++)
                v_store(columns + t * tiles * parts * TILE_DWORDS + split_pair_place(pair, parts) + part * TILE_DWORDS,
                        v_zero());
}

/* Whether the image's pixels, in order, are equally far apart. */
FC_INLINE bool split_pixels_join(const fc_part *part, const fc_tensor *x) {
    int64_t row = part->axis[2].in * x->stride[4], plane = part->axis[1].in * row;
    return (part->axis[1].in == 1 || x->stride[3] == row) && (part->axis[0].in == 1 || x->stride[2] == plane);
}

/* Where `pixels` of a line from `first` of the block on lie, channels apart by *step: in x, or copied to s->plain. */
static const real *split_line_batch(const fc_call *call, int64_t n, int64_t group, int64_t first, int64_t pixels,
                                    int64_t channel, int64_t channels, const split_scratch *s, int64_t *step) {
    const fc_tensor *x = &call->tensors.x;
    const real *from = (const real *)x->data + n * x->stride[0] +
                       (group * call->part->group_in_ch + channel) * x->stride[1] + first * x->stride[4];
    bool join = split_pixels_join(call->part, x);
    if (join && x->stride[4] == 1) {
        *step = x->stride[1];
        return from;
    }
    *step = round_up(pixels, VL);
    if (join && x->stride[1] == 1)
        fc_transpose_x(from, x->stride[4], pixels, channels, s->plain, *step);
    else
        fc_load_columns(call, n, group, first, pixels, channel, channel + channels, *step, s->plain);
    return s->plain;
}

/* A line: the block's pixels of channels [begin, end) of the group. Channels-last pixels are read a few at a time, with
 * all of their channels, which follow one another. */
static tile_magnitude split_line(const fc_call *call, int64_t n, int64_t group, const split_block *block, int64_t begin,
                                 int64_t end, const split_scratch *s) {
    const fc_part *part = call->part;
    int parts = split_parts(part);
    int64_t tiles = split_tiles(part, end - begin), pixel_step = tiles * parts * TILE_DWORDS, step;
    int64_t most = call->tensors.x.stride[4] == 1 ? block->count : SPLIT_SUMS_STEP;
    tile_magnitude seen = tile_no_magnitude();
    split_zero_tail(s->columns, divide_up(end - begin, 2), tiles, divide_up(block->count, TILE_SIDE), parts);
    for (int64_t first = 0; first < block->count; first += most)
        for (int64_t c = begin; c < end; c += SPLIT_BATCH) {
            int64_t channels = smaller(SPLIT_BATCH, end - c), pixels = smaller(most, block->count - first);
            const real *batch = split_line_batch(call, n, group, block->first + first, pixels, c, channels, s, &step);
            real *to = s->columns + first / TILE_SIDE * pixel_step;
            for (int64_t i = 0; i < channels; i += 2)
                seen = split_run(batch + i * step, i + 1 < channels ? batch + (i + 1) * step : NULL, pixels, parts,
                                 to + split_pair_place((c - begin + i) / 2, parts), pixel_step, TILE_DWORDS, seen);
        }
    return seen;
}

/* Split rows of one part are this far apart: a split may write a vector past its end. */
FC_INLINE int64_t split_pitch(const fc_row_shape *shape) { return shape->row_pitch + VL; }

/* Two rows of x without stride and zeros around them: split where they lie. */
static tile_magnitude split_dense_row(const fc_axis *width, const fc_run_source *run, const real *even, const real *odd,
                                      int parts, real *to, int64_t pitch, tile_magnitude seen) {
    int64_t offset = run->q + run->begin - width->pad_before, count = run->end - run->begin;
    int64_t written = run->begin + round_up(count, VL);
    for (int part = 0; part < parts; part++) {
        split_zero(to + part * pitch, run->begin);
        split_zero(to + part * pitch + written, run->count - written);
    }
    return split_run(even + offset, odd == NULL ? NULL : odd + offset, count, parts, to + run->begin, VL, pitch, seen);
}

/* Every other value of a dense row, for a kernel one wide; `spare` takes the values between. */
static void split_even_row(const fc_axis *width, const real *row, int64_t first, int64_t columns, real *to,
                           real *spare) {
    fc_run_source run = fc_phase_run(width, 0, first, columns), between = fc_phase_run(width, 1, first, columns);
    fc_copy_row_by_pairs(width, &run, &between, row, to, spare);
}

/* Rows of up to SPLIT_BATCH channels into plain[channel][row_pitch]. */
static void split_copy_rows(const fc_axis *width, const fc_row_shape *shape, const fc_tensor *x, const real *row,
                            int64_t channels, const split_block *block, real *plain) {
    if (x->stride[1] == 1 && x->stride[4] != 1) {
        fc_turn_row(width, shape, row, x->stride[4], channels, block->column, block->columns, plain, shape->row_pitch);
        return;
    }
    if (width->stride == 2 && shape->phases == 1 && x->stride[4] == 1) {
        for (int64_t c = 0; c < channels; c++)
            split_even_row(width, row + c * x->stride[1], block->column, block->columns, plain + c * shape->row_pitch,
                           plain + channels * shape->row_pitch + VL);
        return;
    }
    const real *sources[SPLIT_BATCH];
    for (int64_t c = 0; c < channels; c++)
        sources[c] = row + c * x->stride[1];
    fc_copy_rows(width, shape, sources, channels, x->stride[4], block->column, block->columns, plain);
}

/* The row of x that starts at `row` (NULL: zeros), `channels` of them, split into to[pair][part][split_pitch]. */
static tile_magnitude split_row(const fc_call *call, const fc_row_shape *shape, const real *row, int64_t channels,
                                const split_block *block, real *plain, real *to, tile_magnitude seen) {
    const fc_axis *width = &call->part->axis[2];
    const fc_tensor *x = &call->tensors.x;
    int parts = split_parts(call->part);
    int64_t pitch = split_pitch(shape), pair_step = parts * pitch;
    if (row == NULL) {
        split_zero(to, divide_up(channels, 2) * pair_step);
        return seen;
    }
    if (width->stride == 1 && x->stride[4] == 1 && width->pad_mode == FC_PAD_ZEROS) {
        fc_run_source run = fc_phase_run(width, 0, block->column, block->columns);
        for (int64_t c = 0; c < channels; c += 2, to += pair_step)
            seen = split_dense_row(width, &run, row + c * x->stride[1],
                                   c + 1 < channels ? row + (c + 1) * x->stride[1] : NULL, parts, to, pitch, seen);
        return seen;
    }
    for (int64_t c = 0; c < channels; c += SPLIT_BATCH) {
        int64_t some = smaller(SPLIT_BATCH, channels - c);
        split_copy_rows(width, shape, x, row + c * x->stride[1], some, block, plain);
        for (int64_t i = 0; i < some; i += 2, to += pair_step)
            for (int64_t phase = 0; phase < shape->phases; phase++) {
                const real *even = plain + i * shape->row_pitch + phase * shape->phase_pitch;
                int64_t count = fc_phase_run(width, phase, block->column, block->columns).count;
                seen = split_run(even, i + 1 < some ? even + shape->row_pitch : NULL, count, parts,
                                 to + phase * shape->phase_pitch, VL, pitch, seen);
            }
    }
    return seen;
}

/* Whether some row of the block reads padded row `q` of its span at some tap. */
FC_INLINE bool split_slot_used(const fc_axis *height, int64_t rows, int64_t q) {
    for (int64_t tap = 0; tap < height->kernel; tap++) {
        int64_t from = q - tap * height->dilation;
        if (from >= 0 && from % height->stride == 0 && from / height->stride < rows)
            return true;
    }
    return false;
}

/* Every padded row the block reads, of channels [begin, end) of the group, into s->rows. */
static tile_magnitude split_rows(const fc_call *call, int64_t n, int64_t group, const split_block *block, int64_t begin,
                                 int64_t end, const split_scratch *s) {
    const fc_axis *axis = call->part->axis, *height = &axis[1];
    const fc_tensor *x = &call->tensors.x;
    const real *channel =
        (const real *)x->data + n * x->stride[0] + (group * call->part->group_in_ch + begin) * x->stride[1];
    fc_row_shape shape = fc_row_shape_of(&axis[2], block->columns);
    split_slots slots = split_row_slots(call->part, block->rows);
    int64_t slot_step = divide_up(end - begin, 2) * split_parts(call->part) * split_pitch(&shape);
    tile_magnitude seen = tile_no_magnitude();
    real *to = s->rows;
    for (int64_t kd = 0; kd < axis[0].kernel; kd++) {
        int64_t d = fc_axis_source(&axis[0], block->depth * axis[0].stride + kd * axis[0].dilation);
        for (int64_t slot = 0; slot < slots.count; slot++, to += slot_step) {
            int64_t q = slot;
            if (!slots.shared)
                q = slot / height->kernel * height->stride + slot % height->kernel * height->dilation;
            else if (!split_slot_used(height, block->rows, q))
                continue;
            int64_t h = fc_axis_source(height, block->row * height->stride + q);
            const real *row = d < 0 || h < 0 ? NULL : channel + d * x->stride[2] + h * x->stride[3];
            seen = split_row(call, &shape, row, end - begin, block, s->plain, to, seen);
        }
    }
    return seen;
}

/* Lanes [0, count) of every pair and part, from rows `pitch` apart, to a tile of pixels from `pair` on. */
FC_INLINE void split_copy(const real *from, int64_t pitch, int64_t pairs, const int parts, int64_t count, int64_t pair,
                          real *to) {
    to += split_pair_place(pair, parts);
    int64_t left = TILE_PAIRS - pair % TILE_PAIRS;
    for (int64_t p = 0; p < pairs; p++, from += parts * pitch, to += TILE_SIDE) {
        for (int part = 0; part < parts; part++) {
            if (count == VL)
                v_store(to + part * TILE_DWORDS, v_load(from + part * pitch));
            else
                v_storen(to + part * TILE_DWORDS, v_loadn(from + part * pitch, count), count);
        }
        if (--left == 0) {
            left = TILE_PAIRS;
            to += (parts - 1) * TILE_DWORDS;
        }
    }
}

/* Copies `run` pixels of one row at every tap. `rows` points at the block's row, `to` at the first pixel's lane. */
FC_INLINE void split_gather_run(const fc_part *part, const fc_row_shape *shape, const split_slots *slots,
                                const int parts, int64_t pairs, int64_t row, int64_t run, const real *rows, real *to) {
    int64_t pitch = split_pitch(shape), slot_step = pairs * parts * pitch;
    const fc_axis *axis = part->axis;
    int64_t pair = 0;
    for (int64_t kd = 0; kd < axis[0].kernel; kd++, rows += slots->count * slot_step)
        for (int64_t kh = 0; kh < axis[1].kernel; kh++) {
            const real *from = rows + split_slot(part, slots, row, kh) * slot_step;
            for (int64_t kw = 0; kw < axis[2].kernel; kw++, pair += pairs) {
                const real *lanes = from + fc_tap_shift(shape, &axis[2], kw);
                if (run == TILE_SIDE)
                    split_copy(lanes, pitch, pairs, parts, TILE_SIDE, pair, to);
                else
                    split_copy(lanes, pitch, pairs, parts, run, pair, to);
            }
        }
}

/* Fills the columns of `count` pixels of the block from pixel `first` of it on, from the split rows. */
static void split_gather(const fc_part *part, int64_t channels, const split_block *block, int64_t first, int64_t count,
                         const split_scratch *s) {
    int parts = split_parts(part);
    fc_row_shape shape = fc_row_shape_of(&part->axis[2], block->columns);
    split_slots slots = split_row_slots(part, block->rows);
    int64_t pairs = divide_up(channels, 2), tiles = split_tiles(part, channels);
    int64_t pixel_step = tiles * parts * TILE_DWORDS, pixel_tiles = divide_up(count, TILE_SIDE);
    if (count % TILE_SIDE) /* lanes that no pixel has */
        split_zero(s->columns + (pixel_tiles - 1) * pixel_step, pixel_step);
    split_zero_tail(s->columns, pairs * part->taps, tiles, pixel_tiles, parts);
    int64_t row = first / block->columns, column = first % block->columns, run;
    for (int64_t pixel = 0; pixel < count; pixel += run) {
        int64_t lane = pixel % TILE_SIDE;
        run = smaller(smaller(TILE_SIDE - lane, count - pixel), block->columns - column);
        real *to = s->columns + pixel / TILE_SIDE * pixel_step + lane;
        switch (parts) {
        case 3:
            split_gather_run(part, &shape, &slots, 3, pairs, row, run, s->rows + column, to);
            break;
        case 2:
            split_gather_run(part, &shape, &slots, 2, pairs, row, run, s->rows + column, to);
            break;
        default:
            split_gather_run(part, &shape, &slots, 1, pairs, row, run, s->rows + column, to);
        }
        column += run;
        if (column == block->columns)
            column = 0, row++;
    }
}

/* Splits what a block reads of channels [begin, end) of a group: rows, or for a line its columns. The largest magnitude
 * among those values, which are the outputs' windows and perhaps some beside them. */
static float split_load(const fc_call *call, int64_t n, int64_t group, const split_block *block, int64_t begin,
                        int64_t end, const split_scratch *s) {
    if (call->part->block[SPLIT_LINE])
        return tile_largest(split_line(call, n, group, block, begin, end, s));
    return tile_largest(split_rows(call, n, group, block, begin, end, s));
}

#endif
