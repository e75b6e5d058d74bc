/* Which products a block of outputs adds, and the tiles that add them.
 *
 * Products of padding zeros are left out wherever that pays: of a padded 3 x 3 kernel they are 18 % of the products on
 * a 7 x 7 map, and half of them with a dilation near the map's size. They are left out for each output by itself, never
 * for a tile, so an output's products and their order do not depend on how the outputs are cut; what is left out is
 * zero, as weights that are not finite are announced by weights_unsafe. A tile with outputs beyond some taps continues
 * its chains of sums over spans: runs of taps that count for the same of its pixels.
 */
#ifndef FC_DIRECT_TAPS_H
#define FC_DIRECT_TAPS_H

#include "kernels/common/integers.h"
#include "kernels/direct/tile.h"
#include "kernels/direct/window.h"

/* Steps of half a tile that make up for loading and storing its sums once more. */
enum { SPAN_STEPS = 100, MOST_CUTS = 14 };

/* Along which axes padding zeros are left out, for chunks of `channels`: a function of the part alone. */
static padding_skip padding_skip_of(const fc_part *part, int64_t channels) {
    int64_t vectors = part->group_out_ch > VL ? 2 : 1, steps = channels * vectors;
    bool zeros = !part->problem.weights_unsafe && part->taps > 1;
    padding_skip skip;
    for (int axis = FC_MAX_SPATIAL - 1; axis >= 0; axis--) {
        const fc_axis *a = &part->axis[axis];
        bool wide = 4 * a->dilation > a->out && steps >= VL; /* taps count for whole tiles or not at all */
        bool pays = steps >= SPAN_STEPS && (SEGMENT >= 7 || a->dilation > 1); /* a third of a short tile is no faster */
        skip.axis[axis] = zeros && a->pad_mode == FC_PAD_ZEROS && (axis == 0 || wide || pays);
        steps *= a->kernel;
    }
    return skip;
}

/* Outputs [*begin, *end) of `outputs` from `first` on whose tap k lies inside x. */
static void outputs_inside(const fc_axis *axis, int64_t first, int64_t outputs, int64_t k, int64_t *begin,
                           int64_t *end) {
    int64_t before = axis->pad_before - k * axis->dilation; /* inside: before <= o * stride < before + in */
    int64_t from = before <= 0 ? 0 : divide_up(before, axis->stride);
    int64_t to = before + axis->in <= 0 ? 0 : divide_up(before + axis->in, axis->stride);
    *begin = smaller(larger(from - first, 0), outputs);
    *end = smaller(larger(to - first, *begin), outputs);
}

/* The products of a block's outputs in one chunk of the reduction. */
typedef struct chunk_taps {
    tap_run *run, *selected; /* selected: room for those that count for one tile */
    int64_t count, length;
    int64_t pixel_step, row_step; /* elements of x between neighbouring outputs */
    int64_t row_begin, row_end, column_begin, column_end; /* outputs all runs count for */
    int64_t cuts, cut[MOST_CUTS + 2]; /* rows in pieces between the columns where taps begin or end to count */
    const real *x;
} chunk_taps;

static void add_tap(chunk_taps *chunk, tap_run run) {
    chunk->row_begin = larger(chunk->row_begin, run.row_begin);
    chunk->row_end = smaller(chunk->row_end, run.row_end);
    chunk->column_begin = larger(chunk->column_begin, run.column_begin);
    chunk->column_end = smaller(chunk->column_end, run.column_end);
    if (run.row_begin < run.row_end && run.column_begin < run.column_end)
        chunk->run[chunk->count++] = run;
}

/* Cuts the rows where runs of taps begin or end to count, so that a tile has all of a run or nothing; but no shorter
 * than three pixels, as a tile can leave out its first or last two. */
static void cut_rows(chunk_taps *chunk, int64_t columns) {
    chunk->cut[0] = 0;
    chunk->cuts = 0;
    while (chunk->cuts < MOST_CUTS) {
        int64_t last = chunk->cut[chunk->cuts], next = columns;
        for (int64_t i = 0; i < chunk->count; i++) {
            int64_t begin = chunk->run[i].column_begin, end = chunk->run[i].column_end;
            if (begin >= last + 3)
                next = smaller(next, begin);
            if (end >= last + 3)
                next = smaller(next, end);
        }
        if (next + 3 > columns)
            break;
        chunk->cut[++chunk->cuts] = next;
    }
    chunk->cut[++chunk->cuts] = columns;
}

/* The runs of a chunk in the order of the packed weights, for `outputs` along each axis from `first` on. */
static chunk_taps chunk_taps_of(const fc_part *part, const window *win, const int64_t first[FC_MAX_SPATIAL],
                                const int64_t outputs[FC_MAX_SPATIAL], tap_run *runs) {
    const fc_axis *axis = part->axis;
    const window_axis *d = &win->axis[0], *h = &win->axis[1], *w = &win->axis[2];
    bool whole_rows = win->pixel_pitch == win->channels && w->tap_pitch == 1 && !win->skip.axis[2];
    int64_t taps_per_run = whole_rows ? axis[2].kernel : 1;
    chunk_taps chunk = {.run = runs, .selected = runs + part->taps, .length = taps_per_run * win->channels,
                        .pixel_step = w->out_pitch * win->pixel_pitch,
                        .row_step = h->out_pitch * w->count * win->pixel_pitch,
                        .row_end = outputs[1], .column_end = outputs[2]};
    int64_t step = 0;
    for (int64_t kd = 0; kd < axis[0].kernel; kd++)
        for (int64_t kh = 0; kh < axis[1].kernel; kh++)
            for (int64_t kw = 0; kw < axis[2].kernel; kw += taps_per_run, step += chunk.length) {
                tap_run run = {.step = step, .row_end = outputs[1], .column_end = outputs[2]};
                int64_t plane = kd * d->tap_pitch - d->skipped, row = kh * h->tap_pitch - h->skipped;
                int64_t column = kw * w->tap_pitch - w->skipped;
                run.offset = ((plane * h->count + row) * w->count + column) * win->pixel_pitch;
                int64_t at_d = first[0] * axis[0].stride + kd * axis[0].dilation;
                if (win->skip.axis[0] && fc_axis_source(&axis[0], at_d) < 0)
                    continue;
                if (win->skip.axis[1])
                    outputs_inside(&axis[1], first[1], outputs[1], kh, &run.row_begin, &run.row_end);
                if (win->skip.axis[2])
                    outputs_inside(&axis[2], first[2], outputs[2], kw, &run.column_begin, &run.column_end);
                add_tap(&chunk, run);
            }
    cut_rows(&chunk, outputs[2]);
    return chunk;
}

/* One or two runs of pixels of the block. */
typedef struct tile_pixels {
    int64_t runs, pixels, row[2], column[2];
} tile_pixels;

/* Pixels [begin, end) of each run of pixels. */
typedef struct tile_part {
    int64_t begin[2], end[2];
} tile_part;

static bool parts_equal(const tile_part *a, const tile_part *b) {
    return a->begin[0] == b->begin[0] && a->begin[1] == b->begin[1] && a->end[0] == b->end[0] &&
           a->end[1] == b->end[1];
}

/* Pixels a run of taps counts for. Runs of pixels in the same columns may lack the first or last one or two as well:
 * the tile leaves these out in its registers. */
static tile_part part_inside(const tile_pixels *at, const tap_run *run) {
    tile_part part = {.begin = {0}};
    bool same_columns = at->runs == 1 || at->column[0] == at->column[1];
    for (int64_t r = 0; r < at->runs; r++)
        if (at->row[r] >= run->row_begin && at->row[r] < run->row_end) {
            int64_t begin = smaller(larger(run->column_begin - at->column[r], 0), at->pixels);
            int64_t end = smaller(larger(run->column_end - at->column[r], begin), at->pixels);
            int64_t left_out = at->pixels - (end - begin);
            bool one_side = begin == 0 || end == at->pixels;
            bool whole = same_columns && begin < end && left_out <= 2 && one_side;
            part.begin[r] = whole ? 0 : begin;
            part.end[r] = whole ? at->pixels : end;
        }
    return part;
}

/* Selects the runs of taps that count for some pixel of the tile; how many. */
static int64_t select_taps(const chunk_taps *chunk, const tile_pixels *at) {
    int64_t count = 0;
    for (int64_t i = 0; i < chunk->count; i++) {
        tile_part part = part_inside(at, &chunk->run[i]);
        if (part.begin[0] < part.end[0] || part.begin[1] < part.end[1])
            chunk->selected[count++] = chunk->run[i];
    }
    return count;
}

/* The end of the span from `tap` on: of the runs of taps that count for the same pixels. */
static int64_t span_end(const tap_run *run, int64_t count, const tile_pixels *at, int64_t tap, const tile_part *part) {
    for (; tap < count; tap++) {
        tile_part other = part_inside(at, &run[tap]);
        if (!parts_equal(part, &other))
            break;
    }
    return tap;
}

/* Continues the sums of the pixels `part` names. */
static void sum_part(const tile_job *whole, const tile_pixels *at, const tile_part *part, int64_t vecs) {
    tile_job job = *whole;
    bool together = at->runs == 2 && part->begin[0] == part->begin[1] && part->end[0] == part->end[1];
    for (int64_t r = 0; r < (together ? 1 : at->runs); r++) {
        int64_t pixels = part->end[r] - part->begin[r];
        if (pixels == 0)
            continue;
        job.column = at->column[r] + part->begin[r];
        job.place[0] = whole->place[r] + part->begin[r] * job.pixel_step;
        job.place[1] = together ? whole->place[1] + part->begin[1] * job.pixel_step : job.place[0];
        job.sums = whole->sums + r * whole->sums_step + part->begin[r] * vecs * VL;
        tile(together ? 2 : 1, pixels, vecs, &job);
    }
}

/* The runs of taps that count for columns [column, column + columns) of one row or two, where each counts for all of
 * them, or for all but one or two that lie in one tile of at least `shortest` pixels, which leaves them out. */
typedef struct piece_taps {
    const tap_run *run; /* NULL: some count for other pixels */
    int64_t count;
    bool whole;         /* none leaves any out */
} piece_taps;

static piece_taps piece_taps_of(const chunk_taps *chunk, int64_t row, bool pair, int64_t column, int64_t columns,
                                int64_t shortest) {
    int64_t end = column + columns, count = 0;
    if (row >= chunk->row_begin && row + pair < chunk->row_end && column >= chunk->column_begin &&
        end <= chunk->column_end)
        return (piece_taps){chunk->run, chunk->count, true};
    bool whole = true;
    for (const tap_run *run = chunk->run; run < chunk->run + chunk->count; run++) {
        bool first = row >= run->row_begin && row < run->row_end;
        bool second = pair ? row + 1 >= run->row_begin && row + 1 < run->row_end : first;
        int64_t left_out = larger(run->column_begin - column, 0), right_out = larger(end - run->column_end, 0);
        if ((!first && !second) || left_out + right_out >= columns)
            continue;
        bool few = shortest > 2 && left_out + right_out <= 2 && (left_out == 0 || right_out == 0);
        if (first != second || (left_out + right_out > 0 && !few))
            return (piece_taps){.run = NULL};
        whole &= left_out + right_out == 0;
        chunk->selected[count++] = *run;
    }
    return (piece_taps){chunk->selected, count, whole};
}

/* A tile of all runs of taps; its place and out are still to be set. */
static tile_job tile_job_of(const chunk_taps *chunk, const real *weights, real *sums, int64_t sums_step, bool add) {
    return (tile_job){.x = chunk->x, .weights = weights, .pixel_step = chunk->pixel_step, .taps = chunk->run,
                      .tap_count = chunk->count, .tap_length = chunk->length, .sums = sums, .sums_step = sums_step,
                      .mode = add ? SUMS_ADD : SUMS_SET};
}

/* Adds up one tile's products of the chunk into sums that are set or, with add, grow. They go to to->out unless it is
 * NULL. */
static __attribute__((noinline)) void sum_tile(const chunk_taps *chunk, const tile_pixels *at, int64_t vecs,
                                               const real *weights, real *sums, int64_t sums_step, bool add,
                                               const tile_out *to) {
    tile_job job = tile_job_of(chunk, weights, sums, sums_step, add);
    bool inside = true;
    job.column = at->column[0];
    job.to = *to;
    if (to->fetching == FETCH_AT_ONCE)
        tile_fetch(at->runs, at->pixels, vecs, to);
    for (int64_t r = 0; r < at->runs; r++) {
        job.place[r] = at->row[r] * chunk->row_step + at->column[r] * chunk->pixel_step;
        inside &= at->row[r] >= chunk->row_begin && at->row[r] < chunk->row_end &&
                  at->column[r] >= chunk->column_begin && at->column[r] + at->pixels <= chunk->column_end;
    }
    tile_part all = {.begin = {0}, .end = {at->pixels, at->runs == 2 ? at->pixels : 0}};
    int64_t count = chunk->count;
    inside = inside || span_end(chunk->run, count, at, 0, &all) == count;
    if (!inside) {
        job.taps = chunk->selected;
        job.tap_count = count = select_taps(chunk, at);
        inside = span_end(chunk->selected, count, at, 0, &all) == count;
    }
    if (inside) {
        tile(at->runs, at->pixels, vecs, &job);
        return;
    }
    _Alignas(64) real chains[2 * SEGMENT * BLOCK_VECS * VL];
    int64_t run_sums = at->pixels * vecs * VL;
    memset(chains, 0, (size_t)(at->runs * run_sums) * sizeof *chains);
    job.sums = chains;
    job.sums_step = run_sums;
    job.mode = SUMS_CONTINUE;
    job.to = (tile_out){.out = NULL};
    for (int64_t i = 0, next; i < count; i = next) {
        tile_part part = part_inside(at, &chunk->selected[i]);
        next = span_end(chunk->selected, count, at, i + 1, &part);
        job.taps = &chunk->selected[i];
        job.tap_count = next - i;
        sum_part(&job, at, &part, vecs);
    }
    for (int64_t r = 0; r < at->runs; r++)
        for (int64_t i = 0; i < run_sums; i += VL) {
            vec chain = v_load(chains + r * run_sums + i);
            real *out = sums + r * sums_step + i;
            v_store(out, add ? v_add(v_load(out), chain) : chain);
        }
    if (to->out != NULL) {
        job.sums = sums;
        job.sums_step = sums_step;
        job.tap_count = 0;
        job.to = *to;
        tile(at->runs, at->pixels, vecs, &job);
    }
}

#endif
