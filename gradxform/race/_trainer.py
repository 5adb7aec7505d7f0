"""Training many runs side by side, with few compilations.

Compiling dominates the cost of a race, so: one gradient program for all optimizers; one update program for each, with the learning
rate as an argument; random numbers drawn on the host. The runs of a batch, its lanes, differ in rate or seed and advance together.
Gradients of all lanes are one batched computation; their updates follow one another in a compiled loop, so that each is exactly the
update of a single run.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gradxform._types import Array, OptState, Params, Tree, Updates
from gradxform.core import apply_updates
from gradxform.race._contestants import Contestant
from gradxform.race._problem import Problem, batch_rng, check, scores
from gradxform.race._settings import Settings, factors

TUNING_SEED = 0
MOST_LANES = 16
BATCHES_KEPT = 512 * 2**20  # bytes


class Job(NamedTuple):
    """One run to do."""

    rate: float
    seed: int


class Run(NamedTuple):
    """One run done: its scores each time that it was evaluated; the last are the final ones."""

    job: Job
    scores: list[dict[str, float]]

    @property
    def losses(self) -> list[float]:
        """Validation losses; NaN counts as infinitely bad."""
        return [loss if np.isfinite(loss := s["loss"]) else np.inf for s in self.scores]

    def values(self, name: str) -> list[float]:
        """One of the scores over the run; empty if the problem does not give it."""
        return [s[name] for s in self.scores] if all(name in s for s in self.scores) else []


class Stopped(Exception):
    """The race was interrupted."""


class Updater:
    """A contestant's update as compiled programs, which serve all its rates and seeds.

    Attributes:
      one: (rate, value, grads, state, params, batch) -> (params, state).
      lanes: the same for arguments with a leading axis.
    """

    def __init__(self, contestant: Contestant, loss: Callable[[Params, Tree], Array]):
        self.contestant, self.loss = contestant, loss
        self.one = jax.jit(self._update)
        self.lanes = jax.jit(lambda *args: jax.lax.map(lambda lane: self._update(*lane), args))

    def init(self, params: Params) -> OptState:
        return self.contestant.make(1.0).init(params)

    def _update(
        self, rate: Array, value: Array, grads: Updates, state: OptState, params: Params, batch: Tree
    ) -> tuple[Params, OptState]:
        tx = self.contestant.make(rate)
        extra = self.contestant.extra_arguments(lambda p: self.loss(p, batch), value, grads, params)
        updates, state = tx.update(grads, state, params, **extra)
        return apply_updates(params, updates), state


class Trainer:
    """A problem with its compiled gradient, its batches and its starting points, shared by all contestants.

    Setting `stop` ends every training in progress with `Stopped`. Making a trainer checks the problem.

    Raises:
      ProblemError: the problem is not usable.
    """

    def __init__(self, problem: Problem, settings: Settings, lanes: int | None = None):
        self.problem, self.settings = problem, settings
        self.lanes = lanes or min(max(settings.rates, settings.seeds), MOST_LANES)
        self.gradient = jax.jit(jax.value_and_grad(problem.loss))
        self.gradients = jax.jit(jax.vmap(jax.value_and_grad(problem.loss)))
        self.size = check(problem, self.gradient)
        self.factors = factors(settings)
        self.stop = threading.Event()
        self._batches: dict[tuple[Sequence[int], int], Tree] = {}
        self._kept = 0
        self._lane = jax.jit(lambda tree, i: jax.tree.map(lambda x: x[i], tree))

    def start(self, seed: int) -> Params:
        """The initial parameters of the runs with this seed, whatever the optimizer."""
        return self.problem.init(jax.random.key(seed))

    def batch(self, seeds: Sequence[int], step: int) -> Tree:
        """Batch `step` of several seeds, stacked; kept for the next optimizer while there is room."""
        key = (tuple(seeds), step)
        if key not in self._batches:
            batch = stack([self.problem.batch(batch_rng(seed, step), step) for seed in seeds])
            self._kept += sum(x.nbytes for x in jax.tree.leaves(batch))
            if self._kept > BATCHES_KEPT:
                return batch
            self._batches[key] = batch
        return self._batches[key]

    def train(self, updater: Updater, jobs: Sequence[Job], only_final: bool = False) -> list[Run]:
        """Do the jobs, as many at a time as there are lanes, and evaluate them as the settings say or only at the end."""
        runs: list[Run] = []
        for i in range(0, len(jobs), self.lanes):
            some = list(jobs[i : i + self.lanes])
            spare = [some[-1]] * (self.lanes - len(some))  # one shape of batch, so one compilation
            runs += self._train_lanes(updater, some + spare, only_final)[: len(some)]
        return runs

    def _train_lanes(self, updater: Updater, jobs: Sequence[Job], only_final: bool) -> list[Run]:
        rates = np.asarray([job.rate for job in jobs], np.float32)
        seeds = [job.seed for job in jobs]
        params = stack([self.start(seed) for seed in seeds])
        state = jax.vmap(updater.init, out_axes=0)(params)
        runs = [Run(job, []) for job in jobs]
        evaluated_at = self.settings.evaluated_at[-1:] if only_final else self.settings.evaluated_at
        for step, factor in enumerate(self.factors):
            if self.stop.is_set():
                raise Stopped
            batch = self.batch(seeds, step)
            values, grads = self.gradients(params, batch)
            params, state = updater.lanes(rates * factor, values, grads, state, params, batch)
            if step + 1 in evaluated_at:
                for i, run in enumerate(runs):
                    run.scores.append(scores(self.problem, self._lane(params, i)))
        return runs


def stack(trees: Sequence[Tree]) -> Tree:
    """Trees of equal structure as one, with a leading axis."""
    return jax.tree.map(lambda *xs: jnp.asarray(np.stack(xs)), *trees)
