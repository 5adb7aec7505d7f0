"""The race on surfaces: a picture of paths.

Every optimizer runs with each of many rates; shown is the fastest rate at which the path stays in the frame and no step is longer
than 7 % of the frame's diagonal; it decays to zero along a cosine, so that paths end in points. Tuning for the lowest loss would
show scribbles.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np

from gradxform._types import Array
from gradxform.race._board import console
from gradxform.race._contestants import Contestant
from gradxform.race._extras import extra
from gradxform.race._figure import COLOURS, colour, new_figure
from gradxform.race._runner import reason
from gradxform.race._table import number
from gradxform.race._trainer import Updater, stack
from gradxform.race.problems.surfaces import Surface

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from rich.console import Console
    from rich.table import Table

STEPS = 300
RATES = np.geomspace(1e-5, 1e3, 8 * 8 + 1)
LONGEST_STEP = 0.07  # of the frame's diagonal


@dataclasses.dataclass
class Path2D:
    """The path of one optimizer on one surface.

    Attributes:
      optimizer, surface: names.
      rate: the fastest admissible; None: there was none.
      points: (steps + 1, 2) positions.
      loss: height above the minimum at the end.
    """

    optimizer: str
    surface: str
    rate: float | None
    points: np.ndarray
    loss: float


def run(surfaces: Sequence[Surface], contestants: Sequence[Contestant], out: Path, steps: int | None, figure: bool) -> int:
    """Run the contestants, print how low they came, and draw."""
    screen, steps = console(), steps or STEPS
    screen.print(
        f"gradxform race surfaces   {len(contestants)} optimizers  {steps} steps  {len(RATES)} rates each  cosine", markup=False
    )
    loss = lambda point, which: jax.lax.switch(which, [s.height for s in surfaces], point)
    gradients = jax.jit(jax.vmap(jax.value_and_grad(loss)))
    paths: list[Path2D] = []
    for contestant in _progress(screen, contestants):
        try:
            paths += _paths(contestant, surfaces, gradients, loss, steps)
        except Exception as e:
            screen.print(f"{contestant.label} failed: {reason(e)}", markup=False)
    screen.print(_table(surfaces, paths))
    screen.print(
        "Height above the minimum at the end, at the fastest rate that stays in the frame with no step over 7 % of its diagonal."
    )
    out.mkdir(parents=True, exist_ok=True)
    _save(out / "surfaces.json", paths, steps)
    screen.print(f"\nresults: {out / 'surfaces.json'}", markup=False)
    if figure and paths:
        screen.print(f"figure:  {_draw(surfaces, paths, steps, out / 'surfaces.png')}", markup=False)
    return 0


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


def _table(surfaces: Sequence[Surface], paths: Sequence[Path2D]) -> Table:
    table, box, text = extra("rich.table"), extra("rich.box"), extra("rich.text")
    made = table.Table(box=box.SIMPLE_HEAD, padding=(0, 2, 0, 0), show_edge=False)
    made.add_column("optimizer", no_wrap=True)
    for surface in surfaces:
        made.add_column(f"{surface.name}\nheight", justify="right", no_wrap=True)
        made.add_column("\nrate", justify="right", no_wrap=True)
    for label in dict.fromkeys(p.optimizer for p in paths):
        own = [p for p in paths if p.optimizer == label]
        cells = [cell for p in own for cell in (number(p.loss) if p.rate else "no rate", number(p.rate))]
        made.add_row(*map(text.Text, [label, *cells]))
    return made


def _draw(surfaces: Sequence[Surface], paths: Sequence[Path2D], steps: int, path: Path) -> Path:
    """A panel per surface: contours, the first six optimizers coloured, the others grey."""
    figure = new_figure(14, 12.2)
    panels = figure.subplots(2, 2).flat
    labels = list(dict.fromkeys(p.optimizer for p in paths))
    for surface, axes in zip(surfaces, panels, strict=False):
        _draw_contours(axes, surface)
        for rank, label in reversed(list(enumerate(labels))):
            for p in paths:
                if p.optimizer == label and p.surface == surface.name and p.rate is not None:
                    _draw_path(axes, p, rank)
        axes.plot(*surface.start, "o", color="black", ms=6, zorder=5)
        for minimum in surface.minima:
            axes.plot(*minimum, "*", color="black", ms=13, zorder=5)
        axes.set_title(surface.name)
    handles = [extra("matplotlib.lines").Line2D([], [], color=colour(i), lw=2.2) for i in range(min(len(labels), len(COLOURS) + 1))]
    names = [*labels[: len(COLOURS)], "the others"][: len(handles)]
    figure.legend(handles, names, loc="outside lower center", ncols=7, frameon=False)
    figure.suptitle(
        f"{steps} steps from the dot to the star, at the fastest rate that stays in the frame with no step over 7 % of its diagonal"
    )
    figure.savefig(path, dpi=110)
    return path


def _draw_contours(axes: Axes, surface: Surface) -> None:
    left, right, low, high = surface.frame
    x, y = np.meshgrid(np.linspace(left, right, 300), np.linspace(low, high, 300))
    height = surface.height(np.stack([x, y]))
    depth = np.log10(height - min(surface.height(m) for m in surface.minima) + 0.02)
    axes.contourf(x, y, depth, levels=24, cmap="Greys", alpha=0.45)
    axes.set(xlim=(left, right), ylim=(low, high), xticks=[], yticks=[])


def _draw_path(axes: Axes, p: Path2D, rank: int) -> None:
    coloured = rank < len(COLOURS)
    axes.plot(
        *p.points.T, color=colour(rank), lw=1.6 if coloured else 0.7, alpha=0.9 if coloured else 0.6, zorder=3 if coloured else 2
    )
    axes.plot(*p.points[-1], "D", color=colour(rank), ms=5, mec="white", mew=0.6, zorder=4)
