"""`loss_scale` goes where PyTorch's GradScaler goes, in float16, compiled, and on several devices."""

import functools
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from golden.scheduling import OVERFLOWS, SCALES, scaled_problem
from jax.sharding import NamedSharding, PartitionSpec

import gradxform as gx
from gradxform.dialects import torch

pytestmark = pytest.mark.fast
HERE = pathlib.Path(__file__).parent / "golden"


@functools.cache
def golden():
    with np.load(HERE / "scheduling.npz") as file:
        return dict(file)


def scaler(tx, init_scale, growth_interval, growth_factor=2.0, backoff_factor=0.5):
    assert backoff_factor == 1 / growth_factor
    return gx.loss_scale(tx, initial=init_scale, every=growth_interval, factor=growth_factor)


@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize(("setting", "arguments"), SCALES, ids=[s for s, _ in SCALES])
def test_it_is_their_grad_scaler(setting, arguments, compiled):
    first, gradients = scaled_problem()
    tx, params = scaler(torch.adam(0.01), **arguments), jnp.asarray(first)
    state, scales, trajectory = tx.init(params), [], []

    def step(params, state, g):
        grads = jax.grad(lambda p: gx.loss_scale_of(state) * jnp.sum(p * g))(params)
        updates, state = tx.update(grads, state, params)
        return gx.apply_updates(params, updates), state

    step = jax.jit(step) if compiled else step
    for g in gradients:
        scales.append(float(gx.loss_scale_of(state)))
        params, state = step(params, state, g)
        trajectory.append(params)
    np.testing.assert_array_equal(scales, golden()[f"scale/{setting}"])
    np.testing.assert_allclose(trajectory, golden()[f"params/{setting}"], rtol=1e-5)
    assert gx.tree.get(state, "count") == len(gradients) - len(OVERFLOWS)


def test_what_would_vanish_in_float16_arrives():
    """A gradient of 1e-9 is 0 in float16; scaled, it moves the float32 master copy."""
    loss = lambda p, scale: (scale * (p * jnp.float16(1e-4)).astype(jnp.float32) * 1e-5).sum()
    params = jnp.ones(3, jnp.float16)
    assert not jnp.any(jax.grad(loss)(params, 1.0))
    tx = gx.loss_scale(
        gx.chain(gx.snapshot("gradient", lambda g: g.astype(jnp.float32)), gx.master_weights(gx.sgd(1.0))), initial=2.0**14
    )
    state = tx.init(params)
    grads = jax.grad(loss)(params, gx.loss_scale_of(state))
    assert grads.dtype == jnp.float16
    updates, state = jax.jit(tx.update)(grads, state, params)
    np.testing.assert_allclose(gx.tree.get(state, "master") - 1, 0, atol=1e-8)
    seen = gx.tree.get(state, "gradient")
    np.testing.assert_allclose(seen, 1e-9, rtol=0.1)
    assert updates.dtype == jnp.float32  # master_weights declares its updates wide


def test_updates_have_the_dtype_of_the_gradients():
    tx = gx.loss_scale(gx.adam(0.1))
    for dtype in (jnp.float16, jnp.bfloat16, jnp.float32):
        params = {"w": jnp.ones(3, dtype), "none": None, "n": jnp.arange(2)}
        grads = {"w": jnp.full(3, 8.0, dtype), "none": None, "n": np.zeros(2, jax.dtypes.float0)}
        updates, _ = tx.update(grads, tx.init(params), params)
        assert updates["w"].dtype == dtype
        np.testing.assert_allclose(updates["w"].astype(jnp.float32), -0.1, rtol=1e-2)


def test_an_overflow_touches_nothing_inside_and_a_later_update_goes_on():
    params, tx = {"w": jnp.ones(2), "b": jnp.ones(2)}, gx.loss_scale(gx.adamw(gx.linear_schedule(0.1, 0.0, 10)), initial=4)
    bad = {"w": jnp.array([1.0, jnp.inf]), "b": jnp.ones(2)}
    state = tx.update(params, tx.init(params), params)[1]
    updates, after = jax.jit(tx.update)(bad, state, params)
    assert not any(jnp.any(x) for x in jax.tree.leaves(updates))
    jax.tree.map(np.testing.assert_array_equal, after.inner_state, state.inner_state)
    assert (float(after.loss_scale), int(after.finite_count)) == (2, 0)


def test_the_scale_neither_overflows_nor_vanishes():
    tx = gx.loss_scale(gx.sgd(0.1), initial=2.0**126, every=1)
    state, ones = tx.init(jnp.ones(1)), jnp.ones(1)
    for _ in range(5):
        state = tx.update(ones, state, ones)[1]
    assert float(gx.loss_scale_of(state)) == 2.0**127
    for _ in range(300):
        state = jax.jit(tx.update)(jnp.inf * ones, state, ones)[1]
    updates, _ = tx.update(ones * gx.loss_scale_of(state), state, ones)
    assert float(gx.loss_scale_of(state)) > 0
    np.testing.assert_allclose(updates, -0.1, rtol=1e-6)


def test_it_is_found_anywhere_in_a_state():
    tx = gx.chain(gx.masked(gx.loss_scale(gx.sgd(0.1), initial=8), True))
    assert gx.loss_scale_of(tx.init(jnp.ones(2))) == 8
    for state in (gx.sgd(0.1).init(jnp.ones(2)), (tx.init(jnp.ones(2)),) * 2):
        with pytest.raises(gx.StructureError, match="expected the state of one optimizer made with `loss_scale`, but found"):
            gx.loss_scale_of(state)


needs_eight = pytest.mark.skipif(jax.device_count() < 8, reason="needs eight devices; tests/conftest.py fakes them on the CPU")


@needs_eight
def test_devices_agree_on_one_gradient_that_is_not_finite():
    """A shard of one device overflows: no shard is updated, and the scale is the same everywhere."""
    mesh = jax.make_mesh((8,), ("d",), axis_types=(jax.sharding.AxisType.Auto,))
    put = lambda x: jax.device_put(x, NamedSharding(mesh, PartitionSpec("d")))
    params, tx = put(jnp.ones(16)), gx.loss_scale(gx.adam(0.1), initial=4)
    state = jax.jit(tx.init)(params)
    updates, state = jax.jit(tx.update)(put(jnp.ones(16).at[5].set(jnp.inf)), state, params)
    assert not jnp.any(updates)
    assert {float(shard.data) for shard in state.loss_scale.addressable_shards} == {2.0}
    updates, state = jax.jit(tx.update)(put(jnp.ones(16)), state, params)
    np.testing.assert_allclose(updates, -0.1, rtol=1e-4)
    assert gx.tree.get(state, "count") == 1


@needs_eight
def test_devices_agree_on_gradients_of_their_own():
    """After `mean_over` a gradient that is not finite on one device is so on all."""
    mesh = jax.make_mesh((8,), ("d",), axis_types=(jax.sharding.AxisType.Auto,))
    params, tx = jnp.ones(3), gx.chain(gx.mean_over("d"), gx.loss_scale(gx.adam(0.1), initial=4))
    state = tx.init(params)

    @functools.partial(
        jax.shard_map, mesh=mesh, in_specs=(PartitionSpec("d"), PartitionSpec(), PartitionSpec()), out_specs=PartitionSpec()
    )
    def step(g, state, params):
        return tx.update(g[0], state, params)

    updates, state = jax.jit(step)(jnp.ones((8, 3)).at[6, 1].set(jnp.nan), state, params)
    assert not jnp.any(updates)
    assert gx.loss_scale_of(state) == 2
    updates, state = jax.jit(step)(jnp.ones((8, 3)), state, params)
    np.testing.assert_allclose(updates, -0.1, rtol=1e-4)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"initial": 0}, "loss_scale: `initial` must be"),
        ({"every": 0}, "loss_scale: `every` must be a whole number in [1, inf), but got 0"),
        ({"factor": 1.0}, "loss_scale: `factor` must be"),
        ({"inner": 0.1}, "loss_scale: expected a GradientTransformation"),
    ],
)
def test_mistakes(arguments, text):
    with pytest.raises((gx.HyperparameterError, gx.StructureError)) as info:
        gx.loss_scale(**{"inner": gx.sgd(0.1), **arguments})
    assert text in str(info.value)
