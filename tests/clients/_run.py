"""`python _run.py optax|gradxform NAME FILE`: run a scenario with Optax, or with gradxform in its place, and save its results."""

import importlib
import os
import sys

os.environ.setdefault("JAX_PLATFORMS", "cpu")

import _alias
import jax
import numpy as np


def main(library: str, name: str, file: str) -> None:
    if library == "gradxform":
        _alias.install()
    scenario = importlib.import_module(f"scenarios.{name}")
    import optax

    assert optax.__name__ == library
    results = jax.tree.map(np.asarray, scenario.run())
    scenario.check(results)
    if library == "gradxform":
        assert not _alias.foreign_modules(), _alias.foreign_modules()
    leaves = jax.tree_util.tree_leaves_with_path(results)
    np.savez(file, ERROR=scenario.ERROR, **{jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in leaves})


if __name__ == "__main__":
    main(*sys.argv[1:])
