/* gemm_split: float32 as an implicit GEMM of bfloat16 parts on AMX tiles, which multiply more than ten times faster
 * than vectors do.
 *
 * Weights and columns are split into three bfloat16 parts, exactly, and the six products above 2^-24 are summed in
 * float32 by the tiles; two parts and three products under "high", one under "medium"; rounded, which loses less than
 * truncation in what is left out. Weights are packed once as
 *     [group][tile of 16 out channels][tile of 16 pairs][part][out channel][pair][2]  bfloat16
 * with pairs in the order of split_shape.h, and as gemm packs them, for what the tiles cannot multiply: NaN and
 * infinity, which do not split, and magnitudes whose parts or products would be flushed as denormals or overflow. Where
 * a block of pixels holds such a value, that chunk of its reduction is summed by vectors.
 *
 * Loops of a task (image, group, block of pixels, range of output channels):
 *     chunks of channels (x split into L2) > 64 pixels (columns copied) > 32 output channels > 32 pixels > tiles of the
 *     reduction, with what L3 holds of the weights or of x to come, and of out, asked for between
 *     products
 * Bound: tile products, 2.43e12 bfloat16 flops per second on one core with random data, so 405e9 of float32; columns
 * take the vector unit, and weights beyond L2 its bandwidth, which layers with few pixels feel.
 */
#include "kernels/amx/split_columns.h"
#include "kernels/amx/split_store.h"
#include "kernels/common/gemm_driver.h"

/* What tiles multiply: X and W the largest magnitudes of x and weights, X, W and X * W in [LEAST, MOST]. Parts are
 * 2^-24 of a value, and a flushed product is 2^-126, so errors are far below 2^-24 of the largest output even where the
 * largest of x and the largest weight never meet; and sums of 2^30 products stay finite. */
#define SPLIT_LEAST 0x1p-64f
#define SPLIT_MOST 0x1p+64f
enum { SPLIT_SCRATCH_MOST = 32 << 20 }; /* bytes */

/* Cycles of packing: splits of 2 x 16 values of x, each value as often as blocks read it, and copies of 16 pairs for
 * every tap, of as many pieces as rows they come from. Counted instructions, with a factor for what they wait for:
 * x from L3, columns and rows to and from L2. */
#define LINE_WAITS 0.9
#define ROW_WAITS 1.4
static double pack_cycles(const fc_part *part, double pixel_tiles, double tiles) {
    double parts = split_parts(part), split = 12 + 2 * parts + (part->problem.x_channels_last ? 12 : 2);
    double pair_vectors = (double)part->problem.groups * (double)divide_up(part->in_pixels, VL) *
                          (double)divide_up(part->group_in_ch, 2);
    if (part->block[SPLIT_LINE])
        return LINE_WAITS * pair_vectors * split;
    int64_t rows = part->block[SPLIT_HEIGHT], read = split_row_slots(part, rows).count;
    double again = (double)read / (double)(rows * part->axis[1].stride);
    double pieces = 1 + (double)TILE_SIDE / (double)larger(part->axis[2].out, 1);
    split += part->axis[2].stride == 1 ? 0 : part->problem.x_channels_last ? 20 : part->axis[2].kernel == 1 ? 160 : 80;
    return ROW_WAITS * (pair_vectors * again * split + pixel_tiles * tiles * TILE_PAIRS * parts * (0.8 + 2 * pieces));
}

static size_t packed_bytes(const fc_part *part);
static FC_COLD double seconds(const fc_part *part, const fc_machine *machine) {
    fc_part shaped = *part;
    split_prepare(&shaped, machine);
    int parts = split_parts(part);
    double vector_rate = machine->vector_fma_rate[FC_ISA_amx], groups = (double)part->problem.groups;
    double blocks = groups * (double)split_blocks(&shaped), tiles = (double)split_all_tiles(part);
    int64_t pixels = shaped.block[SPLIT_WIDTH] * shaped.block[SPLIT_HEIGHT];
    double pixel_tiles = groups * (double)(part->out_pixels / pixels * divide_up(pixels, TILE_SIDE) +
                                           divide_up(part->out_pixels % pixels, TILE_SIDE));
    double row_tiles = (double)divide_up(part->group_out_ch, TILE_SIDE);
    /* A block of two sums instead of four waits for its products, which take 52 cycles. */
    double odd = divide_up(part->group_out_ch, TILE_SIDE) % 2 ? 0.6 / row_tiles : 0;
    odd += divide_up(pixels, TILE_SIDE) % 2 ? 0.6 / (double)divide_up(pixels, TILE_SIDE) : 0;
    double dots = (1 + odd) * parts * (parts + 1) / 2 * row_tiles * pixel_tiles * tiles *
                  split_dot_seconds(machine);
    /* Weights that L2 does not keep come again for every block. */
    double weight_bytes = split_weight_bytes(part);
    double stream = weight_bytes > (double)machine->l2_bytes / 2 ? blocks * weight_bytes / machine->l3_rate : 0;
    double store = row_tiles * pixel_tiles * TILE_SIDE * (part->problem.out_channels_last ? 24 : 15);
    double sums = row_tiles * pixel_tiles * (double)(split_chunks(part) - 1) * 75;
    double cycles = pack_cycles(&shaped, pixel_tiles, tiles) + (store + sums);
    /* Gathering weights, of which one tap's are apart, takes longer than the copy that cost.c counts. */
    if (part->problem.pack_per_call && part->taps > 1)
        cycles += 0.15 * (double)packed_bytes(part);
    /* x and out are asked for ahead, which hides about half of their way. */
    return fmax(dots, stream) + 0.3 * fmin(dots, stream) + 2 * cycles / vector_rate + blocks * machine->task_seconds +
           0.5 * fc_cost_traffic(part, machine);
}

/* [largest magnitude of each group][tiles][gemm's panels], the first two rounded to 64 bytes. */
FC_INLINE int64_t largest_reals(const fc_part *part) { return round_up(part->problem.groups, 16); }
FC_INLINE int64_t row_tile_reals(const fc_part *part) {
    return split_all_tiles(part) * split_parts(part) * TILE_DWORDS;
}
FC_INLINE int64_t group_reals(const fc_part *part) {
    return divide_up(part->group_out_ch, TILE_SIDE) * row_tile_reals(part);
}
static size_t packed_bytes(const fc_part *part) {
    int64_t tiles = part->problem.groups * group_reals(part);
    return (size_t)(largest_reals(part) + tiles + part->problem.out_ch * part->reduction) * sizeof(real);
}

/* Where one row's weights of a tile's pairs lie, from its first; where there is none, 0 of a lane that the mask leaves
 * out. */
typedef struct pair_places {
    int64_t even[TILE_PAIRS], odd[TILE_PAIRS];
    lane_mask has_even, has_odd;
    bool dense; /* one after the other, all there */
} pair_places;

/* Pairs [16 * tile, 16 * tile + 16) of a chunk of `channels` channels, in the order of split_shape.h. */
static pair_places places_of(const fc_part *part, const int64_t *step, int64_t channels, int64_t tile) {
    const fc_axis *axis = part->axis;
    int64_t pairs = divide_up(channels, 2), evens = 0, odds = 0;
    pair_places p;
    for (int64_t k = 0; k < TILE_PAIRS; k++) {
        int64_t pair = tile * TILE_PAIRS + k, tap = pair / pairs, c = pair % pairs * 2;
        int64_t kw = tap % axis[2].kernel, kh = tap / axis[2].kernel % axis[1].kernel;
        int64_t kd = tap / axis[2].kernel / axis[1].kernel;
        bool even = tap < part->taps, odd = even && c + 1 < channels;
        p.even[k] = even ? c * step[2] + kd * step[3] + kh * step[4] + kw * step[5] : 0;
        p.odd[k] = odd ? p.even[k] + step[2] : 0;
        evens |= (int64_t)even << k;
        odds |= (int64_t)odd << k;
    }
    p.has_even = (lane_mask)evens;
    p.has_odd = (lane_mask)odds;
    p.dense = part->taps == 1 && step[2] == 1 && odds == (1 << TILE_PAIRS) - 1;
    return p;
}

static vec gather(const real *from, const int64_t *at, lane_mask lanes) {
    __m512i low = _mm512_loadu_si512(at), high = _mm512_loadu_si512(at + VL / 2);
    __m256 first = _mm512_mask_i64gather_ps(_mm256_setzero_ps(), (__mmask8)lanes, low, from, sizeof(real));
    __m256 second = _mm512_mask_i64gather_ps(_mm256_setzero_ps(), (__mmask8)(lanes >> VL / 2), high, from, sizeof(real));
    return _mm512_insertf32x8(_mm512_castps256_ps512(first), second, 1);
}

/* One tile of 16 output channels, all of the reduction; `from` points at the first. Returns `seen` and what it saw. */
static tile_magnitude pack_row_tile(const fc_part *part, const real *from, const int64_t *step, int64_t rows, real *to,
                                    tile_magnitude seen) {
    const __m512i evens = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    const __m512i odds = _mm512_add_epi32(evens, _mm512_set1_epi32(1));
    int parts = split_parts(part);
    int64_t chunk = split_chunk_channels(part), in_ch = part->group_in_ch;
    for (int64_t begin = 0; begin < in_ch; begin += chunk) {
        int64_t channels = smaller(chunk, in_ch - begin), tiles = split_tiles(part, channels);
        for (int64_t tile = 0; tile < tiles; tile++, to += parts * TILE_DWORDS) {
            pair_places p = places_of(part, step, channels, tile);
            for (int64_t row = 0; row < TILE_SIDE; row++) {
                const real *weight = from + row * step[1] + begin * step[2];
                vec even = v_zero(), odd = v_zero();
                if (row < rows && p.dense) {
                    vec low = v_load(weight + p.even[0]), high = v_load(weight + p.even[0] + VL);
                    even = _mm512_permutex2var_ps(low, evens, high);
                    odd = _mm512_permutex2var_ps(low, odds, high);
                } else if (row < rows) {
                    even = gather(weight, p.even, p.has_even);
                    odd = gather(weight, p.odd, p.has_odd);
                }
                seen = tile_see(tile_see(seen, even), odd);
                tile_split_pairs(even, odd, parts, to + row * TILE_PAIRS, TILE_DWORDS);
            }
        }
    }
    return seen;
}

static void pack(const fc_part *part, const fc_weight_view *weight, const fc_weight_view *pointwise, void *packed) {
    (void)pointwise;
    int64_t row_reals = row_tile_reals(part), out_ch = part->group_out_ch;
    real *largest = packed, *tiles = largest + largest_reals(part);
    memset(largest, 0, (size_t)largest_reals(part) * sizeof(real));
    fc_gemm_pack(part, weight, part->axis, part->group_in_ch, tiles + part->problem.groups * group_reals(part));
    for (int64_t g = 0; g < part->problem.groups; g++) {
        const real *group = (const real *)weight->data + g * weight->stride[0];
        tile_magnitude most = tile_no_magnitude();
        for (int64_t row = 0; row < out_ch; row += TILE_SIDE, tiles += row_reals)
            most = pack_row_tile(part, group + row * weight->stride[1], weight->stride, smaller(TILE_SIDE, out_ch - row),
                                 tiles, most);
        largest[g] = tile_largest(most);
    }
}

/* Output channels of a task at most: their sums, of all of a block's pixels, are half a megabyte. */
FC_INLINE int64_t split_rows_most(const fc_part *part) {
    int64_t ranges = divide_up(part->group_out_ch, 512);
    return round_up(divide_up(part->group_out_ch, ranges), SPLIT_ROWS);
}

/* grid: blocks of pixels, output channels of a task, ranges of output channels. A block is split again for each range,
 * so ranges are cut only for more threads than blocks. */
static int64_t partition(const fc_part *part, int threads, int64_t grid[4]) {
    grid[0] = split_blocks(part);
    grid[1] = split_rows_most(part);
    int64_t outer = part->problem.batch * part->problem.groups * grid[0];
    while (outer * divide_up(part->group_out_ch, grid[1]) < threads && grid[1] > 2 * SPLIT_ROWS)
        grid[1] = round_up(divide_up(grid[1], 2), SPLIT_ROWS);
    grid[2] = divide_up(part->group_out_ch, grid[1]);
    return outer * grid[2];
}

/* Reals of each piece of scratch; the sums of all blocks are kept where the reduction has chunks. */
typedef struct scratch_sizes {
    int64_t columns, rows, plain, sums;
} scratch_sizes;

static scratch_sizes scratch_sizes_of(const fc_part *part) {
    int64_t channels = smaller(part->block[SPLIT_CHUNK_CH], round_up(part->group_in_ch, 2)), parts = split_parts(part);
    int64_t pixels = round_up(part->block[SPLIT_WIDTH] * part->block[SPLIT_HEIGHT], SPLIT_SUMS_STEP);
    scratch_sizes s = {.columns = split_chunk_tiles(part) * TILE_PAIRS * parts};
    int64_t fallback = channels * part->taps * SPLIT_SUMS_STEP, copied;
    if (part->block[SPLIT_LINE]) {
        s.columns *= pixels;
        copied = SPLIT_BATCH * pixels;
    } else {
        fc_row_shape shape = fc_row_shape_of(&part->axis[2], part->block[SPLIT_WIDTH]);
        int64_t slots = part->axis[0].kernel * split_row_slots(part, part->block[SPLIT_HEIGHT]).count;
        s.columns *= SPLIT_UNIT;
        s.rows = slots * channels / 2 * parts * split_pitch(&shape) + VL;
        copied = (SPLIT_BATCH + 1) * shape.row_pitch + 2 * ROW_SLACK;
    }
    s.plain = round_up(larger(fallback, copied), VL);
    bool chunks = split_chunks(part) > 1;
    s.sums = chunks ? split_rows_most(part) * pixels : SPLIT_ROWS * SPLIT_SUMS_STEP;
    return s;
}

static size_t scratch_bytes(const fc_part *part) {
    scratch_sizes s = scratch_sizes_of(part);
    return (size_t)(s.columns + s.rows + s.plain + s.sums) * sizeof(real);
}

static FC_COLD const char *rejects(const fc_part *part) {
    if (part->problem.operation > FC_CONV_TRANSPOSED)
        return "only plain and transposed convolutions";
    if (part->taps == 0 || part->out_pixels == 0)
        return "nothing to multiply";
    fc_part shaped = *part;
    split_prepare(&shaped, NULL);
    if (scratch_bytes(&shaped) > SPLIT_SCRATCH_MOST)
        return "stride and dilation spread the taps of a row too far for rows kept in scratch";
    return NULL;
}

/* What a task works on. */
typedef struct task_place {
    int64_t n, group, row_begin, row_end;
    split_block block;
} task_place;

static task_place place_of(const fc_call *call, int64_t task) {
    const int64_t *grid = call->grid;
    int64_t out_ch = call->part->group_out_ch, groups = call->part->problem.groups;
    task_place t = {.row_begin = task % grid[2] * grid[1]};
    t.block = split_block_at(call->part, task / grid[2] % grid[0]);
    t.row_end = smaller(t.row_begin + grid[1], out_ch);
    t.group = task / grid[2] / grid[0] % groups;
    t.n = task / grid[2] / grid[0] / groups;
    return t;
}

/* The block of sums of `row` and `pixel`. */
static real *sums_at(const fc_part *part, const task_place *t, int64_t row, int64_t pixel, real *sums) {
    if (split_chunks(part) == 1)
        return sums;
    int64_t across = divide_up(t->block.count, 2 * TILE_SIDE);
    return sums + ((row - t->row_begin) / SPLIT_ROWS * across + pixel / (2 * TILE_SIDE)) * SPLIT_ROWS * SPLIT_SUMS_STEP;
}

static void finish(const fc_call *call, const task_place *t, int64_t row, int64_t pixel, const real *sums) {
    split_finish(call, t->n, t->group * call->part->group_out_ch + row, smaller(SPLIT_ROWS, t->row_end - row),
                 t->block.first + pixel, smaller(SPLIT_SUMS_STEP, t->block.count - pixel), sums);
}

/* What the next chunk of a line splits of x, or else the first chunk of the next block. */
static split_lines lines_of_x(const fc_call *call, const task_place *t, int64_t end) {
    const fc_part *part = call->part;
    const fc_tensor *x = &call->tensors.x;
    bool last = end == part->group_in_ch;
    int64_t channel = last ? 0 : end, first = t->block.first + (last ? t->block.count : 0);
    int64_t pixels = smaller(t->block.count, part->out_pixels - first);
    int64_t channels = smaller(part->block[SPLIT_CHUNK_CH], part->group_in_ch - channel);
    if (!part->block[SPLIT_LINE] || x->stride[4] != 1 || !split_pixels_join(part, x) || pixels <= 0)
        return split_lines_of(NULL, 0, 0, 0);
    const real *at = (const real *)x->data + t->n * x->stride[0] +
                     (t->group * part->group_in_ch + channel) * x->stride[1] + first;
    return split_lines_of(at, divide_up(pixels, VL), x->stride[1], channels);
}

/* The weights of two tiles of rows from `row` on. */
static split_lines lines_of_weights(const fc_part *part, const task_place *t, const real *a, int64_t row,
                                    int64_t tiles) {
    int64_t rows = divide_up(smaller(SPLIT_ROWS, t->row_end - row), TILE_SIDE), step = row_tile_reals(part);
    return split_lines_of(a + row / TILE_SIDE * step, tiles * split_parts(part) * TILE_DWORDS / VL, step, rows);
}

/* Where a block of sums will be stored, along whichever of pixels and channels are dense. */
static split_lines lines_of_out(const fc_call *call, const task_place *t, int64_t row, int64_t pixel) {
    const fc_tensor *out = &call->tensors.out;
    const fc_part *part = call->part;
    int64_t rows = smaller(SPLIT_ROWS, t->row_end - row), pixels = smaller(SPLIT_SUMS_STEP, t->block.count - pixel);
    const real *at = (const real *)out->data + fc_tensor_offset(out, t->n, t->group * part->group_out_ch + row,
                                                                fc_pixel_at(part, t->block.first + pixel));
    bool along_pixels = out->stride[4] == 1;
    int64_t dense = along_pixels ? pixels : rows, apart = along_pixels ? rows : pixels;
    int64_t offset = (int64_t)((uintptr_t)at / sizeof(real) % VL);
    return split_lines_of(at, divide_up(offset + dense, VL), along_pixels ? out->stride[1] : out->stride[4], apart);
}

/* Pixels [pixel, stop) of a chunk by tiles: `a` points at the group's first tile of the chunk, `b` at the pixels'
 * columns. Rows of weights are outermost, so that each comes from L2 once. */
static void run_tiles(const fc_call *call, const task_place *t, const real *a, const real *b, int64_t pixel,
                      int64_t stop, int64_t begin, int64_t end, real *all_sums, split_ahead *ahead) {
    const fc_part *part = call->part;
    int parts = split_parts(part);
    int64_t tiles = split_tiles(part, end - begin), row_step = row_tile_reals(part), calls = tiles * split_calls(parts);
    int64_t pixel_reals = tiles * parts * TILE_DWORDS, panels = divide_up(stop - pixel, SPLIT_SUMS_STEP);
    for (int64_t row = t->row_begin; row < t->row_end; row += SPLIT_ROWS) {
        if (part->block[SPLIT_AHEAD]) {
            int64_t next = row + SPLIT_ROWS < t->row_end ? row + SPLIT_ROWS : t->row_begin;
            ahead->read = lines_of_weights(part, t, a, next, tiles);
            ahead->reads = split_share(&ahead->read, panels * calls);
        }
        for (int64_t at = pixel; at < stop; at += SPLIT_SUMS_STEP) {
            real *sums = sums_at(part, t, row, at, all_sums);
            if (end == part->group_in_ch) {
                ahead->write = lines_of_out(call, t, row, at);
                ahead->writes = split_share(&ahead->write, calls);
            }
            bool last = at + SPLIT_SUMS_STEP >= stop;
            split_operand left = {a + row / TILE_SIDE * row_step, row_step, NULL};
            split_operand right = {b + (at - pixel) / TILE_SIDE * pixel_reals, pixel_reals, NULL};
            left.next = last ? left.at + SPLIT_ROWS / TILE_SIDE * row_step : left.at;
            right.next = last ? b : right.at + SPLIT_SUMS_STEP / TILE_SIDE * pixel_reals;
            split_sums block = {sums, SPLIT_SUMS_STEP, TILE_SIDE, TILE_SIDE * SPLIT_SUMS_STEP};
            split_multiply(parts, t->row_end - row > TILE_SIDE, stop - at > TILE_SIDE, tiles, left, right, block,
                           begin > 0, ahead);
            if (end == part->group_in_ch)
                finish(call, t, row, at, sums);
        }
    }
}

/* A chunk, channels [begin, end). The tile state is this thread's, which may be the caller's, and is given back. */
static void run_chunk(const fc_call *call, const task_place *t, const real *a, int64_t begin, int64_t end,
                      const split_scratch *s) {
    const fc_part *part = call->part;
    int64_t pixel_reals = split_tiles(part, end - begin) * split_parts(part) * TILE_DWORDS;
    int64_t blocks = divide_up(t->row_end - t->row_begin, SPLIT_ROWS) * divide_up(t->block.count, SPLIT_SUMS_STEP);
    split_ahead ahead = {.read = lines_of_x(call, t, end)};
    ahead.reads = split_share(&ahead.read, blocks * split_tiles(part, end - begin) * split_calls(split_parts(part)));
    tile_configure();
    for (int64_t pixel = 0; pixel < t->block.count; pixel += SPLIT_UNIT) {
        int64_t stop = smaller(pixel + SPLIT_UNIT, t->block.count);
        const real *b = s->columns;
        if (part->block[SPLIT_LINE])
            b += pixel / TILE_SIDE * pixel_reals;
        else
            split_gather(part, end - begin, &t->block, pixel, stop - pixel, s);
        run_tiles(call, t, a, b, pixel, stop, begin, end, s->sums, &ahead);
    }
    tile_release();
}

/* The same by vectors, columns read again as gemm reads them: channels [begin, end). */
static void run_vectors(const fc_call *call, const task_place *t, const real *weights, int64_t begin, int64_t end,
                        const split_scratch *s) {
    const fc_part *part = call->part;
    int64_t k = begin * part->taps, depth = (end - begin) * part->taps, left;
    for (int64_t pixel = 0; pixel < t->block.count; pixel += 2 * TILE_SIDE) {
        int64_t count = smaller(SPLIT_SUMS_STEP, t->block.count - pixel), vecs = divide_up(count, VL);
        fc_load_columns(call, t->n, t->group, t->block.first + pixel, count, k, k + depth, vecs * VL, s->plain);
        for (int64_t row = t->row_begin; row < t->row_end; row += SPLIT_ROWS) {
            real *sums = sums_at(part, t, row, pixel, s->sums);
            for (int64_t r = row, rows; (left = smaller(t->row_end, row + SPLIT_ROWS) - r) > 0; r += rows) {
                rows = fc_panel_rows(left);
                fc_tile(rows, vecs, depth, weights + r * part->reduction + k * rows, s->plain,
                        sums + (r - row) * SPLIT_SUMS_STEP, SPLIT_SUMS_STEP, begin > 0);
            }
            if (end == part->group_in_ch)
                finish(call, t, row, pixel, sums);
        }
    }
}

static bool in_range(float value) { return value >= SPLIT_LEAST && value <= SPLIT_MOST; }

static void run(const fc_call *call, int64_t task, void *scratch) {
    const fc_part *part = call->part;
    task_place t = place_of(call, task);
    scratch_sizes sizes = scratch_sizes_of(part);
    split_scratch s = {.columns = scratch};
    s.rows = s.columns + sizes.columns;
    s.plain = s.rows + sizes.rows;
    s.sums = s.plain + sizes.plain;
    const real *largest = call->packed, *tiled = largest + largest_reals(part);
    const real *plain = tiled + part->problem.groups * group_reals(part);
    const real *a = tiled + t.group * group_reals(part);
    const real *weights = plain + t.group * part->group_out_ch * part->reduction;
    float w = largest[t.group];
    int64_t chunk = part->block[SPLIT_CHUNK_CH];
    for (int64_t c = 0; c < part->group_in_ch; c += chunk) {
        int64_t end = smaller(c + chunk, part->group_in_ch), tiles = split_tiles(part, end - c);
        float x = in_range(w) ? split_load(call, t.n, t.group, &t.block, c, end, &s) : INFINITY;
        if (x == 0 || (in_range(x) && in_range(x * w)))
            run_chunk(call, &t, a, c, end, &s);
        else
            run_vectors(call, &t, weights, c, end, &s);
        a += tiles * split_parts(part) * TILE_DWORDS;
    }
}

const fc_kernel FC_FN(fc_kernel_gemm_split);
const fc_kernel FC_FN(fc_kernel_gemm_split) = {
    .algorithm = "gemm_split",
    .dtype = FC_TEXT(FC_DTYPE),
    .isa = FC_TEXT(FC_ISA),
    .name = FC_NAME("gemm_split"),
    .rejects = rejects,
    .seconds = seconds,
    .prepare = split_prepare,
    .packed_bytes = packed_bytes,
    .pack = pack,
    .partition = partition,
    .scratch_bytes = scratch_bytes,
    .run = run,
};
