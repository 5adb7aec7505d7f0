"""Who runs: anything that makes a gradient transformation, and preferably takes a learning rate."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence

from gradxform import registry
from gradxform._errors import HyperparameterError, UnknownNameError
from gradxform._types import Array, Hyper, Params, Tree, Updates
from gradxform.core import GradientTransformation, GradientTransformationExtraArgs, with_extra_args_support
from gradxform.core._parts import is_transformation
from gradxform.race._expression import RATE, Expression, read

CLASSICS = (
    "sgd", "sgd(momentum=0.9)", "adagrad", "rmsprop", "adadelta", "adam", "adamw", "adamax", "nadam", "adafactor", "lamb", "lion",
    "muon",
)  # fmt: skip
DEFAULT_CENTRE = 0.01
Loss = Callable[[Params], Array]
Made = str | GradientTransformation | Callable[[Hyper], GradientTransformation]
"""An optimizer: as text, as a function of the learning rate, or as it is, with the rate that it has."""
Optimizers = str | Sequence[str] | Mapping[str, Made] | None


@dataclasses.dataclass(frozen=True)
class Contestant:
    """An optimizer with all its arguments but the learning rate.

    Attributes:
      label: how the user wrote it, and how results call it.
      expression: how it is made.
    """

    label: str
    expression: Expression

    @property
    def tuned(self) -> bool:
        """Whether it has a learning rate for the race to find."""
        return self.expression.tuned

    def make(self, rate: Hyper) -> GradientTransformationExtraArgs:
        """The transformation with this learning rate: a number, an array or a schedule."""
        return with_extra_args_support(self.expression.make(rate))

    def code(self, rate: Hyper) -> str:
        """The expression that makes it."""
        return self.expression.with_rate(rate)

    def extra_arguments(self, loss: Loss, value: Array, grads: Updates, params: Params) -> dict[str, Tree]:
        """What its update is given by keyword: all that is known of the loss, and what else its parts cannot do without."""
        known = {"value": value, "grad": grads, "value_fn": loss, "obj_fn": loss}
        needs = {name: make for entry in self.expression.entries for name, make in entry.needs.items()}
        return {**known, **{name: make(params, grads) for name, make in needs.items() if name not in known}}

    def centre(self, problem: str) -> float:
        """The middle of its learning-rate grid on a problem, as its part declares it or the optimizer that the part corresponds to."""
        entries = self.expression.entries
        declared = [*entries, *(registry.entry(e.core) for e in entries if e.core)]
        rates = next((e.rates for e in declared if e.rates), {})
        return rates.get(problem, rates.get("default", DEFAULT_CENTRE))


def choose(optimizers: Optimizers) -> list[Contestant]:
    """The contestants that a user asks for.

    Args:
      optimizers: a comma-separated list of names, shell patterns, calls and `module:function`; such texts one by one; or a mapping from
        a name to a text, to a function of the learning rate, or to a transformation as it is. None: the classics.

    Raises:
      UnknownNameError: a name is not registered, or a pattern matches none; the nearest names are offered.
      HyperparameterError: a call that cannot be read, or has arguments that the optimizer does not take; or there is none.
    """
    if isinstance(optimizers, Mapping):
        chosen = [_given(label, made, optimizers) for label, made in optimizers.items()]
    else:
        texts = CLASSICS if optimizers is None else parts(optimizers) if isinstance(optimizers, str) else optimizers
        chosen = [contestant for text in texts for contestant in _chosen_by(text.strip())]
    found = {c.label: c for c in chosen}
    if not found:
        raise HyperparameterError("No optimizer was given; `python -m gradxform names` lists all.")
    return list(found.values())


def parts(text: str) -> list[str]:
    """Split at the commas that are outside brackets."""
    found, depth = [""], 0
    for letter in text:
        depth += (letter in "([{") - (letter in ")]}")
        if letter == "," and depth == 0:
            found.append("")
        else:
            found[-1] += letter
    return [part.strip() for part in found if part.strip()]


def _chosen_by(text: str) -> list[Contestant]:
    if "(" in text or ":" in text or not set(text) & set("*?["):
        expression = read(text)
        plain = "(" not in text and expression.entries
        return [Contestant(expression.entries[0].full_name if plain else text, expression)]
    names = registry.names(text)
    if not names:
        raise UnknownNameError(f"No optimizer matches {text!r}. `python -m gradxform names` lists all.")
    return [Contestant(name, read(name)) for name in names]


def _given(label: str, made: Made, optimizers: Mapping[str, Made]) -> Contestant:
    """An optimizer that was handed over by a program."""
    if isinstance(made, str):
        return Contestant(label, read(made))
    place = f"optimizers[{label!r}]"
    if is_transformation(made):
        return Contestant(label, Expression(place, {"optimizers": dict(optimizers)}))
    if not callable(made):
        raise HyperparameterError(
            f"race: {label!r} is a {type(made).__name__}; give a function of the learning rate, a transformation, or its name."
        )
    return Contestant(label, Expression(f"{place}({RATE})", {"optimizers": dict(optimizers)}))
