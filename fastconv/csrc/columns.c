/* Complex columns but for the arithmetic: sizes checked, the kernel picked, scratch and float mode. */
#include "columns.h"

#include "error.h"
#include "isa_rows.h"
#include "threads.h"
#include "workspace.h"

FC_DEFINE_CHOICE(fc_columns_kernel)

fc_status fc_columns_run(const fc_columns *c, const void *x, const void *weights, void *out) {
    if (c->dtype != FC_F32 && c->dtype != FC_F64)
        return fc_fail(FC_INVALID_ARGUMENT, "columns: dtype is out of range");
    if (c->rows < 0 || c->length < 0 || c->taps < 1 || c->dilation < 1)
        return fc_fail(FC_INVALID_ARGUMENT, "columns: %lld rows of %lld, %lld taps, dilation %lld are out of range",
                       (long long)c->rows, (long long)c->length, (long long)c->taps, (long long)c->dilation);
    if (c->rows == 0 || c->length == 0)
        return FC_OK;
    const fc_columns_kernel *kernel = choose_kernel(c->dtype);
    if (kernel == NULL)
        return fc_fail(FC_UNSUPPORTED, "columns: this build has no kernel for this CPU");
    void *scratch = fc_workspace(kernel->scratch_bytes(c));
    if (scratch == NULL)
        return fc_fail(FC_OUT_OF_MEMORY, "columns: no memory for a column of %lld rows", (long long)c->rows);
    unsigned mode = fc_enter_float_mode();
    kernel->run(c, x, weights, out, scratch);
    fc_leave_float_mode(mode);
    return FC_OK;
}
