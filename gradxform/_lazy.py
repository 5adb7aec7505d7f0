"""Packages whose names are loaded when they are first asked for (PEP 562).

    if TYPE_CHECKING:                                           what a type checker reads
        from gradxform.core._chain import chain as chain
        from gradxform.core._chain import named_chain as named_chain
    else:                                                       what runs: the same, and a test compares the two
        __getattr__, __dir__ = attach(__name__, {"._chain": "chain named_chain"})

To import such a package loads nothing else; `package.chain`, and `from package import chain`, load `package._chain`.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def attach(
    package: str, table: Mapping[str, str], rooms: str = "", unlisted: Mapping[str, str] | None = None
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """The `__getattr__` and the `__dir__` of a package.

    Args:
      package: its `__name__`.
      table: the names that stand in each module, separated by blanks; a module that begins with a dot is the package's own, and "." has
        the package's own modules. `new=old` is the module's `old` under the name `new`.
      rooms: packages all of whose listed names are names of this one too.
      unlisted: a table of what can be asked for, but is neither in `dir(package)` nor in `from package import *`.
    """
    loaded = sys.modules[package].__dict__

    @functools.cache
    def places() -> dict[str, tuple[str, str]]:
        found = {name: (room, name) for room in rooms.split() for name in import_module(room, package).__all__}
        return found | places_in(table) | places_in(unlisted or {})

    def __getattr__(name: str) -> Any:
        if name == "__all__":
            hidden = places_in(unlisted or {})
            return sorted(n for n in places() if n not in hidden)
        if name.startswith("_") or name not in places():
            raise AttributeError(_unknown(package, name, [] if name.startswith("_") else list(places())), name=name)
        module, theirs = places()[name]
        value = import_module(f".{name}", package) if module == "." else getattr(import_module(module, package), theirs)
        loaded[name] = value
        return value

    def __dir__() -> list[str]:
        return [n for n in loaded if n.startswith("__")] + __getattr__("__all__")

    return __getattr__, __dir__


def places_in(table: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """The module of each name in a table of `attach`, and what it is called there."""
    words = ((module, word.partition("=")) for module, names in table.items() for word in names.split())
    return {name: (module, theirs or name) for module, (name, _, theirs) in words}


def load(*packages: str) -> None:
    """Load all that lazy packages list."""
    for package in map(import_module, packages):
        for name in package.__all__:
            getattr(package, name)


def _unknown(package: str, name: str, names: list[str]) -> str:
    import difflib

    small = {n.lower(): n for n in names}
    if name.lower() in small:
        near = [small[name.lower()]]
    else:
        near = [small[n] for n in difflib.get_close_matches(name.lower(), small, n=3, cutoff=0.65)]
    hint = f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
    return f"{package} has no {name!r}.{hint}"
