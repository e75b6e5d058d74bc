/* Calls of many tasks from several callers at once: each task must run exactly once, be seen by its caller, and be told
 * which task its worker ran before. */
#include "threads.h"

#include "cpu.h"
#include "env.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

/* What threads.c asks for a number of threads, which these calls give. */
int fc_env_threads(void) { return 0; }
bool fc_env_omp_threads_set(void) { return false; }
double fc_cpu_cgroup_cores(void) { return 0; }
int fc_cpu_affinity_cores(void) { return 1; }

enum { CALLERS = 3, ROUNDS = 300, MOST = 97, SCRATCH = 64 };

typedef struct call {
    int done[MOST]; /* plain: the workers' writes must reach the caller */
    atomic_int fresh, wrong;
} call;

/* Scratch is the worker's own: what it ran last in this call stays there. */
static void run_task(void *context, int64_t task, int64_t before, void *scratch) {
    call *shared = context;
    void **last = scratch;
    if (before < 0)
        atomic_fetch_add(&shared->fresh, 1);
    else if (last[0] != context || (int64_t)(intptr_t)last[1] != before)
        atomic_fetch_add(&shared->wrong, 1);
    last[0] = context;
    last[1] = (void *)(intptr_t)task;
    for (volatile int busy = 0; busy < 100 * (int)(task % 5); busy++) {}
    shared->done[task]++;
}

static void fail(const char *what, int round) {
    fprintf(stderr, "round %d: %s\n", round, what);
    exit(1);
}

static void *caller(void *number) {
    for (int round = 0; round < ROUNDS; round++) {
        int tasks = (round * 7 + *(int *)number) % (MOST + 1), threads = 1 + round % 6;
        call shared = {{0}, 0, 0};
        if (fc_parallel_for(tasks, threads, SCRATCH, run_task, &shared) != FC_OK)
            fail("no scratch", round);
        for (int task = 0; task < MOST; task++)
            if (shared.done[task] != (task < tasks))
                fail("a task ran never, twice, or is none", round);
        if (shared.wrong != 0 || shared.fresh > threads || (tasks > 0 && shared.fresh == 0))
            fail("a worker was told of another task before", round);
    }
    return NULL;
}

int main(void) {
    pthread_t threads[CALLERS];
    int numbers[CALLERS];
    for (int i = 0; i < CALLERS; i++) {
        numbers[i] = i;
        if (pthread_create(&threads[i], NULL, caller, &numbers[i]) != 0)
            return 2;
    }
    for (int i = 0; i < CALLERS; i++)
        pthread_join(threads[i], NULL);
    return 0;
}
