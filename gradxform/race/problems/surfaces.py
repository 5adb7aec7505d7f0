"""Four surfaces over the plane, for a picture of the paths that optimizers take."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np

from gradxform._types import Array

Point = Array | np.ndarray | tuple[float, float]
Height = Array | np.ndarray | float


@dataclasses.dataclass(frozen=True)
class Surface:
    """A function of a point of the plane.

    Attributes:
      name: its name.
      height: (point) -> the function's value, for an array whose first axis is (x, y).
      start: where every path begins.
      frame: (least x, greatest x, least y, greatest y) of the picture.
      minima: the lowest points.
    """

    name: str
    height: Callable[[Point], Height]
    start: tuple[float, float]
    frame: tuple[float, float, float, float]
    minima: tuple[tuple[float, float], ...]


def problem() -> tuple[Surface, ...]:
    return (
        Surface("Beale", beale, (0.8, 1.6), (-0.5, 4.5, -1.5, 2.5), ((3.0, 0.5),)),
        Surface("Rosenbrock", rosenbrock, (-1.2, 2.0), (-2.0, 2.0, -1.0, 3.0), ((1.0, 1.0),)),
        Surface("saddle", saddle, (-1.3, 0.02), (-1.8, 1.8, -2.2, 2.2), ((0.0, 2**0.5), (0.0, -(2**0.5)))),
        Surface("long valley", long_valley, (-4.0, -0.5), (-5.0, 2.0, -3.2, 2.8), ((0.0, 0.0),)),
    )


def beale(point: Point) -> Height:
    x, y = point
    return (1.5 - x + x * y) ** 2 + (2.25 - x + x * y**2) ** 2 + (2.625 - x + x * y**3) ** 2


def rosenbrock(point: Point) -> Height:
    """A curved valley."""
    x, y = point
    return (1 - x) ** 2 + 100 * (y - x**2) ** 2


def saddle(point: Point) -> Height:
    """Almost flat along y at the start; the minima lie to both sides."""
    x, y = point
    return x**2 - y**2 + y**4 / 4


def long_valley(point: Point) -> Height:
    """A quadratic, a hundred times steeper across than along, and not along the axes."""
    x, y = point
    along, across = 0.8 * x + 0.6 * y, 0.6 * x - 0.8 * y
    return along**2 / 20 + 5 * across**2
