"""Optax and gradxform in turn in one process: tracing, lowering, compiling, updating, stepping, importing.

    python benchmarks/compare.py                     everything, ten to twelve minutes; writes results/cpu.json (or gpu.json)
    python benchmarks/compare.py --quick             small shapes and few samples: does it run? writes nothing
    python benchmarks/compare.py --only step torch   some measures; writes nothing unless --out is given

Let the machine be quiet. `cases.py` says what is measured, `measure.py` and `processes.py` how; `table.py` prints the results.
"""

import argparse
import importlib
import importlib.util
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cases
import hlo
import jax
import jax.numpy as jnp
import machine
import processes
import table
from cases import Tree
from measure import Contender, Sampler, clock, interleave, rounded, summary
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

sys.path.insert(0, str(processes.ROOT))  # gradxform need not be installed
RESULTS = processes.ROOT / "benchmarks" / "results"
MEASURES = ("import", "first_trace", "first_update", "trace", "lower", "compile", "update", "step", "counts", "roofline", "torch")
IN_PROCESS = ("trace", "lower", "compile", "update", "step")
REPEATS = dict.fromkeys(MEASURES, 7) | {"first_trace": 3, "first_update": 5, "compile": 2, "step": 9, "roofline": 9, "torch": 9}
BYTES_PER_PARAM = 28  # adamw on float32: reads gradient, parameter and two moments, writes all but the gradient

Job = tuple[str, Callable[[], object]]


@dataclass(frozen=True)
class Run:
    """One run: what was asked for, the two libraries, and the results so far."""

    args: argparse.Namespace
    libraries: dict[str, str]  # the name in the results -> the module
    trees: dict[str, Tree]
    results: dict

    def interleave(self, measure: str, samplers: dict[str, Sampler], warm: bool = True) -> dict[str, list[float]]:
        settings = self.results["settings"]
        return interleave(samplers, settings["repeats"][measure], settings["seconds_per_sample"], warm)

    def contenders(self, optimizer: cases.Optimizer, tree: Tree) -> dict[str, Contender]:
        return {name: Contender(importlib.import_module(lib), optimizer, tree) for name, lib in self.libraries.items()}

    def import_time(self) -> None:
        samplers = {name: processes.import_sampler(lib) for name, lib in self.libraries.items()}
        for sampler in samplers.values():
            sampler(1)  # writes the byte code
        self.results["import"] = summary(self.interleave("import", samplers, warm=False))

    def first(self, measure: str, key: str) -> None:
        kind = measure.removeprefix("first_")
        samplers = {name: processes.first_sampler(lib, kind, key, self.args.quick) for name, lib in self.libraries.items()}
        self.record(measure, key, self.interleave(measure, samplers, warm=False))

    def timing(self, measure: str, key: str, contenders: dict[str, Contender]) -> None:
        samplers = {name: getattr(contender, measure) for name, contender in contenders.items()}
        self.record(measure, key, self.interleave(measure, samplers, warm=measure != "compile"))

    def record(self, measure: str, key: str, samples: dict[str, list[float]]) -> None:
        self.results["timings"].setdefault(measure, {})[key] = summary(samples)

    def count(self, optimizer: str) -> None:
        """HLO instructions and state bytes of one optimizer."""
        contenders = self.contenders(cases.OPTIMIZERS[optimizer], cases.counting_tree())
        self.results.setdefault("counts", {})[optimizer] = {
            name: {**hlo.counts(c.compiled()), "state_bytes": c.state_bytes()} for name, c in contenders.items()
        }

    def count_at(self, key: str, contenders: dict[str, Contender]) -> None:
        """HLO instructions of the headline optimizer at the shapes of the timings."""
        counts = {name: hlo.counts(contender.compiled()) for name, contender in contenders.items()}
        self.results.setdefault("headline_counts", {})[key] = counts

    def roofline(self, key: str = "large") -> None:
        """adamw alone, as memory traffic, beside an addition in place (two arrays read, one written); and adamw's loops."""
        tree = self.trees[key]
        contenders = self.contenders(cases.OPTIMIZERS["adamw"], tree)
        samplers = {name: contender.step for name, contender in contenders.items()} | {"addition": addition_sampler(tree)}
        entry = summary(self.interleave("roofline", samplers))
        loops = {name: contender.loops() for name, contender in contenders.items()}
        moved = {name: hlo.traffic(contender.compiled()) for name, contender in contenders.items()}
        moved["addition"] = 12 * tree.elements
        self.results["roofline"] = {
            "shapes": key,
            "bytes_per_param": BYTES_PER_PARAM,
            "gb_per_s": {name: rounded(moved[name] / s / 1e9) for name, s in entry["seconds"].items()},
            "loops": loops,
            "traffic": moved,
            "xla_bytes": {name: hlo.xla_bytes(contender.compiled()) for name, contender in contenders.items()},
            "crossed_traffic": {name: contender.crossed_traffic() for name, contender in contenders.items()},
            **entry,
        }

    def torch(self, key: str) -> None:
        """PyTorch's AdamW beside both libraries'; all in place."""
        import torch_adam

        tree = self.trees[key]
        contenders = self.contenders(cases.OPTIMIZERS["adamw"], tree)
        samplers = {name: contender.step for name, contender in contenders.items()} | torch_adam.samplers(tree)
        entry = self.results.setdefault("torch", {**torch_adam.settings(), "timings": {}})
        entry["timings"][key] = summary(self.interleave("torch", samplers))


def addition_sampler(tree: Tree) -> Sampler:
    """x + g in place, for the memory bandwidth that a compiled program reaches."""
    add = jax.jit(lambda x, g: jax.tree.map(jnp.add, x, g), donate_argnums=0)
    x = jax.tree.map(jnp.copy, tree.params)

    def work(n: int):
        nonlocal x
        for _ in range(n):
            x = jax.block_until_ready(add(x, tree.grads))

    return lambda n: clock(lambda: work(n))


def jobs(run: Run) -> Iterator[Job]:
    """What to do, in order: (label, work). A tree's arrays live until its last job is done."""
    wanted, keys = run.args.only, [key for key in run.trees if key in run.args.shapes]
    if "import" in wanted:
        yield "import", run.import_time
    for measure in ("first_trace", "first_update"):
        for key in keys if measure in wanted else ():
            if measure == "first_trace" or key == "small":
                yield f"{table.MEASURES[measure]}, {run.trees[key].label}", partial(run.first, measure, key)
    if "counts" in wanted:
        for optimizer in cases.OPTIMIZERS:
            yield f"HLO and state, {optimizer}", partial(run.count, optimizer)
    if "roofline" in wanted:
        yield "memory traffic", run.roofline
    for key in keys:
        yield from shape_jobs(run, key)


def shape_jobs(run: Run, key: str) -> Iterator[Job]:
    """The measures that share one tree's arrays and compiled steps."""
    wanted, label = run.args.only, run.trees[key].label
    contenders = run.contenders(cases.OPTIMIZERS[cases.HEADLINE], run.trees[key])
    for measure in IN_PROCESS:
        if measure in wanted:
            yield f"{table.MEASURES[measure]}, {label}", partial(run.timing, measure, key, contenders)
    if "counts" in wanted:
        yield f"HLO, {label}", partial(run.count_at, key, contenders)
    del contenders
    if "torch" in wanted and "skipped" not in run.results.get("torch", {}):
        yield f"PyTorch, {label}", partial(run.torch, key)
    run.trees[key].drop()


def start(args: argparse.Namespace) -> Run:
    """Check the library under test, and note where and how the run is made."""
    libraries = {"optax": "optax", "gradxform": args.ours}
    if missing := cases.missing_names(importlib.import_module(args.ours)):
        raise SystemExit(f"{args.ours} has no {', '.join(missing)}")
    trees = cases.trees(args.quick)
    results = {
        "date": machine.now(),
        "versions": machine.versions(),
        "machine": {**machine.machine(), "load": machine.load()},
        "settings": {
            "quick": args.quick,
            "donated": True,
            "libraries": libraries,
            "repeats": dict.fromkeys(REPEATS, 2) if args.quick else REPEATS,
            "seconds_per_sample": 0.02 if args.quick else 0.7,
        },
        "shapes": {k: {"label": t.label, "leaves": t.leaves, "elements": t.elements} for k, t in trees.items()},
        "counting_tree": cases.counting_tree().label,
        "timings": {},
    }
    if "torch" in args.only and (reason := torch_unusable()):
        results["torch"] = {"skipped": reason}
    return Run(args, libraries, trees, results)


def torch_unusable() -> str | None:
    """Why PyTorch is left out, if it is."""
    if importlib.util.find_spec("torch") is None:
        return "not installed where this was measured"
    backend = jax.default_backend()
    if backend == "cpu" or (backend == "gpu" and importlib.import_module("torch").cuda.is_available()):
        return None
    return f"cannot run where JAX does ({backend})"


def save(results: dict, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def execute(run: Run, console: Console) -> None:
    """Do every job under a progress bar; what is done so far survives in a `.partial` file."""
    out, began = run.args.out, time.monotonic()
    partial_file = out and out.with_suffix(".partial")
    columns = BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}")
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("", total=sum(1 for _ in jobs(run)))
        for label, work in jobs(run):
            progress.update(task, description=label)
            work()
            progress.advance(task)
            run.results["took_seconds"] = round(time.monotonic() - began)
            if out:
                save(run.results, partial_file)
    if out:
        os.replace(partial_file, out)


def show(results: dict, console: Console) -> None:
    """The tables of the README and the targets, on the terminal."""
    sections = (
        (("Measure", "Leaves", "Optax", "gradxform", "Ratio"), table.timing_rows(results)),
        (("Optimizer", "HLO: Optax", "gradxform", "Ratio", "on arrays", "State"), table.count_rows(results)),
        (table.torch_header(results), table.torch_rows(results)),
        (("Target", "At most", "Measured", ""), table.target_rows(results)),
    )
    for header, rows in sections:
        if rows:
            view = Table(*header)
            for row in rows:
                view.add_row(*row)
            console.print(view)
    if "roofline" in results:
        console.print(table.roofline_line(results).replace("`", ""))
    if "skipped" in results.get("torch", {}):
        console.print(table.torch_note(results))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    keys = tuple(cases.trees(quick=True))
    parser.add_argument("--quick", action="store_true", help="small shapes, two short samples each")
    parser.add_argument("--only", nargs="+", choices=MEASURES, default=MEASURES, metavar="MEASURE", help=", ".join(MEASURES))
    parser.add_argument("--shapes", nargs="+", choices=keys, default=keys, metavar="SHAPES", help=", ".join(keys))
    parser.add_argument("--out", type=Path, help="where to write the results (of a complete run: results/cpu.json or gpu.json)")
    parser.add_argument("--ours", default="gradxform", help="the module beside optax (to try the script itself: optax)")
    args = parser.parse_args()
    complete = not args.quick and args.ours == "gradxform" and len(args.only) == len(MEASURES) and len(args.shapes) == len(keys)
    if args.out is None and complete:
        args.out = RESULTS / f"{jax.default_backend()}.json"
    return args


def main() -> None:
    args, console = parse(), Console()
    jax.config.update("jax_enable_compilation_cache", False)
    run = start(args)
    if (load := run.results["machine"]["load"]) > 0.5:
        console.print(f"[yellow]The machine is busy (load {load}): these times are not to be trusted.")
    execute(run, console)
    show(run.results, console)
    if args.out:
        console.print(f"Written: {args.out}")


if __name__ == "__main__":
    main()
