"""What a leaf may be beside a plain float: whole numbers, flags, floats of eight and four bits, sparse arrays."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from by_day import by_name
from jax.experimental import sparse

import gradxform as gx

PARAMS = {"n": np.array([100, 50], np.int32), "w": jnp.array([[1.0, -2.0], [3.0, 4.0]])}
WHOLE = {"n": np.array([3, 4], np.int32), "w": np.array([[2, -1], [0, 3]])}
FLOAT = {"n": np.array([3.0, 4.0], np.float32), "w": jnp.array([[2.0, -1.0], [0.0, 3.0]])}
EVERY = by_name(gx.names(kind="*"))


def updates_of(tx, grads, params, state=None, entry=None):
    extra = {} if entry is None else {n: make(params, only(FLOAT, "w")) for n, make in entry.needs.items()}
    return tx.update(grads, tx.init(params) if state is None else state, params, **extra)


def only(tree, *names):
    return {name: tree[name] for name in names}


# Whole numbers ----------------------------------------------------------------------------------------------------------------


def test_descent_by_a_gradient_of_whole_numbers():
    params, tx = jnp.array([100.0, 50.0]), gx.sgd(0.5)
    for grads in (np.array([2, 2]), jnp.array([2, 2], jnp.uint8), np.array([2, 2], np.int64)):
        updates, _ = tx.update(grads, tx.init(params), params)
        np.testing.assert_array_equal(gx.apply_updates(params, updates), [99, 49])
        without, _ = jax.jit(tx.update)(grads, tx.init(params))
        assert without.dtype == jnp.float32
        np.testing.assert_array_equal(without, [-1, -1])
    updates, _ = tx.update(np.array([True, False]), tx.init(params), params)
    np.testing.assert_array_equal(updates, [-0.5, 0])


@EVERY
def test_a_gradient_of_whole_numbers_is_a_gradient(name):
    """Everywhere, and in the dtype of the parameter: the same updates as by the floats that it is made of."""
    entry, params = gx.entry(name), {"w": PARAMS["w"].astype(jnp.bfloat16)}
    tx = entry()
    whole, after = updates_of(tx, only(WHOLE, "w"), params, entry=entry)
    floats, wanted = updates_of(tx, {"w": FLOAT["w"].astype(jnp.bfloat16)}, params, entry=entry)
    assert whole["w"].dtype == floats["w"].dtype
    jax.tree.map(np.testing.assert_array_equal, *(jax.tree.map(_plain, x) for x in ((whole, after), (floats, wanted))))


def _plain(x):
    return np.asarray(jax.random.key_data(x) if jnp.issubdtype(x.dtype, jax.dtypes.prng_key) else x)


@EVERY
def test_leaves_without_elements(name):
    """They get updates like themselves, nothing undefined comes into the state, and the others' are as without them."""
    entry, tx = gx.entry(name), gx.entry(name)()
    shapes = [(2, 0), (0, 2)] if entry.ndim == 2 else [(0,), (2, 0)]
    params = {"w": PARAMS["w"], **{f"none{i}": jnp.zeros(shape) for i, shape in enumerate(shapes)}}
    grads = jax.tree.map(jnp.asarray, {**params, "w": FLOAT["w"]})
    made = lambda g, p: tx.update(g, tx.init(p), p, **{n: make(p, g) for n, make in entry.needs.items()})
    updates, state = made(grads, params)
    assert jax.tree.map(jnp.shape, updates) == jax.tree.map(jnp.shape, params)
    expected, _ = made(only(grads, "w"), only(params, "w"))
    if name not in (
        "add_noise",
        "noisy_sgd",
        "hutchinson_estimator_diag_hessian",
        "sophia",
        "scale_by_sophia",
        "apollo",
        "apollo_mini",
        "scale_by_apollo",
    ):  # drawn leaf by leaf
        np.testing.assert_allclose(updates["w"], expected["w"], rtol=1e-5, atol=1e-7)
    numbers = [x for x in jax.tree.leaves(state) if jnp.issubdtype(x.dtype, jnp.inexact) and x.size]
    assert all(not np.any(np.isnan(x)) for x in numbers)


@EVERY
def test_a_parameter_of_whole_numbers_is_left_alone(name):
    """Its update is 0 in its dtype, whatever comes for it, and the others' are as without it, norms over the tree included."""
    entry = gx.entry(name)
    tx = entry()
    absent = {**FLOAT, "n": np.zeros(2, jax.dtypes.float0)}
    extra = {n: make(PARAMS, absent) for n, make in entry.needs.items()}
    updates, state = tx.update(FLOAT, tx.init(PARAMS), PARAMS, **extra)
    assert (updates["n"].dtype, updates["n"].tolist()) == (jnp.int32, [0, 0])
    new = gx.apply_updates(PARAMS, updates)
    assert (new["n"].dtype, new["n"].tolist()) == (jnp.int32, [100, 50])
    again, _ = tx.update({**FLOAT, "n": WHOLE["n"]}, state, PARAMS, **extra)
    assert again["n"].tolist() == [0, 0]
    if not _is_random(state):
        wanted, _ = tx.update(absent, tx.init(PARAMS), PARAMS, **extra)
        np.testing.assert_array_equal(updates["w"], wanted["w"])


def _is_random(state):
    return any(jnp.issubdtype(x.dtype, jax.dtypes.prng_key) for x in jax.tree.leaves(state))


WRAPPED = {
    "adam": gx.adam(0.1),
    "clipped": gx.chain(gx.clip_by_global_norm(1.0), gx.adam(0.1)),
    "accumulated": gx.accumulate(gx.adam(0.1), 1),
    "multi_steps": gx.MultiSteps(gx.adam(0.1), 1),
    "injected": gx.inject_hyperparams(gx.adam)(learning_rate=0.1),
    "masked": gx.masked(gx.adam(0.1), {"n": True, "w": True}),
    "partition": gx.partition({"a": gx.adam(0.1), "b": gx.sgd(0.1, 0.9)}, {"n": "a", "w": "b"}),
    "finite": gx.apply_if_finite(gx.adam(0.1), 3),
    "trace": gx.chain(gx.scale(1.0), gx.trace(0.9)),
}


@pytest.mark.parametrize("make", WRAPPED.values(), ids=WRAPPED)
@pytest.mark.parametrize("grads", [WHOLE, FLOAT], ids=["whole", "float"])
def test_the_state_says_too_what_a_parameter_is(make, grads):
    updates, _ = make.update(grads, make.init(PARAMS))
    assert (updates["n"].dtype, updates["n"].tolist()) == (jnp.int32, [0, 0])
    wanted, _ = make.update({"n": None, "w": FLOAT["w"]}, make.init(PARAMS))
    np.testing.assert_array_equal(updates["w"], wanted["w"])


def test_a_parameter_of_whole_numbers_does_not_count_in_a_norm():
    tx = gx.chain(gx.clip_by_global_norm(1.0), gx.sgd(1.0))
    updates, _ = tx.update(
        {"n": np.array([3000, 4000]), "w": jnp.array([3.0, 4.0])}, tx.init(PARAMS), {"n": PARAMS["n"], "w": jnp.zeros(2)}
    )
    np.testing.assert_allclose(updates["w"], [-0.6, -0.8], rtol=1e-6)
    updates, _ = tx.update({"n": np.array([3, 4])}, tx.init(PARAMS))  # nobody knows: it is a gradient
    np.testing.assert_allclose(updates["n"], [-0.6, -0.8], rtol=1e-6)


def test_what_is_absent_stays_absent():
    float0 = np.zeros(2, jax.dtypes.float0)
    for tx in (gx.adam(0.1), gx.chain(gx.clip_by_global_norm(1.0), gx.sgd(1.0)), gx.accumulate(gx.adam(0.1), 2)):
        for params in (PARAMS, None):
            updates, _ = tx.update({"n": float0, "w": None}, tx.init(PARAMS), params)
            assert updates["n"].dtype == jax.dtypes.float0
            assert updates["w"] is None
        updates, _ = tx.update({"n": gx.MaskedNode(), "w": WHOLE["w"]}, tx.init(PARAMS), PARAMS)
        assert isinstance(updates["n"], gx.MaskedNode)


def test_parameters_laid_out_otherwise_tell_nothing():
    """A stage that does not read the parameters never looked at them."""
    tx = gx.sgd(0.5)
    updates, _ = tx.update([np.array([2, 2])], tx.init([jnp.ones(2)]), {"other": jnp.ones(3)})
    np.testing.assert_array_equal(updates[0], [-1, -1])


@EVERY
def test_leaves_of_several_widths_meet_in_no_sum(name, x64):
    """Of float32 and float64, with nothing promoted by itself."""
    entry = gx.entry(name)
    tx, params = entry(), {"w": jnp.ones((2, 3)), "b": jnp.ones((3, 2), jnp.float32)}
    updates = jax.eval_shape(lambda p: _once(entry, tx, p), params)
    assert [x.dtype for x in jax.tree.leaves(updates)] == [jnp.float32, jnp.float64]


def _once(entry, tx, params):
    return tx.update(params, tx.init(params), params, **{n: make(params, params) for n, make in entry.needs.items()})[0]


# Narrow floats ----------------------------------------------------------------------------------------------------------------


def _narrow():
    """Every float of eight or four bits that this JAX has and this device computes with; one of exponents alone holds no 0."""
    names = [n for n in dir(jnp) if n.startswith(("float8_", "float4_")) and n != "float8_e8m0fnu"]
    return [pytest.param(getattr(jnp, n), id=n) for n in sorted(names)]


NARROW = pytest.mark.parametrize("dtype", _narrow())


@NARROW
def test_a_narrow_float_is_widened_and_rounded_once(dtype):
    params = jnp.array([1.0, -2.0, 4.0, 0.5]).astype(dtype)
    grads = jnp.array([0.5, -1.0, 2.0, 6.0]).astype(dtype)
    wide = lambda x: np.asarray(x.astype(jnp.float32))
    for tx, factor in ((gx.sgd(0.5), -0.5), (gx.clip_by_global_norm(2.0), min(1, 2 / np.linalg.norm(wide(grads))))):
        for update in (tx.update, jax.jit(tx.update)):
            updates, _ = update(grads, tx.init(params), params)
            assert updates.dtype == dtype
            np.testing.assert_array_equal(wide(updates), wide(jnp.asarray(factor * wide(grads)).astype(dtype)))
        new = gx.apply_updates(params, updates)
        assert new.dtype == dtype
        np.testing.assert_array_equal(wide(new), wide(jnp.asarray(wide(params) + wide(updates)).astype(dtype)))


@EVERY
def test_every_transformation_takes_narrow_floats(name):
    dtype = jnp.float8_e4m3fn
    entry = gx.entry(name)
    tx, params = entry(), {"w": jnp.ones((2, 2)).astype(dtype)}
    grads = {"w": jnp.array([[1.0, 2.0], [0.5, -1.0]]).astype(dtype)}
    extra = {n: make(params, grads) for n, make in entry.needs.items()}
    state = tx.init(params)
    updates, after = jax.eval_shape(lambda *args: tx.update(*args, **extra), grads, state, params)
    assert updates["w"].dtype in (dtype, jnp.float32)
    assert [x.dtype for x in jax.tree.leaves(after)] == [x.dtype for x in jax.tree.leaves(state)]
    assert gx.apply_updates(params, jax.tree.map(lambda u: jnp.zeros(u.shape, u.dtype), updates))["w"].dtype == dtype


# Sparse arrays ----------------------------------------------------------------------------------------------------------------

MATRIX = sparse.BCOO.fromdense(jnp.array([[1.0, 0.0], [0.0, 2.0]]))
SPARSE = {"m": sparse.grad(lambda m: jnp.sum((m @ jnp.ones(2)) ** 2))(MATRIX)}


@pytest.mark.parametrize("tx", [gx.sgd(0.1), gx.sgd(0.1, 0.9), gx.adam(0.1), gx.accumulate(gx.adam(0.1), 1)], ids=str)
@pytest.mark.parametrize("passed", [True, False])
def test_a_sparse_parameter_keeps_its_indices(tx, passed):
    params = {"m": MATRIX}
    updates, state = tx.update(SPARSE, tx.init(params), params if passed else None)
    tx.update(SPARSE, state, params)
    new = gx.apply_updates(params, updates)["m"]
    assert new.indices.tolist() == MATRIX.indices.tolist()
    dense, _ = tx.update(MATRIX.data * 2, tx.init(MATRIX.data), MATRIX.data)
    np.testing.assert_allclose(new.data, MATRIX.data + dense, rtol=1e-6)


@pytest.mark.parametrize("tx", [gx.sgd(0.1), gx.adam(0.1), gx.adamw(0.1)], ids=str)
def test_a_sparse_gradient_of_a_dense_parameter_is_refused(tx):
    params = {"m": MATRIX.todense()}
    with pytest.raises(gx.StructureError, match=r"make it dense: .*todense"):
        gx.apply_updates(params, tx.update(SPARSE, tx.init(params), params)[0])
