"""The convolutions every kernel is tried on: sizes around any tile, and every option somewhere.

A Case is the geometry of one problem; its repr can be pasted into a Python prompt. `FAMILIES` maps
a name to the cases that belong together; each comes in both layouts. A kernel that cannot run a
case says so, and test_results.py counts that it ran enough of them.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import random

import numpy as np


@dataclasses.dataclass(frozen=True, repr=False)
class Case:
    in_ch: int
    out_ch: int
    in_size: tuple[int, ...]
    kernel: tuple[int, ...]
    stride: tuple[int, ...] = ()
    dilation: tuple[int, ...] = ()
    padding: tuple[tuple[int, int], ...] = ()
    output_padding: tuple[int, ...] = ()
    groups: int = 1
    batch: int = 1
    operation: str = "conv"
    padding_mode: str = "zeros"
    activation: str | None = None
    activation_params: tuple[float, float] = (0.0, 0.0)
    bias: bool = False
    residual: bool = False
    flip: bool = False
    channels_last: bool = False
    depth_multiplier: int = 1
    offset_groups: int = 1
    mask: bool = False

    def __post_init__(self):
        defaults = {"stride": 1, "dilation": 1, "padding": (0, 0), "output_padding": 0}
        for name, value in defaults.items():
            if getattr(self, name) == ():
                object.__setattr__(self, name, (value,) * self.rank)

    @functools.cached_property
    def _hash(self):
        return hash(tuple(getattr(self, field.name) for field in dataclasses.fields(self)))

    def __hash__(self):
        return self._hash

    def __repr__(self):
        """Only what is not the default."""
        plain = Case(self.in_ch, self.out_ch, self.in_size, self.kernel)
        words = [repr(getattr(self, name)) for name in ("in_ch", "out_ch", "in_size", "kernel")]
        for field in dataclasses.fields(self)[4:]:
            value = getattr(self, field.name)
            if value != getattr(plain, field.name):
                words.append(f"{field.name}={value!r}")
        return f"Case({', '.join(words)})"

    @property
    def rank(self):
        return len(self.in_size)

    @property
    def transposed(self):
        return self.operation == "conv_transpose"

    @property
    def deform(self):
        return self.operation == "deform_conv"

    @property
    def separable(self):
        return self.operation == "separable_conv"

    @functools.cached_property
    def out_size(self):
        axes = zip(
            self.in_size, self.kernel, self.stride, self.dilation, self.padding,
            self.output_padding, strict=True,
        )  # fmt: skip
        if self.transposed:
            return tuple(
                (i - 1) * s - sum(p) + d * (k - 1) + 1 + extra for i, k, s, d, p, extra in axes
            )
        return tuple((i + sum(p) - d * (k - 1) - 1) // s + 1 for i, k, s, d, p, _ in axes)

    @functools.cached_property
    def x_shape(self):
        return (self.batch, self.in_ch, *self.in_size)

    @functools.cached_property
    def out_shape(self):
        return (self.batch, self.out_ch, *self.out_size)

    @property
    def weight_shape(self):
        if self.separable:
            return (self.in_ch * self.depth_multiplier, 1, *self.kernel)
        if self.transposed:
            return (self.in_ch, self.out_ch // self.groups, *self.kernel)
        return (self.out_ch, self.in_ch // self.groups, *self.kernel)

    @property
    def pointwise_shape(self):
        return (self.out_ch, self.in_ch * self.depth_multiplier, *(1,) * self.rank)

    @property
    def offset_shape(self):
        return (self.batch, 2 * self.offset_groups * int(np.prod(self.kernel)), *self.out_size)

    @property
    def mask_shape(self):
        return (self.batch, self.offset_groups * int(np.prod(self.kernel)), *self.out_size)

    @functools.cached_property
    def reduction(self):
        """Products added up for one output."""
        taps = int(np.prod(self.kernel))
        if self.separable:
            return taps + self.in_ch * self.depth_multiplier
        return self.in_ch // self.groups * taps

    @functools.cached_property
    def multiplications(self):
        return int(np.prod(self.out_shape)) * self.reduction

    @functools.cached_property
    def plan_arguments(self):
        """The arguments of _core.Plan but dtype and algorithm."""
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        for name in ("bias", "residual"):
            fields[f"has_{name}"] = fields.pop(name)
        last = fields.pop("channels_last")
        for name in ("flip", "mask"):
            del fields[name]
        return {**fields, "rank": self.rank, "x_channels_last": last, "out_channels_last": last}


def both(*pads):
    """Equal padding on both sides of every axis."""
    return tuple((p, p) for p in pads)


COUNTS = (*range(1, 18), 31, 33, 48, 49)  # around one and two tiles of 4, 6, 8 and 16


def out_channels():
    for m in COUNTS:
        yield Case(3, m, (3, 7), (3, 3), padding=both(1, 1), bias=m % 2 == 0)
        yield Case(5, m, (2, 9), (1, 1), residual=m % 3 == 0)


def in_channels():
    for c in COUNTS:
        yield Case(c, 5, (3, 8), (3, 3), padding=both(1, 1))
        yield Case(c, 4, (3, 5), (1, 1), bias=True)
    yield Case(60, 9, (4, 5), (3, 3), padding=both(1, 1))  # more than one chunk of the reduction
    yield Case(300, 9, (3, 5), (1, 1))
    yield Case(29, 3, (5, 9), (3, 3), bias=True, activation="relu")
    # Rows of whole vectors, and channels that several chunks of the reduction read.
    yield Case(30, 4, (4, 32), (3, 3), padding=both(1, 1))
    yield Case(7, 3, (6, 16), (13, 12), padding=((6, 6), (6, 5)), bias=True)
    yield Case(6, 5, (4, 31), (5, 26), (1, 2), padding=((2, 2), (13, 12)))


def widths():
    kernels = itertools.cycle([(1, 1), (3, 3), (1, 3), (2, 2), (3, 1)])
    for w, kernel in zip((*range(1, 51), 63, 64, 65, 95, 96, 97, 129), kernels, strict=False):
        yield Case(2, 3, (3, w), kernel, padding=both(*(k // 2 for k in kernel)))
    for w in (1, 2, 7, 15, 16, 17, 33, 47, 48, 49):
        yield Case(8, 8, (2, w), (1, 1), bias=True)
        yield Case(3, 9, (w, 3), (3, 3), padding=both(1, 1))


def kernels():
    shapes = [(k, k) for k in (1, 2, 3, 4, 5, 7)]
    shapes += [(1, 7), (7, 1), (1, 3), (3, 1), (2, 5), (1, 2), (6, 1)]
    for index, kernel in enumerate(shapes):
        yield Case(3, 4, (9, 11), kernel, batch=1 + index % 2)
        same = tuple(((k - 1) // 2, k // 2) for k in kernel)
        yield Case(2, 9, (8, 10), kernel, padding=same, bias=True)
    yield Case(3, 8, (24, 27), (11, 11), stride=(4, 4), padding=both(2, 2), bias=True)
    yield Case(3, 9, (17, 19), (7, 7), stride=(2, 2), padding=both(3, 3), activation="relu")


def strides_and_dilations():
    for s, d, k in itertools.product((1, 2, 3), (1, 2, 3), (1, 2, 3)):
        yield Case(3, 5, (11, 14), (k, k), (s, s), (d, d), both(d, d), bias=True)
    for s, d in itertools.product(((1, 2), (3, 1), (2, 3)), ((1, 1), (1, 2), (3, 1))):
        yield Case(4, 4, (12, 21), (3, 3), s, d, ((0, 2), (3, 1)), batch=2)
    yield Case(2, 3, (2, 3), (1, 1), stride=(7, 5))  # the stride is longer than x
    yield Case(2, 3, (1, 40), (1, 3), dilation=(9, 13))


def places_apart():
    """Stride and dilation have a divisor in common: rows and planes of x that no tap can read."""
    for (s, d), pad in itertools.product(((2, 2), (4, 2), (2, 4), (6, 4), (3, 3)), range(4)):
        yield Case(3, 5, (13, 10), (3, 2), (s, s), (d, d), ((pad, 3), (pad, pad)), batch=2)
    for groups in (2, 8):
        yield Case(8, 16, (17, 19), (3, 3), (2, 2), (2, 2), both(1, 2), groups=groups, bias=True)
        yield Case(8, 8, (19, 16), (1, 3), (3, 1), padding=both(2, 1), groups=groups, residual=True)
    yield Case(3, 4, (7, 9, 8), (2, 2, 3), (2, 4, 2), (2, 2, 2), both(1, 3, 2))
    yield Case(5, 3, (5, 4, 6), (1, 1, 1), (3, 2, 2), padding=both(2, 1, 0))
    yield Case(2, 3, (1, 5), (1, 3), (2, 1), padding=((1, 3), (1, 1)))  # no row at all
    yield Case(4, 4, (2, 2, 7), (1, 3, 3), (4, 3, 1), (1, 3, 1), both(3, 4, 1), groups=2)
    for mode in ("reflect", "replicate", "circular"):
        yield Case(3, 4, (8, 9), (2, 3), (2, 2), (2, 2), both(3, 2), padding_mode=mode)


def paddings():
    uneven = [((0, 1), (2, 0)), ((1, 0), (0, 3)), ((2, 2), (1, 4))]
    for mode in ("zeros", "reflect", "replicate", "circular"):
        for padding, stride in itertools.product(uneven, ((1, 1), (2, 1))):
            for kernel in ((3, 3), (1, 1), (2, 4)):
                yield Case(2, 3, (5, 6), kernel, stride, padding=padding, padding_mode=mode)
    for mode in ("zeros", "replicate"):  # reach further than the kernel, and than x
        yield Case(2, 3, (2, 3), (3, 3), padding=both(5, 4), padding_mode=mode)
        yield Case(1, 2, (1, 1), (3, 3), padding=both(3, 3), padding_mode=mode)
        yield Case(9, 17, (1, 2), (3, 3), padding=both(1, 1), padding_mode=mode)
    yield Case(2, 3, (4, 4), (3, 3), padding=both(3, 3), padding_mode="reflect")
    yield Case(2, 3, (4, 4), (3, 3), padding=both(4, 4), padding_mode="circular")
    yield Case(3, 4, (7, 9), (3, 3), dilation=(2, 3), padding=both(2, 3), padding_mode="reflect")


def long_spans_of_padding():
    """Channels enough that leaving out the products of padding zeros pays."""
    for size in ((7, 7), (1, 1), (3, 14), (14, 2), (9, 30)):
        yield Case(64, 20, size, (3, 3), padding=both(1, 1), bias=True, activation="relu")
    yield Case(112, 33, (6, 7), (3, 3), padding=((0, 1), (2, 0)), residual=True)
    yield Case(52, 24, (9, 15), (3, 3), dilation=(2, 2), padding=both(2, 2), bias=True)
    yield Case(20, 17, (10, 13), (3, 3), dilation=(6, 6), padding=both(6, 6), batch=2)
    yield Case(17, 6, (10, 28), (3, 3), dilation=(5, 12), padding=both(5, 12))
    yield Case(56, 17, (5, 11), (5, 5), (2, 2), padding=both(2, 2))
    yield Case(60, 18, (4, 17), (1, 7), padding=both(0, 3))
    yield Case(64, 20, (2, 3), (3, 3), padding=both(4, 5), bias=True)  # outputs of padding alone
    yield Case(104, 7, (33,), (5,), padding=both(4))
    yield Case(64, 17, (3, 4, 5), (3, 3, 3), padding=both(2, 1, 1))
    yield Case(128, 36, (5, 8), (3, 3), padding=both(1, 1), groups=2, flip=True)
    yield Case(54, 18, (4, 5), (4, 4), (2, 2), padding=both(1, 1), operation="conv_transpose")
    yield Case(120, 20, (6, 9), (3, 3), padding=both(1, 1), padding_mode="reflect")


def grouped():
    for groups, c, m in itertools.product((2, 3, 5), (1, 2, 4), (1, 2, 3, 4)):
        yield Case(groups * c, groups * m, (4, 7), (3, 3), padding=both(1, 1), groups=groups)
    for groups, c, m in ((2, 16, 16), (4, 8, 8), (32, 4, 4), (8, 8, 1), (8, 1, 8), (17, 2, 2)):
        yield Case(groups * c, groups * m, (3, 9), (3, 3), padding=both(1, 1), groups=groups)
        yield Case(groups * c, groups * m, (3, 5), (1, 1), groups=groups, bias=True)
    spanning = ((1, m) for m in (3, 5, 9, 12, 17, 33))  # blocks of lanes that end within a group
    for c, m in (*spanning, (2, 3), (2, 5), (2, 7), (4, 6), (5, 9)):
        for groups in (3, 7):
            yield Case(groups * c, groups * m, (4, 11), (3, 3), padding=both(1, 1), groups=groups)
            yield Case(groups * c, groups * m, (1, 19), (1, 1), groups=groups, bias=True)
        yield Case(6 * c, 6 * m, (5, 9), (2, 3), dilation=(1, 2), padding=both(1, 2), groups=6)
        yield Case(5 * c, 5 * m, (7, 37), (5, 3), (2, 2), padding=both(2, 1), groups=5, bias=True)
    yield Case(12, 18, (9, 8), (5, 3), (2, 2), padding=both(2, 1), groups=6, batch=2)
    yield Case(32, 32, (7, 19), (3, 3), (2, 2), padding=both(1, 1), groups=8, activation="relu")
    yield Case(16, 16, (8, 9), (3, 3), dilation=(2, 2), padding=both(2, 2), groups=4, flip=True)
    yield Case(24, 24, (21,), (3,), padding=both(1), groups=6)
    yield Case(32, 64, (6, 40), (3, 3), padding=both(1, 1), groups=8, bias=True)  # borders
    yield Case(36, 36, (5, 35), (5, 3), padding=both(2, 1), groups=9, activation="relu")
    yield Case(16, 12, (9, 70), (3, 3), padding=both(1, 1), groups=4, residual=True)
    yield Case(8, 8, (3, 4, 5), (3, 3, 3), padding=both(1, 1, 1), groups=2)
    yield Case(32, 32, (14, 14), (3, 3), padding=both(1, 1), groups=2, bias=True)
    yield Case(48, 48, (15, 28), (3, 3), padding=both(1, 1), groups=3)


def depthwise():
    for c, m in itertools.product((*range(1, 10), 15, 16, 17, 31, 33, 49), (1, 2, 3)):
        yield Case(c, c * m, (3, 8), (3, 3), padding=both(1, 1), groups=c, bias=m == 2)
    for w in (1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 48, 63, 65):
        yield Case(3, 3, (4, w), (3, 3), padding=both(1, 1), groups=3)
        yield Case(2, 2, (5, w), (5, 5), (1 + w % 2,) * 2, padding=both(2, 2), groups=2)
    for k, s, d in itertools.product((1, 2, 3, 5, 7), (1, 2, 3), (1, 2)):
        pad = both(*[d * (k // 2)] * 2)
        yield Case(5, 5, (13, 14), (k, k), (s, s), (d, d), pad, groups=5, residual=k == 3)
    for mode in ("reflect", "replicate", "circular"):
        yield Case(4, 4, (6, 9), (3, 5), padding=((1, 2), (0, 3)), groups=4, padding_mode=mode)
    for act in ("relu", "silu"):
        yield Case(20, 20, (6, 7), (3, 3), padding=both(1, 1), groups=20, activation=act, bias=True)
    yield Case(6, 6, (5, 9), (3, 3), padding=both(4, 5), groups=6, batch=3)
    pictures = ((2, 33, 3), (3, 50, 3), (3, 70, 5), (4, 29, 7), (3, 61, 15), (3, 40, 4), (3, 17, 2))
    for c, w, k in pictures:  # whose channels lie interleaved in NHWC
        yield Case(c, c, (17, w), (k, k), padding=both(k // 2, k // 2), groups=c, bias=k < 9)
        yield Case(c, c, (6, w), (1, k), padding=both(0, k // 2), groups=c)
    yield Case(3, 3, (4, 9, 70), (3, 3, 3), dilation=(1, 1, 2), padding=both(1, 1, 2), groups=3)
    for w, k in ((100, 31), (216, 15), (33, 16), (230, 1)):
        yield Case(2, 2, (3, w), (1, k), padding=both(0, k // 2), groups=2)  # long rows
        yield Case(3, 3, (w,), (k,), padding=((k - 1, 0),), groups=3, activation="relu")
    blocks = ((30, 12, 3), (9, 31, 5), (37, 200, 7), (11, 150, 6), (33, 90, 3))
    for h, w, k in blocks:  # of rows and columns, their ends and the padding
        yield Case(2, 4, (h, w), (k, k), padding=both(k // 2, k // 2), groups=2, bias=True)
        yield Case(2, 2, (2 * h, 2 * w), (k, k), (2, 2), padding=both(k // 2, k // 2), groups=2)
    for h, w in ((1, 1), (2, 3), (3, 14), (2, 17), (1, 40)):  # loads reach far beside short rows
        yield Case(3, 3, (h, w), (5, 7), padding=both(2, 3), groups=3, batch=2)
        yield Case(2, 4, (h, w), (5, 5), (2, 2), padding=both(2, 4), groups=2)
        yield Case(3, 3, (2, h, w), (3, 5, 5), padding=both(1, 2, 2), groups=3)
    planes = ((3, 1, (1,)), (2, 3, (5, 13)), (1, 7, (2100,)), (4, 2, (3, 8, 9)), (17, 1, (9, 8)))
    for c, m, size in (*planes, (2, 5, (70, 61))):  # one tap, which scales them
        one = (1,) * len(size)
        yield Case(c, c * m, size, one, groups=c, bias=m > 2, batch=1 + m % 2)
        yield Case(c, c * m, size, one, groups=c, bias=m < 3, activation="relu", residual=m == 2)
    yield Case(19, 19, (37,), (3,), padding=both(1), groups=19)
    yield Case(5, 10, (29,), (4,), (2,), (3,), ((9, 0),), groups=5)
    yield Case(7, 7, (4, 5, 9), (3, 3, 3), padding=both(1, 1, 1), groups=7)
    for c, s in ((512, 1), (509, 2), (1024, 1)):  # lines of pixels half a page apart
        yield Case(c, c, (3, 11), (3, 3), (s, s), padding=both(1, 1), groups=c, bias=s == 2)
    yield Case(3, 6, (5, 6, 7), (2, 3, 1), (2, 1, 2), groups=3)


def channel_strips():
    """Long rows of taps of many channels: partial vectors, strips, remainders, borders."""
    for c, k in zip((16, 17, 32, 8, 9, 20, 40), (12, 13, 14, 15, 16, 17, 31), strict=True):
        yield Case(c, c, (37,), (k,), padding=both(k // 2), groups=c, bias=k % 2 == 0)
    for mode in ("zeros", "reflect", "replicate", "circular"):
        yield Case(17, 17, (50,), (15,), padding=((9, 4),), groups=17, padding_mode=mode)
        yield Case(16, 16, (4, 21), (2, 9), padding=((1, 0), (5, 3)), groups=16, padding_mode=mode)
    yield Case(18, 18, (345,), (12,), groups=18, batch=2)  # several strips
    yield Case(16, 16, (700,), (14,), padding=both(7), groups=16, activation="relu", bias=True)
    yield Case(512, 512, (330,), (13,), padding=both(6), groups=512)  # asked for ahead
    yield Case(19, 19, (40,), (12,), padding=both(6), groups=19, activation="silu", bias=True)
    yield Case(16, 16, (40,), (12,), padding=both(6), groups=16, residual=True)
    for stride, dilation in ((1, 1), (2, 1), (1, 2)):
        yield Case(17, 17, (19, 23), (9, 9), (stride, 1), (dilation, 1), both(8, 4), groups=17)
    yield Case(16, 16, (3, 5, 12), (2, 2, 9), padding=both(1, 1, 4), groups=16, flip=True)
    yield Case(16, 16, (2, 20), (5, 11), padding=both(7, 5), groups=16)  # rows of padding
    for mode in ("zeros", "reflect"):  # several rows of taps over planes
        yield Case(31, 31, (16, 21), (13, 12), padding=both(6, 5), groups=31, padding_mode=mode)
    yield Case(16, 16, (9, 37), (2, 15), (3, 1), padding=both(1, 7), groups=16, residual=True)


def ranks():
    for w, k, s, d in itertools.product((1, 5, 16, 33, 100), (1, 2, 3, 5), (1, 2), (1, 3)):
        if w > d * (k - 1):
            yield Case(3, 5, (w,), (k,), (s,), (d,), both(k // 2), bias=k == 3)
    for kernel, s, d in itertools.product(
        ((1, 1, 1), (3, 3, 3), (1, 2, 3), (2, 1, 2)), (1, 2), (1, 2)
    ):
        pads = both(*((k - 1) // 2 * d for k in kernel))
        yield Case(3, 4, (4, 5, 6), kernel, (s,) * 3, (d,) * 3, pads, batch=2)
    for mode in ("reflect", "replicate", "circular"):
        yield Case(2, 3, (11,), (4,), padding=((3, 1),), padding_mode=mode)
        yield Case(2, 3, (3, 4, 5), (2, 3, 3), padding=both(1, 1, 2), padding_mode=mode)


ACTIVATIONS = [
    (None, (0.0, 0.0)),
    ("relu", (0.0, 0.0)),
    ("leaky_relu", (0.1, 0.0)),
    ("leaky_relu", (1.5, 0.0)),
    ("clip", (0.0, 6.0)),
    ("clip", (-1.5, 0.5)),
    ("sigmoid", (0.0, 0.0)),
    ("tanh", (0.0, 0.0)),
    ("silu", (0.0, 0.0)),
    ("hardswish", (0.0, 0.0)),
]


def epilogues():
    shapes = [
        {"in_ch": 3, "out_ch": 9, "kernel": (3, 3), "padding": both(1, 1)},
        {"in_ch": 5, "out_ch": 17, "kernel": (1, 1)},
        {"in_ch": 9, "out_ch": 9, "kernel": (3, 3), "padding": both(1, 1), "groups": 9},
    ]
    for (act, params), (bias, residual) in itertools.product(
        ACTIVATIONS, itertools.product((False, True), repeat=2)
    ):
        for shape in shapes if bias == residual else shapes[:1]:
            yield Case(
                in_size=(4, 7), batch=2, bias=bias, residual=residual, activation=act,
                activation_params=params, **shape,
            )  # fmt: skip


def three_taps():
    """What Winograd's transforms are made for: three taps, stride 1."""
    for h, w in zip(range(1, 14), (1, 2, 3, 4, 5, 6, 7, 8, 9, 17, 24, 25, 26), strict=True):
        yield Case(3, 5, (h, w), (3, 3), padding=both(1, 1), bias=True)
        yield Case(4, 8, (h + 2, w + 3), (3, 3))
    for c, m in itertools.product((1, 4, 8, 15, 17, 33), (1, 3, 8, 16, 17, 49)):
        yield Case(c, m, (6, 7), (3, 3), padding=both(1, 1), residual=c == m)
    for pad in (((0, 1), (2, 0)), ((2, 2), (2, 2)), ((3, 4), (5, 3))):
        yield Case(6, 9, (5, 9), (3, 3), padding=pad, batch=2)
    for mode in ("reflect", "replicate", "circular"):
        yield Case(5, 6, (6, 11), (3, 3), padding=((1, 2), (2, 1)), padding_mode=mode)
    for w in (3, 4, 5, 8, 13, 31, 64, 67):
        yield Case(5, 9, (w,), (3,), padding=both(1))
        yield Case(4, 6, (3, w), (1, 3), padding=both(0, 1), bias=True)
        yield Case(4, 6, (w, 3), (3, 1), padding=both(1, 0))
    for act in ("relu", "tanh"):
        yield Case(
            16, 24, (9, 10), (3, 3), padding=both(1, 1), bias=True, activation=act, flip=True
        )
    yield Case(12, 18, (7, 7), (3, 3), padding=both(1, 1), groups=3)
    yield Case(70, 20, (10, 9), (3, 3), padding=both(1, 1), batch=3)
    yield Case(4, 5, (3, 6, 7), (1, 3, 3), padding=both(0, 1, 1))
    for size in ((4, 4), (5, 8), (9, 11), (28, 28), (18, 29)):  # few tiles, or a rest
        yield Case(35, 21, size, (3, 3), padding=both(1, 1), bias=True)


def five_taps():
    """The same for five taps."""
    for h, w in zip(range(1, 10), (1, 2, 3, 5, 8, 9, 17, 25, 34), strict=True):
        yield Case(3, 5, (h, w), (5, 5), padding=both(2, 2), bias=True)
        yield Case(9, 17, (h + 4, w + 5), (5, 5), residual=h == w)
    for c, m in itertools.product((1, 15, 33), (1, 8, 19)):
        yield Case(c, m, (6, 7), (5, 5), padding=both(2, 2), activation="relu")
    for mode in ("zeros", "reflect", "replicate", "circular"):
        yield Case(5, 6, (6, 11), (5, 5), padding=((1, 3), (4, 2)), padding_mode=mode)
    for w in (5, 8, 13, 31, 64, 67):
        yield Case(5, 9, (w,), (5,), padding=both(2))
        yield Case(4, 6, (3, w), (1, 5), padding=both(0, 2), bias=True)
        yield Case(4, 6, (w, 3), (5, 1), padding=both(2, 0))
    for w in (1, 2, 3, 4):  # a window reaches over several tiles that are each alone in their row
        yield Case(3, 4, (9, w), (5, 5), padding=both(2, 2))
    yield Case(12, 18, (9, 7), (5, 5), padding=both(2, 2), groups=3, batch=2, flip=True)
    yield Case(3, 4, (4, 6, 7), (3, 5, 5), padding=both(1, 2, 2))


def pieces():
    """Kernels whose transforms take them piece by piece: dilated, longer than the taps, strided."""
    pairs = itertools.cycle((("zeros", 3), ("reflect", 7), ("replicate", 17), ("circular", 8)))
    for k, s, d in itertools.product((3, 4, 5, 7), (1, 2, 3), (1, 2, 3, 6)):
        if d == 6 and k > 4:
            continue
        mode, m = next(pairs)
        size = (d * (k - 1) + s * 2, d * (k - 1) + s * 7)
        pad = d * (k // 2)
        for pads in (((pad, pad), (pad, 0)), ((0, 0), (0, 0))):
            if min(size) > pad:
                yield Case(2, m, size, (k, k), (s, s), (d, d), pads, padding_mode=mode)
    for w, d, s in itertools.product((17, 40, 67), (1, 2, 5, 8, 16), (1, 2, 4)):
        k = (9, 6, 3, 2)[(w + d + s) % 4]
        if w > d * (k - 1):
            yield Case(3, 5, (w,), (k,), (s,), (d,), both(d), bias=True, batch=2)
            yield Case(2, 5, (w, 3), (k, 1), (s, 1), (d, 2), residual=True)
    for mode, d in (("zeros", 4), ("reflect", 5), ("replicate", 16), ("circular", 7)):
        pad = ((2 * d - 1, d // 2),)  # rows of folded x begin and end in the padding
        yield Case(3, 9, (90,), (3,), (1,), (d,), pad, padding_mode=mode, activation="relu")
        yield Case(3, 9, (61,), (5,), (1,), (d,), pad, padding_mode=mode)
    yield Case(3, 24, (39, 43), (11, 11), (4, 4), padding=both(2, 0), bias=True)
    yield Case(5, 7, (6, 14), (2, 6), (1, 2), (2, 1), both(1, 3), residual=True)
    yield Case(37, 9, (9, 18), (3, 5), (2, 1), (1, 3), both(1, 6), activation="silu")
    yield Case(66, 20, (14, 13), (3, 3), (2, 2), padding=both(1, 1), bias=True, flip=True)
    yield Case(40, 18, (15, 15), (5, 5), padding=both(2, 2), groups=2, batch=2)
    yield Case(3, 4, (3, 8, 9), (3, 4, 5), (2, 2, 1), (1, 2, 2), both(1, 2, 4))
    yield Case(40, 20, (300,), (2,), dilation=(16,), padding=((16, 0),), activation="relu")
    yield Case(4, 5, (5, 6), (6, 6), (2, 2), padding=both(1, 1), operation="conv_transpose")


def wide_rows():
    """Rows of whole vectors, whose columns need no packing, and pointwise planes, read in place."""
    for w, k, s, d in ((64, 3, 1, 1), (96, 3, 2, 1), (126, 2, 1, 3), (63, 7, 2, 2), (160, 5, 1, 1)):
        yield Case(3, 10, (7, w), (k, k), (s, s), (d, d), both(k // 2 * d, k // 2 * d), bias=True)
    for mode in ("reflect", "replicate", "circular"):
        pad = ((1, 1), (2, 0))
        yield Case(2, 5, (6, 64), (3, 3), (1, 2), padding=pad, padding_mode=mode, residual=True)
    yield Case(90, 9, (3, 64), (3, 3), padding=both(1, 1), residual=True, activation="relu")
    yield Case(6, 18, (5, 48), (3, 3), padding=both(1, 1), groups=2, batch=2, activation="silu")
    yield Case(2, 11, (3, 4, 32), (2, 3, 3), padding=both(1, 1, 1), activation="relu")
    yield Case(4, 9, (3400,), (3,), dilation=(5,), padding=both(5), bias=True)  # more than a task
    yield Case(2, 9, (12, 3100), (1, 1), residual=True, bias=True)
    for size in ((4, 12), (3, 67), (5, 3, 32), (145,)):
        yield Case(9, 13, size, (1,) * len(size), batch=2, residual=True, activation="relu")
        yield Case(530, 6, size, (1,) * len(size), bias=True)


def blocks():
    """Around blocks of 32 channels, 32 outputs and 256 pixels, and what tile kernels got wrong."""
    for c, m in itertools.product((31, 32, 33, 64, 70), (15, 16, 33)):
        yield Case(c, m, (3, 7), (1, 1), bias=m == 16)
        yield Case(c, m, (3, 5), (3, 3), padding=both(1, 1), residual=m == 33)
    yield Case(330, 34, (3, 11), (1, 1), bias=True, activation="relu")
    yield Case(41, 65, (5, 6), (3, 3), padding=both(1, 1), activation="silu")
    yield Case(1, 1, (2, 2), (2, 2))
    yield Case(16, 16, (2, 2), (2, 2))
    yield Case(8, 9, (3, 4, 2), (2, 2, 2), (2, 2, 2))  # one output along width, stride above 1
    yield Case(9, 8, (5, 4, 3), (3, 3, 3), (2, 1, 2), batch=2)
    yield Case(24, 40, (90, 110), (1, 1), bias=True)  # out beyond L2, few steps and not so few
    yield Case(20, 44, (77, 80), (1, 1), batch=2, activation="relu")  # the same, twice as wide as x
    yield Case(10, 83, (90, 89), (1, 1), residual=True)
    yield Case(3, 67, (75, 79), (3, 3), padding=both(1, 1), activation="relu")
    yield Case(3, 17, (21, 40), (3, 3), padding=both(1, 1), bias=True)
    yield Case(5, 18, (3, 300), (3, 3), padding=both(1, 1))
    yield Case(5, 17, (3, 601), (1, 3), (2, 2), padding=both(0, 1))
    yield Case(4, 18, (700,), (5,), padding=both(2), residual=True)
    yield Case(6, 5, (2, 9, 33), (1, 1, 1), bias=True)
    yield Case(6, 5, (9, 40), (1, 1), (2, 2))
    yield Case(6, 7, (31, 9), (3, 3), dilation=(12, 2), padding=both(2, 2))
    yield Case(66, 36, (7, 8), (3, 3), padding=both(1, 1), groups=2)


def transposed():
    def up(*args, **keywords):
        return Case(*args, operation="conv_transpose", **keywords)

    for k, s, d in itertools.product((1, 2, 3, 4), (1, 2, 3), (1, 2)):
        yield up(3, 5, (4, 5), (k, k), (s, s), (d, d), bias=True)
    for k, s, p in itertools.product((2, 3, 5), (1, 2, 3), (1, 2)):
        if d_reach(k, 4, s) > 2 * p:
            yield up(4, 3, (4, 6), (k, k), (s, s), padding=both(p, p), output_padding=(s - 1,) * 2)
    yield up(3, 4, (5, 6), (3, 3), (2, 3), (3, 2), ((0, 2), (4, 1)), (1, 2), batch=2)
    yield up(3, 4, (9, 8), (2, 2), padding=both(3, 2))  # crops more than the kernel's reach
    yield up(2, 3, (3, 3), (2, 2), (5, 4), output_padding=(4, 3), bias=True)  # unreached phases
    yield up(2, 3, (3, 3), (1, 2), (3, 3), activation="relu", bias=True, residual=True)
    yield up(6, 9, (4, 5), (3, 3), (2, 2), padding=both(1, 1), groups=3)
    yield up(8, 8, (5, 5), (4, 4), (2, 2), padding=both(1, 1), groups=8)
    yield up(4, 8, (5, 6), (3, 3), (2, 2), groups=4, flip=True)
    yield up(17, 9, (5, 7), (4, 4), (2, 2), padding=both(1, 1), residual=True)
    yield up(5, 33, (3, 9), (3, 3), padding=both(1, 1))
    yield up(40, 6, (4, 4), (3, 3), (2, 2), padding=both(1, 1), output_padding=(1, 1))
    for w, k, s in itertools.product((1, 8, 17), (1, 3, 4), (1, 2, 4)):
        yield up(3, 4, (w,), (k,), (s,), bias=True)
    yield up(3, 4, (2, 3, 4), (3, 2, 3), (2, 2, 1), padding=both(1, 0, 1), batch=2)
    yield up(2, 3, (3, 3, 3), (2, 2, 2), (2, 2, 2), (1, 2, 3), output_padding=(1, 1, 2))


def d_reach(kernel, size, stride):
    return (size - 1) * stride + kernel


def deform():
    def moved(*args, **keywords):
        return Case(*args, operation="deform_conv", **keywords)

    for mask, og in itertools.product((False, True), (1, 2, 3)):
        yield moved(6, 5, (5, 7), (3, 3), padding=both(1, 1), mask=mask, offset_groups=og)
        yield moved(
            6, 4, (6, 7), (2, 3), (2, 1), (1, 2), ((1, 0), (2, 1)), mask=mask, offset_groups=og
        )
    for w in (1, 2, 15, 16, 17, 33, 49):
        yield moved(2, 9, (2, w), (3, 3), padding=both(1, 1), mask=w % 2 == 1, bias=True)
    for c in (1, 8, 33):
        yield moved(c, 17, (4, 5), (1, 1), batch=2, mask=True, activation="relu", residual=True)
    yield moved(8, 12, (5, 6), (3, 3), padding=both(1, 1), groups=4, offset_groups=2, mask=True)
    yield moved(35, 3, (4, 5), (3, 3), padding=both(1, 1), mask=True)


def separable():
    def two(*args, **keywords):
        return Case(*args, operation="separable_conv", **keywords)

    for c, m in itertools.product((1, 3, 8, 17, 33), (1, 5, 17)):
        yield two(c, m, (5, 7), (3, 3), padding=both(1, 1), bias=m == 5)
    for k, s, d in itertools.product((1, 2, 3, 5), (1, 2), (1, 2)):
        yield two(4, 6, (11, 12), (k, k), (s, s), (d, d), both(k // 2, k // 2), depth_multiplier=s)
    for w in (1, 2, 15, 16, 17, 33, 49, 97):
        yield two(3, 4, (2, w), (3, 3), padding=both(1, 1), residual=True, activation="relu")
    yield two(5, 7, (40,), (5,), padding=((4, 0),), batch=2, depth_multiplier=3)
    yield two(3, 4, (3, 4, 5), (3, 3, 3), padding=both(1, 1, 1))
    yield two(150, 9, (3, 5), (3, 3), padding=both(1, 1), depth_multiplier=2)


def random_cases(count=60):
    """Everything at once, from one fixed seed."""
    pick = random.Random(5).choice
    made = 0
    while made < count:
        rank, groups = pick((1, 2, 2, 3)), pick((1, 1, 1, 2, 3))
        shape = {name: [] for name in ("in_size", "kernel", "stride", "dilation", "padding")}
        for _ in range(rank):
            shape["in_size"].append(pick(range(1, 40 if rank == 1 else 12 if rank == 2 else 6)))
            shape["kernel"].append(pick((1, 2, 3, 3, 4, 5)))
            shape["stride"].append(pick((1, 1, 2, 3)))
            shape["dilation"].append(pick((1, 1, 2, 3)))
            shape["padding"].append((pick(range(5)), pick(range(5))))
        case = Case(
            groups * pick(range(1, 12)), groups * pick(range(1, 20)), groups=groups,
            batch=pick((1, 2, 3)), bias=pick((False, True)), residual=pick((False, True)),
            activation=pick((None, None, "relu", "silu")), flip=pick((False, True)),
            **{name: tuple(values) for name, values in shape.items()},
        )  # fmt: skip
        if min(case.out_size) >= 1 and case.multiplications < 400_000:
            made += 1
            yield case


def in_both_layouts(cases):
    cases = list(cases)
    return cases + [dataclasses.replace(case, channels_last=True) for case in cases]


FAMILIES = {
    family.__name__: in_both_layouts(family())
    for family in (
        out_channels, in_channels, widths, kernels, strides_and_dilations, places_apart, paddings,
        grouped, depthwise, channel_strips, ranks, epilogues, three_taps, wide_rows, transposed,
        deform, separable, blocks, long_spans_of_padding, five_taps, pieces, random_cases,
    )
}  # fmt: skip
