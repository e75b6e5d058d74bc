/* What direct costs: its windows, the tiles with their runs of taps, the stores. */
#ifndef FC_DIRECT_COST_H
#define FC_DIRECT_COST_H

#include "cost.h"
#include "kernels/direct/direct_shape.h"

/* Cycles of a task besides its windows and tiles: bounds, misses, fewer where x is read in place; of a run of taps in a
 * task's tables; of a tile and of each of its runs of taps besides their steps, and of a run for each sum, whose register
 * may move; of a tile that is added up span by span, of each of its runs, which are looked through, of each span, and of one
 * where taps count for parts of a piece of a row. */
#define TASK_CYCLES 810.0
#define PLACE_CYCLES 300.0
#define TABLE_CYCLES 16.0
#define TILE_CYCLES 17.0
#define RUN_CYCLES (SEGMENT >= 7 ? 7.5 : 8.5)
#define SUM_CYCLES 0.12
#define MIXED_CYCLES 150.0
#define SELECT_CYCLES 10.0
#define SPAN_CYCLES 89.0
#define PIECE_CYCLES 40.0
/* Of a run that counts for all but a pixel or two of a tile's rows. */
#define FEW_CYCLES 40.0
/* As long as a line takes that nothing asks for ahead, in bytes of a stream. */
#define LINE_BYTES_MISSED 140.0

/* Whether all tiles are those of tile_tap_square, where a step costs no pointers. */
static bool tiles_square(const fc_part *part) {
    return part->group_in_ch == SQUARE && round_up(part->group_out_ch, VL) == SQUARE && (int)BLOCK_LANES >= (int)SQUARE &&
           part->axis[2].stride == 1 && part->axis[2].out % SEGMENT == 0;
}

/* What tiles do for each of their outputs' sums: steps (one input channel of one tap), runs of them, chunks. */
typedef struct tile_work {
    double steps, tap_runs, chunks, mixed;
    double span_cycles;   /* of such a tile's taps, besides */
    double few_cycles;    /* of taps whose sums leave out a pixel or two in registers */
    double mixed_share;   /* fc_cost_mixed */
    double weight_cycles; /* least of a step's, for a vector of weights that L1 does not keep */
    bool square;
} tile_work;

/* Cycles of the tiles of a row of `columns` pixels and `vecs` vectors of channels, cut as run() cuts it. */
static double row_cycles(int64_t columns, int64_t runs, int64_t vecs, const tile_work *work) {
    int64_t segments = divide_up(columns, segment_of(vecs));
    double cycles = 0;
    for (int wide = 0; wide < 2; wide++) {
        int64_t count = wide ? columns % segments : segments - columns % segments;
        double pixels = (double)(runs * (columns / segments + wide)), sums = pixels * (double)vecs;
        double fma = sums / 2, loads = (pixels + (double)vecs) / 2;
        double issue = work->square ? 0 : (pixels * (double)(vecs + 1) + (double)vecs + 4) / 4;
        double most = fma > loads ? fma : loads;
        most = most > issue ? most : issue;
        most = most > TILE_LATENCY ? most : TILE_LATENCY;
        double stream = (double)vecs * work->weight_cycles;
        most = most > stream ? most : stream;
        double rest = work->chunks * TILE_CYCLES + work->mixed * (work->chunks * MIXED_CYCLES + work->span_cycles) +
                      work->few_cycles + work->tap_runs * (RUN_CYCLES + SUM_CYCLES * sums);
        cycles += (double)count * (work->steps * most / 0.97 + work->mixed_share * rest) / (double)runs;
    }
    return cycles;
}

/* Blocks that tasks are made of, in one group. */
static int64_t block_count(const fc_part *part, const int64_t *block) {
    return part->axis[0].out * divide_up(part->axis[1].out, block[ROWS]) * divide_up(part->axis[2].out, block[COLUMNS]) *
           divide_up(round_up(part->group_out_ch, VL), block[LANES]);
}

/* The share of a window's positions that lie inside x, where it has more: zeros take a fifth of a value's time. */
static double positions_inside(const fc_part *part) {
    padding_skip skip = skip_of(part);
    double share = 1;
    for (int i = 0; i < FC_MAX_SPATIAL; i++) {
        const fc_axis *axis = &part->axis[i];
        double extent = (double)((axis->out - 1) * axis->stride + (axis->kernel - 1) * axis->dilation + 1);
        share *= skip.axis[i] || (double)axis->in >= extent ? 1 : (double)axis->in / extent;
    }
    return 0.2 + 0.8 * share;
}

/* Whether tiles read x where it lies, if without gaps: reads_in_place of direct.c. */
static bool reads_in_place_dense(const fc_part *part) {
    return part->problem.x_channels_last && part->taps == 1 && !FC_IS_NARROW && step_in_place(part, part->problem.in_ch);
}

/* Cycles to load every window once: a block of output channels past the first loads them again. */
static double window_cycles(const fc_part *part, const fc_machine *machine) {
    if (reads_in_place_dense(part))
        return 0;
    fc_part blocked = *part;
    prepare(&blocked, machine);
    const int64_t *block = blocked.block;
    int64_t tasks = block_count(part, block);
    double positions = (double)window_elements(&blocked, block[ROWS], block[COLUMNS]) /
                       (double)pixel_pitch(block[CHANNELS]);
    positions *= positions_inside(part);
    double channels = (double)part->group_in_ch, vectors = channels / VL;
    double chunks = (double)divide_up(part->group_in_ch, block[CHANNELS]);
    bool single = !part->problem.x_channels_last && part->group_in_ch == 1; /* dense too */
    bool whole_rows = channels < 16 && (part->problem.groups == 1 || single);
    double dense = whole_rows ? channels / 10 : chunks * 3 + vectors * 4.45; /* one run, or a few vectors a pixel */
    if (whole_rows && part->axis[2].stride > 1)
        dense += 3;
    double turned = channels <= 4 ? channels * 2 : 9.3 * (vectors < 1 ? 1 : vectors); /* squares, or one by one */
    bool strided = window_axis_of(&part->axis[2], 0, 2, false).unit > 1;
    window_axis across = window_axis_of(&part->axis[2], 0, block[COLUMNS], skip_of(part).axis[2]);
    bool apart = across.tap_pitch < across.dilation; /* runs as long as the outputs of one tap */
    bool joined = !apart && across.unit == 1 && across.count == part->axis[2].in; /* whole planes are one run */
    double run = joined ? positions : (double)(apart ? across.reach : across.count);
    dense += 29 / run, turned += 29 / run * (1 + vectors);
    if (strided || (apart && across.reach <= 2))
        turned = channels * 1.9 + 60 / run * fc_cost_inside(&part->axis[0]) * fc_cost_inside(&part->axis[1]); /* rows of x */
    bool is_dense = part->problem.x_channels_last || (single && !strided);
    return (double)tasks * positions * (is_dense ? dense : turned);
}

/* The share of the products that multiply no padding zero, where these are left out. */
static double products_kept(const fc_part *part) {
    padding_skip skip = skip_of(part);
    double kept = 1;
    for (int i = 0; i < FC_MAX_SPATIAL; i++) {
        double share = skip.axis[i] ? fc_cost_inside(&part->axis[i]) : 1;
        kept *= i == 2 ? share + (1 - share) / SEGMENT : share; /* along a row, spans shorter than a tile */
    }
    return kept;
}

/* Runs of taps that each tile walks in a chunk: those of a row of the kernel are one where they lie next to each other in
 * the window. */
static double tap_runs(const fc_part *part) {
    window_axis across = window_axis_of(&part->axis[2], 0, part->axis[2].out, false);
    bool whole_rows = chunk_channels(part) < 32 && across.tap_pitch == 1 && !skip_of(part).axis[2];
    return (double)part->taps / (double)(whole_rows ? part->axis[2].kernel : 1);
}

/* Cycles of tasks besides windows and tiles. */
static double task_cycles(const fc_part *part, const fc_machine *machine) {
    fc_part blocked = *part;
    prepare(&blocked, machine);
    double chunks = (double)divide_up(part->group_in_ch, blocked.block[CHANNELS]);
    double task = reads_in_place_dense(part) ? PLACE_CYCLES : TASK_CYCLES;
    return (double)block_count(part, blocked.block) * (task + TABLE_CYCLES * tap_runs(part) * chunks);
}

/* The share of pairs of rows of which some tap counts for one alone: their tiles are added up span by span, where pieces of
 * rows have no two tiles that could go together instead. */
static double mixed_pairs(const fc_part *part) {
    const fc_axis *axis = &part->axis[1];
    int64_t mixed = 0, last = -1;
    if (!skip_of(part).axis[1] || axis->out < 2)
        return 0;
    for (int64_t k = 0; k < axis->kernel; k++) {
        int64_t edge[2];
        outputs_inside(axis, 0, axis->out, k, &edge[0], &edge[1]);
        for (int i = 0; i < 2; i++)
            if (edge[i] % 2 && edge[i] < axis->out && edge[0] < edge[1])
                mixed += edge[i] / 2 != last, last = edge[i] / 2;
    }
    double pairs = (double)divide_up(axis->out, 2), share = (double)mixed / pairs;
    return share < 1 ? share : 1;
}

/* Whether blocks are one row each, of tensors without gaps: rows_are_one of direct.c. */
static bool rows_are_one_dense(const fc_part *part) {
    bool dense_rows = part->axis[1].stride == 1 && part->axis[2].stride == 1;
    return part->taps == 1 && (!reads_in_place_dense(part) || dense_rows);
}

/* The pieces of a row (cut_rows), and the shares of its columns in those of which some tap counts for a part, of which a tap
 * counts for all but one or two that a tile leaves out, and that are one tile; as the first MOST_TAPS say. */
typedef struct row_pieces {
    int64_t count, columns[MOST_CUTS + 1];
    double mixed, few, single; /* single: of one tile */
} row_pieces;

static row_pieces row_pieces_of(const fc_part *part) {
    enum { MOST_TAPS = 64 };
    const fc_axis *axis = &part->axis[2];
    tap_run run[MOST_TAPS];
    chunk_taps chunk = {.run = run, .count = smaller(axis->kernel, MOST_TAPS)};
    row_pieces pieces = {.count = 1, .columns = {axis->out * (rows_are_one_dense(part) ? part->axis[1].out : 1)}};
    pieces.single = pieces.columns[0] <= SEGMENT;
    if (!skip_of(part).axis[2])
        return pieces;
    pieces.single = 0;
    for (int64_t k = 0; k < chunk.count; k++)
        outputs_inside(axis, 0, axis->out, k, &run[k].column_begin, &run[k].column_end);
    cut_rows(&chunk, axis->out);
    pieces.count = chunk.cuts;
    for (int64_t piece = 0; piece < chunk.cuts; piece++) {
        int64_t begin = chunk.cut[piece], end = chunk.cut[piece + 1], few = 0;
        int64_t most = (end - begin) / divide_up(end - begin, SEGMENT) > 2 ? 2 : 0; /* that a tile leaves out */
        double share = (double)(end - begin) / (double)axis->out;
        bool parts = false;
        for (int64_t k = 0; k < chunk.count; k++) {
            int64_t left_out = larger(run[k].column_begin - begin, 0) + larger(end - run[k].column_end, 0);
            parts |= left_out > most && left_out < end - begin;
            few += left_out > 0 && left_out <= most && left_out < end - begin;
        }
        pieces.columns[piece] = end - begin;
        pieces.mixed += parts ? share : 0;
        pieces.single += end - begin <= SEGMENT ? share : 0;
        pieces.few += share * (double)few / (double)chunk.count;
    }
    return pieces;
}

/* Cycles of a row's tiles of `vecs` vectors of channels. */
static double pieces_cycles(const row_pieces *pieces, int64_t runs, int64_t vecs, const tile_work *work) {
    double cycles = 0;
    for (int64_t piece = 0; piece < pieces->count; piece++)
        cycles += row_cycles(pieces->columns[piece], runs, vecs, work);
    return cycles;
}

/* x and out, and the lines that groups of channels which end no vector leave to their stores to find: groups come to a
 * pixel one after the other, when L2 may have lost it. */
static double traffic_seconds(const fc_part *part, const fc_machine *machine) {
    bool ragged = part->group_out_ch % VL != 0 && part->problem.groups > 1;
    double visits = ragged && part->problem.out_channels_last ? (double)(part->out_pixels * part->problem.groups) : 0;
    double missed = visits * fc_cost_beyond_l2(part, machine) * LINE_BYTES_MISSED / fc_cost_far_rate(part, machine);
    /* Those of one call: cost.c. */
    double weights = part->problem.pack_per_call ? 0 : fc_cost_weights((double)packed_bytes(part), machine);
    fc_part blocked = *part; /* every block of pixels reads them all */
    prepare(&blocked, machine);
    weights *= (double)(part->axis[0].out * divide_up(part->axis[1].out, blocked.block[ROWS]) *
                        divide_up(part->axis[2].out, blocked.block[COLUMNS]));
    return fc_cost_traffic(part, machine) + missed + weights;
}

static FC_COLD double seconds(const fc_part *part, const fc_machine *machine) {
    double groups = (double)part->problem.groups, reduction = (double)part->reduction;
    double rows = (double)(part->axis[0].out * part->axis[1].out), pixels = (double)part->out_pixels;
    int64_t vectors = divide_up(part->group_out_ch, VL), pairs = vectors / BLOCK_VECS;
    if (part->out_pixels == 0)
        return 0;
    double chunks = (double)divide_up(part->group_in_ch, chunk_channels(part)), kept = products_kept(part);
    double lane_weights = (double)(chunk_channels(part) * part->taps * BLOCK_LANES) * sizeof(real);
    double clock = machine->vector_fma_rate[FC_PASTE(FC_ISA_, FC_ISA)] / 2;
    double mixed_share = fc_cost_mixed(machine, FC_PASTE(FC_ISA_, FC_ISA));
    row_pieces pieces = row_pieces_of(part);
    double rows_whole = 1 - mixed_pairs(part) * pieces.single;
    double tile_rows = rows_are_one_dense(part) ? (double)part->axis[0].out : rows;
    int64_t runs = tile_rows > 1 || pieces.columns[0] > SEGMENT ? 2 : 1;
    double columns_whole = 1 - pieces.mixed * (SEGMENT >= 7 ? 1 : 0.4); /* short tiles have all of a tap or none */
    double tap_count = tap_runs(part) * chunks * kept, spans = tap_count;
    if (columns_whole == 1) /* the taps of a row of the kernel count for the same pixels */
        spans = chunks * kept * (double)(part->axis[0].kernel * part->axis[1].kernel);
    tile_work work = {reduction * kept, tap_count, chunks, 1 - rows_whole * columns_whole,
                      SELECT_CYCLES * tap_count + (SPAN_CYCLES + (columns_whole < 1 ? PIECE_CYCLES : 0)) * spans,
                      FEW_CYCLES * tap_count * pieces.few, mixed_share, 0, tiles_square(part)};
    if (lane_weights > (double)machine->l1d_bytes / 2)
        work.weight_cycles = sizeof(vec) * clock / machine->l2_rate;
    double tile = tile_rows * (double)pairs * pieces_cycles(&pieces, runs, BLOCK_VECS, &work);
    if (vectors % BLOCK_VECS)
        tile += tile_rows * pieces_cycles(&pieces, runs, 1, &work);
    /* Each row is turned around to leave by channels, short ones together: much of the time of a group of few channels. A
     * single channel takes as long in either layout. */
    bool by_channel = part->problem.out_channels_last && part->problem.out_ch > 1;
    double turned_rows = tile_rows / (double)larger(GROUP_PIXELS / larger(pieces.columns[0], 1), 1);
    double turn = by_channel ? 0 : (VL == 16 ? 31 : 39) * turned_rows * (double)(pairs + vectors % BLOCK_VECS);
    double squares = by_channel ? 0 : (double)round_up(part->out_pixels, VL) * (VL == 16 ? 8.2 : 4.5);
    double store = (double)vectors * (pixels * (VL == 16 ? 2.3 : 2.2) * chunks + squares);
    /* Parts of vectors of channels go out one by one, or through masks; what they begin lies across lines. */
    bool ragged = by_channel && part->group_out_ch % VL != 0;
    store += ragged ? (FC_IS_NARROW ? 4.55 : 2.0 * (double)vectors - 0.5) * pixels : 0;
    double around = mixed_share * (window_cycles(part, machine) + task_cycles(part, machine));
    double cycles = groups * (tile + around + store + turn);
    double at_use = images_pack_at_use(part, 1) ? fc_at_use_seconds(part, machine) : 0; /* whatever the batch */
    return cycles / clock + traffic_seconds(part, machine) + fc_cost_passes(part, machine) + at_use;
}

#endif
