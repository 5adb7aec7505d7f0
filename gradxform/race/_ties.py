"""Which differences are real: tie groups from a paired permutation test.

All optimizers meet the same seeds, that is, the same initial weights and batches. If those of a set were alike, then within each
seed their losses could as well be dealt out among them in any order. The test deals them out many times and asks how often the
largest difference between two optimizers' mean log losses is as large as the one observed. It looks at the largest difference of
the whole set, so picking the best after the fact, and comparing many, are accounted for; of two optimizers it is the paired
sign-flip test.

The first group is the longest head of the ranking in which the test sees no difference. The second is the same for the rest, and so
on. Sets are tested from the longest downward and the first that holds is taken, so optimizers that are alike are split with
probability at most `LEVEL` per group, however many run. Those whose median is infinite need no test: they are the last group.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

LEVEL = 0.05
DRAWS = 4000
TOO_SMALL = 0.01  # of the loss; three printed digits show no less
SEEDS_NEEDED = 6  # with fewer, no outcome tells two apart: 2 of the 2^5 sign patterns are more than 5 %
DESCRIPTION = (
    f"paired permutation test of log losses within seeds, largest difference, {LEVEL:.0%} level; less than {TOO_SMALL:.0%} is a tie"
)


def tie_groups(losses: Mapping[str, Sequence[float]]) -> list[list[str]]:
    """Names in groups that the test cannot tell apart, the best group first.

    Args:
      losses: per name, one loss per seed, seeds in the same order for all; not finite counts as infinitely bad.
    """
    medians = {name: np.median(_or_infinite(x)) for name, x in losses.items()}
    names = [name for name in sorted(losses, key=medians.__getitem__) if np.isfinite(medians[name])]
    logs = _logs(np.asarray([losses[name] for name in names], np.float64))
    groups, start = [], 0
    while start < len(names):
        end = len(names)
        while end > start + 1 and not _as_good(medians[names[start]], medians[names[end - 1]]) and p_alike(logs[start:end]) < LEVEL:
            end -= 1
        groups.append(names[start:end])
        start = end
    diverged = [name for name in losses if not np.isfinite(medians[name])]
    return groups + [diverged] * bool(diverged)


def _as_good(best: float, worst: float) -> bool:
    """Whether a difference is too small to matter, or to be seen."""
    return worst - best <= TOO_SMALL * max(abs(best), abs(worst)) or f"{best:.3g}" == f"{worst:.3g}"


def p_alike(values: np.ndarray) -> float:
    """How probable a largest difference of row means as large as this is, when values are exchangeable within each column."""
    rows, columns = values.shape
    rng = np.random.default_rng(0)
    observed = np.ptp(values.sum(axis=1))
    as_large, batch = 0, max(1, 2_000_000 // values.size)
    for done in range(0, DRAWS, batch):
        draws = np.broadcast_to(values, (min(batch, DRAWS - done), rows, columns))
        dealt = rng.permuted(draws, axis=1)
        as_large += np.count_nonzero(np.ptp(dealt.sum(axis=2), axis=1) >= observed * (1 - 1e-9))
    return (1 + as_large) / (1 + DRAWS)


def _or_infinite(values: Sequence[float] | np.ndarray) -> np.ndarray:
    values = np.asarray(values, np.float64)
    return np.where(np.isfinite(values), values, np.inf)


def _logs(losses: np.ndarray) -> np.ndarray:
    """Logarithms (of negative losses, the losses themselves), with a value well beyond the worst for an infinite loss."""
    losses = _or_infinite(losses)
    finite = np.isfinite(losses)
    if not finite.any():
        return losses
    logs = losses if losses[finite].min() < 0 else np.log(np.maximum(losses, 1e-30))
    return np.where(finite, logs, logs[finite].max() + np.ptp(logs[finite]) + 1)
