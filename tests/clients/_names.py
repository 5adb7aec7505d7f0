"""What a package's source takes from Optax: the dotted names, found without importing it."""

import ast
import importlib.util
import pathlib
from collections.abc import Iterator


def names_used(package: str) -> set[str]:
    """`{"adam", "losses.l2_loss", ...}`, of all files of an installed package but its tests."""
    spec = importlib.util.find_spec(package)
    assert spec is not None
    found: set[str] = set()
    for folder in map(pathlib.Path, spec.submodule_search_locations or ()):
        for path in folder.rglob("*.py"):
            source = path.read_text(encoding="utf-8")
            if "optax" in source and "test" not in path.stem:
                found |= set(_names(ast.parse(source)))
    return found


def _names(tree: ast.Module) -> Iterator[str]:
    bound = {}  # a local name -> what of Optax it is
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.partition(".")[0] == "optax":
                    bound[alias.asname or "optax"] = _below(alias.name) if alias.asname else ""
                    yield _below(alias.name)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "optax" and node.level == 0:
            for alias in node.names:
                bound[alias.asname or alias.name] = _join(_below(node.module or ""), alias.name)
                yield bound[alias.asname or alias.name]
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            root, chain = _chain(node)
            if root in bound:
                yield _join(bound[root], chain)


def _below(module: str) -> str:
    return module.partition(".")[2]


def _join(*parts: str) -> str:
    return ".".join(filter(None, parts))


def _chain(node: ast.expr) -> tuple[str, str]:
    """`("optax", "tree.get")` of the expression `optax.tree.get`; no root if it does not begin with a name."""
    if isinstance(node, ast.Attribute):
        root, chain = _chain(node.value)
        return root, _join(chain, node.attr)
    return (node.id, "") if isinstance(node, ast.Name) else ("", "")
