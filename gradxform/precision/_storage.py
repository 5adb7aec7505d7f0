"""Which storage a field gets: the names, what each needs of the field, and why some are refused."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Callable, Mapping
from typing import Any

import jax.core
import numpy as np

from gradxform._errors import HyperparameterError, StructureError, UnknownNameError
from gradxform._lazy import load
from gradxform._types import Field, Tree
from gradxform.core._hyper import is_schedule
from gradxform.core._kernel import named
from gradxform.core._stage import Stage
from gradxform.precision._codec import STORAGES, Rule, Storage, named_storage
from gradxform.precision._elementwise import Bfloat16, Float8, Int8, Nearest, bound, int8

MARGIN = 1.2  # of the limit of int8: the partner is rounded, too
SLOW = 2.0**-5  # 1 - decay from which on rounding to nearest does not stop a mean

REFUSED = {
    "4bit": "no codec of 4 bits keeps second moments: of one rounding of squares that spread like real ones, 1 in 100 is 10^4 times too "
    "large under the root",
    "linear": "a second moment on a linear scale rounds to 0 where it is small, and the step divides by it",
    "flat": "a block of the flattened array lies across its rows, and so across devices: a step would gather whole arrays",
    "coat": "it takes a power of each element and three scales per block, for no better a result",
}
"""Storages that are known and not offered, with the reason."""


@dataclasses.dataclass(frozen=True)
class Facts:
    """What a `Rule` is told of a field: what its declaration says of it, with the hyperparameters at hand.

    Attributes:
      stage: the name of the transformation.
      name: of the field.
      field: as it is declared.
      decay: the hyperparameter by which the past fades: a number, an array, a schedule; None for a sum or a copy.
      partner: the field whose root bounds it, if there is one.
      asked: whether the field was asked for by its name.
    """

    stage: str
    name: str
    field: Field
    decay: Tree
    partner: Facts | None
    asked: bool

    @property
    def mean(self) -> bool:
        """Whether the past fades with all its errors, as in a running mean."""
        return self.decay is not None and not self.field.lasting

    @property
    def nonnegative(self) -> bool:
        return bool(self.field.nonnegative)

    @property
    def where(self) -> str:
        return f"store: {self.stage} keeps `{self.name}`"


def facts_of(stage: Stage, name: str, asked: bool = False) -> Facts:
    field = stage.layout.fields[name]
    partner = facts_of(stage, field.partner) if field.partner else None
    return Facts(stage.name(), name, field, _decay(stage, field), partner, asked)


def _decay(stage: Stage, field: Field) -> Tree:
    if not field.mean:
        return None
    return field.mean(**named(field.mean, stage.args)) if callable(field.mean) else stage.args.get(field.mean)


def storage_of(given: str | Storage | Rule, facts: Facts) -> Storage | None:
    """The storage that was given, by its name or itself, for a field; None: it stays wide."""
    found = storage_named(given) if isinstance(given, str) else given
    if isinstance(found, Storage):
        return _checked(found, facts)
    if callable(found):
        return found(facts)
    raise StructureError(
        f"store: a storage is a name ({', '.join(STORAGES)}), a codec, or something with `zeros(like, seed)`, but got {given!r:.200}."
    )


def storage_named(name: str) -> Storage | Rule:
    if name not in STORAGES and ":" in name:
        load("gradxform.precision.formats")  # which are not loaded before one is asked for
    if name in STORAGES:
        return STORAGES[name]
    reason = next((f"{name!r} is refused: {why}. Use '8bit'." for key, why in REFUSED.items() if key in name), "")
    near = difflib.get_close_matches(name, STORAGES, n=1)
    hint = reason or (f"Did you mean {near[0]!r}? " if near else "") + f"There are {', '.join(STORAGES)}."
    raise UnknownNameError(f"store: there is no storage {name!r}. {hint}")


def _checked(storage: Storage, facts: Facts) -> Storage:
    """A storage that suits the field."""
    codec = getattr(storage, "codec", storage)
    if getattr(codec, "nonnegative", False) and not facts.nonnegative:
        raise StructureError(
            f"{facts.where}, which can be negative, and {_shown(codec)} has no negative numbers. Store it as 'bfloat16'"
            f"{', or as int8 relative to its partner' if facts.partner else ''}."
        )
    if getattr(codec, "partner", False) and facts.partner is None:
        raise StructureError(
            f"{facts.where}, which no other field bounds, and {_shown(codec)} is relative to such a one: for a running mean of x, a "
            "running mean of |x|^2 that began at 0. Store it as 'bfloat16'."
        )
    return storage


def _shown(codec: object) -> str:
    return getattr(codec, "__name__", repr(codec))


def _number(x: Tree) -> float | None:
    """A decay that is known and stays: no schedule, nothing traced, no array of several."""
    if is_schedule(x) or isinstance(x, jax.core.Tracer) or np.ndim(x):
        return None
    return float(x)


@named_storage("int8")
def _relative(facts: Facts) -> Storage:
    """int8 relative to the partner, with the limit that follows from the two decays."""
    _checked(Int8, facts)
    assert facts.partner is not None
    b1, b2 = _number(facts.decay), _number(facts.partner.decay)
    if b1 is None or b2 is None:
        raise HyperparameterError(
            f"{facts.where}, whose decay or that of its partner `{facts.partner.name}` is scheduled or traced, so that it is not known how "
            f"large the one can be beside the other. Say so, {{{facts.name!r}: gradxform.precision.int8(limit=...), "
            f"{facts.partner.name!r}: ...}}, or store it as 'bfloat16'."
        )
    if b1 * b1 >= b2:
        raise HyperparameterError(
            f"{facts.where} with the decay {b1:g}, and its partner `{facts.partner.name}` with {b2:g}. int8 needs {b1:g}^2 < {b2:g}: only "
            "then does the root of the one bound the other. Store it as 'bfloat16'."
        )
    return int8(MARGIN * bound(b1, b2))


@named_storage("bfloat16:nearest")
def _nearest(facts: Facts) -> Storage:
    decay = None if facts.decay is None else _number(facts.decay)
    if decay is None or 1 - abs(decay) < SLOW:
        what = "a sum, to which small terms are lost" if facts.decay is None else f"which fades by {facts.decay!r:.40} a step"
        raise HyperparameterError(
            f"{facts.where}, {what}, and rounded to nearest a bfloat16 does not change by less than 1/512: where 1 - decay is not "
            "a number of at least 1/32, such a mean stands still. Store it as 'bfloat16', which rounds at random."
        )
    return Nearest()


@named_storage("8bit")
def _eight_bits(facts: Facts) -> Storage:
    return Float8 if facts.nonnegative else _relative(facts) if facts.partner is not None else Bfloat16


@named_storage("16bit")
def _sixteen_bits(facts: Facts) -> Storage:
    del facts
    return Bfloat16


@named_storage("float32")
def _wide(facts: Facts) -> None:
    del facts


Given = str | Storage | Callable[[Facts], Any] | Mapping[str, Any]
"""What `store` takes: for all running means, or by the names of fields."""
