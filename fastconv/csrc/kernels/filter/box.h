/* Boxes: sums of neighbouring cells and their means, in fewer additions than cells. No sum is carried from one output
 * to the next: each is added up from the cells of its window alone, in an order that depends on its row at most, so that
 * NaN, infinities and large values stay in their windows and errors are below those of adding one by one.
 * Bound: L1 loads, and L2's of the rows a column reaches over: for k rows 2 + k / 16 and some in place of k.
 * rows.h includes this, once for each kind of cell, and with the same words.
 */

/* Along a row: sums of `piece` neighbours, then sums of those. */
static void CELL(box_row)(const fc_filter_taps *taps, const cell *row, const cell *ones, int64_t step, int64_t columns,
                          const CELL(mean) *mean, CELL(filter_scratch) *s, cell *to) {
    int64_t count = 0, taken = 0;
    if (taps->piece) {
        for (; count < taps->piece; count++)
            s->pointers[count] = row + count * step;
        int64_t pieces = taps->count / taps->piece;
        CELL(sweep_row)(FC_ORDER_RASTER, s->pointers, ones, count, columns + (pieces - 1) * taps->piece * step, s->pieces);
        for (count = 0; count < pieces; count++, taken += taps->piece)
            s->pointers[count] = s->pieces + taken * step;
    }
    for (; taken < taps->count; taken++)
        s->pointers[count++] = row + taken * step;
    CELL(sweep_row)(FC_ORDER_RASTER, s->pointers, ones, count, columns, to);
    for (int64_t i = 0; i < columns; i += CELLS)
        CELL(store_cells)(to + i, CELL(take_mean)(CELL(load_cells)(to + i), mean));
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

static void CELL(add_four)(const cell *const *rows, int64_t columns, cell *to) {
    for (int64_t at = 0; at < columns; at += CELLS) {
        CELL(cells) sum = CELL(load_cells)(rows[0] + at);
        for (int i = 1; i < 4; i++)
            sum = CELL(add_cells)(sum, CELL(load_cells)(rows[i] + at));
        CELL(store_cells)(to + at, sum);
    }
}

/* Along the height, three rows at least: FC_FILTER_ROWS rows from h on, of which `begin` is the block's first. What they
 * share is of many rows mostly sums of four, of which each step adds one. */
static void CELL(box_rows)(int64_t taps, int64_t h, int64_t begin, int64_t columns, const CELL(mean) *mean,
                           CELL(filter_scratch) *s, cell *const *to) {
    int64_t fours = taps >= FC_FILTER_FOURS ? taps / 4 - 1 : 0, count = 0, row = FC_FILTER_ROWS - 1;
    for (int64_t i = 1; i <= fours; i++) {
        cell *sum = s->fours + (h / 4 + i) % fours * s->pitch;
        if (h == begin || i == fours)
            CELL(add_four)(s->table + 4 * i, columns, sum);
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
