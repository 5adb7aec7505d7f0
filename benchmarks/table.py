"""The benchmark tables, made from a results file; `python -m tests.pages` puts them into this folder's README.

python benchmarks/table.py benchmarks/results/cpu.json    print them
python benchmarks/table.py NEW.json --against OLD.json    gradxform's own figures, before and after
"""

import argparse
import json
from collections import Counter
from pathlib import Path

HEADLINE = "clip_by_global_norm + adamw"
MEASURES = {
    "first_trace": "first trace",
    "trace": "trace",
    "lower": "lower",
    "compile": "compile",
    "first_update": "first un-jitted update",
    "update": "un-jitted update",
    "step": "jitted step",
}
SMALL = {"trace": 0.25, "lower": 0.5, "update": 0.1}  # the greatest ratios aimed at, on a thousand small leaves
STEP, IMPORT, INSTRUCTIONS = 1.05, 0.7, 1.0  # at every shape; after jax; of every optimizer

TEXT = {"Measure", "Leaves", "Optimizer"}  # columns of words
AFTER_JAX = "import, after jax"
BESIDE_TORCH = {"torch fused": "PyTorch fused", "torch foreach": "PyTorch foreach", "optax": "Optax", "gradxform": "gradxform"}
SHOWN = "transformer"  # the shapes whose timings stand unfolded

Row = tuple[str, ...]


def seconds(x: float) -> str:
    """Three digits and a unit."""
    unit, factor = next((unit, f) for unit, f in (("s", 1), ("ms", 1e3), ("µs", 1e6)) if x * f >= 1 or unit == "µs")
    return f"{x * factor:#.3g}".rstrip(".") + f" {unit}"


def size(n: float) -> str:
    unit, factor = next((unit, f) for unit, f in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3), ("B", 1)) if n >= f or unit == "B")
    return f"{n / factor:.4g} {unit}"


def spread(ratio: dict) -> str:
    """The median of the ratios and their range."""
    return f"{ratio['median']:.2f} ({ratio['min']:.2f}-{ratio['max']:.2f})"


def pair(entry: dict) -> Row:
    """Optax, gradxform, ratio."""
    times = entry["seconds"]
    return seconds(times["optax"]), seconds(times["gradxform"]), spread(entry["ratio"]["optax"])


def timing_rows(results: dict) -> list[Row]:
    """measure, shapes, Optax, gradxform, ratio."""
    rows = []
    for measure, name in MEASURES.items():
        for key, entry in results["timings"].get(measure, {}).items():
            rows.append((name, results["shapes"][key]["label"], *pair(entry)))
    if "import" in results:
        rows.append((AFTER_JAX, "", *pair(results["import"])))
    return rows


def both(theirs, ours) -> str:
    """Optax's and ours in one cell; once where they are equal."""
    return f"{theirs}" if theirs == ours else f"{theirs} / {ours}"


def count_rows(results: dict) -> list[Row]:
    """optimizer, HLO instructions of each and their ratio, of which on arrays, state bytes."""
    rows = []
    for name, entry in results.get("counts", {}).items():
        theirs, ours = entry["optax"], entry["gradxform"]
        totals = str(theirs["all"]), str(ours["all"]), f"{ours['all'] / theirs['all']:.2f}"
        state = both(size(theirs["state_bytes"]), size(ours["state_bytes"]))
        rows.append((name, *totals, both(theirs["arrays"], ours["arrays"]), state))
    return rows


def torch_contenders(results: dict) -> list[str]:
    timings = results.get("torch", {}).get("timings", {}).values()
    return [name for name in BESIDE_TORCH if any(name in entry["seconds"] for entry in timings)]


def torch_header(results: dict) -> Row:
    return ("Leaves", *(BESIDE_TORCH[name] for name in torch_contenders(results)), "gradxform / PyTorch fused")


def torch_rows(results: dict) -> list[Row]:
    """shapes, the time of each contender, gradxform's ratio to PyTorch's fused loop."""
    return [
        (
            results["shapes"][key]["label"],
            *(seconds(entry["seconds"][name]) for name in torch_contenders(results)),
            spread(entry["ratio"]["torch fused"]),
        )
        for key, entry in results.get("torch", {}).get("timings", {}).items()
    ]


def targets(results: dict) -> list[tuple[str, float, float]]:
    """What is aimed at, the limit, the measured ratio."""
    timings, shapes = results["timings"], results["shapes"]
    goals = [(m, "small", limit) for m, limit in SMALL.items()] + [("step", key, STEP) for key in shapes]
    met = [
        (f"{MEASURES[m]}, {shapes[key]['label']}", limit, timings[m][key]["ratio"]["optax"]["median"])
        for m, key, limit in goals
        if key in timings.get(m, {})
    ]
    if "import" in results:
        met.append(("import", IMPORT, results["import"]["ratio"]["optax"]["median"]))
    counts = {**results.get("counts", {}), **{shapes[k]["label"]: c for k, c in results.get("headline_counts", {}).items()}}
    for name, entry in counts.items():
        kind = "arrays" if "warm-up" in name else "all"  # a schedule may cost a few scalars
        met.append((f"HLO instructions, {name}", INSTRUCTIONS, entry["gradxform"][kind] / entry["optax"][kind]))
    return met


def target_rows(results: dict) -> list[Row]:
    return [(what, f"{limit:.2f}", f"{got:.3f}", "met" if got <= limit else "MISSED") for what, limit, got in targets(results)]


def markdown(header: Row, rows: list[Row]) -> str:
    align = ["---" if title in TEXT else "---:" for title in header]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (header, align, *rows))


def caption(results: dict) -> str:
    machine, versions = results["machine"], results["versions"]
    where = f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_gb']:.0f} GB"
    if machine["backend"] != "cpu":
        where = f"{machine['device']} ({where})"
    ours = f"gradxform {versions['gradxform'] or ''} ({versions['commit']})".replace("  ", " ")
    trial = results["settings"]["quick"] or results["settings"]["libraries"]["gradxform"] != "gradxform"
    donated = " and takes parameters and state by donation, as users do" if results["settings"].get("donated") else ""
    warning = " **A trial of the script: no measurement.**" if trial else ""
    return (
        f"Optax {versions['optax']} and {ours} in turn in one process; JAX {versions['jax']}, Python {versions['python']}; "
        f"{where}; {results['date']}.{warning} Ratio: gradxform's time over Optax's, the median (and range) of neighbouring "
        "samples; below 1, gradxform is faster. The optimizer is `chain(clip_by_global_norm(1.0), adamw(1e-3))` on float32, "
        f"the step includes `apply_updates`{donated}; a `first` time is that of a fresh process. Made by "
        "`python benchmarks/compare.py`."
    )


def roofline_line(results: dict) -> str:
    roof = results["roofline"]
    speeds = roof["gb_per_s"]
    moved = bytes_per_param(results) if "loops" in roof else dict.fromkeys(("optax", "gradxform"), roof["bytes_per_param"])
    return (
        f"`adamw` alone on {results['shapes'][roof['shapes']]['label']}: Optax {moved['optax']:.0f} bytes a parameter at "
        f"{speeds['optax']:.1f} GB/s, gradxform {moved['gradxform']:.0f} at {speeds['gradxform']:.1f} GB/s; an addition of two "
        f"arrays reaches {speeds['addition']:.1f} GB/s."
    )


def bytes_per_param(results: dict) -> dict[str, float]:
    """What the loops of one adamw step move."""
    roof = results["roofline"]
    elements = results["shapes"][roof["shapes"]]["elements"]
    return {name: nbytes / elements for name, nbytes in roof["traffic"].items()}


def names_of(arrays: list[str]) -> str:
    return ", ".join(f"`{name}`" for name in arrays)


def loop_words(loop: dict, elements: int) -> str:
    return f"{names_of(loop['writes'])} from {names_of(loop['reads'])} ({loop['bytes'] / elements:.0f} bytes)"


def loops_text(results: dict) -> str:
    """What the loops of one adamw step cost beside a single pass over the arrays."""
    roof = results["roofline"]
    shape, loops, took = results["shapes"][roof["shapes"]], roof["loops"]["gradxform"], roof["seconds"]
    elements, least, moved = shape["elements"], roof["bytes_per_param"], bytes_per_param(results)
    crossed = roof["crossed_traffic"]["gradxform"] / elements
    pass_of = lambda nbytes: seconds(nbytes * elements / (roof["gb_per_s"]["addition"] * 1e9))
    same = ", as Optax's" if moved["optax"] == moved["gradxform"] else f" (Optax's step: {moved['optax']:.0f})"
    words = [
        f"What XLA's loops cost. An `adamw` step must read gradient, parameter and two moments and write all but the gradient: "
        f"{least} bytes a parameter. XLA compiles it into {len(loops)} loop{'s' * (len(loops) > 1)} over arrays here: "
        f"{'; '.join(loop_words(loop, elements) for loop in loops)}; together {moved['gradxform']:.0f} bytes{same}."
    ]
    twice = sorted(name for name, loops_of in Counter(name for loop in loops for name in loop["reads"]).items() if loops_of > 1)
    if twice:
        words.append(
            f"A loop on this backend writes one array, hence {names_of(twice)} are read twice: the gradient once for each moment, "
            "and the moments again, just written, for the parameters. `apply_updates` adds no pass: it is inside the loop that "
            "writes the parameters."
        )
    if crossed > moved["gradxform"]:
        words.append(
            "Take `(params, state)` in the order in which you return them: JAX pairs donated buffers with results of the same "
            f"shape in order, and a step that takes `(state, params)` moves {crossed:.0f} bytes, the difference in copies."
        )
    words.append(
        f"On {shape['label']}, an addition of two arrays in place (12 bytes) takes {seconds(took['addition'])}, "
        f"{roof['gb_per_s']['addition']:.1f} GB/s; at that speed {least} bytes take {pass_of(least)} and "
        f"{moved['gradxform']:.0f} bytes {pass_of(moved['gradxform'])}. Measured: Optax {seconds(took['optax'])}, gradxform "
        f"{seconds(took['gradxform'])}{torch_fused(results)}."
    )
    return " ".join(words)


def torch_fused(results: dict) -> str:
    """PyTorch's single loop on the same leaf."""
    entry = results.get("torch", {}).get("timings", {}).get(results["roofline"]["shapes"])
    return f"; PyTorch's fused loop, one pass, {seconds(entry['seconds']['torch fused'])}" if entry else ""


def torch_note(results: dict) -> str:
    ours = results["torch"]
    if "skipped" in ours:
        return f"PyTorch: {ours['skipped']}."
    name = {"adam": "Adam", "adamw": "AdamW"}[ours.get("optimizer", "adam")]
    return (
        f"PyTorch {ours['torch']} on {ours['device']}, {ours['threads']} threads: `torch.optim.{name}` beside "
        f"`{name.lower()}`, jitted and donated; all of them in place."
    )


def folded(title: str, *parts: str) -> str:
    return "\n\n".join((f"<details><summary>{title}</summary>", *parts, "</details>"))


def render(results: dict) -> str:
    """The Markdown between the markers: a short table of timings and the one beside PyTorch; the rest is folded."""
    parts, header = [caption(results)], ("Measure", "Leaves", "Optax", "gradxform", "Ratio")
    shown = {"", results["shapes"].get(SHOWN, {}).get("label")}
    if rows := timing_rows(results):
        parts.append(markdown(header, [row for row in rows if row[1] in shown]))
        parts.append(folded("Timings on other shapes", markdown(header, [row for row in rows if row[1] not in shown])))
    if rows := count_rows(results):
        words = (
            f"HLO instructions of the compiled step on a {results['counting_tree']}, in all computations, parameters, constants, "
            "tuples and bitcasts apart (a cell with two numbers: Optax / gradxform):"
        )
        table = markdown(("Optimizer", "Optax", "gradxform", "Ratio", "of these, on arrays", "State"), rows)
        parts.append(folded(f"Compiled instructions and state of {len(rows)} optimizers", words, table))
    if "torch" in results:
        parts.append(torch_note(results))
    if rows := torch_rows(results):
        parts.append(markdown(torch_header(results), rows))
    if "roofline" in results:
        parts.append(loops_text(results) if "loops" in results["roofline"] else roofline_line(results))
    return "\n\n".join(parts) + "\n"


def figures(results: dict) -> dict[tuple[str, str], tuple[str, float, float]]:
    """(measure, where) -> (gradxform's figure as words, as a number, its ratio to Optax's)."""
    timed = {
        (name, results["shapes"][k]["label"]): e for m, name in MEASURES.items() for k, e in results["timings"].get(m, {}).items()
    }
    if "import" in results:
        timed[AFTER_JAX, ""] = results["import"]
    found = {key: (seconds(x := e["seconds"]["gradxform"]), x, e["ratio"]["optax"]["median"]) for key, e in timed.items()}
    if roof := results.get("roofline"):
        ours = roof["seconds"]["gradxform"]
        found["adamw step", results["shapes"][roof["shapes"]]["label"]] = seconds(ours), ours, roof["ratio"]["optax"]["median"]
    for key, entry in results.get("torch", {}).get("timings", {}).items():
        ours, ratio = entry["seconds"]["gradxform"], entry["ratio"]["torch fused"]["median"]
        found["beside PyTorch (ratio: to its fused)", results["shapes"][key]["label"]] = seconds(ours), ours, ratio
    for name, entry in results.get("counts", {}).items():
        ours = entry["gradxform"]["all"]
        found["HLO instructions", name] = str(ours), ours, ours / entry["optax"]["all"]
    return found


def comparison(new: dict, old: dict) -> str:
    """gradxform before and after: what both runs have measured."""
    before, after = figures(old), figures(new)
    rows = [
        (
            *key,
            before[key][0],
            after[key][0],
            f"{after[key][1] / before[key][1]:.2f}",
            f"{before[key][2]:.2f}",
            f"{after[key][2]:.2f}",
        )
        for key in after
        if key in before
    ]
    header = "Measure", "Leaves", "before", "after", "after / before", "to Optax, before", "to Optax, after"
    return f"Before: {provenance(old)}\n\nAfter: {provenance(new)}\n\n{markdown(header, rows)}\n"


def provenance(results: dict) -> str:
    versions, machine = results["versions"], results["machine"]
    step = "donated" if results["settings"].get("donated") else "not donated"
    return (
        f"gradxform {versions['gradxform']} ({versions['commit']}), Optax {versions['optax']}, JAX {versions['jax']}, Python "
        f"{versions['python']}; {machine['cpu']}, {machine['cores']} cores, load {machine['load']}; steps {step}; {results['date']}."
    )


def load(path: Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path)
    parser.add_argument("--against", type=Path, metavar="OLD", help="print gradxform's figures before and after instead")
    args = parser.parse_args()
    results = load(args.results)
    print(comparison(results, load(args.against)) if args.against else render(results), end="")


if __name__ == "__main__":
    main()
