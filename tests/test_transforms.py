"""Transforms of one file each: what hurt users of Optax, and what must agree with it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracle import optax
from steps import noise, run

import gradxform as gx


class TestApplyEvery:
    def test_sums(self):
        us, state = run(gx.apply_every(3), [jnp.full(2, float(i)) for i in range(1, 7)], jnp.zeros(2))
        assert [u[0] for u in us] == [0, 0, 6, 0, 0, 15]
        assert state.count == 0

    def test_a_nan_stays_in_its_round(self):
        us, _ = run(gx.apply_every(2), [jnp.full(1, x) for x in (jnp.nan, 1.0, 2.0, 3.0)], jnp.zeros(1))
        np.testing.assert_array_equal(np.ravel(us), [0, np.nan, 0, 5])

    def test_a_hole_begins_anew_too(self):
        ones, hole = {"a": jnp.ones(1)}, {"a": None}
        us, _ = run(gx.apply_every(2), [ones, ones, hole, ones], ones)
        assert [u["a"] if u["a"] is None else u["a"].item() for u in us] == [0, 2, None, 1]

    def test_k_is_a_count(self):
        with pytest.raises(gx.HyperparameterError, match=r"apply_every: `k` must be a whole number in \[1, inf\)"):
            gx.apply_every(0)
        assert gx.apply_every(jnp.int32(2)) == gx.apply_every(2)


class TestAdaptiveClip:
    @pytest.mark.parametrize(
        ("shape", "axis"), [((), None), ((1, 5, 1), None), ((3, 4), 1), ((2, 3, 4, 5), None), ((2, 1, 2, 1, 2), None)]
    )
    def test_units_are_optaxs(self, shape, axis):
        x = jnp.asarray(noise(1, shape), jnp.float32)
        np.testing.assert_allclose(gx.transforms.unitwise_norm(x, axis), optax.transforms.unitwise_norm(x, axis), rtol=1e-6)

    def test_too_many_axes_are_refused_with_the_leaf(self):
        x = {"w": jnp.ones((2,) * 6)}
        tx = gx.adaptive_grad_clip(0.1)
        with pytest.raises(gx.StructureError, match="more than 5 axes") as e:
            tx.update(x, tx.init(x), x)
        assert "'w'" in "".join(e.value.__notes__)
        assert gx.adaptive_grad_clip(0.1, axis=(0, 1)).update(x, tx.init(x), x)[0]["w"].shape == (2,) * 6

    def test_shapes_must_agree(self):
        with pytest.raises(gx.StructureError, match="unitwise_clip"):
            gx.transforms.unitwise_clip(jnp.ones(2), jnp.ones(2), jnp.ones(3))


PER_EXAMPLE = {"w": jnp.asarray(noise(0, (5, 2, 3)), jnp.float32), "b": jnp.asarray(noise(1, (5, 3)), jnp.float32)}


class TestPerExample:
    def test_global_norms_are_optaxs(self):
        ours, theirs = (o.per_example_global_norm_clip(PER_EXAMPLE, 2.0) for o in (gx, optax))
        jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-5), ours, theirs)

    @pytest.mark.parametrize("uniform", [True, False])
    def test_layer_norms_are_optaxs(self, uniform):
        ours, theirs = (o.per_example_layer_norm_clip(PER_EXAMPLE, 2.0, uniform) for o in (gx, optax))
        jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-5), ours, theirs)

    def test_float16_norms_do_not_overflow(self):
        total, clipped = gx.per_example_global_norm_clip(jnp.full((2, 4), 300.0, jnp.float16), 2.0)
        np.testing.assert_allclose(total, jnp.full(4, 2.0), rtol=1e-3)
        assert (total.dtype, int(clipped)) == (jnp.float16, 2)

    def test_a_batch_is_needed(self):
        for grads in ({"a": jnp.float32(1)}, {"a": jnp.ones((2, 3)), "b": jnp.ones((3, 3))}):
            with pytest.raises(gx.StructureError, match=r"per_example_global_norm_clip: .* batch dimension .*a: \("):
                gx.per_example_global_norm_clip(grads, 1.0)


def test_parameters_stay_nonnegative():
    p, g = jnp.asarray([1.0, 1.0, -1.0]), jnp.asarray([-2.0, 0.5, 0.0])
    ours, theirs = (run(o.keep_params_nonnegative(), [g], p)[0][0] for o in (gx, optax))
    assert ours.tolist() == theirs.tolist() == [-1.0, 0.5, 1.0]


def test_states_without_a_field_have_optaxs_names():
    for name in (
        "AdaptiveGradClip",
        "AddDecayedWeights",
        "ClipByGlobalNorm",
        "Clip",
        "NonNegativeParams",
        "ScaleByTrustRatio",
        "Scale",
    ):
        assert getattr(gx, f"{name}State") is gx.EmptyState
