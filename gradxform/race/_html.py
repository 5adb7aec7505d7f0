"""A race as one file of HTML that needs no other: the table, what it means, the figure, and where it was run."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

from gradxform.race import _figure, _verdict
from gradxform.race._results import Result, Results
from gradxform.race._settings import DESCRIPTIONS
from gradxform.race._table import COLUMNS, groups_of, letter
from gradxform.race._words import counted

CODE_WIDTH = 100
STYLE = """
.race { font: 15px/1.5 system-ui, sans-serif; color: #222; max-width: 1250px; margin: 2em auto; padding: 0 1em }
.race .wide { overflow-x: auto }
.race table { border-collapse: collapse; font-variant-numeric: tabular-nums }
.race th { text-align: right; vertical-align: bottom; border-bottom: 1px solid #888; padding: 2px 10px; font-weight: 600 }
.race th { white-space: nowrap }
.race td { text-align: right; padding: 2px 10px; white-space: nowrap }
.race th:nth-child(-n+2), .race td:nth-child(-n+2) { text-align: left }
.race tr.first td { border-top: 1px solid #ddd }
.race tr.best td { font-weight: 600 }
.race tr.failed td { color: #b00020; text-align: left }
.race pre { background: #f5f5f5; padding: 1em; overflow-x: auto }
.race img { width: 100%; height: auto }
.race .facts td { text-align: left; white-space: normal; color: #555 }
"""


def write(results: Results, path: Path) -> Path:
    """Write the report."""
    title = escape(f"gradxform race {results.settings.problem}")
    head = f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title></head><body>\n'
    path.write_text(f"{head}{fragment(results)}</body></html>\n", encoding="utf-8")
    return path


def fragment(results: Results) -> str:
    """The report without the page around it, as a notebook shows it."""
    s = results.settings
    intro = (
        f"{counted(len(results), 'optimizer')}, {s.steps} steps, {counted(s.runs, 'run')} each ({counted(s.rates, 'learning rate')} on one "
        f"seed, the best {s.finalists} on {counted(s.seeds, 'fresh seed')}), {DESCRIPTIONS[s.schedule]}"
    )
    words = [*_verdict.remarks(results.values()), *_verdict.verdict(results)]
    code = "\n".join(_verdict.code(results, CODE_WIDTH)[1:])
    return "\n".join(
        [
            f'<style>{STYLE}</style>\n<div class="race">',
            f"<h1>gradxform race {escape(s.problem)}</h1>\n<p>{escape(intro)}</p>",
            f'<div class="wide">{_table(results)}</div>',
            *(f"<p>{escape(line)}</p>" for line in words),
            f"<pre>{escape(code)}</pre>" if code else "",
            f'<img alt="losses by step and time, every seed, and sensitivity to the rate" src="{_picture(results)}">',
            _facts({"data": s.data, **(results.sessions[-1] if results.sessions else {})}),
            "</div>\n",
        ]
    )


def _table(results: Results) -> str:
    columns = [c for c in COLUMNS if any(c.cell(r) != "-" for r in results.values() if not r.failed)]
    headings = ["tie", "optimizer", *(c.heading.text.replace("\n", "<br>") for c in columns)]
    rows = ["<tr>" + "".join(f"<th>{h}</th>" for h in headings) + "</tr>"]
    for i, group in enumerate(groups_of(results.values())):
        for n, r in enumerate(group):
            style = f"{'best' if i == 0 and math.isfinite(r.median) else ''} {'first' if n == 0 else ''}".strip()
            rows.append(_row([letter(i), r.label, *(c.cell(r) for c in columns)], style))
    rows += [_row(["", f"{r.label} failed"], "failed") for r in _failed(results)]
    return "<table>" + "\n".join(rows) + "</table>"


def _failed(results: Results) -> list[Result]:
    return [r for r in results.values() if r.failed]


def _row(cells: Sequence[str], style: str) -> str:
    return f'<tr class="{style}">' + "".join(f"<td>{escape(cell)}</td>" for cell in cells) + "</tr>"


def _picture(results: Results) -> str:
    stream = io.BytesIO()
    _figure.figure(results).savefig(stream, dpi=_figure.DPI, format="png")
    return f"data:image/png;base64,{base64.b64encode(stream.getvalue()).decode()}"


def _facts(facts: Mapping[str, str]) -> str:
    return '<table class="facts">' + "".join(_row([k, v], "") for k, v in facts.items() if v) + "</table>"
