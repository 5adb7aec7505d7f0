"""The words of `gradxform._types` for the numbers of a schedule, which cannot be schedules themselves."""

from __future__ import annotations

from typing import Annotated

from gradxform._types import Number, Range

Unit = Annotated[Number, Range("[0, 1]")]
Positive = Annotated[Number, Range("(0, inf)")]
NonNegative = Annotated[Number, Range("[0, inf)")]
Real = Annotated[Number, Range("(-inf, inf)")]
Extended = Annotated[Number, Range("[-inf, inf]")]
