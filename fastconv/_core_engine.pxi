# The call path of Conv and the functional forms: plans kept by shape, observers, outputs. Included by _core.pyx.

# Who is told of every call, and whether to tell: set once and never replaced, so that calls may read it
# without a lock.
cdef object observer = None
cdef bint observing = False


def observe(function, bint wanted):
    """Tell `function` of every call, as (what was planned, plan, seconds), while `wanted`."""
    global observer, observing
    if observer is None:
        observer = function
    observing = wanted


def observed():
    """Whether calls are told of: `_convolve` asks, whose functional calls do not pass by `Engine`."""
    return observing


cdef class FlushedDenormals:
    """A ``with`` block in which this thread computes with denormals flushed to zero."""

    cdef unsigned mode

    def __enter__(self):
        self.mode = fc_enter_float_mode()

    def __exit__(self, *exception):
        fc_leave_float_mode(self.mode)


cdef bint is_plain(value) noexcept:
    if value is None or type(value) is int or type(value) is str:
        return True
    if type(value) is not tuple:
        return False
    for entry in <tuple> value:
        if not is_plain(entry):
            return False
    return True


def plain(tuple values):
    """Whether equal values of equal types are the same arguments: words, ints, and tuples of them.

    In a tuple True and 1.0 would pass for 1.
    """
    for value in values:
        if type(value) is not bool and not is_plain(value):
            return False
    return True


cdef class Entry:
    """What a call of `Engine` needs for one shape of x: immutable.

    A plan of another class than this module's is run by its own `run`, with the arrays.
    """

    cdef readonly object plan  # None: the output has no elements
    cdef readonly object weights
    cdef readonly object bias
    cdef readonly tuple out_shape
    cdef readonly object what  # for the observer

    def __init__(self, plan, weights, bias, tuple out_shape, what=None):
        self.plan, self.weights, self.bias, self.out_shape = plan, weights, bias, out_shape
        self.what = what


cdef class _Last:
    """The entry found last and the key it was found by, replaced as one object."""

    cdef int ndim
    cdef Py_ssize_t shape[5]
    cdef int hints
    cdef Entry entry

    cdef bint serves(self, const Py_buffer *x, int hints) noexcept:
        cdef int axis
        if self.hints != hints or self.ndim != x.ndim:
            return False
        for axis in range(x.ndim):
            if self.shape[axis] != x.shape[axis]:
                return False
        return True


cdef class Engine:
    """The call of a `Conv`: one lookup, one allocation, one run.

    find(x_shape, x_channels_last, out_channels_last, has_residual) gives the Entry of a shape;
    read(array, name) an ndarray of the right dtype from anything, or raises;
    check_out(out, x, residual, shape) refuses an out that cannot be written and tells whether its
    channels are dense. All three are Python's, off the hot path.
    """

    cdef object dtype, find, read, check_out
    cdef int rank
    cdef bint channels_last
    cdef _Last last

    def __init__(self, dtype, int rank, bint channels_last, find, read, check_out):
        self.dtype, self.rank, self.channels_last = dtype, rank, channels_last
        self.find, self.read, self.check_out = find, read, check_out

    cdef Entry entry(self, x, const Py_buffer *buffer, bint out_dense, bint has_residual):
        cdef bint x_dense = channels_dense(buffer, self.rank, self.channels_last)
        cdef int hints = x_dense | out_dense << 1 | has_residual << 2
        cdef _Last last
        cdef int axis
        with cython.critical_section(self):
            last = self.last
        if last is not None and last.serves(buffer, hints):
            return last.entry
        last = _Last.__new__(_Last)
        last.entry = self.find(x.shape, x_dense, out_dense, has_residual)
        last.hints = hints
        last.ndim = buffer.ndim
        for axis in range(buffer.ndim):
            last.shape[axis] = buffer.shape[axis]
        with cython.critical_section(self):
            self.last = last
        return last.entry

    def __call__(self, x, residual=None, out=None):
        cdef Py_buffer x_buffer
        if type(x) is not ndarray or x.dtype is not self.dtype:
            x = self.read(x, "x")
        PyObject_GetBuffer(x, &x_buffer, PyBUF_STRIDES)
        try:
            if not regular(&x_buffer) and x_buffer.ndim <= self.rank + 2:
                return self(new_array(x), residual, out)
            if x_buffer.ndim < self.rank + 1 or x_buffer.ndim > self.rank + 2:
                self.find(x.shape, False, False, False)  # raises
            return self.call(x, &x_buffer, residual, out)
        finally:
            PyBuffer_Release(&x_buffer)

    cdef object call(self, x, const Py_buffer *x_buffer, residual, out):
        cdef bint out_dense = self.channels_last
        cdef int hint
        cdef Py_buffer out_buffer, residual_buffer
        if out is not None:
            hint = self.out_hint(out, x_buffer, residual)
            dense = self.check_out(out, x, residual, None) if hint < 0 else hint
            if dense is None:  # elements at odd addresses: compute beside it
                result = self(x, residual)
                if result.shape != out.shape:
                    self.check_out(out, x, residual, result.shape)  # raises
                out[...] = result
                return out
            out_dense = dense
        cdef Entry entry = self.entry(x, x_buffer, out_dense, residual is not None)
        if out is None:
            out = empty_aligned(entry.out_shape, self.dtype)
        elif out.shape != entry.out_shape:
            self.check_out(out, x, residual, entry.out_shape)  # raises
        if residual is not None:
            if type(residual) is not ndarray or residual.dtype is not self.dtype:
                residual = self.read(residual, "residual")
            if residual.shape != entry.out_shape:
                raise ValueError(
                    f"residual must have the shape of the output, {entry.out_shape}, "
                    f"got {residual.shape}"
                )
        if type(entry.plan) is not Plan:
            if entry.plan is not None:
                told = observing
                start = perf_counter() if told else 0.0
                entry.plan.run(entry.weights, x, out, entry.bias, residual,
                               channels_last=self.channels_last, threads=-<int> threads_here.get())
                if told:
                    observer(entry.what, entry.plan, perf_counter() - start)
            return out
        PyObject_GetBuffer(out, &out_buffer, PyBUF_STRIDES | PyBUF_WRITABLE)
        try:
            if residual is None:
                self.run(entry, x_buffer, &out_buffer, NULL)
                return out
            PyObject_GetBuffer(residual, &residual_buffer, PyBUF_STRIDES)
            try:
                if regular(&residual_buffer):
                    self.run(entry, x_buffer, &out_buffer, &residual_buffer)
                    return out
            finally:
                PyBuffer_Release(&residual_buffer)
        finally:
            PyBuffer_Release(&out_buffer)
        return self.call(x, x_buffer, new_array(residual), out)

    cdef int out_hint(self, out, const Py_buffer *x, residual) except -2:
        """Whether the channels of an out that can plainly be written are dense; -1: ask check_out."""
        cdef Py_buffer buffer, beside
        if type(out) is not ndarray or out.dtype is not self.dtype:
            return -1
        if residual is not None and residual is not out and type(residual) is not ndarray:
            return -1
        PyObject_GetBuffer(out, &buffer, PyBUF_STRIDES)
        try:
            if buffer.readonly or not self.rank < buffer.ndim <= self.rank + 2:
                return -1
            if not (regular(&buffer) and distinct(&buffer) and apart(&buffer, x)):
                return -1
            if residual is not None and residual is not out:
                PyObject_GetBuffer(residual, &beside, PyBUF_STRIDES)
                clear = apart(&buffer, &beside)
                PyBuffer_Release(&beside)
                if not clear:
                    return -1
            return channels_dense(&buffer, self.rank, self.channels_last)
        finally:
            PyBuffer_Release(&buffer)

    cdef int run(self, Entry entry, const Py_buffer *x, const Py_buffer *out,
                 const Py_buffer *residual) except -1:
        cdef fc_tensors tensors
        cdef fc_status status
        cdef int threads = -<int> threads_here.get()
        cdef _View bias_view
        cdef fc_plan *plan = (<Plan> entry.plan).plan
        cdef fc_weights *weights = (<Weights> entry.weights).weights
        memset(&tensors, 0, sizeof(tensors))
        tensors.x = tensor_of(x, self.rank, self.channels_last)
        tensors.out = tensor_of(out, self.rank, self.channels_last)
        if residual != NULL:
            tensors.residual = tensor_of(residual, self.rank, self.channels_last)
        if entry.bias is not None:
            bias_view = _View()
            bias_view.hold(entry.bias, False, "bias")
            tensors.bias = bias_view.buffer.buf
        cdef bint told = observing  # one answer for the whole call
        if told:
            start = perf_counter()
        with nogil:
            status = fc_plan_run(plan, weights, &tensors, threads)
        check(status)
        if told:
            observer(entry.what, entry.plan, perf_counter() - start)
        return 0


cdef class Lines:
    """The call of a convolution of two lines: little work, so little may be spent on how to do it.

    find(dtype of x, of w, shape of x, of w, mode, method) says it: (plan or None for NumPy's loop,
    length of the result, whether the two change places), or None for what is a larger matter. What it
    said last is kept.
    """

    cdef object find, correlate
    cdef tuple last  # (dtype, shapes, mode, method, way), replaced as one object

    def __init__(self, find, correlate):
        self.find, self.correlate = find, correlate

    def __call__(self, x, w, mode, method):
        """The convolution, or None."""
        cdef tuple last, way = None
        if (type(x) is not ndarray or type(w) is not ndarray or type(mode) is not str
                or type(method) is not str):
            return None
        dtype, shapes = x.dtype, (x.shape, w.shape)
        with cython.critical_section(self):
            last = self.last
        if (last is not None and last[0] is dtype and dtype is w.dtype and last[2] is mode
                and last[3] is method and last[1] == shapes):
            way = last[4]
        if way is None:
            way = self.find(dtype, w.dtype, x.shape, w.shape, mode, method)
            if way is None:
                return None
            last = (dtype, shapes, mode, method, way)
            with cython.critical_section(self):
                self.last = last
        if way[0] is None:
            return self.correlate(x, w[::-1], mode)
        if way[2]:
            x, w = w, x
        return (<Plan> way[0]).convolve_line(x, w, way[1])


cdef enum:
    _ALIGNED_FROM = 1 << 16  # bytes; what is smaller stays in L1, where a vector across two lines costs little
    _LINE = 64


def empty_aligned(tuple shape, dtype):
    """numpy.empty; a large array starts on a cache line, where NumPy promises 16 bytes and gives no more."""
    cdef Py_buffer buffer
    cdef int64_t size, count = 1
    for size in shape:
        count *= size
    count *= dtype.itemsize
    if count < _ALIGNED_FROM:
        return empty(shape, dtype)
    memory = empty(count + _LINE, uint8)
    PyObject_GetBuffer(memory, &buffer, PyBUF_STRIDES)
    cdef size_t over = <size_t> buffer.buf % _LINE
    PyBuffer_Release(&buffer)
    return ndarray(shape, dtype, memory, (_LINE - over) % _LINE)
