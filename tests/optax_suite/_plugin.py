"""The pytest plugin of the runner: serves `optax` before collection, takes each n-th test, and marks what is not expected to pass."""

from __future__ import annotations

import os
import zlib

os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=8".strip()
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import pytest

from tests.optax_suite import _alias, _scope

_alias.install()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    _alias.Missing.importing = False
    every = int(os.environ.get("EVERY", "1"))
    taken = [item for item in items if zlib.crc32(item.nodeid.encode()) % every == 0]
    config.hook.pytest_deselected(items=[item for item in items if item not in set(taken)])
    items[:] = taken
    for item in items:
        pattern = _scope.pattern_for(item.nodeid)
        if pattern is not None:
            item.add_marker(pytest.mark.xfail(reason=_scope.EXEMPT[pattern], strict=True))
