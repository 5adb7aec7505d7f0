"""A schedule from any function of Python's numbers."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

from gradxform._errors import HyperparameterError
from gradxform._types import Array, Count
from gradxform.core._hyper import real_value
from gradxform.core._transformation import show
from gradxform.schedules._record import schedule


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Table:
    """A function with its values at 0, 1, ..., by which it compares."""

    f: Callable[[int], Any]
    values: np.ndarray

    def __call__(self, k: int) -> Any:
        return self.f(k)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Table) and np.array_equal(self.values, other.values)

    def __hash__(self) -> int:
        return hash(self.values.tobytes())

    def __repr__(self) -> str:
        return show(self.f)


def _filled(f: Callable[[int], Any], steps: int) -> Mapping[str, Any]:
    if not callable(f):
        raise HyperparameterError(f"tabulate: `f` must be a function of a number of steps, but got {f!r:.200}.")
    values = [np.asarray(real_value("tabulate", "f", f(k)), float) for k in range(steps)]
    odd = next((k for k, v in enumerate(values) if v.ndim), None)
    if odd is not None:
        raise HyperparameterError(f"tabulate: `f` must return one number, but at step {odd} it has shape {values[odd].shape}.")
    return {"f": Table(f.f if isinstance(f, Table) else f, np.stack(values))}


@schedule(settle=_filled)
def tabulate(k: Array, f: Callable[[int], float], steps: Count):
    """Make a schedule of any function of a whole number: written with `if` or `math`, of a file, of another library.

        v = f(min(k, steps - 1))                f is called at once, with Python's 0, 1, ..., steps - 1, and not again

    Args:
      f: a function of the number of completed updates, which returns a number.
      steps: how many values are kept, such as the length of the run; afterwards the last one stays.

    >>> schedule = gx.tabulate(lambda k: 0.1 if k < 10 else 0.01, 100)
    >>> [round(float(schedule(k)), 3) for k in (0, 9, 10, 1000)]
    [0.1, 0.1, 0.01, 0.01]

    Units    those of f.
    Source   gradxform.
    Differs  Optax has no such schedule.
    Raises   HyperparameterError: f is no function, does not return a real number, or steps < 1.
    """
    values = jnp.asarray(f.values)  # type: ignore[attr-defined]
    return values[jnp.clip(k, 0, steps - 1).astype(jnp.int32)]
