/* Tables of records that exist per instruction set and dtype but are no convolution kernels, so that dispatch and
 * kernels.inc do not know them: widest instruction set first, dtypes in the order of fc_dtype. */
#ifndef FC_ISA_ROWS_H
#define FC_ISA_ROWS_H

#include "cpu.h"

#if FC_HAVE_AVX512
#define FC_IF_AVX512(...) __VA_ARGS__
#else
#define FC_IF_AVX512(...)
#endif
#if FC_HAVE_AVX2
#define FC_IF_AVX2(...) __VA_ARGS__
#else
#define FC_IF_AVX2(...)
#endif
#if FC_HAVE_SCALAR
#define FC_IF_SCALAR(...) __VA_ARGS__
#else
#define FC_IF_SCALAR(...)
#endif

#define FC_DECLARE_ROW(type, record, isa) \
    extern const type record##_f32_##isa, record##_f64_##isa, record##_f16_##isa, record##_bf16_##isa;
#define FC_TAKE_ROW(record, isa) \
    {FC_ISA_##isa, {&record##_f32_##isa, &record##_f64_##isa, &record##_f16_##isa, &record##_bf16_##isa}},

#define FC_DECLARE_ROWS(type, record) \
    FC_IF_AVX512(FC_DECLARE_ROW(type, record, avx512)) \
    FC_IF_AVX2(FC_DECLARE_ROW(type, record, avx2)) \
    FC_IF_SCALAR(FC_DECLARE_ROW(type, record, scalar))
#define FC_TAKE_ROWS(record) \
    FC_IF_AVX512(FC_TAKE_ROW(record, avx512)) \
    FC_IF_AVX2(FC_TAKE_ROW(record, avx2)) \
    FC_IF_SCALAR(FC_TAKE_ROW(record, scalar))

/* choose_kernel(dtype): the record for the widest instruction set allowed here, NULL where the build has none. */
#define FC_DEFINE_CHOICE(record)                                                  \
    FC_DECLARE_ROWS(record, record)                                               \
    static const struct {                                                         \
        fc_isa isa;                                                               \
        const record *kernels[FC_DTYPE_COUNT];                                    \
    } rows[] = {FC_TAKE_ROWS(record)};                                            \
    static const record *choose_kernel(fc_dtype dtype) {                          \
        for (size_t row = 0; row < sizeof rows / sizeof *rows; row++)             \
            if (rows[row].isa <= fc_cpu_isa_allowed())                            \
                return rows[row].kernels[dtype];                                  \
        return NULL;                                                              \
    }

#endif
