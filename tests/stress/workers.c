/* Many callers offer jobs to the workers at once; each task must run exactly once, and be seen by its caller. */
#include "workers.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

enum { CALLERS = 5, ROUNDS = 400, TASKS = 37 };

typedef struct work {
    atomic_int next;
    int done[TASKS]; /* plain: the workers' writes must reach the caller */
} work;

static void member(void *context) {
    work *shared = context;
    int task;
    while ((task = atomic_fetch_add(&shared->next, 1)) < TASKS) {
        for (volatile int busy = 0; busy < 200; busy++) {}
        shared->done[task]++;
    }
}

static void *caller(void *number) {
    for (int round = 0; round < ROUNDS; round++) {
        work shared = {0};
        fc_workers_run(1 + (round + *(int *)number) % 4, member, &shared);
        for (int task = 0; task < TASKS; task++)
            if (shared.done[task] != 1) {
                fprintf(stderr, "task %d ran %d times\n", task, shared.done[task]);
                exit(1);
            }
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
