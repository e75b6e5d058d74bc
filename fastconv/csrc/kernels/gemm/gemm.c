/* gemm: implicit GEMM with pixels along the lanes.
 *
 * out[channel, pixel] = sum over k of weight[channel, k] * column[k, pixel], k = (input channel, tap).
 * Columns are packed a panel at a time (common/columns.h), the weights once, as panels of TILE_ROWS
 * output channels; sums stay in registers over a chunk of the reduction and in an L2 block between
 * chunks. Every chunk starts from zero and is added to the block, which also halves the rounding
 * error of one long chain. Runs every problem: any rank, stride, dilation, group, padding and layout.
 *
 * Loops of a task (image, group, block of pixels, block of output channels):
 *     chunks of k > panels of pixels (packed into L1/L2) > panels of output channels > tile
 * Bound: FMA throughput. Packing costs one load and store per panel vector against group_out_ch
 * FMAs, so few output channels are its weak side.
 */
#include "kernels/common/columns.h"
#include "kernels/common/gemm_tile.h"

enum { CHUNK = 0, ROW_BLOCK = 1, PANELS = 2 }; /* of part->block */
enum { PANEL_LANES = TILE_VECS * VL };

static const char *rejects(const fc_part *part) {
    if (part->problem.operation > FC_CONV_TRANSPOSED)
        return "only plain and transposed convolutions";
    return NULL;
}

static int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }
static int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

static void prepare(fc_part *part, const fc_machine *machine) {
    int64_t chunk = (int64_t)(machine->l1d_bytes * 3 / 2 / (PANEL_LANES * sizeof(real)));
    int64_t chunks = divide_up(part->reduction, chunk > 64 ? chunk : 64);
    part->block[CHUNK] = chunks > 0 ? divide_up(part->reduction, chunks) : 1;
    int64_t rows = (int64_t)(machine->l2_bytes / 2 / sizeof(real)) / part->block[CHUNK];
    rows = rows / TILE_ROWS * TILE_ROWS;
    rows = rows < 8 * TILE_ROWS ? 8 * TILE_ROWS : rows;
    part->block[ROW_BLOCK] = smaller(rows, part->group_out_ch);
    int64_t panels = (int64_t)(machine->l2_bytes / 4 / sizeof(real)) / (part->block[ROW_BLOCK] * PANEL_LANES);
    part->block[PANELS] = panels < 1 ? 1 : panels > 8 ? 8 : panels;
}

static double seconds(const fc_part *part, const fc_machine *machine) {
    double groups = (double)part->problem.groups, reduction = (double)part->reduction;
    double vectors = (double)divide_up(part->out_pixels, VL);
    double fma = groups * (double)part->group_out_ch * reduction * vectors;
    /* A row short of a full tile costs the loads of a whole one. */
    double rest = (double)(part->group_out_ch % TILE_ROWS);
    double row_loss = 1 + (rest > 0 ? 0.5 * (TILE_ROWS - rest) / (double)part->group_out_ch : 0);
    bool dense = !part->problem.x_channels_last && part->axis[2].stride == 1;
    /* Each output row of a panel is a run of its own, and its setup outweighs its few vectors. */
    double out_rows = (double)(part->axis[0].out * part->axis[1].out);
    double runs = out_rows + (double)part->out_pixels / PANEL_LANES;
    double pack = groups * reduction * (28.0 * runs + vectors * (dense ? 3.0 : 1.6 * VL));
    double store = groups * (double)part->group_out_ch * vectors * (part->problem.out_channels_last ? 2.5 * VL : 18.0);
    double cycles = fma / 2 / 0.88 * row_loss + pack + store;
    return cycles / (machine->vector_fma_rate[FC_PASTE(FC_ISA_, FC_ISA)] / 2);
}

static size_t packed_bytes(const fc_part *part) {
    return (size_t)part->problem.out_ch * (size_t)part->reduction * sizeof(real);
}

/* [group][panel of rows][k][row]: panel widths sum up to the channel, so channel * reduction is its place. */
static void pack(const fc_part *part, const fc_weight_view *weight, const fc_weight_view *pointwise,
                 void *packed) {
    (void)pointwise;
    real *to = packed;
    const int64_t *s = weight->stride;
    for (int64_t g = 0; g < part->problem.groups; g++)
        for (int64_t row = 0, rows; row < part->group_out_ch; row += rows) {
            rows = fc_panel_rows(part->group_out_ch - row);
            for (int64_t c = 0; c < part->group_in_ch; c++)
                for (int64_t kd = 0; kd < part->axis[0].kernel; kd++)
                    for (int64_t kh = 0; kh < part->axis[1].kernel; kh++)
                        for (int64_t kw = 0; kw < part->axis[2].kernel; kw++)
                            for (int64_t r = 0; r < rows; r++)
                                *to++ = ((const real *)weight->data)[g * s[0] + (row + r) * s[1] + c * s[2] +
                                                                     kd * s[3] + kh * s[4] + kw * s[5]];
        }
}

/* grid: panels per task, blocks of pixels, rows per task, blocks of rows */
static int64_t partition(const fc_part *part, int threads, int64_t grid[4]) {
    int64_t panels = divide_up(part->out_pixels, PANEL_LANES);
    grid[0] = smaller(part->block[PANELS], panels);
    grid[2] = part->block[ROW_BLOCK];
    int64_t outer = part->problem.batch * part->problem.groups;
    int64_t wanted = threads > 1 ? 4 * (int64_t)threads : 1;
    while (outer * divide_up(panels, grid[0]) * divide_up(part->group_out_ch, grid[2]) < wanted) {
        if (grid[0] > 1)
            grid[0] = divide_up(grid[0], 2);
        else if (grid[2] > 4 * TILE_ROWS)
            grid[2] = divide_up(divide_up(grid[2], 2), TILE_ROWS) * TILE_ROWS;
        else
            break;
    }
    grid[1] = divide_up(panels, grid[0]);
    grid[3] = divide_up(part->group_out_ch, grid[2]);
    return outer * grid[1] * grid[3];
}

static size_t scratch_bytes(const fc_part *part) {
    size_t panel = (size_t)part->block[CHUNK] * PANEL_LANES;
    size_t sums = (size_t)part->block[ROW_BLOCK] * (size_t)part->block[PANELS] * PANEL_LANES;
    return (panel + sums) * sizeof(real);
}

static void run(const fc_call *call, int64_t task, void *scratch) {
    const fc_part *part = call->part;
    const int64_t *grid = call->grid;
    int64_t row_block = task % grid[3], pixel_block = task / grid[3] % grid[1];
    int64_t group = task / grid[3] / grid[1] % part->problem.groups;
    int64_t n = task / grid[3] / grid[1] / part->problem.groups;
    int64_t row_begin = row_block * grid[2], row_end = smaller(row_begin + grid[2], part->group_out_ch);
    int64_t first = pixel_block * grid[0] * PANEL_LANES;
    int64_t last = smaller(first + grid[0] * PANEL_LANES, part->out_pixels);
    int64_t reduction = part->reduction, chunk = part->block[CHUNK];
    real *panel = scratch, *sums = panel + chunk * PANEL_LANES;
    const real *weights = (const real *)call->packed + group * part->group_out_ch * reduction;
    int64_t k = 0;
    do { /* once even when there is no reduction: the epilogue still writes */
        int64_t depth = smaller(chunk, reduction - k);
        for (int64_t pixel = first; pixel < last; pixel += PANEL_LANES) {
            int64_t count = smaller(PANEL_LANES, last - pixel), vecs = divide_up(count, VL);
            if (depth > 0)
                fc_load_columns(call, n, group, pixel, count, k, k + depth, vecs * VL, panel);
            real *block = sums + (pixel - first) * grid[2];
            for (int64_t row = row_begin, rows; row < row_end; row += rows) {
                rows = fc_panel_rows(row_end - row);
                real *tile = block + (row - row_begin) * PANEL_LANES;
                fc_tile(rows, vecs, depth, weights + row * reduction + k * rows, panel, tile, PANEL_LANES, k > 0);
                if (k + depth == reduction)
                    fc_store_pixel_lanes(call, n, group * part->group_out_ch + row, rows, pixel, count, tile,
                                         PANEL_LANES);
            }
        }
        k += depth;
    } while (k < reduction);
}

const fc_kernel FC_FN(fc_kernel_gemm);
const fc_kernel FC_FN(fc_kernel_gemm) = {
    .algorithm = "gemm",
    .dtype = FC_TEXT(FC_DTYPE),
    .isa = FC_TEXT(FC_ISA),
    .name = FC_NAME("gemm"),
    .rejects = rejects,
    .seconds = seconds,
    .prepare = prepare,
    .packed_bytes = packed_bytes,
    .pack = pack,
    .partition = partition,
    .scratch_bytes = scratch_bytes,
    .run = run,
};
