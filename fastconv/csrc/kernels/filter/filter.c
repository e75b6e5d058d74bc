/* filter: a block of rows of one plane and strip; see filter.h for the way of a row. */
#include "filter.h"

#include "kernels/common/integers.h"

/* Not where nobody waits for it. */
#define FC_HAS_WHOLES (FC_IS_F32 && FC_ISA_IS > 1)

#if !FC_IS_NARROW

#include "kernels/filter/elements.h"
#include "kernels/filter/sweep.h"

/* What this task computes. */
typedef struct piece {
    int64_t image, depth, begin, end; /* rows [begin, end) */
    int64_t column, columns;
} piece;

static piece piece_of(const fc_filter_call *call, int64_t task) {
    const fc_filter *f = call->filter;
    int64_t strip = task % call->strips, rest = task / call->strips;
    int64_t block = rest % call->blocks, plane = rest / call->blocks;
    piece p = {.image = plane / f->size[0], .depth = plane % f->size[0], .begin = block * call->block,
               .column = strip * call->strip};
    p.end = smaller(p.begin + call->block, f->size[1]);
    p.columns = smaller(call->strip, call->columns - p.column);
    return p;
}

/* Where the elements of a strip that lie outside a row come from: -1 for the constant. */
static void find_edges(const fc_filter_call *call, const piece *p, int64_t *edges) {
    const fc_filter *f = call->filter;
    int64_t first = p->column - call->left[0] - call->left[1];
    int64_t last = p->column + p->columns + call->right[0] + call->right[1];
    for (int64_t i = first; i < last; i++) {
        if (i >= 0 && i < call->columns) { /* go on behind the row */
            i = call->columns - 1;
            continue;
        }
        int64_t pixel = i >= 0 ? i / f->step : -((f->step - 1 - i) / f->step);
        int64_t source = fc_extended(pixel, f->size[2], f->extension[2]);
        *edges++ = source < 0 ? -1 : source * f->step + i - pixel * f->step;
    }
}

/* Where pieces of scratch of these sizes begin, each with a line of the cache; all their bytes. */
FC_COLD static size_t place_pieces(const size_t *sizes, int count, char *base, char **starts) {
    size_t total = 0;
    for (int i = 0; i < count; i++) {
        starts[i] = base + total;
        total += (sizes[i] + 63) / 64 * 64;
    }
    return total;
}

#define cell real
#define CELL(name) real_##name
#define CELLS VL
#define CELL_SLACK (LIST_VECS * VL)
#define CELL_ELEMENT (FC_IS_F64 ? FC_REAL64 : FC_REAL32)
#define CELL_IS_REAL 1
#include "kernels/filter/rows.h"

#if FC_HAS_WHOLES
#include "kernels/filter/bytes.h"
#include "kernels/filter/whole.h"
#include "kernels/filter/byte_quotients.h"
#define cell int16_t
#define CELL(name) whole_##name
#define CELLS WHOLE_CELLS
#define CELL_SLACK (WHOLE_VECS * WHOLE_CELLS)
#define CELL_ELEMENT FC_I16
#define CELL_IS_REAL 0
#include "kernels/filter/rows.h"
#endif

static size_t scratch_bytes(const fc_filter_call *call) {
#if FC_HAS_WHOLES
    switch (call->way) {
    case FC_WAY_WHOLES: return whole_scratch_bytes(call);
    case FC_WAY_BYTES: return byte_scratch_at(call, NULL, NULL);
    case FC_WAY_QUOTIENTS: return quotient_scratch_at(call, NULL, NULL);
    case FC_WAY_REALS: break;
    }
#endif
    return real_scratch_bytes(call);
}
static void run(const fc_filter_call *call, int64_t task, void *scratch) {
#if FC_HAS_WHOLES
    switch (call->way) {
    case FC_WAY_WHOLES: whole_run(call, task, scratch); return;
    case FC_WAY_BYTES: byte_run(call, task, scratch); return;
    case FC_WAY_QUOTIENTS: quotient_run(call, task, scratch); return;
    case FC_WAY_REALS: break;
    }
#endif
    real_run(call, task, scratch);
}

#else

static size_t scratch_bytes(const fc_filter_call *call) { (void)call; return 0; }
static void run(const fc_filter_call *call, int64_t task, void *scratch) { (void)call, (void)task, (void)scratch; }

#endif

const fc_filter_kernel FC_FN(fc_filter_kernel);
const fc_filter_kernel FC_FN(fc_filter_kernel) = {
    .name = FC_NAME("filter"), .has_wholes = FC_HAS_WHOLES, .scratch_bytes = scratch_bytes, .run = run,
};
