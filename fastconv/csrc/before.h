/* The task that a worker ran last, told to kernels that use again what it left in scratch. plan.c writes it in front of
 * the scratch; tasks that share what they prepare must be neighbours, because a worker goes through them in order. */
#ifndef FC_BEFORE_H
#define FC_BEFORE_H

#include <stdint.h>

enum { FC_BEFORE_BYTES = 64 };

static inline void fc_tell_before(void *scratch, int64_t before) { ((int64_t *)scratch)[-1] = before; }
/* Of the same part and call, or -1: nothing in scratch is known. */
static inline int64_t fc_task_before(const void *scratch) { return ((const int64_t *)scratch)[-1]; }

#endif
