"""A rate that is right for a narrow network is right for a wide one: activations move alike, and the best rate stays.

What was measured on the race's problem `text` is in `benchmarks/results/widths.json`, of `benchmarks/widths.py`.
"""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import widths
from test_width import shaped

import gradxform as gx

INPUTS, CLASSES, NARROW = 32, 10, 64


def network(width):
    return {"in": (INPUTS, width), "hidden": (width, width), "out": (width, CLASSES)}


def activations(p, x):
    first = x @ p["in"]
    second = jax.nn.relu(first) @ p["hidden"]
    return first, second, jax.nn.relu(second) @ p["out"]


def moved(width, tx, seed):
    """By how much ten steps change the activations of each layer, as root mean squares."""
    shapes, base = shaped(network(width)), shaped(network(NARROW))
    scale = gx.initial_scale(shapes, base)
    rng = np.random.default_rng(seed)
    p = {n: jnp.asarray(scale[n] * rng.normal(size=s.shape) / np.sqrt(base[n].shape[0]), jnp.float32) for n, s in shapes.items()}
    x = jnp.asarray(np.random.default_rng(100).normal(size=(64, INPUTS)), jnp.float32)
    y = np.random.default_rng(101).integers(CLASSES, size=64)

    def loss(p):
        return -jnp.mean(jax.nn.log_softmax(activations(p, x)[2])[np.arange(64), y])

    @jax.jit
    def step(p, state):
        u, state = tx.update(jax.grad(loss)(p), state, p)
        return gx.apply_updates(p, u), state

    before, state = activations(p, x), tx.init(p)
    for _ in range(10):
        p, state = step(p, state)
    return np.array([np.sqrt(np.mean((a - b) ** 2)) for a, b in zip(activations(p, x), before, strict=True)])


OPTIMIZERS = {
    "adam": gx.adam(3e-3), "sgd": gx.sgd(0.5), "muon": gx.muon(0.02), "spectral": gx.muon(0.05, shape_scale=None),
}  # fmt: skip


@pytest.mark.parametrize(
    "rule", ["adam", "sgd", "muon", pytest.param("spectral", marks=pytest.mark.nightly)]
)  # muon without its scale
def test_ten_steps_move_the_activations_of_all_widths_alike(rule):
    """Within 20 % from width 64 to 1,024; without `scale_by_width` some layer moves by half as much again at 1,024, or by half."""
    tx, base = OPTIMIZERS[rule], shaped(network(NARROW))
    mean = lambda width, tx: np.mean([moved(width, tx, seed) for seed in range(2)], axis=0)
    narrow = mean(NARROW, tx)
    for width in (256, 1024):
        ratio = mean(width, gx.scale_by_width(tx, base, rule)) / narrow
        assert np.all((ratio > 0.8) & (ratio < 1.2)), (width, ratio)
    plain = mean(1024, tx) / narrow
    assert np.any((plain > 1.5) | (plain < 0.5)), plain


@pytest.fixture(scope="module")
def found():
    return json.loads(widths.RESULTS.read_text())


@pytest.mark.fast
@pytest.mark.parametrize("name", widths.OPTIMIZERS)
def test_the_best_rate_of_a_transformer_stays_or_becomes_a_neighbour(name, found):
    """Of five a factor 2 apart, at widths 64, 128 and 256; the best at 64 is in their middle or beside it."""
    losses = found["losses"][name]
    for way in widths.WAYS:
        assert {width: np.shape(of) for width, of in losses[way].items()} == dict.fromkeys(("64", "128", "256"), (5, 2))
    assert losses["plain"]["64"] == losses["scaled"]["64"]
    assert widths.best(losses["plain"]["64"]) in (1, 2, 3)
    assert all(abs(move) <= 1 for move in widths.moves(found, name, "scaled"))


@pytest.mark.fast
def test_without_scale_by_width_the_best_rate_of_adam_moves(found):
    assert widths.moves(found, "adam", "plain") == [0, -1, -2]
    losses = {way: np.mean(found["losses"]["adam"][way]["256"], axis=1) for way in widths.WAYS}
    middle = widths.best(found["losses"]["adam"]["plain"]["64"])
    narrow = np.mean(found["losses"]["adam"]["plain"]["64"], axis=1)[middle]
    assert losses["scaled"][middle] < narrow < losses["plain"][middle]  # at the rate that is best at 64


@pytest.mark.fast
def test_without_it_the_best_rate_of_muon_is_the_same_or_a_neighbour_too(found):
    """Its steps have a spectral norm that fits every width; at all widths the same two rates are best, one nearly as good as the other."""
    assert all(abs(move) <= 1 for move in widths.moves(found, "muon", "plain"))
    for way in widths.WAYS:
        for losses in found["losses"]["muon"][way].values():
            mean = np.mean(losses, axis=1)
            first, second = np.argsort(mean)[:2]
            assert {found["search"]["muon"]["five"][i] for i in (first, second)} == {0.04, 0.08}
            assert mean[second] - mean[first] < 0.055


@pytest.mark.fast
def test_where_the_runs_of_a_transformer_begin():
    """At the base width as the problem does; wider, with the standard deviations of the base width times the scale."""
    own, narrow, wide = (widths.begin(width, way, 3) for width, way in ((64, "plain"), (64, "scaled"), (256, "scaled")))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), own, narrow)
    scale = gx.initial_scale(widths.shapes(256), widths.shapes(64))
    for name, of in (("scores", lambda p: p["scores"]), ("down", lambda p: p["layers"][1]["down"])):
        assert np.std(of(wide)) / np.std(of(narrow)) == pytest.approx(of(scale), rel=1e-5), name
    assert of(scale) == 0.5
    assert np.all(wide["norm"] == 1)


def test_runs_side_by_side_are_the_runs_alone():
    both = widths.train("adam", "plain", 64, (0.01, 0.02), 0, 3)
    assert both[1] == pytest.approx(widths.train("adam", "plain", 64, (0.02,), 0, 3)[0], abs=1e-4)
    assert both[0] != both[1]
