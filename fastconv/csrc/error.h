/* The sentence behind a status, kept per thread. */
#ifndef FC_ERROR_H
#define FC_ERROR_H

#include "fastconv.h"

/* Stores the printf-formatted sentence and returns `status`. */
fc_status fc_fail(fc_status status, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
