"""Every public function's docstring has an example, and it runs."""

import doctest
import functools
import inspect
import tempfile
import typing
import warnings

import arguments
import jax
import jax.numpy as jnp
import pytest

import gradxform as gx
import gradxform.kernels
import gradxform.race
import gradxform.testing
from gradxform import registry

pytestmark = pytest.mark.fast

PUBLIC = arguments.public()
NAMES = {
    "gx": gx,
    "gradxform": gx,
    "jax": jax,
    "jnp": jnp,
    "functools": functools,
    "typing": typing,
    "warnings": warnings,
    "tempfile": tempfile,
}


@pytest.fixture(autouse=True)
def _registry_as_it_was(monkeypatch):
    monkeypatch.setattr(registry, "_ENTRIES", dict(registry._with_dialects()))


@pytest.mark.parametrize("name", [name for name in PUBLIC if name not in ("testing.entailed", "testing.entailing")])
def test_example_runs(name):
    params = {"w": jnp.array([[1.0, -2.0], [3.0, 4.0]]), "b": jnp.zeros(2)}
    grads = {"w": jnp.ones((2, 2)), "b": jnp.array([1.0, -1.0])}
    text = inspect.cleandoc(PUBLIC[name].__doc__)
    example = doctest.DocTestParser().get_doctest(text, {**NAMES, "params": params, "grads": grads}, name, None, 0)
    assert example.examples, "give it an example: two or three lines after Args, beginning with >>>"
    report: list[str] = []
    doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE).run(example, out=report.append, clear_globs=False)
    assert not report, "".join(report)
    tx = example.globs.get("tx")
    assert tx is None or callable(tx.init)
