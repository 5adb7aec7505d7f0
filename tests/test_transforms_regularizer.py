"""`add_regularizer`: penalties of leaves and of trees."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from steps import draw

import gradxform as gx
from gradxform.testing import check


class TestRegularizer:
    def test_leaf_and_tree(self):
        params, g = draw(0), draw(1)
        by_leaf = gx.add_regularizer(gx.l1_penalty, 0.5)
        of_tree = gx.add_regularizer(lambda tree: gx.tree.norm(tree), 0.5, whole_tree=True)
        u, _ = by_leaf.update(g, by_leaf.init(params), params)
        v, _ = of_tree.update(g, of_tree.init(params), params)
        length = float(gx.tree.norm(params))
        for name, p in params.items():
            np.testing.assert_allclose(u[name], g[name] + 0.5 * jnp.sign(p), rtol=1e-6)
            np.testing.assert_allclose(v[name], g[name] + 0.5 * p / length, rtol=1e-5)

    @pytest.mark.fast
    def test_the_weight_may_be_scheduled(self):
        for whole_tree in (False, True):
            tx = gx.add_regularizer(lambda p: gx.tree.norm(p, squared=True) / 2, lambda k: 1 + k, whole_tree=whole_tree)
            p, state = {"x": jnp.array([2.0])}, tx.init({"x": jnp.array([2.0])})
            for k in range(3):
                u, state = tx.update({"x": jnp.zeros(1)}, state, p)
                np.testing.assert_allclose(u["x"], 2.0 * (1 + k))

    def test_on_the_whole_tree_it_obeys_the_laws(self):
        check(gx.add_regularizer(gx.tree.norm, 0.1, whole_tree=True))

    @pytest.mark.fast
    @pytest.mark.parametrize("whole_tree", [False, True])
    def test_errors(self, whole_tree):
        tx = gx.add_regularizer(lambda p: jax.tree.map(jnp.abs, p), 0.1, whole_tree=whole_tree)
        params = {"x": jnp.ones(3)}
        with pytest.raises(gx.StructureError, match=r"`penalty` must return one real number, but .* returned float32\[3\]"):
            tx.update(params, tx.init(params), params)
        with pytest.raises(gx.MissingArgumentError, match="add_regularizer: needs the parameters"):
            tx.update(params, tx.init(params))
        with pytest.raises(gx.HyperparameterError, match="`penalty` must be a function of the parameters, but got 'l2'"):
            gx.add_regularizer("l2", 0.1, whole_tree=whole_tree)
