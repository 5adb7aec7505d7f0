"""What the compensation of DC-ASGD buys when gradients arrive late: a simulator of asynchronous workers.

A server holds the parameters. Each worker takes a copy, computes a gradient on a mini-batch of its own, and sends it; meanwhile the other
workers' gradients have moved the server on. The server updates with the late gradient, and hands that worker a fresh copy.

    round-robin    the workers arrive in turn: with n of them, every gradient is n - 1 updates late
    random         whoever arrives is drawn at random: n - 1 updates late on average, sometimes far more

`dcasgd` is told where the gradient was computed (`delayed_params=`), and corrects it to first order, with lamda |g|^2 for the diagonal
of the Hessian. Of one example's gradient that square has the right size on average; of the mean over a mini-batch of 16 it is about 16
times too small, so lamda is of that order here. With lamda=0 it is plain SGD. All of it is seeded: the table is the same every time.

The table says: at the rate that suits one worker, SGD breaks down when 16 or 32 workers take turns, and the compensation holds it; random
arrival is milder. Where the rate may be tuned anew for each number of workers, little is left to gain, and sometimes something to lose.

    python notebooks/delayed_workers.py                      a table, in half a minute
    python notebooks/delayed_workers.py --figure delays.png  and a figure
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import gradxform as gx

WORKERS = (1, 8, 16, 32)
ORDERS = ("round-robin", "random")
LAMDAS = (0.0, 16.0, 64.0)
RATES = (0.05, 0.1, 0.2, 0.4, 0.8)
RATE = 0.4  # about the best for one worker
STEPS, BATCH, SEEDS = 500, 16, 5
EXAMPLES, FEATURES, CLASSES, HIDDEN = 1024, 20, 5, 32


class Run(NamedTuple):
    """A server's and its workers' copies of the parameters."""

    params: Any
    state: Any
    copies: Any  # stacked, one per worker


def data(seed: int = 0) -> tuple[Any, Any]:
    """Points of a Gaussian, with the classes that a random two-layer network gives them."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(EXAMPLES, FEATURES))
    scores = np.tanh(x @ rng.normal(size=(FEATURES, HIDDEN)) / FEATURES**0.5 * 2) @ rng.normal(size=(HIDDEN, CLASSES))
    return jnp.asarray(x, jnp.float32), jnp.asarray(scores.argmax(1))


def loss(params: Any, batch: tuple[Any, Any]) -> Any:
    x, y = batch
    hidden = jnp.tanh(x @ params["in"]["w"] + params["in"]["b"])
    logp = jax.nn.log_softmax(hidden @ params["out"]["w"] + params["out"]["b"])
    return -jnp.mean(jnp.take_along_axis(logp, y[:, None], 1))


def init(key: Any) -> Any:
    layer = lambda key, m, n: {"w": jax.random.normal(key, (m, n)) / m**0.5, "b": jnp.zeros(n)}
    first, second = jax.random.split(key)
    return {"in": layer(first, FEATURES, HIDDEN), "out": layer(second, HIDDEN, CLASSES)}


def arrivals(order: str, workers: int, key: Any) -> Any:
    """Which worker's gradient arrives at each step."""
    if order == "round-robin":
        return jnp.arange(STEPS) % workers
    return jax.random.randint(key, (STEPS,), 0, workers)


def simulate(rate: Any, lamda: Any, seed: Any, *, workers: int, order: str, examples: tuple[Any, Any]) -> Any:
    """The final loss on all examples, after STEPS updates of the server."""
    tx = gx.dcasgd(rate, lamda=lamda)
    start, who, pick = jax.random.split(jax.random.key(seed), 3)
    params = init(start)
    copies = jax.tree.map(lambda p: jnp.repeat(p[None], workers, 0), params)

    def step(run: Run, now: Any) -> tuple[Run, None]:
        worker, key = now
        chosen = jax.random.randint(key, (BATCH,), 0, EXAMPLES)
        delayed = jax.tree.map(lambda c: c[worker], run.copies)
        g = jax.grad(loss)(delayed, (examples[0][chosen], examples[1][chosen]))
        updates, state = tx.update(g, run.state, run.params, delayed_params=delayed)
        params = gx.apply_updates(run.params, updates)
        return Run(params, state, jax.tree.map(lambda c, p: c.at[worker].set(p), run.copies, params)), None

    steps = (arrivals(order, workers, who), jax.random.split(pick, STEPS))
    run, _ = jax.lax.scan(step, Run(params, tx.init(params), copies), steps)
    return loss(run.params, examples)


def final_losses(workers: int, order: str, examples: tuple[Any, Any]) -> np.ndarray:
    """Mean final losses, by lamda and learning rate."""
    one = lambda lamda, rate, seed: simulate(rate, lamda, seed, workers=workers, order=order, examples=examples)
    grid = jax.vmap(jax.vmap(jax.vmap(one, (None, None, 0)), (None, 0, None)), (0, None, None))
    losses = jax.jit(grid)(jnp.array(LAMDAS), jnp.array(RATES), jnp.arange(SEEDS))
    return np.nan_to_num(np.asarray(losses), nan=np.inf).mean(-1)


class Cell(NamedTuple):
    """Mean final losses by learning rate, without compensation and with it."""

    order: str
    workers: int
    losses: np.ndarray  # lamda, rate

    def at(self, lamda: float) -> tuple[float, float]:
        """At the rate that suits one worker, and at the best rate."""
        row = self.losses[LAMDAS.index(lamda)]
        return row[RATES.index(RATE)], row.min()


def table(cells: list[Cell]) -> None:
    names = ["SGD" if lamda == 0 else f"lamda={lamda:g}" for lamda in LAMDAS]
    heads = ["arrival", "workers", *(f"{name},\n{rate}" for name in names for rate in (f"rate {RATE:g}", "best rate"))]
    rows = [[c.order, str(c.workers), *(f"{x:.3f}" for lamda in LAMDAS for x in c.at(lamda))] for c in cells]
    title = f"Loss after {STEPS} updates, mean of {SEEDS} seeds; best of {len(RATES)} learning rates"
    try:
        from rich.console import Console
        from rich.table import Table
    except ModuleNotFoundError:
        heads = [head.replace("\n", " ") for head in heads]
        widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
        lines = ["  ".join(text.rjust(width) for text, width in zip(row, widths, strict=True)) for row in (heads, *rows)]
        sys.stdout.write("\n".join([title, *lines, ""]))
        return
    shown = Table(title=title)
    for head in heads:
        shown.add_column(head, justify="left" if head == "arrival" else "right")
    for row in rows:
        shown.add_row(*row, end_section=row[1] == str(WORKERS[-1]))
    Console(width=max(100, Console().width)).print(shown)


def figure(cells: list[Cell], path: Path) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    drawing = Figure(figsize=(10, 4), layout="constrained")
    FigureCanvasAgg(drawing)
    panels = drawing.subplots(1, len(ORDERS), sharey=True)
    for axes, order in zip(panels, ORDERS, strict=True):
        for lamda, colour in zip(LAMDAS, ("#b8b8b8", "#0072b2", "#d55e00"), strict=True):
            mine = [c for c in cells if c.order == order]
            fixed, best = zip(*(c.at(lamda) for c in mine), strict=True)
            name = "SGD" if lamda == 0 else f"DC-ASGD, lamda={lamda:g}"
            axes.plot(range(len(mine)), fixed, color=colour, label=f"{name}, rate {RATE:g}")
            axes.plot(range(len(mine)), best, color=colour, linestyle="--", label=f"{name}, best rate")
        axes.set_xticks(range(len(WORKERS)), [f"{n}\n({n - 1})" for n in WORKERS])
        axes.set(title=f"{order} arrival", xlabel="workers (mean delay in updates)", yscale="log")
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel(f"loss after {STEPS} updates")
    panels[-1].legend(frameon=False, fontsize=8)
    drawing.savefig(path, dpi=130)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--figure", type=Path, metavar="PATH", help="also save a figure there, as PNG")
    options = parser.parse_args()
    examples = data()
    cells = [Cell(order, n, final_losses(n, order, examples)) for order in ORDERS for n in WORKERS]
    table(cells)
    if options.figure is not None:
        figure(cells, options.figure)


if __name__ == "__main__":
    main()
