/* Problem geometry: checked once, derived once, read by every kernel.
 *
 * An fc_part is an ordinary cross-correlation in the form kernels run. A plain convolution is one
 * part; a transposed convolution is one part per stride phase, each writing every s-th output.
 * Along an axis, output o and tap k read padded coordinate q = o * stride + k * dilation, and
 * fc_axis_source(q) is the index in x, or -1 for a padding zero: every padding mode is this map.
 *
 * Rows and planes of x between those that taps can read (fc_axis_unit) are no part of x to a kernel: it meets neighbouring
 * rows, a smaller stride and a smaller dilation. Columns stay, since kernels load them by whole vectors.
 */
#ifndef FC_PROBLEM_H
#define FC_PROBLEM_H

#include "fastconv.h"

typedef struct fc_axis {
    int64_t in, out, kernel, stride, dilation;
    int64_t pad_before; /* negative in some stride phases: the map then starts inside x */
    fc_pad_mode pad_mode;
} fc_axis;

struct fc_kernel;

typedef struct fc_part {
    fc_problem problem; /* the user's, for types, channels and epilogue; sizes of this part are in axis */
    fc_axis axis[FC_MAX_SPATIAL];
    int64_t group_in_ch, group_out_ch;
    int64_t taps;       /* kernel volume of this part; 0 in a stride phase that no tap reaches */
    int64_t reduction;  /* group_in_ch * taps */
    int64_t out_pixels; /* per image */
    int64_t in_pixels;
    int64_t in_start[FC_MAX_SPATIAL], in_step[FC_MAX_SPATIAL]; /* this part's places in the user's x */
    int64_t tap_start[FC_MAX_SPATIAL], tap_step[FC_MAX_SPATIAL]; /* this part's taps in the user's kernel */
    int64_t out_start[FC_MAX_SPATIAL], out_step[FC_MAX_SPATIAL]; /* this part's outputs in the user's out */
    const struct fc_kernel *kernel;
    int64_t block[8];   /* block sizes chosen by kernel->prepare; only that kernel reads them */
} fc_part;

/* Index in x of padded coordinate q, or -1 for a zero. */
static inline int64_t fc_axis_source(const fc_axis *axis, int64_t q) {
    int64_t i = q - axis->pad_before;
    if ((uint64_t)i < (uint64_t)axis->in)
        return i;
    switch (axis->pad_mode) {
    case FC_PAD_REFLECT:
        return i < 0 ? -i : 2 * (axis->in - 1) - i;
    case FC_PAD_REPLICATE:
        return i < 0 ? 0 : axis->in - 1;
    case FC_PAD_CIRCULAR:
        return i < 0 ? i + axis->in : i - axis->in;
    case FC_PAD_ZEROS:
        break;
    }
    return -1;
}

static inline int64_t fc_common_divisor(int64_t a, int64_t b) {
    while (b != 0) {
        int64_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

/* Outputs and taps read one of so many padded coordinates. */
static inline int64_t fc_axis_unit(const fc_axis *axis) {
    return axis->kernel > 1 ? fc_common_divisor(axis->stride, axis->dilation) : axis->stride;
}

/* Outputs [*begin, *end) whose every tap falls inside x along this axis. */
static inline void fc_axis_interior(const fc_axis *axis, int64_t *begin, int64_t *end) {
    int64_t reach = (axis->kernel - 1) * axis->dilation;
    int64_t first = axis->pad_before > 0 ? (axis->pad_before + axis->stride - 1) / axis->stride : 0;
    int64_t room = axis->in + axis->pad_before - reach - 1; /* largest o * stride that still fits */
    int64_t last = room < 0 ? 0 : room / axis->stride + 1;
    if (last > axis->out)
        last = axis->out;
    if (first > last)
        first = last;
    *begin = first;
    *end = last;
}

/* Size of one element of x and out, and of the type the kernel computes in. */
static inline size_t fc_storage_size(fc_dtype dtype) {
    return dtype == FC_F64 ? 8 : dtype == FC_F32 ? 4 : 2;
}
static inline size_t fc_compute_size(fc_dtype dtype) { return dtype == FC_F64 ? 8 : 4; }

/* Checks everything and fills out_size; FC_OK or the status with fc_last_error set. */
fc_status fc_problem_check(const fc_problem *problem, int64_t out_size[FC_MAX_SPATIAL]);

/* Number of parts of a checked problem (stride phases), and part `index`. */
int64_t fc_problem_part_count(const fc_problem *problem, const int64_t out_size[FC_MAX_SPATIAL]);
void fc_problem_part(const fc_problem *problem, const int64_t out_size[FC_MAX_SPATIAL], int64_t index,
                     fc_part *part);

/* 2 * multiply-accumulates of the definition, padding taps counted. */
double fc_problem_flops(const fc_problem *problem, const int64_t out_size[FC_MAX_SPATIAL]);

/* The element strides and offset of what this part reads of x, and writes of out. */
fc_tensor fc_part_x(const fc_part *part, fc_tensor x);
fc_tensor fc_part_out(const fc_part *part, fc_tensor out);
fc_weight_view fc_part_weight(const fc_part *part, fc_weight_view weight);

#endif
