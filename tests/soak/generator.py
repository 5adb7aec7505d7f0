"""Programs, drawn by Hypothesis: a number is a seed, and the same one draws the same programs."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import hypothesis
import hypothesis.strategies as st

from tests.soak import parts

DEPTH = 5
"""Of what stands in what, and of members of a chain."""
BATCH = 4
"""Programs of one seed; Hypothesis begins each with the simplest, which is not examined."""
SHAPES = ((2, 3), (3,), (), (4, 2), (0,), (1,), (2, 0), (5,))
PALETTES = {
    "float32": ("float32",),
    "float64": ("float64",),
    "narrow": ("float32", "bfloat16", "float16"),
    "complex": ("complex64", "float32"),
    "wide": ("float64", "float32", "bfloat16", "complex128"),
}
"""Dtypes of the leaves of one tree."""
EVENTS = ("", "pickle", "flat", "transfer", "there and back", "hyper", "store")
MODES = ("jit", "scan", "donated", "eager")
LAWS = (2, 3, 5, 12, 16, 21)
"""Laws of `gradxform.testing` that hold of every composition, whatever its masks."""


class Part(NamedTuple):
    text: str
    degree: float | None


@dataclasses.dataclass(frozen=True)
class Program:
    """What is run: an expression, leaves as (shape, dtype), segments as (event before it, how updates are made), and further questions.

    `degree`: gradients times k give updates times k^degree. `law`: one of `gradxform.testing`, if not 0.
    """

    text: str
    degree: float | None
    leaves: tuple[tuple[tuple[int, ...], str], ...]
    segments: tuple[tuple[str, str], ...]
    noise: int
    law: int

    @property
    def x64(self) -> bool:
        return any(dtype in ("float64", "complex128") for _, dtype in self.leaves)

    @property
    def is_complex(self) -> bool:
        return any(dtype.startswith("complex") for dtype in self.dtypes)

    @property
    def dtypes(self) -> set[str]:
        return {dtype for _, dtype in self.leaves}

    def needs(self, *names: str) -> bool:
        """Whether one of these words stands in the expression."""
        return any(name in self.text for name in names)


def rate(draw: st.DrawFn) -> str:
    return draw(st.sampled_from(parts.RATES + parts.SCHEDULES))


class Choice(NamedTuple):
    """From what is drawn: everything, or what Optax has too."""

    transforms: list[tuple[str, float | None]]
    directions: list[tuple[str, float | None]]
    optimizers: list[tuple[str, float | None]]
    wrappers: list[tuple[str, float | None]]


def choice(kept: Callable[[str], bool]) -> Choice:
    tables = (parts.TRANSFORMS, parts.DIRECTIONS, parts.OPTIMIZERS, parts.WRAPPERS)
    return Choice(*([(text, degree) for text, degree in table.items() if kept(text)] for table in tables))


EVERYTHING = choice(lambda text: True)
COMMON = choice(lambda text: "gx." not in text and not any(word in text for word in parts.OTHERWISE_IN_OPTAX))


def one_of(draw: st.DrawFn, table: list[tuple[str, float | None]]) -> Part:
    text, degree = draw(st.sampled_from(table))
    return Part(text.replace("{rate}", rate(draw)) if "{rate}" in text else text, degree)


def chained(members: list[Part]) -> Part:
    degree: float | None = 1
    for member in members:
        degree = None if degree is None or member.degree is None else degree * member.degree
    return Part(f"o.chain({', '.join(m.text for m in members)})", degree)


def wrapped(draw: st.DrawFn, of: Choice, depth: int, made: Callable[[st.DrawFn, Choice, int], Part]) -> Part:
    """A wrapper around what is made."""
    wrapper, inside = draw(st.sampled_from(of.wrappers))
    x = made(draw, of, depth - 1)
    text, degree = wrapper.replace("{x}", x.text), x.degree
    if "{y}" in wrapper:
        y = made(draw, of, depth - 1)
        text, degree = text.replace("{y}", y.text), x.degree if x.degree == y.degree else None
    return Part(text, degree if inside is None or degree == inside else None)


def transform(draw: st.DrawFn, of: Choice, depth: int) -> Part:
    """Something that stands before what descends."""
    return wrapped(draw, of, depth, transform) if depth > 1 and draw(st.integers(0, 3)) == 0 else one_of(draw, of.transforms)


def optimizer(draw: st.DrawFn, of: Choice, depth: int) -> Part:
    """Something that descends, of at most that depth."""
    if depth > 1 and draw(st.integers(0, 2)):
        return wrapped(draw, of, depth, optimizer)
    before = [transform(draw, of, depth - 1) for _ in range(draw(st.integers(0, DEPTH - 2)))]
    if draw(st.booleans()):
        return chained([*before, one_of(draw, of.optimizers)])
    return chained([*before, one_of(draw, of.directions), Part(f"o.scale_by_learning_rate({rate(draw)})", 1)])


@st.composite
def programs(draw: st.DrawFn) -> Program:
    of, palettes = draw(st.sampled_from([(EVERYTHING, tuple(PALETTES)), (COMMON, ("float32", "float64", "complex"))]))
    whole = optimizer(draw, of, draw(st.integers(1, DEPTH)))
    dtypes = PALETTES[draw(st.sampled_from(palettes))]
    leaves = draw(st.lists(st.tuples(st.sampled_from(SHAPES), st.sampled_from(dtypes)), min_size=1, max_size=4))
    segments = draw(st.lists(st.tuples(st.sampled_from(EVENTS), st.sampled_from(MODES)), min_size=2, max_size=6))
    law = draw(st.sampled_from(LAWS)) if draw(st.booleans()) else 0
    return Program(whole.text, whole.degree, tuple(leaves), tuple(segments), draw(st.integers(0, 2**16)), law)


def simplest() -> Program:
    """Where Hypothesis begins, and where it shrinks to."""
    return hypothesis.find(programs(), lambda program: True, settings=hypothesis.settings(database=None))


def examine(seed: int, each: Callable[[Program], None], shrink: bool = False, count: int = BATCH) -> None:
    """Draw the programs of a seed, and examine each; what fails is made smaller if asked for."""
    phases = [hypothesis.Phase.generate, *([hypothesis.Phase.shrink] if shrink else [])]

    @hypothesis.seed(seed)
    @hypothesis.settings(
        max_examples=count, database=None, deadline=None, phases=phases, suppress_health_check=list(hypothesis.HealthCheck),
        print_blob=False, report_multiple_bugs=False,
    )  # fmt: skip
    @hypothesis.given(programs())
    def run(program: Program) -> None:
        each(program)

    run()
