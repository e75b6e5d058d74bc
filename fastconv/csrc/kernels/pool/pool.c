/* pool: windows reduced to their maximum or mean, in three forms (pool.h, fc_pool_lanes).
 *
 * Channels: each load brings VL channels of one tap; accumulators stay in registers over the window.
 * Outputs: a row of scratch first holds the window's columns reduced over depth and height, padding as
 *   the reduction's neutral value, then each output reduces `kernel` neighbours of it, so that height
 *   and width cost kernel_h + kernel_w operations instead of their product.
 * Window: lanes run along the window's rows, for windows that are long or alone in their row.
 *
 * Means of long windows are summed in blocks, the blocks in double. Bound: memory; from L2, the loads
 * and the three instructions of a maximum that keeps NaN.
 */
#include "pool.h"

#include "kernels/common/integers.h"
#include "simd/vec.h"

enum {
    BLOCK = 64, /* terms summed in one chain of `real` */
    CHAINS = VL < 4 ? VL : 4,
};

FC_INLINE vec neutral(fc_pool_kind kind) { return kind == FC_POOL_MAX ? v_set1(-(real)INFINITY) : v_zero(); }
FC_INLINE vec combine(fc_pool_kind kind, vec a, vec b) {
    return kind == FC_POOL_MAX ? v_max_nan(a, b) : v_add(a, b);
}
FC_INLINE vec load_part(const stor *p, int64_t step, int64_t n) {
    if (step != 1)
        return v_loads_strided(p, step, n);
    return n == VL ? v_loads(p) : v_loadsn(p, n);
}
FC_INLINE void store_part(stor *p, int64_t step, vec a, int64_t n) {
    if (step != 1)
        v_stores_strided(p, step, a, n);
    else if (n == VL)
        v_stores(p, a);
    else
        v_storesn(p, a, n);
}

/* The part of a window that lies inside x; cells and count over the axes filled. */
typedef struct window {
    int64_t begin[FC_MAX_SPATIAL], end[FC_MAX_SPATIAL];
    int64_t cells; /* inside x */
    double count;  /* a mean divides by */
} window;

/* Fills the axes [0, axes) of output (d, h, w). */
FC_INLINE window window_of(const fc_pool_call *call, const int64_t *at, int axes) {
    window win = {.cells = 1, .count = 1};
    for (int axis = 0; axis < axes; axis++) {
        fc_pool_taps(&call->axis[axis], at[axis], &win.begin[axis], &win.end[axis]);
        win.cells *= win.end[axis] - win.begin[axis];
        win.count *= (double)fc_pool_count(&call->axis[axis], at[axis], call->count_padding);
    }
    return win;
}

/* Element offset in x, along one axis, of tap `tap` of output `o`. */
FC_INLINE int64_t tap_offset(const fc_pool_call *call, int axis, int64_t o, int64_t tap) {
    const fc_pool_axis *a = &call->axis[axis];
    return (o * a->stride - a->padding + tap * a->dilation) * call->x.stride[2 + axis];
}

/* A mean whose window has no cell at all is 0, as its sum. */
FC_INLINE real divisor_of(const fc_pool_call *call, double count) {
    double divisor = call->divisor ? (double)call->divisor : count;
    return (real)(divisor == 0 ? 1 : divisor);
}

/* ---- lanes over channels */

FC_INLINE void move_to_sums(vec *acc, const int vectors, double *sums) {
    for (int v = 0; v < vectors; v++) {
        real lanes[VL];
        v_store(lanes, acc[v]);
        for (int i = 0; i < VL; i++)
            sums[v * VL + i] += (double)lanes[i];
        acc[v] = v_zero();
    }
}

/* `vectors` * VL channels, or n < VL of them with one vector, of output `at`; sums is scratch. */
FC_INLINE void pool_channels(const fc_pool_call *call, fc_pool_kind kind, const window *win, const int64_t *at,
                             const stor *x, stor *out, double *sums, const int vectors, int64_t n) {
    const int64_t *step = call->x.stride + 2;
    vec acc[4];
    int64_t terms = 0;
    bool summed = kind == FC_POOL_MEAN && win->cells > BLOCK;
    for (int v = 0; v < vectors; v++)
        acc[v] = neutral(kind);
    for (int i = 0; summed && i < vectors * VL; i++)
        sums[i] = 0;
    for (int64_t d = win->begin[0]; d < win->end[0]; d++)
        for (int64_t h = win->begin[1]; h < win->end[1]; h++) {
            const stor *p = x + tap_offset(call, 0, at[0], d) + tap_offset(call, 1, at[1], h) +
                            tap_offset(call, 2, at[2], win->begin[2]);
            for (int64_t w = win->begin[2]; w < win->end[2]; w++, p += call->axis[2].dilation * step[2]) {
                for (int v = 0; v < vectors; v++)
                    acc[v] = combine(kind, acc[v], load_part(p + v * VL, 1, n));
                if (summed && ++terms == BLOCK) {
                    move_to_sums(acc, vectors, sums);
                    terms = 0;
                }
            }
        }
    vec divisor = v_set1(divisor_of(call, win->count));
    if (summed)
        move_to_sums(acc, vectors, sums);
    for (int v = 0; v < vectors; v++) {
        if (summed) {
            real lanes[VL];
            for (int i = 0; i < VL; i++)
                lanes[i] = (real)sums[v * VL + i];
            acc[v] = v_load(lanes);
        }
        if (kind == FC_POOL_MEAN)
            acc[v] = v_div(acc[v], divisor);
        store_part(out + v * VL * call->out.stride[1], call->out.stride[1], acc[v], n);
    }
}

FC_INLINE void pool_channel_row(const fc_pool_call *call, fc_pool_kind kind, int64_t row, int64_t channel_begin,
                                int64_t channel_end, double *sums) {
    const fc_pool_axis *a = call->axis;
    int64_t at[FC_MAX_SPATIAL] = {row / a[1].out % a[0].out, row % a[1].out, 0};
    int64_t n = row / a[1].out / a[0].out;
    const stor *x = (const stor *)call->x.data + n * call->x.stride[0];
    stor *out = (stor *)call->out.data + n * call->out.stride[0] + at[0] * call->out.stride[2] +
                at[1] * call->out.stride[3];
    for (; at[2] < a[2].out; at[2]++) {
        window win = window_of(call, at, 3);
        stor *to = out + at[2] * call->out.stride[4];
        int64_t c = channel_begin;
        for (; c + 4 * VL <= channel_end; c += 4 * VL)
            pool_channels(call, kind, &win, at, x + c, to + c * call->out.stride[1], sums, 4, VL);
        for (; c + VL <= channel_end; c += VL)
            pool_channels(call, kind, &win, at, x + c, to + c * call->out.stride[1], sums, 1, VL);
        if (c < channel_end)
            pool_channels(call, kind, &win, at, x + c, to + c * call->out.stride[1], sums, 1, channel_end - c);
    }
}

/* ---- one plane after another */

/* A row of out, its depth and height, and the plane of x it is computed from. */
typedef struct place {
    int64_t at[FC_MAX_SPATIAL], channel, image;
    const stor *x;
    stor *out;
} place;

FC_INLINE void point(const fc_pool_call *call, place *p) {
    const int64_t *in = call->x.stride, *out = call->out.stride;
    p->x = (const stor *)call->x.data + p->image * in[0] + p->channel * in[1];
    p->out = (stor *)call->out.data + p->image * out[0] + p->channel * out[1] + p->at[0] * out[2] + p->at[1] * out[3];
}

FC_INLINE place first_place(const fc_pool_call *call, int64_t row) {
    const fc_pool_axis *a = call->axis;
    int64_t plane = row / a[1].out / a[0].out;
    place p = {.at = {row / a[1].out % a[0].out, row % a[1].out, 0},
               .channel = plane % call->channels,
               .image = plane / call->channels};
    point(call, &p);
    return p;
}

FC_INLINE void next_place(const fc_pool_call *call, place *p) {
    p->at[2] = 0;
    if (++p->at[1] == call->axis[1].out) {
        p->at[1] = 0;
        if (++p->at[0] == call->axis[0].out) {
            p->at[0] = 0;
            if (++p->channel == call->channels) {
                p->channel = 0;
                p->image++;
            }
        }
    }
    point(call, p);
}

/* ---- lanes over outputs */

/* span[i]: the window's column at padded width coordinate first + i, reduced over depth and height. */
FC_INLINE void reduce_columns(const fc_pool_call *call, fc_pool_kind kind, const window *win, const int64_t *at,
                              const stor *plane, int64_t first, real *span) {
    const int64_t *step = call->x.stride + 2;
    int64_t rows = win->cells;
    int64_t inside = call->axis[2].padding - first, beyond = inside + call->axis[2].in;
    int64_t begin = inside < 0 ? 0 : smaller(inside, call->span), end = smaller(beyond, call->span);
    if (rows == 0 || end < begin)
        begin = end = 0;
    for (int64_t i = 0; i < begin; i += VL) /* runs over into the inside, written next */
        v_store(span + smaller(i, call->span - VL), neutral(kind));
    for (int64_t i = end; i < call->span; i += VL)
        v_store(span + smaller(i, call->span - VL), neutral(kind));
    const stor *p = plane + tap_offset(call, 0, at[0], win->begin[0]) + tap_offset(call, 1, at[1], win->begin[1]);
    int64_t depth_step = call->axis[0].dilation * step[0], height_step = call->axis[1].dilation * step[1];
    int64_t height = win->end[1] - win->begin[1];
    p += (begin - inside) * step[2];
    for (int64_t i = begin; i < end; i += VL, p += VL * step[2]) {
        int64_t n = smaller(end - i, VL);
        vec acc = load_part(p, step[2], n);
        for (int64_t row = 1, h = 0, offset = 0; row < rows; row++) {
            offset += height_step;
            if (++h == height) {
                h = 0;
                offset += depth_step - height * height_step;
            }
            acc = combine(kind, acc, load_part(p + offset, step[2], n));
        }
        if (n == VL)
            v_store(span + i, acc);
        else
            v_storen(span + i, acc, n);
    }
}

FC_INLINE vec take(const real *p, int64_t step) {
    if (step == 1)
        return v_load(p);
    real lanes[VL];
    for (int i = 0; i < VL; i++)
        lanes[i] = p[i * step];
    return v_load(lanes);
}

/* VL outputs from the columns under their first taps on. */
FC_INLINE vec reduce_width(fc_pool_kind kind, const fc_pool_axis *width, const real *p) {
    int64_t tap = 1;
    vec acc, pair[2];
    if (width->stride == 2 && width->dilation == 1) {
        v_deinterleave2(p, pair);
        acc = pair[0];
        if (width->kernel > 1)
            acc = combine(kind, acc, pair[1]);
        for (tap = 2; tap < width->kernel; tap += 2) {
            v_deinterleave2(p + tap, pair);
            acc = combine(kind, acc, pair[0]);
            if (tap + 1 < width->kernel)
                acc = combine(kind, acc, pair[1]);
        }
        return acc;
    }
    acc = take(p, width->stride);
    for (; tap < width->kernel; tap++)
        acc = combine(kind, acc, take(p + tap * width->dilation, width->stride));
    return acc;
}

/* Divisors of outputs o .. o + VL - 1, whose windows count `count` cells but for width. */
FC_INLINE vec width_divisors(const fc_pool_call *call, double count, int64_t o) {
    const fc_pool_axis *width = &call->axis[2];
    int64_t first = o * width->stride - width->padding;
    int64_t last_end = smaller(o + VL - 1, width->out - 1) * width->stride - width->padding + width->kernel;
    bool pads = call->count_padding;
    if (call->divisor || ((pads || first >= 0) && last_end <= width->in + (pads ? width->padding : 0)))
        return v_set1(divisor_of(call, count * (double)width->kernel));
    real lanes[VL];
    for (int i = 0; i < VL; i++)
        lanes[i] = divisor_of(call, count * (double)fc_pool_count(width, o + i, pads));
    return v_load(lanes);
}

/* The width pass of one tile of one row. */
FC_INLINE void store_outputs(const fc_pool_call *call, fc_pool_kind kind, double count, int64_t tile, const real *span,
                             stor *out) {
    const fc_pool_axis *width = &call->axis[2];
    int64_t end = smaller(tile + call->tile, width->out);
    for (int64_t o = tile; o < end; o += VL) {
        vec acc = reduce_width(kind, width, span + (o - tile) * width->stride);
        if (kind == FC_POOL_MEAN)
            acc = v_div(acc, width_divisors(call, count, o));
        store_part(out + o * call->out.stride[4], call->out.stride[4], acc, smaller(end - o, VL));
    }
}

/* Rows in small batches, all columns first: a load that straddles stores still on their way to L1 waits. */
FC_INLINE void pool_output_rows(const fc_pool_call *call, fc_pool_kind kind, int64_t begin, int64_t end, real *spans) {
    double counts[FC_POOL_SPANS];
    place next = first_place(call, begin), batch[FC_POOL_SPANS];
    for (int64_t row = begin, rows; row < end; row += rows) {
        rows = smaller(end - row, call->spans);
        for (int64_t i = 0; i < rows; i++, next_place(call, &next))
            batch[i] = next;
        for (int64_t tile = 0; tile < call->axis[2].out; tile += call->tile) {
            for (int64_t i = 0; i < rows; i++) {
                window win = window_of(call, batch[i].at, 2);
                counts[i] = win.count;
                reduce_columns(call, kind, &win, batch[i].at, batch[i].x, tile * call->axis[2].stride,
                               spans + i * call->span);
            }
            for (int64_t i = 0; i < rows; i++)
                store_outputs(call, kind, counts[i], tile, spans + i * call->span, batch[i].out);
        }
    }
}

/* ---- lanes over the window */

typedef struct total {
    vec acc[4];
    int64_t terms; /* in each lane of acc, since the last flush */
    double sum;
} total;

FC_INLINE void flush(total *t) {
    real lanes[VL];
    double chains[CHAINS] = {0};
    v_store(lanes, v_add(v_add(t->acc[0], t->acc[1]), v_add(t->acc[2], t->acc[3])));
    for (int i = 0; i < VL; i += CHAINS)
        for (int c = 0; c < CHAINS; c++)
            chains[c] += (double)lanes[i + c];
    for (int c = 0; c < CHAINS; c++)
        t->sum += chains[c];
    t->terms = 0;
    for (int v = 0; v < 4; v++)
        t->acc[v] = v_zero();
}

/* Adds `count` elements, `step` apart. */
FC_INLINE void add_run(total *t, fc_pool_kind kind, const stor *p, int64_t step, int64_t count) {
    int64_t i = 0;
    for (; i + 4 * VL <= count; i += 4 * VL) {
        for (int v = 0; v < 4; v++)
            t->acc[v] = combine(kind, t->acc[v], load_part(p + (i + v * VL) * step, step, VL));
        if (kind == FC_POOL_MEAN && ++t->terms >= BLOCK)
            flush(t);
    }
    for (int v = 0; i < count; i += VL, v++) {
        int64_t n = smaller(count - i, VL);
        vec part = load_part(p + i * step, step, n);
        if (n < VL && kind == FC_POOL_MAX) {
            real lanes[VL];
            v_store(lanes, neutral(kind));
            v_storen(lanes, part, n);
            part = v_load(lanes);
        }
        t->acc[v] = combine(kind, t->acc[v], part);
    }
    if (kind == FC_POOL_MEAN && ++t->terms >= BLOCK)
        flush(t);
}

FC_INLINE real pool_window(const fc_pool_call *call, fc_pool_kind kind, const int64_t *at, const stor *plane) {
    window win = window_of(call, at, 3);
    total t = {.terms = 0, .sum = 0};
    for (int v = 0; v < 4; v++)
        t.acc[v] = neutral(kind);
    for (int64_t d = win.begin[0]; d < win.end[0]; d++)
        for (int64_t h = win.begin[1]; h < win.end[1]; h++)
            add_run(&t, kind,
                    plane + tap_offset(call, 0, at[0], d) + tap_offset(call, 1, at[1], h) +
                        tap_offset(call, 2, at[2], win.begin[2]),
                    call->axis[2].dilation * call->x.stride[4], win.end[2] - win.begin[2]);
    if (kind == FC_POOL_MEAN) {
        flush(&t);
        return (real)(t.sum / (double)divisor_of(call, win.count));
    }
    real lanes[VL], most;
    v_store(lanes, combine(kind, combine(kind, t.acc[0], t.acc[1]), combine(kind, t.acc[2], t.acc[3])));
    most = lanes[0];
    for (int i = 1; i < VL; i++)
        most = lanes[i] > most || lanes[i] != lanes[i] ? lanes[i] : most;
    return most;
}

/* ---- rows */

FC_INLINE void pool_rows(const fc_pool_call *call, fc_pool_kind kind, int64_t begin, int64_t end,
                         int64_t channel_begin, int64_t channel_end, void *scratch) {
    switch (call->lanes) {
    case FC_LANES_CHANNELS:
        for (int64_t row = begin; row < end; row++)
            pool_channel_row(call, kind, row, channel_begin, channel_end, scratch);
        break;
    case FC_LANES_OUTPUTS:
        pool_output_rows(call, kind, begin, end, scratch);
        break;
    case FC_LANES_WINDOW: {
        place p = first_place(call, begin);
        for (int64_t row = begin; row < end; row++, next_place(call, &p))
            for (; p.at[2] < call->axis[2].out; p.at[2]++)
                s_store(p.out + p.at[2] * call->out.stride[4], pool_window(call, kind, p.at, p.x));
        break;
    }
    }
}

static void run(const fc_pool_call *call, int64_t begin, int64_t end, int64_t channel_begin, int64_t channel_end,
                void *scratch) {
    if (call->kind == FC_POOL_MAX)
        pool_rows(call, FC_POOL_MAX, begin, end, channel_begin, channel_end, scratch);
    else
        pool_rows(call, FC_POOL_MEAN, begin, end, channel_begin, channel_end, scratch);
}

const fc_pool_kernel FC_FN(fc_pool_kernel);
const fc_pool_kernel FC_FN(fc_pool_kernel) = {.name = FC_NAME("pool"), .run = run};
