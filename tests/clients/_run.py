"""`python _run.py optax|gradxform NAME FILE`: run a scenario with Optax, or with gradxform in its place, and save its results."""

import importlib
import os
import sys

os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax
import numpy as np


def main(library: str, name: str, file: str) -> None:
    if library == "gradxform":
        import gradxform.as_optax  # noqa: F401
    scenario = importlib.import_module(f"scenarios.{name}")
    import optax

    assert (type(optax).__module__.partition(".")[0] == "gradxform") == (library == "gradxform")
    results = jax.tree.map(np.asarray, scenario.run())
    scenario.check(results)
    if library == "gradxform":
        files = [getattr(module, "__file__", None) or "" for module in sys.modules.values()]
        assert not any("/optax/" in file.replace("\\", "/") for file in files), "files of Optax were loaded"
    leaves = jax.tree_util.tree_leaves_with_path(results)
    np.savez(file, ERROR=scenario.ERROR, **{jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in leaves})


if __name__ == "__main__":
    main(*sys.argv[1:])
