"""The README's benchmark tables, made from a results file.

python benchmarks/table.py benchmarks/results/cpu.json                     print them
python benchmarks/table.py benchmarks/results/cpu.json --write README.md   replace them in place, between the markers
"""

import argparse
import json
from pathlib import Path

BEGIN, END = "<!-- benchmarks:begin -->", "<!-- benchmarks:end -->"
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
STEP, IMPORT, INSTRUCTIONS = 1.05, 1.0, 1.0  # at every shape; after jax; of every optimizer

TEXT = {"Measure", "Leaves", "Optimizer", "Adam"}  # columns of words

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
        rows.append(("import, after jax", "", *pair(results["import"])))
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


def torch_rows(results: dict) -> list[Row]:
    """implementation, shapes, PyTorch, gradxform, ratio."""
    rows = []
    for key, entry in results.get("torch", {}).get("timings", {}).items():
        for name, ratio in entry["ratio"].items():
            times = seconds(entry["seconds"][name]), seconds(entry["seconds"]["gradxform"])
            rows.append((name.removeprefix("torch "), results["shapes"][key]["label"], *times, spread(ratio)))
    return rows


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
    warning = " **A trial of the script: no measurement.**" if trial else ""
    return (
        f"Optax {versions['optax']} and {ours} in turn in one process; JAX {versions['jax']}, Python {versions['python']}; "
        f"{where}; {results['date']}.{warning} Ratio: gradxform's time over Optax's, the median (and range) of neighbouring "
        "samples; below 1, gradxform is faster. The optimizer is `chain(clip_by_global_norm(1.0), adamw(1e-3))` on float32, "
        "the step includes `apply_updates`; a `first` time is that of a fresh process. Made by `python benchmarks/compare.py`."
    )


def roofline_line(results: dict) -> str:
    roof = results["roofline"]
    speeds = roof["gb_per_s"]
    return (
        f"`adamw` alone on {results['shapes'][roof['shapes']]['label']} moves {roof['bytes_per_param']} bytes a parameter: Optax "
        f"{speeds['optax']:.1f} GB/s, gradxform {speeds['gradxform']:.1f} GB/s; a plain addition of two arrays reaches "
        f"{speeds['addition']:.1f} GB/s."
    )


def torch_note(results: dict) -> str:
    ours = results["torch"]
    if "skipped" in ours:
        return f"PyTorch: {ours['skipped']}."
    return (
        f"PyTorch {ours['torch']} on {ours['device']}, {ours['threads']} threads: `torch.optim.Adam` (in place) beside "
        f"`gradxform.adam` (jitted, donated)."
    )


def render(results: dict) -> str:
    """The Markdown between the markers."""
    parts = [caption(results)]
    if rows := timing_rows(results):
        parts.append(markdown(("Measure", "Leaves", "Optax", "gradxform", "Ratio"), rows))
    if rows := count_rows(results):
        parts.append(
            f"HLO instructions of the compiled step on a {results['counting_tree']}, in all computations, parameters, constants, "
            "tuples and bitcasts apart (a cell with two numbers: Optax / gradxform):"
        )
        parts.append(markdown(("Optimizer", "Optax", "gradxform", "Ratio", "of these, on arrays", "State"), rows))
    if "roofline" in results:
        parts.append(roofline_line(results))
    if "torch" in results:
        parts.append(torch_note(results))
    if rows := torch_rows(results):
        parts.append(markdown(("Adam", "Leaves", "PyTorch", "gradxform", "Ratio"), rows))
    return "\n\n".join(parts) + "\n"


def write(readme: Path, text: str) -> None:
    """Put the text between the markers of a file."""
    before, begin, rest = readme.read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise SystemExit(f"{readme}: no {BEGIN} followed by {END}")
    readme.write_text(f"{before}{BEGIN}\n{text}{END}{after}", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path)
    parser.add_argument("--write", type=Path, metavar="README", help="replace the tables in this file")
    args = parser.parse_args()
    text = render(json.loads(args.results.read_text(encoding="utf-8")))
    if args.write:
        write(args.write, text)
    else:
        print(text, end="")


if __name__ == "__main__":
    main()
