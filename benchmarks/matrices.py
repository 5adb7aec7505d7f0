"""Matrix optimizers on a transformer of twelve layers: matrices of one shape as one batch, in turn, held as one, layers in one leaf.

    python benchmarks/matrices.py                     every optimizer, width 64: minutes; writes results/matrices.json
    python benchmarks/matrices.py soap --width 256    one, wider
    python benchmarks/matrices.py --quick             two layers, few rounds: does it run? writes nothing
    python -m tests.pages matrices                    the table, from the results

Counted are instructions and conditionals of the compiled step; timed, in turn, are the steps between refreshes and those that refresh,
parameters and state donated.
"""

import argparse
import contextlib
import json
import os
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

os.environ.setdefault("JAX_PLATFORMS", "cpu")

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # gradxform need not be installed

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import machine  # noqa: E402
import measure  # noqa: E402
import numpy as np  # noqa: E402
import table  # noqa: E402

import gradxform as gx  # noqa: E402

RESULTS = Path(__file__).resolve().parent / "results" / "matrices.json"
OPTIMIZERS = ("adamw", "muon", "normuon", "soap", "shampoo", "kl_shampoo", "psgd_kron", "scion")
SELDOM, LAYERS, VOCABULARY = 1_000_000, 12, 1024
ONE_LEAF, HELD = "layers in one leaf", "stacked=1"
LAYOUTS = {"batched": None, "one by one": "leaf", HELD: None, ONE_LEAF: None}
"""The engine that computes, if it is not the usual one."""
STACKED = {"layers/*norm*": None, "layers/*": "flax", "embedding": "flax"}
"""Roles of a tree whose leaves hold all layers."""


def layouts(optimizer: str) -> list[str]:
    """Those that an optimizer has."""
    return [layout for layout in LAYOUTS if layout != HELD or "stacked" in gx.kernels.entry(optimizer).parameters]


class Way(NamedTuple):
    """How a step is computed."""

    optimizer: str
    layout: str
    width: int
    layers: int = LAYERS

    @property
    def shapes(self) -> Any:
        d, layers = self.width, (self.layers,)
        matrices = {"q": (d, d), "k": (d, d), "v": (d, d), "o": (d, d), "up": (d, 4 * d), "down": (4 * d, d)}
        layer = {**matrices, "norm1": (d,), "norm2": (d,)}
        if self.layout == ONE_LEAF:
            body: Any = {name: layers + shape for name, shape in layer.items()}
        else:
            body = [layer] * self.layers
        tree = {"embedding": (VOCABULARY, d), "layers": body, "norm": (d,)}
        return jax.tree.map(lambda s: jax.ShapeDtypeStruct(s, jnp.float32), tree, is_leaf=lambda x: isinstance(x, tuple))

    def transformation(self, every: int) -> gx.GradientTransformation:
        declared, said = gx.kernels.entry(self.optimizer).parameters, {}
        if "every" in declared:
            said["every"] = every
        if "max_precond_dim" in declared:
            said["max_precond_dim"] = 4 * self.width  # the embedding's long side has no factor
        if self.layout == HELD:
            said["stacked"] = 1
        if self.layout == ONE_LEAF and "weight_dimension_numbers" in declared:
            said["weight_dimension_numbers"] = STACKED
        return gx.create(self.optimizer, learning_rate=1e-3, **said)

    def compiled(self, every: int) -> jax.stages.Compiled:
        tx, shapes = self.transformation(every), self.shapes

        def step(params, state, grads):
            updates, state = tx.update(grads, state, params)
            return gx.apply_updates(params, updates), state

        engine = LAYOUTS[self.layout]
        with gx.kernels.engine(engine) if engine else contextlib.nullcontext():
            return jax.jit(step, donate_argnums=(0, 1)).lower(shapes, jax.eval_shape(tx.init, shapes), shapes).compile()

    def sampler(self, step: jax.stages.Compiled, every: int) -> measure.Sampler:
        """Seconds of so many steps."""
        rng = np.random.default_rng(0)
        draw = lambda: jax.tree.map(lambda s: jnp.asarray(0.02 * rng.standard_normal(s.shape, np.float32)), self.shapes)
        grads, params = draw(), draw()
        carried = [params, self.transformation(every).init(params)]
        carried = list(step(*carried, grads))  # what is done at the first update only is behind

        def sample(n: int) -> float:
            def work() -> None:
                for _ in range(n):
                    carried[:] = step(*carried, grads)
                jax.block_until_ready(carried)

            return measure.clock(work)

        return sample


def counted(step: jax.stages.Compiled, seconds: float, way: Way) -> dict[str, float]:
    state = jax.eval_shape(way.transformation(SELDOM).init, way.shapes)
    size = lambda tree: sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(tree) if hasattr(x.dtype, "itemsize"))
    return {
        "compile_seconds": measure.rounded(seconds),
        "instructions": sum(" = " in line for line in (step.as_text() or "").splitlines()),
        "conditionals": (step.as_text() or "").count(" conditional("),
        "state_over_params": measure.rounded(size(state) / size(way.shapes)),
    }


def measured(optimizer: str, width: int, layers: int, repeats: int) -> dict[str, Any]:
    """All layouts of one optimizer."""
    rows: dict[str, Any] = {}
    samplers: dict[tuple[str, str], measure.Sampler] = {}
    for layout in layouts(optimizer):
        way = Way(optimizer, layout, width, layers)
        start = time.perf_counter()
        step = way.compiled(SELDOM)
        rows[layout] = counted(step, time.perf_counter() - start, way)
        samplers[layout, "step"] = way.sampler(step, SELDOM)
        if "every" in gx.kernels.entry(optimizer).parameters:
            samplers[layout, "refresh"] = way.sampler(way.compiled(1), 1)
    for what in ("step", "refresh"):
        some = {layout: samplers[layout, what] for layout in rows if (layout, what) in samplers}
        if some:
            samples = measure.interleave(some, repeats, 0.5)
            for layout in rows:
                rows[layout][f"{what}_ms"] = measure.rounded(1e3 * float(np.median(samples[layout])))
                rows[layout][f"{what}_ratio"] = measure.ratio(samples[layout], samples["one by one"])
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("optimizers", nargs="*", default=OPTIMIZERS)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--quick", action="store_true")
    args = parser.parse_args()
    found = json.loads(RESULTS.read_text()) if RESULTS.exists() else {"rows": {}}
    for i, name in enumerate(args.optimizers, 1):
        rows = measured(name, args.width, 2 if args.quick else LAYERS, 2 if args.quick else args.repeats)
        print(f"[{i}/{len(args.optimizers)}] {name}, width {args.width}")
        for layout, row in rows.items():
            print(f"    {layout:20}", {k: v for k, v in row.items() if not k.endswith("ratio")}, flush=True)
        if not args.quick:
            found["rows"].setdefault(str(args.width), {})[name] = rows
            found |= {"machine": machine.machine(), "versions": machine.versions()}
            RESULTS.write_text(json.dumps(found, indent=1) + "\n")


HEAD = ["optimizer", "layout", "instructions", "conditionals", "compiled in", "step", "refresh", "state"]


def render() -> str:
    """A table for each width."""
    found = json.loads(RESULTS.read_text(encoding="utf-8"))
    made = f"{found['machine']['cpu']}, {found['machine']['cores']} cores, JAX {found['versions']['jax']}."
    return "\n\n".join([made, *(section(width, rows) for width, rows in found["rows"].items())])


def section(width: str, rows: dict[str, Any]) -> str:
    cells = [line(name, layout, row) for name, layouts in rows.items() for layout, row in layouts.items()]
    return f"Width {width}:\n\n" + table.markdown(HEAD, cells)


def line(name: str, layout: str, row: dict[str, Any]) -> list[str]:
    number = lambda x: f"{x:.3g}" if x < 1000 else f"{x:,.0f}"
    timed = lambda what: f"{number(row[f'{what}_ms'])} ms ({row[f'{what}_ratio']['median']:.2f})" if f"{what}_ms" in row else "-"
    return [
        f"`{name}`", layout, f"{row['instructions']:,}", str(row["conditionals"]), f"{row['compile_seconds']:.1f} s", timed("step"),
        timed("refresh"), f"{row['state_over_params']:.1f} x params",
    ]  # fmt: skip


if __name__ == "__main__":
    main()
