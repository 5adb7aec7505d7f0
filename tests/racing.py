"""What the tests of the race share: small races, stand-ins, and what they left."""

import dataclasses
import importlib.util
import io
import json

import numpy as np
import pytest

from gradxform import registry
from gradxform.race import _contestants, _problem
from gradxform.race._race import settings_for

EXTRA = ["rich", "matplotlib", "sklearn"]
MISSING = [name for name in EXTRA if importlib.util.find_spec(name) is None]
MARKS = [pytest.mark.skipif(bool(MISSING), reason=f"not installed: {MISSING}; pip install -e '.[race]'")]

SMALL = ["--steps", "30", "--seeds", "3", "--rates", "3"]
SETTINGS = settings_for(_problem.load("quadratic"), 30, 3, 3, "cosine", False)


def results_in(folder, name="results.json"):
    content = json.loads((folder / name).read_text(), parse_constant=pytest.fail)
    return content, {r["label"]: r for r in content["results"]}


def losses(rng, shifts, seeds=9, noise=0.3):
    """Log-normal losses with a part that all optimizers of a seed share."""
    shared = rng.normal(size=seeds)
    return {f"o{i}": np.exp(s + shared + noise * rng.normal(size=seeds)) for i, s in enumerate(shifts)}


def is_picture(path):
    data = path.read_bytes()
    return data.startswith(b"\x89PNG") and len(data) > 20_000


def words(text):
    return " ".join(text.split())


def one_of(label):
    return _contestants.choose(label)[0]


def recording(printed):
    """A console that writes into a string."""
    from rich.console import Console

    printed.append(Console(file=io.StringIO(), width=140, highlight=False))
    return printed[-1]


def enter(monkeypatch, name, make, needs=None):
    """Register a stand-in for one test."""
    entry = dataclasses.replace(registry.entry("sgd"), name=name, make=make, needs=needs or {})
    monkeypatch.setitem(registry._ENTRIES, name, entry)
