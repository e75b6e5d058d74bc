/* The worker threads of the process: started when first needed, shared by all calls, asleep between them. */
#ifndef FC_WORKERS_H
#define FC_WORKERS_H

typedef void fc_member_fn(void *context);

/* Runs fn(context) on the calling thread and on at most `helpers` workers at the same time; every one of them
 * must return when no work is left. Workers that come too late are not waited for. Fewer help while
 * others already compute: the callers and workers of all calls together are at most `helpers` + 1
 * unless the callers alone are more. */
void fc_workers_run(int helpers, fc_member_fn *fn, void *context);

#endif
