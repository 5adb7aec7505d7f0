"""The command: programs one after another, until so many updates are made."""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import json
import os
import pathlib
import platform
import sys
import time
import warnings
from typing import Any

ARGUMENTS = (
    ("--steps", {"type": int, "default": 100_000, "help": "updates in all"}),
    ("--seed", {"type": int, "help": "examine the programs of this seed only, and make one that fails smaller"}),
    ("--first", {"type": int, "default": 0, "help": "the seed to begin with"}),
    ("--chunk", {"type": int, "default": 200, "help": "updates of a scan"}),
    ("--out", {"type": pathlib.Path, "help": "where to write the result, as JSON"}),
)
EVERY = 10
"""Seeds after which compiled programs are forgotten."""
MARATHON = 50
"""Seeds after which one program runs on for LONG updates."""


def configure() -> None:
    """As the suite runs: compiled quickly, and with no silent promotion. Before JAX starts."""
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    sys.path.insert(0, str(pathlib.Path(__file__).parent.parent))
    import xla_flags

    xla_flags.set_flags()
    import jax

    jax.config.update("jax_numpy_rank_promotion", "raise")
    jax.config.update("jax_numpy_dtype_promotion", "strict")
    warnings.simplefilter("ignore")


def one_seed(args: argparse.Namespace) -> int:
    from tests.soak import generator, laws, model

    account = model.Account()
    generator.examine(args.seed, lambda program: laws.examine(program, account, args.chunk), shrink=True)
    print(f"seed {args.seed}: {account.programs} programs, {account.steps} updates, nothing found.")
    return 0


def soak(args: argparse.Namespace) -> dict[str, Any]:
    """Programs of one seed after another; the result as data."""
    import rich.progress

    from tests.soak import generator, laws, model

    account, failures, start, seed, began, seen = model.Account(), [], None, args.first, time.monotonic(), {generator.simplest()}
    with rich.progress.Progress(*rich.progress.Progress.get_default_columns(), "{task.fields[told]}") as bar:
        task = bar.add_task("updates", total=args.steps, told="")
        while account.steps < args.steps:
            programs: list[generator.Program] = []
            generator.examine(seed, programs.append)
            for program in programs:
                if program in seen:
                    continue
                seen.add(program)
                try:
                    laws.examine(program, account, args.chunk)
                except Exception as e:
                    failures.append({"seed": seed, "program": repr(program), "error": f"{type(e).__name__}: {e}"[:2000]})
                    bar.console.print(f"seed {seed}: {type(e).__name__}: {e!s:.300}\n  {program}", markup=False, highlight=False)
            if seed % MARATHON == 0:
                try:
                    account.marathons.append(laws.marathon(programs[-1], args.chunk))
                except Exception as e:
                    failures.append(
                        {"seed": seed, "program": f"on and on: {programs[-1]!r}", "error": f"{type(e).__name__}: {e}"[:2000]}
                    )
            seed += 1
            told = f"{account.programs} programs, {len(failures)} failures, seed {seed}"
            if start is None or seed % EVERY == 0:
                model.forget()
                start = start or model.standing()
                if not bar.console.is_terminal:
                    print(f"{account.steps} updates, {told}", flush=True)
            bar.update(task, completed=account.steps, told=told)
    model.forget()
    counts = {**dataclasses.asdict(account), "laws": dict(account.laws), "refused": dict(account.refused)}
    seconds = round(time.monotonic() - began)
    return {
        **counts,
        "seeds": [args.first, seed - 1],
        "standing": [start, model.standing()],
        "failures": failures,
        "seconds": seconds,
    }


def where() -> dict[str, Any]:
    """Versions, the machine and the date."""
    import importlib.metadata

    names = ("jax", "jaxlib", "numpy", "optax", "hypothesis")
    versions = {name: importlib.metadata.version(name) for name in names}
    machine = {"system": platform.system(), "processor": platform.machine(), "cores": os.cpu_count()}
    date = datetime.datetime.now(datetime.UTC).date().isoformat()
    return {"date": date, "python": platform.python_version(), "versions": versions, "machine": machine}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description="Randomly composed programs.")
    for name, options in ARGUMENTS:
        parser.add_argument(name, **options)
    args = parser.parse_args()
    configure()
    if args.seed is not None:
        return one_seed(args)
    result = where() | soak(args)
    text = json.dumps(result, indent=2) + "\n"
    if args.out:
        args.out.write_text(text, encoding="utf-8")
    print(text)
    return int(bool(result["failures"]))
