"""A line of Python over as many lines as it needs to fit."""

from __future__ import annotations

import ast

INDENT = 4


def laid_out(code: str, width: int, before: str = "", indent: int = 0) -> list[str]:
    """An expression in lines of at most this width where its parts allow: a call that is too long has an argument per line.

    Args:
      code: the expression.
      width: of a line, its indentation included.
      before: what stands before it in its line, such as `tx = `.
      indent: how far it is set in.
    """
    node = ast.parse(code, mode="eval").body
    line = " " * indent + before + code
    if len(line) <= width or not isinstance(node, ast.Call) or not (node.args or node.keywords):
        return [line]
    lines = [" " * indent + before + ast.unparse(node.func) + "("]
    for part in [*node.args, *node.keywords]:
        value = part.value if isinstance(part, ast.keyword) else part
        name = f"{part.arg}=" if isinstance(part, ast.keyword) else ""
        lines += laid_out(ast.unparse(value), width - 1, name, indent + INDENT)
        lines[-1] += ","
    return [*lines, " " * indent + ")"]
