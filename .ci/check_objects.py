"""Check the objects of an in-place build with objdump and nm.

- Baseline, boundary and scalar objects hold no VEX or EVEX instruction, avx2 objects no EVEX one,
  and only amx objects tile instructions: otherwise a CPU without them dies on the fallback path.
- The wide folders do hold wide instructions, so that the check above sees what it should.
- No global is defined by two objects and none is weak: the linker could keep the copy compiled
  for the wrong CPU. Every global of ours starts with fc_.
- The module shows only fc_ symbols and PyInit__core.

Usage: check_objects.py PROJECT_FOLDER
"""

import re
import subprocess
import sys
from collections import Counter, defaultdict
from pathlib import Path

# What may lead an instruction: legacy, VEX (C4, C5) or EVEX (62). In 64-bit code these three
# bytes mean nothing else. Segment and address-size prefixes may come first.
SKIPPED_PREFIXES = {"2e", "36", "3e", "26", "64", "65", "67"}
VEX = {"c4", "c5"}
EVEX = {"62"}
TILE = re.compile(r"^(ldtilecfg|sttilecfg|tileload|tilestore|tilezero|tilerelease|tdp)")
ALLOWED = {
    "baseline": set(),
    "boundary": set(),
    "scalar": set(),
    "avx2": {"VEX"},
    "avx512": {"VEX", "EVEX"},
    "amx": {"VEX", "EVEX", "tile"},
}
MUST_HOLD = {"avx2": "VEX", "avx512": "EVEX", "amx": "tile"}


def lines_of(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()


def encodings(path):
    """Count of each wide encoding in an object, and one example of each."""
    counts, examples = Counter(), {}
    for line in lines_of("objdump", "-d", "-w", str(path)):
        parts = line.split("\t")
        if len(parts) < 3:
            continue
        code = [byte for byte in parts[1].split() if byte not in SKIPPED_PREFIXES]
        kind = None
        if TILE.match(parts[2]):
            kind = "tile"
        elif code and code[0] in VEX:
            kind = "VEX"
        elif code and code[0] in EVEX:
            kind = "EVEX"
        if kind:
            counts[kind] += 1
            examples.setdefault(kind, parts[2].strip())
    return counts, examples


def check_instructions(folders):
    problems = []
    for folder, objects in folders.items():
        total = Counter()
        for path in objects:
            counts, examples = encodings(path)
            total += counts
            problems += [
                f"{path}: {counts[kind]} {kind} instructions, such as {examples[kind]!r}"
                for kind in sorted(set(counts) - ALLOWED[folder])
            ]
        needed = MUST_HOLD.get(folder)
        if needed and not total[needed]:
            problems.append(f"{folder}: no {needed} instruction in {len(objects)} objects")
        found = ", ".join(f"{total[kind]} {kind}" for kind in sorted(total)) or "nothing wide"
        print(f"{folder}: {len(objects)} objects, {found}")
    return problems


def check_globals(folders):
    problems, owners = [], defaultdict(list)
    for folder, objects in folders.items():
        for path in objects:
            for line in lines_of("nm", "-g", "--defined-only", str(path)):
                _, kind, name = line.split()
                owners[name].append(path)
                if kind not in "TDRBtdrb":
                    problems.append(f"{path}: {name} is of kind {kind}, wanted one strong owner")
                if folder != "boundary" and not name.startswith("fc_"):
                    problems.append(f"{path}: global {name} does not start with fc_")
                per_isa = folder not in ("baseline", "boundary")
                if per_isa and not name.endswith(f"_{folder}"):
                    problems.append(f"{path}: global {name} does not end with _{folder}")
    for name, paths in owners.items():
        if len(paths) > 1:
            problems.append(f"{name} is defined by {', '.join(map(str, paths))}")
    print(f"{len(owners)} globals, each in one object")
    return problems


def check_module(module):
    shown = [line.split()[-1] for line in lines_of("nm", "-D", "--defined-only", str(module))]
    print(f"{module.name}: {len(shown)} visible symbols")
    if "PyInit__core" not in shown:
        return [f"{module}: PyInit__core is not visible"]
    foreign = [name for name in shown if name != "PyInit__core" and not name.startswith("fc_")]
    return [f"{module}: visible symbol {name}" for name in foreign]


def main(project):
    folders = defaultdict(list)
    for path in sorted(Path(project, "build").glob("temp*/**/*.o")):
        folder = path.relative_to(Path(project, "build")).parts[1].split("-")[0]
        if folder not in ALLOWED:
            sys.exit(f"{path}: no rule for the folder {folder!r}")
        folders[folder].append(path)
    modules = sorted(Path(project, "fastconv").glob("_core.*.so"))
    for needed in ("baseline", "boundary", "scalar"):
        if not folders[needed]:
            sys.exit(f"{project}: no {needed} objects; build in place first")
    if len(modules) != 1:
        sys.exit(f"{project}: wanted one built module, found {len(modules)}")
    problems = check_instructions(folders) + check_globals(folders) + check_module(modules[0])
    for problem in problems:
        print(problem, file=sys.stderr)
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main(*sys.argv[1:])
