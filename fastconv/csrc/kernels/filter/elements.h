/* Rows of any element type to and from reals. Out of range, integers wrap around as SciPy's do on x86: towards
 * zero to a 32-bit (or 64-bit) integer, whose low bits remain; beyond that integer, what the instruction gives. */
#ifndef FC_FILTER_ELEMENTS_H
#define FC_FILTER_ELEMENTS_H

#include "filter.h"
#include "simd/vec.h"

/* What cvttsd2si gives, without its undefined behaviour in C. Integers computed in float32 are below 2^24. */
FC_INLINE int32_t to_int32(real value) {
#if FC_IS_F64
    bool inside = value > -2147483649.0 && value < 2147483648.0;
    return (int32_t)(inside ? value : -2147483648.0);
#else
    return (int32_t)value;
#endif
}
FC_INLINE int64_t to_int64(real value) {
    bool inside = value >= (real)-0x1p63 && value < (real)0x1p63;
    return inside ? (int64_t)value : INT64_MIN;
}
FC_INLINE uint64_t to_uint64(real value) {
    if (!(value < (real)0x1p63)) /* as GCC converts, NaN included */
        return (uint64_t)to_int64(value - (real)0x1p63) ^ (uint64_t)1 << 63;
    return (uint64_t)to_int64(value);
}

#define FC_READ(name, type)                                                    \
    static void read_##name(const void *from, real *restrict to, int64_t n) {  \
        const type *p = from;                                                  \
        for (int64_t i = 0; i < n; i++)                                        \
            to[i] = (real)p[i];                                                \
    }
#define FC_WRITE(name, type, convert)                                          \
    static void write_##name(const real *restrict from, void *to, int64_t n) { \
        type *restrict p = to;                                                 \
        for (int64_t i = 0; i < n; i++)                                        \
            p[i] = (type)convert(from[i]);                                     \
    }
#define FC_ELEMENT(name, type, convert) FC_READ(name, type) FC_WRITE(name, type, convert)
FC_ELEMENT(i8, int8_t, to_int32)
FC_ELEMENT(u8, uint8_t, to_int32)
FC_ELEMENT(i16, int16_t, to_int32)
FC_ELEMENT(u16, uint16_t, to_int32)
FC_ELEMENT(i32, int32_t, to_int32)
FC_ELEMENT(u32, uint32_t, to_int64)
FC_ELEMENT(i64, int64_t, to_int64)
FC_ELEMENT(u64, uint64_t, to_uint64)
FC_ELEMENT(f32, float, )
FC_ELEMENT(f64, double, )
#undef FC_ELEMENT
#undef FC_READ
#undef FC_WRITE

typedef void fc_read_row(const void *from, real *to, int64_t n);
typedef void fc_write_row(const real *from, void *to, int64_t n);
static fc_read_row *const real_read_row[FC_ELEMENT_COUNT] = {read_i8,  read_u8,  read_i16, read_u16, read_i32,
                                                        read_u32, read_i64, read_u64, read_f32, read_f64};
static fc_write_row *const real_write_row[FC_ELEMENT_COUNT] = {write_i8,  write_u8,  write_i16, write_u16, write_i32,
                                                          write_u32, write_i64, write_u64, write_f32, write_f64};

#endif
