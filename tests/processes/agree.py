"""Whether several processes give what one gives."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from tests.processes import cases, launch

HERE = Path(__file__).parent
RESULT = HERE / "result.json"
Arrays = Mapping[str, np.ndarray]


def ran(folder: Path, names: Iterable[str], processes: int) -> list[Arrays]:
    """What each process has after each case."""
    launch.run(HERE / "worker.py", folder, *names, processes=processes, devices=8 // processes, timeout=3600)
    return [dict(np.load(folder / f"{rank}.npz")) for rank in range(processes)]


def check(name: str, ranks: Sequence[Arrays]) -> float:
    """All processes hold the same bits, and what one process holds that has all eight devices; the largest difference, as `compare`'s."""
    case, largest = cases.EVERY[name], 0.0
    for path, one in cases.values(case.run()).items():
        first, *others = (rank[name + path] for rank in ranks)
        assert all(first.tobytes() == other.tobytes() for other in others), (name, path)
        largest = max(largest, compare(name, path, one, first, case))
    return largest


def compare(name: str, path: str, one: np.ndarray, several: np.ndarray, case: cases.Case) -> float:
    """An AssertionError if they differ by more than they may; by how much they do, relative to the largest number of the array."""
    assert (several.dtype, several.shape) == (one.dtype, one.shape), (name, path)
    if np.issubdtype(one.dtype, np.inexact):
        finite = np.isfinite(one)
        scale = np.max(np.abs(one), where=finite, initial=0.0)
        np.testing.assert_allclose(several, one, rtol=0, atol=case.error * scale, err_msg=f"{name}: {path}")
        return float(np.max(np.abs(one - several), where=finite, initial=0.0) / scale) if scale else 0.0
    if case.codes and one.dtype.itemsize <= 2:
        apart = steps_apart(one, several)
        assert apart.max(initial=0) <= 1, (name, path)
        assert one.size == 0 or (apart > 0).mean() <= 0.02, (name, path)
    else:
        np.testing.assert_array_equal(several, one, err_msg=f"{name}: {path}")
    return 0.0


def steps_apart(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """How many codes lie between two, in a number of so many bits."""
    count = 2 ** (8 * x.dtype.itemsize)
    apart = (x.astype(np.int64) - y.astype(np.int64)) % count
    return np.minimum(apart, count - apart)
