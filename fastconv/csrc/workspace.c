#include "workspace.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { ALIGNMENT = 64, KEEP_BYTES = 64 << 20 };

typedef struct buffer {
    void *memory;
    size_t bytes;
} buffer;

static pthread_key_t buffer_key;
static pthread_once_t buffer_once = PTHREAD_ONCE_INIT;
static int buffer_key_error;

static void free_buffer(void *pointer) {
    buffer *own = pointer;
    free(own->memory);
    free(own);
}

static void make_key(void) { buffer_key_error = pthread_key_create(&buffer_key, free_buffer); }

void *fc_allocate_unset(size_t bytes) {
    size_t rounded = (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    if (rounded < bytes)
        return NULL;
    return aligned_alloc(ALIGNMENT, rounded == 0 ? ALIGNMENT : rounded);
}

void *fc_allocate(size_t bytes) {
    void *memory = fc_allocate_unset(bytes);
    if (memory != NULL)
        memset(memory, 0, bytes);
    return memory;
}

void fc_release(void *memory) { free(memory); }

void *fc_workspace(size_t bytes) {
    pthread_once(&buffer_once, make_key);
    if (buffer_key_error)
        return NULL;
    buffer *own = pthread_getspecific(buffer_key);
    if (own == NULL) {
        own = calloc(1, sizeof *own);
        if (own == NULL)
            return NULL;
        if (pthread_setspecific(buffer_key, own) != 0) {
            free(own);
            return NULL;
        }
    }
    /* A rare huge request must not stay with the thread for ever. */
    if (own->memory == NULL || own->bytes < bytes || (own->bytes > KEEP_BYTES && bytes <= KEEP_BYTES)) {
        free(own->memory);
        own->memory = NULL;
        own->bytes = 0;
        own->memory = fc_allocate(bytes);
        if (own->memory != NULL)
            own->bytes = bytes;
        else
            return NULL;
    }
    return own->memory;
}
