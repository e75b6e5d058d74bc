/* The implicit GEMM that gemm, deform and separable share: pixels along the lanes.
 *
 * out[channel, pixel] = sum over k of weight[channel, k] * column[k, pixel]. A kernel brings the function
 * that fills a panel of columns; this file cuts the work, walks it and stores it. The weights are packed once,
 * as panels of TILE_ROWS output channels; sums stay in registers over a chunk of the reduction and in
 * an L2 block between chunks. Every chunk starts from zero and is added to the block, which also
 * halves the rounding error of one long chain.
 *
 * Loops of a task (image, group, block of pixels, block of output channels):
 *     chunks of k > panels of pixels (packed into L1/L2) > panels of output channels > tile
 */
#ifndef FC_GEMM_DRIVER_H
#define FC_GEMM_DRIVER_H

#include "kernels/common/columns.h"
#include "kernels/common/gemm_tile.h"

enum { FC_GEMM_CHUNK = 0, FC_GEMM_ROWS = 1, FC_GEMM_PANELS = 2 }; /* of part->block */
enum {
    FC_PANEL_LANES = TILE_VECS * VL,
    /* Steps summed in one chain: a panel of 48 KB. A constant, because bits depend on it. */
    FC_GEMM_CHUNK_MOST = 256,
};

FC_INLINE int64_t fc_smaller(int64_t a, int64_t b) { return a < b ? a : b; }
FC_INLINE int64_t fc_divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

static __attribute__((unused)) void fc_gemm_prepare(fc_part *part, const fc_machine *machine) {
    int64_t chunks = fc_divide_up(part->reduction, FC_GEMM_CHUNK_MOST);
    part->block[FC_GEMM_CHUNK] = chunks > 0 ? fc_divide_up(part->reduction, chunks) : 1;
    int64_t rows = (int64_t)(machine->l2_bytes / 2 / sizeof(real)) / part->block[FC_GEMM_CHUNK];
    rows = rows / TILE_ROWS * TILE_ROWS;
    rows = rows < 8 * TILE_ROWS ? 8 * TILE_ROWS : rows;
    part->block[FC_GEMM_ROWS] = fc_smaller(rows, part->group_out_ch);
    int64_t panels = (int64_t)(machine->l2_bytes / 4 / sizeof(real)) / (part->block[FC_GEMM_ROWS] * FC_PANEL_LANES);
    part->block[FC_GEMM_PANELS] = panels < 1 ? 1 : panels > 8 ? 8 : panels;
}

/* Seconds on one core: the FMAs of the tiles, `pack` cycles for each vector of a panel, and the store. */
FC_INLINE double fc_gemm_seconds(const fc_part *part, const fc_machine *machine, double pack) {
    double groups = (double)part->problem.groups, reduction = (double)part->reduction;
    double vectors = (double)fc_divide_up(part->out_pixels, VL);
    double rows = (double)part->group_out_ch;
    /* A tile short of rows still costs the loads of a whole one. */
    double rest = (double)(part->group_out_ch % TILE_ROWS);
    double row_loss = rest > 0 ? 0.5 * (TILE_ROWS - rest) : 0;
    double fma = (rows + row_loss) * reduction / (2 * 0.88);
    double store = rows * (part->problem.out_channels_last ? 2.5 * VL : 18.0);
    double cycles = groups * vectors * (fma + pack * reduction + store);
    return 2 * cycles / machine->vector_fma_rate[FC_PASTE(FC_ISA_, FC_ISA)];
}

/* [group][panel of rows][k][row]: panel widths sum up to the channel, so channel * reduction is its place. */
static __attribute__((unused)) void fc_gemm_pack(const fc_part *part, const fc_weight_view *weight, const fc_axis axis[FC_MAX_SPATIAL],
                         int64_t in_ch, real *to) {
    const int64_t *s = weight->stride;
    for (int64_t g = 0; g < part->problem.groups; g++)
        for (int64_t row = 0, rows; row < part->group_out_ch; row += rows) {
            rows = fc_panel_rows(part->group_out_ch - row);
            for (int64_t c = 0; c < in_ch; c++)
                for (int64_t kd = 0; kd < axis[0].kernel; kd++)
                    for (int64_t kh = 0; kh < axis[1].kernel; kh++)
                        for (int64_t kw = 0; kw < axis[2].kernel; kw++)
                            for (int64_t r = 0; r < rows; r++)
                                *to++ = ((const real *)weight->data)[g * s[0] + (row + r) * s[1] + c * s[2] +
                                                                     kd * s[3] + kh * s[4] + kw * s[5]];
        }
}

/* grid: panels per task, blocks of pixels, rows per task, blocks of rows */
static __attribute__((unused)) int64_t fc_gemm_partition(const fc_part *part, int threads, int64_t grid[4]) {
    int64_t panels = fc_divide_up(part->out_pixels, FC_PANEL_LANES);
    grid[0] = fc_smaller(part->block[FC_GEMM_PANELS], panels);
    grid[2] = part->block[FC_GEMM_ROWS];
    int64_t outer = part->problem.batch * part->problem.groups;
    int64_t wanted = threads > 1 ? 4 * (int64_t)threads : 1;
    while (outer * fc_divide_up(panels, grid[0]) * fc_divide_up(part->group_out_ch, grid[2]) < wanted) {
        if (grid[0] > 1)
            grid[0] = fc_divide_up(grid[0], 2);
        else if (grid[2] > 4 * TILE_ROWS)
            grid[2] = fc_divide_up(fc_divide_up(grid[2], 2), TILE_ROWS) * TILE_ROWS;
        else
            break;
    }
    grid[1] = fc_divide_up(panels, grid[0]);
    grid[3] = fc_divide_up(part->group_out_ch, grid[2]);
    return outer * grid[1] * grid[3];
}

static __attribute__((unused)) size_t fc_gemm_scratch_bytes(const fc_part *part) {
    size_t panel = (size_t)part->block[FC_GEMM_CHUNK] * FC_PANEL_LANES;
    size_t sums = (size_t)part->block[FC_GEMM_ROWS] * (size_t)part->block[FC_GEMM_PANELS] * FC_PANEL_LANES;
    return (panel + sums) * sizeof(real);
}

/* Fills panel[(k - k_begin) * width + lane] for `count` pixels from `first`; lanes past count hold zeros. */
typedef void fc_columns_fn(const fc_call *call, int64_t n, int64_t group, int64_t first, int64_t count, int64_t k_begin,
                           int64_t k_end, int64_t width, real *panel);

/* `weights`: all groups' panels as fc_gemm_pack wrote them; `load` a constant, so that it is inlined. */
FC_INLINE void fc_gemm_run(const fc_call *call, int64_t task, void *scratch, const real *weights,
                           fc_columns_fn *load) {
    const fc_part *part = call->part;
    const int64_t *grid = call->grid;
    int64_t row_block = task % grid[3], pixel_block = task / grid[3] % grid[1];
    int64_t group = task / grid[3] / grid[1] % part->problem.groups;
    int64_t n = task / grid[3] / grid[1] / part->problem.groups;
    int64_t row_begin = row_block * grid[2], row_end = fc_smaller(row_begin + grid[2], part->group_out_ch);
    int64_t first = pixel_block * grid[0] * FC_PANEL_LANES;
    int64_t last = fc_smaller(first + grid[0] * FC_PANEL_LANES, part->out_pixels);
    int64_t reduction = part->reduction, chunk = part->block[FC_GEMM_CHUNK];
    real *panel = scratch, *sums = panel + chunk * FC_PANEL_LANES;
    weights += group * part->group_out_ch * reduction;
    int64_t k = 0;
    do { /* once even when there is no reduction: the epilogue still writes */
        int64_t depth = fc_smaller(chunk, reduction - k);
        for (int64_t pixel = first; pixel < last; pixel += FC_PANEL_LANES) {
            int64_t count = fc_smaller(FC_PANEL_LANES, last - pixel), vecs = fc_divide_up(count, VL);
            if (depth > 0)
                load(call, n, group, pixel, count, k, k + depth, vecs * VL, panel);
            real *block = sums + (pixel - first) * grid[2];
            for (int64_t row = row_begin, rows; row < row_end; row += rows) {
                rows = fc_panel_rows(row_end - row);
                real *tile = block + (row - row_begin) * FC_PANEL_LANES;
                fc_tile(rows, vecs, depth, weights + row * reduction + k * rows, panel, tile, FC_PANEL_LANES, k > 0);
                if (k + depth == reduction)
                    fc_store_pixel_lanes(call, n, group * part->group_out_ch + row, rows, pixel, count, tile,
                                         FC_PANEL_LANES);
            }
        }
        k += depth;
    } while (k < reduction);
}

#endif
