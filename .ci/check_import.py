"""Check that `import fastconv` is cheap and quiet, in fresh interpreters that have NumPy loaded.

It must cost under 60 ms over `import numpy` (the best of several, since other programs run too),
start no thread, print nothing and load neither SciPy nor any extra.
"""

import json
import subprocess
import sys

LIMIT_SECONDS = 0.060
RUNS = 7
UNWANTED = ("scipy", "matplotlib", "rich", "skimage", "torch", "onnx", "onnxruntime", "dask")
PROBE = f"""
import json, os, sys, time
import numpy
def threads():
    return len(os.listdir("/proc/self/task")) if os.path.isdir("/proc/self/task") else 0
before = threads()
start = time.perf_counter()
import fastconv
seconds = time.perf_counter() - start
loaded = [name for name in {UNWANTED!r} if name in sys.modules]
print(json.dumps([seconds, threads() - before, loaded]))
"""


def main():
    problems, best = [], float("inf")
    for _ in range(RUNS):
        done = subprocess.run([sys.executable, "-c", PROBE], capture_output=True, text=True)
        lines = done.stdout.splitlines()
        if done.returncode or done.stderr or len(lines) != 1:
            sys.exit(f"import fastconv failed or printed something:\n{done.stdout}{done.stderr}")
        seconds, threads, loaded = json.loads(lines[0])
        best = min(best, seconds)
        if threads:
            problems.append(f"import fastconv started {threads} threads")
        if loaded:
            problems.append(f"import fastconv loaded {', '.join(loaded)}")
    limit = f"limit {LIMIT_SECONDS * 1e3:.0f} ms"
    print(f"import fastconv: {best * 1e3:.1f} ms over import numpy, {limit}")
    if best >= LIMIT_SECONDS:
        problems.append("import fastconv is too slow")
    for problem in dict.fromkeys(problems):
        print(problem, file=sys.stderr)
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()
