# cython: auto_pickle=False, autotestdict=False, freethreading_compatible=True
"""The only boundary to C: buffers in, one call without the GIL, a status becomes an exception.

Plans, weights, pooling and filters are here; what they share with the rest is included: _core_buffers.pxi (buffers),
_core_engine.pxi (the call path), _core_machine.pxi (this build and machine).

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
    PyBUF_FORMAT, PyBUF_STRIDES, PyBUF_WRITABLE, PyBuffer_IsContiguous, PyBuffer_Release, PyObject_GetBuffer,
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


include "_core_buffers.pxi"


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

    def pack(self, weight, pointwise=None, *, bint flip=False, int threads=0):
        """Weights in the form this plan's kernel reads. threads: as for run; 0 for at most what
        `num_threads` allows here."""
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
        if threads == 0:
            threads = -<int> threads_here.get()
        with nogil:
            status = fc_weights_pack(self.plan, &first, second_pointer, threads, &packed.weights)
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


    cdef object convolve_line(self, x, w, Py_ssize_t length):
        """The convolution of two lines by this plan of one channel, as a new array of `length`; None
        where `run` could not read them."""
        cdef Py_buffer of_x, of_w, of_out
        out = empty(length, x.dtype)
        PyObject_GetBuffer(x, &of_x, PyBUF_STRIDES)
        try:
            PyObject_GetBuffer(w, &of_w, PyBUF_STRIDES)
            try:
                if not (regular(&of_x) and regular(&of_w)):
                    return None
                PyObject_GetBuffer(out, &of_out, PyBUF_STRIDES | PyBUF_WRITABLE)
                try:
                    self.run_line(&of_x, &of_w, of_out.buf)
                finally:
                    PyBuffer_Release(&of_out)
            finally:
                PyBuffer_Release(&of_w)
        finally:
            PyBuffer_Release(&of_x)
        return out

    cdef int run_line(self, const Py_buffer *x, const Py_buffer *w, void *out) except -1:
        cdef fc_tensors tensors
        cdef fc_weight_view taps
        cdef fc_weights *packed = NULL
        cdef fc_status status
        cdef int threads = -<int> threads_here.get()
        memset(&tensors, 0, sizeof(tensors))
        tensors.x.data, tensors.x.stride[4] = x.buf, x.strides[0] // x.itemsize
        tensors.out.data, tensors.out.stride[4] = out, 1
        memset(&taps, 0, sizeof(taps))
        taps.data = <char *> w.buf + (w.shape[0] - 1) * w.strides[0]
        taps.stride[5] = -(w.strides[0] // w.itemsize)
        with nogil:
            status = fc_weights_pack(self.plan, &taps, NULL, threads, &packed)
            if status == FC_OK:
                status = fc_plan_run(self.plan, packed, &tensors, threads)
            fc_weights_free(packed)
        return check(status)


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


def sum_columns(x, weights, out, int64_t dilation=1):
    """out[r, j] = sum over t of weights[t, j] * x[r + t * dilation, j]; all complex, of float32 or of float64.

    Elements of a row lie side by side. Runs on this thread.
    """
    cdef _View x_view = _View(), weights_view = _View(), out_view = _View()
    cdef fc_columns columns
    cdef fc_status status
    cdef Py_buffer *b
    x_view.hold(x, False, "x")
    weights_view.hold(weights, False, "weights")
    out_view.hold(out, True, "out")
    for array, view, name in ((out, out_view, "out"), (x, x_view, "x"), (weights, weights_view, "weights")):
        b = &(<_View> view).buffer
        if b.ndim != 2 or array.dtype.kind != "c" or b.itemsize > 16 or array.dtype != out.dtype:
            raise ValueError(f"{name}: {b.ndim} axes of {array.dtype}, wanted 2 of complex64 or complex128, all alike")
        if b.shape[1] != out_view.buffer.shape[1] or (b.shape[1] > 1 and b.strides[1] != b.itemsize):
            raise ValueError(f"{name}: rows of {b.shape[1]}, wanted {out_view.buffer.shape[1]} side by side")
    columns.dtype = FC_F32 if out_view.buffer.itemsize == 8 else FC_F64
    columns.rows, columns.length = out_view.buffer.shape[0], out_view.buffer.shape[1]
    columns.taps, columns.dilation = weights_view.buffer.shape[0], dilation
    columns.x_pitch, columns.out_pitch = 2 * x_view.stride(0), 2 * out_view.stride(0)
    if weights_view.buffer.shape[0] > 1 and weights_view.stride(0) != columns.length:
        raise ValueError("weights: wanted rows one behind the other")
    wanted = columns.rows + (columns.taps - 1) * dilation
    if x_view.buffer.shape[0] != wanted:
        raise ValueError(f"x: {x_view.buffer.shape[0]} rows, wanted {wanted}")
    with nogil:
        status = fc_columns_run(&columns, x_view.buffer.buf, weights_view.buffer.buf, out_view.buffer.buf)
    check(status)


cdef const int64_t *read_places(_View view, array, int64_t count, int64_t size, str name) except NULL:
    """`count` places, each below `size`."""
    cdef const int64_t *at
    view.hold(array, False, name)
    if array.dtype.char not in "lq" or array.shape != (count,) or not array.flags.c_contiguous:
        raise ValueError(f"{name}: {array.dtype} of shape {array.shape}, wanted int64 of {(count,)}, dense")
    at = <const int64_t *> view.buffer.buf
    for i in range(count):
        if at[i] >= size:
            raise ValueError(f"{name}: {at[i]}, wanted less than {size}")
    return at


cdef int read_pairs(
    fc_pairs *pairs, _View x_view, _View out_view, x, out, str types, int64_t x_step
) except -1:
    """x and out as planes of these two types; elements of a row of x are `x_step` apart."""
    if x.ndim != 2 or out.ndim != 2 or x.dtype.char + out.dtype.char not in types.split():
        raise ValueError(f"x, out: {x.ndim} and {out.ndim} axes of {x.dtype}, {out.dtype}, wanted 2 of {types}")
    x_view.hold(x, False, "x")
    out_view.hold(out, True, "out")
    if x.shape[1] > 1 and x_view.stride(1) != x_step or out.shape[1] > 1 and out_view.stride(1) != 1:
        raise ValueError(f"x, out: strides {x.strides} and {out.strides}, wanted elements {x_step} and 1 apart")
    pairs.dtype = FC_F32 if x.dtype.char == "f" else FC_F64
    pairs.rows, pairs.length = out_view.buffer.shape[0], out_view.buffer.shape[1]
    pairs.x_pitch, pairs.out_pitch = x_view.stride(0), out_view.stride(0)
    return 0


def join_rows(x, first, second, columns, double fill, out):
    """out[r, j] = x[first[r], columns[j]] + 1j * x[second[r], columns[j]]; a place below 0 holds `fill`.

    x is of float32 or float64, rows dense, and out complex of the same. Runs on this thread.
    """
    cdef _View x_view = _View(), out_view = _View(), rows = _View(), others = _View(), places = _View()
    cdef fc_pairs pairs
    cdef fc_status status
    read_pairs(&pairs, x_view, out_view, x, out, "fF dD", 1)
    pairs.from_rows[0] = read_places(rows, first, pairs.rows, x.shape[0], "first")
    pairs.from_rows[1] = read_places(others, second, pairs.rows, x.shape[0], "second")
    pairs.from_columns = read_places(places, columns, pairs.length, x.shape[1], "columns")
    pairs.out_pitch *= 2
    pairs.fill = fill
    with nogil:
        status = fc_pairs_join(&pairs, x_view.buffer.buf, out_view.buffer.buf)
    check(status)


def take_part(x, out):
    """out[...] = x, where x is the real or the imaginary part of dense rows. Runs on this thread."""
    cdef _View x_view = _View(), out_view = _View()
    cdef fc_pairs pairs
    cdef fc_status status
    read_pairs(&pairs, x_view, out_view, x, out, "ff dd", 2)
    if x.shape != out.shape:
        raise ValueError(f"x: shape {x.shape}, wanted {out.shape}")
    with nogil:
        status = fc_pairs_part(&pairs, x_view.buffer.buf, out_view.buffer.buf)
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
    """(kernel, taps before the output, float64 weights, order, divisor, rounding), sizes for three axes."""
    kernel, before, values, order, divisor, rounding = given
    weights.hold(values, False, "weights")
    spatial(stage.kernel, kernel, 3)
    spatial(stage.before, before, 3)
    stage.weights = <const double *> weights.buffer.buf
    stage.order = ORDERS[order]
    stage.divisor, stage.rounding = divisor, rounding
    return 0


cdef class Filter:
    """One run of the filter kernel over dense arrays, prepared; it may be run by several threads at once."""

    cdef fc_filter filter
    cdef _View first, second, window
    cdef int64_t elements

    def __cinit__(self):
        memset(&self.filter, 0, sizeof(self.filter))
        self.first, self.second, self.window = _View(), _View(), _View()

    def __init__(
        self, source, target, *, bint single, batch, size, step, extension, double constant, first, second=None,
        window=None,
    ):
        cdef fc_filter *f = &self.filter
        cdef int axis
        f.x_element = <fc_element> <int> ELEMENTS[source.char]
        f.out_element = <fc_element> <int> ELEMENTS[target.char]
        f.single, f.batch, f.step, f.constant = single, batch, step, constant
        spatial(f.size, size, 3)
        f.x_stride[2] = f.size[2] * f.step
        f.x_stride[1] = f.size[1] * f.x_stride[2]
        f.x_stride[0] = f.size[0] * f.x_stride[1]
        self.elements = f.batch * f.x_stride[0]
        for axis in range(3):
            f.out_stride[axis] = f.x_stride[axis]
            f.extension[axis] = EXTENSIONS[extension[axis]]
        read_stage(&f.first, first, self.first)
        if second is not None:
            read_stage(&f.second, second, self.second)
        if window is not None:
            read_stage(&f.window, window, self.window)

    def run(self, x, out, int threads):
        """Filter x into out; both dense and of the types and the number of elements it was made for."""
        cdef _View x_view = _View(), out_view = _View()
        cdef fc_status status
        x_view.hold(x, False, "x")
        out_view.hold(out, True, "out")
        if (
            <int> ELEMENTS[x.dtype.char] != <int> self.filter.x_element
            or <int> ELEMENTS[out.dtype.char] != <int> self.filter.out_element
        ):
            raise ValueError(f"filter: {x.dtype} to {out.dtype}, prepared for others")
        if (
            x_view.buffer.len != self.elements * x_view.buffer.itemsize
            or out_view.buffer.len != self.elements * out_view.buffer.itemsize
        ):
            raise ValueError(f"filter: {x.size} to {out.size} elements, prepared for {self.elements}")
        with nogil:
            status = fc_filter_run(&self.filter, x_view.buffer.buf, out_view.buffer.buf, threads)
        check(status)


# Threads one call in this context may use; 0 where only the setting of the process counts.
threads_here = ContextVar("fastconv_num_threads", default=0)


cdef enum:
    SCAN_PIECES = 64
    SCAN_FLOPS = 10  # of a value, so to speak: reading it takes as long as so much arithmetic


cdef struct Scan:
    const Py_buffer *values
    double limit
    int64_t pieces
    bint outside[SCAN_PIECES]


cdef void scan_piece(void *context, int64_t task, int64_t before, void *scratch) noexcept nogil:
    cdef Scan *scan = <Scan *> context
    cdef Py_ssize_t count = scan.values.len // scan.values.itemsize
    cdef Py_ssize_t begin = task * count // scan.pieces, end = (task + 1) * count // scan.pieces
    if scan.values.itemsize == 4:
        scan.outside[task] = not all_within(<const float *> scan.values.buf + begin, end - begin, <float> scan.limit)
    else:
        scan.outside[task] = not all_within(<const double *> scan.values.buf + begin, end - begin, scan.limit)


def within(array, double limit):
    """Whether all of an array of floats lies in [-limit, limit], as NaN does not; None: not of one piece."""
    cdef _View view = _View()
    cdef Scan scan
    cdef int threads
    cdef int64_t piece
    cdef fc_status status
    if not view.reads(array) or not PyBuffer_IsContiguous(&view.buffer, b'A'):
        return None
    threads = -<int> threads_here.get()
    scan.values, scan.limit = &view.buffer, limit
    with nogil:
        threads = fc_threads_for(SCAN_FLOPS * <double> view.buffer.len / view.buffer.itemsize, threads)
        scan.pieces = min(4 * threads, SCAN_PIECES) if threads > 1 else 1
        status = fc_parallel_for(scan.pieces, threads, 0, scan_piece, &scan)
    check(status)
    for piece in range(scan.pieces):
        if scan.outside[piece]:
            return False
    return True


def dense_channels(array, int rank, bint channels_last):
    """Whether kernels should take this array for one with dense channels, or None if its elements do
    not lie at multiples of their size."""
    cdef Py_buffer buffer
    PyObject_GetBuffer(array, &buffer, PyBUF_STRIDES)
    try:
        return channels_dense(&buffer, rank, channels_last) if regular(&buffer) else None
    finally:
        PyBuffer_Release(&buffer)


include "_core_engine.pxi"
include "_core_machine.pxi"
