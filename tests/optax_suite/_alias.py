"""Answers `optax` and all its modules to Optax's own tests, as `gradxform.as_optax` does for users, and the test files of the wheel beside.

A private name of a private module gives a stand-in that fails when it is used, and with it the tests that use it, not the whole file.
Only the wheel's test files are executed, and the helpers that they share.
"""

from __future__ import annotations

import importlib
import importlib.machinery
import importlib.util
import pathlib
import types
from collections.abc import Sequence
from typing import Any

import jax

from gradxform import _optax_alias
from tests.optax_suite._counterparts import COUNTERPARTS

TOOLS = {"x64_precision": jax.enable_x64}  # what the tests take from Optax to work with, not to test
WHEEL = pathlib.Path(importlib.util.find_spec("optax").origin).parent  # type: ignore[union-attr, arg-type]
PYTEST = [
    "pytest_plugins",
    "setUpModule",
    "setup_module",
    "tearDownModule",
    "teardown_module",
]  # what pytest looks for in a package
OWN = ("_test", "test_utils")  # the ends of the names of Optax's files that are executed as they are


class Missing:
    """Stands for a name that is not public. A test file may call it or derive from it while it is imported; a test may not."""

    importing = True

    def __init__(self, message: str):
        self.__message = message

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if Missing.importing:
            return self
        raise NotImplementedError(self.__message)

    def __mro_entries__(self, bases: Any) -> tuple[type, ...]:
        message = self.__message

        class Derived:
            def __new__(cls, *args: Any, **kwargs: Any) -> Any:
                raise NotImplementedError(message)

        return (Derived,)

    def __getattr__(self, name: str) -> Any:
        raise NotImplementedError(self.__message) if not name.startswith("__") else AttributeError(name)


class Alias(_optax_alias.Address):
    """A module that has every name."""

    def look_up(self, name: str) -> Any:
        if name in PYTEST:
            raise AttributeError(name)
        if name.endswith(OWN):
            return importlib.import_module(f"{self.__name__}.{name}")
        if name in TOOLS or name in COUNTERPARTS:
            return (TOOLS | COUNTERPARTS)[name]
        try:
            return super().look_up(name)
        except AttributeError as e:
            if self._is_public():
                raise
            return Missing(str(e))


class Finder(_optax_alias.Finder):
    """Finds `optax.*`: the test files in the wheel, and an `Alias` for everything else that the wheel has."""

    address = Alias

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: types.ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname.startswith("optax.") and fullname.endswith(OWN):
            place = WHEEL.joinpath(*fullname.split(".")[1:])
            return importlib.util.spec_from_file_location(fullname, place.with_suffix(".py"))
        return super().find_spec(fullname, path, target)


def install() -> None:
    """Serve `optax` from now on. Before anything has imported the real one."""
    _optax_alias.install(Finder())
