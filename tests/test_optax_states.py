"""A state that Optax made goes on here, and one of ours goes on in Optax: one layout, one meaning of every field.

A case makes the same transformation from a module `o`, ours or Optax. Each library takes n steps alone; then each takes n more from
where the other stood, and must arrive where Optax alone arrives. The gradients are noise.
"""

import inspect
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracle import optax

import gradxform

STEPS = 2
MIXED = {"dense": {"w": (8, 6), "b": (6,)}, "scale": ()}
MATRIX = (8, 6)
FACTORED_FROM = 4  # the smallest axis to factor over: the matrix is factored, the vector is not


def find(name):
    """Optax's own thing of that name, if there is one."""
    return getattr(optax, name, None) or getattr(optax.contrib, name, None)


class Optax:
    """Optax and its `contrib` as one module."""

    def __getattr__(self, name):
        return find(name)


class Case(NamedTuple):
    """One transformation, made from either module.

    `error` bounds the difference, relative to the largest element of a leaf. `nan`: the last gradient before the hand-over has one.
    """

    name: str
    make: Callable[[Any], Any]
    error: float = 4e-6
    nan: bool = False
    needs: Mapping[str, Callable[..., Any]] | None = None


def arguments(entry):
    """The registry's example, as far as Optax takes it, with everyday eps and rate, and with our small matrix factored."""
    example = {k: v for k, v in entry.example.items() if k not in ("eps", "epsilon")}
    chosen = {**example, "learning_rate": 0.1, "min_dim_size_to_factor": FACTORED_FROM}
    return {k: v for k, v in chosen.items() if k in entry.parameters and k in inspect.signature(find(entry.name)).parameters}


# Optax, not compiled, takes 0.999**t by another path: a last digit, which is 2e-5 of 1 - 0.999**3.
ERRORS = {
    "prodigy": 2e-5,
    "dadapt_adamw": 2e-5,
    "lbfgs": 1e-5,
}  # lbfgs keeps gradients that have cancelled: a last place of 1 in 0.03


def registered():
    for entry in map(gradxform.entry, gradxform.names(kind="*")):
        if find(entry.name):
            yield Case(
                entry.name,
                lambda o, entry=entry: getattr(o, entry.name)(**arguments(entry)),
                ERRORS.get(entry.name, 4e-6),
                needs=entry.needs,
            )


def cosine(o):
    return o.cosine_decay_schedule(0.1, 2 * STEPS)


NOT_THE_VECTOR = {"dense": {"w": True, "b": False}, "scale": True}
VARIANTS = [
    Case("sgd, nesterov", lambda o: o.sgd(0.1, 0.9, nesterov=True)),
    Case("adam, nesterov", lambda o: o.adam(0.1, nesterov=True)),
    Case("adam, scheduled", lambda o: o.adam(cosine(o))),
    Case("adamw, mask, scheduled decay", lambda o: o.adamw(0.1, weight_decay=cosine(o), mask=NOT_THE_VECTOR)),
    # nu - |mu|^2 cancels: its rounding, relative to nu, is that of d^2 relative to 1.
    Case("rmsprop, centered, momentum", lambda o: o.rmsprop(0.1, centered=True, momentum=0.9), error=1e-5),
    Case("rmsprop, bias_correction", lambda o: o.rmsprop(0.1, bias_correction=True)),
    # Newton-Schulz multiplies the rounding of small singular values by up to 4^5.
    Case("muon, matrices and others", lambda o: o.muon(0.1, ns_coeffs="dion", weight_decay=0.1), error=4e-5),
    # Optax multiplies in bfloat16, where b2 = 0.99 rounds to 0.988: in each step mu comes out a last digit apart. No sign changes.
    Case("lion, mu in bfloat16", lambda o: o.lion(0.1, mu_dtype=jnp.bfloat16), error=2**-6),
    Case("adafactor, momentum", lambda o: o.adafactor(0.1, FACTORED_FROM, momentum=0.9, weight_decay_rate=0.01)),
    Case("chain", lambda o: o.chain(o.clip_by_global_norm(1.0), o.adamw(0.1))),
    Case("named_chain", lambda o: o.named_chain(("clip", o.clip(0.5)), ("adam", o.adam(0.1)))),
    Case("masked", lambda o: o.masked(o.adam(0.1), NOT_THE_VECTOR)),
    Case("masked, a prefix", lambda o: o.masked(o.adam(0.1), {"dense": False, "scale": True})),
    Case("selective_transform", lambda o: o.selective_transform(o.adam(0.1), freeze_mask=NOT_THE_VECTOR)),
    Case("multi_transform, a prefix", lambda o: o.multi_transform({1: o.adam(0.1), 2: o.sgd(0.1, 0.9)}, {"dense": 1, "scale": 2})),
    Case("MultiSteps", lambda o: o.MultiSteps(o.adam(0.1), 3)),
    Case("MultiSteps, sum, skip", lambda o: o.MultiSteps(o.adam(0.1), 2, False, o.skip_not_finite), nan=True),
    Case("flatten", lambda o: o.flatten(o.adam(0.1))),
    Case("partition", lambda o: o.partition({True: o.adam(0.1), False: o.sgd(0.1, 0.9)}, NOT_THE_VECTOR)),
    Case("apply_if_finite", lambda o: o.apply_if_finite(o.adam(0.1), 3), nan=True),
]
CASES = [*registered(), *VARIANTS]

# Where Optax's numbers are wrong: the states' layouts are compared, and ours goes on from Optax's.
WRONG_IN_OPTAX = {
    "adan": "pull request 1715: 1 - b2 stands for b2",
    "scale_by_adan": "pull request 1715: 1 - b2 stands for b2",
    "scale_by_lbfgs": "it keeps pairs of negative curvature, which gradients that are drawn make",
    "rprop": "pull request 1725: its update is one step late",
    "scale_by_rprop": "pull request 1725: its update is one step late",
}


def draw(shapes, seed):
    r = np.random.default_rng(seed)
    return jax.tree.map(lambda s: jnp.asarray(r.standard_normal(s), jnp.float32), shapes, is_leaf=lambda s: isinstance(s, tuple))


def shapes_for(tx, needs):
    """The mixed tree; a matrix on its own for what Optax itself refuses to give anything else."""
    params = draw(MIXED, 0)
    extra = {name: make(params, params) for name, make in (needs or {}).items()}
    try:
        jax.eval_shape(lambda g, s, p: tx.update(g, s, p, **extra), params, tx.init(params), params)
    except (ValueError, IndexError):
        return MATRIX
    return MIXED


def go(case, tx, params, state, gradients):
    for g in gradients:
        extra = {name: make(params, g) for name, make in (case.needs or {}).items()}
        with jax.numpy_rank_promotion("allow"):  # Optax's scale_by_distance_over_gradients needs it
            updates, state = tx.update(g, state, params, **extra)
        params = optax.apply_updates(params, updates)
    return params, state


def layout(state):
    """Classes, field names, shapes and dtypes."""
    leaves = jax.tree_util.tree_leaves_with_path(state)
    return str(jax.tree.structure(state)), [(jax.tree_util.keystr(path), x.shape, x.dtype) for path, x in leaves]


def numbers(x):
    return np.asarray(jax.random.key_data(x) if jnp.issubdtype(x.dtype, jax.dtypes.prng_key) else x, np.float64)


def assert_close(ours, theirs, error):
    for (path, x), y in zip(jax.tree_util.tree_leaves_with_path(ours), jax.tree.leaves(theirs), strict=True):
        x, y = numbers(x), numbers(y)
        bound = error * np.abs(y).max(initial=0)
        np.testing.assert_allclose(x, y, rtol=0, atol=bound, err_msg=jax.tree_util.keystr(path))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_states_are_interchangeable(case):
    ours, theirs = case.make(gradxform), optax.with_extra_args_support(case.make(Optax()))
    shapes = shapes_for(theirs, case.needs)
    params, *gradients = (draw(shapes, seed) for seed in range(1 + 2 * STEPS))
    if case.nan:
        gradients[STEPS - 1] = jax.tree.map(lambda g: g.at[(0,) * g.ndim].set(jnp.nan), gradients[STEPS - 1])
    before, after = gradients[:STEPS], gradients[STEPS:]

    start = theirs.init(params)
    assert layout(ours.init(params)) == layout(start)
    our_half, their_half = go(case, ours, params, ours.init(params), before), go(case, theirs, params, start, before)
    assert layout(our_half[1]) == layout(their_half[1])
    if case.name in WRONG_IN_OPTAX:
        ours_on = go(case, ours, *their_half, after)
        assert layout(ours_on[1]) == layout(start)
        return
    assert_close(our_half, their_half, case.error)
    expected = go(case, theirs, *their_half, after)

    forward = go(case, ours, *their_half, after)
    assert jax.tree.structure(forward[1]) == jax.tree.structure(start), "a state of Optax's classes keeps them"
    assert_close(forward, expected, case.error)

    handed_back = jax.tree.unflatten(jax.tree.structure(start), jax.tree.leaves(our_half[1]))
    assert_close(go(case, theirs, our_half[0], handed_back, after), expected, case.error)


def test_the_look_up_finds_optax():
    """A look-up that found nothing would leave nothing to test."""
    assert len(CASES) - len(VARIANTS) >= 42
