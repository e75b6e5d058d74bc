/* Scratch memory: the only malloc of the library.
 * Each thread keeps one buffer and grows it; it is freed when the thread ends. */
#ifndef FC_WORKSPACE_H
#define FC_WORKSPACE_H

#include <stddef.h>

/* At least `bytes`, aligned to 64, valid until this thread asks again; NULL when there is no memory. */
void *fc_workspace(size_t bytes);

/* Zeroed and 64-byte aligned; released with fc_release. Unset: whoever asks writes what is read later. */
void *fc_allocate(size_t bytes);
void *fc_allocate_unset(size_t bytes);
void fc_release(void *memory);

#endif
