"""What is the user's own, found by the name that a command line gives: `package.module:name`, `folder/file.py:name`, `file.py`."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from gradxform._errors import ProblemError, UnknownNameError


def is_users(name: str) -> bool:
    """Whether a name is of something of the user's."""
    return ":" in name or name.endswith(".py")


def found(who: str, name: str, default: str = "") -> Any:
    """The object that `module:object` names; a file alone means its `default`.

    Args:
      who: what it is to be, for messages: "problem 'mine:problem'".
      name: where it is.
      default: the object's name where none is given.

    Raises:
      UnknownNameError: no such module, file or object.
      ProblemError: the module raises while it is imported.
    """
    module_name, _, wanted = name.rpartition(":") if ":" in name else (name, "", "")
    module, wanted = imported(who, module_name), wanted or default
    if not hasattr(module, wanted):
        own = [n for n, v in vars(module).items() if inspect.isfunction(v) and v.__module__ == module.__name__ and n[0] != "_"]
        offer = f" It has the functions {', '.join(own)}." if own else ""
        raise UnknownNameError(f"{who}: module `{module_name}` has no function `{wanted}`.{offer}")
    return getattr(module, wanted)


def imported(who: str, name: str) -> ModuleType:
    """The module of that name, which may stand in the current directory, or of that file."""
    path = Path(name)
    is_file = path.suffix == ".py"
    folder = str(path.resolve().parent if is_file else Path.cwd())
    if folder not in sys.path:
        sys.path.insert(0, folder)
    try:
        return _of_file(path.resolve()) if is_file else importlib.import_module(name)
    except ModuleNotFoundError as e:
        if not f"{name}.".startswith(f"{e.name}."):
            raise ProblemError(f"{who}: importing `{name}` raised {said(e)}.") from e
        raise UnknownNameError(
            f"{who}: there is no module `{name}`, neither installed nor in the current directory {folder}."
        ) from e
    except FileNotFoundError as e:
        raise UnknownNameError(f"{who}: there is no file {path}.") from e
    except Exception as e:
        raise ProblemError(f"{who}: importing `{name}` raised {said(e)}.") from e


def _of_file(path: Path) -> ModuleType:
    """The module of a file, loaded once; under the file's name where no other module bears it."""
    if not path.exists():
        raise FileNotFoundError(path)
    name = path.stem
    known = sys.modules.get(name)
    if known is not None and getattr(known, "__file__", None) == str(path):
        return known
    if known is not None or name in sys.stdlib_module_names:
        name = f"race_{name}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def said(e: BaseException) -> str:
    """An exception in one line."""
    lines = str(e).strip().splitlines()
    return f"{type(e).__name__}: {lines[0] if lines else 'no message'}"
