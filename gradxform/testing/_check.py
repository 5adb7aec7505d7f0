"""`check`: examine a transformation under all laws, and report."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TypedDict, Unpack

from gradxform._types import Params
from gradxform.testing._case import Case, Reference, Subject, case_for
from gradxform.testing._laws import LAWS, Law, LawBroken, Skip, describe, differences


@dataclasses.dataclass(frozen=True)
class Finding:
    """What one law says: `holds`, `broken` or `skipped`, and why; of what is skipped, what to do to have it examined."""

    law: Law
    outcome: str
    text: str = ""
    to_do: str = ""


@dataclasses.dataclass(frozen=True)
class Report:
    """What all laws say of one transformation."""

    name: str
    findings: Sequence[Finding]

    @property
    def ok(self) -> bool:
        return not self.broken

    @property
    def broken(self) -> list[Finding]:
        return [f for f in self.findings if f.outcome == "broken"]

    def __str__(self) -> str:
        signs = {"holds": "holds  ", "broken": "BROKEN ", "skipped": "skipped"}
        lines = [f"The laws for {self.name}"]
        for f in self.findings:
            lines.append(f"  {signs[f.outcome]} {f.law.number:2}. {f.law.title}{': ' + f.text if f.outcome == 'skipped' else ''}")
        for f in self.broken:
            lines.append(f"\nLaw {f.law.number}, {f.law.title}, is broken:\n  {f.text}")
        open_ones = [f"  {f.law.number:2}. {f.law.title}: {f.to_do}." for f in self.findings if f.to_do]
        return "\n".join([*lines, *(["\nNot examined, and how to have it examined:", *open_ones] if open_ones else [])])


class Facts(TypedDict, total=False):
    """What `check` may be told of its subject."""

    reference: Reference | None
    params: Params
    kind: str | None
    scope: str | None
    constant: Sequence[str]


def examine(subject: Subject, *, laws: Sequence[int] | None = None, **facts: Unpack[Facts]) -> Report:
    """Examine a transformation under the laws (all, or those with the given numbers), and return the report.

    An error raised by the transformation counts as a broken law; the report has its text. If the first call raises, or gives other leaves
    than the parameters have, nothing else is examined; nor is a law that another one is the ground of, where that is broken.

    Args:
      subject: a transformation, a function that makes one without arguments, a registered name, or a registry entry.
      laws: numbers of the laws to examine; None: all.
      facts: what else is known of the subject: `reference`, `params`, `kind`, `scope`, `constant`.

    >>> report = gx.testing.examine(gx.sgd(0.1), laws=[2])
    """
    case, asked = case_for(subject, **facts), [law for law in LAWS if laws is None or law.number in laws]
    problem = _at_the_first_call(case)
    if problem and asked:
        broken = Finding(asked[0], "broken", f"{problem}\n  Mend this first.")
        return Report(case.name, [broken, *(Finding(law, "skipped", "not examined") for law in asked[1:])])
    found: dict[int, Finding] = {}
    for law in asked:
        _ask(law, asked, case, found)
    return Report(case.name, [found[law.number] for law in asked])


def _ask(law: Law, asked: Sequence[Law], case: Case, found: dict[int, Finding]) -> None:
    """Examine a law, after those that it rests on."""
    if law.number not in found:
        for ground in asked:
            if ground.number in law.rests_on:
                _ask(ground, asked, case, found)
        found[law.number] = _finding(law, case, found)


def _finding(law: Law, case: Case, found: dict[int, Finding]) -> Finding:
    """What a law says, unless one that it rests on is broken; an error that breaks several is told once."""
    for number in law.rests_on:
        if number in found and found[number].outcome == "broken":
            return Finding(law, "skipped", f"not examined while law {number} is broken")
    try:
        result = law(case)
    except LawBroken as e:
        return Finding(law, "broken", str(e))
    except Exception as e:
        text = f"it raised {_told(e)}"
        before = next((n for n, f in found.items() if f.outcome == "broken" and f.text[:80] == text[:80]), None)
        return (
            Finding(law, "broken", text)
            if before is None
            else Finding(law, "skipped", f"it raises what it raises under law {before}")
        )
    return Finding(law, "skipped", str(result), result.to_do) if isinstance(result, Skip) else Finding(law, "holds")


def _at_the_first_call(case: Case) -> str:
    """What goes wrong with the first state or the first update; nothing if they can be made."""
    try:
        params = case.params()
        updates, _ = case.update(case.tx, case.grads(0), case.tx.init(params), params)
    except Exception as e:
        return f"it raises at the first call: {_told(e)}"
    shapes = lambda tree: {path: kind[:1] for path, kind in describe(tree).items()}
    changed = differences(shapes(params), shapes(updates))
    return f"the update has other leaves than the parameters: {'; '.join(changed)}." if changed else ""


def _told(e: Exception) -> str:
    """An error without the notes that JAX adds."""
    return f"{type(e).__name__}: {e}"


def check(subject: Subject, *, laws: Sequence[int] | None = None, **facts: Unpack[Facts]) -> Report:
    """Examine a transformation under the laws, print the report, and raise if one is broken.

    Args:
      subject: a transformation, a function that makes one without arguments, a registered name, or a registry entry.
      laws: numbers of the laws to examine; all if None.
      facts: what else is known of the subject, one by one:
      reference: a float64 NumPy transcription to compare with: (hyperparameters) -> step(gs, ws) -> us on lists of arrays.
      params: parameters whose leaf shapes to test on, for a transformation that does not take every shape.
      kind: `"optimizer"` if its updates are ready for `apply_updates`, so that it has to converge, or `"transform"`; without it, as it is
        registered, or an optimizer if it has a learning rate.
      scope: how far information flows in a pair of functions that is written by hand: `"elementwise"`, `"per_leaf"` or `"per_tree"`.
      constant: names of fields of the state that no update changes.

    >>> report = gx.testing.check("sgd", laws=[2])
    The laws for sgd
      holds    2. the state is a fixed point of update

    Raises   LawBroken: a law does not hold (its text is the report).
    """
    report = examine(subject, laws=laws, **facts)
    print(report)
    if not report.ok:
        raise LawBroken(str(report))
    return report
