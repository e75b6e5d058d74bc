/* Plans and packed weights: made, described, run, freed. */
#include "plan.h"

#include <string.h>

#include "before.h"
#include "error.h"
#include "threads.h"
#include "workspace.h"

/* Packed weights: one block per part, each 64-byte aligned, one after another. The signature is what the
 * packed form depends on. */
typedef struct weights_signature {
    fc_dtype dtype;
    fc_operation operation;
    int64_t in_ch, out_ch, groups, depth_multiplier;
    int64_t kernel[FC_MAX_SPATIAL], stride[FC_MAX_SPATIAL], dilation[FC_MAX_SPATIAL];
    int64_t phase_shift[FC_MAX_SPATIAL]; /* transposed: which taps part 0 reads */
    int64_t in_step[FC_MAX_SPATIAL]; /* which rows of x are a part's */
    int64_t part_count;
    int64_t pack_per_call; /* such weights may be no copy, or for this x alone */
    int64_t images, out_size[FC_MAX_SPATIAL]; /* of such weights */
    size_t packed_bytes;
} weights_signature;

struct fc_weights {
    weights_signature signature;
    int part_count;
    const fc_kernel **kernels; /* per part */
    char *packed;
};

static weights_signature sign(const fc_plan *plan) {
    const fc_problem *p = &plan->problem;
    weights_signature s;
    memset(&s, 0, sizeof s); /* padding bytes too: signatures are compared by memcmp */
    s.dtype = p->dtype;
    s.operation = p->operation;
    s.in_ch = p->in_ch;
    s.out_ch = p->out_ch;
    s.groups = p->groups;
    s.depth_multiplier = p->depth_multiplier;
    s.part_count = plan->part_count;
    s.pack_per_call = p->pack_per_call ? 1 + p->x_channels_last : 0;
    s.images = p->pack_per_call ? p->batch : 0;
    s.packed_bytes = plan->packed_bytes;
    for (int axis = 0; axis < FC_MAX_SPATIAL; axis++) {
        s.kernel[axis] = p->kernel[axis];
        s.stride[axis] = p->stride[axis];
        s.dilation[axis] = p->dilation[axis];
        s.out_size[axis] = p->pack_per_call ? plan->out_size[axis] : 0;
        s.in_step[axis] = plan->part_count > 0 ? plan->parts[0].in_step[axis] : 1;
        if (p->operation == FC_CONV_TRANSPOSED)
            s.phase_shift[axis] = p->pad_before[axis] % p->stride[axis];
    }
    return s;
}

fc_status fc_plan_create(const fc_problem *problem, const char *algorithm, fc_plan **out) {
    int64_t out_size[FC_MAX_SPATIAL];
    fc_status status = fc_problem_check(problem, out_size);
    if (status != FC_OK)
        return status;
    int64_t parts = fc_problem_part_count(problem, out_size);
    if (parts > FC_MAX_PARTS)
        return fc_fail(FC_UNSUPPORTED, "stride: product of %lld phases, wanted at most %d", (long long)parts,
                       FC_MAX_PARTS);
    fc_plan *plan = fc_allocate(sizeof *plan);
    if (plan == NULL)
        return fc_fail(FC_OUT_OF_MEMORY, "no memory for a plan");
    plan->problem = *problem;
    memcpy(plan->out_size, out_size, sizeof out_size);
    plan->part_count = (int)parts;
    plan->flops = fc_problem_flops(problem, out_size);
    plan->parts = fc_allocate((size_t)parts * sizeof *plan->parts);
    if (plan->parts == NULL) {
        fc_plan_free(plan);
        return fc_fail(FC_OUT_OF_MEMORY, "no memory for a plan of %lld stride phases", (long long)parts);
    }
    for (int index = 0; index < plan->part_count; index++)
        fc_problem_part(problem, out_size, index, &plan->parts[index]);
    status = fc_dispatch(plan, algorithm);
    if (status != FC_OK) {
        fc_plan_free(plan);
        return status;
    }
    *out = plan;
    return FC_OK;
}

void fc_plan_free(fc_plan *plan) {
    if (plan == NULL)
        return;
    fc_release(plan->parts);
    fc_release(plan);
}

fc_plan_info fc_plan_describe(const fc_plan *plan) {
    fc_plan_info info = {.algorithm = plan->algorithm,
                         .kernel = plan->part_count ? plan->parts[0].kernel->name : "none",
                         .flops = plan->flops,
                         .estimated_seconds = plan->estimated_seconds,
                         .workspace_bytes = plan->scratch_bytes,
                         .packed_bytes = plan->packed_bytes,
                         .candidate_count = plan->candidate_count};
    memcpy(info.out_size, plan->out_size, sizeof info.out_size);
    return info;
}

fc_status fc_plan_candidate(const fc_plan *plan, int index, fc_candidate *candidate) {
    if (index < 0 || index >= plan->candidate_count)
        return fc_fail(FC_INVALID_ARGUMENT, "index: %d, wanted 0 to %d", index, plan->candidate_count - 1);
    *candidate = plan->candidates[index];
    return FC_OK;
}

/* Packing a weight takes about as long as this many flops of a convolution. */
static const double PACK_FLOPS = 64;

typedef struct packing {
    const fc_part *part;
    const fc_weight_view *weight, *pointwise;
    void *packed;
    int64_t units, at_once;
} packing;

static void pack_task(void *context, int64_t task, int64_t before, void *scratch) {
    (void)before, (void)scratch;
    const packing *p = context;
    int64_t begin = task * p->at_once, end = begin + p->at_once;
    p->part->kernel->pack(p->part, p->weight, p->pointwise, p->packed, begin, end < p->units ? end : p->units);
}

static fc_status pack_part(const fc_part *part, const fc_weight_view *weight, const fc_weight_view *pointwise,
                           int threads, void *packed) {
    int64_t units = part->kernel->pack_units ? part->kernel->pack_units(part) : 1;
    double flops = PACK_FLOPS * (double)part->problem.out_ch * (double)part->reduction;
    threads = units > 1 ? fc_threads_for(flops, threads) : 1;
    int64_t tasks = threads > 1 ? 4 * (int64_t)threads : 1;
    packing p = {part, weight, pointwise, packed, units, (units + tasks - 1) / tasks};
    return fc_parallel_for((units + p.at_once - 1) / p.at_once, threads, 0, pack_task, &p);
}

fc_status fc_weights_pack(const fc_plan *plan, const fc_weight_view *weight, const fc_weight_view *pointwise,
                          int threads, fc_weights **out) {
    fc_weights *weights = fc_allocate(sizeof *weights);
    if (weights == NULL)
        return fc_fail(FC_OUT_OF_MEMORY, "no memory for packed weights");
    weights->signature = sign(plan);
    weights->part_count = plan->part_count;
    weights->kernels = fc_allocate((size_t)plan->part_count * sizeof *weights->kernels);
    weights->packed = fc_allocate_unset(plan->packed_bytes);
    if (weights->kernels == NULL || weights->packed == NULL) {
        fc_weights_free(weights);
        return fc_fail(FC_OUT_OF_MEMORY, "no memory for %zu bytes of packed weights", plan->packed_bytes);
    }
    char *packed = weights->packed;
    for (int index = 0; index < plan->part_count; index++) {
        const fc_part *part = &plan->parts[index];
        fc_weight_view view = fc_part_weight(part, *weight);
        weights->kernels[index] = part->kernel;
        fc_status status = pack_part(part, &view, pointwise, threads, packed);
        if (status != FC_OK) {
            fc_weights_free(weights);
            return status;
        }
        packed += (part->kernel->packed_bytes(part) + 63) / 64 * 64;
    }
    *out = weights;
    return FC_OK;
}

bool fc_weights_match(const fc_weights *weights, const fc_plan *plan) {
    weights_signature wanted = sign(plan);
    if (memcmp(&wanted, &weights->signature, sizeof wanted) != 0)
        return false;
    for (int index = 0; index < plan->part_count; index++)
        if (plan->parts[index].kernel != weights->kernels[index])
            return false;
    return true;
}

size_t fc_weights_bytes(const fc_weights *weights) { return weights->signature.packed_bytes; }

void fc_weights_free(fc_weights *weights) {
    if (weights == NULL)
        return;
    fc_release(weights->packed);
    fc_release(weights->kernels);
    fc_release(weights);
}

/* The tasks of all parts as one range, so that small stride phases share one parallel region. */
enum { PARTS_AT_ONCE = 64 };

typedef struct part_run {
    int count;
    int64_t first_task[PARTS_AT_ONCE + 1];
    fc_call calls[PARTS_AT_ONCE];
} part_run;

static void run_task(void *context, int64_t task, int64_t before, void *scratch) {
    const part_run *run = context;
    int part = 0;
    while (task >= run->first_task[part + 1])
        part++;
    const fc_call *call = &run->calls[part];
    int64_t first = run->first_task[part];
    scratch = (char *)scratch + FC_BEFORE_BYTES;
    fc_tell_before(scratch, before >= first && before < run->first_task[part + 1] ? before - first : -1);
    call->part->kernel->run(call, task - first, scratch);
}

fc_status fc_plan_run(const fc_plan *plan, const fc_weights *weights, const fc_tensors *tensors,
                      int threads) {
    if (!fc_weights_match(weights, plan))
        return fc_fail(FC_INVALID_ARGUMENT, "weights: packed for another kernel or geometry than the plan's");
    if (plan->problem.batch == 0)
        return FC_OK;
    threads = fc_threads_for(plan->flops, threads);
    const char *packed = weights->packed;
    part_run run;
    for (int index = 0; index < plan->part_count;) {
        run.count = 0;
        run.first_task[0] = 0;
        for (; index < plan->part_count && run.count < PARTS_AT_ONCE; index++) {
            const fc_part *part = &plan->parts[index];
            fc_call *call = &run.calls[run.count];
            call->part = part;
            call->packed = packed;
            call->tensors = *tensors;
            call->tensors.x = fc_part_x(part, tensors->x);
            call->tensors.out = fc_part_out(part, tensors->out);
            call->tensors.residual = fc_part_out(part, tensors->residual);
            packed += (part->kernel->packed_bytes(part) + 63) / 64 * 64;
            int64_t tasks =
                part->out_pixels == 0 ? 0 : part->kernel->partition(part, threads, call->grid);
            run.first_task[run.count + 1] = run.first_task[run.count] + tasks;
            run.count++;
        }
        fc_status status = fc_parallel_for(run.first_task[run.count], threads,
                                           plan->scratch_bytes + FC_BEFORE_BYTES, run_task, &run);
        if (status != FC_OK)
            return status;
    }
    return FC_OK;
}

/* setup.py hands over the version of pyproject.toml. */
#define FC_STRING(x) #x
#define FC_TEXT(x) FC_STRING(x)
const char *fc_version(void) { return FC_TEXT(FC_VERSION); }
