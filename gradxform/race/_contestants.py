"""Who runs: registered optimizers, chosen by shell patterns, or one with arguments such as `sgd(momentum=0.9)`."""

from __future__ import annotations

import ast
import dataclasses
import re
from collections.abc import Mapping
from typing import Any

from gradxform import registry
from gradxform._errors import HyperparameterError, UnknownNameError
from gradxform._types import Hyper
from gradxform.core import GradientTransformation

CLASSICS = (
    "sgd", "sgd(momentum=0.9)", "adagrad", "rmsprop", "adadelta", "adam", "adamw", "adamax", "nadam", "adafactor", "lamb", "lion",
    "muon",
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Contestant:
    """An optimizer with all its arguments but the learning rate.

    Attributes:
      label: how the user wrote it, and how results call it.
      entry: its registry entry.
      arguments: what it is made with, beside the rate.
    """

    label: str
    entry: registry.Entry
    arguments: Mapping[str, Any]

    def make(self, rate: Hyper) -> GradientTransformation:
        """The transformation with this learning rate: a number, an array or a schedule."""
        return self.entry.make(**{**self.arguments, self.rate_name: rate})

    def code(self, rate: Hyper) -> str:
        """The line that makes it."""
        arguments = {self.rate_name: rate, **self.arguments}
        room = "gradxform.dialects" if self.entry.system else "gradxform"
        return f"{room}.{self.entry.full_name}({', '.join(f'{k}={v!r}' for k, v in arguments.items())})"

    @property
    def rate_name(self) -> str:
        """The argument that is tuned: `learning_rate`, the one whose name ends so, or `lr`."""
        names = [n for n in self.entry.parameters if n.endswith("learning_rate") or n == "lr"]
        if not names:
            raise HyperparameterError(f"{self.label}: it has no learning rate, so there is nothing to tune.")
        return "learning_rate" if "learning_rate" in names else names[0]

    def centre(self, problem: str) -> float:
        """The middle of its learning-rate grid on a problem."""
        rates = self.entry.rates
        return rates.get(problem, rates.get("default", 0.01))


def choose(text: str | None) -> list[Contestant]:
    """The contestants of a comma-separated list of names, shell patterns and calls; without a text, the classics.

    Raises:
      UnknownNameError: a name is not registered, or a pattern matches none; the nearest names are offered.
      HyperparameterError: a call that cannot be read, or has arguments that the optimizer does not take.
    """
    found: dict[str, Contestant] = {}
    for part in CLASSICS if text is None else _parts(text):
        for contestant in _chosen_by(part):
            found[contestant.label] = contestant
    return list(found.values())


def _parts(text: str) -> list[str]:
    """Split at the commas that are outside parentheses."""
    return [part.strip() for part in re.split(r",(?![^(]*\))", text) if part.strip()]


def _chosen_by(part: str) -> list[Contestant]:
    if "(" in part:
        name, arguments = _read_call(part)
        return [_contestant(part, _optimizer(name), arguments)]
    if not set(part) & set("*?["):
        entry = _optimizer(part)
        return [_contestant(entry.full_name, entry, {})]
    names = registry.names(part)
    if not names:
        raise UnknownNameError(f"No optimizer matches {part!r}. `python -m gradxform names` lists all.")
    return [_contestant(n, registry.entry(n), {}) for n in names]


def _optimizer(name: str) -> registry.Entry:
    entry = registry.entry(name)
    if entry.kind != "optimizer":
        raise UnknownNameError(f"{name} is a {entry.kind}, a part of an optimizer; only optimizers race.")
    return entry


def _contestant(label: str, entry: registry.Entry, arguments: Mapping[str, Any]) -> Contestant:
    known = entry.parameters
    odd = [a for a in arguments if a not in known]
    if odd:
        raise HyperparameterError(f"{label}: {entry.full_name} has no argument `{odd[0]}`; it has {', '.join(known)}.")
    needed = {n: entry.example[n] for n, p in known.items() if p.required and n in entry.example}
    needed = {n: v for n, v in needed.items() if not n.endswith("learning_rate")}
    return Contestant(label, entry, {**needed, **arguments})


def _read_call(text: str) -> tuple[str, dict[str, Any]]:
    """`name(argument=value, ...)`, where the values are plain numbers, strings, flags or tuples."""
    try:
        call = ast.parse(text, mode="eval").body
        assert isinstance(call, ast.Call)
        assert isinstance(call.func, (ast.Name, ast.Attribute))
        assert not call.args
        return ast.unparse(call.func), {str(k.arg): ast.literal_eval(k.value) for k in call.keywords}
    except (SyntaxError, AssertionError, ValueError) as e:
        raise HyperparameterError(f"Cannot read {text!r}; write it like sgd(momentum=0.9), with plain values.") from e
