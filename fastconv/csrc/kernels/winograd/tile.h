/* The tile transforms of F(m, 3), m = OUT_TILE, in one dimension; two dimensions apply them twice.
 *
 * m outputs of a 3-tap correlation from m + 2 inputs: y = A'[(G g) . (B' d)], with m + 2 products.
 * F(2, 3) evaluates at 0, 1, -1 and infinity; F(4, 3) at 0, +-a, +-b and infinity with a = 11/16, b = 3/2,
 * whose powers are exact in float32 and whose sums come out about three times as accurate as with the usual
 * 1 and 2. Paired points share their even and odd halves. G is applied in double and rounded once.
 * Lavin and Gray, "Fast algorithms for convolutional neural networks" (2016); points after Barabasz et al.,
 * "Error analysis and improving the accuracy of Winograd convolution for deep neural networks" (2020).
 */
#ifndef FC_WINOGRAD_TILE_H
#define FC_WINOGRAD_TILE_H

#include "simd/vec.h"

enum { WINDOW = OUT_TILE + 2 };

#if OUT_TILE == 2

FC_INLINE void tile_input(const vec d[WINDOW], vec t[WINDOW]) {
    t[0] = v_sub(d[0], d[2]);
    t[1] = v_add(d[2], d[1]);
    t[2] = v_sub(d[2], d[1]);
    t[3] = v_sub(d[3], d[1]);
}

FC_INLINE void tile_output(const vec m[WINDOW], vec y[OUT_TILE]) {
    y[0] = v_add(m[0], v_add(m[1], m[2]));
    y[1] = v_add(m[3], v_sub(m[1], m[2]));
}

FC_INLINE void tile_weight(const double g[3], double u[WINDOW]) {
    u[0] = g[0];
    u[1] = 0.5 * (g[0] + g[1] + g[2]);
    u[2] = 0.5 * (g[0] - g[1] + g[2]);
    u[3] = g[2];
}

#else

#define POINT_A 0.6875
#define POINT_B 1.5

FC_INLINE void tile_input(const vec d[WINDOW], vec t[WINDOW]) {
    const double a = POINT_A, b = POINT_B;
    vec aa = v_set1((real)(-a * a)), bb = v_set1((real)(-b * b));
    vec sum = v_set1((real)(-(a * a + b * b))), product = v_set1((real)(a * a * b * b));
    vec even_a = v_fma(bb, d[2], d[4]), odd_a = v_fma(bb, d[1], d[3]);
    vec even_b = v_fma(aa, d[2], d[4]), odd_b = v_fma(aa, d[1], d[3]);
    t[0] = v_fma(product, d[0], v_fma(sum, d[2], d[4]));
    t[1] = v_fma(v_set1((real)a), odd_a, even_a);
    t[2] = v_fma(v_set1((real)-a), odd_a, even_a);
    t[3] = v_fma(v_set1((real)b), odd_b, even_b);
    t[4] = v_fma(v_set1((real)-b), odd_b, even_b);
    t[5] = v_fma(product, d[1], v_fma(sum, d[3], d[5]));
}

FC_INLINE void tile_output(const vec m[WINDOW], vec y[OUT_TILE]) {
    const double a = POINT_A, b = POINT_B;
    vec even_a = v_add(m[1], m[2]), odd_a = v_sub(m[1], m[2]);
    vec even_b = v_add(m[3], m[4]), odd_b = v_sub(m[3], m[4]);
    y[0] = v_add(v_add(m[0], even_a), even_b);
    y[1] = v_fma(v_set1((real)a), odd_a, v_mul(v_set1((real)b), odd_b));
    y[2] = v_fma(v_set1((real)(a * a)), even_a, v_mul(v_set1((real)(b * b)), even_b));
    y[3] = v_fma(v_set1((real)(a * a * a)), odd_a, v_fma(v_set1((real)(b * b * b)), odd_b, m[5]));
}

FC_INLINE void tile_weight(const double g[3], double u[WINDOW]) {
    const double a = POINT_A, b = POINT_B, gap = a * a - b * b;
    const double scale_a = 1 / (2 * a * a * gap), scale_b = -1 / (2 * b * b * gap);
    u[0] = g[0] / (a * a * b * b);
    u[1] = scale_a * (g[0] + a * a * g[2] + a * g[1]);
    u[2] = scale_a * (g[0] + a * a * g[2] - a * g[1]);
    u[3] = scale_b * (g[0] + b * b * g[2] + b * g[1]);
    u[4] = scale_b * (g[0] + b * b * g[2] - b * g[1]);
    u[5] = g[2];
}

#endif

/* Pixel j of each of VL tiles in out[j]; tiles lie OUT_TILE pixels apart in p. */
FC_INLINE void tile_split(const real *p, vec out[OUT_TILE]) {
#if OUT_TILE == 2
    v_deinterleave2(p, out);
#else
    v_deinterleave4(p, out);
#endif
}

FC_INLINE void tile_join(real *p, const vec in[OUT_TILE]) {
#if OUT_TILE == 2
    v_interleave2(p, in);
#else
    v_interleave4(p, in);
#endif
}

#endif
