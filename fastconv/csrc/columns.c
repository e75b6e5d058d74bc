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

static fc_status check_pairs(const fc_pairs *p, const fc_columns_kernel **kernel) {
    if (p->dtype != FC_F32 && p->dtype != FC_F64)
        return fc_fail(FC_INVALID_ARGUMENT, "pairs: dtype is out of range");
    *kernel = choose_kernel(p->dtype);
    return *kernel ? FC_OK : fc_fail(FC_UNSUPPORTED, "pairs: this build has no kernel for this CPU");
}

fc_status fc_pairs_join(const fc_pairs *p, const void *x, void *out) {
    const fc_columns_kernel *kernel;
    fc_status status = check_pairs(p, &kernel);
    if (status != FC_OK)
        return status;
    int64_t begin = 0, end = 0; /* the longest run of columns side by side */
    for (int64_t first = 0, next; first < p->length; first = next) {
        next = first + 1;
        while (p->from_columns[first] >= 0 && next < p->length &&
               p->from_columns[next] == p->from_columns[next - 1] + 1)
            next++;
        if (p->from_columns[first] >= 0 && next - first > end - begin)
            begin = first, end = next;
    }
    kernel->join(p, begin, end, x, out);
    return FC_OK;
}

fc_status fc_pairs_part(const fc_pairs *p, const void *x, void *out) {
    const fc_columns_kernel *kernel;
    fc_status status = check_pairs(p, &kernel);
    if (status == FC_OK)
        kernel->part(p, x, out);
    return status;
}
