/* From rows of x to rows of out, a strip of columns at a time, in cells: filter.c includes this for reals and, beside
 * float32, for 16-bit whole numbers. It says what a cell is, by
 *
 *   cell CELLS CELL_SLACK CELL_ELEMENT  its type, how many are a vector, how far sweeps run over the end of a row, and
 *                                       which element of an array it is
 *   CELL_IS_REAL                        1, or 0 for whole numbers: they have neither grids nor doubts
 *   CELL(name)                          the name as this kind of cell has it: read_row write_row sweep_row, a vector
 *                                       `cells` with load_cells store_cells add_cells no_cells, and `mean` with
 *                                       mean_over and take_mean are there, the functions below are added
 */
typedef struct CELL(filter_scratch) {
    const cell **table;    /* [depth tap][ring], of the rows being computed */
    const cell **pointers; /* of the taps */
    cell *first_weight, *second_weight;
    cell *ring;            /* [depth tap][ring][pitch] */
    cell *constant;        /* a row of it */
    cell *middle;          /* FC_FILTER_ROWS rows of what the first stage gives */
    cell *result;          /* one row of what the second gives */
    cell *pieces, *fours;  /* of box_row, a row; of box_rows, FC_FILTER_ROWS rows' sums each */
    char *converted;       /* one row of out's type */
    int64_t *edges;        /* of find_edges */
    int64_t pitch;
} CELL(filter_scratch);

FC_COLD static size_t CELL(scratch_at)(const fc_filter_call *call, char *base, CELL(filter_scratch) *s) {
    int64_t depth = call->filter->first.kernel[0];
    int64_t most = larger(larger(call->first.count, call->second.count), call->window.count);
    int64_t outside = call->left[0] + call->right[0] + call->left[1] + call->right[1];
    int64_t pitch = round_up(call->strip + outside + CELL_SLACK, CELLS);
    pitch += 3 * CELLS; /* no power of two: rows must not compete for the same sets of L1 */
    int64_t fours = call->first.box && call->filter->first.kernel[1] >= FC_FILTER_FOURS;
    fours *= call->filter->first.kernel[1] / 4 - 1;
    size_t sizes[] = {(size_t)(depth * call->ring) * sizeof(cell *), (size_t)most * sizeof(cell *),
                       (size_t)call->first.count * sizeof(cell),      (size_t)call->second.count * sizeof(cell),
                       (size_t)(depth * call->ring * pitch) * sizeof(cell), (size_t)pitch * sizeof(cell),
                       (size_t)(FC_FILTER_ROWS * pitch) * sizeof(cell), (size_t)pitch * sizeof(cell),
                       (size_t)pitch * 8,
                       (size_t)outside * sizeof(int64_t),
                       call->first.piece || call->second.piece ? (size_t)pitch * sizeof(cell) : 0,
                       (size_t)(fours * pitch) * sizeof(cell)};
    enum { COUNT = sizeof sizes / sizeof *sizes };
    char *starts[COUNT];
    size_t total = place_pieces(sizes, COUNT, base, starts);
    if (base != NULL)
        *s = (CELL(filter_scratch)){(const cell **)(void *)starts[0], (const cell **)(void *)starts[1],
                              (cell *)(void *)starts[2],        (cell *)(void *)starts[3],
                              (cell *)(void *)starts[4],        (cell *)(void *)starts[5],
                              (cell *)(void *)starts[6],        (cell *)(void *)starts[7],
                              (cell *)(void *)starts[10],       (cell *)(void *)starts[11],
                              starts[8],                        (int64_t *)(void *)starts[9],
                              pitch};
    return total;
}

static size_t CELL(scratch_bytes)(const fc_filter_call *call) { return CELL(scratch_at)(call, NULL, NULL); }

/* The next `count` elements outside the row; its elements [begin, end) are copied already. */
static const int64_t *CELL(extend_row)(const fc_filter_call *call, const char *row, const int64_t *edges, int64_t count,
                                 int64_t begin, int64_t end, const cell *copied, cell *to) {
    const fc_filter *f = call->filter;
    int64_t size = (int64_t)fc_element_size(f->x_element);
    for (int64_t i = 0; i < count; i++) {
        int64_t source = edges[i];
        if (source < 0)
            to[i] = (cell)f->constant;
        else if (source >= begin && source < end)
            to[i] = copied[source - begin];
        else
            CELL(read_row)[f->x_element](row + source * size, to + i, 1);
    }
    return edges + count;
}

/* Elements [first, last) of a row of x, extended. */
static void CELL(copy_row)(const fc_filter_call *call, const char *row, const int64_t *edges, int64_t first, int64_t last,
                     cell *to) {
    const fc_filter *f = call->filter;
    int64_t begin = smaller(larger(first, 0), last), end = larger(smaller(last, call->columns), begin);
    cell *copied = to + (begin - first);
    if (end > begin)
        CELL(read_row)[f->x_element](row + begin * (int64_t)fc_element_size(f->x_element), copied, end - begin);
    edges = CELL(extend_row)(call, row, edges, begin - first, begin, end, copied, to);
    CELL(extend_row)(call, row, edges, last - end, begin, end, copied, to + (end - first));
}

/* What lies beyond the ends of x's rows, put beside the first stage's results. */
static void CELL(extend_middle)(const fc_filter_call *call, const int64_t *edges, const cell *inside, cell *row) {
    int64_t left = call->left[1], count = left + call->right[1];
    for (int64_t i = 0; i < count; i++) {
        cell *to = row + (i < left ? i : call->columns + i);
        *to = edges[i] < 0 ? (cell)call->filter->constant : inside[edges[i]];
    }
}

/* The table for output row h and the ones below it; rows up to *copied are in the ring already, unless x is read. */
static void CELL(fill_table)(const fc_filter_call *call, const piece *p, int64_t h, int64_t *copied,
                             CELL(filter_scratch) *s) {
    const fc_filter *f = call->filter;
    int64_t size = (int64_t)fc_element_size(f->x_element), top = h - f->first.before[1];
    int64_t first = p->column - (call->inside ? 0 : call->left[0] + call->left[1]);
    int64_t last = p->column + p->columns + (call->inside ? 0 : call->right[0] + call->right[1]);
    int64_t needed = smaller(h + FC_FILTER_ROWS, p->end) - h + f->first.kernel[1] - 1; /* rows any output reads */
    for (int64_t kd = 0; kd < f->first.kernel[0]; kd++) {
        int64_t d = fc_extended(p->depth + kd - f->first.before[0], f->size[0], f->extension[0]);
        for (int64_t i = 0; i < call->ring; i++) {
            int64_t q = top + smaller(i, needed - 1), y = fc_extended(q, f->size[1], f->extension[1]);
            const cell **entry = &s->table[kd * call->ring + i];
            if (d < 0 || y < 0) {
                *entry = s->constant;
                continue;
            }
            const char *row = call->x + (p->image * f->x_stride[0] + d * f->x_stride[1] + y * f->x_stride[2]) * size;
            if (call->direct) {
                *entry = (const cell *)(const void *)row;
                continue;
            }
            int64_t slot = (q + f->first.before[1]) % call->ring; /* never negative: q begins at -before */
            cell *copy = s->ring + (kd * call->ring + slot) * s->pitch;
            *entry = copy;
            if (q >= *copied)
                CELL(copy_row)(call, row, s->edges, first, last, copy);
        }
    }
    *copied = top + needed;
}

static void CELL(point_taps)(const fc_filter_taps *taps, const cell *const *table, int64_t r, const cell **pointers) {
    for (int64_t t = 0; t < taps->count; t++)
        pointers[t] = table[taps->row[t] + r] + taps->shift[t];
}

#include "kernels/filter/box.h"

/* The mean of a stage's sums, if it takes one. */
static CELL(mean) CELL(mean_of)(const fc_filter_call *call, const fc_filter_taps *taps) {
    return CELL(mean_over)(taps->divisor, call->filter->out_element < FC_REAL32);
}

/* The first stage of FC_FILTER_ROWS rows from h on, of which the first `rows` count. */
FC_COLD static void CELL(run_first)(const fc_filter_call *call, int64_t h, int64_t rows, int64_t begin, int64_t columns,
                            cell *const *to, CELL(filter_scratch) *s) {
    const fc_filter_taps *taps = &call->first;
    const fc_filter_stage *stage = &call->filter->first;
    CELL(mean) mean = CELL(mean_of)(call, taps);
    if (taps->box && stage->kernel[1] >= FC_FILTER_ROWS - 1) {
        CELL(box_rows)(stage->kernel[1], h, begin, columns, &mean, s, to);
        return;
    }
#if CELL_IS_REAL
    if (taps->grid) {
        grid g = {s->table, s->first_weight, stage->kernel[0], stage->kernel[1], stage->kernel[2],
                  call->ring, call->filter->step, {to[0], to[1], to[2], to[3]}};
        sweep_grid(&g, columns);
    }
#endif
    for (int64_t r = 0; r < rows; r++) {
        if (taps->box && stage->kernel[2] > 1) {
            CELL(box_row)(taps, s->table[r], call->filter->step, columns, &mean, s, to[r]);
            continue;
        }
        if (!taps->grid) {
            CELL(point_taps)(taps, s->table, r, s->pointers);
            CELL(sweep_row)(taps->order, s->pointers, s->first_weight, taps->count, columns, to[r]);
        }
#if CELL_IS_REAL
        if (taps->doubt > 0)
            settle_row(taps, s->table + r, (cell)taps->doubt, columns, to[r]);
#endif
        for (int64_t i = 0; taps->divisor != 0 && i < columns; i += CELLS)
            CELL(store_cells)(to[r] + i, CELL(take_mean)(CELL(load_cells)(to[r] + i), &mean));
    }
}

/* What lies between the stages: of the type of out, with its own border. */
static void CELL(prepare_middle)(const fc_filter_call *call, const piece *p, cell *row, CELL(filter_scratch) *s) {
    const fc_filter *f = call->filter;
    int64_t n = p->columns + call->left[1] + call->right[1], first = p->column - call->left[1];
    bool changes = CELL_IS_REAL ? f->out_element != CELL_ELEMENT : f->out_element <= FC_U8; /* 16 bits hold the others */
    changes = changes && (CELL_IS_REAL || call->first.divisor == 0); /* means of bytes are bytes */
    if (changes && call->window.count == 0) {
        CELL(write_row)[f->out_element](row, s->converted, n);
        CELL(read_row)[f->out_element](s->converted, row, n);
    }
    for (int64_t i = first; f->extension[2] == FC_EXTEND_CONSTANT && i < 0; i++)
        row[i - first] = (cell)f->constant;
    for (int64_t i = call->columns; f->extension[2] == FC_EXTEND_CONSTANT && i < first + n; i++)
        row[i - first] = (cell)f->constant;
}

/* The second stage of row r of the block. */
FC_COLD static void CELL(run_second)(const fc_filter_call *call, const cell *row, int64_t r, int64_t columns, cell *to,
                       CELL(filter_scratch) *s) {
    const fc_filter_taps *taps = &call->second;
    CELL(mean) mean = CELL(mean_of)(call, taps);
    if (taps->box) {
        CELL(box_row)(taps, row, call->filter->step, columns, &mean, s, to);
        return;
    }
    for (int64_t t = 0; t < taps->count; t++)
        s->pointers[t] = row + taps->shift[t];
    CELL(sweep_row)(taps->order, s->pointers, s->second_weight, taps->count, columns, to);
#if CELL_IS_REAL
    if (call->window.count)
        settle_row(&call->window, s->table + r, (cell)taps->doubt, columns, to);
    else if (taps->doubt > 0)
        settle_row(taps, &row, (cell)taps->doubt, columns, to);
#endif
    (void)r;
    for (int64_t i = 0; taps->divisor != 0 && i < columns; i += CELLS)
        CELL(store_cells)(to + i, CELL(take_mean)(CELL(load_cells)(to + i), &mean));
}

FC_COLD static void CELL(run)(const fc_filter_call *call, int64_t task, void *scratch) {
    const fc_filter *f = call->filter;
    piece p = piece_of(call, task);
    CELL(filter_scratch) s;
    CELL(scratch_at)(call, scratch, &s);
    for (int64_t t = 0; t < call->first.count; t++)
        s.first_weight[t] = (cell)call->first.weight[t];
    for (int64_t t = 0; t < call->second.count; t++)
        s.second_weight[t] = (cell)call->second.weight[t];
    for (int64_t i = 0; i < s.pitch; i++)
        s.constant[i] = (cell)f->constant;
    find_edges(call, &p, s.edges);
    bool two = call->second.count > 0, plain = f->out_element == CELL_ELEMENT;
    plain = plain && p.columns % CELLS == 0; /* out is written as it is computed, whole vectors at a time */
    int64_t out_size = (int64_t)fc_element_size(f->out_element), copied = INT64_MIN;
    int64_t middle = call->inside ? p.columns : p.columns + call->left[1] + call->right[1];
    int64_t lead = call->inside && two ? round_up(call->left[1], CELLS) : 0; /* the first stage stores whole lines */
    for (int64_t h = p.begin; h < p.end; h += FC_FILTER_ROWS) {
        int64_t rows = smaller(FC_FILTER_ROWS, p.end - h);
        char *out[FC_FILTER_ROWS];
        cell *to[FC_FILTER_ROWS];
        for (int64_t r = 0; r < FC_FILTER_ROWS; r++) {
            int64_t at = p.image * f->out_stride[0] + p.depth * f->out_stride[1] + (h + r) * f->out_stride[2];
            out[r] = r < rows ? call->out + (at + p.column) * out_size : NULL;
            to[r] = plain && !two && r < rows ? (cell *)(void *)out[r] : s.middle + r * s.pitch + lead;
        }
        CELL(fill_table)(call, &p, h, &copied, &s);
        CELL(run_first)(call, h, rows, p.begin, middle, to, &s);
        for (int64_t r = 0; r < rows; r++) {
            cell *result = two ? plain ? (cell *)(void *)out[r] : s.result : to[r];
            if (two) {
                cell *row = to[r];
                if (call->inside) {
                    row -= call->left[1];
                    CELL(extend_middle)(call, s.edges, to[r], row);
                }
                CELL(prepare_middle)(call, &p, row, &s);
                CELL(run_second)(call, row, r, p.columns, result, &s);
            }
            if (!plain)
                CELL(write_row)[f->out_element](result, out[r], p.columns);
        }
    }
}

#undef cell
#undef CELL
#undef CELLS
#undef CELL_SLACK
#undef CELL_ELEMENT
#undef CELL_IS_REAL
