"""How a transcription becomes an entry of `ORACLES`."""

from __future__ import annotations

import functools
from collections.abc import Callable, Generator
from typing import Any

import numpy as np

ORACLES: dict[str, Callable[..., Callable[..., list[np.ndarray]]]] = {}


def array_oracle(make: Callable[..., Generator] | None = None, *, extra: str | None = None) -> Any:
    """Collect a coroutine written for one array: it runs once per leaf, each run with its own state.

    With `extra`, `step(g, w, <extra>=[...])` passes one more array per leaf: `g, w, x = yield u` (x is None where not given).
    """
    if make is None:
        return functools.partial(array_oracle, extra=extra)

    @functools.wraps(make)
    def factory(*args: Any, **kwargs: Any) -> Callable[..., list[np.ndarray]]:
        make(*args, **kwargs)  # a wrong argument is reported here, not at the first step
        runs: list[Generator] = []

        def step(g: list, w: list | None = None, **extras: Any) -> list[np.ndarray]:
            if not runs:
                runs.extend(_started(make, args, kwargs) for _ in g)
            return [_like(run.send(inputs), inputs[0]) for run, *inputs in zip(runs, *_columns(g, w, extra, extras), strict=True)]

        return step

    return _entered(make, factory)


def oracle(make: Callable[..., Generator] | None = None, *, extra: str | None = None) -> Any:
    """Collect a coroutine written for the whole list of leaves: `g, w = yield u`, each a list of arrays."""
    if make is None:
        return functools.partial(oracle, extra=extra)

    @functools.wraps(make)
    def factory(*args: Any, **kwargs: Any) -> Callable[..., list[np.ndarray]]:
        run = _started(make, args, kwargs)

        def step(g: list, w: list | None = None, **extras: Any) -> list[np.ndarray]:
            inputs = _columns(g, w, extra, extras)
            return [_like(u, g_i) for u, g_i in zip(run.send(inputs), inputs[0], strict=True)]

        return step

    return _entered(make, factory)


def _entered(make: Callable, factory: Callable) -> Callable:
    room, _, module = make.__module__.rpartition(".")
    name = f"{module.lstrip('_')}.{make.__name__}" if room.endswith("dialects") else make.__name__
    assert name not in ORACLES, f"two oracles are named {name}"
    ORACLES[name] = factory
    return factory


def _started(make: Callable[..., Generator], args: tuple, kwargs: dict) -> Generator:
    run = make(*args, **kwargs)
    next(run)  # up to the first `yield`, which waits for the first gradient
    return run


def _columns(g: list, w: list | None, extra: str | None, extras: dict) -> list[list]:
    """The inputs as lists over the leaves: gradients, parameters and, where one is declared, the extra argument."""
    unknown = set(extras) - {extra}
    if unknown:
        raise TypeError(f"this oracle takes {extra or 'no extra argument'}, not {sorted(unknown)}")
    columns = [g, [None] * len(g) if w is None else w]
    if extra is not None:
        columns.append(extras.get(extra) or [None] * len(g))
    return [[None if x is None else _wide(x) for x in column] for column in columns]


def _wide(x: Any) -> np.ndarray:
    return np.array(x, np.complex128 if np.iscomplexobj(x) else np.float64)


def _like(u: Any, g: np.ndarray) -> np.ndarray:
    assert np.shape(u) == g.shape, f"an update of shape {np.shape(u)} for a gradient of shape {g.shape}"
    return np.asarray(u)
