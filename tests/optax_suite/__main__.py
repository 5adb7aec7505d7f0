"""Runs the suite, or a part of it, and prints a line for each file.

python -m tests.optax_suite -n 2                all
python -m tests.optax_suite contrib/_sam -x     the files whose path contains that; stop at the first failure
python -m tests.optax_suite --every 8           each eighth test
"""

from __future__ import annotations

import argparse
import collections
import importlib.util
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ET

from tests.children import ending
from tests.optax_suite import _scope

HERE = pathlib.Path(__file__).parent
WHEEL = pathlib.Path(importlib.util.find_spec("optax").origin).parent  # type: ignore[union-attr, arg-type]
KINDS = ["skipped", "passed", "exempt", "failed"]
OPTIONS = [
    f"--rootdir={WHEEL}",
    "-p",
    "tests.optax_suite._plugin",
    "-p",
    "children",
    "-c",
    "/dev/null",
    "--import-mode=importlib",
    "-p",
    "no:cacheprovider",
    "-q",
    "--no-header",
]
OPTIONS += ["-o", "python_files=*_test.py", "-o", "consider_namespace_packages=true", "--tb=short", "--disable-warnings"]


def files(patterns: list[str]) -> list[pathlib.Path]:
    """The test files in scope whose path in the wheel contains one of the patterns."""
    found = {p.relative_to(WHEEL).as_posix(): p for p in sorted(WHEEL.rglob("*_test.py"))}
    return [p for name, p in found.items() if _scope.in_scope(name) and (not patterns or any(x in name for x in patterns))]


def run(patterns: list[str], options: list[str], every: int = 1) -> dict[str, str]:
    """What became of each test: `passed`, `failed`, `exempt` or `skipped`."""
    with tempfile.TemporaryDirectory() as folder:
        report = pathlib.Path(folder) / "report.xml"
        command = [sys.executable, "-m", "pytest", *OPTIONS, f"--junitxml={report}", *options, *map(str, files(patterns))]
        path = os.pathsep.join([str(HERE.parent), os.environ.get("PYTHONPATH", "")])
        environment = {**os.environ, "EVERY": str(every), "PYTHONPATH": path}
        done = subprocess.run(command, cwd=HERE.parents[1], env=environment, check=False)
        found = outcomes(ET.parse(report).getroot()) if report.exists() else {}
    if not found:
        raise RuntimeError(f"pytest ran none of Optax's tests; it ended with {ending(done.returncode)}.")
    return found


def outcomes(report: ET.Element) -> dict[str, str]:
    """The worst of each test and its subtests. One that is exempt, but passes, has failed: it belongs into `_scope` no longer."""
    found: dict[str, str] = {}
    for case in report.iter("testcase"):
        module, _, cls = case.get("classname", "").rpartition(".")
        test, skipped = f"{module.replace('.', '/')}.py::{cls}::{case.get('name')}", case.find("skipped")
        kind = "failed" if case.find("failure") is not None or case.find("error") is not None else "passed"
        if skipped is not None and kind == "passed":
            kind = "exempt" if skipped.get("type") == "pytest.xfail" else "skipped"
        found[test] = max(kind, found.get(test, kind), key=KINDS.index)
    return {test: "failed" if kind == "passed" and _scope.pattern_for(test) else kind for test, kind in found.items()}


def by_file(found: dict[str, str]) -> dict[str, dict[str, int]]:
    counts = {}
    for test, kind in sorted(found.items()):
        counts.setdefault(test.partition("::")[0], collections.Counter(dict.fromkeys(KINDS, 0)))[kind] += 1
    return counts


def exempt(found: dict[str, str]) -> list[dict[str, object]]:
    """The patterns in `_scope.EXEMPT`, how many tests each covers, and why they do not pass."""
    covered = collections.Counter(_scope.pattern_for(test) for test, kind in found.items() if kind == "exempt")
    return [{"tests": pattern, "number": covered[pattern], "why": why} for pattern, why in _scope.EXEMPT.items()]


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.optax_suite", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("files", nargs="*", help="parts of file names; all if none")
    parser.add_argument("-k", default="", help="pytest's expression for names of tests")
    parser.add_argument("-n", default="0", help="processes")
    parser.add_argument("-x", action="store_true", help="stop at the first failure")
    parser.add_argument("--every", type=int, default=1, help="run each n-th test only")
    parser.add_argument("--durations", default="0", help="show so many of the slowest tests")
    parser.add_argument("--write", action="store_true", help="keep the counts in result.json, for the README")
    a = parser.parse_args()
    options = [
        "-n",
        a.n,
        *(["-k", a.k] if a.k else []),
        *(["-x"] if a.x else []),
        *([f"--durations={a.durations}"] if a.durations != "0" else []),
    ]
    found = run(a.files, options, a.every)
    counts = by_file(found)
    for name, count in [*counts.items(), ("all", sum(map(collections.Counter, counts.values()), collections.Counter()))]:
        print(f"{name:45}" + "".join(f"{count[kind]:>6} {kind}" for kind in reversed(KINDS) if count[kind]))
    if a.write:
        result = {"files": counts, "exempt": exempt(found)}
        (HERE / "result.json").write_text(json.dumps(result, indent=1) + "\n")
    return int("failed" in found.values())


if __name__ == "__main__":
    sys.exit(main())
