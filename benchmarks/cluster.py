"""Weak scaling: how much longer a step takes on more devices, where each has as much to do.

    srun python benchmarks/cluster.py                     every process of a job runs it; so with mpirun, on Kubernetes, on TPU pods
    python benchmarks/cluster.py --coordinator HOST:PORT --of 2 --rank 0      where JAX finds no cluster: by hand, one for each rank
    python benchmarks/cluster.py --processes 2 --width 128 --batch 128 --steps 2     a dry run here: two processes of four CPU devices
    python benchmarks/cluster.py --alone                  one process and the devices that it has

`--grow parameters` adds layers with the devices and keeps the batch; `--grow batch` adds examples and keeps the layers. Either way the
arithmetic of a device stays the same, so what grows is communication. The step is timed on 1, 2, 4, ... devices of the same job, in turn
with the optimizer's part of it alone. Process 0 shows progress and a table, and writes JSON.
"""

import argparse
import json
import math
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # gradxform need not be installed

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import machine  # noqa: E402
import numpy as np  # noqa: E402
from jax.experimental import multihost_utils  # noqa: E402
from jax.sharding import Mesh, NamedSharding, PartitionSpec  # noqa: E402

import gradxform as gx  # noqa: E402
from tests.processes import launch  # noqa: E402

AXIS, KINDS = "data", ("step", "optimizer")
Params = dict[str, Any]


class Layout(NamedTuple):
    """An optimizer, how its parameters are split, and whether its state is split where they are not."""

    make: Callable[[], gx.GradientTransformation]
    spec: PartitionSpec
    zero: str | None = None


ROWS, OF_A_LAYER = PartitionSpec(None, AXIS), gx.MuonDimensionNumbers(1, 2)  # the first axis is that of the layers
LAYOUTS = {
    "whole": Layout(lambda: gx.adamw(1e-4), PartitionSpec()),
    "zero": Layout(lambda: gx.adamw(1e-4), PartitionSpec(), AXIS),
    "fsdp": Layout(lambda: gx.adamw(1e-4), ROWS),
    "spread": Layout(lambda: gx.muon(1e-3, muon_weight_dimension_numbers=OF_A_LAYER, spread=AXIS), ROWS),
    "store": Layout(lambda: gx.store(gx.adamw(1e-4), "8bit"), ROWS),
    "zero-store": Layout(lambda: gx.store(gx.adamw(1e-4), "8bit"), PartitionSpec(), AXIS),
}


class Work(NamedTuple):
    """What is trained on some devices: layers of so many square matrices, on so many examples."""

    layers: int
    width: int
    batch: int


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layouts", nargs="+", choices=LAYOUTS, default=list(LAYOUTS), metavar="LAYOUT", help=", ".join(LAYOUTS))
    parser.add_argument("--grow", choices=["parameters", "batch"], default="parameters", help="what grows with the devices")
    parser.add_argument("--layers", type=int, default=4, help="for each device (--grow parameters), or in all")
    parser.add_argument("--width", type=int, default=1024, help="of a layer, whose matrix is square")
    parser.add_argument("--batch", type=int, default=1024, help="in all (--grow parameters), or for each device")
    parser.add_argument("--steps", type=int, default=10, help="timed together")
    parser.add_argument("--samples", type=int, default=5, help="of so many steps; the median counts")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "cluster.json")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--processes", type=int, metavar="N", help="a dry run: so many processes here, which share its cores")
    where.add_argument("--alone", action="store_true", help="this process only")
    where.add_argument("--coordinator", metavar="HOST:PORT", help="of process 0, with --of and --rank")
    parser.add_argument("--of", type=int, metavar="N", help="how many processes there are")
    parser.add_argument("--rank", type=int, metavar="I", help="which of them this is")
    parser.add_argument("--devices", type=int, default=4, help="of each process of a dry run")
    return parser.parse_args(arguments)


def main() -> None:
    args = parse()
    if args.processes and launch.PLACE not in os.environ:
        dry_run(args)
        return
    connect(args)
    rows = measured(args)
    if jax.process_index() == 0:
        print_table(rows, args)
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(json.dumps(results(rows, args), indent=1) + "\n")
        print(f"written to {args.out}", flush=True)


def dry_run(args: argparse.Namespace) -> None:
    """This script in some processes here; what process 0 says is shown as it says it."""
    launch.run(__file__, *sys.argv[1:], processes=args.processes, devices=args.devices, timeout=3600, show=True)


def connect(args: argparse.Namespace) -> None:
    """Become one of the processes: as `launch` says, by hand, or as JAX finds out from SLURM, Open MPI, Kubernetes or the TPU's host."""
    if launch.PLACE in os.environ:
        launch.join()
    elif args.coordinator:
        jax.distributed.initialize(args.coordinator, args.of, args.rank)
    elif not args.alone:
        jax.distributed.initialize()


def sizes(devices: int) -> list[int]:
    """1, 2, 4, ... and all."""
    return sorted({*(2**i for i in range(devices.bit_length())), devices})


def chosen(count: int) -> list[jax.Device]:
    """The first devices, process by process."""
    return sorted(jax.devices(), key=lambda d: (d.process_index, d.id))[:count]


def processes_of(mesh: Mesh) -> set[int]:
    return {d.process_index for d in mesh.devices.flat}


def work_on(devices: int, args: argparse.Namespace) -> Work:
    times = (devices, 1) if args.grow == "parameters" else (1, devices)
    work = Work(times[0] * args.layers, args.width, times[1] * args.batch)
    for name, value in (("--width", work.width), ("--batch", work.batch)):
        if value % devices:
            raise SystemExit(f"{name}: {value} is not divisible by {devices} devices")
    return work


def start(layout: Layout, work: Work, mesh: Mesh) -> tuple[Params, Any, tuple[jax.Array, jax.Array]]:
    """Parameters, state and batch, made where they are to be."""
    place = lambda spec: NamedSharding(mesh, spec)
    shape, scale = (work.layers, work.width, work.width), 0.5 / math.sqrt(work.width)
    draw = lambda key, shape, spec: jax.jit(lambda k: jax.random.normal(k, shape), out_shardings=place(spec))(jax.random.key(key))
    params = {"w": draw(0, shape, layout.spec) * scale}
    state = gx.init_sharded(layout.make(), params, zero=layout.zero)
    rows = PartitionSpec(AXIS)
    return params, state, (draw(1, (work.batch, work.width), rows), draw(2, (work.batch, work.width), rows))


def loss(params: Params, x: jax.Array, y: jax.Array) -> jax.Array:
    """Of a deep residual network, whose layers are one array: a loop compiles as fast for a thousand as for one."""
    through = jax.checkpoint(lambda h, w: h + jnp.tanh(h @ w))
    h, _ = jax.lax.scan(lambda h, w: (through(h, w), None), x, params["w"])
    return jnp.mean((h - y) ** 2)


def steps_of(layout: Layout, params: Params, state: Any) -> dict[str, Callable]:
    """A training step, and the optimizer's part of it with the parameters in the gradient's place: (params, state, batch) -> the same."""
    tx = layout.make()

    def update(params, state, grads):
        updates, state = tx.update(grads, state, params)
        return gx.apply_updates(params, updates), state

    places = jax.tree.map(lambda x: x.sharding, (params, state))
    jit = lambda f: jax.jit(f, out_shardings=places, donate_argnums=(0, 1))
    return {
        "step": jit(lambda p, s, x, y: update(p, s, jax.grad(loss)(p, x, y))),
        "optimizer": jit(lambda p, s, x, y: update(p, s, p)),
    }


def bytes_of(tree: Any) -> int:
    """On the first of this process's devices that has any."""
    return sum(x.addressable_shards[0].data.nbytes for x in jax.tree.leaves(tree))


def timed(step: Callable, carry: tuple, batch: tuple, steps: int) -> tuple[float, tuple]:
    """Seconds of a step, and where they led."""
    begin = time.perf_counter()
    for _ in range(steps):
        carry = step(*carry, *batch)
    jax.block_until_ready(carry)
    return (time.perf_counter() - begin) / steps, carry


def one(name: str, mesh: Mesh, args: argparse.Namespace, advance: Callable[[], None]) -> dict[str, Any]:
    """The figures of a layout on a mesh, of which this process has some devices."""
    layout, work = LAYOUTS[name], work_on(mesh.size, args)
    params, state, batch = start(layout, work, mesh)
    row = {
        "layout": name, "devices": mesh.size, "processes": len(processes_of(mesh)),
        "parameters": work.layers * work.width**2, "batch": work.batch,
        "parameter_bytes_per_device": bytes_of(params), "state_bytes_per_device": bytes_of(state),
    }  # fmt: skip
    carry, steps = (params, state), steps_of(layout, params, state)
    for step in steps.values():
        _, carry = timed(step, carry, batch, 1)  # compiles
    seconds = {kind: [] for kind in steps}
    for _ in range(args.samples):
        for kind, step in steps.items():
            taken, carry = timed(step, carry, batch, args.steps)
            seconds[kind].append(taken)
        advance()
    return row | {f"{kind}_seconds": taken for kind, taken in seconds.items()}


def measured(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Each layout on each number of devices; processes without a device wait."""
    todo = [(name, count) for name in args.layouts for count in sizes(jax.device_count())]
    rows = []
    with progress(len(todo) * args.samples) as (describe, advance):
        for name, count in todo:
            describe(f"{name}, {count} of {jax.device_count()} devices")
            mesh = Mesh(np.array(chosen(count)), (AXIS,))
            if jax.process_index() in processes_of(mesh):
                with jax.set_mesh(mesh):  # over which `spread` deals out matrices
                    rows.append(one(name, mesh, args, advance))
            multihost_utils.sync_global_devices(f"{name} {count}")
    return ratios(rows)


def ratios(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """With medians, and these over the medians on one device."""
    middle = lambda row, kind: statistics.median(row[f"{kind}_seconds"])
    alone = {row["layout"]: row for row in rows if row["devices"] == 1}
    return [
        row | {f"{kind}_ratio": round(middle(row, kind) / middle(alone[row["layout"]], kind), 3) for kind in KINDS}
        for row in rows
        if row["layout"] in alone
    ]


@contextmanager
def progress(total: int) -> Iterator[tuple[Callable[[str], None], Callable[[], None]]]:
    """What is being measured, and how much of it is done: (describe, advance). Only process 0 shows it."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    with Progress(*columns, disable=jax.process_index() > 0) as bar:
        task = bar.add_task("", total=total)
        yield lambda text: bar.update(task, description=text), lambda: bar.advance(task)


def print_table(rows: Sequence[dict[str, Any]], args: argparse.Namespace) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"Weak scaling: {args.grow} grow with the devices; times over those on one device")
    for heading in (
        "layout",
        "devices",
        "processes",
        "parameters",
        "batch",
        "state per device",
        "step",
        "ratio",
        "optimizer",
        "ratio",
    ):
        table.add_column(heading, justify="left" if heading == "layout" else "right")
    for row in rows:
        times = [(f"{1e3 * statistics.median(row[f'{k}_seconds']):.3g} ms", f"{row[f'{k}_ratio']:.2f}") for k in KINDS]
        counts = (
            row["devices"],
            row["processes"],
            f"{row['parameters']:,}",
            row["batch"],
            f"{row['state_bytes_per_device'] / 1e6:.3g} MB",
        )
        table.add_row(row["layout"], *map(str, counts), *times[0], *times[1])
    Console(width=None if sys.stdout.isatty() else 140).print(table)


def results(rows: Sequence[dict[str, Any]], args: argparse.Namespace) -> dict[str, Any]:
    named = ("grow", "layers", "width", "batch", "steps", "samples")
    return {
        "date": machine.now(),
        "machine": machine.machine(),
        "devices": jax.device_count(),
        "processes": jax.process_count(),
        "dry_run": launch.PLACE
        in os.environ,  # processes that share the cores of one machine: their times say nothing of a cluster
        "versions": machine.versions(),
        "settings": {name: getattr(args, name) for name in named},
        "rows": list(rows),
    }


if __name__ == "__main__":
    main()
