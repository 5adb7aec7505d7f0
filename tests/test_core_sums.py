"""The lift's sums over leaves: `total` and `advance`."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradxform as gx

P = {"a": jnp.array([1.0, 2.0, 3.0]), "b": jnp.array(-0.5)}
G = {"a": jnp.array([0.5, -1.0, 0.25]), "b": jnp.array(2.0)}


class TestPass(NamedTuple):
    __test__ = False
    largest: gx.Shared
    start: gx.ParamsCopy


def _total(g, s, p, c, factor):
    return factor * jnp.sum(jnp.abs(p - s.start)), jnp.sum(g)


def _advance(s, c):
    distance, size = c.total
    return s._replace(largest=jnp.maximum(s.largest, distance)), {"size": size}


@gx.per_tree(
    TestPass,
    needs=("params",),
    total=_total,
    advance=_advance,
    shared={"largest": gx.SharedLaw(lambda params: 1e-3 * len(params), like_params=True)},
)
def measured(g, s, p, c, factor: gx.Positive = 1.0):
    return g * c.largest / c.size + s.largest, s


class TestSums:
    """The lift's `total` with sums of everything a kernel sees, and `advance`."""

    def test_the_kernel_reads_the_sums_and_both_values_of_a_shared_field(self):
        tx = gx.chain(measured(2.0), gx.scale(-1.0))
        state = tx.init(P)
        moved = jax.tree.map(lambda x: x + 0.5, P)
        for update in (tx.update, jax.jit(tx.update)):
            u, (new, _) = update(G, state, moved)
            np.testing.assert_allclose(new.largest, 2 * 0.5 * 4)
            np.testing.assert_allclose(u["b"], -(2.0 * 4.0 / 1.75 + 2e-3), rtol=1e-6)

    def test_holes_and_empty_trees(self):
        tx = measured()
        u, state = tx.update({**G, "hole": None}, tx.init({**P, "hole": None}), {**P, "hole": None})
        assert u["hole"] is None
        assert state.start["hole"] is None
        assert tx.update({}, tx.init({}), {})[1].largest == 0

    def test_abstract_parameters(self):
        shapes = jax.eval_shape(lambda: P)
        assert jax.tree.map(jnp.shape, measured().init(shapes)) == jax.tree.map(jnp.shape, measured().init(P))

    @pytest.mark.parametrize("engine", ["plain", "tree", "stacked"])
    def test_engines(self, engine):
        tx = gx.prodigy()
        expected = tx.update(G, tx.init(P), P)
        with gx.engine(engine):
            got = tx.update(G, tx.init(P), P)
        for x, y in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
            np.testing.assert_allclose(x, y, rtol=1e-5)

    def test_an_error_names_the_leaf(self):
        @gx.per_tree(TestPass, total=lambda g, s: jnp.ones(2) * g, advance=_advance, shared=measured.rule.shared)
        def broken(g, s, p, c):
            return g, s

        with pytest.raises(TypeError) as raised:
            broken().update({"x": jnp.ones(3)}, broken().init({"x": jnp.ones(3)}))
        assert raised.value.__notes__[-1] == "gradxform: in broken, at leaf 'x'"
