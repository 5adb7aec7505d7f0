"""What a race is run on: the `Problem` record, how one is found by name, and what is said when a user's own misbehaves."""

from __future__ import annotations

import dataclasses
import difflib
import functools
import importlib
import inspect
import math
import pkgutil
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, TypeVarTuple

import jax
import jax.numpy as jnp
import numpy as np

from gradxform._errors import ProblemError, UnknownNameError
from gradxform._types import Array, Params, Tree
from gradxform.race._imported import found, is_users, said

if TYPE_CHECKING:
    from gradxform.race.problems.surfaces import Surface

Arguments = TypeVarTuple("Arguments")
Result = TypeVar("Result")
PARTS = ("init", "loss", "batch", "evaluate")


@dataclasses.dataclass(frozen=True)
class Problem:
    """Something to train, as four functions.

    Attributes:
      init: (key) -> params, a tree of float arrays. `host_rng(key)` gives a NumPy generator, which spares compiling random numbers.
      loss: (params, batch) -> scalar. The only part that is compiled.
      batch: (rng, step) -> arrays for `loss`. `rng` is a NumPy generator that depends on the run's seed and on `step` alone.
      evaluate: (params) -> a dict of numbers: `loss`, the validation loss, by which runs are ranked; optionally `acc`, and on
        held-out data `test_loss` and `test_acc`. Called with one run's parameters, not traced.
      target: the validation loss whose first crossing counts as "steps to target".
      name: what the learning-rate grids are centred by; the race fills it in.
      description: a few words for the header line.
      steps: how many, unless the command line says otherwise.
      data: identifies the data where they may change between machines; results of other data are not comparable.
      rates_of: the task whose declared learning rates centre the grids, such as `digits` for a small network and few steps; empty:
        the problem's own, and the `default` ones of optimizers that declare none for it.
    """

    init: Callable[[Array], Params]
    loss: Callable[[Params, Tree], Array]
    batch: Callable[[np.random.Generator, int], Tree]
    evaluate: Callable[[Params], Mapping[str, Any]]
    target: float | None = None
    name: str = ""
    description: str = ""
    steps: int = 500
    data: str = ""
    rates_of: str = ""


def host_rng(key: Array) -> np.random.Generator:
    """A NumPy generator seeded by a JAX key.

    Args:
      key: a key of JAX, typed or raw.

    >>> numbers = gx.race.host_rng(jax.random.key(0)).normal(size=3)
    """
    data = jax.random.key_data(key) if jnp.issubdtype(key.dtype, jax.dtypes.prng_key) else key
    return np.random.default_rng(np.asarray(data, np.uint32))


def batch_rng(seed: int, step: int) -> np.random.Generator:
    """The generator that draws batch `step` of the runs with this seed, whatever the optimizer."""
    return np.random.default_rng((seed, step))


def builtin_names() -> list[str]:
    """Names of the problems that come with the library, one per file of `race/problems`."""
    from gradxform.race import problems

    return sorted(m.name for m in pkgutil.iter_modules(problems.__path__) if not m.name.startswith("_"))


def load(problem: str | Problem) -> Problem | tuple[Surface, ...]:
    """The problem of that name, a built-in one or the user's own as `module:function` or `file.py`; or the one given.

    Raises:
      UnknownNameError: no such problem, module or function.
      ProblemError: the user's function raises, or returns something that is not a problem.
    """
    if not isinstance(problem, str):
        return _guarded(_as_problem(problem, getattr(problem, "name", "") or "unnamed"))
    if is_users(name := problem):
        return _guarded(_made_by_user(name))
    if name not in builtin_names():
        near = difflib.get_close_matches(name, builtin_names(), n=1, cutoff=0.5)
        hint = f" Did you mean {near[0]}?" if near else ""
        raise UnknownNameError(
            f"No problem is called {name!r}.{hint} There are {', '.join(builtin_names())}; your own is given as module:function or file.py."
        )
    return importlib.import_module(f"gradxform.race.problems.{name}").problem()


def _made_by_user(name: str) -> Problem:
    who = f"problem {name!r}"
    function = found(who, name, default="problem")
    if not callable(function):
        raise UnknownNameError(f"{who}: what it names is a {type(function).__name__}, not a function that returns a problem.")
    return _as_problem(_call(who, function), name)


def _as_problem(made: object, name: str) -> Problem:
    """A record or a mapping with the parts of a problem, as one."""
    get = made.get if isinstance(made, Mapping) else functools.partial(getattr, made)
    missing = [part for part in PARTS if not callable(get(part, None))]
    if missing:
        raise ProblemError(
            f"problem {name!r}: the {type(made).__name__} that stands for it has no function {', '.join(f'`{m}`' for m in missing)}. "
            "Return a gradxform.race.Problem(init, loss, batch, evaluate)."
        )
    given: dict[str, Any] = {f.name: get(f.name, None) for f in dataclasses.fields(Problem)}
    given["name"] = name
    return Problem(**{k: v for k, v in given.items() if v is not None})


def _place(e: BaseException, function: Callable[..., Any]) -> str:
    """Where in the file of `function` the error passed through."""
    try:
        own = inspect.getsourcefile(inspect.unwrap(function))
    except TypeError:
        own = None
    frames = traceback.extract_tb(e.__traceback__)
    inside = [f for f in frames if f.filename == own]
    if not inside:  # it was called wrongly, and never entered
        code = getattr(inspect.unwrap(function), "__code__", None)
        return f"{Path(code.co_filename).name}, line {code.co_firstlineno}" if code else f"in {function!r}"
    return f"{Path(inside[-1].filename).name}, line {inside[-1].lineno}"


def _call(what: str, function: Callable[[*Arguments], Result], *args: *Arguments) -> Result:
    """Call a user's function; what it raises becomes a `ProblemError` that says what and where."""
    try:
        return function(*args)
    except ProblemError:
        raise
    except Exception as e:
        raise ProblemError(f"{what} raised {said(e)} ({_place(e, function)})") from e


def _guarded(problem: Problem) -> Problem:
    """The same problem; its functions raise `ProblemError`, so that their faults are not taken for an optimizer's."""

    def guard(part: str) -> Callable[..., Any]:
        function = getattr(problem, part)
        return lambda *args: _call(f"problem {problem.name!r}: `{part}`", function, *args)

    return dataclasses.replace(problem, **{part: guard(part) for part in PARTS})


def scores(problem: Problem, params: Params) -> dict[str, float]:
    """`problem.evaluate(params)` as floats."""
    given = problem.evaluate(params)
    if not isinstance(given, Mapping) or "loss" not in given:
        got = f"keys {', '.join(map(str, given))}" if isinstance(given, Mapping) else f"a {type(given).__name__}"
        raise ProblemError(f"problem {problem.name!r}: `evaluate` must return a dict with `loss`, but returned {got}.")
    try:
        return {str(k): float(v) for k, v in given.items()}
    except (TypeError, ValueError) as e:
        raise ProblemError(f"problem {problem.name!r}: `evaluate` must return numbers, but {said(e)}.") from e


def check(problem: Problem, gradient: Callable[[Any, Any], Any]) -> int:
    """Try every part of a problem once, and return the number of its parameters.

    Raises:
      ProblemError: a part raises, or returns something that cannot be raced on.
    """
    who = f"problem {problem.name!r}:"
    params = problem.init(jax.random.key(0))
    leaves = jax.tree.leaves(params)
    if not leaves or not all(jnp.issubdtype(jnp.result_type(x), jnp.inexact) for x in leaves):
        raise ProblemError(f"{who} `init` must return a tree of float arrays, but returned {_shapes(params)}.")
    batch = problem.batch(batch_rng(0, 0), 0)
    loss = jax.eval_shape(problem.loss, params, batch)
    if getattr(loss, "shape", None) != () or not jnp.issubdtype(loss.dtype, jnp.floating):
        raise ProblemError(f"{who} `loss` must return one real number, but returned {_shapes(loss)}. Take the mean over the batch.")
    value = float(gradient(params, batch)[0])
    if not math.isfinite(value):
        raise ProblemError(f"{who} `loss` is {value} at the parameters that `init` returned, before any step.")
    start = scores(problem, params)["loss"]
    if not math.isfinite(start):
        raise ProblemError(f"{who} `evaluate` gives a loss of {start} at the parameters that `init` returned.")
    return sum(np.size(x) for x in leaves)


def _shapes(tree: Tree) -> str:
    leaves = jax.tree.leaves(tree)
    kinds = [f"{np.dtype(x.dtype).name}{list(x.shape)}" if hasattr(x, "dtype") else type(x).__name__ for x in leaves]
    return ", ".join(kinds[:4]) + (", ..." if len(kinds) > 4 else "") if kinds else "nothing"
