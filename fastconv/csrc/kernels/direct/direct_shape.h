/* How direct cuts a part into blocks of outputs, and the window of x that a block reads. */
#ifndef FC_DIRECT_SHAPE_H
#define FC_DIRECT_SHAPE_H

#include "cost.h"
#include "kernels/common/integers.h"
#include "kernels/direct/pack.h"
#include "kernels/direct/taps.h"

enum { GROUP_PIXELS = (96 / (SEGMENT * VL) + 1) * SEGMENT * VL }; /* finished together: whole segments, whole vectors */
enum { CHANNELS = 0, ROWS = 1, COLUMNS = 2, LANES = 3, FETCHES = 4, PIXELS_FIRST = 5 }; /* of part->block */

/* Short chunks stay dense, so that the taps of a row are one run; longer ones get a pitch that spreads the
 * pixels of a tile over the sets of L1 and over the steps at which they reach a new line. */
static int64_t pixel_pitch(int64_t channels) { return channels < 32 ? channels : round_up(channels, 16) + 4; }

/* Of the last chunk too, which is shorter: the same everywhere. */
static padding_skip skip_of(const fc_part *part) { return padding_skip_of(part, chunk_channels(part)); }

/* The most elements of any block's window. */
static int64_t window_elements(const fc_part *part, int64_t rows, int64_t columns) {
    const int64_t outputs[FC_MAX_SPATIAL] = {1, rows, columns};
    padding_skip skip = skip_of(part);
    int64_t elements = pixel_pitch(part->block[CHANNELS]);
    for (int i = 0; i < FC_MAX_SPATIAL; i++) {
        window_axis axis = window_axis_of(&part->axis[i], 0, outputs[i], false);
        bool inside = skip.axis[i] && axis.tap_pitch == axis.dilation;
        elements *= inside ? smaller(axis.count, (part->axis[i].in - 1) / axis.unit + 1) : axis.count;
    }
    return elements;
}

/* Whether the groups of a block of pixels follow one another, rather than the blocks of a group: where channels come last, a
 * group's are pieces of lines, which would come from memory for each group. */
static bool pixels_first(const fc_part *part, const fc_machine *machine) {
    const fc_problem *p = &part->problem;
    double weights = (double)(round_up(part->group_out_ch, VL) * part->reduction * p->groups) * sizeof(real);
    return p->groups > 1 && (p->x_channels_last || p->out_channels_last) && fc_cost_leaves_l3(part, machine) &&
           weights < 0.25 * (double)machine->l2_bytes;
}

/* The block of pixels: as much of the map as keeps the window and the sums in L2, whole rows if possible. */
static void prepare(fc_part *part, const fc_machine *machine) {
    int64_t l2 = (int64_t)(machine->l2_bytes / sizeof(real));
    int64_t *block = part->block;
    block[CHANNELS] = chunk_channels(part);
    block[LANES] = smaller(round_up(part->group_out_ch, VL), 16 * BLOCK_LANES);
    int64_t lanes = block[CHANNELS] < part->group_in_ch ? block[LANES] : BLOCK_LANES;
    int64_t pixels = larger(l2 * 3 / 8 / lanes, 2 * SEGMENT);
    int64_t width = larger(part->axis[2].out, 1), height = larger(part->axis[1].out, 1);
    int64_t columns = smaller(width, pixels);
    while (columns > 2 * SEGMENT && window_elements(part, 1, columns) > l2 * 2 / 5)
        columns = divide_up(columns, 2);
    columns = divide_up(width, divide_up(width, columns));
    int64_t rows = smaller(height, larger(pixels / columns, 1));
    while (rows > 1 && window_elements(part, rows, columns) > l2 * 2 / 5)
        rows--;
    block[PIXELS_FIRST] = pixels_first(part, machine);
    if (block[PIXELS_FIRST]) {
        int64_t row = columns * part->problem.out_ch + part->axis[2].in * part->axis[1].stride * part->problem.in_ch;
        rows = smaller(rows, larger(l2 / 2 / row, 1));
    }
    rows = divide_up(height, divide_up(height, rows));
    if (rows > 1 && rows < height)
        rows += rows % 2; /* rows go in pairs */
    block[ROWS] = rows;
    block[COLUMNS] = columns;
    block[FETCHES] = fc_out_leaves_l2(part, machine);
}

/* Whether the tile's pixels, `channels` times the stride apart, keep out of each other's way in the sets of L1. */
static bool step_in_place(const fc_part *part, int64_t channels) {
    return part->axis[2].stride * channels * (int64_t)sizeof(real) <= 2048;
}

#endif
