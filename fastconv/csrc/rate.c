/* Measures what one core can do: multiply-adds per second, bytes per second from each level of the memory. Twice: at
 * leisure, as the bounds that kernels are held to, and in a few milliseconds, for the cost model. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* clock_gettime under -std=c11 */
#endif
#include "rate.h"

#include <time.h>
#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#include "cost.h"
#include "error.h"
#include "isa_rows.h"
#include "workspace.h"

FC_DEFINE_CHOICE(fc_rate_kernel)
#if FC_HAVE_AMX
extern const fc_rate_kernel fc_tile_rate_kernel_f32_amx;
#endif

/* The best of several draws counts: a bound is what the core can do, not what its neighbours leave it. */
typedef struct effort {
    int draws;
    double seconds; /* of each, at least */
} effort;
static const effort AT_LEISURE = {5, 1e-3}, BRIEFLY = {4, 40e-6}, ONE_PASS = {3, 0};

enum { PAGE = 4096, LINE = 64, MOST_BYTES = 512 << 20, FLUSHED_BYTES = 256 << 10 };

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
static double best_rate(const job *j, effort e) {
    int64_t repeats = 1;
    double seconds = seconds_of(j, repeats);
    while (seconds < e.seconds) {
        repeats *= 2;
        seconds = seconds_of(j, repeats);
    }
    for (int draw = 1; draw < e.draws; draw++) {
        double again = seconds_of(j, repeats);
        seconds = again < seconds ? again : seconds;
    }
    return (double)repeats / seconds;
}

static void measure_arithmetic(const job *j, effort e, fc_rates *out) {
    out->fma_flops = j->kernel->step_flops * best_rate(j, e);
    out->tile_flops = 0;
#if FC_HAVE_AMX
    if (fc_cpu_isa_allowed() >= FC_ISA_amx) {
        job tiles = {.kernel = &fc_tile_rate_kernel_f32_amx, .values = j->values};
        out->tile_flops = tiles.kernel->step_flops * best_rate(&tiles, e);
    }
#endif
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
    *out = (fc_rates){0};
    j.values = memory;
    measure_arithmetic(&j, AT_LEISURE, out);
    for (size_t level = 0; level < sizeof sizes / sizeof *sizes; level++) {
        j.from = memory + 64;
        j.bytes = sizes[level];
        *to[level] = (double)j.bytes * best_rate(&j, AT_LEISURE);
    }
    fc_release(memory);
    return FC_OK;
}

/* Bytes per second from memory, past caches of any size: lines are flushed before they are read. 0 where no
 * instruction of the baseline does that. */
static double memory_rate(const job *j) {
#if defined(__SSE2__)
    double best = 0;
    for (int draw = 0; draw < ONE_PASS.draws; draw++) {
        for (size_t at = 0; at < j->bytes; at += LINE)
            _mm_clflush((const char *)j->from + at);
        _mm_mfence();
        double rate = (double)j->bytes / seconds_of(j, 1);
        best = rate > best ? rate : best;
    }
    return best;
#else
    (void)j;
    return 0;
#endif
}

/* A core that shares its units with a busy sibling is slow for milliseconds: asked between the other measurements. */
static void measure_arithmetic_again(job j, fc_rates *out) {
    fc_rates again;
    measure_arithmetic(&j, BRIEFLY, &again);
    out->fma_flops = again.fma_flops > out->fma_flops ? again.fma_flops : out->fma_flops;
    out->tile_flops = again.tile_flops > out->tile_flops ? again.tile_flops : out->tile_flops;
}

fc_status fc_rates_calibrate(fc_rates *out) {
    const fc_machine *m = fc_cpu_machine();
    job j = {.kernel = choose_kernel(FC_F32)}, arithmetic;
    if (j.kernel == NULL)
        return fc_fail(FC_UNSUPPORTED, "this build has no kernels for this CPU");
    /* Three times what L2 holds, and no more: pages must be touched first, which takes longer than reading them. */
    size_t third = 3 * m->l2_bytes < m->l3_bytes / 2 ? 3 * m->l2_bytes : m->l2_bytes + m->l3_bytes / 8;
    size_t second = whole_pages(m->l2_bytes / 2);
    third = whole_pages(third > second ? third : second);
    *out = (fc_rates){0}; /* of L1 too, whose bytes kernels count in cycles */
    out->fma_per_cycle = fc_cpu_isa_allowed() >= FC_ISA_avx512 && fc_cpu_halves_512() ? 1 : 2;
    _Alignas(64) char values[LINE];
    j.values = values;
    arithmetic = j;
    measure_arithmetic_again(arithmetic, out);
    char *memory = fc_allocate(third);
    if (memory == NULL)
        return fc_fail(FC_OUT_OF_MEMORY, "no memory for %zu bytes to read", third);
    measure_arithmetic_again(arithmetic, out);
    j.from = memory;
    j.bytes = second;
    out->l2_bytes = (double)j.bytes * best_rate(&j, BRIEFLY);
    j.bytes = third;
    out->l3_bytes = (double)j.bytes * best_rate(&j, ONE_PASS);
    measure_arithmetic_again(arithmetic, out);
    j.bytes = third < FLUSHED_BYTES ? third : FLUSHED_BYTES;
    out->memory_bytes = memory_rate(&j);
    fc_release(memory);
    measure_arithmetic_again(arithmetic, out);
    return FC_OK;
}
