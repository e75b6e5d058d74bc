# cython: auto_pickle=False, autotestdict=False, freethreading_compatible=True
"""The only boundary to C: buffers in, one call without the GIL, a status becomes an exception.

Arrays reach this module as ndarrays whose dtype and shape the caller has checked; float16 and bfloat16
ones are read as 16-bit words. Nothing here loops over samples.

Nothing here relies on the interpreter lock: what threads share is never changed once it is made, but for
`Engine.last`, which is exchanged whole within a critical section.
"""

cimport cython

from contextvars import ContextVar
from time import perf_counter

from numpy import array as new_array
from numpy import empty, ndarray, uint8

from cpython.buffer cimport (
    PyBUF_FORMAT, PyBUF_STRIDES, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer,
)
from libc.stdint cimport int64_t
from libc.string cimport memset

from fastconv._c cimport *


cdef extern from *:
    """
    #if defined(__clang__)
    #define FC_COMPILER "clang " __clang_version__
    #elif defined(__GNUC__)
    #define FC_COMPILER "gcc " __VERSION__
    #else
    #define FC_COMPILER "unknown"
    #endif
    """
    const char *FC_COMPILER


# The words of the Python interface and the numbers C knows them by.
DTYPES = {"f32": FC_F32, "f64": FC_F64, "f16": FC_F16, "bf16": FC_BF16}
OPERATIONS = {
    "conv": FC_CONV,
    "conv_transpose": FC_CONV_TRANSPOSED,
    "deform_conv": FC_CONV_DEFORM,
    "separable_conv": FC_CONV_SEPARABLE,
}
PADDING_MODES = {
    "zeros": FC_PAD_ZEROS,
    "reflect": FC_PAD_REFLECT,
    "replicate": FC_PAD_REPLICATE,
    "circular": FC_PAD_CIRCULAR,
}
ACTIVATIONS = {
    None: FC_ACT_NONE,
    "relu": FC_ACT_RELU,
    "leaky_relu": FC_ACT_LEAKY_RELU,
    "clip": FC_ACT_CLIP,
    "sigmoid": FC_ACT_SIGMOID,
    "tanh": FC_ACT_TANH,
    "silu": FC_ACT_SILU,
    "hardswish": FC_ACT_HARDSWISH,
}
PRECISIONS = {
    "highest": FC_PRECISION_HIGHEST,
    "high": FC_PRECISION_HIGH,
    "medium": FC_PRECISION_MEDIUM,
}


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

    cdef int hold(self, object array, bint writable, str name) except -1:
        PyObject_GetBuffer(array, &self.buffer, PyBUF_STRIDES | (PyBUF_WRITABLE if writable else 0))
        self.held = True
        if not regular(&self.buffer):
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


cdef class Plan:
    """A convolution of one shape, and the kernel that will run it."""

    cdef fc_plan *plan
    cdef fc_plan_info info
    cdef fc_problem problem

    def __cinit__(
        self, *, dtype, operation, rank, batch, in_ch, out_ch, groups, in_size, kernel, stride,
        dilation, padding, output_padding=None, padding_mode="zeros", activation=None,
        activation_params=(0.0, 0.0), precision="highest", has_bias=False, has_residual=False,
        x_channels_last=False, out_channels_last=False, pack_per_call=False, weights_unsafe=False,
        depth_multiplier=1, offset_groups=1, algorithm="auto",
    ):
        cdef fc_problem *p = &self.problem
        cdef int spatial_rank = rank
        p[0] = fc_problem_default(DTYPES[dtype], spatial_rank)
        p.operation = OPERATIONS[operation]
        p.batch, p.in_ch, p.out_ch, p.groups = batch, in_ch, out_ch, groups
        spatial(p.in_size, in_size, spatial_rank)
        spatial(p.kernel, kernel, spatial_rank)
        spatial(p.stride, stride, spatial_rank)
        spatial(p.dilation, dilation, spatial_rank)
        spatial(p.pad_before, [pair[0] for pair in padding], spatial_rank)
        spatial(p.pad_after, [pair[1] for pair in padding], spatial_rank)
        if output_padding is not None:
            spatial(p.output_padding, output_padding, spatial_rank)
        p.pad_mode = PADDING_MODES[padding_mode]
        p.activation = ACTIVATIONS[activation]
        p.activation_param[0], p.activation_param[1] = activation_params
        p.precision = PRECISIONS[precision]
        p.has_bias, p.has_residual = has_bias, has_residual
        p.x_channels_last, p.out_channels_last = x_channels_last, out_channels_last
        p.pack_per_call, p.weights_unsafe = pack_per_call, weights_unsafe
        p.depth_multiplier, p.offset_groups = depth_multiplier, offset_groups
        name = algorithm.encode()
        check(fc_plan_create(p, name, &self.plan))
        self.info = fc_plan_describe(self.plan)

    def __dealloc__(self):
        fc_plan_free(self.plan)

    @property
    def algorithm(self):
        return self.info.algorithm.decode()

    @property
    def kernel(self):
        return self.info.kernel.decode()

    @property
    def flops(self):
        return self.info.flops

    @property
    def estimated_seconds(self):
        return self.info.estimated_seconds

    @property
    def workspace_bytes(self):
        return self.info.workspace_bytes

    @property
    def packed_bytes(self):
        return self.info.packed_bytes

    @property
    def out_size(self):
        """Spatial size of the output."""
        cdef int rank = self.problem.spatial_rank
        return tuple(self.info.out_size[3 - rank + axis] for axis in range(rank))

    def candidates(self):
        """(algorithm, kernel, estimated seconds, why rejected or None) of every algorithm asked."""
        cdef fc_candidate candidate
        found = []
        for index in range(self.info.candidate_count):
            check(fc_plan_candidate(self.plan, index, &candidate))
            why = None if candidate.rejected == NULL else candidate.rejected.decode()
            found.append(
                (candidate.algorithm.decode(), candidate.kernel.decode(), candidate.estimated_seconds, why)
            )
        return found

    def costs(self):
        """Where the estimated seconds go: what they are spent on, and how many."""
        return fc_plan_cost(self.plan)  # a dict of its members

    def pack(self, weight, pointwise=None, *, bint flip=False):
        """Weights in the form this plan's kernel reads."""
        cdef Weights packed = Weights.__new__(Weights)
        cdef _View view = _View(), second_view = _View()
        cdef fc_weight_view first, second
        cdef fc_weight_view *second_pointer = NULL
        cdef fc_status status
        cdef bint transposed = self.problem.operation == FC_CONV_TRANSPOSED
        cdef bint separable = self.problem.operation == FC_CONV_SEPARABLE
        view.hold(weight, False, "weight")
        first = view.weight(self.problem.in_ch if separable else self.problem.groups, transposed, flip)
        if separable:
            second_view.hold(pointwise, False, "pointwise_weight")
            second = second_view.weight(1, False, False)
            second_pointer = &second
        with nogil:
            status = fc_weights_pack(self.plan, &first, second_pointer, &packed.weights)
        check(status)
        if self.problem.pack_per_call:
            packed.source = view
        return packed

    def accepts(self, weights):
        """Whether weights packed by another plan serve this one."""
        return type(weights) is Weights and fc_weights_match((<Weights> weights).weights, self.plan)

    def run(self, Weights weights not None, x, out, bias=None, residual=None, offset=None, mask=None,
            *, bint channels_last=False, int threads=0):
        """Compute into out; arrays as described at the head of this module."""
        cdef fc_tensors tensors
        cdef int rank = self.problem.spatial_rank
        cdef fc_status status
        cdef _View x_view = _View(), out_view = _View()
        cdef _View bias_view, residual_view, offset_view, mask_view
        memset(&tensors, 0, sizeof(tensors))
        x_view.hold(x, False, "x")
        out_view.hold(out, True, "out")
        tensors.x = x_view.tensor(rank, channels_last)
        tensors.out = out_view.tensor(rank, channels_last)
        if bias is not None:
            bias_view = _View()
            bias_view.hold(bias, False, "bias")
            tensors.bias = bias_view.buffer.buf
        if residual is not None:
            residual_view = _View()
            residual_view.hold(residual, False, "residual")
            tensors.residual = residual_view.tensor(rank, channels_last)
        if offset is not None:
            offset_view = _View()
            offset_view.hold(offset, False, "offset")
            tensors.offset = offset_view.tensor(rank, channels_last)
        if mask is not None:
            mask_view = _View()
            mask_view.hold(mask, False, "mask")
            tensors.mask = mask_view.tensor(rank, channels_last)
        with nogil:
            status = fc_plan_run(self.plan, weights.weights, &tensors, threads)
        check(status)


cdef class Weights:
    """Packed weights; immutable, shared by every plan that accepts them."""

    cdef fc_weights *weights
    cdef object source  # of weights packed for one call, which may be read where they lie

    def __dealloc__(self):
        fc_weights_free(self.weights)

    @property
    def nbytes(self):
        return fc_weights_bytes(self.weights)


cdef class Pool:
    """Windows of one shape of x reduced to their maximum or mean."""

    cdef fc_pool pool
    cdef int rank
    cdef readonly tuple out_size

    def __cinit__(
        self, *, dtype, maximum, rank, batch, channels, in_size, kernel, stride, padding, dilation,
        ceil_mode=False, count_padding=True, divisor=0,
    ):
        cdef int64_t out_size[3]
        cdef int axis
        self.rank = rank
        self.pool = fc_pool_default(DTYPES[dtype], FC_POOL_MAX if maximum else FC_POOL_MEAN)
        self.pool.batch, self.pool.channels = batch, channels
        spatial(self.pool.in_size, in_size, self.rank)
        spatial(self.pool.kernel, kernel, self.rank)
        spatial(self.pool.stride, stride, self.rank)
        spatial(self.pool.padding, padding, self.rank)
        spatial(self.pool.dilation, dilation, self.rank)
        self.pool.ceil_mode, self.pool.count_padding = ceil_mode, count_padding
        self.pool.divisor = divisor
        check(fc_pool_out_size(&self.pool, out_size))
        self.out_size = tuple([out_size[3 - self.rank + axis] for axis in range(self.rank)])

    def run(self, x, out, *, bint channels_last=False, int threads=0):
        cdef fc_tensor x_tensor, out_tensor
        cdef fc_status status
        cdef _View x_view = _View(), out_view = _View()
        x_view.hold(x, False, "x")
        out_view.hold(out, True, "out")
        x_tensor = x_view.tensor(self.rank, channels_last)
        out_tensor = out_view.tensor(self.rank, channels_last)
        with nogil:
            status = fc_pool_run(&self.pool, &x_tensor, &out_tensor, threads)
        check(status)


# Element types of filters, by the letter NumPy gives them in native order; bool is the byte it lies in.
ELEMENTS = {"b": 0, "B": 1, "?": 1, "h": 2, "H": 3, "i": 4, "I": 5, "l": 6, "L": 7, "q": 6, "Q": 7, "f": 8, "d": 9}
EXTENSIONS = {
    "nearest": FC_EXTEND_NEAREST,
    "wrap": FC_EXTEND_WRAP,
    "reflect": FC_EXTEND_REFLECT,
    "mirror": FC_EXTEND_MIRROR,
    "constant": FC_EXTEND_CONSTANT,
}
ORDERS = {"raster": FC_ORDER_RASTER, "line": FC_ORDER_LINE, "even": FC_ORDER_EVEN, "odd": FC_ORDER_ODD}


cdef int read_stage(fc_filter_stage *stage, object given, _View weights) except -1:
    """(kernel, taps before the output, float64 weights, order, divisor, doubt), sizes for three axes."""
    kernel, before, values, order, divisor, doubt = given
    weights.hold(values, False, "weights")
    spatial(stage.kernel, kernel, 3)
    spatial(stage.before, before, 3)
    stage.weights = <const double *> weights.buffer.buf
    stage.order = ORDERS[order]
    stage.divisor, stage.doubt = divisor, doubt
    return 0


def run_filter(
    x, out, *, bint single, batch, size, step, x_strides, out_strides, extension, double constant,
    first, second=None, window=None, int threads=0,
):
    """Filter x into out; strides in elements, dense along the last axis."""
    cdef fc_filter f
    cdef fc_status status
    cdef int axis
    cdef _View x_view = _View(), out_view = _View(), first_view = _View(), second_view = _View()
    cdef _View window_view = _View()
    memset(&f, 0, sizeof(f))
    x_view.hold(x, False, "x")
    out_view.hold(out, True, "out")
    f.x_element = <fc_element> <int> ELEMENTS[x.dtype.char]
    f.out_element = <fc_element> <int> ELEMENTS[out.dtype.char]
    f.single, f.batch, f.step, f.constant = single, batch, step, constant
    spatial(f.size, size, 3)
    spatial(f.x_stride, x_strides, 3)
    spatial(f.out_stride, out_strides, 3)
    for axis in range(3):
        f.extension[axis] = EXTENSIONS[extension[axis]]
    read_stage(&f.first, first, first_view)
    if second is not None:
        read_stage(&f.second, second, second_view)
    if window is not None:
        read_stage(&f.window, window, window_view)
    with nogil:
        status = fc_filter_run(&f, x_view.buffer.buf, out_view.buffer.buf, threads)
    check(status)


# Threads one call in this context may use; 0 where only the setting of the process counts.
threads_here = ContextVar("fastconv_num_threads", default=0)


def dense_channels(array, int rank, bint channels_last):
    """Whether kernels should take this array for one with dense channels, or None if its elements do
    not lie at multiples of their size."""
    cdef Py_buffer buffer
    PyObject_GetBuffer(array, &buffer, PyBUF_STRIDES)
    try:
        return channels_dense(&buffer, rank, channels_last) if regular(&buffer) else None
    finally:
        PyBuffer_Release(&buffer)


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


def algorithms():
    """Names of the algorithms of this build, as `algorithm=` takes them."""
    return [fc_algorithm_name(index).decode() for index in range(fc_algorithm_count())]


def bounds():
    """{algorithm: (what bounds it, how much of that it reaches)}"""
    cdef const fc_algorithm *row
    found = {}
    for index in range(fc_algorithm_count()):
        row = fc_algorithm_at(index)
        found[row.name.decode()] = row.bound.decode(), row.reached.decode()
    return found


def kernels():
    """(name, whether this CPU and FASTCONV_ISA allow it) of every kernel of this build."""
    return [
        (fc_kernel_name(index).decode(), bool(fc_kernel_available(index)))
        for index in range(fc_kernel_count())
    ]


def cpu():
    """What the machine is, as a dict."""
    cdef fc_cpu_info info = fc_cpu_query()
    return {
        "isa": info.isa.decode(),
        "isa_found": info.isa_found.decode(),
        "brand": info.brand.decode("utf-8", "replace").strip(),
        "l1d_bytes": info.l1d_bytes,
        "l2_bytes": info.l2_bytes,
        "l3_bytes": info.l3_bytes,
        "logical_cores": info.logical_cores,
        "cgroup_cores": info.cgroup_cores,
        "openmp": bool(info.openmp),
        "amx_permitted": bool(info.amx_permitted),
    }


cdef dict rates_dict(const fc_rates *rates):
    """Those that are known."""
    named = {
        "fma_flops": rates.fma_flops,
        "tile_flops": rates.tile_flops,
        "l1_bytes": rates.l1_bytes,
        "l2_bytes": rates.l2_bytes,
        "l3_bytes": rates.l3_bytes,
        "memory_bytes": rates.memory_bytes,
    }
    return {name: rate for name, rate in named.items() if rate > 0}


def measure_rates(dtype):
    """What one core can do at most in this dtype, per second, as a dict."""
    cdef fc_rates rates
    cdef fc_dtype code = DTYPES[dtype]
    cdef fc_status status
    with nogil:
        status = fc_rates_measure(code, &rates)
    check(status)
    return rates_dict(&rates)


def calibrate_rates():
    """The rates plans are compared by, as measured in a few milliseconds; not used yet."""
    cdef fc_rates rates
    cdef fc_status status
    with nogil:
        status = fc_rates_calibrate(&rates)
    check(status)
    return rates_dict(&rates)


def rates_used():
    cdef fc_rates rates = fc_rates_used()
    return rates_dict(&rates)


def use_rates(dict named):
    """Compare plans by these from now on; what is not named stays."""
    cdef fc_rates rates
    rates.fma_flops = named.get("fma_flops", 0.0)
    rates.tile_flops = named.get("tile_flops", 0.0)
    rates.l1_bytes = named.get("l1_bytes", 0.0)
    rates.l2_bytes = named.get("l2_bytes", 0.0)
    rates.l3_bytes = named.get("l3_bytes", 0.0)
    rates.memory_bytes = named.get("memory_bytes", 0.0)
    fc_rates_use(&rates)


def cgroup_cores(root=""):
    """The CPU quota of this process's control groups in cores, 0.0 without one; below `root`."""
    path = root.encode()
    return fc_cgroup_cores(path)


def set_num_threads(int threads):
    fc_set_num_threads(threads)


def get_num_threads():
    return fc_get_num_threads()


def version():
    return fc_version().decode()


def compiler():
    """The compiler of this build and its version."""
    return FC_COMPILER.decode().strip()
