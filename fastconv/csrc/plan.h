/* A plan: a checked problem, the parts it runs as, and the kernel each part was given. */
#ifndef FC_PLAN_H
#define FC_PLAN_H

#include "kernel.h"

/* Every distinct answer a problem has when asked for its algorithms. */
enum { FC_MAX_CANDIDATES = 24, FC_MAX_PARTS = 65536 };

struct fc_plan {
    fc_problem problem;
    int64_t out_size[FC_MAX_SPATIAL];
    int part_count;
    fc_part *parts;
    const char *algorithm;      /* of the first part; stride phases may differ in kernel */
    double flops, estimated_seconds;
    size_t scratch_bytes, packed_bytes;
    int candidate_count;
    fc_candidate candidates[FC_MAX_CANDIDATES];
};

/* dispatch.c: chooses a kernel for each part of the plan and fills what follows from it. */
fc_status fc_dispatch(fc_plan *plan, const char *algorithm);

#endif
