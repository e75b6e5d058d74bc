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
#include "workspace.h"

/* Below this many flops per worker, waking another thread costs more than it brings. */
static const double FLOPS_PER_WORKER = 400e3;

static atomic_int threads_setting; /* fc_set_num_threads; 0: default policy */
static atomic_bool pool_started;   /* this process has run an OpenMP region */
static atomic_bool pool_lost;      /* a fork after that: libgomp's threads are gone, its locks are not */
static pthread_once_t policy_once = PTHREAD_ONCE_INIT;
static int default_threads;

static void after_fork_in_child(void) {
    if (atomic_load(&pool_started))
        atomic_store(&pool_lost, true);
}

/* FASTCONV_NUM_THREADS, else OMP_NUM_THREADS (through omp_get_max_threads, at each call), else the affinity
 * mask cut by the container's quota. */
static void choose_policy(void) {
    pthread_atfork(NULL, NULL, after_fork_in_child);
    default_threads = fc_env_threads();
    if (default_threads == 0 && !fc_env_omp_threads_set()) {
        default_threads = fc_cpu_affinity_cores();
        double quota = fc_cpu_cgroup_cores();
        if (quota > 0 && quota < default_threads)
            default_threads = quota < 1 ? 1 : (int)quota;
    }
}

void fc_set_num_threads(int threads) { atomic_store(&threads_setting, threads < 0 ? 0 : threads); }

int fc_get_num_threads(void) {
    pthread_once(&policy_once, choose_policy);
    int threads = atomic_load(&threads_setting);
    if (threads == 0)
        threads = default_threads;
#if FC_OPENMP
    /* threadpoolctl and OMP_NUM_THREADS speak through omp_get_max_threads; they may lower ours. */
    int limit = omp_get_max_threads();
    if (threads == 0 || (atomic_load(&threads_setting) == 0 && fc_env_threads() == 0 && limit < threads))
        threads = limit;
#else
    threads = 1;
#endif
    return threads < 1 ? 1 : threads;
}

int fc_threads_for(double flops, int requested) {
    int threads = requested > 0 ? requested : requested < 0 ? -requested : fc_get_num_threads();
    double useful = flops / FLOPS_PER_WORKER;
    if (requested <= 0 && useful < threads)
        threads = useful < 1 ? 1 : (int)useful;
    if (atomic_load(&pool_lost))
        return 1;
#if FC_OPENMP
    if (omp_in_parallel())
        return 1;
#else
    threads = 1;
#endif
    return threads;
}

#if defined(__SSE2__)
enum { FLUSH_DENORMALS = 0x8040 }; /* FTZ and DAZ */
static unsigned enter_float_mode(void) {
    unsigned mode = _mm_getcsr();
    _mm_setcsr(mode | FLUSH_DENORMALS);
    return mode;
}
/* Keeps the exception flags the caller had: kernels compute on padding lanes too. */
static void leave_float_mode(unsigned mode) { _mm_setcsr(mode); }
#else
static unsigned enter_float_mode(void) { return 0; }
static void leave_float_mode(unsigned mode) { (void)mode; }
#endif

typedef struct shared_work {
    _Atomic int64_t next;
    int64_t tasks;
    size_t scratch_bytes;
    fc_task_fn *fn;
    void *context;
} shared_work;

static void work(shared_work *shared) {
    unsigned mode = enter_float_mode();
    void *scratch = fc_workspace(shared->scratch_bytes);
    int64_t task;
    while (scratch != NULL && (task = atomic_fetch_add(&shared->next, 1)) < shared->tasks)
        shared->fn(shared->context, task, scratch);
    leave_float_mode(mode);
}

fc_status fc_parallel_for(int64_t tasks, int threads, size_t scratch_bytes, fc_task_fn *fn, void *context) {
    pthread_once(&policy_once, choose_policy);
    shared_work shared = {.tasks = tasks, .scratch_bytes = scratch_bytes, .fn = fn, .context = context};
    if (tasks < threads)
        threads = (int)tasks;
#if FC_OPENMP
    if (threads > 1) {
        atomic_store(&pool_started, true);
#pragma omp parallel num_threads(threads)
        work(&shared);
    } else
#endif
        work(&shared);
    if (atomic_load(&shared.next) < tasks) /* no worker at all had scratch */
        return fc_fail(FC_OUT_OF_MEMORY, "no memory for %zu bytes of scratch per thread", scratch_bytes);
    return FC_OK;
}
