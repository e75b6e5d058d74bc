#include "threads.h"

#include <pthread.h>
#include <stdatomic.h>
#if defined(__SSE2__)
#include <xmmintrin.h>
#endif
#if FC_OPENMP
#include <omp.h>
#endif

#include "cpu.h"
#include "env.h"
#include "error.h"
#include "workers.h"
#include "workspace.h"

/* Below this many flops per worker, waking another thread costs more than it brings. */
static const double FLOPS_PER_WORKER = 400e3;

static atomic_int threads_setting; /* fc_set_num_threads; 0: default policy */
static pthread_once_t policy_once = PTHREAD_ONCE_INIT;
static int environment_threads; /* FASTCONV_NUM_THREADS; 0: unset */
static bool openmp_decides;     /* OMP_NUM_THREADS is set and FASTCONV_NUM_THREADS is not */
static double quota_cores;      /* of the container; 0: none */

static void read_policy(void) {
    environment_threads = fc_env_threads();
    openmp_decides = FC_OPENMP && environment_threads == 0 && fc_env_omp_threads_set();
    quota_cores = fc_cpu_cgroup_cores();
}

void fc_set_num_threads(int threads) { atomic_store(&threads_setting, threads < 0 ? 0 : threads); }

/* The affinity mask is asked each time: a program may narrow it when it likes, or in a forked child. */
static int machine_threads(void) {
    int threads = fc_cpu_affinity_cores();
    if (quota_cores > 0 && quota_cores < threads)
        threads = quota_cores < 1 ? 1 : (int)quota_cores;
    return threads;
}

int fc_get_num_threads(void) {
    pthread_once(&policy_once, read_policy);
    int threads = atomic_load(&threads_setting);
    if (threads == 0)
        threads = environment_threads;
    if (threads > 0)
        return threads;
    threads = openmp_decides ? 0 : machine_threads();
#if FC_OPENMP
    /* OMP_NUM_THREADS and threadpoolctl speak through omp_get_max_threads; the latter may lower ours. */
    int limit = omp_get_max_threads();
    if (openmp_decides || limit < threads)
        threads = limit;
#endif
    return threads < 1 ? 1 : threads;
}

int fc_threads_for(double flops, int requested) {
    if (requested > 0)
        return requested;
    double useful = flops / FLOPS_PER_WORKER;
    if (useful < 2) /* before the setting is looked for: most small calls end here */
        return 1;
    int threads = requested < 0 ? -requested : fc_get_num_threads();
#if FC_OPENMP
    if (omp_in_parallel())
        return 1;
#endif
    return useful < threads ? (int)useful : threads;
}

#if defined(__SSE2__)
enum { FLUSH_DENORMALS = 0x8040 }; /* FTZ and DAZ */
unsigned fc_enter_float_mode(void) {
    unsigned mode = _mm_getcsr();
    _mm_setcsr(mode | FLUSH_DENORMALS);
    return mode;
}
void fc_leave_float_mode(unsigned mode) { _mm_setcsr(mode); }
#else
unsigned fc_enter_float_mode(void) { return 0; }
void fc_leave_float_mode(unsigned mode) { (void)mode; }
#endif

/* Tasks that nobody has taken yet, [begin, end) in one word, on a cache line of its own. */
typedef struct task_range {
    _Alignas(64) _Atomic uint64_t left;
} task_range;

enum { RANGES = 128 };           /* threads of a call at most */
enum { TASKS_AT_ONCE = 1 << 30 }; /* a half of a word each, and their sum */

typedef struct shared_work {
    task_range ranges[RANGES];
    atomic_int members; /* those who came, each with the range of its number */
    int most;
    int64_t first; /* the task that the ranges call 0 */
    size_t scratch_bytes;
    fc_task_fn *fn;
    void *context;
} shared_work;

static uint64_t range_of(uint32_t begin, uint32_t end) { return (uint64_t)begin << 32 | end; }
static uint32_t range_begin(uint64_t range) { return (uint32_t)(range >> 32); }
static uint32_t range_end(uint64_t range) { return (uint32_t)range; }
static uint32_t range_count(uint64_t range) { return range_end(range) - range_begin(range); }

/* The first task of a range, or -1. */
static int64_t take_first(task_range *range) {
    uint64_t left = atomic_load(&range->left);
    while (range_count(left) > 0)
        if (atomic_compare_exchange_weak(&range->left, &left, range_of(range_begin(left) + 1, range_end(left))))
            return range_begin(left);
    return -1;
}

/* Moves the latter half of the longest range, or its only task, to `own`, which is empty and which nobody else fills.
 * A range in the middle of such a move is seen by none: whoever comes then leaves its tasks to those who have them. */
static bool take_half(shared_work *shared, task_range *own) {
    for (;;) {
        task_range *longest = NULL;
        uint64_t left = 0;
        for (int i = 0; i < shared->most; i++) {
            uint64_t seen = atomic_load(&shared->ranges[i].left);
            if (range_count(seen) > range_count(left))
                longest = &shared->ranges[i], left = seen;
        }
        if (longest == NULL)
            return false;
        uint32_t middle = range_begin(left) + range_count(left) / 2;
        if (!atomic_compare_exchange_strong(&longest->left, &left, range_of(range_begin(left), middle)))
            continue;
        atomic_store(&own->left, range_of(middle, range_end(left)));
        return true;
    }
}

static void work(void *context) {
    shared_work *shared = context;
    void *scratch = fc_workspace(shared->scratch_bytes);
    if (scratch == NULL)
        return;
    unsigned mode = fc_enter_float_mode();
    task_range *own = &shared->ranges[atomic_fetch_add(&shared->members, 1)];
    int64_t task, before = -1;
    do
        while ((task = take_first(own)) >= 0) {
            task += shared->first;
            shared->fn(shared->context, task, before, scratch);
            before = task;
        }
    while (take_half(shared, own));
    fc_leave_float_mode(mode);
}

/* Whether all tasks were run: at most TASKS_AT_ONCE from `first` on. */
static bool run_tasks(shared_work *shared, int64_t first, int64_t tasks, int threads) {
    shared->first = first;
    shared->most = tasks < threads ? (int)tasks : threads;
    atomic_store(&shared->members, 0);
    for (int i = 0; i < shared->most; i++)
        atomic_store(&shared->ranges[i].left, i == 0 ? range_of(0, (uint32_t)tasks) : 0);
    if (shared->most > 1)
        fc_workers_run(shared->most - 1, work, shared);
    else
        work(shared);
    for (int i = 0; i < shared->most; i++)
        if (range_count(atomic_load(&shared->ranges[i].left)) > 0) /* no thread at all had scratch */
            return false;
    return true;
}

fc_status fc_parallel_for(int64_t tasks, int threads, size_t scratch_bytes, fc_task_fn *fn, void *context) {
    shared_work shared;
    shared.scratch_bytes = scratch_bytes;
    shared.fn = fn;
    shared.context = context;
    threads = threads < RANGES ? threads : RANGES;
    for (int64_t first = 0; first < tasks; first += TASKS_AT_ONCE) {
        int64_t left = tasks - first;
        if (!run_tasks(&shared, first, left < TASKS_AT_ONCE ? left : TASKS_AT_ONCE, threads))
            return fc_fail(FC_OUT_OF_MEMORY, "no memory for %zu bytes of scratch per thread", scratch_bytes);
    }
    return FC_OK;
}
