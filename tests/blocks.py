"""The front page's blocks of Python as files: `python tests/blocks.py FOLDER`. They must run where only the wheel is installed."""

import pathlib
import re
import sys

README = pathlib.Path(__file__).parent.parent / "README.md"


def blocks(page: pathlib.Path = README) -> list[str]:
    return re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)


if __name__ == "__main__":
    folder = pathlib.Path(sys.argv[1])
    folder.mkdir(parents=True)
    for number, block in enumerate(blocks(), 1):
        (folder / f"block_{number}.py").write_text(block, encoding="utf-8")
