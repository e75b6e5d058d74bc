#include "error.h"

#include <stdarg.h>
#include <stdio.h>

static _Thread_local char last_error[256];

fc_status fc_fail(fc_status status, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(last_error, sizeof last_error, format, arguments);
    va_end(arguments);
    return status;
}

const char *fc_last_error(void) { return last_error; }
