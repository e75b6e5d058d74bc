# Buffers to fc_tensors, and statuses to exceptions: included by _core.pyx.

cdef int check(fc_status status) except -1:
    """Turn a status into the exception it stands for."""
    if status == FC_OK:
        return 0
    message = fc_last_error().decode("utf-8", "replace")
    if status == FC_OUT_OF_MEMORY:
        raise MemoryError(message)
    raise ValueError(message)


cdef class _View:
    """One array held through the buffer protocol, read as batch, channel, depth, height, width."""

    cdef Py_buffer buffer
    cdef bint held

    def __cinit__(self):
        self.held = False

    def __dealloc__(self):
        if self.held:
            PyBuffer_Release(&self.buffer)

    cdef bint reads(self, object array, int flags=0) except -1:
        """Hold the array; whether its elements lie at multiples of their size."""
        PyObject_GetBuffer(array, &self.buffer, PyBUF_STRIDES | flags)
        self.held = True
        return regular(&self.buffer)

    cdef int hold(self, object array, bint writable, str name) except -1:
        if not self.reads(array, PyBUF_WRITABLE if writable else 0):
            raise ValueError(
                f"{name}: address or strides {array.strides} are no multiples of the item size"
            )
        return 0

    cdef int64_t stride(self, int axis) noexcept:
        return self.buffer.strides[axis] // self.buffer.itemsize

    cdef fc_tensor tensor(self, int spatial_rank, bint channels_last) noexcept:
        return tensor_of(&self.buffer, spatial_rank, channels_last)

    cdef fc_weight_view weight(self, int64_t groups, bint transposed, bint flip) noexcept:
        """(C_out, C_in/groups, *kernel), or (C_in, C_out/groups, *kernel) when transposed"""
        cdef fc_weight_view out
        memset(&out, 0, sizeof(out))
        cdef int axis, at
        cdef int rank = self.buffer.ndim - 2
        cdef char *data = <char *> self.buffer.buf
        out.stride[0] = self.buffer.shape[0] // groups * self.stride(0)
        out.stride[1] = self.stride(1 if transposed else 0)
        out.stride[2] = self.stride(0 if transposed else 1)
        for axis in range(rank):
            at = 6 - rank + axis
            out.stride[at] = self.stride(2 + axis)
            if flip:
                data += (self.buffer.shape[2 + axis] - 1) * self.buffer.strides[2 + axis]
                out.stride[at] = -out.stride[at]
        out.data = data
        return out


cdef bint channels_dense(const Py_buffer *b, int rank, bint last) noexcept:
    """Whether kernels should take an array for one with dense channels.

    The declared layout decides unless the strides of axes longer than one say otherwise: a torch
    tensor in channels_last format is declared NCHW.
    """
    cdef int channel = b.ndim - 1 if last else b.ndim - 1 - rank
    cdef int axis = b.ndim - 2 if last else b.ndim - 1
    cdef int end = axis - rank
    if b.shape[channel] <= 1:
        return last
    while axis > end and b.shape[axis] <= 1:
        axis -= 1
    if axis == end:
        return last
    if last:
        return b.strides[channel] == b.itemsize or b.strides[axis] != b.itemsize
    return b.strides[channel] == b.itemsize and b.strides[axis] != b.itemsize


ctypedef fused wide:
    float
    double


cdef bint all_within(const wide *values, Py_ssize_t count, wide limit) noexcept nogil:
    cdef wide outside[16]  # counted in the values' type and apart, or the loop has no vectors
    cdef wide total = 0
    cdef Py_ssize_t i = 0, j
    for j in range(16):
        outside[j] = 0
    while i + 16 <= count:
        for j in range(16):
            outside[j] += 0 if (values[i + j] <= limit) & (values[i + j] >= -limit) else 1
        i += 16
    for i in range(i, count):
        outside[0] += 0 if (values[i] <= limit) & (values[i] >= -limit) else 1
    for j in range(16):
        total += outside[j]
    return total == 0


cdef bint regular(const Py_buffer *b) noexcept:
    """Whether every element lies at a multiple of its size."""
    cdef int axis
    if <size_t> b.buf % <size_t> b.itemsize:
        return False
    for axis in range(b.ndim):
        if b.strides[axis] % b.itemsize:
            return False
    return True


cdef bint apart(const Py_buffer *a, const Py_buffer *b) noexcept:
    """Whether all elements of one array lie below those of the other."""
    cdef Py_ssize_t a_low, a_high, b_low, b_high
    reach(a, &a_low, &a_high)
    reach(b, &b_low, &b_high)
    return a_high <= b_low or b_high <= a_low


cdef void reach(const Py_buffer *b, Py_ssize_t *low, Py_ssize_t *high) noexcept:
    """The addresses between which the elements lie."""
    cdef int axis
    cdef Py_ssize_t span
    low[0] = <Py_ssize_t> b.buf
    high[0] = low[0] + b.itemsize
    for axis in range(b.ndim):
        span = (b.shape[axis] - 1) * b.strides[axis]
        if span < 0:
            low[0] += span
        else:
            high[0] += span


cdef bint distinct(const Py_buffer *b) noexcept:
    """Whether no axis of several elements has a stride of 0."""
    cdef int axis
    for axis in range(b.ndim):
        if b.strides[axis] == 0 and b.shape[axis] > 1:
            return False
    return True


cdef fc_tensor tensor_of(const Py_buffer *b, int rank, bint last) noexcept:
    """Batched (rank + 2 axes) or not (rank + 1); channels before or after the spatial axes."""
    cdef fc_tensor out
    memset(&out, 0, sizeof(out))
    cdef int batched = b.ndim == rank + 2
    cdef int axis
    cdef int first = batched + (0 if last else 1)
    out.data = b.buf
    if batched:
        out.stride[0] = b.strides[0] // b.itemsize
    out.stride[1] = b.strides[b.ndim - 1 if last else batched] // b.itemsize
    for axis in range(rank):
        out.stride[5 - rank + axis] = b.strides[first + axis] // b.itemsize
    return out


cdef int spatial(int64_t *to, object values, int rank) except -1:
    """Spread `rank` values over the last of the three spatial axes."""
    cdef int axis
    for axis in range(rank):
        to[3 - rank + axis] = values[axis]
    return 0
