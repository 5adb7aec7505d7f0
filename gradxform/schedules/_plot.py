"""Pictures of schedules."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np

from gradxform._errors import HyperparameterError
from gradxform._types import Array, Count, Schedule
from gradxform.core._hyper import called, is_schedule, real_value

if TYPE_CHECKING:
    from matplotlib.axes import Axes

POINTS = 2000
"""As many intervals at most: more than a picture has columns."""


def plot(schedule: Schedule | float | Array | Mapping[str, Schedule | float | Array], steps: Count, ax: Axes | None = None) -> Axes:
    """Draw a schedule, or several by name, over a number of updates.

    Args:
      schedule: a function of the number of completed updates, a number, or a dictionary of them.
      steps: the last number of updates in the picture, which begins at 0.
      ax: the axes of Matplotlib to draw in; a new figure's by default.

    >>> ax = gx.plot({"cosine": gx.cosine_decay_schedule(1e-3, 1000), "line": gx.linear_schedule(1e-3, 0.0, 1000)}, 1000)
    >>> [line.get_label() for line in ax.lines]
    ['cosine', 'line']

    Returns:
      The axes, whose `figure` is shown or saved. Matplotlib comes with `pip install 'gradxform[race]'`.

    Source   gradxform.
    Raises   HyperparameterError: a schedule cannot be traced, or does not return one real number. ModuleNotFoundError: no Matplotlib.
    """
    try:
        from matplotlib import pyplot
    except ModuleNotFoundError as e:
        raise ModuleNotFoundError("plot: needs Matplotlib. Install it with: pip install 'gradxform[race]'", name=e.name) from e
    k = np.unique(np.linspace(0, steps, min(steps, POINTS) + 1).astype(np.int32))
    curves = schedule if isinstance(schedule, Mapping) else {"": schedule}
    drawn = pyplot.subplots()[1] if ax is None else ax
    for name, one in curves.items():
        drawn.plot(k, _values(name or "schedule", one, k), label=name)
    drawn.set_xlabel("updates")
    if list(curves) != [""]:
        drawn.legend()
    return drawn


def _values(name: str, schedule: Schedule | float | Array, k: np.ndarray) -> np.ndarray:
    values = called("plot", name, jax.vmap(schedule), jnp.asarray(k)) if is_schedule(schedule) else schedule
    values = np.asarray(real_value("plot", name, values))
    if values.shape not in ((), k.shape):
        raise HyperparameterError(f"plot: `{name}` must return one number, but returned shape {values.shape[1:]}.")
    return np.broadcast_to(values, k.shape)
