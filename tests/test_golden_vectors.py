"""Where the references of optimizers of vectors go, the library goes: 12 updates in float64, from `golden/make_vectors.py`."""

import functools
import pathlib

import jax.numpy as jnp
import numpy as np
import pytest
from golden.matrices import KEPT, LR, normal, problem
from golden.vectors import SETTINGS

import gradxform as gx

HERE = pathlib.Path(__file__).parent / "golden"


@functools.cache
def golden():
    with np.load(HERE / "vectors.npz") as file:
        return dict(file)


def sine():
    """The diagonal that AdaHessian's reference was given."""
    return gx.stateless(lambda u, _: {n: jnp.sin(x) for n, x in u.items()})


def sampled(key, shape, dtype):
    return jnp.asarray(normal(None, shape, None), dtype)


BESIDE = {
    "adahessian": {"hessian_diagonal_fn": sine()},
    "apollo": {"sampler": sampled},
    "apollo_mini": {"sampler": sampled},
    "mars": {"adam_b2": 0.95, "adam_weight_decay": 0.1},
}


def modified(make):
    """A modifier around an AdamW, as the references have it: decay comes behind."""
    adam = lambda b1=0.0, b2=0.9, **_: gx.adam(LR, b1, b2, eps=1e-14)
    return lambda weight_decay, **given: gx.chain(make(adam, given), gx.add_decayed_weights(-LR * weight_decay))


MODIFIERS = {
    "cautious": modified(lambda adam, given: gx.cautious(adam(**given))),
    "grokfast": modified(lambda adam, given: gx.chain(gx.grokfast(given["decay"]), adam(**given))),
    "hyperball": modified(lambda adam, given: gx.hyperball(adam(**given), LR)),
}


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda s: f"{s[0]}, {s[1]}")
def test_the_references_go_the_same_way(x64, setting):
    name, title, _, _, arguments, leaves, tolerance = setting
    first, gs = problem()
    make = MODIFIERS.get(name, functools.partial(gx.create, name, learning_rate=LR, **BESIDE.get(name, {})))
    tx = make(**({"weight_decay": 0.0} | arguments))
    p = {leaf: jnp.asarray(first[leaf]) for leaf in leaves}
    state, kept = tx.init(p), []
    for k, g in enumerate(gs):
        u, state = tx.update({leaf: jnp.asarray(g[leaf]) for leaf in leaves}, state, p)
        p = gx.apply_updates(p, u)
        kept += [p] if k in KEPT else []
    for leaf in leaves:
        theirs = golden()[f"{name}/{title}/{leaf}"]
        ours = np.stack([np.asarray(x[leaf]) for x in kept])
        assert np.max(np.abs(ours - theirs)) <= tolerance * np.max(np.abs(theirs[-1] - first[leaf])), leaf


def test_every_golden_value_is_compared():
    assert set(golden()) == {f"{s[0]}/{s[1]}/{leaf}" for s in SETTINGS for leaf in s[5]}
