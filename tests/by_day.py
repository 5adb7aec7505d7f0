"""Which of all registered transformations a test takes by day; the night takes them all."""

import functools

import pytest

from gradxform.testing import case_for, entailing

EXAMPLES = frozenset({"adamw"})  # a chain as one


@functools.cache
def is_chain(name):
    """Whether it is a chain of registered stages, which are examined by themselves."""
    return bool(entailing(case_for(name).tx.update))


def by_name(names, also=EXAMPLES):
    """A test of each, chains of registered stages and the dialects', which are made of the same parts, by night; `also` by day."""
    night = lambda name: "." in name or (name not in also and is_chain(name))
    marks = lambda name: [pytest.mark.nightly] * night(name.removeprefix("store "))
    return pytest.mark.parametrize("name", [pytest.param(name, marks=marks(name)) for name in names])
