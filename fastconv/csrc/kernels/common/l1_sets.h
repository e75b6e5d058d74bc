/* Lines at a fixed distance meet in few sets of L1 where that has a large divisor in common with a page: those of planes or
 * of pixels of a power of two, above all. They drive each other out long before L1 is full. */
#ifndef FC_L1_SETS_H
#define FC_L1_SETS_H

#include "problem.h"

/* How much of L1 so many lines, `apart` bytes from one to the next, take away: all of it once they fill the sets they meet in.
 * Sets repeat with each page where L1 has 64 of them, as 32 KB of 8 ways or 48 KB of 12 have. */
static inline int64_t fc_l1_bytes_of(int64_t lines, int64_t apart) {
    enum { PAGE_BYTES = 4096 };
    return lines * fc_common_divisor(PAGE_BYTES, apart);
}

#endif
