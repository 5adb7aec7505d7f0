"""Runs the suite, or some files of it, and prints a line for each file."""

from __future__ import annotations

import argparse
import collections
import pathlib
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ET

from tests.optax_suite import _scope

ROOT = pathlib.Path(__file__).parents[2]
OPTIONS = ["-p", "tests.optax_suite._plugin", "-c", "/dev/null", "--import-mode=importlib", "-p", "no:cacheprovider", "-q", "--no-header"]
OPTIONS += ["-o", "python_files=*_test.py", "-o", "consider_namespace_packages=true", "--tb=short", "--disable-warnings"]


def wheel() -> pathlib.Path:
    import importlib.util

    return pathlib.Path(importlib.util.find_spec("optax").origin).parent  # type: ignore[union-attr, arg-type]


def files(patterns: list[str]) -> list[pathlib.Path]:
    """The test files in scope whose path in the wheel contains one of the patterns."""
    found = sorted(p for p in wheel().rglob("*_test.py") if _scope.in_scope(p.relative_to(wheel()).as_posix()))
    return [p for p in found if not patterns or any(x in p.relative_to(wheel()).as_posix() for x in patterns)]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.optax_suite", description=__doc__)
    parser.add_argument("files", nargs="*", help="parts of file names, such as contrib/_sam; all if none")
    parser.add_argument("-k", default="", help="pytest's expression for names of tests")
    parser.add_argument("-n", default="0", help="processes, as pytest-xdist's -n")
    parser.add_argument("-x", action="store_true", help="stop at the first failure")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        report = pathlib.Path(folder) / "report.xml"
        more = ["-k", arguments.k] if arguments.k else []
        more += ["-x"] if arguments.x else []
        chosen = [str(p) for p in files(arguments.files)]
        command = [sys.executable, "-m", "pytest", *OPTIONS, "-n", arguments.n, f"--junitxml={report}", *more, *chosen]
        code = subprocess.run(command, cwd=ROOT, check=False).returncode
        print_table(report)
    return code


def print_table(report: pathlib.Path) -> None:
    counts: dict[str, collections.Counter] = collections.defaultdict(collections.Counter)
    for case in ET.parse(report).getroot().iter("testcase"):
        kinds = {child.tag for child in case}
        skipped = case.find("skipped")
        kind = "failed" if kinds & {"failure", "error"} else "passed"
        if skipped is not None:
            kind = "exempt" if skipped.get("type") == "pytest.xfail" else "skipped"
        counts[case.get("classname", "").rpartition("optax.")[2].rpartition(".")[0]][kind] += 1
    total = sum(counts.values(), collections.Counter())
    for name, count in [*sorted(counts.items()), ("all", total)]:
        print(f"{name:50}" + "".join(f"{count[kind]:>6} {kind}" for kind in ("passed", "failed", "exempt", "skipped") if count[kind]))


if __name__ == "__main__":
    sys.exit(main())
