"""The picture of paths on surfaces: a small panel for each optimizer on each surface, so that all are seen alike."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from gradxform.race._extras import extra
from gradxform.race._figure import new_figure
from gradxform.race._panels import label
from gradxform.race._table import number
from gradxform.race.problems.surfaces import Surface

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_ABREAST = 7  # optimizers
LONGEST_TITLE = 28
PANEL = 2.1  # inches
DPI = 110
ZIGZAG = 2.5  # diagonals


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


def draw(surfaces: Sequence[Surface], paths: Sequence[Path2D], steps: int, idle: Mapping[str, Sequence[str]], path: Path) -> Path:
    """A column per optimizer and a row per surface; where there are many optimizers, in several bands.

    Args:
      surfaces, paths: what to draw.
      steps: of a path.
      idle: of an optimizer, the stages that find nothing to act on.
      path: of the picture.
    """
    labels = list(dict.fromkeys(p.optimizer for p in paths))
    by_place = {(p.optimizer, p.surface): p for p in paths}
    bands = math.ceil(len(labels) / MOST_ABREAST)
    abreast = math.ceil(len(labels) / bands)
    figure = new_figure(PANEL * max(abreast, 3) + 0.4, (PANEL * len(surfaces) + 0.3) * bands + 0.7)
    panels = figure.subplots(bands * len(surfaces), abreast, squeeze=False)
    for axes in panels.flat:
        axes.axis("off")
    for n, name in enumerate(labels):
        band, column = divmod(n, abreast)
        for row, surface in enumerate(surfaces):
            axes = panels[band * len(surfaces) + row, column]
            axes.axis("on")
            _draw_panel(axes, surface, by_place[name, surface.name])
            if row == 0:
                axes.set_title(label(name, idle.get(name, ()), LONGEST_TITLE), fontsize=9, fontweight="bold")
            if column == 0:
                axes.set_ylabel(surface.name)
    figure.suptitle(
        f"{steps} steps from the dot, dark to bright; stars: minima. The fastest rate that stays in the frame\n"
        "with no step over 7 % of its diagonal, and the height above the minimum at the end",
        fontsize=11,
    )
    figure.savefig(path, dpi=DPI)
    return path


def _draw_panel(axes: Axes, surface: Surface, p: Path2D) -> None:
    left, right, low, high = surface.frame
    x, y = np.meshgrid(np.linspace(left, right, 150), np.linspace(low, high, 150))
    height = surface.height(np.stack([x, y]))
    depth = np.log10(height - min(surface.height(m) for m in surface.minima) + 0.02)
    axes.contour(x, y, depth, levels=12, colors="#c4c4c4", linewidths=0.5)
    axes.set(xlim=(left, right), ylim=(low, high), xticks=[], yticks=[])
    for minimum in surface.minima:
        axes.plot(*minimum, "*", color="black", ms=8, zorder=5)
    axes.plot(*surface.start, "o", color="black", ms=4, zorder=5)
    if p.rate is None:
        axes.text(0.5, 0.5, "no rate stays", ha="center", va="center", transform=axes.transAxes, fontsize=8)
        return
    pieces = np.stack([p.points[:-1], p.points[1:]], axis=1)
    way = np.linalg.norm(np.diff(p.points, axis=0), axis=1).cumsum()
    long = way[-1] > ZIGZAG * math.hypot(
        right - left, high - low
    )  # there and back many times: thin, so that it does not fill areas
    lines = extra("matplotlib.collections").LineCollection(
        list(pieces), cmap="plasma", array=0.85 * way / (way[-1] or 1), clim=(0, 1), linewidths=0.55 if long else 1.3, zorder=3
    )
    axes.add_collection(lines)
    axes.plot(*p.points[-1], "D", color="#d55e00", ms=4, mec="white", mew=0.5, zorder=6)
    said = f"rate {number(p.rate)}   height {number(p.loss)}"
    axes.text(0.5, 0.02, said, ha="center", va="bottom", transform=axes.transAxes, fontsize=7, bbox=BEHIND, zorder=7)


BEHIND = {"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 1}
