"""Makes every later `import optax` of this interpreter mean gradxform, as for a user who swapped the package.

    optax                   gradxform
    optax.contrib           gradxform.contrib
    optax._src.base         ImportError: private
    from optax import nope  ImportError: gradxform has no public name `nope`

The modules are gradxform's own, not copies: `sys.modules["optax"] is gradxform`.
"""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import sys
from types import ModuleType


class GradxformAsOptax(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds `optax` and its submodules, and loads gradxform's of the same name in their place."""

    def find_spec(self, fullname: str, path: object = None, target: object = None) -> importlib.machinery.ModuleSpec | None:
        if fullname.partition(".")[0] != "optax":
            return None
        ours = "gradxform" + fullname.removeprefix("optax")
        if any(part.startswith("_") for part in ours.split(".")):
            raise ImportError(f"{fullname} is private in Optax: gradxform has no such module", name=fullname)
        if importlib.util.find_spec(ours) is None:
            raise ImportError(f"gradxform has no module {ours}, which is imported as {fullname}", name=fullname)
        return importlib.machinery.ModuleSpec(fullname, self, origin=ours)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> None:
        return None  # an empty module, which exec_module replaces: gradxform's must keep its own __spec__

    def exec_module(self, module: ModuleType) -> None:
        assert module.__spec__ is not None
        sys.modules[module.__name__] = importlib.import_module(str(module.__spec__.origin))


def install() -> None:
    if "optax" in sys.modules:
        raise RuntimeError("optax is imported already: the alias comes first")
    sys.meta_path.insert(0, GradxformAsOptax())


def foreign_modules() -> list[str]:
    """Modules that were loaded from Optax's own files."""
    files = {name: getattr(module, "__file__", None) or "" for name, module in list(sys.modules.items())}
    return sorted(name for name, file in files.items() if "/optax/" in file.replace("\\", "/"))
