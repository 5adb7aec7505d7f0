"""The command `plan`: model, optimizer and mesh from the arguments, the plan as tables as wide as the terminal."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import jax
import jax.numpy as jnp

from gradxform._errors import GradxformError, HyperparameterError, ProblemError
from gradxform._types import DType, Tree
from gradxform.planning import Hardware, Model, Plan, plan
from gradxform.planning._models import model_of
from gradxform.planning._report import heading, notes, tables
from gradxform.race._expression import read
from gradxform.race._fit import Heading, Row, fitted
from gradxform.race._imported import found, is_users, said

RATE = 1e-3  # no number of a plan depends on it
T = TypeVar("T")


def show(args: argparse.Namespace) -> int:
    """Print the plan; the exit status is 1 if it does not fit."""
    mesh = _pairs("--mesh", args.mesh, int, "data=128,fsdp=8")
    if not mesh:
        raise HyperparameterError("plan: --mesh names no axis; write it like data=128,fsdp=8, and data=1 for one device.")
    shapes, specs = _parameters(args.model, mesh, args.dtype)
    hardware = found(f"hardware {args.hardware!r}", args.hardware) if is_users(args.hardware) else args.hardware
    made = plan(
        read(args.optimizer).make(RATE),
        shapes,
        mesh,
        specs,
        zero=tuple(args.zero.split(",")) if args.zero else None,
        axes=_pairs("--axes", args.axes, str, "dp=data,tp=tensor"),
        hardware=_checked(hardware, args.hardware),
        gathers=args.gathers,
    )
    print(made.to_json()) if args.json else _print(made)
    return 0 if made.fits else 1


def _checked(hardware: Any, name: str) -> str | Hardware:
    if not isinstance(hardware, (str, Hardware)):
        raise HyperparameterError(f"plan: {name} is a {type(hardware).__name__}, not a gradxform.planning.Hardware.")
    return hardware


def _pairs(option: str, text: str, of: Callable[[str], T], example: str) -> dict[str, T]:
    """`a=1,b=2` as a dictionary."""
    try:
        pairs = [one.split("=") for one in text.split(",") if one]
        found = {name.strip(): of(value.strip()) for name, value in pairs}
    except ValueError as e:
        raise HyperparameterError(f"plan: cannot read {option} {text!r}; write it like {example}.") from e
    if len(found) < len(pairs):
        raise HyperparameterError(f"plan: {option} {text!r} names an axis twice.")
    return found


def _parameters(name: str, mesh: Mapping[str, int], dtype: str) -> tuple[Tree, Tree | None]:
    """Shapes of a model, and how they are split; a user's function returns a `Model`, or shapes that say so themselves."""
    if not is_users(name):
        return _of_model(model_of(name), mesh, dtype)
    who = f"model {name!r}"
    try:
        made = found(who, name)()
    except GradxformError:
        raise
    except Exception as e:
        raise ProblemError(f"{who}: calling it without arguments raised {said(e)}.") from e
    if isinstance(made, Model):
        return _of_model(made, mesh, dtype)
    if not any(hasattr(x, "shape") and hasattr(x, "dtype") for x in jax.tree.leaves(made)):
        raise ProblemError(
            f"{who} returns no shapes, but {made!r:.60}: return a tree of arrays or `jax.ShapeDtypeStruct`, or a `Model`."
        )
    return made, None


def _of_model(model: Model, mesh: Mapping[str, int], dtype: str) -> tuple[Tree, Tree]:
    return model.shapes(_dtype(dtype)), model.specs(mesh)


def _dtype(name: str) -> DType:
    try:
        return jnp.dtype(name)
    except TypeError as e:
        raise HyperparameterError(f"plan: no dtype is called {name!r}; write it like bfloat16 or float32.") from e


def _print(made: Plan) -> None:
    """Tables as wide as the terminal where rich is installed; else as `print(plan)` has them."""
    try:
        from gradxform.race._board import console
    except ImportError:
        print(made)
        return
    screen = console()
    screen.print(heading(made), style="bold", markup=False)
    for table in tables(made):
        rows = [Row(row, ends=i == len(table.rows) - 1) for i, row in enumerate(table.rows)] + [Row(table.total, "bold")]
        screen.print()
        screen.print(fitted([Heading(text) for text in table.headings], rows, screen.width)[0])
    screen.print()
    for note in notes(made):
        screen.print(note, markup=False)
