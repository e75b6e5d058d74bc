/* kernels.inc times isa.inc times dtypes, as one table: widest instruction set first, so that the first
 * available row of an algorithm and dtype is the one to use. */
#include <string.h>

#include "cpu.h"
#include "kernel.h"

#define FOR_WIDE_DTYPES(row, algorithm, isa) row(algorithm, f32, isa) row(algorithm, f64, isa)
#define FOR_EACH_DTYPE(row, algorithm, isa) \
    FOR_WIDE_DTYPES(row, algorithm, isa) row(algorithm, f16, isa) row(algorithm, bf16, isa)

#define DECLARE(algorithm, dtype, isa) extern const fc_kernel fc_kernel_##algorithm##_##dtype##_##isa;
#define TAKE(algorithm, dtype, isa) {&fc_kernel_##algorithm##_##dtype##_##isa, FC_ISA_##isa},

#if FC_HAVE_AMX
#define FC_AMX_KERNEL(algorithm, dtype, bound, reached) DECLARE(algorithm, dtype, amx)
#include "kernels.inc"
#endif
#if FC_HAVE_AVX512
#define FC_KERNEL(algorithm, bound, reached) FOR_EACH_DTYPE(DECLARE, algorithm, avx512)
#define FC_WIDE_KERNEL(algorithm, bound, reached) FOR_WIDE_DTYPES(DECLARE, algorithm, avx512)
#include "kernels.inc"
#endif
#if FC_HAVE_AVX2
#define FC_KERNEL(algorithm, bound, reached) FOR_EACH_DTYPE(DECLARE, algorithm, avx2)
#define FC_WIDE_KERNEL(algorithm, bound, reached) FOR_WIDE_DTYPES(DECLARE, algorithm, avx2)
#include "kernels.inc"
#endif
#if FC_HAVE_SCALAR
#define FC_KERNEL(algorithm, bound, reached) FOR_EACH_DTYPE(DECLARE, algorithm, scalar)
#define FC_WIDE_KERNEL(algorithm, bound, reached) FOR_WIDE_DTYPES(DECLARE, algorithm, scalar)
#include "kernels.inc"
#endif
FOR_EACH_DTYPE(DECLARE, reference, scalar)

static const struct {
    const fc_kernel *kernel;
    fc_isa isa;
} rows[] = {
#if FC_HAVE_AMX
#define FC_AMX_KERNEL(algorithm, dtype, bound, reached) TAKE(algorithm, dtype, amx)
#include "kernels.inc"
#endif
#if FC_HAVE_AVX512
#define FC_KERNEL(algorithm, bound, reached) FOR_EACH_DTYPE(TAKE, algorithm, avx512)
#define FC_WIDE_KERNEL(algorithm, bound, reached) FOR_WIDE_DTYPES(TAKE, algorithm, avx512)
#include "kernels.inc"
#endif
#if FC_HAVE_AVX2
#define FC_KERNEL(algorithm, bound, reached) FOR_EACH_DTYPE(TAKE, algorithm, avx2)
#define FC_WIDE_KERNEL(algorithm, bound, reached) FOR_WIDE_DTYPES(TAKE, algorithm, avx2)
#include "kernels.inc"
#endif
#if FC_HAVE_SCALAR
#define FC_KERNEL(algorithm, bound, reached) FOR_EACH_DTYPE(TAKE, algorithm, scalar)
#define FC_WIDE_KERNEL(algorithm, bound, reached) FOR_WIDE_DTYPES(TAKE, algorithm, scalar)
#include "kernels.inc"
#endif
    FOR_EACH_DTYPE(TAKE, reference, scalar)};

static const fc_algorithm algorithms[] = {
#define FC_KERNEL(algorithm, bound, reached) {#algorithm, bound, reached},
#define FC_WIDE_KERNEL(algorithm, bound, reached) {#algorithm, bound, reached},
#define FC_AMX_KERNEL(algorithm, dtype, bound, reached) {#algorithm, bound, reached},
#include "kernels.inc"
    {"reference", "the latency of a double addition", "1: the definition, never made faster"}};

int fc_registry_count(void) { return (int)(sizeof rows / sizeof *rows); }
const fc_kernel *fc_registry_kernel(int index) { return rows[index].kernel; }
bool fc_registry_available(int index) { return rows[index].isa <= fc_cpu_isa_allowed(); }

int fc_algorithm_count(void) { return (int)(sizeof algorithms / sizeof *algorithms); }
const fc_algorithm *fc_algorithm_at(int index) {
    return index >= 0 && index < fc_algorithm_count() ? &algorithms[index] : NULL;
}
const char *fc_algorithm_name(int index) {
    const fc_algorithm *algorithm = fc_algorithm_at(index);
    return algorithm != NULL ? algorithm->name : NULL;
}
int fc_kernel_count(void) { return fc_registry_count(); }
const char *fc_kernel_name(int index) {
    return index >= 0 && index < fc_registry_count() ? rows[index].kernel->name : NULL;
}
bool fc_kernel_available(int index) {
    return index >= 0 && index < fc_registry_count() && fc_registry_available(index);
}
