"""The race on surfaces: a picture of paths.

Every optimizer runs with each of many rates; shown is the fastest rate at which the path stays in the frame and no step is longer
than 7 % of the frame's diagonal; it decays to zero along a cosine, so that paths end in points. Tuning for the lowest loss would
show scribbles.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np

from gradxform._types import Array
from gradxform.race._cli import DONE, FAILED
from gradxform.race._contestants import Contestant
from gradxform.race._extras import extra
from gradxform.race._fit import Heading, Row, fitted
from gradxform.race._idle import idle
from gradxform.race._runner import reason
from gradxform.race._store import reserve
from gradxform.race._surfaces_figure import Path2D, draw
from gradxform.race._table import number
from gradxform.race._trainer import Updater, stack
from gradxform.race._verdict import nothing_to_act_on
from gradxform.race._words import counted
from gradxform.race.problems.surfaces import Surface

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

STEPS = 300
RATES = np.geomspace(1e-5, 1e3, 8 * 8 + 1)
LONGEST_STEP = 0.07  # of the frame's diagonal


def run(
    surfaces: Sequence[Surface], contestants: Sequence[Contestant], out: Path, steps: int | None, screen: Console, figure: bool
) -> int:
    """Run the contestants, print how low they came, and draw; 1 if none came anywhere."""
    steps, file = steps or STEPS, reserve(out, "surfaces")
    screen.print(f"{counted(len(contestants), 'optimizer')}  {steps} steps  {len(RATES)} rates each  cosine", markup=False)
    loss = lambda point, which: jax.lax.switch(which, [s.height for s in surfaces], point)
    gradients = jax.jit(jax.vmap(jax.value_and_grad(loss)))
    paths: list[Path2D] = []
    try:
        for contestant in _progress(screen, contestants):
            try:
                paths += _paths(contestant, surfaces, gradients, loss, steps)
            except Exception as e:
                screen.print(f"{contestant.label} failed: {reason(e)}", markup=False)
    finally:
        if not paths:
            file.unlink()
    if not paths:
        return FAILED
    done, point = {p.optimizer for p in paths}, jnp.zeros(2)
    stages = {c.label: idle(c.make(1.0), c.make(1.0).init(point)) for c in contestants if c.label in done}
    _report(screen, surfaces, paths, stages)
    _save(file, paths, steps)
    screen.print(f"\nresults: {file}", markup=False, soft_wrap=True)
    if figure:
        screen.print(f"figure:  {draw(surfaces, paths, steps, stages, file.with_suffix('.png'))}", markup=False, soft_wrap=True)
    return DONE


def _report(screen: Console, surfaces: Sequence[Surface], paths: Sequence[Path2D], stages: Mapping[str, Sequence[str]]) -> None:
    made, left_out = _table(surfaces, paths, screen.width)
    screen.print(made)
    if left_out:
        screen.print(f"No room here for: {', '.join(left_out)}.", markup=False)
    screen.print(
        "Height above the minimum at the end, at the fastest rate that stays in the frame with no step over 7 % of its diagonal."
    )
    for name, found in stages.items():
        if found:
            screen.print(nothing_to_act_on(name, found), markup=False)


def _progress(screen: Console, contestants: Sequence[Contestant]) -> Iterable[Contestant]:
    return extra("rich.progress").track(contestants, " paths", console=screen, transient=True, disable=not screen.is_terminal)


def _paths(
    contestant: Contestant,
    surfaces: Sequence[Surface],
    gradients: Callable[[Array, Array], tuple[Array, Array]],
    loss: Callable[[Array, Array], Array],
    steps: int,
) -> list[Path2D]:
    """All rates on all surfaces side by side; then the best admissible path of each surface."""
    updater = Updater(contestant, loss)
    which = jnp.repeat(jnp.arange(len(surfaces)), len(RATES))
    rates = jnp.asarray(np.tile(RATES, len(surfaces)), jnp.float32)
    points = stack([np.asarray(s.start, np.float32) for s in surfaces for _ in RATES])
    state = jax.vmap(updater.init, out_axes=0)(points)
    walked = [points]
    for step in range(steps):
        values, grads = gradients(points, which)
        factor = 0.5 + 0.5 * math.cos(math.pi * step / steps)
        points, state = updater.lanes(factor * rates, values, grads, state, points, which)
        walked.append(points)
    tracks = np.asarray(walked).reshape(steps + 1, len(surfaces), len(RATES), 2)
    return [_fastest(contestant.label, surface, tracks[:, i]) for i, surface in enumerate(surfaces)]


def _fastest(label: str, surface: Surface, tracks: np.ndarray) -> Path2D:
    """The path with the highest admissible rate. `tracks` is (steps + 1, rates, 2)."""
    ok = [j for j in range(len(RATES)) if admissible(tracks[:, j], surface.frame)]
    if not ok:
        return Path2D(label, surface.name, None, tracks[:1, 0], math.inf)
    points = tracks[:, ok[-1]].astype(float)
    above = float(surface.height(points[-1]) - min(surface.height(m) for m in surface.minima))
    return Path2D(label, surface.name, float(RATES[ok[-1]]), points, max(above, 0.0))


def admissible(points: np.ndarray, frame: tuple[float, float, float, float]) -> bool:
    """Whether a path stays in the frame and never takes a long step."""
    left, right, low, high = frame
    x, y = points[:, 0], points[:, 1]
    if not np.all((left <= x) & (x <= right) & (low <= y) & (y <= high)):
        return False
    longest = np.linalg.norm(np.diff(points, axis=0), axis=1).max(initial=0.0)
    return bool(longest <= LONGEST_STEP * math.hypot(right - left, high - low))


def _save(path: Path, paths: Sequence[Path2D], steps: int) -> None:
    saved = [
        {**dataclasses.asdict(p), "points": p.points.tolist(), "loss": p.loss if math.isfinite(p.loss) else None} for p in paths
    ]
    path.write_text(json.dumps({"format": 1, "steps": steps, "paths": saved}), encoding="utf-8")


def _table(surfaces: Sequence[Surface], paths: Sequence[Path2D], width: int) -> tuple[Table, list[str]]:
    headings = [Heading("optimizer")]
    for i, surface in enumerate(surfaces):
        last = len(surfaces) - i
        headings += [Heading(f"{surface.name}\nheight", last if i else 0), Heading(f"{surface.name}\nrate", last + len(surfaces))]
    rows = []
    for label in dict.fromkeys(p.optimizer for p in paths):
        own = [p for p in paths if p.optimizer == label]
        rows.append(Row([label, *(cell for p in own for cell in (number(p.loss) if p.rate else "no rate", number(p.rate)))]))
    return fitted(headings, rows, width)
