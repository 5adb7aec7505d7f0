"""The pytest plugin of the runner: installs the alias before collection, and marks what is not in scope or not expected to pass."""

from __future__ import annotations

import os

os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=8".strip()
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import pytest

from tests.optax_suite import _alias, _scope

_alias.install()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    _alias.Missing.importing = False
    for item in items:
        reason = _scope.reason_for(_scope.test_id(item.nodeid))
        if reason is not None:
            item.add_marker(pytest.mark.xfail(reason=reason, run=False))
