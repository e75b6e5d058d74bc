"""What is wrong or missing goes to SciPy, visibly: its errors, its results, one line on stderr."""

import os
import subprocess
import sys

import numpy as np
import pytest
import scipy.ndimage as theirs

from fastconv import ndimage as ours

X = np.arange(12.0).reshape(3, 4)
WRONG = [
    ("correlate1d", (X, []), {}),
    ("correlate1d", (X, [[1.0]]), {}),
    ("correlate1d", (X, [1.0, 2]), {"axis": 2}),
    ("correlate1d", (X, [1.0, 2]), {"mode": "mirrored"}),
    ("correlate1d", (X, [1.0, 2]), {"origin": 1}),
    ("correlate1d", (X, [1.0, 2]), {"origin": 0.5}),
    ("correlate1d", (X, [1.0, 2]), {"output": np.zeros((4, 3))}),
    ("correlate1d", (X, [1.0, 2]), {"output": "bool"}),
    ("correlate1d", (X.astype("f2"), [1.0, 2]), {}),
    ("convolve1d", (X * 1j, [1.0, 2]), {"output": np.zeros((3, 4))}),
    ("correlate", (X, [1.0, 2]), {}),
    ("correlate", (X, np.ones((2, 2))), {"origin": (1, 0)}),
    ("correlate", (X, np.ones((2, 2))), {"mode": ["reflect", "wrap"]}),
    ("convolve", (X, np.ones((2, 0))), {}),
    ("convolve", (X, np.ones((2, 2))), {"axes": (0, 3)}),
    ("convolve", (X, np.ones((2, 2)) * 1j), {"cval": 1j, "mode": "constant"}),
    ("gaussian_filter", (X, [1, 2, 3]), {}),
    ("gaussian_filter", (X, 1), {"order": -1}),
    ("gaussian_filter", (X, 1), {"radius": 1.5}),
    ("gaussian_filter", (X, 1), {"axes": (0, 0)}),
    ("gaussian_filter1d", (X, "wide"), {}),
    ("uniform_filter1d", (X, 0), {}),
    ("uniform_filter", (X, 3), {"origin": 2}),
    ("sobel", (X,), {"axis": 5}),
    ("laplace", (X,), {"mode": ["reflect"]}),
    ("generic_laplace", (X, None), {}),
]


@pytest.mark.parametrize(("name", "args", "kwargs"), WRONG)
def test_errors_are_scipys(name, args, kwargs):
    with pytest.raises(Exception) as wanted:  # noqa: PT011
        getattr(theirs, name)(*args, **kwargs)
    with pytest.raises(type(wanted.value)) as got:
        getattr(ours, name)(*args, **kwargs)
    assert type(got.value) is type(wanted.value)
    assert str(got.value) == str(wanted.value)


@pytest.mark.parametrize("name", ["gaussian_filter", "uniform_filter", "sobel", "laplace"])
def test_empty_and_without_axes(name):
    args = (1.0,) if name == "gaussian_filter" else ()
    for shape in [(0,), (0, 5), (4, 0, 3)]:
        got, wanted = getattr(ours, name)(np.ones(shape), *args), np.ones(shape)
        assert got.shape == wanted.shape
    for value in (np.float64(3.0), np.array(5)):
        try:
            wanted = getattr(theirs, name)(value, *args)
        except Exception as error:
            with pytest.raises(type(error)):
                getattr(ours, name)(value, *args)
        else:
            np.testing.assert_array_equal(getattr(ours, name)(value, *args), wanted)


def test_four_axes_and_long_boxes_are_scipys():
    x = np.random.default_rng(0).standard_normal((4, 5, 6, 7))
    weights = np.random.default_rng(1).standard_normal((2, 3, 2, 3))
    np.testing.assert_array_equal(ours.correlate(x, weights), theirs.correlate(x, weights))
    line = x.ravel()
    np.testing.assert_array_equal(ours.uniform_filter(line, 99), theirs.uniform_filter(line, 99))


def verbose(code, value):
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120,
        env={**os.environ, "FASTCONV_VERBOSE": value},
    )  # fmt: skip
    return done.stdout.strip(), done.stderr.strip()


def test_what_scipy_computes_is_shown():
    code = (
        "import numpy as np; from fastconv import ndimage;"
        "ndimage.uniform_filter(np.ones((5, 500)), (1, 100)); ndimage.sobel(np.ones((5, 5)))"
    )
    (line,) = verbose(code, "1")[1].splitlines()
    fields = line.split(",")
    assert fields[:5] == ["fastconv", "ndimage.uniform_filter", "5x500", "", ""]
    assert fields[5:7] == ["a box of 100 cells", "scipy"]
    assert float(fields[7]) >= 0
    assert verbose(code, "0") == ("", "")


def test_scipy_is_loaded_only_when_needed():
    code = (
        "import sys, numpy as np; from fastconv import ndimage;"
        "ndimage.gaussian_filter(np.ones((20, 30)), 2); ndimage.correlate(np.ones(9), [1, 2]);"
        "print('scipy' in sys.modules)"
    )
    assert verbose(code, "")[0] == "False"
