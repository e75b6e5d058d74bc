/* fastconv: the C interface.
 *
 * A convolution is described by an fc_problem, turned into an fc_plan (which names the kernel that
 * will run), given weights packed for that kernel (fc_weights), and run as often as wanted:
 *
 *     fc_problem problem = fc_problem_default(FC_F32, 2);
 *     problem.batch = 1; problem.in_ch = 64; problem.out_ch = 64;
 *     problem.in_size[1] = problem.in_size[2] = 56;
 *     problem.kernel[1] = problem.kernel[2] = 3;
 *     problem.pad_before[1] = problem.pad_before[2] = 1;
 *     problem.pad_after[1] = problem.pad_after[2] = 1;
 *     fc_plan *plan;
 *     fc_status status = fc_plan_create(&problem, "auto", &plan);
 *     fc_weights *weights;
 *     status = fc_weights_pack(plan, &weight, NULL, 0, &weights);
 *     fc_tensors tensors = { .x = x, .out = out };
 *     status = fc_plan_run(plan, weights, &tensors, 0);
 *     fc_weights_free(weights);
 *     fc_plan_free(plan);
 *
 * Axes. Sizes, kernels, strides... are always written for three spatial axes, depth, height, width,
 * in this order; a problem of lower rank leaves the leading ones at their defaults (size 1).
 * Strides of tensors count elements, not bytes, and may be zero or negative.
 *
 * Threads. Plans and weights are immutable once made: any number of threads may run one at a time
 * they like. fc_plan_run blocks until the result is written. Nothing here starts a thread before
 * the first run that needs one.
 *
 * Errors. Every call returns an fc_status; fc_last_error() has the sentence for the calling thread.
 */
#ifndef FASTCONV_H
#define FASTCONV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(_WIN32)
#define FC_API
#else
#define FC_API __attribute__((visibility("default")))
#endif

#define FC_MAX_SPATIAL 3
#define FC_TENSOR_RANK 5 /* batch, channel, depth, height, width */
#define FC_WEIGHT_RANK 6 /* group, out channel in group, in channel in group, depth, height, width */

typedef enum fc_status {
    FC_OK = 0,
    FC_INVALID_ARGUMENT = 1,  /* a value makes no sense; fc_last_error() names it */
    FC_OVERFLOW = 2,          /* a size or an offset does not fit 64 bits */
    FC_UNSUPPORTED = 3,       /* the algorithm asked for cannot run this problem */
    FC_OUT_OF_MEMORY = 4,
} fc_status;

typedef enum fc_dtype {
    FC_F32 = 0,
    FC_F64 = 1,
    FC_F16 = 2,   /* stored as IEEE half, computed in float32 */
    FC_BF16 = 3,  /* stored as bfloat16, computed in float32 */
    FC_DTYPE_COUNT = 4,
} fc_dtype;

typedef enum fc_operation {
    FC_CONV = 0,
    FC_CONV_TRANSPOSED = 1,
    FC_CONV_DEFORM = 2,     /* offset (and mask) tensors move every tap */
    FC_CONV_SEPARABLE = 3,  /* depthwise followed by pointwise, the middle kept in cache */
} fc_operation;

typedef enum fc_pad_mode {
    FC_PAD_ZEROS = 0,
    FC_PAD_REFLECT = 1,    /* c b | a b c | b a */
    FC_PAD_REPLICATE = 2,  /* a a | a b c | c c */
    FC_PAD_CIRCULAR = 3,   /* b c | a b c | a b */
} fc_pad_mode;

typedef enum fc_activation {
    FC_ACT_NONE = 0,
    FC_ACT_RELU = 1,
    FC_ACT_LEAKY_RELU = 2, /* activation_param[0]: slope */
    FC_ACT_CLIP = 3,       /* activation_param[0], [1]: bounds; relu6 is clip 0, 6 */
    FC_ACT_SIGMOID = 4,
    FC_ACT_TANH = 5,
    FC_ACT_SILU = 6,
    FC_ACT_HARDSWISH = 7,
} fc_activation;

typedef enum fc_precision {
    FC_PRECISION_HIGHEST = 0,
    FC_PRECISION_HIGH = 1,
    FC_PRECISION_MEDIUM = 2,
} fc_precision;

typedef struct fc_problem {
    fc_dtype dtype;
    fc_operation operation;
    int spatial_rank; /* 1, 2 or 3: only for names and messages */
    int64_t batch, in_ch, out_ch, groups;
    int64_t in_size[FC_MAX_SPATIAL];
    int64_t kernel[FC_MAX_SPATIAL];
    int64_t stride[FC_MAX_SPATIAL];
    int64_t dilation[FC_MAX_SPATIAL];
    int64_t pad_before[FC_MAX_SPATIAL];
    int64_t pad_after[FC_MAX_SPATIAL];
    int64_t output_padding[FC_MAX_SPATIAL]; /* transposed only */
    fc_pad_mode pad_mode;
    fc_activation activation;
    double activation_param[2];
    fc_precision precision;
    bool has_bias, has_residual;
    bool x_channels_last, out_channels_last; /* which axis of x and out is dense; a hint for speed */
    bool pack_per_call;  /* weights are packed for every run, so packing counts in the choice, and may be read where
                          * they lie: the arrays given to fc_weights_pack stay until the last run */
    bool weights_unsafe; /* weights hold NaN, infinity or values near overflow: no transforms, no zeros left out */
    int64_t depth_multiplier; /* separable only: channels in the middle = in_ch * depth_multiplier */
    int64_t offset_groups;    /* deformable only */
} fc_problem;

/* One array: `data` points at element [0, 0, 0, 0, 0]. */
typedef struct fc_tensor {
    void *data;
    int64_t stride[FC_TENSOR_RANK];
} fc_tensor;

/* Weights as given by the user, in the compute type (float for f16 and bf16). A flipped kernel is
 * a negative stride, a transposed convolution an exchange of two strides. */
typedef struct fc_weight_view {
    const void *data;
    int64_t stride[FC_WEIGHT_RANK];
} fc_weight_view;

typedef struct fc_tensors {
    fc_tensor x, out;
    fc_tensor residual;  /* data NULL when has_residual is false; shape of out */
    const void *bias;    /* out_ch values of the compute type, dense; NULL without bias */
    fc_tensor offset;    /* deformable: channels 2 * offset_groups * kernel volume, (y, x) pairs */
    fc_tensor mask;      /* deformable v2: channels offset_groups * kernel volume; data may be NULL */
} fc_tensors;

typedef struct fc_plan fc_plan;
typedef struct fc_weights fc_weights;

/* What a plan is, and what else could have been: see fc_plan_info and fc_plan_candidate. */
typedef struct fc_plan_info {
    const char *algorithm; /* "gemm" */
    const char *kernel;    /* "gemm.f32.avx512" */
    double flops;          /* 2 * multiply-accumulates of the definition */
    double estimated_seconds; /* one thread */
    size_t workspace_bytes;   /* scratch per worker thread */
    size_t packed_bytes;
    int64_t out_size[FC_MAX_SPATIAL];
    int candidate_count;
} fc_plan_info;

typedef struct fc_candidate {
    const char *algorithm;
    const char *kernel;
    double estimated_seconds; /* one thread, whole batch */
    const char *rejected; /* NULL when it can run, else one sentence */
} fc_candidate;

/* Where a plan's estimated seconds go (one thread, whole batch); their sum is estimated_seconds. */
typedef struct fc_cost {
    double core;           /* instructions: multiply-adds, and loads, stores and copies that hit L1 */
    double l1, l2, l3, memory; /* bytes that have to come from there */
    double packing;        /* of the weights, where every call packs them */
    double calls;          /* starting a run, and its tasks */
} fc_cost;

typedef struct fc_cpu_info {
    const char *isa;         /* widest allowed: scalar, avx2, avx512, amx */
    const char *isa_found;   /* widest the CPU and the build have */
    const char *brand;
    size_t l1d_bytes, l2_bytes, l3_bytes;
    int logical_cores;       /* in this process's affinity mask */
    double cgroup_cores;     /* CPU quota, 0 when unlimited */
    bool openmp;
    bool amx_permitted;
} fc_cpu_info;

FC_API fc_problem fc_problem_default(fc_dtype dtype, int spatial_rank);
FC_API fc_status fc_problem_out_size(const fc_problem *problem, int64_t out_size[FC_MAX_SPATIAL]);

/* algorithm: "auto" or a name of fc_algorithm_name. */
FC_API fc_status fc_plan_create(const fc_problem *problem, const char *algorithm, fc_plan **plan);
FC_API void fc_plan_free(fc_plan *plan);
FC_API fc_plan_info fc_plan_describe(const fc_plan *plan);
FC_API fc_status fc_plan_candidate(const fc_plan *plan, int index, fc_candidate *candidate);
FC_API fc_cost fc_plan_cost(const fc_plan *plan);

/* The packed form depends on the weights' shape, groups, stride and the kernel, not on the sizes of x:
 * weights packed for one plan serve every plan for which fc_weights_match says yes. threads: as for fc_plan_run. */
FC_API fc_status fc_weights_pack(const fc_plan *plan, const fc_weight_view *weight,
                                 const fc_weight_view *pointwise, int threads, fc_weights **weights);
FC_API bool fc_weights_match(const fc_weights *weights, const fc_plan *plan);
FC_API size_t fc_weights_bytes(const fc_weights *weights);
FC_API void fc_weights_free(fc_weights *weights);

/* threads: 0 for the current setting, n > 0 for exactly n, n < 0 for at most -n (fewer where the work is
 * small). out must not overlap x; it may be residual itself. */
FC_API fc_status fc_plan_run(const fc_plan *plan, const fc_weights *weights,
                             const fc_tensors *tensors, int threads);

/* Pooling: every window of x reduced to its largest value (NaN when it holds one) or its mean. The same on every
 * channel; sizes for three spatial axes as above; padding on both sides, at most half the window. */
typedef enum fc_pool_kind {
    FC_POOL_MAX = 0,
    FC_POOL_MEAN = 1,
} fc_pool_kind;

typedef struct fc_pool {
    fc_dtype dtype;
    fc_pool_kind kind;
    int64_t batch, channels;
    int64_t in_size[FC_MAX_SPATIAL];
    int64_t kernel[FC_MAX_SPATIAL];
    int64_t stride[FC_MAX_SPATIAL];
    int64_t dilation[FC_MAX_SPATIAL];
    int64_t padding[FC_MAX_SPATIAL];
    bool ceil_mode;         /* a window may begin in x and end after the padding */
    bool count_padding;     /* mean only: padding counts as zeros, what lies past it does not count */
    int64_t divisor;        /* mean only: divide by this instead; 0 for the count of the window */
} fc_pool;

FC_API fc_pool fc_pool_default(fc_dtype dtype, fc_pool_kind kind);
FC_API fc_status fc_pool_out_size(const fc_pool *pool, int64_t out_size[FC_MAX_SPATIAL]);
/* out must not overlap x; threads as for fc_plan_run. */
FC_API fc_status fc_pool_run(const fc_pool *pool, const fc_tensor *x, const fc_tensor *out, int threads);

/* Complex columns: out[r][j] = sum over t of weights[t][j] * x[r + t * dilation][j], each a pair of reals of dtype f32 or
 * f64. x has rows + (taps - 1) * dilation rows, weights are dense; pitches are reals between rows. */
typedef struct fc_columns {
    fc_dtype dtype;
    int64_t rows, length; /* of out */
    int64_t taps, dilation;
    int64_t x_pitch, out_pitch;
} fc_columns;

/* out must not overlap the others. Runs on the calling thread. */
FC_API fc_status fc_columns_run(const fc_columns *columns, const void *x, const void *weights, void *out);

/* Two places of a plane as one of complex samples: out[r][j] = (x[from_rows[0][r]][from_columns[j]],
 * x[from_rows[1][r]][from_columns[j]]), and `fill` for a row or a column below 0. Elements of a row of x are dense. */
typedef struct fc_pairs {
    fc_dtype dtype; /* FC_F32 or FC_F64 */
    int64_t rows, length;
    const int64_t *from_rows[2], *from_columns;
    int64_t x_pitch, out_pitch; /* reals between rows */
    double fill;
} fc_pairs;

FC_API fc_status fc_pairs_join(const fc_pairs *pairs, const void *x, void *out);
/* The first of every pair: out[r][j] = x[r][2 * j], in `rows` of `length`; of the rest, the pitches are read. */
FC_API fc_status fc_pairs_part(const fc_pairs *pairs, const void *x, void *out);

/* Filters of one plane or volume after another, with the arithmetic of scipy.ndimage: integers in and out, any
 * border, sums in an order that does not depend on the instruction set. Up to three axes at once; where `second`
 * has taps, they run along the width over what the first stage gave, converted to the type of out in between. */
typedef enum fc_element {
    FC_I8 = 0, FC_U8 = 1, FC_I16 = 2, FC_U16 = 3, FC_I32 = 4,
    FC_U32 = 5, FC_I64 = 6, FC_U64 = 7, FC_REAL32 = 8, FC_REAL64 = 9,
    FC_ELEMENT_COUNT = 10,
} fc_element;

typedef enum fc_extension {
    FC_EXTEND_NEAREST = 0,  /* a a | a b c | c c */
    FC_EXTEND_WRAP = 1,     /* b c | a b c | a b */
    FC_EXTEND_REFLECT = 2,  /* b a | a b c | c b */
    FC_EXTEND_MIRROR = 3,   /* c b | a b c | b a */
    FC_EXTEND_CONSTANT = 4, /* v v | a b c | v v */
} fc_extension;

/* In which order, and how, the products of one output are added to zero. */
typedef enum fc_order {
    FC_ORDER_RASTER = 0, /* as the weights lie; those below 2^-52 are left out */
    FC_ORDER_LINE = 1,   /* one axis: the last tap, then as they lie */
    FC_ORDER_EVEN = 2,   /* one axis, odd count: the middle, then (left + right) * weight from the ends inwards */
    FC_ORDER_ODD = 3,    /* the same with left - right */
} fc_order;

typedef struct fc_filter_stage {
    int64_t kernel[FC_MAX_SPATIAL], before[FC_MAX_SPATIAL]; /* taps; how many of them lie before the output */
    const double *weights; /* NULL: no such stage */
    fc_order order;
    double divisor;        /* sums are divided by it; 0: they are not */
    double rounding;       /* what rounding may change of a float32 sum each time: sums no further from a whole number than
                            * their roundings together are added again in double; 0: none are */
} fc_filter_stage;

typedef struct fc_filter {
    fc_element x_element, out_element;
    bool single;           /* compute in float32 with fused multiply-adds; else in double, each operation rounded */
    int64_t batch;
    int64_t size[FC_MAX_SPATIAL];
    int64_t step;          /* columns of width that are `step` elements each: channels of a pixel; 1 without */
    int64_t x_stride[FC_MAX_SPATIAL], out_stride[FC_MAX_SPATIAL]; /* elements between images, planes, rows */
    fc_extension extension[FC_MAX_SPATIAL];
    double constant;
    fc_filter_stage first, second; /* second: along width only */
    fc_filter_stage window; /* the kernel that first (along height) and second are the factors of: nothing is converted
                             * between them, and what second.rounding is about is added again as the window's sum */
} fc_filter;

/* x and out must not overlap; threads as for fc_plan_run. */
FC_API fc_status fc_filter_run(const fc_filter *filter, const void *x, void *out, int threads);

FC_API int fc_algorithm_count(void);
FC_API const char *fc_algorithm_name(int index);
typedef struct fc_algorithm {
    const char *name;
    const char *bound;   /* what its speed cannot pass */
    const char *reached; /* how much of that was measured, and what holds the rest back */
} fc_algorithm;
FC_API const fc_algorithm *fc_algorithm_at(int index); /* NULL past the last */
FC_API int fc_kernel_count(void);               /* kernels this build has for any CPU */
FC_API const char *fc_kernel_name(int index);
FC_API bool fc_kernel_available(int index);     /* this CPU and FASTCONV_ISA allow it */

FC_API fc_cpu_info fc_cpu_query(void);

/* What one core can do at most, measured: per second, and in the dtype's arithmetic. */
typedef struct fc_rates {
    double fma_flops;  /* a fused multiply-add counts as two */
    double tile_flops; /* bfloat16 products of AMX tiles; 0 without them */
    double l1_bytes, l2_bytes, l3_bytes, memory_bytes; /* read */
    double fma_per_cycle; /* of whole vectors: 2, or 1 where vectors of 512 bits take their units twice; 0: not told */
} fc_rates;
/* Takes a fraction of a second, and up to 512 MB for as long. */
FC_API fc_status fc_rates_measure(fc_dtype dtype, fc_rates *out);

/* What plans are compared by: defaults, until others are given. fc_rates_calibrate measures those of float32 in a few
 * milliseconds, and does not use them: a program that wants equal bits tomorrow keeps what it measured. fc_rates_use
 * takes those above 0, and may not run beside another thread that makes plans. */
FC_API fc_status fc_rates_calibrate(fc_rates *out);
FC_API void fc_rates_use(const fc_rates *rates);
FC_API fc_rates fc_rates_used(void);
FC_API void fc_set_num_threads(int threads);    /* 0: back to the default policy */
FC_API int fc_get_num_threads(void);
FC_API const char *fc_last_error(void);
FC_API const char *fc_version(void);

#ifdef __cplusplus
}
#endif
#endif
