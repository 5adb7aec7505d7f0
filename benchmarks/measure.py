"""How it is measured: contenders take turns in one process, and each pair of neighbouring samples gives one ratio.

A sampler is a function of `n` that does a thing `n` times and returns the seconds they took, preparation excluded.
"""

import gc
import re
import statistics
import time
from collections.abc import Callable
from functools import cached_property

import jax
import jax.numpy as jnp
from cases import Optimizer, Tree

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


class Contender:
    """One library's optimizer on one tree; its methods `trace` to `step` are samplers.

    The timed function is a whole step: update, then apply_updates. Trace and lower work on shapes; each iteration has a new
    function and a new transformation, so nothing of the step itself is cached, while the caches inside JAX and the
    libraries are warm (a cold process is measured in `processes.py`).
    """

    def __init__(self, lib, optimizer: Optimizer, tree: Tree, donate: bool = False):
        self.lib, self.optimizer, self.tree, self.donate = lib, optimizer, tree, donate
        self.tx = optimizer.make(lib)
        self.executable: jax.stages.Compiled | None = None

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
        tx, apply = self.optimizer.make(self.lib), self.lib.apply_updates

        def step(grads, state, params):
            updates, state = tx.update(grads, state, params)
            return apply(params, updates), state

        return jax.jit(step, donate_argnums=(1, 2) if self.donate else ())

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
        """The compiled step, its results fed back. One output is waited for: those of an executable are ready together."""
        run, grads = self.compiled(), self.tree.grads
        state, params = self.state, self.tree.params
        if self.donate:
            state, params = jax.block_until_ready(jax.tree.map(jnp.copy, (state, params)))

        def work(state, params):
            for _ in range(n):
                params, state = run(grads, state, params)
                jax.tree.leaves(params)[0].block_until_ready()

        return clock(lambda: work(state, params))

    def state_bytes(self) -> int:
        return sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(self.abstract[1]))


_INSTRUCTION = re.compile(r"^\s+(?:ROOT )?%?[\w.\-]+ = (?P<type>\(.*?\)|\S+) (?P<opcode>[a-z][\w\-]*)\(")
_BOOKKEEPING = {"parameter", "constant", "tuple", "get-tuple-element", "bitcast"}


def hlo_counts(executable) -> dict[str, int]:
    """Instructions of the optimized HLO module, those that only name or group a value excluded.

    all     in every computation of the module, fusion bodies and reducers included
    arrays  of these, the ones whose result is not a scalar
    entry   those of the entry computation: roughly, the kernels launched
    """
    counts, in_entry = {"all": 0, "arrays": 0, "entry": 0}, False
    for line in executable.as_text().splitlines():
        if not line.startswith(" "):
            in_entry = line.startswith("ENTRY")
        match = _INSTRUCTION.match(line)
        if match and match["opcode"] not in _BOOKKEEPING:
            counts["all"] += 1
            counts["arrays"] += not match["type"].endswith("[]")
            counts["entry"] += in_entry
    return counts
