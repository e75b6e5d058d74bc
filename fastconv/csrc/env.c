#include "env.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

fc_isa fc_env_isa(void) {
    const char *value = getenv("FASTCONV_ISA");
    if (value == NULL || *value == '\0')
        return FC_ISA_COUNT - 1;
    for (int isa = 0; isa < FC_ISA_COUNT; isa++)
        if (strcmp(value, fc_isa_name(isa)) == 0)
            return isa;
    fprintf(stderr, "fastconv: FASTCONV_ISA=%s is unknown and ignored; known:", value);
    for (int isa = 0; isa < FC_ISA_COUNT; isa++)
        fprintf(stderr, " %s", fc_isa_name(isa));
    fputc('\n', stderr);
    return FC_ISA_COUNT - 1;
}

int fc_env_threads(void) {
    const char *value = getenv("FASTCONV_NUM_THREADS");
    if (value == NULL || *value == '\0')
        return 0;
    char *end;
    long threads = strtol(value, &end, 10);
    if (*end == '\0' && threads >= 1 && threads <= 4096)
        return (int)threads;
    fprintf(stderr, "fastconv: FASTCONV_NUM_THREADS=%s is ignored; wanted a whole number from 1\n", value);
    return 0;
}

bool fc_env_omp_threads_set(void) {
    const char *value = getenv("OMP_NUM_THREADS");
    return value != NULL && *value != '\0';
}
