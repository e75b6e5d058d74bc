"""Settings every test shares; see README.md for how to read a failure."""

import os
import tempfile

import pytest

from fastconv import _core

# What somebody tuned on this machine must not change what the tests see.
os.environ["FASTCONV_CACHE"] = os.path.join(tempfile.gettempdir(), "fastconv-tests-without-a-cache")
# Nor what was measured on it: choices, and with them bits, are those of the default rates.
os.environ["FASTCONV_CALIBRATE"] = "0"


def pytest_report_header():
    cpu = _core.cpu()
    return (
        f"fastconv {_core.version()}: {cpu['isa']} of {cpu['isa_found']} on {cpu['brand']}, "
        f"{_core.get_num_threads()} threads, FASTCONV_ISA={os.environ.get('FASTCONV_ISA', '')}"
    )


@pytest.fixture
def rng():
    import numpy as np

    return np.random.default_rng(20240229)
