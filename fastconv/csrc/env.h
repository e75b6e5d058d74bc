/* The environment variables C reads, each once. Unknown values warn on stderr and are ignored. */
#ifndef FC_ENV_H
#define FC_ENV_H

#include "cpu.h"

fc_isa fc_env_isa(void);  /* FASTCONV_ISA: widest allowed; FC_ISA_COUNT - 1 when unset */
int fc_env_threads(void); /* FASTCONV_NUM_THREADS; 0 when unset */
bool fc_env_omp_threads_set(void); /* OMP_NUM_THREADS holds something */

#endif
