/* How gemm_split cuts a part: the reduction into chunks of channels, the pixels into blocks, both into tiles.
 *
 * A step of the reduction is a pair of channels at one tap; pairs are ordered [chunk of channels][tap][pair]. A chunk
 * ends on a whole tile of TILE_PAIRS pairs, its tail zero in both operands. Everything here is a function of the
 * weights' shape but for the blocks of pixels, which are a function of the shapes.
 */
#ifndef FC_SPLIT_SHAPE_H
#define FC_SPLIT_SHAPE_H

#include "kernels/amx/split_cost.h"
#include "kernels/common/integers.h"
#include "kernels/common/padded_rows.h"

enum { SPLIT_CHUNK_CH = 0, SPLIT_LINE = 1, SPLIT_HEIGHT = 2, SPLIT_WIDTH = 3, SPLIT_AHEAD = 4,
       SPLIT_AT_USE = 5 }; /* of part->block */
enum {
    SPLIT_CHUNK_MOST = 320, /* products of one output in a chunk: 60 KB of columns for 32 pixels */
    SPLIT_PIXELS = 256,     /* of a block: for a line eight times that, half a megabyte of L2 */
    SPLIT_ROWS = 2 * TILE_SIDE, /* output channels of one block of tiles */
    SPLIT_SUMS_STEP = 2 * TILE_SIDE, /* its pixels: reals from one row of its sums to the next */
    SPLIT_UNIT = 2 * SPLIT_SUMS_STEP, /* pixels that one pass over the weights multiplies */
    SPLIT_AT_USE_BLOCKS = 2, /* of pixels at most that split weights again rather than have them packed */
};

FC_INLINE int split_parts(const fc_part *part) {
    return part->problem.precision == FC_PRECISION_HIGHEST ? 3 : part->problem.precision == FC_PRECISION_HIGH ? 2 : 1;
}

/* Whole tiles at every tap where there are channels enough, else as even as can be. */
FC_INLINE int64_t split_chunk_channels(const fc_part *part) {
    int64_t chunks = divide_up(part->reduction, SPLIT_CHUNK_MOST);
    int64_t channels = divide_up(part->group_in_ch, larger(chunks, 1));
    if (channels > 2 * TILE_PAIRS && channels < part->group_in_ch)
        return channels / (2 * TILE_PAIRS) * (2 * TILE_PAIRS);
    return round_up(channels, 2);
}

/* Tiles of one part that `channels` channels at every tap fill. */
FC_INLINE int64_t split_tiles(const fc_part *part, int64_t channels) {
    return divide_up(divide_up(channels, 2) * part->taps, TILE_PAIRS);
}
FC_INLINE int64_t split_chunks(const fc_part *part) { return divide_up(part->group_in_ch, split_chunk_channels(part)); }
FC_INLINE int64_t split_chunk_tiles(const fc_part *part) {
    return split_tiles(part, smaller(split_chunk_channels(part), part->group_in_ch));
}
FC_INLINE int64_t split_all_tiles(const fc_part *part) {
    int64_t channels = split_chunk_channels(part), whole = split_chunks(part) - 1;
    return whole * split_tiles(part, channels) + split_tiles(part, part->group_in_ch - whole * channels);
}

/* Of one group's weights in tiles. */
FC_INLINE double split_weight_bytes(const fc_part *part) {
    return (double)(divide_up(part->group_out_ch, TILE_SIDE) * split_all_tiles(part) * split_parts(part) * TILE_DWORDS) *
           sizeof(real);
}

/* A pointwise part without stride or padding: its pixels are one line, across rows and planes. */
FC_INLINE bool split_is_line(const fc_part *part) {
    for (int axis = 0; axis < FC_MAX_SPATIAL; axis++) {
        const fc_axis *a = &part->axis[axis];
        if (a->kernel != 1 || a->stride != 1 || a->pad_before != 0 || a->in != a->out)
            return false;
    }
    return true;
}

/* One block of pixels: `count` of them from `first` on, in the order of the part's pixels. */
typedef struct split_block {
    int64_t first, count;
    int64_t depth, row, rows, column, columns; /* not for a line */
} split_block;

FC_INLINE int64_t split_blocks(const fc_part *part) {
    int64_t width = part->block[SPLIT_LINE] ? part->out_pixels : part->axis[2].out;
    int64_t across = divide_up(width, part->block[SPLIT_WIDTH]);
    if (part->block[SPLIT_LINE])
        return across;
    return part->axis[0].out * divide_up(part->axis[1].out, part->block[SPLIT_HEIGHT]) * across;
}

/* Blocks are whole rows of one plane, or a piece of one row; never chosen by the machine or by the threads, because a
 * value that the tiles cannot multiply sends its block another way. The machine says only whether L2 keeps the weights,
 * or they are asked for ahead. */
static void split_prepare(fc_part *part, const fc_machine *machine) {
    int64_t *block = part->block;
    block[SPLIT_CHUNK_CH] = split_chunk_channels(part);
    block[SPLIT_LINE] = split_is_line(part);
    int64_t width = block[SPLIT_LINE] ? part->out_pixels : part->axis[2].out;
    int64_t height = block[SPLIT_LINE] ? 1 : part->axis[1].out;
    if (width > SPLIT_PIXELS) { /* pieces of a row, alike */
        int64_t pieces = divide_up(width, SPLIT_PIXELS);
        block[SPLIT_WIDTH] = round_up(divide_up(width, pieces), SPLIT_SUMS_STEP);
        block[SPLIT_HEIGHT] = 1;
    } else {
        int64_t rows = larger(SPLIT_PIXELS / larger(width, 1), 1);
        block[SPLIT_WIDTH] = larger(width, 1);
        block[SPLIT_HEIGHT] = larger(divide_up(height, larger(divide_up(height, rows), 1)), 1);
    }
    bool streams = machine != NULL && split_weight_bytes(part) > (double)machine->l2_bytes;
    block[SPLIT_AT_USE] = part->problem.pack_per_call && split_blocks(part) <= SPLIT_AT_USE_BLOCKS;
    block[SPLIT_AHEAD] = streams && !block[SPLIT_AT_USE];
}

FC_INLINE split_block split_block_at(const fc_part *part, int64_t index) {
    int64_t width = part->block[SPLIT_WIDTH], height = part->block[SPLIT_HEIGHT];
    split_block b = {.rows = 1};
    if (part->block[SPLIT_LINE]) {
        b.first = index * width;
        b.count = b.columns = smaller(width, part->out_pixels - b.first);
        return b;
    }
    int64_t out_h = part->axis[1].out, out_w = part->axis[2].out;
    int64_t across = divide_up(out_w, width), down = divide_up(out_h, height);
    b.column = index % across * width;
    b.columns = smaller(width, out_w - b.column);
    b.row = index / across % down * height;
    b.rows = smaller(height, out_h - b.row);
    b.depth = index / across / down;
    b.first = (b.depth * out_h + b.row) * out_w + b.column;
    b.count = b.rows * b.columns;
    return b;
}

/* Padded rows a block reads at one depth tap, each kept once: those of its rows and taps, where they are the same for
 * many, or else one for each pair of output row and tap. */
typedef struct split_slots {
    bool shared;
    int64_t count;
} split_slots;

FC_INLINE split_slots split_row_slots(const fc_part *part, int64_t rows) {
    const fc_axis *height = &part->axis[1];
    int64_t span = (rows - 1) * height->stride + fc_axis_reach(height) + 1, apart = rows * height->kernel;
    return (split_slots){span <= apart, smaller(span, apart)};
}
FC_INLINE int64_t split_slot(const fc_part *part, const split_slots *slots, int64_t row, int64_t tap) {
    const fc_axis *height = &part->axis[1];
    return slots->shared ? row * height->stride + tap * height->dilation : row * height->kernel + tap;
}

#endif
