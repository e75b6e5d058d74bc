/* The choice of kernels: the only file that compares them.
 *
 * For each part, every algorithm's widest available kernel is asked whether it can run the part and what it
 * would cost; the cheapest wins. The choice depends on neither batch nor threads, so results do not. */
#include <stdio.h>
#include <string.h>

#include "cost.h"
#include "error.h"
#include "plan.h"

static const char *const dtype_names[FC_DTYPE_COUNT] = {"f32", "f64", "f16", "bf16"};

/* Asked for by name: an algorithm ("gemm") or one kernel of it ("gemm.f32.avx2"). */
static bool named(const fc_kernel *kernel, const char *wanted) {
    return strcmp(wanted, kernel->algorithm) == 0 || strcmp(wanted, kernel->name) == 0;
}

static bool is_auto(const char *wanted) { return strcmp(wanted, "auto") == 0; }

typedef struct choice {
    const fc_kernel *kernel;
    double seconds;
    const char *rejected; /* why the named one was refused, when it was */
    bool found;           /* the name exists for this dtype and CPU */
} choice;

/* Adds what a kernel says about one part to what it said about the plan's parts before. A stride phase without
 * taps is no ground for rejection: choose_for_part gives it to another kernel. */
static void note(fc_plan *plan, const fc_part *part, const char *algorithm, const char *kernel, double seconds,
                 const char *why) {
    fc_candidate *known = plan->candidates;
    fc_candidate *end = known + plan->candidate_count;
    while (known < end && known->kernel != kernel)
        known++;
    if (known == end) {
        if (plan->candidate_count == FC_MAX_CANDIDATES)
            return;
        plan->candidate_count++;
        *known = (fc_candidate){algorithm, kernel, 0, NULL};
    }
    known->estimated_seconds += seconds;
    if (why != NULL && part->taps > 0)
        known->rejected = why;
}

static bool was_seen(const char *algorithm, const char *const *seen, int count) {
    for (int i = 0; i < count; i++)
        if (strcmp(seen[i], algorithm) == 0)
            return true;
    return false;
}

/* Walks the rows, each algorithm's widest kernel once; an algorithm without a row here is one that cannot run. */
static choice choose(const fc_part *part, const char *wanted, fc_plan *plan) {
    choice best = {NULL, 0, NULL, false};
    const char *dtype = dtype_names[part->problem.dtype];
    const char *seen[FC_MAX_CANDIDATES];
    int seen_count = 0;
    for (int row = 0; row < fc_registry_count(); row++) {
        const fc_kernel *kernel = fc_registry_kernel(row);
        if (strcmp(kernel->dtype, dtype) != 0 || !fc_registry_available(row))
            continue;
        bool asked = !is_auto(wanted) && named(kernel, wanted);
        bool whole_name = asked && strcmp(wanted, kernel->algorithm) != 0;
        bool again = was_seen(kernel->algorithm, seen, seen_count);
        if (again && !whole_name)
            continue; /* a wider instruction set has this algorithm already */
        if (!again && seen_count < FC_MAX_CANDIDATES)
            seen[seen_count++] = kernel->algorithm;
        const char *why = kernel->rejects(part);
        double seconds = why ? 0 : fc_cost_run(kernel, part);
        double pack = why ? 0 : fc_cost_pack(kernel, part);
        if (plan != NULL)
            note(plan, part, kernel->algorithm, kernel->name, seconds * (double)part->problem.batch + pack, why);
        seconds += pack; /* for one image, whatever the batch */
        if (asked)
            best.found = true;
        if (why != NULL) {
            if (asked)
                best.rejected = why;
            continue;
        }
        if (asked || (is_auto(wanted) && (best.kernel == NULL || seconds < best.seconds))) {
            best.kernel = kernel;
            best.seconds = seconds;
        }
    }
    for (int index = 0; index < fc_algorithm_count(); index++) {
        const char *algorithm = fc_algorithm_name(index);
        if (was_seen(algorithm, seen, seen_count))
            continue;
        static const char why[] = "it has no kernel for this dtype that this CPU, FASTCONV_ISA and the build allow";
        if (plan != NULL)
            note(plan, part, algorithm, algorithm, 0, why);
        if (strcmp(wanted, algorithm) == 0)
            best.found = true, best.rejected = why;
    }
    return best;
}

/* A stride phase that no tap reaches holds only bias, residual and activation; an algorithm that needs
 * taps leaves such a phase to whichever kernel takes it. */
static choice choose_for_part(const fc_part *part, const char *algorithm, fc_plan *plan) {
    choice got = choose(part, algorithm, plan);
    if (got.kernel == NULL && got.rejected != NULL && part->taps == 0)
        got = choose(part, "auto", NULL);
    return got;
}

fc_status fc_dispatch(fc_plan *plan, const char *algorithm) {
    const fc_machine *machine = fc_cpu_machine();
    for (int index = 0; index < plan->part_count; index++) {
        fc_part *part = &plan->parts[index];
        choice got = choose_for_part(part, algorithm, plan);
        if (got.kernel == NULL) {
            if (got.rejected != NULL)
                return fc_fail(FC_UNSUPPORTED, "algorithm: '%s' cannot run this: %s", algorithm, got.rejected);
            if (is_auto(algorithm))
                return fc_fail(FC_UNSUPPORTED, "algorithm: none can run this problem");
            return fc_fail(FC_INVALID_ARGUMENT,
                           "algorithm: '%s' is unknown for %s on this CPU; wanted 'auto' or a name of algorithms()",
                           algorithm, dtype_names[plan->problem.dtype]);
        }
        part->kernel = got.kernel;
        got.kernel->prepare(part, machine);
        double pack = fc_cost_pack(got.kernel, part);
        plan->estimated_seconds += (got.seconds - pack) * (double)plan->problem.batch + pack;
        size_t scratch = got.kernel->scratch_bytes(part);
        if (scratch > plan->scratch_bytes)
            plan->scratch_bytes = scratch;
        plan->packed_bytes += (got.kernel->packed_bytes(part) + 63) / 64 * 64;
    }
    plan->algorithm = plan->part_count > 0 ? plan->parts[0].kernel->algorithm : "none";
    plan->estimated_seconds += machine->call_seconds;
    return FC_OK;
}
