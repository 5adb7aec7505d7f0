"""Make notebooks of the guides: `python -m notebooks.guides [NAME ...]`.

Each script's cells are executed in a kernel of their own, in a copy of the folder of the guides; the notebook with its outputs, a
thumbnail, and the animation that the script saves under its own name, if any, are written beside it. It needs
`pip install -e '.[guides]'`. A guide has a minute on two cores: one that takes two minutes of a processor's time fails, as does one
that raises.
"""

from __future__ import annotations

import argparse
import base64
import io
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from PIL import Image

from notebooks.guides._cells import FOLDER, THUMBNAIL, Guide, guides

ROOT = FOLDER.parent.parent
SECONDS = 120
SIZE = (320, 200)
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}
CLOCK = "import os; print(sum(os.times()[:4]))"  # of the kernel, and of processes that it started


def notebook(guide: Guide) -> nbformat.NotebookNode:
    """The guide's notebook, before it is executed."""
    new = {"code": nbformat.v4.new_code_cell, "markdown": nbformat.v4.new_markdown_cell}
    cells = [
        new[cell.kind](cell.source, id=f"cell-{i}", metadata={"tags": [cell.tag]} if cell.tag else {})
        for i, cell in enumerate(guide.cells())
    ]
    return nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": KERNEL, "language_info": {"name": "python"}})


def execute(guide: Guide, folder: Path) -> tuple[nbformat.NotebookNode, float]:
    """The guide's notebook with its outputs, executed in a folder, and the processor's seconds."""
    made = notebook(guide)
    clock = nbformat.v4.new_code_cell(CLOCK)
    made.cells.append(clock)
    client = NotebookClient(
        made, timeout=600, resources={"metadata": {"path": str(folder)}}, record_timing=False, extra_arguments=["--log-level=ERROR"]
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "error::DeprecationWarning:__main__"}
    client.execute(env=environment)
    made.cells.remove(clock)
    made.metadata = {"kernelspec": KERNEL, "language_info": {"name": "python"}}
    return made, float(clock.outputs[0].text)


def thumbnail(made: nbformat.NotebookNode) -> Image.Image:
    """The picture of the cell that is tagged for it, on white."""
    tagged = [cell for cell in made.cells if THUMBNAIL in cell.metadata.get("tags", [])]
    pictures = [o.data["image/png"] for cell in tagged for o in cell.outputs if "image/png" in o.get("data", {})]
    if len(tagged) != 1 or not pictures:
        raise ValueError(f'one cell begins with `# %% tags=["{THUMBNAIL}"]` and shows a figure')
    picture = Image.open(io.BytesIO(base64.b64decode(pictures[0]))).convert("RGB")
    picture.thumbnail(SIZE, Image.Resampling.LANCZOS)
    white = Image.new("RGB", SIZE, "white")
    white.paste(picture, tuple((whole - own) // 2 for whole, own in zip(SIZE, picture.size, strict=True)))
    return white.quantize(64)


def make(guide: Guide, keep: bool) -> float | None:
    """Execute a guide, write what came of it if it is to be kept, and return the seconds of a processor, None if it failed."""
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(shutil.copytree(FOLDER, Path(scratch) / "guides"))
        try:
            made, seconds = execute(guide, folder)
            picture = thumbnail(made)
        except (CellExecutionError, ValueError) as e:
            sys.stdout.write(f"{guide.name}: {e}\n")
            return None
        if keep:
            nbformat.write(made, guide.notebook)
            guide.thumbnail.parent.mkdir(exist_ok=True)
            picture.save(guide.thumbnail, optimize=True)
            for animation in folder.glob(f"{guide.name}.gif"):
                shutil.copyfile(animation, FOLDER / animation.name)
    late = f", more than the {SECONDS} s that a guide has" if seconds > SECONDS else ""
    sys.stdout.write(f"{guide.name}: {time.monotonic() - start:.0f} s, of a processor {seconds:.0f} s{late}\n")
    sys.stdout.flush()
    return None if late else seconds


def changed(since: str) -> list[Guide]:
    """The guides whose scripts differ from those of a commit."""
    command = ["git", "diff", "--name-only", since, "--", str(FOLDER)]
    names = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    return [guide for guide in guides() if str(guide.script.relative_to(ROOT)) in names]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m notebooks.guides", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"all by default: {', '.join(guide.name for guide in guides())}")
    parser.add_argument("--since", metavar="COMMIT", help="only those whose script differs from the commit's")
    parser.add_argument("--check", action="store_true", help="execute them, and write nothing")
    options = parser.parse_args()
    if unknown := set(options.names) - {guide.name for guide in guides()}:
        parser.error(f"there is no guide {', '.join(sorted(unknown))}")
    chosen = changed(options.since) if options.since else [g for g in guides() if not options.names or g.name in options.names]
    ended = [make(guide, keep=not options.check) for guide in chosen]
    sys.stdout.write(f"{len(ended)} guides, {ended.count(None)} failed, of a processor {sum(filter(None, ended)):.0f} s\n")
    return int(None in ended)


if __name__ == "__main__":
    sys.exit(main())
