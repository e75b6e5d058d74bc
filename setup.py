"""The build: the table of instruction sets, and one extension module linked from many objects.

Every source in fastconv/csrc/kernels/<algorithm>/ is compiled once per instruction set and dtype
with -DFC_ISA and -DFC_DTYPE; everything else in fastconv/csrc is compiled once with the baseline
flags and -DFC_HAVE_<ISA>=1 for each set that was built. setuptools has one list of flags per
extension, so BuildExt compiles these objects itself and hands them to the link as extra objects.

Environment switches:
  FASTCONV_BUILD_ISAS=scalar,avx2       build only these instruction sets
  FASTCONV_DEBUG=1                      -Og -g, assertions on
  FASTCONV_SANITIZE=address,undefined   build our C under these sanitizers, assertions on
  FASTCONV_WERROR=1                     -Wall -Wextra -Werror for our C (not for Cython's output)
  FASTCONV_EMULATE_AMX=1                for tests: amx kernels on AVX-512, tiles emulated
  FASTCONV_OBJECTS=/some/folder         keep our C's objects there, for all builds that want them
"""

import copy
import hashlib
import logging
import os
import re
import shlex
import subprocess
import sys
import sysconfig
import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from glob import glob
from pathlib import Path
from typing import NamedTuple

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

DTYPES = ("f32", "f64", "f16", "bf16")
WIDE_DTYPES = ("f32", "f64")
# Algorithms that kernels.inc lists for these alone.
WIDE_KERNELS = re.findall(
    r"^FC_WIDE_KERNEL\((\w+)", Path("fastconv/csrc/kernels.inc").read_text(), re.MULTILINE
)
INCLUDE_DIRS = ["include", "fastconv/csrc"]

AVX2_FLAGS = ("-mavx2", "-mfma", "-mf16c")
AVX512_FLAGS = (
    "-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", *AVX2_FLAGS,
    "-mprefer-vector-width=512",
)  # fmt: skip
AMX_FLAGS = (*AVX512_FLAGS, "-mavx512bf16", "-mamx-tile", "-mamx-bf16", "-mamx-int8")
AMX_PROBE = (
    "__m512 a = _mm512_loadu_ps(p); a = (__m512)_mm512_cvtne2ps_pbh(a, a);"
    "_mm512_storeu_ps(p, a); _tile_loadd(0, p, 64); _tile_loadd(1, p, 64);"
    "_tile_zero(2); _tile_dpbf16ps(2, 0, 1); _tile_dpbssd(2, 0, 1);"
    "_tile_stored(2, p, 64); _tile_release();"
)


def switch(name):
    return os.environ.get(name, "").strip().lower() not in ("", "0", "false", "no", "off")


EMULATE_AMX = switch("FASTCONV_EMULATE_AMX")
if EMULATE_AMX:
    AMX_FLAGS = (*AVX512_FLAGS, "-DFC_EMULATE_TILES=1")
    AMX_PROBE = "_mm512_storeu_ps(p, _mm512_setzero_ps());"


class Isa(NamedTuple):
    """One instruction set: its compiler flags and C statements using each of its features."""

    name: str
    flags: tuple[str, ...]
    probe: str
    own_folder: str | None = None  # kernels of this folder only; None: every shared kernel
    dtypes: tuple[str, ...] = DTYPES

    def sources(self):
        """Kernel sources compiled for this instruction set."""
        owned = {isa.own_folder for isa in ISAS if isa.own_folder}
        every = sorted(glob("fastconv/csrc/kernels/*/*.c"))
        folders = {source: Path(source).parent.name for source in every}
        if self.own_folder:
            return [s for s in every if folders[s] == self.own_folder]
        return [s for s in every if folders[s] not in owned]


ISAS = (
    Isa("scalar", (), "(void)p;"),
    Isa(
        "avx2",
        AVX2_FLAGS,
        "__m256 a = _mm256_loadu_ps(p); a = _mm256_fmadd_ps(a, a, a);"
        "__m128i h = _mm256_cvtps_ph(a, 0); h = _mm256_castsi256_si128("
        "_mm256_add_epi32(_mm256_castps_si256(a), _mm256_castsi128_si256(h)));"
        "_mm256_storeu_ps(p, _mm256_cvtph_ps(h));",
    ),
    Isa(
        "avx512",
        AVX512_FLAGS,
        "__m512 a = _mm512_loadu_ps(p); a = _mm512_fmadd_ps(a, a, a);"
        "a = _mm512_and_ps(a, a);"
        "__m512i b = _mm512_add_epi16(_mm512_castps_si512(a), _mm512_castps_si512(a));"
        "_mm256_mask_storeu_ps(p, 1, _mm512_castps512_ps256(_mm512_castsi512_ps(b)));",
    ),
    Isa(
        "amx",
        AMX_FLAGS,
        AMX_PROBE,
        own_folder="amx",
        dtypes=("f32",),
    ),
)


def size_flags(isa, dtype, source, isas):
    """Flags of kernels compiled for size more than for speed."""
    if DEBUG or SANITIZE:
        return ()
    if isa.name == "scalar" and len(isas) > 1:
        # For CPUs of another age: a third smaller and a tenth slower than with -O2.
        return ("-Os",)
    # A seventh smaller. It cost float32's Winograd a tenth of its speed, others less; the narrow
    # dtypes wait for their conversions more than for that, and Winograd in float64 is seldom met.
    small = dtype not in WIDE_DTYPES or (dtype == "f64" and "winograd" in source)
    return ("-O2",) if small else ()


def words(name):
    return [word.strip() for word in os.environ.get(name, "").split(",") if word.strip()]


DEBUG = switch("FASTCONV_DEBUG")
SANITIZE = words("FASTCONV_SANITIZE")
WERROR = switch("FASTCONV_WERROR")


def common_flags():
    """Flags of every object, ours and Cython's."""
    flags = ["-std=c11", "-fPIC", "-fvisibility=hidden", "-fno-lto"]
    if DEBUG:
        flags += ["-Og", "-g"]
    elif SANITIZE:
        flags += ["-O1", "-g1"]
    else:
        # Lines are enough for perf, and unwinding through C for debuggers alone: what only they
        # read can be stripped from a wheel, whose objects are otherwise those of any build.
        flags += ["-O3", "-g1", "-fno-asynchronous-unwind-tables"]
    return flags


def c_flags():
    """Further flags of our own C. A fused multiply-add happens only where one is written."""
    flags = ["-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math"]
    flags += ["-UNDEBUG"] if DEBUG or SANITIZE else ["-DNDEBUG"]
    if SANITIZE:
        flags += [f"-fsanitize={','.join(SANITIZE)}", "-fno-sanitize-recover=all"]
        if "address" in SANITIZE and "undefined" in SANITIZE:
            # Nothing new beside the shadow memory, and a third of the time to compile.
            flags += ["-fno-sanitize=null,object-size"]
        flags += ["-fno-omit-frame-pointer"]
    if WERROR:
        flags += ["-Wall", "-Wextra", "-Werror"]
    return flags


def headers():
    found = []
    for pattern in ("include/**/*.h", "fastconv/csrc/**/*.h", "fastconv/csrc/**/*.inc"):
        found += glob(pattern, recursive=True)
    return sorted(found)


def baseline_sources():
    return sorted(glob("fastconv/csrc/*.c") + glob("fastconv/csrc/reference/*.c"))


class Job(NamedTuple):
    """One object to compile."""

    source: str
    folder: str
    flags: list[str]
    macros: list[tuple[str, str]]
    label: str


@contextmanager
def quiet_commands(active):
    """Hide the hundreds of command lines distutils logs, unless asked for with -v."""
    root = logging.getLogger()
    level = root.level
    if active:
        root.setLevel(logging.WARNING)
    try:
        yield
    finally:
        root.setLevel(level)


class BuildExt(build_ext):
    """build_ext that compiles each C source with the flags of its instruction set."""

    def run(self):
        # setuptools clears `inplace` while it builds. A wheel is stripped; where a developer
        # looks with perf or gdb, symbols stay.
        self.keep_symbols = bool(self.inplace or self.editable_mode or DEBUG or SANITIZE)
        super().run()

    def build_extension(self, ext):
        if self.compiler.compiler_type != "unix":
            raise SystemExit(
                "fastconv: building needs gcc or clang, "
                f"but setuptools chose the compiler type {self.compiler.compiler_type!r}"
            )
        self.objects = os.path.abspath(os.environ.get("FASTCONV_OBJECTS") or self.build_temp)
        self.c_compiler = self.plain_compiler()
        self.require_compiler()
        isas = [isa for isa in self.chosen_isas() if self.can_build(isa)]
        openmp_compile, openmp_link = self.openmp_flags()
        jobs = self.kernel_jobs(isas) + self.baseline_jobs(isas, openmp_compile)
        objects = self.compile_all([*jobs, self.cython_job(ext)])
        if self.keep_symbols:
            # The C interface without Python: what a C program links (include/fastconv.h).
            self.compiler.create_static_lib(objects[: len(jobs)], "fastconv", output_dir="build")

        ext.sources = []
        ext.extra_objects = objects
        ext.depends = [*ext.depends, *ext.extra_objects]
        ext.extra_link_args = [*openmp_link, *self.link_flags()]
        super().build_extension(ext)

    def link_flags(self):
        flags = []
        if SANITIZE:
            flags.append(f"-fsanitize={','.join(SANITIZE)}")
        if not self.keep_symbols:
            flags.append("-Wl,-x" if sys.platform == "darwin" else "-Wl,--strip-all")
        return flags

    def plain_compiler(self):
        """The compiler without the flags Python itself was built with.

        Those differ between Pythons (-fwrapv, -O2, hardening); our C gets the same ones under
        all of them, after whatever the user's CFLAGS and CPPFLAGS say.
        """
        plain = copy.copy(self.compiler)
        if sys.platform != "darwin":  # there they choose the architecture and the SDK
            command = os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc"
            given = [command, os.environ.get("CPPFLAGS", ""), os.environ.get("CFLAGS", "")]
            plain.set_executable("compiler_so", shlex.split(" ".join(given)))
        return plain

    # Probes

    def try_compile(self, code, flags, link_flags=None):
        """First line of the compiler's complaint about `code`, or None if it is accepted."""
        with tempfile.TemporaryDirectory(prefix="fastconv-probe-") as folder:
            source, output = Path(folder, "probe.c"), Path(folder, "probe.o")
            source.write_text(code)
            command = [*self.c_compiler.compiler_so, *flags, "-c", source, "-o", output]
            complaint = run_quietly(command)
            if complaint is None and link_flags is not None:
                library = Path(folder, "probe.so")
                command = [*self.compiler.linker_so, output, "-o", library, *link_flags]
                complaint = run_quietly(command)
            return complaint

    def require_compiler(self):
        complaint = self.try_compile("int fc_probe(void) { return 0; }\n", ["-std=c11"])
        if complaint is not None:
            name = self.c_compiler.compiler_so[0]
            raise SystemExit(
                f"fastconv: no working C compiler ({name}: {complaint}).\n"
                "fastconv: install gcc or clang (Debian, Ubuntu: apt-get install gcc; "
                "Fedora: dnf install gcc; macOS: xcode-select --install) "
                "or name one in the environment variable CC."
            )

    def chosen_isas(self):
        wanted = words("FASTCONV_BUILD_ISAS")
        known = [isa.name for isa in ISAS]
        unknown = sorted(set(wanted) - set(known))
        if unknown:
            raise SystemExit(
                f"fastconv: FASTCONV_BUILD_ISAS names {', '.join(unknown)}; "
                f"known are {', '.join(known)}"
            )
        return [isa for isa in ISAS if isa.sources() and (not wanted or isa.name in wanted)]

    def can_build(self, isa):
        includes = "#include <immintrin.h>\n" if isa.flags else ""
        code = f"{includes}void fc_probe(float *p);\nvoid fc_probe(float *p) {{ {isa.probe} }}\n"
        complaint = self.try_compile(code, isa.flags)
        if complaint is not None:
            print(f"fastconv: leaving out the {isa.name} kernels: {complaint}", flush=True)
        return complaint is None

    def openmp_flags(self):
        """Compile and link flags of OpenMP, both empty when the compiler has none."""
        code = (
            "#include <omp.h>\nint fc_probe(void);\n"
            "int fc_probe(void) { return omp_get_max_threads(); }\n"
        )
        if sys.platform == "darwin":
            compile_flags, link_flags = ["-Xpreprocessor", "-fopenmp"], ["-lomp"]
        else:
            compile_flags, link_flags = ["-fopenmp"], ["-fopenmp"]
        complaint = self.try_compile(code, compile_flags, link_flags)
        if complaint is None:
            return compile_flags, link_flags
        print(f"fastconv: leaving out OpenMP and deaf to its settings: {complaint}", flush=True)
        return [], []

    # Objects

    def kernel_jobs(self, isas):
        return [
            Job(
                source=source,
                folder=os.path.join(self.objects, isa.name, dtype),
                flags=[
                    *common_flags(),
                    *c_flags(),
                    *isa.flags,
                    *size_flags(isa, dtype, source, isas),
                ],
                macros=[("FC_ISA", isa.name), ("FC_DTYPE", dtype)],
                label=f"{isa.name} {dtype}",
            )
            for isa in isas
            for source in isa.sources()
            for dtype in isa.dtypes
            if dtype in WIDE_DTYPES or Path(source).stem not in WIDE_KERNELS
        ]

    def baseline_jobs(self, isas, openmp_flags):
        macros = [(f"FC_HAVE_{isa.name.upper()}", "1") for isa in isas]
        macros.append(("FC_OPENMP", "1" if openmp_flags else "0"))
        macros.append(("FC_EMULATE_AMX", "1" if EMULATE_AMX else "0"))
        macros.append(("FC_VERSION", self.distribution.get_version()))
        return [
            Job(
                source=source,
                folder=os.path.join(self.objects, "baseline"),
                flags=[
                    *common_flags(),
                    *c_flags(),
                    *(openmp_flags if Path(source).name == "threads.c" else []),
                ],
                macros=macros,
                label="baseline",
            )
            for source in baseline_sources()
        ]

    def cython_job(self, ext):
        try:
            from Cython.Build import cythonize
        except ImportError:
            raise SystemExit("fastconv: building needs Cython 3.1 or newer") from None
        (translated,) = cythonize(
            [Extension(ext.name, list(ext.sources), include_dirs=INCLUDE_DIRS)],
            build_dir=os.path.join(self.build_temp, "cython"),
            compiler_directives={"language_level": 3, "embedsignature": True},
            force=bool(self.force),
            quiet=True,
        )
        return Job(
            source=translated.sources[0],
            folder=os.path.join(self.build_temp, f"boundary-{sys.implementation.cache_tag}"),
            flags=common_flags(),
            macros=[],
            label="boundary",
        )

    def compile_all(self, jobs):
        """Compile the jobs that are not up to date, in parallel; return every object's path."""
        workers = self.parallel if isinstance(self.parallel, int) else os.cpu_count() or 1
        verbose = logging.getLogger().isEnabledFor(logging.DEBUG)
        with quiet_commands(not verbose), ThreadPoolExecutor(workers) as pool:
            pending = [pool.submit(self.compile_one, job) for job in jobs]
            try:
                return [future.result() for future in pending]
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise

    def compile_one(self, job):
        """Compile unless the object was made by this command from files with these contents."""
        compiler = self.compiler if job.label == "boundary" else self.c_compiler
        (target,) = compiler.object_filenames([job.source], output_dir=job.folder)
        stamp, rule = Path(target + ".stamp"), Path(target + ".d")
        command = repr((compiler.compiler_so, job.flags, job.macros))
        known = not self.force and os.path.exists(target) and stamp.exists()
        if known and stamp.read_text() == fingerprint(command, rule):
            return target
        # distutils caches which folders it made, without a lock.
        os.makedirs(os.path.dirname(target), exist_ok=True)
        sys.stdout.write(f"fastconv: {job.label}: {job.source}\n")  # one write: threads share it
        stamp.unlink(missing_ok=True)
        compiler.compile(
            [job.source],
            output_dir=job.folder,
            macros=job.macros,
            include_dirs=INCLUDE_DIRS,
            extra_postargs=[*job.flags, "-MMD", "-MF", str(rule)],
        )
        stamp.write_text(fingerprint(command, rule))
        return target


@cache
def contents(path):
    """Hash of a file; None if there is none."""
    return hashlib.sha256(Path(path).read_bytes()).hexdigest() if os.path.exists(path) else None


def fingerprint(command, rule):
    """Hash of a command and of the files its object is made from, as the compiler's make rule
    lists them: of contents, so that a copied folder of objects serves another checkout."""
    files = rule.read_text().replace("\\\n", " ").split(": ", 1)[1].split() if rule.exists() else []
    made_from = [(path, contents(path)) for path in files]
    return hashlib.sha256(repr((command, made_from)).encode()).hexdigest()


def run_quietly(command):
    """Run a compiler command; None if it worked, else the first line of what is wrong."""
    try:
        done = subprocess.run(
            [str(part) for part in command],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=False,
        )
    except OSError as error:
        return error.strerror or str(error)
    if done.returncode == 0:
        return None
    lines = [line.strip() for line in done.stdout.splitlines() if line.strip()]
    errors = [line for line in lines if "error" in line.lower()]
    complaint = (errors or lines or [f"exit status {done.returncode}"])[0]
    return complaint[max(complaint.find("error:"), 0) :]  # without the probe's temporary path


setup(
    ext_modules=[
        Extension(
            "fastconv._core",
            ["fastconv/_core.pyx"],
            include_dirs=INCLUDE_DIRS,
            depends=[
                *headers(),
                *baseline_sources(),
                *sorted(glob("fastconv/csrc/kernels/*/*.c")),
                *sorted(glob("fastconv/*.px[di]")),
            ],
        )
    ],
    cmdclass={"build_ext": BuildExt},
)
