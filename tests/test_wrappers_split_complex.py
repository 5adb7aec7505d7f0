"""`split_real_and_imaginary`: complex leaves as pairs, extra arguments included."""

import jax
import jax.numpy as jnp
import numpy as np
from oracle import optax
from steps import run

import gradxform as gx


class TestSplitRealAndImaginary:
    def test_complex_is_a_pair(self):
        z, g = jnp.array([1.0 + 2.0j, -3.0j]), jnp.array([0.5 - 1.0j, 2.0 + 0.0j])
        pair = lambda x: (x.real, x.imag)
        (u,), state = run(gx.split_real_and_imaginary(gx.adam(0.1)), [{"z": g, "x": jnp.ones(2)}], {"z": z, "x": jnp.ones(2)})
        (v,), _ = run(gx.adam(0.1), [pair(g)], pair(z))
        np.testing.assert_allclose(u["z"], jax.lax.complex(*v), rtol=1e-6)
        assert state.inner_state[0].mu["z"].real.dtype == jnp.float32
        theirs = optax.contrib.split_real_and_imaginary(optax.adam(0.1)).init({"z": z, "x": jnp.ones(2)})
        assert [x.shape for x in jax.tree.leaves(theirs)] == [x.shape for x in jax.tree.leaves(state)]

    def test_extra_arguments_are_forwarded_and_split(self):
        """Lessons 5.18: Optax's drops them."""
        z = jnp.array([1.0 + 2.0j, -3.0j])
        seen = {}

        def update(g, state, params=None, **extra):
            seen.update(extra)
            return g, state

        tx = gx.split_real_and_imaginary(gx.GradientTransformationExtraArgs(lambda p: gx.EmptyState(), update))
        value_fn = lambda z: jnp.sum(z.real + 2 * z.imag)
        tx.update(z, tx.init(z), z, value=jnp.float32(2.0), grad=z, value_fn=value_fn)
        assert float(seen["value"]) == 2.0
        np.testing.assert_array_equal(seen["grad"].imaginary, z.imag)
        slope = jax.grad(seen["value_fn"])(seen["grad"])
        np.testing.assert_array_equal(slope.imaginary, 2.0)

    def test_the_parameters_to_evaluate_with_are_those_of_the_pairs(self):
        z, inner = jnp.array([1.0 + 2.0j, -3.0j]), gx.sgd(0.1, 0.9, nesterov=True)
        tx, pair = gx.split_real_and_imaginary(inner), (z.real, z.imag)
        _, state = run(tx, [z, z], z)
        _, inner_state = run(inner, [pair, pair], pair)
        found = gx.eval_params(inner, inner_state, pair)
        np.testing.assert_allclose(gx.eval_params(tx, state, z), jax.lax.complex(*found), rtol=1e-6)

    def test_absent_gradients_and_abstract_parameters(self):
        z = {"z": jnp.array([1.0 + 2.0j]), "x": jnp.ones(2)}
        tx = gx.split_real_and_imaginary(gx.adam(0.1))
        state = tx.init(z)
        u, after = tx.update({"z": None, "x": z["x"]}, state, z)
        assert u["z"] is None
        np.testing.assert_array_equal(after.inner_state[0].mu["z"].real, 0.0)
        abstract = jax.eval_shape(tx.init, jax.eval_shape(lambda: z))
        assert jax.tree.structure(abstract) == jax.tree.structure(state)


def test_one_in_another_leaves_its_pairs_alone():
    """The outer one has made the pairs: the update inside keeps their structure, as a condition on it needs."""
    g = {"c": jnp.asarray([1 + 2j, -3j], jnp.complex64), "r": jnp.ones(2)}
    inner = gx.contrib.split_real_and_imaginary(gx.scale_by_sign())
    seen = []
    look = gx.stateless(lambda u, p: seen.append(jax.tree.structure(u)) or u)
    tx = gx.contrib.split_real_and_imaginary(gx.conditionally_mask(gx.chain(look, inner, look), lambda step: step < 1))
    u, state = jax.jit(tx.update)(g, tx.init(g), g)
    assert len(set(seen)) == 1
    np.testing.assert_array_equal(u["c"], np.asarray([1 + 1j, -1j]))
    np.testing.assert_array_equal(jax.jit(tx.update)(g, state, g)[0]["c"], np.zeros(2))
