"""What only a fresh process shows: the import, the first trace, the first un-jitted update.

Run as a script it is that fresh process: `python benchmarks/processes.py LIBRARY MEASURE TREE QUICK` prints seconds.
"""

import importlib
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
IMPORT = "import time, jax; start = time.perf_counter(); import {}; print(time.perf_counter() - start)"


def run_child(arguments: list[str]) -> float:
    """The seconds that a fresh interpreter prints, with the repository on its path."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    # a GPU's memory is the parent's; the child takes what little it needs
    env = {**os.environ, "PYTHONPATH": path, "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
    env.pop("PYTHONDONTWRITEBYTECODE", None)  # an installed library has its bytecode; a checkout gets it in the warm-up
    child = subprocess.run([sys.executable, *arguments], env=env, capture_output=True, text=True)
    if child.returncode:
        raise RuntimeError(f"a child process failed: {arguments}\n{child.stderr}")
    return float(child.stdout.split()[-1])


def import_sampler(library: str) -> Callable[[int], float]:
    """Importing a library after jax."""
    return lambda n: sum(run_child(["-c", IMPORT.format(library)]) for _ in range(n))


def first_sampler(library: str, measure: str, tree: str, quick: bool) -> Callable[[int], float]:
    """The first trace or the first un-jitted update of a process."""
    arguments = [__file__, library, measure, tree, str(int(quick))]
    return lambda n: sum(run_child(arguments) for _ in range(n))


def first(library: str, measure: str, tree: str, quick: bool) -> float:
    """In this process, for the first time."""
    import cases
    import jax
    from measure import train_step

    lib, optimizer, params = importlib.import_module(library), cases.OPTIMIZERS[cases.HEADLINE], cases.trees(quick)[tree]
    tx = optimizer.make(lib)
    jax.devices()  # the backend's start is not ours to measure
    if measure == "trace":
        args = params.abstract, jax.eval_shape(tx.init, params.abstract), params.abstract
        step = train_step(lib, tx)
        work = lambda: step.trace(*args)
    else:
        args = jax.block_until_ready((params.grads, tx.init(params.params), params.params))
        work = lambda: jax.block_until_ready(tx.update(*args))
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


if __name__ == "__main__":
    library, measure, tree, quick = sys.argv[1:]
    print(first(library, measure, tree, bool(int(quick))))
