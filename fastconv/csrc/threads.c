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

typedef struct shared_work {
    _Atomic int64_t next;
    int64_t tasks;
    size_t scratch_bytes;
    fc_task_fn *fn;
    void *context;
} shared_work;

static void work(void *context) {
    shared_work *shared = context;
    unsigned mode = fc_enter_float_mode();
    void *scratch = fc_workspace(shared->scratch_bytes);
    int64_t task;
    while (scratch != NULL && (task = atomic_fetch_add(&shared->next, 1)) < shared->tasks)
        shared->fn(shared->context, task, scratch);
    fc_leave_float_mode(mode);
}

fc_status fc_parallel_for(int64_t tasks, int threads, size_t scratch_bytes, fc_task_fn *fn, void *context) {
    shared_work shared = {.tasks = tasks, .scratch_bytes = scratch_bytes, .fn = fn, .context = context};
    if (tasks < threads)
        threads = (int)tasks;
    if (threads > 1)
        fc_workers_run(threads - 1, work, &shared);
    else
        work(&shared);
    if (atomic_load(&shared.next) < tasks) /* no thread at all had scratch */
        return fc_fail(FC_OUT_OF_MEMORY, "no memory for %zu bytes of scratch per thread", scratch_bytes);
    return FC_OK;
}
