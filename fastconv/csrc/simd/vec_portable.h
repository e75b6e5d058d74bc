/* 128-bit vectors in the compilers' vector extension: SSE2 on x86-64, NEON on aarch64, plain code
 * elsewhere. Multiplies and adds round separately. 16 registers: tiles of 4 x 2. */
#include "narrow.h"

#define VL (16 / (int)sizeof(real))
#define TILE_ROWS 4
#define TILE_VECS 2

typedef real vec __attribute__((vector_size(16)));
#if FC_IS_F64
typedef int64_t vec_bits __attribute__((vector_size(16)));
#define FC_SIGN_BIT INT64_MIN
#else
typedef int32_t vec_bits __attribute__((vector_size(16)));
#define FC_SIGN_BIT INT32_MIN
#endif

FC_INLINE vec v_zero(void) { return (vec){0}; }
FC_INLINE vec v_set1(real value) { return (vec){0} + value; }
FC_INLINE vec v_load(const real *p) {
    vec a;
    memcpy(&a, p, sizeof a);
    return a;
}
FC_INLINE void v_store(real *p, vec a) { memcpy(p, &a, sizeof a); }
FC_INLINE vec v_loadn(const real *p, int64_t n) {
    vec a = {0};
    for (int64_t i = 0; i < n; i++)
        a[i] = p[i];
    return a;
}
FC_INLINE void v_storen(real *p, vec a, int64_t n) {
    for (int64_t i = 0; i < n; i++)
        p[i] = a[i];
}
FC_INLINE vec v_add(vec a, vec b) { return a + b; }
FC_INLINE vec v_sub(vec a, vec b) { return a - b; }
FC_INLINE vec v_mul(vec a, vec b) { return a * b; }
FC_INLINE vec v_div(vec a, vec b) { return a / b; }
FC_INLINE vec v_fma(vec a, vec b, vec c) { return a * b + c; }
FC_INLINE vec v_blend(vec_bits mask, vec a, vec b) {
    return (vec)((mask & (vec_bits)a) | (~mask & (vec_bits)b));
}
FC_INLINE vec v_max(vec a, vec b) { return v_blend(a > b, a, b); }
FC_INLINE vec v_min(vec a, vec b) { return v_blend(a < b, a, b); }
FC_INLINE vec v_max_nan(vec a, vec b) { return v_blend((a > b) | (a != a), a, b); }
FC_INLINE vec v_select_neg(vec x, vec a, vec b) { return v_blend(x < v_zero(), a, b); }
FC_INLINE vec v_abs(vec a) { return (vec)((vec_bits)a & ~((vec_bits){0} + FC_SIGN_BIT)); }
FC_INLINE vec v_round(vec a) {
    for (int i = 0; i < VL; i++)
        a[i] = (real)rint((double)a[i]);
    return a;
}
FC_INLINE vec v_pow2(vec a) {
    for (int i = 0; i < VL; i++)
        a[i] = (real)ldexp(1.0, (int)a[i]);
    return a;
}
typedef struct lane_mask {
    int8_t begin, end;
} lane_mask;
FC_INLINE lane_mask v_mask(int64_t begin, int64_t end) { return (lane_mask){(int8_t)begin, (int8_t)end}; }
FC_INLINE vec v_loadm(const real *p, lane_mask mask) {
    vec a = {0};
    for (int i = mask.begin; i < mask.end; i++)
        a[i] = p[i];
    return a;
}
FC_INLINE vec v_align(vec a, vec b, int n) {
    real lanes[2 * VL];
    v_store(lanes, a);
    v_store(lanes + VL, b);
    return v_load(lanes + n);
}
FC_INLINE void v_transpose(vec rows[VL]) {
    real lanes[VL][VL];
    memcpy(lanes, rows, sizeof lanes);
    for (int i = 0; i < VL; i++)
        for (int j = 0; j < VL; j++)
            rows[i][j] = lanes[j][i];
}
FC_INLINE real v_reduce_max(vec a) {
    real most = a[0];
    for (int i = 1; i < VL; i++)
        most = a[i] > most ? a[i] : most;
    return most;
}
FC_INLINE int v_any_nan(vec a) {
    int found = 0;
    for (int i = 0; i < VL; i++)
        found |= a[i] != a[i];
    return found;
}
FC_INLINE void fc_deinterleave(const real *p, vec *out, int step) {
    for (int j = 0; j < step; j++) {
        vec a = v_zero();
        for (int i = 0; i < VL; i++)
            a[i] = p[i * step + j];
        out[j] = a;
    }
}
FC_INLINE void fc_interleave(real *p, const vec *in, int step) {
    for (int j = 0; j < step; j++)
        for (int i = 0; i < VL; i++)
            p[i * step + j] = in[j][i];
}
FC_INLINE void v_deinterleave2(const real *p, vec out[2]) { fc_deinterleave(p, out, 2); }
FC_INLINE void v_deinterleave4(const real *p, vec out[4]) { fc_deinterleave(p, out, 4); }
FC_INLINE void v_interleave2(real *p, const vec in[2]) { fc_interleave(p, in, 2); }
FC_INLINE void v_interleave4(real *p, const vec in[4]) { fc_interleave(p, in, 4); }

FC_INLINE void v_deinterleave(vec a, vec b, vec *even, vec *odd) {
    for (int i = 0; i < VL / 2; i++) {
        (*even)[i] = a[2 * i], (*odd)[i] = a[2 * i + 1];
        (*even)[VL / 2 + i] = b[2 * i], (*odd)[VL / 2 + i] = b[2 * i + 1];
    }
}
typedef struct lane_index {
    int32_t index[VL];
} lane_index;
FC_INLINE lane_index v_lanes(const int32_t *index) {
    lane_index from;
    memcpy(from.index, index, sizeof from.index);
    return from;
}
FC_INLINE vec v_permute(vec a, lane_index from) {
    vec moved;
    for (int i = 0; i < VL; i++)
        moved[i] = a[from.index[i]];
    return moved;
}
#if FC_IS_F16
FC_INLINE real s_load(const stor *p) { return fc_half_to_float(*p); }
FC_INLINE void s_store(stor *p, real value) { *p = fc_float_to_half(value); }
#elif FC_IS_BF16
FC_INLINE real s_load(const stor *p) { return fc_bfloat16_to_float(*p); }
FC_INLINE void s_store(stor *p, real value) { *p = fc_float_to_bfloat16(value); }
#endif
#if FC_IS_NARROW /* out of line, as in narrow.h */
FC_OUTLINE vec v_loadsn(const stor *p, int64_t n) {
    vec a = {0};
    for (int64_t i = 0; i < n; i++)
        a[i] = s_load(p + i);
    return a;
}
FC_OUTLINE void v_storesn(stor *p, vec a, int64_t n) {
    for (int64_t i = 0; i < n; i++)
        s_store(p + i, a[i]);
}
FC_OUTLINE vec v_loads(const stor *p) {
    vec a;
    for (int i = 0; i < VL; i++)
        a[i] = s_load(p + i);
    return a;
}
FC_OUTLINE void v_stores(stor *p, vec a) {
    for (int i = 0; i < VL; i++)
        s_store(p + i, a[i]);
}
#endif
