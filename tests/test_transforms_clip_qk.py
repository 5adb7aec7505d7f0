"""`clip_qk`: heads whose logits are above the threshold, and no others."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from matrix_directions import close
from oracles import ORACLES

import gradxform as gx

pytestmark = pytest.mark.fast

DRAW = np.random.default_rng(0)
K, V, B, Q = (DRAW.normal(size=shape) for shape in ((2, 5, 4, 3), (3, 4), (3,), (2, 5, 3, 4)))
TREE = {"attention": {"k": {"kernel": K}, "o": {"kernel": V}, "q": {"bias": B, "kernel": Q}}}  # two scanned layers of three heads
LOGITS = np.array([[30.0, 250.0, 0.0], [-5.0, 100.0, 101.0]])


def update(tx, g=TREE, p=TREE, **extra):
    g, p = (jax.tree.map(jnp.asarray, tree) for tree in (g, p))
    return tx.update(g, tx.init(p), p, **extra)[0]


def gradients():
    return jax.tree.map(lambda x: DRAW.normal(size=x.shape), TREE)


TX = gx.clip_qk({"*/q/kernel": (0, 2), "*/k/kernel": (0, 3)}, 100.0, power={"*/k/*": 0.8})  # of others 1/2
GIVEN = {
    "one array": LOGITS,
    "a prefix": {"attention": {"k": LOGITS, "o": None, "q": LOGITS}},
    "a tree": {"attention": {"k": {"kernel": LOGITS}, "o": {"kernel": None}, "q": {"bias": None, "kernel": LOGITS}}},
    "patterns": {"*/[qk]/*": LOGITS},
}


@pytest.mark.parametrize("logits", GIVEN.values(), ids=GIVEN)
def test_it_is_its_transcription(logits, x64):
    g = gradients()
    u = update(TX, g, max_logits=jax.tree.map(jnp.asarray, logits))
    truth = ORACLES["clip_qk"]([(0, 3), None, None, (0, 2)], 100.0, [0.8, 0.0, 0.0, 0.5])
    expected = truth(jax.tree.leaves(g), jax.tree.leaves(TREE), max_logits=[LOGITS, None, None, LOGITS])
    for x, y in zip(jax.tree.leaves(u), expected, strict=True):
        close(x, y)


def test_heads_come_in_the_order_of_the_axes(x64):
    turned = gx.clip_qk({"*/q/kernel": (2, 0)})
    close(
        update(turned, max_logits=jnp.asarray(LOGITS.T))["attention"]["q"]["kernel"],
        update(gx.clip_qk({"*/q/kernel": (-4, -2)}), max_logits=jnp.asarray(LOGITS))["attention"]["q"]["kernel"],
    )


def test_other_heads_keep_every_bit():
    g = gradients()
    u = update(TX, g, max_logits=jnp.asarray(LOGITS))["attention"]["q"]["kernel"]
    for layer, head in ((0, 0), (0, 2), (1, 0), (1, 1)):
        np.testing.assert_array_equal(u[layer, :, head], np.float32(g["attention"]["q"]["kernel"][layer, :, head]))
    zeros = update(TX, g, max_logits=jnp.zeros_like(LOGITS))
    jax.tree.map(lambda x, y: np.testing.assert_array_equal(x, np.float32(y)), zeros, g)


def test_the_logits_of_the_new_parameters_are_at_the_threshold():
    """Behind an optimizer, of attention with two heads, in a compiled step that hands on what it has measured."""
    x = jnp.asarray(DRAW.normal(size=(20, 6)) * 5, jnp.float32)
    p = {"k": jnp.asarray(DRAW.normal(size=(6, 2, 4)), jnp.float32), "q": jnp.asarray(DRAW.normal(size=(6, 2, 4)), jnp.float32)}
    logits = lambda p: jnp.max(jnp.einsum("ai,ihd,bj,jhd->hab", x, p["q"], x, p["k"]), (1, 2))
    plain = gx.adamw(0.01)
    tx = gx.chain(plain, gx.clip_qk({"*": 1}, 50.0))

    @jax.jit
    def step(g, p):
        unclipped = gx.apply_updates(p, plain.update(g, plain.init(p), p)[0])
        u, _ = tx.update(g, tx.init(p), p, max_logits=logits(unclipped))
        return logits(unclipped), logits(gx.apply_updates(p, u))

    before, after = step(jax.tree.map(jnp.ones_like, p), p)
    assert np.all(before > 50.0)
    np.testing.assert_allclose(after, 50.0, rtol=1e-5)


def test_what_does_not_fit_says_where():
    for heads, logits, message in (
        (
            {"*/q/kernel": (0, 2)},
            LOGITS[0],
            r"\(0, 2\) of a leaf of shape \(2, 5, 3, 4\), which has \(2, 3\) heads, but .*shape \(3,\)",
        ),
        ({"*/o/kernel": 2}, LOGITS[0], r"has no axis 2"),
    ):
        with pytest.raises(gx.StructureError, match=message) as e:
            update(gx.clip_qk(heads), max_logits=jnp.asarray(logits))
        assert any("at leaf 'attention/" in note for note in e.value.__notes__)
