"""`flatten`: the numbers of the tree, the dtypes of the leaves, and a refusal of what is not elementwise."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracle import optax

import gradxform as gx
from gradxform.testing import examine

PARAMS = {"w": jnp.arange(6.0).reshape(2, 3), "b": jnp.ones(()), "v": jnp.full(2, -1.0)}
GRADS = jax.tree.map(lambda p: p + 0.5, PARAMS)


def two(tx, grads, params, **extra):
    state = tx.init(params)
    _, state = tx.update(grads, state, params, **extra)
    return tx.update(grads, state, params, **extra)


def test_the_numbers_are_those_of_the_tree():
    for make in (lambda o: o.adamw(0.1), lambda o: o.chain(o.trace(0.9), o.scale(-0.1))):
        flat, state = two(gx.flatten(make(gx)), GRADS, PARAMS)
        expected, after = two(optax.flatten(make(optax)), GRADS, PARAMS)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), flat, two(make(gx), GRADS, PARAMS)[0])
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), flat, expected)
        assert [x.shape for x in jax.tree.leaves(state)] == [x.shape for x in jax.tree.leaves(after)]


def test_leaves_keep_their_dtypes():
    """Optax returns the updates of the bfloat16 leaf in float32: the vector's dtype."""
    params = {"h": jnp.ones(2, jnp.bfloat16), "f": jnp.ones(3), "c": jnp.ones((), jnp.complex64), "n": jnp.arange(2), "x": None}
    grads = {**params, "n": np.zeros(2, jax.dtypes.float0)}
    u, state = two(gx.flatten(gx.adam(0.1)), grads, params)
    assert (u["h"].dtype, u["f"].dtype, u["c"].dtype) == (jnp.bfloat16, jnp.float32, jnp.complex64)
    assert u["n"].dtype == jax.dtypes.float0
    assert u["x"] is None
    assert state[0].mu.shape == (6,)
    np.testing.assert_allclose(u["f"], -0.1, rtol=1e-4)


@pytest.mark.parametrize(
    ("inner", "why"),
    [
        (gx.clip_by_global_norm(1.0), "is per_tree"),
        (gx.chain(gx.scale(2.0), gx.chain(gx.adafactor(0.1))), "is per_leaf"),
        (gx.accumulate(gx.lamb(0.1), 2), "is per_leaf"),
        (gx.masked(gx.adam(0.1), gx.by_ndim(2)), "is per_leaf"),
        (gx.scale_by_multiplier({"w": 2.0}), "is per_leaf"),
        (gx.schedule_free(gx.lamb(0.1), 0.1), r"scale_by_trust_ratio.* is per_leaf"),
        (gx.sam(gx.lamb(0.1), gx.sgd(0.1)), r"scale_by_trust_ratio.* is per_leaf"),
        (gx.sam(gx.sgd(0.1), gx.chain(gx.normalize(), gx.sgd(0.1))), r"normalize\(\) is per_tree"),
        (gx.mechanize(gx.lamb(0.1)), r"scale_by_trust_ratio.* is per_leaf"),
        (gx.mechanize(gx.sgd(1.0)), "mechanize.* is per_tree"),
        (gx.lookahead(gx.lamb(0.1), 2, 0.5), r"scale_by_trust_ratio.* is per_leaf"),
        (gx.galore(0.1), "galore.* is per_leaf"),
        (gx.sophia(0.1), "is per_tree"),
        (gx.master_weights(gx.lamb(0.1)), r"scale_by_trust_ratio.* is per_leaf"),
        (gx.inject_hyperparams(gx.lamb)(0.1), r"scale_by_trust_ratio.* is per_leaf"),
        (gx.per_device(gx.lamb(0.1), "x"), r"scale_by_trust_ratio.* is per_leaf"),
        (gx.split_real_and_imaginary(gx.lamb(0.1)), r"scale_by_trust_ratio.* is per_leaf"),
        (gx.conditionally_mask(gx.lamb(0.1), bool), r"scale_by_trust_ratio.* is per_leaf"),
        (gx.partition({"a": gx.lamb(0.1)}, {"w": "a"}), r"scale_by_trust_ratio.* is per_leaf"),
        (gx.apply_if_finite(gx.sgd(0.1), 2), "apply_if_finite.* is per_tree"),
    ],
    ids=repr,
)
def test_what_is_not_elementwise_is_refused(inner, why):
    with pytest.raises(gx.StructureError, match=f"flatten: .*{why}.* Flatten only what is elementwise"):
        gx.flatten(inner)


def test_transformations_of_others_are_allowed_and_extra_arguments_joined():
    def update(g, s, p=None, *, diagonal, value, **extra):
        return g * diagonal * value, s

    tx = gx.flatten(gx.GradientTransformationExtraArgs(lambda p: (), update))
    u, _ = tx.update(GRADS, (), PARAMS, diagonal=PARAMS, value=2.0, unknown=0)
    jax.tree.map(lambda a, g, p: np.testing.assert_allclose(a, 2 * g * p), u, GRADS, PARAMS)


def test_masked_around_and_a_missing_gradient():
    tx = gx.masked(gx.flatten(gx.adam(0.1)), {"w": True, "b": False, "v": True})
    u, state = two(tx, GRADS, PARAMS)
    assert u["b"] == GRADS["b"]
    assert state.inner_state[0].mu.shape == (8,)
    tx = gx.flatten(gx.adam(0.1))
    with pytest.raises(gx.StructureError, match="flatten: at 'b' there is a parameter, but no update"):
        tx.update({**GRADS, "b": None}, tx.init(PARAMS), PARAMS)


def test_laws():
    """Not the sixth: a vector cannot do without a leaf from step to step."""
    report = examine(gx.flatten(gx.adam(0.1)), laws=[2, 3, 9, 12, 13, 16])
    assert report.ok, report
    assert gx.flatten(gx.adam(0.1)).init(jax.eval_shape(lambda: PARAMS))[0].mu.shape == (9,)
    assert gx.flatten(gx.adam(0.1)).update({}, gx.flatten(gx.adam(0.1)).init({}), {})[0] == {}
