/* Which problems the transforms can take, and take exactly enough. */
#ifndef FC_WINOGRAD_LIMITS_H
#define FC_WINOGRAD_LIMITS_H

#include "kernels/winograd/shape.h"

/* The transforms round more than a short direct sum does: sums of this many products or more had at most 2.8 times the
 * largest error of sequential ones along two axes and 3.1 times along one, for normal, rectified, offset and
 * alternating inputs, over strides, dilations and kernels of 2 to 15 taps. The direct sum gains from inputs that are
 * mostly zero, the transforms do not: with nine tenths zero F(4, 3) reached 6 times at the bound. F(4, 2)
 * passed 4 times with 288 products in float64 and with 400 of smooth images. F(2, 3) needs no bound. */
#if OUT_TILE == 2 && TAPS == 3
#define EXACT_PRODUCTS 1
#define EXACT_PRODUCTS_ONE_AXIS 1
#elif TAPS == 3
#define EXACT_PRODUCTS 576
#define EXACT_PRODUCTS_ONE_AXIS 48
#else
#define EXACT_PRODUCTS 800
#define EXACT_PRODUCTS_ONE_AXIS 96
#endif

static FC_COLD const char *rejects(const fc_part *part) {
    const fc_problem *p = &part->problem;
    if (p->operation > FC_CONV_TRANSPOSED)
        return "only plain and transposed convolutions";
    shape s = shape_of(part);
    if (part->taps == 0 || s.products == 1)
        return "no axis has a kernel of " FC_TEXT(TAPS) " taps, in one of the stride's phases";
    if (p->weights_unsafe)
        return "weights hold NaN, infinity or values near overflow";
    int64_t exact = s.h.window > 1 && s.w.window > 1 ? EXACT_PRODUCTS : EXACT_PRODUCTS_ONE_AXIS;
    if (p->precision == FC_PRECISION_HIGHEST && !FC_IS_NARROW && part->reduction < exact)
        return "an output sums fewer products than " FC_TEXT(EXACT_PRODUCTS) " along two axes or " FC_TEXT(EXACT_PRODUCTS_ONE_AXIS)
               " along one: the error could pass what 'highest' promises";
    return NULL;
}

#endif
