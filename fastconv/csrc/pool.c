/* Pooling but for the arithmetic: geometry checked, lanes chosen, rows cut into tasks, the kernel picked. */
#include "pool.h"

#include "error.h"
#include "isa_rows.h"
#include "problem.h"
#include "threads.h"

static const char *const axis_names[FC_MAX_SPATIAL] = {"depth", "height", "width"};

FC_DEFINE_CHOICE(fc_pool_kernel)

fc_pool fc_pool_default(fc_dtype dtype, fc_pool_kind kind) {
    fc_pool pool = {.dtype = dtype, .kind = kind, .batch = 1, .channels = 1, .count_padding = true};
    for (int axis = 0; axis < FC_MAX_SPATIAL; axis++)
        pool.in_size[axis] = pool.kernel[axis] = pool.stride[axis] = pool.dilation[axis] = 1;
    return pool;
}

static fc_status check_axis(const fc_pool *p, int index, int64_t *out) {
    const char *name = axis_names[index];
    int64_t in = p->in_size[index], kernel = p->kernel[index], stride = p->stride[index];
    int64_t dilation = p->dilation[index], padding = p->padding[index];
    const int64_t limit = (int64_t)1 << 40; /* no axis is longer; keeps every sum below 2^62 */
    int64_t reach;
    if (in < 1)
        return fc_fail(FC_INVALID_ARGUMENT, "x: %s is %lld, wanted 1 or more", name, (long long)in);
    if (kernel < 1 || stride < 1 || dilation < 1)
        return fc_fail(FC_INVALID_ARGUMENT, "%s: %s is %lld, wanted 1 or more",
                       kernel < 1 ? "kernel_size" : stride < 1 ? "stride" : "dilation", name,
                       (long long)(kernel < 1 ? kernel : stride < 1 ? stride : dilation));
    if (in > limit || stride > limit || __builtin_mul_overflow(kernel - 1, dilation, &reach) || reach >= limit)
        return fc_fail(FC_OVERFLOW, "%s: size, stride or kernel_size * dilation above 2**40", name);
    if (padding < 0 || padding > (reach + 1) / 2)
        return fc_fail(FC_INVALID_ARGUMENT,
                       "padding: %s is %lld, wanted 0 to %lld, half of what kernel_size covers with dilation",
                       name, (long long)padding, (long long)(reach + 1) / 2);
    int64_t room = in + 2 * padding - reach - 1;
    if (room < 0 && (!p->ceil_mode || room <= -stride))
        return fc_fail(FC_INVALID_ARGUMENT, "kernel_size: %s covers %lld with dilation, x with padding has only %lld",
                       name, (long long)reach + 1, (long long)(in + 2 * padding));
    int64_t count = (room + (p->ceil_mode ? stride - 1 : 0)) / stride + 1;
    if (p->ceil_mode && (count - 1) * stride >= in + padding)
        count--; /* a window must begin before the padding after x */
    *out = count;
    return FC_OK;
}

fc_status fc_pool_out_size(const fc_pool *p, int64_t out_size[FC_MAX_SPATIAL]) {
    if ((unsigned)p->dtype >= FC_DTYPE_COUNT || (unsigned)p->kind > FC_POOL_MEAN)
        return fc_fail(FC_INVALID_ARGUMENT, "pool: dtype or kind is out of range");
    if (p->batch < 0 || p->channels < 0)
        return fc_fail(FC_INVALID_ARGUMENT, "x: batch %lld, channels %lld, wanted 0 or more", (long long)p->batch,
                       (long long)p->channels);
    if (p->kind == FC_POOL_MAX ? p->divisor != 0 : p->dilation[0] != 1 || p->dilation[1] != 1 || p->dilation[2] != 1)
        return fc_fail(FC_INVALID_ARGUMENT, "%s", p->kind == FC_POOL_MAX ? "divisor: a maximum has none"
                                                                         : "dilation: a mean has none");
    double in_elements = (double)p->batch * (double)p->channels, out_elements = in_elements, window = 1;
    for (int axis = 0; axis < FC_MAX_SPATIAL; axis++) {
        fc_status status = check_axis(p, axis, &out_size[axis]);
        if (status != FC_OK)
            return status;
        in_elements *= (double)p->in_size[axis];
        out_elements *= (double)out_size[axis];
        window *= (double)(p->kernel[axis] + 2 * p->padding[axis]);
    }
    if (in_elements > 0x1p61 || out_elements > 0x1p61 || window > 0x1p61)
        return fc_fail(FC_OVERFLOW, "x, out or kernel_size: more than 2**61 elements");
    return FC_OK;
}

/* Axes that one window covers wholly and that lie one after another are one long axis: the mean of 7 x 7
 * values is then one of 49. */
static void join_covered_axes(fc_pool_call *call) {
    fc_pool_axis *width = &call->axis[2];
    int64_t *stride = call->x.stride + 2;
    for (int index = 1; index >= 0; index--) {
        fc_pool_axis *axis = &call->axis[index];
        bool covered = width->out == 1 && width->kernel == width->in && width->padding == 0 && width->dilation == 1 &&
                       axis->out == 1 && axis->kernel == axis->in && axis->padding == 0 && axis->dilation == 1;
        if (!covered || stride[index] != stride[2] * width->in)
            return;
        width->in = width->kernel = width->in * axis->in;
        axis->in = axis->kernel = 1;
    }
}

static void choose_lanes(fc_pool_call *call) {
    const fc_pool_axis *width = &call->axis[2];
    const int64_t most_reach = 16384, most_stride = 32; /* what bounds the scratch row */
    int64_t reach = (width->kernel - 1) * width->dilation;
    call->spans = 1;
    bool width_dense = call->x.stride[4] == 1 && width->in > 1;
    if (call->x.stride[1] == 1 && call->channels > 1 && !width_dense) {
        call->lanes = FC_LANES_CHANNELS;
        call->span = 8 * FC_POOL_MOST_LANES;
    } else if (width->out == 1 || reach > most_reach || width->stride > most_stride) {
        call->lanes = FC_LANES_WINDOW;
    } else {
        const int64_t wanted_span = 4096; /* 16 KB of float: half of L1 */
        int64_t tile = reach < wanted_span ? (wanted_span - reach) / width->stride : 0;
        tile = tile < 64 ? 64 : tile;
        tile = tile > width->out ? width->out : tile;
        call->lanes = FC_LANES_OUTPUTS;
        call->tile = (tile + FC_POOL_MOST_LANES - 1) / FC_POOL_MOST_LANES * FC_POOL_MOST_LANES;
        call->span = call->tile * width->stride + reach + 2 * FC_POOL_MOST_LANES;
        call->spans = wanted_span / call->span;
        call->spans = call->spans < 1 ? 1 : call->spans > FC_POOL_SPANS ? FC_POOL_SPANS : call->spans;
    }
}

/* Tasks of about `task_work` elements touched; fewer elements when there would be too few tasks. */
static int64_t cut_tasks(fc_pool_call *call, int threads) {
    const double task_work = 65536;
    const fc_pool_axis *a = call->axis;
    double row_work = 64 + (double)a[0].kernel * (double)a[1].kernel *
                               ((double)a[2].in + (double)a[2].out * (double)a[2].kernel);
    call->rows = call->batch * a[0].out * a[1].out;
    call->channel_block = call->channels;
    call->channel_blocks = 1;
    if (call->lanes == FC_LANES_CHANNELS)
        row_work *= (double)call->channels;
    else
        call->rows *= call->channels;
    int64_t wanted = threads > 1 ? 4 * (int64_t)threads : 1;
    int64_t block = row_work > task_work ? 1 : (int64_t)(task_work / row_work);
    if (block > call->rows / wanted)
        block = call->rows / wanted;
    call->row_block = block < 1 ? 1 : block;
    int64_t tasks = (call->rows + call->row_block - 1) / call->row_block;
    if (call->lanes == FC_LANES_CHANNELS && tasks < wanted) {
        const int64_t quantum = 4 * FC_POOL_MOST_LANES;
        int64_t blocks = (wanted + tasks - 1) / tasks;
        int64_t width = (call->channels + blocks - 1) / blocks;
        call->channel_block = (width + quantum - 1) / quantum * quantum;
        call->channel_blocks = (call->channels + call->channel_block - 1) / call->channel_block;
    }
    return tasks * call->channel_blocks;
}

typedef struct pool_run {
    const fc_pool_kernel *kernel;
    fc_pool_call call;
} pool_run;

static void run_task(void *context, int64_t task, int64_t before, void *scratch) {
    (void)before;
    const pool_run *run = context;
    const fc_pool_call *call = &run->call;
    int64_t begin = task / call->channel_blocks * call->row_block, end = begin + call->row_block;
    int64_t channel = task % call->channel_blocks * call->channel_block;
    int64_t channel_end = channel + call->channel_block;
    run->kernel->run(call, begin, end < call->rows ? end : call->rows, channel,
                     channel_end < call->channels ? channel_end : call->channels, scratch);
}

fc_status fc_pool_run(const fc_pool *p, const fc_tensor *x, const fc_tensor *out, int threads) {
    int64_t out_size[FC_MAX_SPATIAL];
    fc_status status = fc_pool_out_size(p, out_size);
    if (status != FC_OK)
        return status;
    pool_run run = {.kernel = choose_kernel(p->dtype),
                    .call = {.kind = p->kind,
                             .batch = p->batch,
                             .channels = p->channels,
                             .count_padding = p->count_padding,
                             .divisor = p->divisor,
                             .x = *x,
                             .out = *out}};
    if (run.kernel == NULL)
        return fc_fail(FC_UNSUPPORTED, "pool: this build has no kernel for this CPU");
    if (p->batch == 0 || p->channels == 0)
        return FC_OK;
    double touched = (double)p->batch * (double)p->channels, outputs = touched, window = 1;
    for (int axis = 0; axis < FC_MAX_SPATIAL; axis++) {
        run.call.axis[axis] = (fc_pool_axis){p->in_size[axis], out_size[axis], p->kernel[axis],
                                             p->stride[axis],  p->dilation[axis], p->padding[axis]};
        touched *= (double)p->in_size[axis];
        outputs *= (double)out_size[axis];
        window *= (double)p->kernel[axis];
    }
    join_covered_axes(&run.call);
    choose_lanes(&run.call);
    /* Memory bounds the work: moving an element takes as long as about 16 flops. */
    threads = fc_threads_for(16 * (touched + outputs) + outputs * window, threads);
    int64_t tasks = cut_tasks(&run.call, threads);
    size_t scratch_bytes = (size_t)(run.call.span * run.call.spans) * fc_compute_size(p->dtype);
    return fc_parallel_for(tasks, threads, scratch_bytes, run_task, &run);
}
