"""Is the rate that is best for a narrow model best for wide ones, with and without `scale_by_width`? The race's `text` at three widths.

    python benchmarks/widths.py                        adam and muon, an hour on two cores; writes results/widths.json, goes on from it
    python benchmarks/widths.py adam --seeds 3         one, with a seed more than the file has
    python benchmarks/widths.py --quick                few steps: does it run? writes nothing

The rates are five a factor 2 apart about the best one at the base width, which a search by seeds of its own finds first. They are peaks:
the rate rises for a twentieth of the steps and falls by a cosine. A head has 16 elements at every width. "plain" is the problem's own
initialization and the bare optimizer, "scaled" is `initial_scale` and `scale_by_width`; at the base width they are the same. Runs of
one seed share their batches. The loss is that of text that is not trained on.
"""

import argparse
import functools
import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # gradxform need not be installed

import machine  # noqa: E402

import gradxform as gx  # noqa: E402
from gradxform.race._problem import Problem, batch_rng  # noqa: E402
from gradxform.race.problems import _corpus, text  # noqa: E402

RESULTS = Path(__file__).resolve().parent / "results" / "widths.json"
WIDTHS, HEAD, SEEDS, RATES = (64, 128, 256), 16, 2, 5
BASE = WIDTHS[0]
SEARCHED, SEARCH_SEEDS = 4, (100, 101)  # factors of 2 to either side of a first guess
JUDGED = 256  # pieces of text
WAYS = ("plain", "scaled")


class Optimizer(NamedTuple):
    """An optimizer by its rate, the rule that fits it, a first guess of its rate, and how many steps it needs and is worth."""

    make: Callable[[Any], gx.GradientTransformation]
    rule: str
    guess: float
    steps: int


OPTIMIZERS = {"adam": Optimizer(gx.adam, "adam", 0.01, 200), "muon": Optimizer(gx.muon, "muon", 0.04, 100)}


@functools.cache
def problem_of(width: int) -> Problem:
    return text.problem(width, width // HEAD)


@functools.cache
def shapes(width: int) -> Any:
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), text.init(jax.random.key(0), width))


def begin(width: int, way: str, seed: int) -> Any:
    """The parameters: each matrix drawn with the problem's own standard deviation, or with that of the base width times the scale."""
    key = jax.random.key(seed)
    params = text.init(key, width)
    if way == "plain":
        return params
    scales = gx.initial_scale(shapes(width), shapes(BASE))
    resized = lambda x, narrow, scale: x if x.ndim < 2 else (x * (scale * np.std(narrow) / np.std(x))).astype(np.float32)
    return jax.tree.map(resized, params, text.init(key, BASE), scales)


@functools.cache
def step_of(name: str, way: str, width: int) -> Any:
    """A step of runs side by side, which differ in their rates: (params, state, batch, rates) -> (params, state)."""
    problem = problem_of(width)

    def one(params, state, batch, rate):
        updates, state = optimizer(name, way, rate).update(jax.grad(problem.loss)(params, batch), state, params)
        return gx.apply_updates(params, updates), state

    return jax.jit(jax.vmap(one, (0, 0, None, 0)), donate_argnums=(0, 1))


def optimizer(name: str, way: str, rate: Any) -> gx.GradientTransformation:
    tx = OPTIMIZERS[name].make(rate)
    return tx if way == "plain" else gx.scale_by_width(tx, shapes(BASE), OPTIMIZERS[name].rule)


def train(name: str, way: str, width: int, rates: Sequence[float], seed: int, steps: int) -> list[float]:
    """The losses of the runs with these rates."""
    problem, step = problem_of(width), step_of(name, way, width)
    shape = gx.warmup_cosine_decay_schedule(0.05, 1.0, steps // 20, steps)
    params = jax.tree.map(lambda x: jnp.stack([x] * len(rates)), begin(width, way, seed))
    state = jax.vmap(optimizer(name, way, 1.0).init)(params)
    for i in range(steps):
        batch = problem.batch(batch_rng(seed, i), i)
        params, state = step(params, state, batch, jnp.asarray(rates, jnp.float32) * shape(i))
    return [round(held_out(width, jax.tree.map(lambda x, i=i: x[i], params)), 5) for i in range(len(rates))]


@functools.cache
def judge(width: int) -> Any:
    return jax.jit(problem_of(width).loss)


def held_out(width: int, params: Any) -> float:
    """The mean loss on evenly spaced pieces of the text that validates."""
    x, y = _corpus.spread(_corpus.codes(_corpus.corpus().validation), JUDGED, text.LENGTH)
    return float(np.mean([judge(width)(params, piece) for piece in zip(np.split(x, 8), np.split(y, 8), strict=True)]))


def best(losses: Sequence[Sequence[float]]) -> int:
    """Which rate has the lowest loss, a mean over seeds; a run without a finite loss is worse than all."""
    return int(np.argmin(np.nan_to_num(np.mean(losses, axis=1), nan=np.inf)))


def moves(found: dict[str, Any], name: str, way: str) -> list[int]:
    """By how many factors of 2 the best rate of each width is above that of the base width."""
    at = [best(found["losses"][name][way][str(width)]) for width in WIDTHS]
    return [i - at[0] for i in at]


class Bench:
    """What has been found so far, kept in a file after each seed."""

    def __init__(self, steps: dict[str, int], seeds: int, path: Path | None, fresh: bool):
        self.steps, self.seeds, self.path = steps, seeds, path
        settings = {"widths": list(WIDTHS), "base": BASE, "head": HEAD, "schedule": "warm-up, cosine"}
        settings["steps"] = {name: optimizer.steps for name, optimizer in OPTIMIZERS.items()}
        self.found = {"settings": settings, "search": {}, "losses": {}}
        if path and path.exists() and not fresh:
            kept = json.loads(path.read_text())
            if kept["settings"] != settings:
                raise SystemExit(f"{path} has other settings, {kept['settings']}; --fresh begins anew")
            self.found = kept

    def run(self) -> None:
        for name in self.steps:
            rates = self.search(name)
            for width in WIDTHS:
                for way in WAYS:
                    if (width, way) == (BASE, "scaled"):
                        self.found["losses"][name].setdefault(way, {})[str(BASE)] = self.found["losses"][name]["plain"][str(BASE)]
                    else:
                        self.row(name, way, width, rates)
            for way in WAYS:
                print(f"{name}, {way}: from width to width the best rate moves by {moves(self.found, name, way)} factors of 2")
        self.keep()

    def search(self, name: str) -> list[float]:
        """Five rates, in their middle the best of nine at the base width."""
        guess, known = OPTIMIZERS[name].guess, self.found["search"]
        if name not in known:
            rates = [guess * 2.0**i for i in range(-SEARCHED, SEARCHED + 1)]
            losses = [self.timed(name, "plain", BASE, rates, seed) for seed in SEARCH_SEEDS]
            known[name] = {"rates": rates, "losses": np.transpose(losses).tolist()}
            self.keep()
        middle = known[name]["rates"][best(known[name]["losses"])]
        known[name]["five"] = [middle * 2.0**i for i in range(-(RATES // 2), RATES // 2 + 1)]
        return known[name]["five"]

    def row(self, name: str, way: str, width: int, rates: list[float]) -> None:
        """All seeds of a width: for each rate a list of losses."""
        ways = self.found["losses"].setdefault(name, {}).setdefault(way, {})
        losses = ways.setdefault(str(width), [[] for _ in rates])
        for seed in range(len(losses[0]), self.seeds):
            for of_rate, loss in zip(losses, self.timed(name, way, width, rates, seed), strict=True):
                of_rate.append(loss)
            self.keep()

    def timed(self, name: str, way: str, width: int, rates: list[float], seed: int) -> list[float]:
        started = time.perf_counter()
        losses = train(name, way, width, rates, seed, self.steps[name])
        shown = ", ".join(f"{rate:.3g}: {loss:.3f}" for rate, loss in zip(rates, losses, strict=True))
        print(f"{name}, {way}, width {width}, seed {seed}: {shown}; {time.perf_counter() - started:.0f} s", flush=True)
        return losses

    def keep(self) -> None:
        if self.path:
            self.found |= {"machine": machine.machine(), "versions": machine.versions()}
            self.path.write_text(json.dumps(self.found, indent=1) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("optimizers", nargs="*", default=list(OPTIMIZERS), metavar="OPTIMIZER", help=", ".join(OPTIMIZERS))
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--fresh", action="store_true", help="begin anew")
    parser.add_argument("--quick", action="store_true")
    args = parser.parse_args()
    steps = {name: 20 if args.quick else OPTIMIZERS[name].steps for name in args.optimizers}
    Bench(steps, 1 if args.quick else args.seeds, None if args.quick else RESULTS, args.fresh).run()


if __name__ == "__main__":
    main()
