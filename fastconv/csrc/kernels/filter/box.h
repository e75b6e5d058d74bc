/* Boxes: sums of neighbouring cells and their means, in fewer additions than cells. No sum is carried from one output
 * to the next: each is added up from the cells of its window alone, in an order that depends on its row at most, so that
 * NaN, infinities and large values stay in their windows and errors are below those of adding one by one.
 * Bound: loads from L1, and from L2 where a column's rows lie there: of k rows some 3 + k / 16 an output in place of k, of
 * k neighbours about twice the root of k. Small boxes on pictures beyond L2 are bounded by memory.
 * rows.h includes this, once for each kind of cell, and with the same words.
 */

FC_INLINE void CELL(add_block)(const cell *const *rows, int64_t count, int64_t at, const int vecs, const CELL(mean) *mean,
                               cell *to) {
    CELL(cells) sum[4];
    for (int v = 0; v < vecs; v++)
        sum[v] = CELL(load_cells)(rows[0] + at + v * CELLS);
    for (int64_t t = 1; t < count; t++)
        for (int v = 0; v < vecs; v++)
            sum[v] = CELL(add_cells)(sum[v], CELL(load_cells)(rows[t] + at + v * CELLS));
    for (int v = 0; v < vecs; v++)
        CELL(store_cells)(to + at + v * CELLS, mean ? CELL(take_mean)(sum[v], mean) : sum[v]);
}

/* Sums of cells of `count` rows, or their means. */
FC_LOOP static void CELL(add_rows)(const cell *const *rows, int64_t count, int64_t columns, const CELL(mean) *mean, cell *to) {
    int64_t at = 0;
    for (; at + 3 * CELLS < columns; at += 4 * CELLS)
        CELL(add_block)(rows, count, at, 4, mean, to);
    for (; at < columns; at += CELLS)
        CELL(add_block)(rows, count, at, 1, mean, to);
}

/* Along a row: sums of `piece` neighbours, then sums of those. */
FC_LOOP static void CELL(box_row)(const fc_filter_taps *taps, const cell *row, int64_t step, int64_t columns,
                          const CELL(mean) *mean, CELL(filter_scratch) *s, cell *to) {
    int64_t count = 0, taken = 0;
    if (taps->piece) {
        for (; count < taps->piece; count++)
            s->pointers[count] = row + count * step;
        int64_t pieces = taps->count / taps->piece;
        CELL(add_rows)(s->pointers, count, columns + (pieces - 1) * taps->piece * step, NULL, s->pieces);
        for (count = 0; count < pieces; count++, taken += taps->piece)
            s->pointers[count] = s->pieces + taken * step;
    }
    for (; taken < taps->count; taken++)
        s->pointers[count++] = row + taken * step;
    CELL(add_rows)(s->pointers, count, columns, mean, to);
}

/* FC_FILTER_ROWS means of `taps` rows each, of which all share `core`: the three above and the three below are added in
 * turn. */
FC_INLINE void CELL(box_block)(const cell *const *core, int64_t count, const cell *const *table, int64_t taps, int64_t at,
                               const int vecs, const CELL(mean) *mean, cell *const *to) {
    CELL(cells) sum[2];
    for (int v = 0; v < vecs; v++)
        sum[v] = CELL(no_cells)();
    for (int64_t t = 0; t < count; t++)
        for (int v = 0; v < vecs; v++)
            sum[v] = CELL(add_cells)(sum[v], CELL(load_cells)(core[t] + at + v * CELLS));
    for (int v = 0; v < vecs; v++) {
        CELL(cells) above[3], below[3];
        for (int i = 0; i < 3; i++) {
            above[2 - i] = CELL(load_cells)(table[2 - i] + at + v * CELLS);
            below[i] = CELL(load_cells)(table[taps + i] + at + v * CELLS);
            if (i > 0) {
                above[2 - i] = CELL(add_cells)(above[2 - i], above[3 - i]);
                below[i] = CELL(add_cells)(below[i], below[i - 1]);
            }
        }
        for (int r = 0; r < FC_FILTER_ROWS; r++) {
            CELL(cells) all = sum[v];
            if (r < FC_FILTER_ROWS - 1)
                all = CELL(add_cells)(all, above[r]);
            if (r > 0)
                all = CELL(add_cells)(all, below[r - 1]);
            CELL(store_cells)(to[r] + at + v * CELLS, CELL(take_mean)(all, mean));
        }
    }
}

/* Along the height, three rows at least: FC_FILTER_ROWS rows from h on, of which `begin` is the block's first. What they
 * share is of many rows mostly sums of four, of which each step adds one. */
FC_LOOP static void CELL(box_rows)(int64_t taps, int64_t h, int64_t begin, int64_t columns, const CELL(mean) *mean,
                           CELL(filter_scratch) *s, cell *const *to) {
    int64_t fours = taps >= FC_FILTER_FOURS ? taps / 4 - 1 : 0, count = 0, row = FC_FILTER_ROWS - 1;
    for (int64_t i = 1; i <= fours; i++) {
        cell *sum = s->fours + (h / 4 + i) % fours * s->pitch;
        if (h == begin || i == fours)
            CELL(add_rows)(s->table + 4 * i, 4, columns, NULL, sum);
        s->pointers[count++] = sum;
    }
    if (fours > 0) {
        s->pointers[count++] = s->table[row];
        row = 4 * (fours + 1);
    }
    for (; row < taps; row++)
        s->pointers[count++] = s->table[row];
    int64_t at = 0;
    for (; at + CELLS < columns; at += 2 * CELLS)
        CELL(box_block)(s->pointers, count, s->table, taps, at, 2, mean, to);
    if (at < columns)
        CELL(box_block)(s->pointers, count, s->table, taps, at, 1, mean, to);
}
