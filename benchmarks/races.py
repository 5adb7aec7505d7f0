"""The races that are kept in `results/race-*.json`, as tables: `python -m tests.pages races` writes them into the page."""

import json
import math
from pathlib import Path

import numpy as np

from gradxform.race._ties import tie_groups

RESULTS = Path(__file__).resolve().parent / "results"
HEAD = (
    "tie",
    "optimizer",
    "validation loss",
    "range",
    "held-out loss",
    "accuracy",
    "steps to target",
    "rate",
    "runs",
    "good rates",
)


def render() -> str:
    """All of them, by problem."""
    return "\n\n".join(section(json.loads(path.read_text(encoding="utf-8"))) for path in sorted(RESULTS.glob("race-*.json")))


def section(race: dict) -> str:
    """A race: what it was, and a row for each optimizer, in groups of those that the test does not tell apart."""
    settings, results = race["settings"], {r["label"]: r for r in race["results"] if not r["failed"]}
    groups = tie_groups({label: [math.inf if x is None else x for x in r["losses"]] for label, r in results.items()})
    rows = [row(chr(ord("A") + i), results[label]) for i, group in enumerate(groups) for label in group]
    lines = [f"| {' | '.join(cells)} |" for cells in [HEAD, ["---"] * 2 + ["---:"] * (len(HEAD) - 2), *rows]]
    return f"### {settings['problem']}\n\n{described(race)}\n\n" + "\n".join(lines)


def described(race: dict) -> str:
    settings = race["settings"]
    facts = [f"{settings['steps']} steps", f"{settings['rates']} rates", f"{settings['seeds']} fresh seeds", settings["schedule"]]
    facts += [settings["data"]] if settings["data"] else []
    facts += [f"{s['date'][:10]}, JAX {s['jax']}, Python {s['python']}" for s in race.get("sessions", [])[:1]]
    return f"{'; '.join(facts)}."


def row(letter: str, result: dict) -> list[str]:
    """The cells of one optimizer."""
    losses = [math.inf if x is None else x for x in result["losses"]]
    median_of = lambda name: median([s[name] for s in result["final"] if s.get(name) is not None])
    accuracy = median_of("test_acc")
    edge = {"low": "<= ", "high": ">= "}.get(result["edge"], "")
    return [
        letter, f"`{result['label']}`", number(median(losses)), f"{number(min(losses))} to {number(max(losses))}",
        number(median_of("test_loss")), "-" if math.isnan(accuracy) else f"{accuracy:.1%}", reached(result["reached"]),
        edge + number(result["rate"]), str(result["runs"]), f"{result['good_decades']:.1f} decades",
    ]  # fmt: skip


def median(values: list[float]) -> float:
    return float(np.median(values)) if values else math.nan


def reached(steps: list[int | None]) -> str:
    """The median over seeds; a dash where at least half of them miss."""
    middle = median([math.inf if s is None else s for s in steps])
    return f"{middle:.0f}" if math.isfinite(middle) else "-"


def number(x: float) -> str:
    return f"{x:.3g}" if math.isfinite(x) else "-" if math.isnan(x) else "diverged"
