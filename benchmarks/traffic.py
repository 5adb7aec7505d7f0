"""Bytes per parameter that one compiled step moves on accelerators that need not be here: their compilers say.

pip install -e '.[aot]' optax==0.2.8
python benchmarks/traffic.py                  every optimizer: writes results/traffic.json
python benchmarks/traffic.py adam lamb        only these; the other figures stay
python -m tests.pages traffic                 the page, from the results
"""

import argparse
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Any, NamedTuple

os.environ.setdefault("JAX_PLATFORMS", "cpu")

import aot
import hlo
import jax
import jax.numpy as jnp
import machine
import table

import gradxform

RESULTS = Path(__file__).resolve().parent / "results" / "traffic.json"
PACKAGES = ("jax", "jaxlib", "jax-cuda12-plugin", "libtpu")  # what the figures depend on
EXACT = 0.01  # bytes per parameter; less are the partial sums of reductions


class Target(NamedTuple):
    """A machine, and the side of the square float32 leaf that it steps on."""

    device: Callable[[], jax.Device]
    side: int


# A leaf of 64 MB fits into a v5e's memory on the chip, which flatters programs of several passes; one of 256 MB does not.
TARGETS = {"H100": Target(lambda: aot.h100()[0], 4096), "v5e": Target(lambda: aot.v5e()[0], 8192)}


class Case(NamedTuple):
    """An optimizer as a library makes it (AttributeError: it has none), and makers of the extra arguments of `update`."""

    make: Callable[[ModuleType], Any]
    needs: Mapping[str, Callable[..., Any]] = MappingProxyType({})


ARGUMENTS = {"adadelta": {"learning_rate": 1.0}}  # beside the registry's examples: Optax's default climbs


FACTORED = ("asgo", "dion", "galore", "kl_shampoo", "kl_soap", "psgd_kron", "shampoo", "soap", "splus")
LEFT_OUT = {(name, "v5e") for name in FACTORED}  # loops for one decomposition: nine minutes to compile that of 512 x 512
DENSE = ("ssbfgs", "ssbroyden")  # of few parameters: a matrix of all pairs of them


def registered(name: str) -> Case:
    """An optimizer of the registry with its arguments there, and Optax's of that name with the same."""
    entry = gradxform.entry(name)
    arguments = {**entry.example, **ARGUMENTS.get(name, {})}
    return Case(lambda lib: getattr(lib if hasattr(lib, name) else lib.contrib, name)(**arguments), entry.needs)


def stored(name: str, storage: str) -> Case:
    """An optimizer of the registry with its state in fewer bits."""
    plain = registered(name)
    return Case(lambda lib: lib.store(plain.make(lib), storage), plain.needs)


CASES = {name: registered(name) for name in gradxform.names() if name not in DENSE}
CASES |= {
    f'{name} "{storage}"': stored(name, storage) for name, storage in (("adamw", "16bit"), ("adamw", "8bit"), ("lion", "8bit"))
}

COPY = (
    "on the H100 a copy of one new array (8), the one that goes into two reductions of the kernel: XLA writes over a donated array what "
    "goes into one. A step that donates nothing makes no such copy"
)
REASONS = {
    "adafactor": "the rows' and columns' means of the gradient come before the norm of the direction, and that before the step: the "
    "gradient is read three times (on the H100 four: one kernel for rows, one for columns), the parameters twice.",
    "adam_mini": "the mean square of each output comes before the step: 4.",
    "adamp": "sums come before the step: the cosines of gradient and weights, for each output and for all, and how much of the step lies "
    "along the weights. Each reads what it sums once more.",
    "apollo, apollo_mini": "the gradient is projected, and norms are taken of it and of its projection, before the step; counted is the "
    "update that draws the projector anew.",
    "asgo, dion, kl_shampoo, kl_soap, psgd_kron, shampoo, soap, splus": "products with square factors and bases, and what is refreshed, "
    "which is counted as if every update refreshed. Left out on the v5e, as `galore`.",
    "came": "means over rows and columns, of the squared gradient and then of what the momentum misses, and a norm come before the step.",
    "dadapt_adamw": f"{COPY}.",
    "dion2": "the rows with the largest sums are chosen first; then come the five iterations of `muon` on a quarter of the rows.",
    "dog, dowg": "the distance and the norm come before the step: 12 + 12. The first parameters are read and not written.",
    "fromage, lars": "both norms come before the step: 8, then one pass.",
    "galore": "the singular vectors of the gradient, here at every second update; counted is what enters and leaves the decomposition. "
    "On the H100 the update is written before it is added (8). Left out on the v5e, whose compiler takes minutes for a decomposition.",
    "group_adagrad, novograd, polyak_sgd": "the norm of the gradient, or of its rows, comes before the step: 4.",
    "lamb": "both norms come before the step: one pass over all but the new parameters (24), another for these (16). To store the "
    "direction in between, as Optax does, costs as much as to compute it again, and one more read.",
    "lans": f"the norm of the gradient (4), two passes as in `lamb` of which both read the gradient (24 + 20), and {COPY}.",
    "lbfgs": "the two loops over ten pairs (400); the rings of pairs, which a conditional turns if no pair is stored, and which are copied "
    "into it and out of it (320); the line search, of whose trips one is counted.",
    "mars": "the norm of the corrected gradient comes before the step: 12.",
    "momo": "the inner products come before the step: 16 + 12; on the H100 a kernel of its own reads momentum and parameters for two (8).",
    "momo_adam": f"the inner products come before the step: 24 + 16, and {COPY}.",
    "adamuon, muon, normuon, scion": "five iterations of three matrix products, 24 each on the v5e, where sums and casts are inside the "
    "products, and 52 on the H100; the norm of the momentum before them, which cannot overflow and so takes one more read (4) than that of "
    "Optax's `muon`; after them the norms of NorMuon and AdaMuon.",
    "prodigy": "the distance estimate comes before the step: 20 + 28.",
    "sm3": "on the H100 the maxima along the two axes are two kernels, and each reads the gradient.",
    "sophia": "the update that estimates the curvature is counted: an estimate is written and read, and the parameters are read for it.",
    "stable_adamw": "the root mean square of g / sqrt(nu^) comes before the step: 8.",
}


def compiled(case: Case, lib: ModuleType, target: Target) -> jax.stages.Compiled:
    """One step on one leaf: parameters and state are donated, the gradient is an argument."""
    tx, leaf = case.make(lib), jax.ShapeDtypeStruct((target.side, target.side), jnp.float32)

    def step(params, state, grads):
        extra = {name: make(params, grads) for name, make in case.needs.items()}
        updates, state = tx.update(grads, state, params, **extra)
        return lib.apply_updates(params, updates), state

    return aot.compiled(step, leaf, jax.eval_shape(tx.init, leaf), leaf, on=target.device(), donate=(0, 1))


def per_parameter(step: jax.stages.Compiled, target: Target) -> float:
    """The bytes that it moves."""
    return round(hlo.traffic(step) / target.side**2, 2)


def state_bytes(case: Case) -> float:
    """Of the state, per parameter."""
    leaf = jax.ShapeDtypeStruct((4096, 4096), jnp.float32)
    state = jax.tree.leaves(jax.eval_shape(case.make(gradxform).init, leaf))
    return round(sum(x.size * x.dtype.itemsize for x in state) / leaf.size, 2)


def libraries(case: Case) -> dict[str, ModuleType]:
    """gradxform, and Optax where it has the optimizer."""
    import optax

    try:
        case.make(optax)
    except AttributeError:
        return {"gradxform": gradxform}
    return {"gradxform": gradxform, "optax": optax}


def measure(name: str) -> dict:
    """A row: the state, and what each library moves on each target."""
    case = CASES[name]
    row: dict[str, Any] = {"state": state_bytes(case)}
    for target in probed(name):
        where = TARGETS[target]
        row[target] = {lib: per_parameter(compiled(case, module, where), where) for lib, module in libraries(case).items()}
    return row


def probed(name: str) -> list[str]:
    """The targets that an optimizer is compiled for."""
    return [target for target in TARGETS if (name, target) not in LEFT_OUT]


def load() -> dict:
    return table.load(RESULTS)


def versions() -> dict[str, str | None]:
    return {name: machine.version(name) for name in (*PACKAGES, "optax")} | {"gradxform": machine.our_version()}


def ideal(row: dict) -> float:
    """Gradient, parameters and state read once, parameters and state written once, of float32."""
    return 12 + 2 * row["state"]


def is_ideal(row: dict, target: str) -> bool:
    return row[target]["gradxform"] <= ideal(row) + EXACT


def excess(results: dict) -> list[str]:
    """The optimizers that move more than the ideal on some target."""
    return [name for name, row in results["optimizers"].items() if not all(is_ideal(row, t) for t in probed(name))]


def number(x: float | None) -> str:
    return "-" if x is None else f"{x:.1f}".removesuffix(".0")


def compared(results: dict, sign: int) -> str:
    """Where gradxform moves more than Optax (sign 1) or less (-1), and how much."""
    found = []
    for name, row in results["optimizers"].items():
        pairs = {t: (row[t]["gradxform"], row[t]["optax"]) for t in probed(name) if "optax" in row[t]}
        words = [
            f"{number(ours)} for {number(theirs)} on the {t}"
            for t, (ours, theirs) in pairs.items()
            if sign * (ours - theirs) > EXACT
        ]
        found += [f"`{name}` {', '.join(words)}"] if words else []
    return "; ".join(found)


def render(results: dict) -> str:
    """The Markdown between the page's markers."""
    rows, above, used = results["optimizers"], excess(results), results["versions"]
    cells = [
        (
            name,
            number(row["state"]),
            number(ideal(row)),
            *(number(row.get(t, {}).get(lib)) for t in TARGETS for lib in ("gradxform", "optax")),
        )
        for name, row in rows.items()
    ]
    header = ("Optimizer", "State", "Ideal", *(f"{t}, {lib}" for t in TARGETS for lib in ("gradxform", "Optax")))
    reasons = "\n".join(f"- {', '.join(f'`{n}`' for n in names.split(', '))}: {why}" for names, why in REASONS.items())
    sizes = ", ".join(f"{target.side} x {target.side} on the {name}" for name, target in TARGETS.items())
    parts = [
        f"Of {len(rows)} rows, {len(rows) - len(above)} move no more than the ideal on both machines. Compiled by "
        f"{', '.join(f'{name} {used[name]}' for name in PACKAGES)}; gradxform {used['gradxform']}, Optax {used['optax']}; one "
        f"leaf, {sizes}. Bytes per parameter:",
        table.markdown(header, cells),
        f"Less than Optax: {compared(results, -1)}.\n\nMore than Optax: {compared(results, 1)}.",
        f"Why some move more than the ideal:\n\n{reasons}",
    ]
    return "\n\n".join(parts) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(CASES)}")
    args = parser.parse_args()
    if unknown := set(args.names) - set(CASES):
        parser.error(f"no such optimizer: {', '.join(sorted(unknown))}")
    rows = load()["optimizers"] if RESULTS.exists() else {}
    for name in args.names or CASES:
        rows[name] = measure(name)
        print(name, rows[name], flush=True)
    results = {"versions": versions(), "optimizers": {name: rows[name] for name in CASES if name in rows}}
    RESULTS.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
