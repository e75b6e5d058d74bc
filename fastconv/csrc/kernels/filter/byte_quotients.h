/* Bytes to bytes by a pass along the height and one along the width, whose weights are whole numbers over a divisor:
 * binomial, Hann and box kernels. Sums of 16 bits are exact, and have twice the lanes of float32.
 * A sum that the divisor goes into is a whole number, which SciPy's double sum of rounded weights may fall short of: those
 * bytes are added again in double, in SciPy's order (byte_doubts.h), unless its sum is exact as well.
 *
 * A ring holds rows of x as bytes; `middle` FC_FILTER_ROWS rows of 16-bit cells between the passes: whole sums, or bytes
 * where each pass is divided and cut, as SciPy cuts it.
 * Bound: operations of 16 bits on the two ports of the widest vectors. 128 pixels take at 5 x 5 36 to widen and add four
 * rows, as both sides of the middle share a product, and 52 to add along them, divide, compare and pack: 0.13 ms for
 * 1024 x 1024 at 2.7 GHz. 0.38 was reached, of which copying rows takes 0.06, the sums in doubt 0.05, and stores to L2 most
 * of the rest; of 3 x 3 means 0.155 of 0.064 (alone; `bench/drop_ins.py --cases '(separable5|uniform3)-1024.*uint8'`).
 */
#ifndef FC_FILTER_BYTE_QUOTIENTS_H
#define FC_FILTER_BYTE_QUOTIENTS_H

#include "kernels/filter/byte_doubts.h"
#include "kernels/filter/byte_rows.h"
#include "kernels/filter/whole.h"

enum { QUOTIENT_VECS = 2 }; /* a block: BYTE_BLOCK columns */

typedef struct quotient_scratch {
    const uint8_t **rows; /* of the ring, that the rows being computed read */
    uint8_t *ring;
    uint16_t *middle;
    halves *first_weight, *second_weight; /* each in all lanes */
    int64_t *edges;
    int64_t pitch; /* in cells, of the ring and the middle */
} quotient_scratch;

FC_COLD static size_t quotient_scratch_at(const fc_filter_call *call, char *base, quotient_scratch *s) {
    int64_t outside = call->left[1] + call->right[1];
    int64_t pitch = round_up(call->strip + outside + BYTE_BLOCK, 64) + 64; /* rows must not compete for the same sets */
    size_t sizes[] = {(size_t)call->ring * sizeof(uint8_t *), (size_t)(2 * call->ring * pitch),
                      (size_t)(FC_FILTER_ROWS * pitch) * sizeof(uint16_t),
                      (size_t)call->first_whole.count * sizeof(halves),
                      (size_t)call->second_whole.count * sizeof(halves), (size_t)outside * sizeof(int64_t)};
    enum { COUNT = sizeof sizes / sizeof *sizes };
    char *starts[COUNT];
    size_t total = place_pieces(sizes, COUNT, base, starts);
    if (base != NULL)
        *s = (quotient_scratch){(const uint8_t **)(void *)starts[0], (uint8_t *)starts[1], (uint16_t *)(void *)starts[2],
                                (halves *)(void *)starts[3], (halves *)(void *)starts[4], (int64_t *)(void *)starts[5],
                                pitch};
    return total;
}

FC_INLINE halves load_halves(const uint16_t *p) {
    halves x;
    memcpy(&x, p, sizeof x);
    return x;
}

typedef struct quotient {
    halves times, shift, by;
} quotient;

static quotient quotient_of(const fc_filter_wholes *w) {
    halves none = {0};
    return (quotient){none + w->times, none + w->shift, none + w->divisor};
}
FC_INLINE halves divide_halves(halves sum, const quotient *q) {
    return h_product_high(h_product_high(sum, q->times), q->shift);
}

/* What a function is compiled for: any taps, or a constant number that are the same from both sides, or all one. */
enum { ANY, EVEN, ONES };

static int kind_of(const fc_filter_wholes *w) {
    return w->count != 3 && w->count != 5 ? ANY : w->ones ? ONES : w->even ? EVEN : ANY;
}

/* Runs `loop`, which says `kind` and `count`, compiled for a pass. */
#define FC_FOR_WHOLES(w, loop)                                                       \
    do {                                                                             \
        switch (kind_of(w) * 8 + (kind_of(w) == ANY ? 0 : (int)(w)->count)) {        \
        case ONES * 8 + 3: { const int kind = ONES; const int64_t count = 3; loop; break; } \
        case ONES * 8 + 5: { const int kind = ONES; const int64_t count = 5; loop; break; } \
        case EVEN * 8 + 3: { const int kind = EVEN; const int64_t count = 3; loop; break; } \
        case EVEN * 8 + 5: { const int kind = EVEN; const int64_t count = 5; loop; break; } \
        default: { const int kind = ANY; const int64_t count = (w)->count; loop; }   \
        }                                                                            \
    } while (0)

/* Taps from both sides of the middle have one weight. */
FC_INLINE halves sum_pairs(const halves *in, const halves *w, const int64_t count, const int kind) {
    int64_t middle = count / 2;
    halves sum = kind == ONES ? in[middle] : in[middle] * w[middle];
    for (int64_t t = 0; t < middle; t++) {
        halves pair = in[t] + in[count - 1 - t];
        sum += kind == ONES ? pair : pair * w[t];
    }
    return sum;
}

FC_INLINE void store_middle(halves sum, const quotient *q, uint16_t *to) {
    halves all = q ? divide_halves(sum, q) : sum;
    memcpy(to, &all, sizeof all);
}

enum { MOST_PAIRS = 5, ROWS_OF_PAIRS = MOST_PAIRS + FC_FILTER_ROWS - 1 };

/* Column `at` and those beside it of FC_FILTER_ROWS rows, all rows read at once. */
FC_INLINE void pair_columns(const uint8_t *const *rows, int64_t at, const halves *w, const int64_t count, const int kind,
                            const quotient *q, int64_t pitch, uint16_t *to) {
    halves x[ROWS_OF_PAIRS];
    for (int64_t t = 0; t < count + FC_FILTER_ROWS - 1; t++)
        x[t] = h_widen_bytes(rows[t] + at);
    for (int r = 0; r < FC_FILTER_ROWS; r++)
        store_middle(sum_pairs(x + r, w, count, kind), q, to + r * pitch);
}

/* What a row of x gives to the sums of output rows [low, high]; w: its weight in row 0. */
FC_INLINE void add_byte_row(const uint8_t *row, const halves *w, const int low, const int high,
                            halves sum[FC_FILTER_ROWS][QUOTIENT_VECS]) {
    for (int v = 0; v < QUOTIENT_VECS; v++) {
        halves x = h_widen_bytes(row + v * WHOLE_CELLS);
        for (int r = low; r <= high; r++)
            sum[r][v] += x * w[-r];
    }
}

FC_INLINE void any_columns(const uint8_t *const *rows, int64_t at, const halves *w, int64_t count, const quotient *q,
                           int64_t pitch, uint16_t *to) {
    halves sum[FC_FILTER_ROWS][QUOTIENT_VECS] = {{{0}}};
    int64_t t = 3;
    add_byte_row(rows[0] + at, w, 0, 0, sum);
    add_byte_row(rows[1] + at, w + 1, 0, 1, sum);
    add_byte_row(rows[2] + at, w + 2, 0, 2, sum);
    for (; t < count; t++)
        add_byte_row(rows[t] + at, w + t, 0, 3, sum);
    add_byte_row(rows[t] + at, w + t, 1, 3, sum);
    add_byte_row(rows[t + 1] + at, w + t + 1, 2, 3, sum);
    add_byte_row(rows[t + 2] + at, w + t + 2, 3, 3, sum);
    for (int i = 0; i < FC_FILTER_ROWS * QUOTIENT_VECS; i++)
        store_middle(sum[i / QUOTIENT_VECS][i % QUOTIENT_VECS], q,
                     to + i / QUOTIENT_VECS * pitch + i % QUOTIENT_VECS * WHOLE_CELLS);
}

/* FC_FILTER_ROWS rows of the middle. */
FC_LOOP static void quotient_columns(const quotient_scratch *s, const fc_filter_wholes *pass, int64_t columns) {
    quotient q = quotient_of(pass), *cut = pass->divisor ? &q : NULL;
    const halves *w = s->first_weight;
#define FC_COLUMNS                                                                               \
    for (int64_t at = 0; at < columns; at += BYTE_BLOCK) {                                       \
        for (int v = 0; v < QUOTIENT_VECS && kind != ANY; v++) {                                 \
            int64_t here = at + v * WHOLE_CELLS;                                                 \
            pair_columns(s->rows, here, w, count, kind, cut, s->pitch, s->middle + here);        \
        }                                                                                        \
        if (kind == ANY)                                                                         \
            any_columns(s->rows, at, w, count, cut, s->pitch, s->middle + at);                   \
    }
    FC_FOR_WHOLES(pass, FC_COLUMNS);
#undef FC_COLUMNS
}

/* BYTE_BLOCK outputs of a row, and a bit for each whose sum the divisor goes into. */
FC_INLINE uint64_t row_block(const uint16_t *row, const halves *w, const int64_t count, const int kind, int64_t step,
                             const quotient *q, uint8_t *to) {
    halves sum[QUOTIENT_VECS] = {{0}};
    for (int v = 0; v < QUOTIENT_VECS && kind != ANY; v++) {
        halves x[MOST_PAIRS];
        for (int64_t t = 0; t < count; t++)
            x[t] = load_halves(row + t * step + v * WHOLE_CELLS);
        sum[v] = sum_pairs(x, w, count, kind);
    }
    for (int64_t t = 0; t < count && kind == ANY; t++)
        for (int v = 0; v < QUOTIENT_VECS; v++)
            sum[v] += load_halves(row + t * step + v * WHOLE_CELLS) * w[t];
    uint64_t found = 0;
    halves all[QUOTIENT_VECS];
    for (int v = 0; v < QUOTIENT_VECS; v++) {
        all[v] = divide_halves(sum[v], q);
        found |= (uint64_t)h_zero_lanes(sum[v] - all[v] * q->by) << v * WHOLE_CELLS;
    }
    h_pack_bytes(all[0], all[1], to);
    return found;
}

/* Row r of out from one of the middle; what is in doubt is listed, unless nothing is. */
FC_LOOP static void quotient_row(const fc_filter_call *call, const quotient_scratch *s, int64_t r, int64_t columns,
                                 doubtful *d, uint8_t *out) {
    const fc_filter_wholes *pass = &call->second_whole;
    const uint16_t *row = s->middle + r * s->pitch;
    const halves *w = s->second_weight;
    quotient q = quotient_of(pass);
    int64_t at = 0, step = call->filter->step;
    d->to[r] = out;
#define FC_SURE_ROW                                                      \
    for (; at + BYTE_BLOCK <= columns; at += BYTE_BLOCK)                 \
        row_block(row + at, w, count, kind, step, &q, out + at)
#define FC_ROW                                                           \
    for (; at + BYTE_BLOCK <= columns; at += BYTE_BLOCK)                 \
        take_doubts(d, row_block(row + at, w, count, kind, step, &q, out + at), r, at, true, 1)
    if (pass->sure)
        FC_FOR_WHOLES(pass, FC_SURE_ROW);
    else
        FC_FOR_WHOLES(pass, FC_ROW);
#undef FC_SURE_ROW
#undef FC_ROW
    if (at < columns) {
        uint8_t last[BYTE_BLOCK];
        uint64_t found = row_block(row + at, w, pass->count, ANY, step, &q, last);
        memcpy(out + at, last, (size_t)(columns - at));
        if (!pass->sure)
            take_doubts(d, found & (((uint64_t)1 << (columns - at)) - 1), r, at, false, 1);
    }
}

/* Between two passes that are cut, what lies beyond the border is the constant itself. */
FC_COLD static void extend_cut(const fc_filter_call *call, const piece *p, uint16_t *row) {
    int64_t first = p->column - call->left[1], n = call->left[1] + p->columns + call->right[1];
    for (int64_t i = first; i < 0; i++)
        row[i - first] = (uint16_t)call->filter->constant;
    for (int64_t i = call->columns; i < first + n; i++)
        row[i - first] = (uint16_t)call->filter->constant;
}

FC_COLD static void quotient_run(const fc_filter_call *call, int64_t task, void *scratch) {
    const fc_filter *f = call->filter;
    piece p = piece_of(call, task);
    quotient_scratch s;
    quotient_scratch_at(call, scratch, &s);
    for (int64_t t = 0; t < call->first_whole.count; t++)
        s.first_weight[t] = (halves){0} + call->first_whole.weight[t];
    for (int64_t t = 0; t < call->second_whole.count; t++)
        s.second_weight[t] = (halves){0} + call->second_whole.weight[t];
    find_edges(call, &p, s.edges);
    byte_rows rows = {s.ring, s.pitch, s.edges, !call->second_whole.sure};
    int64_t copied = INT64_MIN, width = call->left[1] + p.columns + call->right[1];
    bool cut = call->first_whole.divisor && f->extension[2] == FC_EXTEND_CONSTANT;
    for (int64_t h = p.begin; h < p.end; h += FC_FILTER_ROWS) {
        const uint8_t *base = s.ring + h % call->ring * s.pitch;
        doubtful d;
        begin_doubts(&call->window, call->second.doubt, base, s.pitch, &d);
        copy_byte_rows(call, &p, h, &rows, &copied);
        for (int64_t i = 0; i < call->ring; i++)
            s.rows[i] = s.ring + (h + i) % call->ring * s.pitch;
        quotient_columns(&s, &call->first_whole, width);
        for (int64_t r = 0; r < smaller(FC_FILTER_ROWS, p.end - h); r++) {
            int64_t at = p.image * f->out_stride[0] + p.depth * f->out_stride[1] + (h + r) * f->out_stride[2];
            if (cut)
                extend_cut(call, &p, s.middle + r * s.pitch);
            quotient_row(call, &s, r, p.columns, &d, (uint8_t *)call->out + at + p.column);
        }
        settle_listed(&d);
    }
}

#endif
