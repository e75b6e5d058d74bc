"""The C declarations `_core` uses: include/fastconv.h, and what of the library itself Python needs."""

from libc.stdint cimport int64_t

cdef extern from "fastconv.h" nogil:
    enum: FC_MAX_SPATIAL

    ctypedef enum fc_status:
        FC_OK
        FC_INVALID_ARGUMENT
        FC_OVERFLOW
        FC_UNSUPPORTED
        FC_OUT_OF_MEMORY

    ctypedef enum fc_dtype:
        FC_F32
        FC_F64
        FC_F16
        FC_BF16

    ctypedef enum fc_operation:
        FC_CONV
        FC_CONV_TRANSPOSED
        FC_CONV_DEFORM
        FC_CONV_SEPARABLE

    ctypedef enum fc_pad_mode:
        FC_PAD_ZEROS
        FC_PAD_REFLECT
        FC_PAD_REPLICATE
        FC_PAD_CIRCULAR

    ctypedef enum fc_activation:
        FC_ACT_NONE
        FC_ACT_RELU
        FC_ACT_LEAKY_RELU
        FC_ACT_CLIP
        FC_ACT_SIGMOID
        FC_ACT_TANH
        FC_ACT_SILU
        FC_ACT_HARDSWISH

    ctypedef enum fc_precision:
        FC_PRECISION_HIGHEST
        FC_PRECISION_HIGH
        FC_PRECISION_MEDIUM

    ctypedef struct fc_problem:
        fc_dtype dtype
        fc_operation operation
        int spatial_rank
        int64_t batch, in_ch, out_ch, groups
        int64_t in_size[3]
        int64_t kernel[3]
        int64_t stride[3]
        int64_t dilation[3]
        int64_t pad_before[3]
        int64_t pad_after[3]
        int64_t output_padding[3]
        fc_pad_mode pad_mode
        fc_activation activation
        double activation_param[2]
        fc_precision precision
        bint has_bias, has_residual
        bint x_channels_last, out_channels_last
        bint pack_per_call, weights_unsafe
        int64_t depth_multiplier, offset_groups

    ctypedef struct fc_tensor:
        void *data
        int64_t stride[5]

    ctypedef struct fc_weight_view:
        const void *data
        int64_t stride[6]

    ctypedef struct fc_tensors:
        fc_tensor x, out, residual
        const void *bias
        fc_tensor offset, mask

    ctypedef struct fc_plan:
        pass

    ctypedef struct fc_weights:
        pass

    ctypedef struct fc_plan_info:
        const char *algorithm
        const char *kernel
        double flops, estimated_seconds
        size_t workspace_bytes, packed_bytes
        int64_t out_size[3]
        int candidate_count

    ctypedef struct fc_candidate:
        const char *algorithm
        const char *kernel
        double estimated_seconds
        const char *rejected

    ctypedef struct fc_cost:
        double core, l1, l2, l3, memory, packing, calls

    ctypedef struct fc_cpu_info:
        const char *isa
        const char *isa_found
        const char *brand
        size_t l1d_bytes, l2_bytes, l3_bytes
        int logical_cores
        double cgroup_cores
        bint openmp, amx_permitted

    fc_problem fc_problem_default(fc_dtype dtype, int spatial_rank)
    fc_status fc_plan_create(const fc_problem *problem, const char *algorithm, fc_plan **plan)
    void fc_plan_free(fc_plan *plan)
    fc_plan_info fc_plan_describe(const fc_plan *plan)
    fc_status fc_plan_candidate(const fc_plan *plan, int index, fc_candidate *candidate)
    fc_cost fc_plan_cost(const fc_plan *plan)
    fc_status fc_weights_pack(const fc_plan *plan, const fc_weight_view *weight,
                              const fc_weight_view *pointwise, int threads, fc_weights **weights)
    bint fc_weights_match(const fc_weights *weights, const fc_plan *plan)
    size_t fc_weights_bytes(const fc_weights *weights)
    void fc_weights_free(fc_weights *weights)
    fc_status fc_plan_run(const fc_plan *plan, const fc_weights *weights,
                          const fc_tensors *tensors, int threads)

    ctypedef enum fc_pool_kind:
        FC_POOL_MAX
        FC_POOL_MEAN

    ctypedef struct fc_pool:
        fc_dtype dtype
        fc_pool_kind kind
        int64_t batch, channels
        int64_t in_size[3]
        int64_t kernel[3]
        int64_t stride[3]
        int64_t dilation[3]
        int64_t padding[3]
        bint ceil_mode, count_padding
        int64_t divisor

    ctypedef struct fc_rates:
        double fma_flops, tile_flops, l1_bytes, l2_bytes, l3_bytes, memory_bytes, fma_per_cycle

    fc_status fc_rates_measure(fc_dtype dtype, fc_rates *out)
    fc_status fc_rates_calibrate(fc_rates *out)
    void fc_rates_use(const fc_rates *rates)
    fc_rates fc_rates_used()
    fc_pool fc_pool_default(fc_dtype dtype, fc_pool_kind kind)
    fc_status fc_pool_out_size(const fc_pool *pool, int64_t *out_size)
    fc_status fc_pool_run(const fc_pool *pool, const fc_tensor *x, const fc_tensor *out, int threads)

    ctypedef struct fc_columns:
        fc_dtype dtype
        int64_t rows, length, taps, dilation, x_pitch, out_pitch

    fc_status fc_columns_run(const fc_columns *columns, const void *x, const void *weights, void *out)

    ctypedef struct fc_pairs:
        fc_dtype dtype
        int64_t rows, length
        const int64_t *from_rows[2]
        const int64_t *from_columns
        int64_t x_pitch, out_pitch
        double fill

    fc_status fc_pairs_join(const fc_pairs *pairs, const void *x, void *out)
    fc_status fc_pairs_part(const fc_pairs *pairs, const void *x, void *out)

    ctypedef enum fc_element:
        FC_ELEMENT_COUNT

    ctypedef enum fc_extension:
        FC_EXTEND_NEAREST
        FC_EXTEND_WRAP
        FC_EXTEND_REFLECT
        FC_EXTEND_MIRROR
        FC_EXTEND_CONSTANT

    ctypedef enum fc_order:
        FC_ORDER_RASTER
        FC_ORDER_LINE
        FC_ORDER_EVEN
        FC_ORDER_ODD

    ctypedef struct fc_filter_stage:
        int64_t kernel[3]
        int64_t before[3]
        const double *weights
        fc_order order
        double divisor, rounding

    ctypedef struct fc_filter:
        fc_element x_element, out_element
        bint single
        int64_t batch
        int64_t size[3]
        int64_t step
        int64_t x_stride[3]
        int64_t out_stride[3]
        fc_extension extension[3]
        double constant
        fc_filter_stage first, second, window

    fc_status fc_filter_run(const fc_filter *filter, const void *x, void *out, int threads)
    int fc_algorithm_count()
    const char *fc_algorithm_name(int index)
    ctypedef struct fc_algorithm:
        const char *name
        const char *bound
        const char *reached
    const fc_algorithm *fc_algorithm_at(int index)
    int fc_kernel_count()
    const char *fc_kernel_name(int index)
    bint fc_kernel_available(int index)
    fc_cpu_info fc_cpu_query()
    void fc_set_num_threads(int threads)
    int fc_get_num_threads()
    const char *fc_last_error()
    const char *fc_version()

cdef extern from "cgroup.h" nogil:
    double fc_cgroup_cores(const char *root)

cdef extern from "threads.h" nogil:
    ctypedef void fc_task_fn(void *context, int64_t task, int64_t before, void *scratch) noexcept nogil
    fc_status fc_parallel_for(int64_t tasks, int threads, size_t scratch_bytes, fc_task_fn *fn, void *context)
    int fc_threads_for(double flops, int requested)
    unsigned fc_enter_float_mode()
    void fc_leave_float_mode(unsigned mode)
