"""The page on compatibility, made from the installed Optax; `python -m tests.pages` puts it into this folder's README.

Which public names of Optax there are, which of them gradxform has, what differs on purpose (the docstrings' `Differs`), and how Optax's own
tests went (`tests/optax_suite/result.json`, written by `python -m tests.optax_suite -n 2 --write`).
"""

from __future__ import annotations

import importlib
import inspect
import json
import pathlib
import re
import types
import warnings
from typing import Any

from gradxform._docs import section
from tests.optax_suite._scope import OUT_OF_SCOPE

HERE = pathlib.Path(__file__).parent
MODULES = ["", "contrib", "transforms", "schedules", "losses", "tree", "tree_utils", "projections", "assignment", "microbatching"]


def public(module: Any) -> list[str]:
    """The names of a module, without its submodules and without what it warns about."""
    return [n for n in dir(module) if not n.startswith("_") and not isinstance(getattr(module, n), types.ModuleType)]


def deprecated() -> list[tuple[str, str]]:
    """(module, name) of what Optax serves lazily, with a warning that it will be removed."""
    found = []
    for module in MODULES:
        source = pathlib.Path(_module("optax", module).__file__ or "").read_text()
        table = re.search(r"^_deprecations = \{(.*?)^\}", source, re.MULTILINE | re.DOTALL)
        found += [(module, name) for name in re.findall(r"""^    ["'](\w+)["']:""", table[1], re.MULTILINE)] if table else []
    return found


def _module(package: str, name: str) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return importlib.import_module(f"{package}.{name}".rstrip("."))


def missing() -> list[str]:
    """Names in scope that gradxform lacks."""
    return [f"{m}.{n}" for m in MODULES for n in public(_module("optax", m)) if not hasattr(_module("gradxform", m), n)]


def differs(thing: Any) -> str:
    """What stands under `Differs` in a docstring; empty for `no`, and for what only points to another function."""
    text = section(thing, "Differs")
    return "" if re.fullmatch(r"no|as `\w+`", text.rstrip(".")) else text


def render() -> str:
    lines = [
        f"Optax {_module('optax', '').__version__}: its public names, and those that stand here under the same name.",
        "",
        "| module | names | here | missing |",
        "|---|---:|---:|---|",
    ]
    different: dict[str, str] = {}
    for module in MODULES:
        theirs, ours = public(_module("optax", module)), _module("gradxform", module)
        lacking = [f"`{n}`" for n in theirs if not hasattr(ours, n)]
        lines.append(f"| `{f'optax.{module}'.rstrip('.')}` | {len(theirs)} | {len(theirs) - len(lacking)} | {', '.join(lacking)} |")
        different |= {n: differs(getattr(ours, n)) for n in theirs if hasattr(ours, n) and inspect.isroutine(getattr(ours, n))}
    old = {True: [], False: []}
    for module, name in deprecated():
        old[hasattr(_module("gradxform", module), name)].append(f"`{'.'.join(filter(None, ['optax', module, name]))}`")
    lines += [
        "",
        "Out of scope: `optax.perturbations`, `optax.second_order`, `optax.experimental`, and what Optax has deprecated for removal: "
        f"{', '.join(old[False])}; here all the same: {', '.join(old[True])}.",
    ]
    lines += ["", *suite()]
    different = {n: text for n, text in sorted(different.items()) if text and not n.startswith("tree_")}
    lines += [
        "",
        f"<details><summary>Different on purpose ({len(different)} functions)</summary>",
        "",
        "| name | differs |",
        "|---|---|",
    ]
    lines += [f"| `{n}` | {text.replace('|', chr(92) + '|')} |" for n, text in different.items()]
    return "\n".join([*lines, "", "</details>"])


def suite() -> list[str]:
    """How Optax's tests went when the whole suite was last run, and each test that does not pass."""
    result = json.loads((HERE / "result.json").read_text())
    kinds = ("passed", "exempt", "failed", "skipped")
    passed, exempt, failed, skipped = (sum(file[kind] for file in result["files"].values()) for kind in kinds)
    total = passed + exempt + failed
    share = passed / total
    lines = [
        f"Optax's own tests in scope, run against gradxform (`python -m tests.optax_suite -n 2`): {passed:,} of {total:,} pass "
        f"({share:.1%}; {skipped} more skip themselves). Not counted: "
        f"{'; '.join(f'`{name}` ({why})' for name, why in OUT_OF_SCOPE.items())}. The others:",
        "",
        "| tests | number | why |",
        "|---|---:|---|",
    ]
    lines += [f"| `{e['tests']}` | {e['number']} | {e['why']} |" for e in result["exempt"]]
    return lines + [
        f"| `{name}` | {file['failed']} | failed in this run |" for name, file in result["files"].items() if file["failed"]
    ]
