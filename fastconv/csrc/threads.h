/* How many threads a call uses, sharing its tasks among them, denormal mode. threads.c is the only file with
 * OpenMP, which is asked for its number of threads (OMP_NUM_THREADS, threadpoolctl); workers.c does the work. */
#ifndef FC_THREADS_H
#define FC_THREADS_H

#include "fastconv.h"

/* `before` is the task that this worker ran last, whose scratch is as it was left, or -1. */
typedef void fc_task_fn(void *context, int64_t task, int64_t before, void *scratch);

/* Runs task 0 .. tasks-1, each once, on at most `threads` workers. A worker takes tasks in order from a range of its
 * own, so that neighbours share what they prepare; one without tasks takes the latter half of the longest range.
 * Every worker has `scratch_bytes` of scratch and runs with denormals flushed to zero; the
 * caller's floating-point mode is restored. FC_OUT_OF_MEMORY when none got scratch. */
fc_status fc_parallel_for(int64_t tasks, int threads, size_t scratch_bytes, fc_task_fn *fn, void *context);

/* Threads for work of `flops`, when the caller asked for `requested`: exactly that many, at
 * most -requested when negative, or the setting when 0. */
int fc_threads_for(double flops, int requested);

/* Denormals flushed to zero on this thread, until the mode that was before is given back: with the exception
 * flags of then, since kernels compute on padding lanes too. */
unsigned fc_enter_float_mode(void);
void fc_leave_float_mode(unsigned mode);

#endif
