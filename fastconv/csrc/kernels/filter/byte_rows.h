/* A ring of rows of bytes, extended: row h - before of x is at slot h % ring. If each is there twice, `ring` rows apart,
 * any `ring` of them lie one after another. */
#ifndef FC_FILTER_BYTE_ROWS_H
#define FC_FILTER_BYTE_ROWS_H

#include "filter.h"

typedef struct byte_rows {
    uint8_t *ring;
    int64_t pitch;
    const int64_t *edges; /* of find_edges */
    bool twice;
} byte_rows;

/* A row of x, extended. */
FC_COLD static void extend_bytes(const fc_filter_call *call, const piece *p, const uint8_t *row, const int64_t *edges,
                                 uint8_t *to) {
    uint8_t constant = (uint8_t)call->filter->constant;
    int64_t first = p->column - call->left[1], last = p->column + p->columns + call->right[1];
    int64_t begin = larger(first, 0), end = smaller(last, call->columns);
    memcpy(to + (begin - first), row + begin, (size_t)(end - begin));
    for (int64_t i = 0; i < (begin - first) + (last - end); i++) {
        int64_t at = i < begin - first ? i : i + (end - begin);
        to[at] = edges[i] < 0 ? constant : row[edges[i]];
    }
}

/* Copies the rows that FC_FILTER_ROWS output rows from h on read, but for those before *copied, which are there already.
 * Returns the first. */
FC_COLD static int64_t copy_byte_rows(const fc_filter_call *call, const piece *p, int64_t h, const byte_rows *rows,
                                      int64_t *copied) {
    const fc_filter *f = call->filter;
    const uint8_t *x = (const uint8_t *)call->x + p->image * f->x_stride[0] + p->depth * f->x_stride[1];
    int64_t before = f->first.before[1], top = h - before; /* q + before is never negative */
    int64_t needed = smaller(h + FC_FILTER_ROWS, p->end) - h + f->first.kernel[1] - 1;
    int64_t first = larger(top, *copied), end = top + needed;
    for (int64_t q = first; q < end; q++) {
        int64_t y = fc_extended(q, f->size[1], f->extension[1]);
        uint8_t *row = rows->ring + (q + before) % call->ring * rows->pitch;
        if (y < 0)
            memset(row, (int)f->constant, (size_t)rows->pitch);
        else
            extend_bytes(call, p, x + y * f->x_stride[2], rows->edges, row);
        if (rows->twice)
            memcpy(row + call->ring * rows->pitch, row, (size_t)rows->pitch);
    }
    *copied = end;
    return first;
}

#endif
