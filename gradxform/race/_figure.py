"""The figure of a race: three panels that share their order, best first.

Left, validation loss by step: the median over seeds as a line, the range as a band, the first six coloured and the others grey.
Middle, the final loss of every seed, ranked, with the tie groups. Right, how much each rate loses against the optimizer's best
rate.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from gradxform.race._extras import extra
from gradxform.race._protocol import SPACING
from gradxform.race._results import Result
from gradxform.race._settings import DESCRIPTIONS, Settings
from gradxform.race._table import groups_of, letter

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")  # told apart by the colour-blind too
GREY = "#b8b8b8"
WORST_RATIO = 10.0
FARTHEST = 6  # half-decades from the best rate that the heat map shows


def draw(results: Sequence[Result], settings: Settings, path: Path) -> Path:
    """Draw the results, failures left out, and return the path of the PNG."""
    groups = groups_of(results)
    rows = [r for group in groups for r in group]
    figure = new_figure(15, max(4.2, 1.9 + 0.3 * len(rows)))
    if rows:
        curves, dots, heat = figure.subplots(1, 3, width_ratios=[1.25, 1, 0.95])
        _draw_curves(curves, rows, settings)
        _draw_dots(dots, groups)
        _draw_heat(figure, heat, rows)
    figure.suptitle(
        f"gradxform race {settings.problem}: {settings.steps} steps, {DESCRIPTIONS[settings.schedule]}, "
        f"{settings.rates} rates each, top {settings.finalists} on {settings.seeds} fresh seeds",
        fontsize=11,
    )
    figure.savefig(path, dpi=130)
    return path


def new_figure(width: float, height: float) -> Figure:
    """A figure that draws into memory, whatever the screen."""
    figure = extra("matplotlib.figure").Figure(figsize=(width, height), layout="constrained")
    extra("matplotlib.backends.backend_agg").FigureCanvasAgg(figure)
    return figure


def colour(rank: int) -> str:
    return COLOURS[rank] if rank < len(COLOURS) else GREY


def _plain(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)


def _draw_curves(axes: Axes, rows: Sequence[Result], settings: Settings) -> None:
    steps = settings.evaluated_at
    for rank, r in reversed(list(enumerate(rows))):
        losses = np.asarray(r.curves)
        losses = np.where(np.isfinite(losses), losses, np.nan)
        middle = np.median(np.asarray(r.curves), axis=0)
        coloured = rank < len(COLOURS)
        label = r.label if coloured else ("the others" if rank == len(rows) - 1 else None)
        axes.plot(
            steps, np.where(np.isfinite(middle), middle, np.nan), color=colour(rank), lw=1.8 if coloured else 1.0, label=label
        )
        if coloured and np.isfinite(losses).any(axis=0).all():
            axes.fill_between(steps, np.nanmin(losses, 0), np.nanmax(losses, 0), color=colour(rank), alpha=0.1, lw=0)
    if _all_positive(rows):
        axes.set_yscale("log")
        coloured = [x for r in rows[: len(COLOURS)] for x in np.median(r.curves, axis=0) if np.isfinite(x)]
        axes.set_ylim(top=2 * max(coloured, default=1.0))  # a grey one that strays does not flatten the others
    axes.set(xlabel="step", ylabel="validation loss", title="Loss by step: median and range over seeds")
    handles, labels = axes.get_legend_handles_labels()
    last = labels.index("the others") if "the others" in labels else None
    order = [i for i in reversed(range(len(labels))) if i != last] + ([] if last is None else [last])
    axes.legend([handles[i] for i in order], [labels[i] for i in order], frameon=False, fontsize=9)
    _plain(axes)


def _all_positive(rows: Sequence[Result]) -> bool:
    return all(x > 0 for r in rows for curve in r.curves for x in curve)


def _draw_dots(axes: Axes, groups: Sequence[Sequence[Result]]) -> None:
    rows = [r for group in groups for r in group]
    shown = [x for r in rows for x in r.losses if math.isfinite(x)]
    for rank, r in enumerate(rows):
        finite = [x for x in r.losses if math.isfinite(x)]
        axes.plot(finite, [rank] * len(finite), "o", ms=5, color=colour(rank), alpha=0.55, mew=0)
        if math.isfinite(r.median):
            axes.plot([r.median], [rank], "|", ms=15, mew=2, color="black")
        if len(finite) < len(r.losses):
            missing = len(r.losses) - len(finite)
            axes.annotate(f"{missing} diverged", (1, rank), xycoords=("axes fraction", "data"), ha="right", va="center", fontsize=8)
    axes.set_yticks(range(len(rows)), _labels(groups))
    axes.set_ylim(len(rows) - 0.5, -0.5)
    if shown and min(shown) > 0:
        axes.set_xscale("log")
    _few_ticks(axes)
    end = 0
    for group in groups[:-1]:
        end += len(group)
        axes.axhline(end - 0.5, color="black", lw=0.6, ls=":")
    axes.grid(axis="x", lw=0.4, color="#dddddd")
    axes.set_axisbelow(True)
    axes.set(xlabel="final validation loss", title="Every seed (dots), median (bar), tie groups (letters)")
    _plain(axes)


def _labels(groups: Sequence[Sequence[Result]]) -> list[str]:
    return [f"{r.label}  {letter(i)}" for i, group in enumerate(groups) for r in group]


def _few_ticks(axes: Axes) -> None:
    """Plain numbers, also where a logarithmic axis spans less than a decade."""
    ticker = extra("matplotlib.ticker")
    if axes.get_xscale() == "log":
        low, high = axes.get_xlim()
        subs = (1.0, 2.0, 5.0) if high / low < 100 else (1.0,)
        axes.xaxis.set_major_locator(ticker.LogLocator(base=10, subs=subs, numticks=12))
        axes.xaxis.set_minor_formatter(ticker.NullFormatter())
    axes.xaxis.set_major_formatter(ticker.FuncFormatter(lambda x, _: f"{x:g}"))


def _ratios(rows: Sequence[Result]) -> tuple[np.ndarray, list[int]]:
    """Loss / best loss on the tuning seed, by optimizer and by half-decades from its best rate; NaN where nothing was tried."""
    found: list[dict[int, float]] = []
    for r in rows:
        best_rate, best = min(r.trials, key=lambda trial: trial[1])
        away = [round(math.log10(rate / best_rate) / SPACING) for rate, _ in r.trials]
        found.append({e: _ratio(loss, best) for e, (_, loss) in zip(away, r.trials, strict=True) if abs(e) <= FARTHEST})
    columns = list(range(min(map(min, found)), max(map(max, found)) + 1))
    return np.asarray([[row.get(c, math.nan) for c in columns] for row in found]), columns


def _ratio(loss: float, best: float) -> float:
    if not math.isfinite(loss):
        return math.inf
    return loss / best if best > 0 else 1 + (loss - best) / (abs(best) or 1.0)


def _draw_heat(figure: Figure, axes: Axes, rows: Sequence[Result]) -> None:
    ratios, columns = _ratios(rows)
    colours = extra("matplotlib").colormaps["YlGnBu"].with_extremes(bad="white")
    norm = extra("matplotlib.colors").LogNorm(1, WORST_RATIO)
    image = axes.imshow(np.clip(ratios, 1, WORST_RATIO), cmap=colours, norm=norm, aspect="auto")
    for i, row in enumerate(ratios):
        for j, ratio in enumerate(row):
            if math.isinf(ratio):
                axes.text(j, i, "x", ha="center", va="center", color="white", fontsize=8)
    axes.set_yticks(range(len(rows)), [r.label for r in rows])
    whole = [i for i, c in enumerate(columns) if c * SPACING % 1 == 0]
    axes.set_xticks(whole, [f"{10.0 ** int(columns[i] * SPACING):g}" for i in whole])
    axes.set(xlabel="rate / best rate", title="Loss / best loss while tuning (x: diverged)")
    bar = figure.colorbar(image, ax=axes, shrink=0.8, ticks=[1, 2, 5, WORST_RATIO])
    bar.ax.set_yticklabels(["1", "2", "5", f"{WORST_RATIO:g}+"])
    bar.ax.minorticks_off()
