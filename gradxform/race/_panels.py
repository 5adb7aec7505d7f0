"""The four panels of a race's figure."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from gradxform.race._extras import extra
from gradxform.race._fit import broken
from gradxform.race._protocol import SPACING
from gradxform.race._results import Result
from gradxform.race._settings import Settings
from gradxform.race._table import letter

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")  # told apart by the colour-blind too
GREY = "#b8b8b8"
LONGEST_LABEL = 32
WORST_RATIO = 10.0
FARTHEST = 6  # half-decades from the best rate that the heat map shows
SETTLED = 0.25  # of a run, after which its scores lie in the frame


def colour(rank: int) -> str:
    return COLOURS[rank] if rank < len(COLOURS) else GREY


def label(name: str, idle: Sequence[str] = (), width: int = LONGEST_LABEL) -> str:
    """A name, in several lines if it is long, and which of its stages find nothing to act on."""
    return "\n".join([broken(name, width), *(f"(nothing for {stage})" for stage in idle)])


def _plain(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)


def by_step(axes: Axes, rows: Sequence[Result], settings: Settings) -> None:
    """Validation loss; the first six coloured, the range over seeds of the best alone."""
    steps = np.asarray(settings.evaluated_at, float)
    _curves(axes, rows, lambda r: steps, lambda r: r.curves)
    best = np.asarray(rows[0].curves)
    if np.isfinite(best).all():
        axes.fill_between(steps, best.min(0), best.max(0), color=colour(0), alpha=0.15, lw=0)
    _frame_losses(axes, rows)
    axes.set(xlabel="step", ylabel="validation loss", title="Loss by step: medians over seeds, and the range of the best")
    handles, labels = axes.get_legend_handles_labels()
    axes.legend(handles[::-1], labels[::-1], loc="upper right", framealpha=0.85, edgecolor="none", fontsize=9)


def by_seconds(axes: Axes, rows: Sequence[Result], settings: Settings) -> None:
    """Validation accuracy, or the loss, by the seconds that the steps take."""
    timed = [(rank, r) for rank, r in enumerate(rows) if r.step_us]
    name = "accuracy" if all(r.accuracies for _, r in timed) else "loss"
    axes.set(xlabel="seconds of one run, evaluations left out", ylabel=f"validation {name}", title=f"{name.capitalize()} by time")
    _plain(axes)
    if not timed:
        axes.text(0.5, 0.5, "no step times yet", ha="center", va="center", transform=axes.transAxes, color="#666666")
        return
    seconds = lambda r: np.asarray(settings.evaluated_at) * (r.step_us or 0.0) * 1e-6
    _curves(axes, rows, seconds, lambda r: (r.accuracies if name == "accuracy" else r.curves) if r.step_us else [])
    ends = [seconds(r)[-1] for _, r in timed]
    if max(ends) > 4 * min(ends):
        axes.set_xscale("log")
        _few_ticks(axes)
    if name == "loss":
        _frame_losses(axes, rows)
        return
    settled = [
        np.median(r.accuracies, axis=0)[int(SETTLED * len(settings.evaluated_at)) :] for rank, r in timed if rank < len(COLOURS)
    ]
    shown = np.concatenate(settled or [np.zeros(1)])
    low, high = np.nanmin(shown, initial=1.0), np.nanmax(shown, initial=0.0)
    bottom, top = low - 0.25 * (high - low), high + 0.05 * (high - low)
    entries = [float(seconds(r)[i]) for _, r in timed for i in np.flatnonzero(np.median(r.accuracies, axis=0) >= bottom)[:1]]
    if high > low and entries:
        axes.set_ylim(bottom, top)
        axes.set_xlim(left=0.7 * min(entries) if axes.get_xscale() == "log" else 0.0)
    axes.yaxis.set_major_formatter(extra("matplotlib.ticker").FuncFormatter(lambda y, _: f"{100 * y:.4g}%"))


def _curves(
    axes: Axes, rows: Sequence[Result], places: Callable[[Result], np.ndarray], values: Callable[[Result], list[list[float]]]
) -> None:
    """Medians over seeds as lines, the best on top; all that are not coloured have one label."""
    for rank, r in reversed(list(enumerate(rows))):
        if values(r):
            middle = np.median(np.asarray(values(r)), axis=0)
            coloured = rank < len(COLOURS)
            named = label(r.label) if coloured else ("the others" if rank == len(rows) - 1 else None)
            shown = np.where(np.isfinite(middle), middle, np.nan)
            axes.plot(places(r), shown, color=colour(rank), lw=1.8 if coloured else 1.0, label=named)
    _plain(axes)


def _frame_losses(axes: Axes, rows: Sequence[Result]) -> None:
    """A logarithmic axis where losses are positive; one that strays does not flatten the others."""
    if all(x > 0 for r in rows for curve in r.curves for x in curve):
        axes.set_yscale("log")
        coloured = [x for r in rows[: len(COLOURS)] for x in np.median(r.curves, axis=0) if np.isfinite(x)]
        axes.set_ylim(top=2 * max(coloured, default=1.0))


def every_seed(axes: Axes, groups: Sequence[Sequence[Result]]) -> None:
    """The final loss of every seed, ranked."""
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
    axes.set_yticks(range(len(rows)), [f"{label(r.label, r.idle)}  {letter(i)}" for i, group in enumerate(groups) for r in group])
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


def _few_ticks(axes: Axes) -> None:
    """Plain numbers, also where a logarithmic axis spans less than a decade."""
    ticker = extra("matplotlib.ticker")
    if axes.get_xscale() == "log":
        low, high = axes.get_xlim()
        subs = (1.0, 2.0, 5.0) if high / low < 1000 else (1.0,)
        axes.xaxis.set_major_locator(ticker.LogLocator(base=10, subs=subs, numticks=12))
        axes.xaxis.set_minor_formatter(ticker.NullFormatter())
    axes.xaxis.set_major_formatter(ticker.FuncFormatter(lambda x, _: f"{x:g}"))


def _ratios(rows: Sequence[Result]) -> tuple[np.ndarray, list[int]]:
    """Loss / best loss on the tuning seed, by optimizer and by half-decades from its best rate; NaN where nothing was tried."""
    found: list[dict[int, float]] = []
    for r in rows:
        if not r.trials:
            found.append({0: math.nan})
            continue
        best_rate, best = min(r.trials, key=lambda trial: trial[1])
        away = [round(math.log10(rate / best_rate) / SPACING) for rate, _ in r.trials]
        found.append({e: _ratio(loss, best) for e, (_, loss) in zip(away, r.trials, strict=True) if abs(e) <= FARTHEST})
    columns = list(range(min(map(min, found)), max(map(max, found)) + 1))
    return np.asarray([[row.get(c, math.nan) for c in columns] for row in found]), columns


def _ratio(loss: float, best: float) -> float:
    if not math.isfinite(loss):
        return math.inf
    return loss / best if best > 0 else 1 + (loss - best) / (abs(best) or 1.0)


def sensitivity(figure: Figure, axes: Axes, rows: Sequence[Result]) -> None:
    """A row of rates per optimizer: its loss on the tuning seed against that at the best rate. The names stand at the panel beside."""
    ratios, columns = _ratios(rows)
    colours = extra("matplotlib").colormaps["YlGnBu"].with_extremes(bad="white")
    norm = extra("matplotlib.colors").LogNorm(1, WORST_RATIO)
    image = axes.imshow(np.clip(ratios, 1, WORST_RATIO), cmap=colours, norm=norm, aspect="auto")
    for i, (r, row) in enumerate(zip(rows, ratios, strict=True)):
        for j, ratio in enumerate(row):
            if math.isinf(ratio):
                axes.text(j, i, "x", ha="center", va="center", color="white", fontsize=8)
        if not r.trials:
            axes.text(len(columns) / 2 - 0.5, i, "not tuned", ha="center", va="center", color="#666666", fontsize=8)
    for i in range(1, len(rows)):
        axes.axhline(i - 0.5, color="white", lw=1.5)
    axes.tick_params(labelleft=False, left=False)
    axes.spines[:].set_visible(False)
    whole = [i for i, c in enumerate(columns) if c * SPACING % 1 == 0]
    axes.set_xticks(whole, [f"{10.0 ** int(columns[i] * SPACING):g}" for i in whole])
    axes.set(xlabel="rate / best rate", title="Loss / best loss while tuning (x: diverged, white: not tried)")
    bar = figure.colorbar(image, ax=axes, shrink=0.8, ticks=[1, 2, 5, WORST_RATIO])
    bar.ax.set_yticklabels(["1", "2", "5", f"{WORST_RATIO:g}+"])
    bar.ax.minorticks_off()
