"""An optimizer as it is written on a command line, turned into the line of Python that makes it.

    adam                              gradxform.adam(learning_rate=RATE)
    torch.adamw(weight_decay=0.1)     gradxform.dialects.torch.adamw(weight_decay=0.1, lr=RATE)
    chain(clip(1.0), adamw)           gradxform.chain(gradxform.clip(1.0), gradxform.adamw(learning_rate=RATE))
    mine:my_opt(0.9)                  mine.my_opt(0.9, learning_rate=RATE)
    chain(clip(1.0), mine.my_opt)     the same within another, once the module has been imported

`RATE` stands for the learning rate that the race tunes, wherever a function takes one that the user has not given. That line is both
what is raced and, with the best rate in `RATE`'s place, what is printed.
"""

from __future__ import annotations

import ast
import dataclasses
import functools
import inspect
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from types import CodeType, ModuleType
from typing import Any

import gradxform
from gradxform import registry
from gradxform._errors import GradxformError, HyperparameterError, UnknownNameError
from gradxform._types import Hyper
from gradxform.core import GradientTransformation
from gradxform.core._parts import is_transformation
from gradxform.race._imported import found, imported

RATE = "RATE"
HOW = "write it like sgd(momentum=0.9) or chain(clip(1.0), adamw), with plain values"
PREFIXES = ("gradxform.dialects.", "gradxform.", "gx.")


@dataclasses.dataclass(frozen=True)
class Expression:
    """How an optimizer is made.

    Attributes:
      code: an expression of Python, in which `RATE` stands for the learning rate.
      names: what else its names mean.
      entries: what is registered of its parts, the outermost first.
      modules: those that the code needs to be imported.
    """

    code: str
    names: Mapping[str, Any]
    entries: tuple[registry.Entry, ...] = ()
    modules: tuple[str, ...] = ()

    @property
    def tuned(self) -> bool:
        """Whether it has a learning rate that is still free."""
        return any(isinstance(node, ast.Name) and node.id == RATE for node in ast.walk(ast.parse(self.code)))

    @functools.cached_property
    def _compiled(self) -> CodeType:
        return compile(self.code, "<optimizer>", "eval")

    def make(self, rate: Hyper) -> GradientTransformation:
        """The transformation with this learning rate: a number, an array or a schedule."""
        return eval(self._compiled, {**self.names, RATE: rate})

    def with_rate(self, rate: Hyper) -> str:
        """The code with a number or a schedule in the rate's place."""
        value = re.sub(r"\b(?=\w+\()", "gradxform.", repr(rate))
        return re.sub(rf"\b{RATE}\b", lambda _: value, self.code)


def read(text: str) -> Expression:
    """The expression that a user's text means.

    Raises:
      UnknownNameError: a name in it is not known, or is of a part of an optimizer only.
      HyperparameterError: it cannot be read, or an argument is refused.
    """
    users = re.fullmatch(r"([^(\[{'\":]+):(.+)", text, re.DOTALL)
    module, rest = users.groups() if users else ("", text)
    try:
        node = ast.parse(rest.strip(), mode="eval").body
    except SyntaxError as e:
        raise HyperparameterError(f"Cannot read {text!r}; {HOW}.") from e
    reader = _Reader(text, module.strip())
    code = ast.unparse(ast.fix_missing_locations(reader.value(node)))
    expression = Expression(code, reader.names, tuple(reader.entries), tuple(reader.modules))
    if isinstance(node, (ast.Name, ast.Attribute)) and reader.entries:
        _refuse_a_part(reader.entries[0])
    else:
        _try(text, expression)
    return expression


def _refuse_a_part(entry: registry.Entry) -> None:
    if entry.kind != "optimizer":
        raise UnknownNameError(
            f"{entry.full_name} is a {entry.kind}, a part of an optimizer; only optimizers race, so write it within a chain, such as "
            f"'chain({entry.full_name}, scale_by_learning_rate)'."
        )


def _try(text: str, expression: Expression) -> None:
    """Make it once, so that what is wrong with its arguments is said at once; what else it raises becomes its result."""
    try:
        made = expression.make(1.0)
    except (GradxformError, TypeError) as e:
        raise HyperparameterError(f"{text}: {e}") from e
    except Exception:
        return
    if not is_transformation(made):
        raise HyperparameterError(f"{text} makes a {type(made).__name__}, not a gradient transformation; {HOW}.")


class _Reader:
    """Reads one text.

    Attributes:
      names: what the names of the code mean.
      modules: those that it needs to be imported.
      entries: the registered functions in it.
    """

    def __init__(self, text: str, module: str):
        self.text, self.module = text, module
        self.names: dict[str, Any] = {}
        self.modules: dict[str, ModuleType] = {}
        self.entries: list[registry.Entry] = []

    def value(self, node: ast.expr) -> ast.expr:
        """An expression in Python's own words: a name alone is called, with the learning rate where it takes one."""
        if isinstance(node, (ast.Name, ast.Attribute)):
            return self._call(node, [], [])
        if isinstance(node, ast.Call) and isinstance(node.func, (ast.Name, ast.Attribute)):
            return self._call(node.func, node.args, node.keywords)
        if isinstance(node, (ast.Tuple, ast.List)):
            return type(node)([self.value(x) for x in node.elts], node.ctx)
        if isinstance(node, ast.Dict):
            return ast.Dict([k and self.value(k) for k in node.keys], [self.value(v) for v in node.values])
        if isinstance(node, ast.BinOp):
            return ast.BinOp(self.value(node.left), node.op, self.value(node.right))
        if isinstance(node, ast.UnaryOp):
            return ast.UnaryOp(node.op, self.value(node.operand))
        if isinstance(node, ast.Constant):
            return node
        raise HyperparameterError(f"Cannot read {ast.unparse(node)!r} in {self.text!r}; {HOW}.")

    def _call(self, name: ast.expr, args: Sequence[ast.expr], keywords: Sequence[ast.keyword]) -> ast.expr:
        if any(k.arg is None for k in keywords):
            raise HyperparameterError(f"Cannot read `**` in {self.text!r}; {HOW}.")
        thing, place, entry = self._meaning(ast.unparse(name))
        if is_transformation(thing):
            return place
        known = list(inspect.signature(thing).parameters)
        taken = {*known[: len(args)], *(k.arg for k in keywords)}
        named = [ast.keyword(k.arg, self.value(k.value)) for k in keywords]
        if entry:
            named += [ast.keyword(n, _parsed(repr(v))) for n, v in _examples(entry).items() if n not in taken]
        rate = _rate_name(thing, entry)
        if rate and rate not in taken:
            named.append(ast.keyword(rate, ast.Name(RATE)))
        return ast.Call(place, [self.value(a) for a in args], named)

    def _meaning(self, name: str) -> tuple[Any, ast.expr, registry.Entry | None]:
        """What a name means, the code that says so, and its entry if it is registered."""
        if self.module:
            module, self.module = self.module, ""
            return self._of_user(module, name)
        for prefix in PREFIXES:
            name = name.removeprefix(prefix)
        try:
            entry = registry.entry(name)
        except UnknownNameError:
            file, _, own = name.rpartition(".")
            if file and hasattr(sys.modules.get(file), own):
                return self._of_user(file, own)
            if name not in dir(gradxform) or not inspect.isroutine(public := getattr(gradxform, name)):
                raise
            return public, self._within(gradxform, name), None
        self.entries.append(entry)
        return entry.make, self._place(entry), entry

    def _of_user(self, file: str, name: str) -> tuple[Any, ast.expr, None]:
        who = f"optimizer {self.text!r}"
        module, made = imported(who, file), found(who, f"{file}:{name}")
        if not callable(made) and not is_transformation(made):
            raise UnknownNameError(f"{who}: `{name}` is a {type(made).__name__}, not a function of a learning rate.")
        return made, self._within(module, name), None

    def _place(self, entry: registry.Entry) -> ast.expr:
        """The code that finds a registered function: in the library, in the user's module, or in the registry."""
        if entry.system or getattr(gradxform, entry.name, None) is entry.make:
            return self._within(gradxform, f"{'dialects.' if entry.system else ''}{entry.full_name}")
        module = sys.modules.get(entry.make.__module__)
        if module is not None and getattr(module, entry.make.__name__, None) is entry.make:
            return self._within(module, entry.make.__name__)
        return self._within(gradxform, f"registry.entry({entry.name!r}).make")

    def _within(self, module: ModuleType, name: str) -> ast.expr:
        """The code that finds a name in a module; what stands in the user's script or notebook is called as it is there."""
        if module.__name__ == "__main__":
            self.names[name] = getattr(module, name)
            return _parsed(name)
        root = module.__name__.partition(".")[0]
        self.names[root] = sys.modules[root]
        self.modules[module.__name__] = module
        return _parsed(f"{module.__name__}.{name}")


def _parsed(code: str) -> ast.expr:
    return ast.parse(code, mode="eval").body


def _examples(entry: registry.Entry) -> dict[str, Any]:
    """Typical values of the arguments that it cannot do without, the learning rate and what is made by code apart."""
    required = {n: entry.example[n] for n, p in entry.parameters.items() if p.required and n in entry.example}
    return {
        n: v for n, v in required.items() if isinstance(v, (int, float, str, tuple, list)) and n != _rate_name(entry.make, entry)
    }


def _rate_name(function: Callable[..., Any], entry: registry.Entry | None) -> str:
    """The argument that is the learning rate: `learning_rate` or `lr`; of a complete optimizer also one whose name ends so.

    Of a user's function that has none of those: its first argument without a default.
    """
    parameters = inspect.signature(function).parameters
    exact = [n for n in ("learning_rate", "lr") if n in parameters]
    ending = [n for n in parameters if n.endswith("learning_rate")] if entry is None or entry.kind == "optimizer" else []
    open_ = [n for n, p in parameters.items() if p.default is p.empty and p.kind is p.POSITIONAL_OR_KEYWORD]
    of_user = entry is None and getattr(function, "__module__", "").partition(".")[0] != "gradxform"
    return next(iter([*exact, *ending, *(open_[:1] if of_user else [])]), "")
