/* The tile transforms of F(m, r), m = OUT_TILE and r = TAPS, in one dimension; two dimensions apply them twice.
 *
 * m outputs of an r-tap correlation from n = m + r - 1 inputs: y = A'[(G g) . (B' d)], with n products.
 * The points are 0, infinity and pairs +-x, whose even and odd halves are shared. B' holds the coefficients of
 * M(z) / (z - x), where M(z) is the product of z - x over all finite points, G the powers of x, and A' the powers of x
 * over M'(x): so that G, which is applied to the weights in `real`, divides by nothing. With
 *     two points, F(2, 3):          1
 *     four, F(4, 3):                11/16, 3/2: exact powers, and sums about three times as accurate as those of the
 *                                   usual 1 and 2
 *     three, F(4, 2):               11/16 and, without its opposite, -2: the most exact of some 50 choices tried
 * Lavin and Gray, "Fast algorithms for convolutional neural networks" (2016); points after Barabasz et al.,
 * "Error analysis and improving the accuracy of Winograd convolution for deep neural networks" (2020).
 */
#ifndef FC_WINOGRAD_TILE_H
#define FC_WINOGRAD_TILE_H

#include "simd/vec.h"

enum { WINDOW = OUT_TILE + TAPS - 1 };
#define UNROLL _Pragma("GCC unroll 16")

#if OUT_TILE == 2 && TAPS == 3

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

FC_INLINE void tile_weight(const vec g[TAPS], vec u[WINDOW]) {
    const vec half = v_set1((real)0.5);
    vec even = v_mul(half, v_add(g[0], g[2]));
    u[0] = g[0];
    u[1] = v_fma(half, g[1], even);
    u[2] = v_fma(v_set1((real)-0.5), g[1], even);
    u[3] = g[2];
}

#elif OUT_TILE == 4 && TAPS == 2

#define POINT_A 0.6875
#define POINT_B (-2.0)

FC_INLINE void tile_input(const vec d[WINDOW], vec t[WINDOW]) {
    const double a = POINT_A, b = POINT_B;
    vec minus_b = v_set1((real)-b), minus_aa = v_set1((real)(-a * a));
    vec low = v_fma(minus_b, d[0], d[1]), middle = v_fma(minus_b, d[1], d[2]), high = v_fma(minus_b, d[2], d[3]);
    t[0] = v_fma(minus_aa, low, high);
    t[1] = v_fma(v_set1((real)a), middle, high);
    t[2] = v_fma(v_set1((real)-a), middle, high);
    t[3] = v_fma(minus_aa, d[1], d[3]);
    t[4] = v_fma(minus_aa, middle, v_fma(minus_b, d[3], d[4]));
}

FC_INLINE void tile_output(const vec m[WINDOW], vec y[OUT_TILE]) {
    const double a = POINT_A, b = POINT_B;
    double scale_a = 1 / (2 * a * a * (a - b)), scale_minus_a = -1 / (2 * a * a * (a + b));
    double scale_b = 1 / (b * (b * b - a * a));
    UNROLL for (int i = 0; i < OUT_TILE; i++) {
        y[i] = v_mul(v_set1((real)scale_b), m[3]);
        if (i == 0)
            y[i] = v_fma(v_set1((real)(1 / (a * a * b))), m[0], y[i]);
        if (i == OUT_TILE - 1)
            y[i] = v_fma(v_set1((real)scale_b), m[3], m[4]);
        y[i] = v_fma(v_set1((real)scale_a), m[1], y[i]);
        y[i] = v_fma(v_set1((real)scale_minus_a), m[2], y[i]);
        scale_a *= a, scale_minus_a *= -a, scale_b *= b;
    }
}

FC_INLINE void tile_weight(const vec g[TAPS], vec u[WINDOW]) {
    u[0] = g[0];
    u[1] = v_fma(v_set1((real)POINT_A), g[1], g[0]);
    u[2] = v_fma(v_set1((real)-POINT_A), g[1], g[0]);
    u[3] = v_fma(v_set1((real)POINT_B), g[1], g[0]);
    u[4] = g[1];
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
    const double a = POINT_A, b = POINT_B, gap = a * a - b * b;
    double scale_a = 1 / (2 * a * a * gap), scale_b = -1 / (2 * b * b * gap);
    vec even[2] = {v_add(m[1], m[2]), v_add(m[3], m[4])}, odd[2] = {v_sub(m[1], m[2]), v_sub(m[3], m[4])};
    UNROLL for (int i = 0; i < OUT_TILE; i++) {
        const vec *half = i % 2 ? odd : even;
        y[i] = v_mul(v_set1((real)scale_b), half[1]);
        if (i == 0)
            y[i] = v_fma(v_set1((real)(1 / (a * a * b * b))), m[0], y[i]);
        if (i == OUT_TILE - 1)
            y[i] = v_fma(v_set1((real)scale_b), half[1], m[5]);
        y[i] = v_fma(v_set1((real)scale_a), half[0], y[i]);
        scale_a *= a, scale_b *= b;
    }
}

/* Sum of g x^k over the even or the odd taps, the odd ones divided by x. */
FC_INLINE vec tile_half(const vec g[TAPS], int first, double x) {
    int k = TAPS - 1 - (TAPS - 1 - first) % 2;
    vec sum = g[k];
    UNROLL for (k -= 2; k >= first; k -= 2)
        sum = v_fma(v_set1((real)(x * x)), sum, g[k]);
    return sum;
}

FC_INLINE void tile_weight(const vec g[TAPS], vec u[WINDOW]) {
    static const double point[2] = {POINT_A, POINT_B};
    u[0] = g[0];
    u[WINDOW - 1] = g[TAPS - 1];
    UNROLL for (int i = 0; i < 2; i++) {
        vec even = tile_half(g, 0, point[i]), odd = tile_half(g, 1, point[i]);
        u[1 + 2 * i] = v_fma(v_set1((real)point[i]), odd, even);
        u[2 + 2 * i] = v_fma(v_set1((real)-point[i]), odd, even);
    }
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
