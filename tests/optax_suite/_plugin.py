"""The pytest plugin of the runner: serves `optax` before collection, takes each n-th test, and marks what is not expected to pass."""

from __future__ import annotations

import os
import zlib

os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax
import pytest
import xla_flags

from tests.optax_suite import _alias, _scope

xla_flags.set_flags()
_alias.install()


class Version(str):
    """A version that compares by its numbers: as text "0.10" is less than "0.7", and the tests of newer features skip themselves."""

    def __lt__(self, other: str) -> bool:
        return [int(n) for n in self.split(".")[:2]] < [int(n) for n in other.split(".")[:2]]


jax.__version__ = Version(jax.__version__)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    _alias.Missing.importing = False
    every = int(os.environ.get("EVERY", "1"))
    taken = [item for item in items if _scope.in_scope(item.nodeid) and zlib.crc32(item.nodeid.encode()) % every == 0]
    config.hook.pytest_deselected(items=[item for item in items if item not in set(taken)])
    items[:] = taken
    for item in items:
        pattern = _scope.pattern_for(item.nodeid)
        if pattern is not None:
            item.add_marker(pytest.mark.xfail(reason=_scope.EXEMPT[pattern]))
