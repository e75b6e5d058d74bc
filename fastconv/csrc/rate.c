/* Measures what one core can do: multiply-adds per second, bytes per second from each level of the memory. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* clock_gettime under -std=c11 */
#endif
#include "rate.h"

#include <time.h>

#include "error.h"
#include "isa_rows.h"
#include "workspace.h"

FC_DECLARE_ROWS(fc_rate_kernel, fc_rate_kernel)
#if FC_HAVE_AMX
extern const fc_rate_kernel fc_tile_rate_kernel_f32_amx;
#endif

static const struct {
    fc_isa isa;
    const fc_rate_kernel *kernels[FC_DTYPE_COUNT];
} rows[] = {FC_TAKE_ROWS(fc_rate_kernel)};

enum {
    DRAWS = 5, /* the best of so many: a bound is what the core can do, not what its neighbours leave it */
    PAGE = 4096,
    MOST_BYTES = 512 << 20,
};
static const double DRAW_SECONDS = 1e-3;

static const fc_rate_kernel *choose_kernel(fc_dtype dtype) {
    for (size_t row = 0; row < sizeof rows / sizeof *rows; row++)
        if (rows[row].isa <= fc_cpu_isa_allowed())
            return rows[row].kernels[dtype];
    return NULL;
}

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

typedef struct job {
    const fc_rate_kernel *kernel;
    const void *from; /* NULL: multiply */
    size_t bytes;
    void *values;
} job;

static double seconds_of(const job *j, int64_t repeats) {
    double start = now();
    if (j->from == NULL)
        j->kernel->multiply(repeats, j->values);
    else
        j->kernel->read(j->from, j->bytes, repeats, j->values);
    return now() - start;
}

/* Repetitions per second. */
static double best_rate(const job *j) {
    int64_t repeats = 1;
    double seconds = seconds_of(j, repeats);
    while (seconds < DRAW_SECONDS) {
        repeats *= 2;
        seconds = seconds_of(j, repeats);
    }
    for (int draw = 1; draw < DRAWS; draw++) {
        double again = seconds_of(j, repeats);
        seconds = again < seconds ? again : seconds;
    }
    return (double)repeats / seconds;
}

static size_t whole_pages(size_t bytes) { return bytes < PAGE ? PAGE : bytes / PAGE * PAGE; }

fc_status fc_rates_measure(fc_dtype dtype, fc_rates *out) {
    if ((unsigned)dtype >= FC_DTYPE_COUNT)
        return fc_fail(FC_INVALID_ARGUMENT, "dtype: %d is unknown", (int)dtype);
    const fc_machine *m = fc_cpu_machine();
    /* In L1, in L2 but not L1, in L3 but not L2, and past every cache. */
    size_t third = m->l3_bytes > m->l2_bytes ? m->l2_bytes + (m->l3_bytes - m->l2_bytes) / 4 : m->l3_bytes;
    size_t most = 2 * m->l3_bytes < MOST_BYTES ? 2 * m->l3_bytes : MOST_BYTES;
    const size_t sizes[] = {whole_pages(m->l1d_bytes / 2), whole_pages(m->l2_bytes / 2),
                            whole_pages(third < most ? third : most), whole_pages(most)};
    double *const to[] = {&out->l1_bytes, &out->l2_bytes, &out->l3_bytes, &out->memory_bytes};
    job j = {.kernel = choose_kernel(dtype)};
    if (j.kernel == NULL)
        return fc_fail(FC_UNSUPPORTED, "this build has no kernels for this CPU");
    char *memory = fc_allocate(64 + sizes[3]);
    if (memory == NULL)
        return fc_fail(FC_OUT_OF_MEMORY, "no memory for %zu bytes to read", sizes[3]);
    j.values = memory;
    out->fma_flops = j.kernel->step_flops * best_rate(&j);
    out->tile_flops = 0;
#if FC_HAVE_AMX
    if (fc_cpu_isa_allowed() >= FC_ISA_amx) {
        job tiles = {.kernel = &fc_tile_rate_kernel_f32_amx, .values = memory};
        out->tile_flops = tiles.kernel->step_flops * best_rate(&tiles);
    }
#endif
    for (size_t level = 0; level < sizeof sizes / sizeof *sizes; level++) {
        j.from = memory + 64;
        j.bytes = sizes[level];
        *to[level] = (double)j.bytes * best_rate(&j);
    }
    fc_release(memory);
    return FC_OK;
}
