/* What the planar form of depthwise costs, x and out in cache. */
#ifndef FC_PLANAR_COST_H
#define FC_PLANAR_COST_H

#include "kernels/depthwise/planar_shape.h"

/* Of a row of outputs of a block besides its vectors: many channels of short rows take little else. */
#define ROW_CYCLES 2.8
/* Of a vector of rows of more than 8 that share what they load: each is asked for ahead. Of a vector for each group of
 * taps along height after the first: its sums leave the registers, and blocks are swept one by one. Of a row besides, for
 * each depth tap after the first: its sums stay, but its rows are found anew. */
#define WIDE_CYCLES 2.3
#define GROUP_CYCLES 7.0
#define DEPTH_CYCLES(height) ((height) == 1 ? 5.0 : 3.0)
/* Of a plane of x for each of outputs: bounds, masks and tables of its rows. Of each tile of a plane of outputs, which is
 * a column of blocks: its call. */
#define PLANE_CYCLES 100.0
#define TILE_CYCLES 50.0
#define CALL_CYCLES 800.0 /* tables and what all channels share */

/* Groups of taps along height that are swept one after the other. */
static int64_t height_groups(const fc_part *part) {
    int64_t groups = 0;
    for (int64_t left = part->axis[1].kernel; left > 0; left -= sweep_group(share_of(part), left))
        groups++;
    return groups;
}

/* Cycles that loads of a vector of outputs take longer because the rows behind a block of outputs outgrow L1. */
static double far_cycles(const fc_part *part, const fc_machine *machine, int64_t block_rows, double step) {
    int64_t pitch = copied_shape(part, part->block[STRIP]).row_pitch;
    double bytes = (double)(part->axis[0].kernel * rows_read(part, block_rows) * pitch) * sizeof(real);
    double far = 1 - (double)machine->l1d_bytes / bytes;
    double wait = sizeof(vec) * machine->vector_fma_rate[FC_PASTE(FC_ISA_, FC_ISA)] / 2 / machine->l2_rate - step;
    return far <= 0 || wait <= 0 ? 0 : far * wait * (double)part->taps;
}

/* Cycles of the planar form, x and out in cache. */
static double planar_cycles(const fc_part *part, const fc_machine *machine) {
    const fc_problem *p = &part->problem;
    const fc_axis *height = &part->axis[1], *width = &part->axis[2];
    bool mixed = channels_may_mix(part), narrow_rows = p->x_channels_last && p->in_ch > 1 && !mixed;
    bool in_place = SWEEP_MASKED && share_of(part) && width->pad_mode == FC_PAD_ZEROS && !narrow_rows;
    int64_t vectors = divide_up(width->out, VL);
    int64_t block = sweep_block_rows(share_of(part), dense_taps(width), height->out, vectors);
    double out_rows = (double)(part->axis[0].out * round_up(height->out, block));
    /* The tiles of wide rows are swept in one call: WIDE_CYCLES is theirs. */
    double tiles = vectors > 8 ? 1 : (double)divide_up(vectors, sweep_most_vecs((int)block));
    /* Vectors of wide kernels lie across two lines; a tap's weights and pointers serve eight sums of 16 registers, not
     * sixteen; at stride 2 each vector is drawn together from two. */
    int64_t plane_taps = height->kernel * width->kernel;
    double shared = plane_taps > 49 ? 0.78 : VL < 16 || plane_taps > 9 ? 0.7 : 0.67;
    double strided = plane_taps > 49 || plane_taps <= 9 ? 1.85 : VL < 16 ? 1.45 : 1.2;
    shared += height->kernel == 1 ? 0.25 : height->kernel == 2 || height->kernel == 4 ? 0.12 : 0; /* share little */
    double scattered = VL == 16 && height->kernel > 1 ? 1.3 : 0.95;
    double step = share_of(part) == 2 ? strided : share_of(part) ? shared : dense_taps(width) ? 1.0 : scattered;
    /* One row of few vectors has too few sums to hide the FMA's latency. */
    double sums = (double)(block * sweep_block_of((int)block, vectors).vecs), latency = 4.0 / sums;
    step = latency > step ? latency : step;
    /* A channel's outputs are stored one by one. */
    double apart = VL == 16 ? (p->in_ch == 1 ? 1.9 : 1.75) : p->in_ch == 1 ? 2.8 : 2.45;
    double narrow = apart * (double)width->out / (double)larger(vectors, 1);
    double store = p->out_channels_last && p->out_ch > 1 && !mixed ? narrow : 2.45;
    double wide = share_of(part) && vectors > 8 ? WIDE_CYCLES : 0;
    double groups = (double)(height_groups(part) - 1) * GROUP_CYCLES;
    double depth = (double)(part->axis[0].kernel - 1) * DEPTH_CYCLES(height->kernel);
    double far = share_of(part) ? 0 : far_cycles(part, machine, block, step);
    double inside = fc_cost_inside(&part->axis[0]) * fc_cost_inside(height); /* other rows are zeros in L1 */
    double taps = (double)part->taps * (0.55 + 0.45 * inside);
    double row = (double)vectors * (taps * step + wide + groups + far) + ROW_CYCLES * tiles + depth;
    /* Those behind taps that reach past a chunk are copied again for the next. */
    int64_t chunks = divide_up(height->out, part->block[CHUNK_ROWS]);
    int64_t read = (height->out - chunks) * height->stride + chunks * (fc_axis_reach(height) + 1);
    double in_rows = (double)(read * part->axis[0].kernel * part->axis[0].out);
    double values = (double)smaller(vectors * VL * width->stride, width->in);
    int64_t apart_by = copied_axis(part).stride * (p->x_channels_last ? p->in_ch : 1);
    double value = apart_by == 2 || apart_by == 4 ? 1.1 : 2.7; /* as fc_copy_run has vectors for them */
    double copy = narrow_rows || width->stride > 2 ? value * values : 5.2 * (double)(vectors * width->stride);
    double light = fc_cost_light(machine, FC_PASTE(FC_ISA_, FC_ISA));
    double copies = in_place ? 0 : light * in_rows * (copy + 13.0);
    double in_ch = (double)p->in_ch, out_ch = (double)p->out_ch, depths = (double)part->axis[0].out;
    store *= depths * (double)(height->out * vectors); /* rows past the last are summed, not stored */
    double swept = out_ch * (out_rows * row + store + depths * tiles * TILE_CYCLES);
    return CALL_CYCLES + swept + in_ch * (copies + depths * PLANE_CYCLES);
}

#endif
