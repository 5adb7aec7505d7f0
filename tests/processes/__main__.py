"""Four processes of two devices against one of eight, for all cases and optimizers: `python -m tests.processes` writes result.json."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path

from tests.processes.launch import DEVICES, ROOT

os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {DEVICES}=8"
sys.path.insert(0, str(ROOT / "benchmarks"))

import machine

from tests.processes import agree, cases

PROCESSES = 4


def main() -> int:
    found, wrong = {}, {}
    with tempfile.TemporaryDirectory() as folder:
        ranks = agree.ran(Path(folder), cases.EVERY, PROCESSES)
    for name in cases.EVERY:
        try:
            found[name] = float(f"{agree.check(name, ranks):.2g}")
        except AssertionError as e:
            wrong[name] = str(e)
            print(f"{name}: {e}", flush=True)
    result = {
        "date": machine.now(),
        "machine": machine.machine(),
        "versions": machine.versions(),
        "processes": PROCESSES,
        "largest_difference": found,  # of an array, relative to its largest number, from one process of eight devices
    }
    if not wrong:
        agree.RESULT.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
