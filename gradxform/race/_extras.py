"""Packages that only the race needs, imported when they are used."""

from __future__ import annotations

import importlib
from types import ModuleType

from gradxform._errors import GradxformError


class MissingExtraError(GradxformError, ImportError):
    """A package of the extra `[race]` is not installed."""


def extra(module: str, install: str = "'gradxform[race]'") -> ModuleType:
    """The module of that name; when its package is absent, the error says what to install."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as e:
        package = module.split(".")[0]
        if (e.name or "").split(".")[0] != package:
            raise
        raise MissingExtraError(
            f"gradxform.race needs the package that provides `{package}`. Install it with: pip install {install}"
        ) from e
