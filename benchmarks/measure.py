"""How it is measured: contenders take turns in one process, and each pair of neighbouring samples gives one ratio.

A sampler is a function of `n` that does a thing `n` times and returns the seconds they took, preparation excluded.
"""

import gc
import statistics
import time
from collections.abc import Callable
from functools import cached_property, partial

import hlo
import jax
import jax.numpy as jnp
from cases import Optimizer, Tree
from jax.tree_util import GetAttrKey

Sampler = Callable[[int], float]


def clock(work: Callable[[], object]) -> float:
    """Seconds that `work` takes, with the garbage collector held back as `timeit` does."""
    gc.collect()
    gc.disable()
    try:
        start = time.perf_counter()
        work()
        return time.perf_counter() - start
    finally:
        gc.enable()


def calibrate(sampler: Sampler, seconds: float) -> int:
    """Warm up, then choose how many iterations make a sample of about `seconds`."""
    sampler(1)
    return max(1, min(10_000, round(seconds / max(sampler(1), 1e-9))))


def interleave(samplers: dict[str, Sampler], repeats: int, seconds: float, warm: bool = True) -> dict[str, list[float]]:
    """Seconds per iteration, sampled in turn; the order is reversed every other round, so that drift cancels.

    `warm=False` takes single iterations without any before them.
    """
    counts = {name: calibrate(sampler, seconds) if warm else 1 for name, sampler in samplers.items()}
    samples: dict[str, list[float]] = {name: [] for name in samplers}
    for repeat in range(repeats):
        for name in list(samplers)[:: -1 if repeat % 2 else 1]:
            samples[name].append(samplers[name](counts[name]) / counts[name])
    return samples


def rounded(x: float) -> float:
    return float(f"{x:.4g}")


def ratio(ours: list[float], theirs: list[float]) -> dict[str, float]:
    """Median, least and greatest of the pairwise ratios."""
    ratios = [a / b for a, b in zip(ours, theirs, strict=True)]
    return {"median": rounded(statistics.median(ratios)), "min": rounded(min(ratios)), "max": rounded(max(ratios))}


def summary(samples: dict[str, list[float]]) -> dict:
    """Medians, and the samples, in seconds; the ratio of gradxform to each other contender."""
    ours = samples["gradxform"]
    return {
        "seconds": {name: rounded(statistics.median(xs)) for name, xs in samples.items()},
        "ratio": {name: ratio(ours, xs) for name, xs in samples.items() if name != "gradxform"},
        "samples": {name: [rounded(x) for x in xs] for name, xs in samples.items()},
    }


def train_step(lib, tx):
    """The step as users write it: update, then apply_updates; parameters and state are donated, so both change in place.

    They are taken in the order in which they are returned: JAX pairs donated buffers with results of the same shape in that
    order, and where the two differ, XLA copies (`crossed_traffic`).
    """

    @partial(jax.jit, donate_argnums=(0, 1))
    def step(params, state, grads):
        updates, state = tx.update(grads, state, params)
        return lib.apply_updates(params, updates), state

    return step


class Contender:
    """One library's optimizer on one tree; its methods `trace` to `step` are samplers.

    The timed function is `train_step`. Trace and lower work on shapes; each iteration has a new function and a new
    transformation, so nothing of the step itself is cached, while the caches inside JAX and the libraries are warm (a cold
    process is measured in `processes.py`).
    """

    def __init__(self, lib, optimizer: Optimizer, tree: Tree):
        self.lib, self.optimizer, self.tree = lib, optimizer, tree
        self.tx = optimizer.make(lib)
        self.executable: jax.stages.Compiled | None = None
        self.carried: tuple | None = None  # parameters and state between two samples of the step

    @cached_property
    def abstract(self):
        """The step's arguments, as shapes."""
        params = self.tree.abstract
        return params, jax.eval_shape(self.tx.init, params), params

    @cached_property
    def state(self):
        return self.tx.init(self.tree.params)

    def fresh(self):
        """A jitted step that nothing has seen before."""
        return train_step(self.lib, self.optimizer.make(self.lib))

    def trace(self, n: int) -> float:
        steps = [self.fresh() for _ in range(n)]
        return clock(lambda: [step.trace(*self.abstract) for step in steps])

    def lower(self, n: int) -> float:
        traced = [self.fresh().trace(*self.abstract) for _ in range(n)]
        return clock(lambda: [t.lower() for t in traced])

    def compile(self, n: int) -> float:
        lowered = [self.fresh().trace(*self.abstract).lower() for _ in range(n)]

        def work():
            for x in lowered:
                self.executable = x.compile()

        return clock(work)

    def compiled(self) -> jax.stages.Compiled:
        if self.executable is None:
            self.executable = self.fresh().trace(*self.abstract).lower().compile()
        return self.executable

    def update(self, n: int) -> float:
        """The un-jitted update."""
        args = self.tree.grads, self.state, self.tree.params

        def work():
            for _ in range(n):
                jax.block_until_ready(self.tx.update(*args))

        return clock(work)

    def step(self, n: int) -> float:
        """The compiled step, on parameters and state of its own that it carries on from sample to sample.

        Each step waits for one output before the next begins (those of an executable are ready together), the last for all.
        """
        run, grads = self.compiled(), self.tree.grads
        params, state = self.carried or jax.block_until_ready(jax.tree.map(jnp.copy, (self.tree.params, self.state)))
        self.carried = None  # the first step takes these buffers

        def work():
            nonlocal params, state
            for _ in range(n):
                params, state = run(params, state, grads)
                jax.tree.leaves(params)[0].block_until_ready()
            jax.block_until_ready((params, state))

        took = clock(work)
        self.carried = params, state
        return took

    def loops(self) -> list[dict]:
        """The compiled step's loops over arrays, on a tree of one leaf; its arrays by their names: params, mu, nu, grads."""
        paths = [path for path, _ in jax.tree_util.tree_leaves_with_path(self.abstract[1])]
        fields = [next(key.name for key in reversed(path) if isinstance(key, GetAttrKey)) for path in paths]
        return hlo.loops(self.compiled(), ["params", *fields, "grads"])

    def crossed_traffic(self) -> int:
        """The bytes of a step that takes the state before the parameters, though it returns it after them."""
        step, (params, state, grads) = self.fresh(), self.abstract
        crossed = jax.jit(lambda state, params, grads: step(params, state, grads), donate_argnums=(0, 1))
        return hlo.traffic(crossed.lower(state, params, grads).compile())

    def state_bytes(self) -> int:
        return sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(self.abstract[1]))
