"""Which of all registered transformations a test takes by day; the night takes them all."""

import functools

import pytest

from gradxform.testing import case_for, entailing

EXAMPLES = frozenset({"adamw"})  # a chain as one


@functools.cache
def is_chain(name):
    """Whether it is a chain of registered stages, which are examined by themselves."""
    return bool(entailing(case_for(name).tx.update))


def chains(names):
    """Those of the names that a test of all takes by night."""
    return [name for name in names if name not in EXAMPLES and is_chain(name)]


def by_name(names, also=EXAMPLES):
    """A test of each, chains of registered stages and the dialects', which are made of the same parts, by night; `also` by day."""
    night = lambda name: "." in name or (name not in also and is_chain(name))
    marks = lambda name: [pytest.mark.nightly] * night(name.removeprefix("store "))
    return pytest.mark.parametrize("name", [pytest.param(name, marks=marks(name)) for name in names])


def in_turn(subjects, aspects, share=None, name=str):
    """Each subject with every so many of the aspects by day, of which those that follow it have the next, and with the others by night.

    Without a `share` it has one of them by day.
    """
    aspects, cases = list(aspects), []
    share = len(aspects) if share is None else share
    for i, subject in enumerate(subjects):
        day = aspects[i % share :: share]
        night = [aspect for aspect in aspects if aspect not in day]
        cases += [pytest.param(subject, day, id=name(subject))]
        cases += [pytest.param(subject, night, id=f"{name(subject)}, others", marks=pytest.mark.nightly)]
    return cases
