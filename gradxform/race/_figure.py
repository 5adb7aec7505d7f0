"""The figure of a race: how the optimizers learn, and how they end.

Above, the curves: validation loss by step, and validation accuracy (or the loss, where there is none) by seconds. Below, the optimizers
in their order, best first: the final loss of every seed with the tie groups, and how much each rate loses against the best rate.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from gradxform.race import _panels
from gradxform.race._extras import extra
from gradxform.race._results import Results
from gradxform.race._settings import DESCRIPTIONS
from gradxform.race._table import groups_of
from gradxform.race._words import counted

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WIDTH, CURVES = 14.0, 4.6  # inches
DPI = 120


def figure(results: Results, path: str | Path | None = None) -> Figure:
    """Draw the results, failures left out; save the picture where a path is given."""
    groups = groups_of(results.values())
    rows = [r for group in groups for r in group]
    lines = sum(_panels.label(r.label, r.idle).count("\n") + 1 for r in rows)
    below = max(2.6, 1.3 + 0.27 * lines)
    made = new_figure(WIDTH, CURVES + below + 0.5)
    if rows:
        grid = made.add_gridspec(2, 2, height_ratios=[CURVES, below], width_ratios=[1.15, 1])
        _panels.by_step(made.add_subplot(grid[0, 0]), rows, results.settings)
        _panels.by_seconds(made.add_subplot(grid[0, 1]), rows, results.settings)
        dots = made.add_subplot(grid[1, 0])
        _panels.every_seed(dots, groups)
        _panels.sensitivity(made, made.add_subplot(grid[1, 1], sharey=dots), rows)
    s = results.settings
    so_far = "" if results.complete else ", so far"
    made.suptitle(
        f"gradxform race {s.problem}{so_far}: {s.steps} steps, {DESCRIPTIONS[s.schedule]}, {counted(s.rates, 'rate')} each, "
        f"the best {f'{s.finalists} ' if s.finalists > 1 else ''}on {counted(s.seeds, 'fresh seed')}",
        fontsize=12,
    )
    if path is not None:
        made.savefig(path, dpi=DPI)
    return made


def new_figure(width: float, height: float) -> Figure:
    """A figure that draws into memory, whatever the screen."""
    made = extra("matplotlib.figure").Figure(figsize=(width, height), layout="constrained")
    extra("matplotlib.backends.backend_agg").FigureCanvasAgg(made)
    return made
