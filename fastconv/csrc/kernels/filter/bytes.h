/* Pictures of bytes smoothed to bytes: a pass along the height, one along the width, no sum below zero, in float32.
 * Columns 4 * i, ..., 4 * i + 3 of a row go to four phases, each a row of reals, at i: of a word of four bytes each is one
 * shift and one mask away, both ways. So four neighbouring outputs lie in as many vectors and share what they read, as
 * FC_FILTER_ROWS rows of outputs do along the height: both passes are the same loop.
 * Sums are in units of 2^-FRACTION, so that the bits of one, cut to an integer, are the byte and how far it is from a
 * whole number. Where rounding could have carried it past one, the bytes are added again in double, in SciPy's order.
 *
 * A ring holds rows of x as bytes, for those sums, and by phases; `middle` FC_FILTER_ROWS rows between the passes.
 * Bound: n + m multiply-adds a pixel for kernels of n rows and m columns, and of four vectors of pixels ten operations to
 * split their bytes and some 23 to cut and pack them: 73 of 16 lanes at 5 x 5, 0.22 ms for 1024 x 1024 at two a cycle of
 * 2.7 GHz. 0.6 was reached: a ring of 35 KB beside the middle is more than L1, the sums in doubt take a tenth.
 */
#ifndef FC_FILTER_BYTES_H
#define FC_FILTER_BYTES_H

#include "kernels/filter/byte_doubts.h"
#include "kernels/filter/byte_rows.h"

enum {
    PHASES = 4, /* bytes of a word; FC_FILTER_ROWS as well */
    SUM_VECS = 2,
    FRACTION = 16,
};

typedef struct byte_scratch {
    const real **phases;  /* [ring]: rows of x, extended */
    const real **cells;   /* inputs of the pass along the width */
    real *first_weight, *second_weight;
    uint8_t *row_ring;    /* the same as bytes, each twice */
    real *ring, *middle, *result; /* result: a row of sums along the width */
    uint8_t *bytes; /* of a row of the middle */
    int64_t *edges;
    int64_t pitch;  /* of a phase; PHASES times as much of a row, of bytes as well */
} byte_scratch;

FC_COLD static size_t byte_scratch_at(const fc_filter_call *call, char *base, byte_scratch *s) {
    int64_t first = call->filter->first.kernel[1], second = call->filter->second.kernel[2];
    int64_t pitch = round_up(round_up(divide_up(call->strip, PHASES), SUM_VECS * VL) + (second + 2) / PHASES, VL);
    size_t sizes[] = {(size_t)call->ring * sizeof(real *), (size_t)(second + 3) * sizeof(real *),
                      (size_t)first * sizeof(real), (size_t)second * sizeof(real),
                      (size_t)(2 * call->ring * PHASES * pitch), (size_t)(call->ring * PHASES * pitch) * sizeof(real),
                      (size_t)(FC_FILTER_ROWS * PHASES * pitch) * sizeof(real), (size_t)(PHASES * pitch) * sizeof(real),
                      (size_t)(PHASES * pitch), (size_t)(call->left[1] + call->right[1]) * sizeof(int64_t)};
    enum { COUNT = sizeof sizes / sizeof *sizes };
    char *starts[COUNT];
    size_t total = place_pieces(sizes, COUNT, base, starts);
    if (base != NULL)
        *s = (byte_scratch){(const real **)(void *)starts[0], (const real **)(void *)starts[1],
                            (real *)(void *)starts[2], (real *)(void *)starts[3], (uint8_t *)starts[4],
                            (real *)(void *)starts[5], (real *)(void *)starts[6], (real *)(void *)starts[7],
                            (uint8_t *)starts[8], (int64_t *)(void *)starts[9], pitch};
    return total;
}

/* A row of bytes to its phases. */
FC_LOOP static void split_row(const uint8_t *row, int64_t pitch, real *to) {
    for (int64_t i = 0; i < pitch; i += VL) {
        words four;
        memcpy(&four, row + PHASES * i, sizeof four);
        for (int p = 0; p < PHASES; p++)
            v_store(to + p * pitch + i, v_from_words((four >> 8 * p) & 255));
    }
}

/* The rows that output row h and the ones below it read, by phases; those before *copied are there already. */
FC_COLD static void fill_ring(const fc_filter_call *call, const piece *p, int64_t h, int64_t *copied, byte_scratch *s) {
    int64_t pitch = PHASES * s->pitch;
    byte_rows rows = {s->row_ring, pitch, s->edges, true};
    int64_t first = copy_byte_rows(call, p, h, &rows, copied);
    for (int64_t q = first; q < *copied; q++) { /* by now stores have left the loads' way */
        int64_t slot = (q + call->filter->first.before[1]) % call->ring;
        split_row(s->row_ring + slot * pitch, s->pitch, s->ring + slot * pitch);
    }
    int64_t needed = *copied - (h - call->filter->first.before[1]);
    for (int64_t i = 0; i < call->ring; i++)
        s->phases[i] = s->ring + (h + smaller(i, needed - 1)) % call->ring * pitch;
}

/* What one input gives to sums [low, high]; w: the weight of sum 0. */
FC_INLINE void add_input(const real *p, const real *w, const int low, const int high, vec (*sum)[SUM_VECS]) {
    vec x[SUM_VECS];
    for (int v = 0; v < SUM_VECS; v++)
        x[v] = v_load(p + v * VL);
    for (int r = low; r <= high; r++)
        for (int v = 0; v < SUM_VECS; v++)
            sum[r][v] = v_fma(v_set1(w[-r]), x[v], sum[r][v]);
}

FC_INLINE void no_sums(vec (*sum)[SUM_VECS]) {
    for (int i = 0; i < PHASES * SUM_VECS; i++)
        sum[i / SUM_VECS][i % SUM_VECS] = v_zero();
}

/* Four rows of sums of `count` inputs each, of which sum r begins with input r. Many are added in pieces, then those, so
 * that less is rounded: roundings_of in filter.c says how often. */
FC_INLINE void sum_block(const real *const *in, const real *w, int64_t count, int64_t at, real *const to[PHASES]) {
    vec sum[PHASES][SUM_VECS];
    int64_t s = 3;
    no_sums(sum);
    add_input(in[0] + at, w, 0, 0, sum);
    add_input(in[1] + at, w + 1, 0, 1, sum);
    add_input(in[2] + at, w + 2, 0, 2, sum);
    if (count > FC_FILTER_MANY) {
        vec total[PHASES][SUM_VECS];
        no_sums(total);
        for (int64_t end = s; end < count; ) {
            for (end = smaller(s + FC_FILTER_PIECE, count); s < end; s++)
                add_input(in[s] + at, w + s, 0, 3, sum);
            for (int i = 0; i < PHASES * SUM_VECS; i++)
                total[i / SUM_VECS][i % SUM_VECS] = v_add(total[i / SUM_VECS][i % SUM_VECS], sum[i / SUM_VECS][i % SUM_VECS]);
            no_sums(sum);
        }
        add_input(in[count] + at, w + count, 1, 3, sum);
        add_input(in[count + 1] + at, w + count + 1, 2, 3, sum);
        add_input(in[count + 2] + at, w + count + 2, 3, 3, sum);
        for (int i = 0; i < PHASES * SUM_VECS; i++)
            sum[i / SUM_VECS][i % SUM_VECS] = v_add(total[i / SUM_VECS][i % SUM_VECS], sum[i / SUM_VECS][i % SUM_VECS]);
    } else {
        for (; s < count; s++)
            add_input(in[s] + at, w + s, 0, 3, sum);
        add_input(in[count] + at, w + count, 1, 3, sum);
        add_input(in[count + 1] + at, w + count + 1, 2, 3, sum);
        add_input(in[count + 2] + at, w + count + 2, 3, 3, sum);
    }
    for (int i = 0; i < PHASES * SUM_VECS; i++)
        v_store(to[i / SUM_VECS] + at + i % SUM_VECS * VL, sum[i / SUM_VECS][i % SUM_VECS]);
}

FC_LOOP static void four_sums(const real *const *in, const real *w, int64_t count, int64_t cells,
                              real *const to[PHASES]) {
    for (int64_t at = 0; at < cells; at += SUM_VECS * VL)
        sum_block(in, w, count, at, to);
}

typedef uint32_t shifted_words __attribute__((vector_size(VL * sizeof(uint32_t))));

/* Sums of the phases of BYTE_BLOCK columns, of which `left` are wanted, to bytes; which of them are in doubt. */
FC_INLINE uint64_t finish_block(const vec sum[PHASES], int32_t doubt, int64_t left, uint8_t *to) {
    words lead = (words){0} + doubt, width = lead + doubt;
    shifted_words all = {0};
    uint64_t found = 0;
    for (int p = 0; p < PHASES; p++) {
        words q = v_to_words(sum[p]);
        found |= (uint64_t)w_lanes_below((q + lead) & ((1 << FRACTION) - 1), width) << p * VL;
        shifted_words bits = (shifted_words)q;
        all |= (p < 2 ? bits >> (16 - 8 * p) : bits << (8 * p - 16)) & 255u << 8 * p;
    }
    if (left >= BYTE_BLOCK) {
        memcpy(to, &all, sizeof all);
        return found;
    }
    memcpy(to, &all, (size_t)left);
    uint64_t wanted = 0;
    for (int64_t i = 0; i < left; i++)
        wanted |= (uint64_t)1 << (i % PHASES * VL + i / PHASES);
    return found & wanted;
}

/* By how many units of a sum, cut, rounding may have moved it, and one more for the cut. */
FC_INLINE int32_t units_of(const fc_filter_taps *taps) { return (int32_t)ceil(taps->doubt * (1 << FRACTION)) + 1; }

/* Row r of sums, by phases, to bytes; those in doubt are listed. */
FC_LOOP static void finish_row(doubtful *d, int64_t r, double doubt, const real *sums, int64_t pitch, int64_t columns,
                               uint8_t *to) {
    int32_t units = (int32_t)ceil(doubt * (1 << FRACTION)) + 1; /* one for the cut */
    d->to[r] = to;
    for (int64_t at = 0; at < columns; at += BYTE_BLOCK) {
        vec phases[PHASES];
        for (int64_t p = 0; p < PHASES; p++)
            phases[p] = v_load(sums + p * pitch + at / PHASES);
        uint64_t found = finish_block(phases, units, columns - at, to + at);
        take_doubts(d, found, r, at, at + BYTE_BLOCK <= columns, PHASES);
    }
}

/* Row r of the middle, cut to bytes as SciPy's lies between its passes, with its own border. */
FC_COLD static void cut_middle(const fc_filter_call *call, const piece *p, int64_t r, const uint8_t *base,
                               const byte_scratch *s) {
    const fc_filter *f = call->filter;
    real *row = s->middle + r * PHASES * s->pitch;
    int64_t first = p->column - call->left[1], n = call->left[1] + p->columns + call->right[1];
    doubtful d;
    begin_doubts(&call->first, call->first.doubt, base, PHASES * s->pitch, &d);
    finish_row(&d, r, call->first.doubt, row, s->pitch, n, s->bytes);
    settle_listed(&d);
    for (int64_t i = first; f->extension[2] == FC_EXTEND_CONSTANT && i < 0; i++)
        s->bytes[i - first] = (uint8_t)f->constant;
    for (int64_t i = call->columns; f->extension[2] == FC_EXTEND_CONSTANT && i < first + n; i++)
        s->bytes[i - first] = (uint8_t)f->constant;
    split_row(s->bytes, s->pitch, row);
}

/* The second pass of row r. */
FC_COLD static void byte_row(const fc_filter_call *call, int64_t r, int64_t columns, const byte_scratch *s, doubtful *d,
                             uint8_t *out) {
    int64_t count = call->filter->second.kernel[2];
    real *to[PHASES];
    for (int64_t c = 0; c < count + 3; c++)
        s->cells[c] = s->middle + (r * PHASES + c % PHASES) * s->pitch + c / PHASES;
    for (int64_t p = 0; p < PHASES; p++)
        to[p] = s->result + p * s->pitch;
    four_sums(s->cells, s->second_weight, count, divide_up(columns, PHASES), to);
    finish_row(d, call->window.count ? r : 0, call->second.doubt, s->result, s->pitch, columns, out);
}

FC_COLD static void byte_run(const fc_filter_call *call, int64_t task, void *scratch) {
    const fc_filter *f = call->filter;
    piece p = piece_of(call, task);
    byte_scratch s;
    byte_scratch_at(call, scratch, &s);
    bool window = call->window.count > 0;
    for (int64_t t = 0; t < f->first.kernel[1]; t++)
        s.first_weight[t] = (real)f->first.weights[t] * (window ? 1 : 1 << FRACTION);
    for (int64_t t = 0; t < f->second.kernel[2]; t++)
        s.second_weight[t] = (real)f->second.weights[t] * (1 << FRACTION);
    find_edges(call, &p, s.edges);
    int64_t copied = INT64_MIN, pitch = PHASES * s.pitch;
    real *const middle[FC_FILTER_ROWS] = {s.middle, s.middle + pitch, s.middle + 2 * pitch, s.middle + 3 * pitch};
    for (int64_t h = p.begin; h < p.end; h += FC_FILTER_ROWS) {
        const uint8_t *base = s.row_ring + h % call->ring * pitch;
        doubtful d;
        begin_doubts(window ? &call->window : &call->second, call->second.doubt, window ? base : s.bytes,
                     pitch, &d);
        fill_ring(call, &p, h, &copied, &s);
        four_sums(s.phases, s.first_weight, f->first.kernel[1], pitch, middle);
        for (int64_t r = 0; r < smaller(FC_FILTER_ROWS, p.end - h); r++) {
            int64_t at = p.image * f->out_stride[0] + p.depth * f->out_stride[1] + (h + r) * f->out_stride[2];
            if (!window)
                cut_middle(call, &p, r, base, &s);
            byte_row(call, r, p.columns, &s, &d, (uint8_t *)call->out + at + p.column);
            if (!window)
                settle_listed(&d);
        }
        settle_listed(&d);
    }
}

#endif
