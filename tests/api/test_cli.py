"""The command line: what it prints, its JSON, its exit codes, and what it does without extras."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import fastconv as fc
from fastconv.__main__ import main
from fastconv.cli import pictures, scipy_layers
from fastconv.cli.measure import Workload, measure
from fastconv.cli.table import Column, Section, milliseconds, print_table

LAYERS = {
    "stem 7x7, stride 2",
    "3x3",
    "1x1 (pointwise)",
    "depthwise 3x3",
    "grouped 3x3, 32 groups",
    "dilated 3x3, dilation 2",
    "transposed 4x4, stride 2",
    "deformable 3x3 (v2)",
    "causal 1D, dilation 8",
    "3D 3x3x3",
}
FILTERS = {"Gaussian blur", "unsharp mask", "Sobel edges", "Gabor bank"}


def waves() -> np.ndarray:
    """A small colour picture with structure: uint8 (70, 90, 3)."""
    rows, columns = np.mgrid[:70, :90]
    colours = [np.sin(rows / 5), np.cos(columns / 7), np.sin((rows + columns) / 3)]
    return (127.5 + 127.5 * np.stack(colours, axis=-1)).astype(np.uint8)


@pytest.fixture
def picture_path(tmp_path: Path) -> Path:
    path = tmp_path / "waves.npy"
    np.save(path, waves())
    return path


def run_command(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """``python -m fastconv`` with this interpreter and this fastconv."""
    root = str(Path(fc.__file__).parent.parent)
    path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    return subprocess.run(
        [sys.executable, "-m", "fastconv", *arguments],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "PYTHONPATH": path, **environment},
    )


def check_demo_json(report: dict, pictures_wanted: int = 1) -> None:
    """Every member there, of its kind, and agreeing with the others."""
    assert report["versions"]["fastconv"] == fc.__version__
    assert len(report["pictures"]) == pictures_wanted
    for picture in report["pictures"]:
        assert set(picture) == {"name", "source", "shape", "reduced_from"}
    rows = report["rows"]
    assert {row["name"] for row in rows if row["group"] == "layer"} == LAYERS
    for picture in report["pictures"]:
        of_it = [r for r in rows if r["group"] == "filter" and r["picture"] == picture["name"]]
        assert {row["name"] for row in of_it} == FILTERS
    assert len(rows) == len(LAYERS) + pictures_wanted * len(FILTERS)
    for row in rows:
        assert row["relative_difference"] <= report["tolerance"], row["name"]
        assert row["max_abs_difference"] >= 0
        assert row["milliseconds"] > 0
        assert row["gflops"] > 0
        assert row["speedup"] == pytest.approx(row["scipy_milliseconds"] / row["milliseconds"])
        assert row["algorithm"]
        assert row["kernel"]
        assert row["scipy_call"]
        assert len(row["input_shape"]) == len(row["weight_shape"])
        assert all(isinstance(size, int) for size in row["input_shape"] + row["output_shape"])
    mean = np.exp(np.mean([np.log(row["speedup"]) for row in rows]))
    assert report["geometric_mean_speedup"] == pytest.approx(mean)


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """One run on a gray and a colour picture: its JSON, its sheet and the colours it was given."""
    pytest.importorskip("matplotlib")
    folder = tmp_path_factory.mktemp("demo")
    gray, colour = folder / "gray.npz", folder / "waves.npy"
    noise = np.random.default_rng(0).random((64, 48))
    np.savez(gray, np.linspace(0, 0.9, 64 * 48).reshape(64, 48) + 0.1 * noise)
    np.save(colour, waves())
    sheet = folder / "sheet.png"
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(["demo", str(colour), str(gray), "--quick", "--json", "--out", str(sheet)])
    assert code == 0, err.getvalue()
    assert err.getvalue() == ""
    return json.loads(out.getvalue()), sheet


def test_demo_json(demo):
    report, sheet = demo
    check_demo_json(report, pictures_wanted=2)
    assert [p["shape"] for p in report["pictures"]] == [[3, 70, 90], [1, 64, 48]]
    assert report["contact_sheet"] == str(sheet)
    assert sheet.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")


def test_demo_sheet_shows_the_picture(demo):
    """The tile of the photograph holds its pixels, and no tile of its row is blank."""
    image = pytest.importorskip("matplotlib.image")
    from fastconv.cli import contact_sheet

    drawn = image.imread(demo[1])[..., :3]
    assert drawn.shape[1] == contact_sheet.WIDTH_INCHES * contact_sheet.DOTS_PER_INCH
    dots = contact_sheet.DOTS_PER_INCH
    frame = contact_sheet._Sheet(drawn.shape[0] / dots)
    top = int((contact_sheet.HEADER_INCHES + contact_sheet.TITLE_INCHES) * dots)
    side, height = int(frame.tile * dots), int(frame.tile * 70 / 90 * dots)
    for column in range(contact_sheet.COLUMNS):
        left = int(frame.left(column) * dots)
        tile = drawn[top + 2 : top + height - 2, left + 2 : left + side - 2]
        assert tile.std() > 0.02, f"tile {column} is blank"
    left = int(frame.left(0) * dots)
    middle = drawn[top + height // 2, left + side // 2]
    np.testing.assert_allclose(middle, waves()[35, 45] / 255, atol=0.1)


def test_default_pictures_come_from_scikit_image():
    pytest.importorskip("skimage")
    found = pictures.default_pictures(2, 256)
    assert [picture.source for picture in found] == [
        "scikit-image: astronaut.png",
        "scikit-image: chelsea.png",
    ]
    assert [picture.pixels.shape for picture in found] == [(3, 256, 256), (3, 150, 225)]
    assert found[0].reduced_from == (512, 512)


def test_demo_table_as_command(picture_path, tmp_path):
    done = run_command(
        "demo", str(picture_path), "--quick", "--threads", "1", "--out", str(tmp_path / "s.png")
    )
    assert done.returncode == 0, done.stderr
    for name in LAYERS | FILTERS:
        assert any(line.startswith(name) for line in done.stdout.splitlines()), name
    assert "1 thread:" in done.stdout
    assert "\x1b" not in done.stdout
    assert "\x1b" not in done.stderr
    assert "WRONG" not in done.stdout


def test_demo_without_matplotlib_rich_pillow_scikit_image(tmp_path):
    """Those are extras; the demo says which one the contact sheet misses and does the rest."""
    blocked = tmp_path / "blocked"
    for name in ("matplotlib", "rich", "PIL", "skimage"):
        (blocked / name).mkdir(parents=True)
        (blocked / name / "__init__.py").write_text(f"raise ImportError('no {name} here')\n")
    root = str(Path(fc.__file__).parent.parent)
    path = os.pathsep.join(filter(None, [str(blocked), root, os.environ.get("PYTHONPATH")]))
    sheet = tmp_path / "sheet.png"
    done = run_command("demo", "--quick", "--json", "--out", str(sheet), PYTHONPATH=path)
    assert done.returncode == 0, done.stderr
    assert "matplotlib" in done.stderr
    assert not sheet.exists()
    report = json.loads(done.stdout)
    check_demo_json(report)
    assert report["contact_sheet"] is None
    assert report["pictures"][0]["source"] == "fastconv: astronaut.npz"


def test_demo_marks_a_wrong_result(picture_path, tmp_path, monkeypatch, capsys):
    """A kernel that is off by a thousandth is named, in the table and on standard error."""
    honest = scipy_layers.pointwise
    monkeypatch.setattr(scipy_layers, "pointwise", lambda x, w: honest(x, w) * 1.001)
    sheet = str(tmp_path / "sheet.png")
    threads = fc.get_num_threads()
    assert main(["demo", str(picture_path), "--quick", "--out", sheet]) == 1
    assert fc.get_num_threads() == threads
    captured = capsys.readouterr()
    (line,) = [line for line in captured.out.splitlines() if "WRONG" in line]
    assert line.startswith("1x1 (pointwise)")
    assert "1x1 (pointwise)" in captured.err


def test_a_nan_is_a_difference():
    """Comparisons with NaN are false, so a limit written the wrong way round would let it by."""
    spoiled = np.array([[1, np.nan], [2, 3]], np.float32)
    workload = Workload(
        "layer", "spoiled", "none", (1, 1, 2, 2), (1, 1, 1, 1), {}, 8,
        lambda: spoiled, lambda: np.ones((2, 2), np.float32), "ones",
        lambda: [("gemm", "gemm.f32"), ("gemm", "gemm.f32"), ("direct", "direct.f32")],
    )  # fmt: skip
    measurement, result = measure(workload, budget=0.0)
    assert result is spoiled
    assert measurement.relative_difference == np.inf
    assert measurement.as_dict()["relative_difference"] is None
    assert measurement.algorithm == "gemm + direct"
    with pytest.raises(RuntimeError, match="shape"):
        measure(dataclasses.replace(workload, scipy=lambda: np.ones(3)), budget=0.0)


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("missing.png", None, "no such file"),
        ("text.png", b"not a picture", "text.png"),
        ("text.npy", b"not an array", "cannot be read as a NumPy file"),
    ],
)
def test_demo_bad_path(name, content, reason, tmp_path, capsys):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    assert main(["demo", str(path), "--json"]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert str(path) in captured.err
    assert reason in captured.err


@pytest.mark.parametrize(
    ("array", "reason"),
    [
        (np.zeros((20, 200), np.uint8), "at least 32"),
        (np.zeros((40, 40, 5), np.uint8), "1 to 4 channels"),
        (np.zeros(40, np.uint8), "rows, columns"),
        (np.full((40, 40), np.nan), "not finite"),
        (np.zeros((40, 40), np.complex64), "complex64"),
        (np.zeros((40, 0), np.uint8), "at least 32"),
    ],
)
def test_demo_bad_array(array, reason, tmp_path, capsys):
    path = tmp_path / "array.npy"
    np.save(path, array)
    assert main(["demo", str(path)]) == 2
    captured = capsys.readouterr()
    assert str(path) in captured.err
    assert reason in captured.err


def test_demo_directory_and_out_without_directory(tmp_path, picture_path, capsys):
    assert main(["demo", str(tmp_path)]) == 2
    assert "directory" in capsys.readouterr().err
    nowhere = tmp_path / "nowhere" / "sheet.png"
    assert main(["demo", str(picture_path), "--out", str(nowhere)]) == 2
    assert str(nowhere) in capsys.readouterr().err


def test_demo_bad_threads(picture_path, capsys):
    assert main(["demo", str(picture_path), "--threads", "0"]) == 2
    assert "--threads" in capsys.readouterr().err


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32, bool])
@pytest.mark.parametrize("channels", [None, 1, 2, 3, 4])
def test_pictures_of_every_type(dtype, channels, tmp_path):
    """White stays white, black black, and what is transparent turns white."""
    white = {np.uint8: 255, np.uint16: 65535}.get(dtype, 1)
    sizes = (40, 50) if channels is None else (40, 50, channels)
    array = np.full(sizes, white, dtype)
    array[:20] = 0
    if channels in (2, 4):
        array[:10, :, -1] = 0
        array[10:, :, -1] = white
    path = tmp_path / "picture.npy"
    np.save(path, array)
    read = pictures.read(str(path), 1024).pixels
    assert read.shape == (3 if channels in (3, 4) else 1, 40, 50)
    assert read.dtype == np.float32
    np.testing.assert_array_equal(read[:, 20:], 1)
    np.testing.assert_array_equal(read[:, 10:20], 0)
    np.testing.assert_array_equal(read[:, :10], 1 if channels in (2, 4) else 0)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16", "I", "F"])
def test_pictures_of_every_pillow_mode(mode, tmp_path):
    image = pytest.importorskip("PIL.Image")
    ramp = np.tile(np.linspace(0, 255, 64).astype(np.uint8), (40, 1))
    if mode in ("I;16", "I"):
        drawn = image.fromarray(ramp.astype(np.uint16) * 257)
        drawn = drawn if mode == "I;16" else drawn.convert("I")
    elif mode == "F":
        drawn = image.fromarray((ramp / 255).astype(np.float32))
    else:
        drawn = image.fromarray(ramp).convert("RGB").convert(mode)
    path = tmp_path / f"ramp.{'tif' if mode in ('CMYK', 'F', 'I') else 'png'}"
    drawn.save(path)
    read = pictures.read(str(path), 1024).pixels
    assert read[..., 0].max() < 0.05
    assert read[..., -1].min() > 0.95
    if mode not in ("1", "P"):
        np.testing.assert_allclose(read[0, 0], ramp[0] / 255, atol=0.03)


def test_large_picture_is_reduced(tmp_path):
    path = tmp_path / "large.npy"
    array = np.zeros((130, 301), np.uint8)
    array[:, 150:] = 200
    np.save(path, array)
    picture = pictures.read(str(path), 100)
    assert picture.pixels.shape == (1, 32, 75)
    assert picture.reduced_from == (130, 301)
    assert picture.pixels[0, 0, 0] == 0
    assert picture.pixels[0, 0, -1] == pytest.approx(200 / 255)


def test_shipped_picture_has_its_licence():
    data = Path(pictures.__file__).parent.parent / "data"
    assert "public domain" in (data / "LICENSE.txt").read_text()
    shipped = pictures.read(str(data / "astronaut.npz"), 1024)
    assert shipped.pixels.shape == (3, 240, 240)


def correlation(x, weight, stride, padding, dilation, groups):
    """Cross-correlation by definition, in float64."""
    x = np.pad(x.astype(np.float64), ((0, 0), *(padding,) * (x.ndim - 1)))
    kernel = weight.shape[2:]
    sizes = [
        (i - dilation * (k - 1) - 1) // stride + 1 for i, k in zip(x.shape[1:], kernel, strict=True)
    ]
    y = np.zeros((len(weight), *sizes))
    inputs, outputs = weight.shape[1], len(weight) // groups
    for o, c in np.ndindex(weight.shape[:2]):
        for tap in np.ndindex(*kernel):
            taken = tuple(
                slice(t * dilation, t * dilation + (n - 1) * stride + 1, stride)
                for t, n in zip(tap, sizes, strict=True)
            )
            y[o] += weight[(o, c, *tap)] * x[(o // outputs * inputs + c, *taken)]
    return y


@pytest.mark.parametrize("kernel", [(3,), (3, 3), (4, 4), (2, 3, 3)])
@pytest.mark.parametrize(("dilation", "groups"), [(1, 1), (2, 1), (1, 2), (3, 4)])
def test_scipy_convolution(kernel, dilation, groups):
    """The baselines are themselves right, so that agreeing with them means something."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((8, *(11,) * len(kernel))).astype(np.float32)
    weight = rng.standard_normal((12, 8 // groups, *kernel)).astype(np.float32)
    got = scipy_layers.convolution(x, weight, padding=(2, 1), dilation=dilation, groups=groups)
    wanted = correlation(x, weight, 1, (2, 1), dilation, groups)
    np.testing.assert_allclose(got, wanted, atol=1e-5 * np.abs(wanted).max())


def test_scipy_stride_and_transposed():
    rng = np.random.default_rng(1)
    x = rng.standard_normal((3, 13, 12)).astype(np.float32)
    weight = rng.standard_normal((5, 3, 7, 7)).astype(np.float32)
    wanted = correlation(x, weight, 2, (3, 3), 1, 1)
    got = scipy_layers.by_fft(x, weight, stride=2, padding=3)
    np.testing.assert_allclose(got, wanted, atol=1e-5 * np.abs(wanted).max())
    # Transposed is the adjoint: <conv(x), z> = <x, transposed(z)>.
    weight = rng.standard_normal((5, 3, 4, 4)).astype(np.float32)
    x = rng.standard_normal((3, 12, 14)).astype(np.float32)
    forward = correlation(x, weight, 2, (1, 1), 1, 1)
    z = rng.standard_normal(forward.shape)
    backward = scipy_layers.transposed(z.astype(np.float32), weight, stride=2, padding=1)
    assert backward.shape == x.shape
    assert np.vdot(forward, z) == pytest.approx(np.vdot(x, backward), rel=1e-4)


def test_scipy_deformable_with_whole_offsets():
    """Offsets of (1, -1) everywhere shift the picture; half offsets average neighbours."""
    rng = np.random.default_rng(2)
    x = rng.standard_normal((2, 9, 8)).astype(np.float32)
    weight = rng.standard_normal((3, 2, 3, 3)).astype(np.float32)
    mask = np.full((9, 9, 8), 0.5, np.float32)
    offset = np.empty((18, 9, 8), np.float32)
    offset[0::2], offset[1::2] = 1, -1
    got = scipy_layers.deformable(x, offset, weight, mask, padding=1)
    padded = np.pad(x, ((0, 0), (2, 2), (2, 2)))[:, 2:, :-2]
    wanted = 0.5 * correlation(padded, weight, 1, (0, 0), 1, 1)[:, :9, :8]
    np.testing.assert_allclose(got, wanted, atol=1e-5)
    offset[0::2], offset[1::2] = 0.5, 0
    got = scipy_layers.deformable(x, offset, weight, mask, padding=1)
    padded = np.pad(x, ((0, 0), (1, 2), (1, 1)))
    wanted = 0.25 * (
        correlation(padded[:, :-1], weight, 1, (0, 0), 1, 1)
        + correlation(padded[:, 1:], weight, 1, (0, 0), 1, 1)
    )
    np.testing.assert_allclose(got, wanted, atol=1e-5)


def test_info(capsys):
    assert main(["info", "--json"]) == 0
    captured = capsys.readouterr()
    facts = json.loads(captured.out)
    assert set(facts) == {"config", "runtime"}
    assert main(["info"]) == 0
    assert fc.__version__ in capsys.readouterr().out


def test_explain(capsys):
    shapes = ["1x64x56x56", "64,64,3,3"]
    assert main(["explain", *shapes, "--padding", "1", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    weight = np.zeros((64, 64, 3, 3), np.float32)
    plan = fc.Conv(weight, padding=1).plan((1, 64, 56, 56))
    assert facts["kernel"].startswith(facts["algorithm"] + ".")
    assert facts["flops"] == plan.flops
    assert facts["estimated_seconds"] > 0
    assert facts["algorithm"] in {c["algorithm"] for c in facts["candidates"]}
    assert facts["algorithm"] not in facts["rejected"]
    assert main(["explain", *shapes, "--padding", "1"]) == 0
    assert facts["kernel"] in capsys.readouterr().out


@pytest.mark.parametrize(
    "options",
    [
        ["--stride", "2,1", "--dilation", "1", "--padding", "1,0"],
        ["--padding", "same", "--groups", "4"],
        ["--transposed", "--stride", "2", "--output-padding", "1"],
        ["--layout", "NCHW", "--precision", "high"],
        ["--algorithm", "reference"],
    ],
)
def test_explain_options(options, capsys):
    weight = "8x2x3x3" if "--groups" in options else "8x8x3x3"
    assert main(["explain", "2x8x16x16", weight, *options, "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    if "--algorithm" in options:
        assert facts["algorithm"] == "reference"


@pytest.mark.parametrize(
    "arguments",
    [
        ["explain", "1x3x8x8", "4x5x3x3"],
        ["explain", "1x3x8x8", "4x3x3x3", "--layout", "sideways"],
        ["explain", "1x3x8x8", "4x3x3x3", "--algorithm", "nonsense"],
        ["explain", "1x3x1x1", "4x3x3x3"],
    ],
)
def test_explain_refuses(arguments, capsys):
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("fastconv explain: error: ")


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["paint"],
        ["explain", "1x3x8x8"],
        ["explain", "1x3xx8", "4x3x3x3"],
        ["explain", "1x3x8x8", "4x3x3x3", "--padding", "sane"],
        ["explain", "1x3x8x8", "4x3x3x3", "--stride", "-1"],
    ],
)
def test_arguments_that_do_not_parse(arguments, capsys):
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    assert "usage: fastconv" in capsys.readouterr().err


def test_version(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["--version"])
    assert stop.value.code == 0
    assert capsys.readouterr().out == f"fastconv {fc.__version__}\n"


class Terminal:
    """A stream that says it is a terminal."""

    encoding = "utf-8"

    def __init__(self) -> None:
        self.text = ""

    def write(self, text: str) -> int:
        self.text += text
        return len(text)

    def flush(self) -> None:
        pass

    def isatty(self) -> bool:
        return True


TABLE = ((Column("name"), Column("ms", right=True)), [Section("[red]head", [["a[b]", "1.5"]])])


def test_table_on_a_terminal(monkeypatch):
    pytest.importorskip("rich")
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "80")
    terminal = Terminal()
    print_table(*TABLE, file=terminal)
    assert "\x1b[1;36m" in terminal.text
    assert "[red]head" in terminal.text
    assert "a[b]" in terminal.text

    monkeypatch.setenv("NO_COLOR", "1")
    colourless = Terminal()
    print_table(*TABLE, file=colourless)
    assert "36m" not in colourless.text
    assert "a[b]" in colourless.text

    monkeypatch.setenv("COLUMNS", "8")
    narrow = Terminal()
    print_table(*TABLE, file=narrow)
    assert narrow.text.splitlines()[-1] == "a[b]  1.5"


def test_table_elsewhere(capsys):
    print_table(*TABLE)
    assert capsys.readouterr().out.splitlines() == [
        "name   ms",
        "----  ---",
        "[red]head",
        "a[b]  1.5",
    ]


def test_milliseconds():
    values = (0.0123, 1.234, 12.34, 1234.5)
    assert [milliseconds(value) for value in values] == ["0.012", "1.23", "12.3", "1234"]
