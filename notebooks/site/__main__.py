"""The documentation as a site, from the READMEs, the guides and the docstrings: `python -m notebooks.site FOLDER`.

It needs `pip install -e '.[docs]'`. Warnings are errors. All that the pages use is beside them: fonts, scripts, the search index.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

import gradxform
from notebooks.guides import guides, summary
from notebooks.site import reference

ROOT = Path(__file__).parent.parent.parent
PAGES = [  # a title in the navigation, and the page
    ("Guides", "notebooks/README"),
    ("Catalogue", "gradxform/optimizers/README"),
    ("Which optimizer?", "gradxform/race/README"),
    ("From Optax", "tests/optax_suite/README"),
    ("From PyTorch, Keras, ...", "gradxform/dialects/README"),
    ("How fast it is", "benchmarks/README"),
    ("Contributing", "contributing"),
    ("Changes", "changes"),
]
MOVED = {".github/CONTRIBUTING.md": "contributing.md", ".github/CHANGELOG.md": "changes.md", "README.md": "index.md"}
BESIDE = (".png", ".svg", ".gif", ".py")  # pictures, and scripts that pages link
SETTINGS: dict[str, Any] = {
    "project": "gradxform",
    "author": "the gradxform developers",
    "release": gradxform.__version__,
    "extensions": ["myst_nb"],
    "html_theme": "furo",
    "html_title": f"gradxform {gradxform.__version__}",
    "html_copy_source": False,
    "html_show_copyright": False,
    "html_show_sphinx": False,
    "nb_execution_mode": "off",
    "myst_heading_anchors": 3,
    "myst_enable_extensions": ["deflist"],
    "html_static_path": [str(Path(__file__).parent / "site.css")],
    "html_css_files": ["site.css"],
    "pygments_style": "default",
    "pygments_dark_style": "github-dark",
}


def gather(source: Path) -> None:
    """Put all pages into a folder, each where its links expect it."""
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True)
    files = listed.stdout.splitlines()
    for name in [name for name in files if name.endswith(".md") or (name.startswith("notebooks/") and name.endswith(".ipynb"))]:
        path = ROOT / name
        target = source / MOVED.get(name, name)
        target.parent.mkdir(parents=True, exist_ok=True)
        text = path.read_text(encoding="utf-8")
        if name in MOVED:
            text = text.replace("](../", "](")  # of a page that stood in a folder
            for old, new in MOVED.items():
                text = text.replace(f"]({old})", f"]({new})")
        target.write_text(text, encoding="utf-8")
    for name in [name for name in files if name.startswith(("benchmarks/results/", "notebooks/")) and name.endswith(BESIDE)]:
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, source / name)
    names = reference.write(source / "reference")
    _link_names(source / "gradxform/optimizers/README.md", "../../reference", names)
    _list_below(source / "index.md", [*PAGES, ("Reference", "reference/index")])
    _list_below(source / "notebooks/README.md", [(_plain(summary(guide)[0]), f"guides/{guide.name}") for guide in guides()])


def _link_names(page: Path, folder: str, names: reference.Names) -> None:
    """Link what stands first in the rows of a table to its page in the reference."""
    link = lambda row: f"| [`{row[1]}`]({folder}/{names[row[1]]}.md) |" if row[1] in names else row[0]
    page.write_text(re.sub(r"^\| `([\w.]+)` \|", link, page.read_text(encoding="utf-8"), flags=re.MULTILINE), encoding="utf-8")


def _plain(title: str) -> str:
    """A title as the navigation can show it, which knows no marks."""
    return title.replace("`", "")


def _list_below(page: Path, below: list[tuple[str, str]]) -> None:
    """Put pages below one in the navigation, each by a title."""
    tree = "\n".join(f"{title} <{name}>" for title, name in below)
    with page.open("a", encoding="utf-8") as written:
        written.write(f"\n```{{toctree}}\n:hidden:\n\n{tree}\n```\n")


def _one_branch_open(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: object) -> None:
    """In the navigation only the page's own branch is open: every name on every page would be most of the site, and of its making."""
    whole = context["toctree"]
    context["toctree"] = lambda **options: whole(**{**options, "collapse": True})


def build(out: Path) -> int:
    """Build the site, and return the exit status: 1 where there was a warning."""
    with tempfile.TemporaryDirectory() as folder:
        source, html = Path(folder) / "source", Path(folder) / "html"
        source.mkdir()
        gather(source)
        settings = "".join(f"{name} = {value!r}\n" for name, value in SETTINGS.items())
        (source / "conf.py").write_text(settings, encoding="utf-8")  # the theme has settings that can only be given here
        app = Sphinx(
            str(source), str(source), str(html), str(Path(folder) / "doctrees"), "html",
            status=None, warning=sys.stderr, warningiserror=True, freshenv=True,
        )  # fmt: skip
        app.connect("html-page-context", _one_branch_open, priority=400)  # before the theme's, which asks for the tree
        app.build()
        shutil.copytree(html, out, dirs_exist_ok=True)
        sys.stdout.write(f"{len(app.env.found_docs)} pages: {out / 'index.html'}\n")
        return int(app.statuscode)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path, metavar="FOLDER")
    return build(parser.parse_args().out)


if __name__ == "__main__":
    sys.exit(main())
