"""`check`: examine a transformation under all laws, and report."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from gradxform._types import Params
from gradxform.testing._case import Case, Oracle, Subject, case_for
from gradxform.testing._laws import LAWS, Law, LawBroken, Skip


@dataclasses.dataclass(frozen=True)
class Finding:
    """What one law says: `holds`, `broken` or `skipped`, and why."""

    law: Law
    outcome: str
    text: str = ""


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
        return "\n".join(lines)


def examine(subject: Subject, *, oracle: Oracle | None = None, params: Params = None, laws: Sequence[int] | None = None) -> Report:
    """Examine a transformation under the laws (all, or those with the given numbers), and return the report.

    An error raised by the transformation counts as a broken law; the report has its text. If the first call raises, nothing else is
    examined.
    """
    case, findings = case_for(subject, oracle, params), []
    asked = [law for law in LAWS if laws is None or law.number in laws]
    problem = _at_the_first_call(case)
    if problem and asked:
        broken = Finding(asked[0], "broken", f"it raises at the first call: {problem}\n  Mend this first.")
        return Report(case.name, [broken, *(Finding(law, "skipped", "not examined") for law in asked[1:])])
    for law in asked:
        try:
            result = law(case)
        except LawBroken as e:
            findings.append(Finding(law, "broken", str(e)))
        except Exception as e:
            findings.append(Finding(law, "broken", f"it raised {_told(e)}"))
        else:
            findings.append(Finding(law, "skipped", result.reason) if isinstance(result, Skip) else Finding(law, "holds"))
    return Report(case.name, findings)


def _at_the_first_call(case: Case) -> str:
    """What goes wrong with the first state or the first update; nothing if they can be made."""
    try:
        params = case.params()
        case.update(case.tx, case.grads(0), case.tx.init(params), params)
    except Exception as e:
        return _told(e)
    return ""


def _told(e: Exception) -> str:
    """An error without the notes that JAX adds."""
    return f"{type(e).__name__}: {e}"


def check(subject: Subject, *, oracle: Oracle | None = None, params: Params = None, laws: Sequence[int] | None = None) -> Report:
    """Examine a transformation under the laws, print the report, and raise if one is broken.

    Args:
      subject: a transformation, a function that makes one without arguments, a registered name, or a registry entry.
      oracle: a float64 NumPy transcription to compare with: (hyperparameters) -> step(gs, ws) -> us on lists of arrays.
      params: parameters whose leaf shapes to test on, for a transformation that does not take every shape.
      laws: numbers of the laws to examine; all if None.

    Raises   LawBroken: a law does not hold (its text is the report).
    """
    report = examine(subject, oracle=oracle, params=params, laws=laws)
    print(report)
    if not report.ok:
        raise LawBroken(str(report))
    return report
