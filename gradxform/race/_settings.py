"""What is alike for every optimizer of a race: budget, grid and schedule."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from gradxform import schedules
from gradxform._types import Schedule

WARM_UP = 0.05

DESCRIPTIONS = {
    "cosine": f"cosine, {WARM_UP:.0%} warm-up",
    "linear": f"linear, {WARM_UP:.0%} warm-up",
    "constant": "constant rate",
}


@dataclasses.dataclass(frozen=True)
class Settings:
    """What must be equal for two results to be comparable.

    Attributes:
      problem: its name on the command line.
      steps: updates of a run.
      seeds: fresh seeds, beside the one that tuning uses.
      rates: learning rates tried on the tuning seed, half a decade apart.
      schedule: one of `DESCRIPTIONS`.
      data: identifies the problem's data.
    """

    problem: str
    steps: int
    seeds: int
    rates: int
    schedule: str
    data: str = ""

    @property
    def finalists(self) -> int:
        """How many rates meet the fresh seeds: the top third."""
        return max(1, self.rates // 3)

    @property
    def runs(self) -> int:
        """Runs of one optimizer, when its grid does not slide."""
        return self.rates + self.finalists * self.seeds

    @property
    def evaluated_at(self) -> list[int]:
        """The steps after which a run is evaluated: twenty, evenly spaced, the last included."""
        return sorted({round(self.steps * i / 20) for i in range(1, 21)} - {0})


def schedule(name: str, peak: float, steps: int) -> Schedule | float:
    """The learning rate by step; with a constant one, a number."""
    warm = max(1, round(WARM_UP * steps))
    start = float(f"{peak / warm:.3g}")
    if name == "cosine":
        return schedules.warmup_cosine_decay_schedule(
            init_value=start, peak_value=peak, warmup_steps=warm, decay_steps=steps
        )  # fmt: skip
    if name == "linear":
        rise = schedules.linear_schedule(start, peak, warm)
        return schedules.join_schedules([rise, schedules.linear_schedule(peak, 0.0, steps - warm)], [warm])
    return peak


def factors(settings: Settings) -> np.ndarray:
    """What to multiply the peak rate with, step by step."""
    rate = schedule(settings.schedule, 1.0, settings.steps)
    if not callable(rate):
        return np.ones(settings.steps, np.float32)
    return np.asarray(jax.vmap(rate)(jnp.arange(settings.steps)), np.float32)
