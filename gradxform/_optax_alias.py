"""The modules of `as_optax`: what stands under `optax` in `sys.modules`, and who finds it there."""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import importlib.metadata
import sys
import types
from collections.abc import Iterable, Sequence
from typing import Any

import gradxform
from gradxform._optax_names import LOADED, MATCHED, MODULES, PRIVATE


class Address(types.ModuleType):
    """A module of Optax that answers with gradxform's public names."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name != "__all__":
            raise AttributeError(name)
        child = f"{self.__name__}.{name}"
        value = importlib.import_module(child) if is_served(child) else self.look_up(name)
        setattr(self, name, value)
        return value

    def __dir__(self) -> Iterable[str]:
        return dir(self._home()) if self._is_public() else ()

    def look_up(self, name: str) -> Any:
        """The public thing of this name: where this module is, and for a private one anywhere."""
        missing = object()
        homes = [self._home()] if self._is_public() else [self._home(), gradxform, *map(_ours, MODULES.split())]
        found = next((x for x in (getattr(home, name, missing) for home in homes) if x is not missing), missing)
        if found is missing:
            raise AttributeError(f"gradxform has no public {name!r}, which is asked for as {self.__name__}.{name}", name=name)
        return found

    def _is_public(self) -> bool:
        return "._" not in self.__name__

    def _home(self) -> types.ModuleType:
        below = self.__name__.split(".")[1:]
        return _ours(below[0]) if below and below[0] != "_src" else gradxform


def _ours(module: str) -> types.ModuleType:
    return importlib.import_module(f"gradxform.{module}")


def is_served(name: str) -> bool:
    """Whether this is a module of Optax that gradxform has, or a private one, which answers for all of them."""
    root, *below = name.split(".")
    match below:
        case []:
            return root == "optax"
        case ["_src", module]:
            return root == "optax" and module in PRIVATE.split()
        case [module]:
            return root == "optax" and module in ("_src", *MODULES.split())
        case [package, module]:
            return is_served(f"{root}.{package}") and module.startswith("_") and not module.startswith("__")
    return False


class Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds `optax` and its modules before any other does."""

    address = Address

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: types.ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        return importlib.machinery.ModuleSpec(fullname, self, is_package=True) if is_served(fullname) else None

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType:
        return self.address(spec.name, f"gradxform in the place of {spec.name}.")

    def exec_module(self, module: types.ModuleType) -> None:
        if module.__name__ == "optax":
            module.__version__ = MATCHED  # type: ignore[attr-defined]
            for also in LOADED.split():
                importlib.import_module(also)


class Distribution(importlib.metadata.Distribution):
    """What an installed Optax would say of itself."""

    def read_text(self, filename: str) -> str | None:
        return f"Metadata-Version: 2.1\nName: optax\nVersion: {MATCHED}\n" if filename == "METADATA" else None

    def locate_file(self, path: Any) -> Any:
        raise FileNotFoundError(f"optax is answered by gradxform, and has no file {path}")


class Metadata(importlib.metadata.DistributionFinder):
    """Finds the distribution `optax` after all others, so only where there is none."""

    def find_spec(self, *_: object) -> None:
        return None

    def find_distributions(self, context: Any = importlib.metadata.DistributionFinder.Context()) -> Iterable[Distribution]:  # noqa: B008
        return [Distribution()] if context.name == "optax" else []


FINDERS = (Finder(), Metadata())


def install(finder: Finder = FINDERS[0]) -> None:
    """Serve `optax` from now on."""
    if any(isinstance(x, Finder) for x in sys.meta_path):
        return
    if "optax" in sys.modules:
        raise ImportError(
            f"gradxform.as_optax: Optax is loaded already, and {', '.join(holders()) or 'nothing else'} holds it. Import "
            "gradxform.as_optax before that."
        )
    sys.meta_path[:] = [finder, *sys.meta_path, FINDERS[1]]


def uninstall() -> None:
    """Serve it no longer."""
    sys.meta_path[:] = [x for x in sys.meta_path if not isinstance(x, (Finder, Metadata))]
    for name in [n for n, module in sys.modules.items() if isinstance(module, Address)]:
        del sys.modules[name]


def holders() -> list[str]:
    """The modules, Optax's own apart, that have it or something of it among their names."""
    home = lambda x: str(x.__name__ if isinstance(x, types.ModuleType) else x.__module__)
    is_its = lambda x: isinstance(x, (types.ModuleType, types.FunctionType, type)) and home(x).partition(".")[0] == "optax"
    others = [(n, m) for n, m in list(sys.modules.items()) if n.partition(".")[0] != "optax" and isinstance(m, types.ModuleType)]
    return sorted(n for n, m in others if any(map(is_its, list(vars(m).values()))))
