"""Answers `optax` and all its modules, private ones included, by looking each name up among gradxform's public names.

    from optax._src import alias        a module of names: `alias.adam` is `gradxform.adam`
    from optax.contrib import _sam      `_sam.sam` is `gradxform.contrib.sam`
    import optax.tree                   `optax.tree.add` is `gradxform.tree.add`

A name that is not public gives a stand-in that fails when it is used, and with it the tests that use it, not the whole file. Only the
wheel's test files are executed, and the helpers that they share.
"""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import pathlib
import sys
import types
from typing import Any

import jax

import gradxform
from tests.optax_suite._counterparts import COUNTERPARTS

TOOLS = {"x64_precision": jax.enable_x64}  # what the tests take from Optax to work with, not to test
WHEEL = pathlib.Path(importlib.util.find_spec("optax").origin).parent  # type: ignore[union-attr, arg-type]
PUBLIC = [
    "contrib",
    "losses",
    "tree",
    "tree_utils",
    "schedules",
    "transforms",
    "projections",
    "assignment",
    "microbatching",
    "numerics",
]
PYTEST = [
    "pytest_plugins",
    "setUpModule",
    "setup_module",
    "tearDownModule",
    "teardown_module",
]  # what pytest looks for in a package
OWN = ("_test", "test_utils")  # the ends of the names of Optax's files that are executed as they are


def look_up(module: str, name: str) -> Any:
    """The public thing called `name`: first in the submodule that the private module belongs to, then anywhere."""
    if name in TOOLS or name in COUNTERPARTS:
        return (TOOLS | COUNTERPARTS)[name]
    home = module.split(".")[1] if "." in module else ""
    for place in [home, "", *PUBLIC]:
        if place and place not in PUBLIC:
            continue
        found = getattr(_submodule(place), name, None)
        if found is not None:
            return found
    return Missing(f"gradxform has no public {name!r}, which Optax's tests take from {module}")


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


def _submodule(place: str) -> Any:
    try:
        return importlib.import_module(f"gradxform.{place}") if place else gradxform
    except ModuleNotFoundError:
        return None


class Alias(types.ModuleType):
    """A module that looks every attribute up."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name in PYTEST:
            raise AttributeError(name)
        path = WHEEL.joinpath(*self.__name__.split(".")[1:], name)
        if path.is_dir() or path.with_suffix(".py").exists():
            return importlib.import_module(f"{self.__name__}.{name}")
        return look_up(self.__name__, name)


class Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds `optax.*`: the test files in the wheel, an `Alias` for everything else."""

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> importlib.machinery.ModuleSpec | None:
        if fullname.partition(".")[0] != "optax":
            return None
        place = WHEEL.joinpath(*fullname.split(".")[1:])
        if fullname.endswith(OWN):
            return importlib.util.spec_from_file_location(fullname, place.with_suffix(".py"))
        return importlib.machinery.ModuleSpec(fullname, self, is_package=place.is_dir())

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType:
        return Alias(spec.name)

    def exec_module(self, module: types.ModuleType) -> None:
        pass


def install() -> None:
    """Serve `optax` from now on. Before anything has imported the real one."""
    assert "optax" not in sys.modules, "the real Optax is loaded already"
    sys.meta_path.insert(0, Finder())
