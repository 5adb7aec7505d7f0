"""`gradxform.tree`: the values of Optax 0.2.8 in float32 and complex64, and what it does better.

A case is a call on a module `t` (ours or Optax's) with two trees; the absent leaves are added to the trees for ours alone.
"""

import dataclasses
import inspect
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import keystr
from oracle import optax
from trees import assert_close

import gradxform as gx
import gradxform.tree as tree
from gradxform._errors import HyperparameterError, StructureError

NARROW = ["bfloat16", "float16"]

# Parity -----------------------------------------------------------------------------------------------------------------------


def trees(dtype):
    rng = np.random.default_rng(0)

    def array(*shape):
        x = rng.normal(size=shape)
        return jnp.asarray(x + 1j * rng.normal(size=shape) if np.issubdtype(dtype, np.complexfloating) else x, dtype)

    return [{"w": array(2, 3), "deep": [array(4), (array(),)]} for _ in range(2)]


ALGEBRA = {
    "add": lambda t, x, y: t.add(x, y),
    "add three": lambda t, x, y: t.add(x, y, x),
    "sub": lambda t, x, y: t.sub(tree_x=x, tree_y=y),
    "mul": lambda t, x, y: t.mul(x, y),
    "div": lambda t, x, y: t.div(x, y),
    "scale": lambda t, x, y: t.scale(0.3, x),
    "add_scale": lambda t, x, y: t.add_scale(x, 0.3, y),
    "conj": lambda t, x, y: t.conj(x),
    "real": lambda t, x, y: t.real(x),
    "clip": lambda t, x, y: t.clip(t.real(x), -0.5, max_value=0.5),
    "where": lambda t, x, y: t.where(jnp.asarray(True), x, y),
    "full_like": lambda t, x, y: t.full_like(x, 2, dtype=jnp.int32),
    "zeros_like": lambda t, x, y: t.zeros_like(x),
    "ones_like": lambda t, x, y: t.ones_like(x, jnp.bfloat16),
    "batch_shape": lambda t, x, y: t.batch_shape(x, (2, 1)),
    "cast": lambda t, x, y: t.cast(t.real(x), jnp.float16),
    "cast to none": lambda t, x, y: t.cast(x, None),
    "cast_like": lambda t, x, y: t.cast_like(t.real(x), t.cast(t.real(y), jnp.bfloat16)),
    "update_moment": lambda t, x, y: t.update_moment(x, y, 0.9, 2),
    "update_moment_per_elem_norm": lambda t, x, y: t.update_moment_per_elem_norm(x, t.real(y), 0.9, 2),
    "cubes": lambda t, x, y: t.update_moment_per_elem_norm(x, t.real(y), 0.9, 3),
    "update_infinity_moment": lambda t, x, y: t.update_infinity_moment(x, t.real(y), 0.9, 0.1),
    "bias_correction": lambda t, x, y: t.bias_correction(x, 0.9, jnp.asarray(3)),
    "split_key_like": lambda t, x, y: t.unwrap_random_key_data(t.split_key_like(jax.random.key(1), x)),
    "random_like": lambda t, x, y: t.random_like(jax.random.key(1), x),
    "rademacher": lambda t, x, y: t.random_like(jax.random.key(1), x, jax.random.rademacher, dtype=jnp.int32),
}
REDUCTIONS = {
    "sum": lambda t, x, y: t.sum(x),
    "sum pairwise": lambda t, x, y: t.sum(x, associative_reduction=True),
    "max": lambda t, x, y: t.max(t.real(x)),
    "min": lambda t, x, y: t.min(t.real(x)),
    "vdot": lambda t, x, y: t.vdot(x, y),
    "size": lambda t, x, y: t.size(x),
    "norm": lambda t, x, y: t.norm(x),
    "norm squared": lambda t, x, y: t.norm(x, squared=True),
    "norm 1": lambda t, x, y: t.norm(x, 1),
    "norm inf": lambda t, x, y: t.norm(x, ord="inf"),
    "norm inf squared": lambda t, x, y: t.norm(x, math.inf, True),
    "allclose": lambda t, x, y: t.allclose(x, t.add_scale(x, 1e-7, x)),
    "not allclose": lambda t, x, y: t.allclose(x, y),
}


def shapes_and_dtypes(x):
    return jax.tree.map(lambda leaf: (jnp.shape(leaf), jnp.result_type(leaf)), x)


def with_gaps(x):
    return {**x, "absent": None, "masked": [optax.MaskedNode(), gx.MaskedNode()]}


@pytest.mark.parametrize("dtype", [np.float32, np.complex64])
@pytest.mark.parametrize("case", ALGEBRA)
def test_algebra_is_optax(case, dtype):
    x, y = trees(dtype)
    ours, theirs = ALGEBRA[case](tree, x, y), ALGEBRA[case](optax.tree, x, y)
    assert shapes_and_dtypes(ours) == shapes_and_dtypes(theirs)
    assert_close(ours, theirs, atol=0)
    holed = ALGEBRA[case](tree, with_gaps(x), with_gaps(y))
    assert jax.tree.structure(holed) == jax.tree.structure(with_gaps(ours))
    assert_close(holed, with_gaps(theirs), atol=0)


@pytest.mark.parametrize("dtype", [np.float32, np.complex64])
@pytest.mark.parametrize("case", REDUCTIONS)
def test_reductions_are_optax(case, dtype):
    x, y = trees(dtype)
    ours, theirs = REDUCTIONS[case](tree, x, y), REDUCTIONS[case](optax.tree, x, y)
    np.testing.assert_allclose(ours, theirs, rtol=1e-6)
    assert jnp.asarray(ours).dtype == jnp.asarray(theirs).dtype
    assert ours == REDUCTIONS[case](tree, with_gaps(x), with_gaps(y))


@pytest.mark.fast
def test_names_and_signatures_are_optax():
    for name in [n for n in dir(optax.tree) if not n.startswith("_")]:
        ours, theirs = (inspect.signature(getattr(t, name)).parameters.values() for t in (tree, optax.tree))
        assert [(p.name, p.kind, p.default) for p in ours] == [(p.name, p.kind, p.default) for p in theirs], name


@pytest.mark.fast
def test_a_moment_is_optax_bit_for_bit():
    x, y = trees(np.float32)
    assert_close(tree.update_moment(x, y, 0.999, 2), optax.tree.update_moment(x, y, 0.999, 2), rtol=0, atol=0)


@pytest.mark.fast
def test_empty_trees_and_empty_leaves():
    for nothing in ({}, {"a": None}):
        assert tree.sum(nothing) == tree.norm(nothing) == tree.norm(nothing, "inf") == tree.size(nothing) == 0
        assert tree.max(nothing) == -math.inf
        assert tree.min(nothing) == math.inf
        assert tree.allclose(nothing, nothing)
    assert tree.max([jnp.zeros((0, 2)), jnp.asarray([-3, -2])]) == -2
    assert tree.norm([jnp.zeros((0, 2))], math.inf) == 0


@pytest.mark.fast
def test_python_numbers_are_leaves():
    assert tree.add([1.5, 2], [1, 1]) == [2.5, 3]
    assert tree.size([1.0, None]) == 1
    assert tree.norm([3.0, 4]) == 5
    assert tree.cast([1.5], jnp.int32) == [1]


# Dtypes -----------------------------------------------------------------------------------------------------------------------


@pytest.mark.fast
def test_a_float16_norm_does_not_overflow():
    x = [jnp.full([10_000], 300.0, jnp.float16)]
    assert not jnp.isfinite(optax.tree.norm(x))
    np.testing.assert_allclose(tree.norm(x), 30_000.0, rtol=1e-6)
    np.testing.assert_allclose(tree.norm(x, squared=True), 9e8, rtol=1e-6)
    np.testing.assert_allclose(tree.norm(x, 1), 3e6, rtol=1e-6)
    np.testing.assert_allclose(tree.sum(x), 3e6, rtol=1e-6)
    np.testing.assert_allclose(tree.vdot(x, x), 9e8, rtol=1e-3)  # each version of XLA adds in an order of its own
    np.testing.assert_allclose(tree.norm([jnp.full([3], 100, jnp.int8)]), 100 * math.sqrt(3), rtol=1e-6)


@pytest.mark.fast
@pytest.mark.parametrize("dtype", NARROW)
def test_a_coefficient_is_not_rounded(dtype):
    x = jnp.linspace(-3, 3, 101).astype(dtype)
    exact = np.asarray(x, np.float64)
    rounded = lambda value: jnp.asarray(np.asarray(value, np.float32)).astype(dtype)
    for ours, value in [
        (tree.scale(0.999, x), 0.999 * exact),
        (tree.add_scale(x, -0.0017, x), exact - 0.0017 * exact),
        (tree.add(x, x / 64, x / 128), exact + exact / 64 + exact / 128),
        (tree.update_moment(x, x / 8, 0.999, 2), 0.001 * exact**2 + 0.999 * exact / 8),
        (tree.update_infinity_moment(x, 2 * jnp.abs(x), 0.999, 1e-8), 0.999 * 2 * np.abs(exact) + (exact == 0) * 1e-8),
        (tree.bias_correction(x, 0.75, 2), exact / 0.4375),
    ]:
        assert ours.dtype == dtype
        assert jnp.mean(ours == rounded(value)) > 0.95  # the rest is rounded twice, via float32


@pytest.mark.fast
def test_a_bfloat16_second_moment_decays():
    def run(t, nu):
        for _ in range(400):
            nu = t.update_moment([jnp.zeros(1, jnp.bfloat16)], nu, 0.98, 2)
        return float(nu[0][0])

    assert run(tree, [jnp.ones(1, jnp.bfloat16)]) < 0.3
    assert float(tree.update_moment([jnp.zeros(1)], [jnp.full(1, 0.25, jnp.float32)], 0.999, 2)[0][0]) < 0.25


@pytest.mark.fast
@pytest.mark.parametrize("dtype", [*NARROW, "float32", "complex64"])
def test_a_moment_keeps_its_dtype(dtype):
    g, m = [jnp.ones(3, jnp.float32)], [jnp.ones(3, dtype)]
    for new in (tree.update_moment(g, m, 0.9, 1), tree.update_moment_per_elem_norm(g, m, jnp.float16(0.9), 2)):
        assert new[0].dtype == dtype
    assert tree.update_moment([jnp.ones(3, jnp.complex64)], [jnp.ones(3)], 0.9, 1)[0].dtype == jnp.complex64


@pytest.mark.fast
def test_functions_of_a_strong_scalar_promote_as_jax_does():
    x = [jnp.ones(2, jnp.bfloat16)]
    assert tree.scale(jnp.float32(0.5), x)[0].dtype == jnp.float32
    assert tree.scale(0.5, [jnp.ones(2, jnp.int32)])[0].dtype == jnp.float32
    assert tree.max([jnp.ones(2, jnp.int32)]).dtype == jnp.int32


@pytest.mark.fast
@pytest.mark.parametrize("handler", [None, "promote", "highest", "lowest"])
def test_dtype_is_optax(handler):
    for dtypes in (["float32"], ["bfloat16", "float32"], ["int32", "uint32"], ["float16", "bfloat16"], []):
        x = [jnp.zeros(1, d) for d in dtypes]
        try:
            theirs = optax.tree.dtype(x, handler)
        except ValueError:
            with pytest.raises(StructureError):
                tree.dtype(x, handler)
        else:
            assert tree.dtype(x, handler) == theirs


@pytest.mark.fast
def test_dtype_errors():
    mixed = {"a": jnp.zeros(1), "b": {"c": jnp.zeros(1, jnp.bfloat16)}}
    with pytest.raises(ValueError, match=r"\['a'\] is float32, \['b'\]\['c'\] is bfloat16. Pass `mixed_dtype_handler`"):
        tree.dtype(mixed)
    with pytest.raises(ValueError, match="must be None, 'promote', 'highest' or 'lowest', but got 'best'"):
        tree.dtype(mixed, "best")
    with pytest.raises(ValueError, match=r"none of float16, bfloat16 is the lowest.*Use 'promote'"):
        tree.dtype([jnp.zeros(1, d) for d in ("float16", "bfloat16")], "lowest")
    with pytest.raises(HyperparameterError, match="`ord` must be None, 1, 2 or inf, but got 3"):
        tree.norm(mixed, 3)
    with pytest.raises(StructureError, match=r"shapes \(3,\) and \(3, 1\) meet"):
        tree.vdot([jnp.ones(3)], [jnp.ones((3, 1))])


# Absent leaves ----------------------------------------------------------------------------------------------------------------


@pytest.mark.fast
def test_a_leaf_absent_from_one_tree():
    x, y = {"a": jnp.ones(2), "b": jnp.full(2, 5.0)}, {"a": jnp.ones(2), "b": None}
    for kept in (
        tree.add(x, y),
        tree.sub(x, y),
        tree.add_scale(x, -0.1, y),
        tree.update_moment(y, x, 0.9, 2),
        tree.cast_like(x, y),
    ):
        np.testing.assert_array_equal(kept["b"], x["b"])
    for gone in (tree.mul(x, y), tree.div(x, y), tree.where(True, x, y), tree.add(y, x), tree.sub(y, x), tree.cast_like(y, x)):
        assert gone["b"] is None
    np.testing.assert_array_equal(tree.add(x, y, x)["b"], 10.0)
    assert tree.vdot(x, y) == 2
    assert not tree.allclose(x, y)


def test_jit_grad_and_vmap():
    x, y = (with_gaps(t) for t in trees(np.float32))
    f = lambda x, y: tree.norm(tree.add_scale(x, 0.5, y))
    assert jnp.allclose(jax.jit(f)(x, y), f(x, y))
    assert_close(jax.grad(f)(x, y), tree.scale(1 / f(x, y), tree.add_scale(x, 0.5, y)), rtol=1e-5, atol=0)
    assert jax.vmap(f)(tree.batch_shape(x, (3,)), tree.batch_shape(y, (3,))).shape == (3,)


# Search -----------------------------------------------------------------------------------------------------------------------

PARAMS = {"w": jnp.ones((2, 3)), "b": jnp.ones(3)}


class Inner(NamedTuple):
    count: int
    Inner: int


@jax.tree_util.register_dataclass
@dataclasses.dataclass
class Record:
    scale: float
    rest: dict


@pytest.mark.fast
@pytest.mark.parametrize("key", ["count", "mu", "ScaleByAdamState", "learning_rate", "w", "b1", "nothing"])
def test_get_all_with_path_is_optax(key):
    make = optax.inject_hyperparams(optax.adam)
    state = {"opt": make(optax.linear_schedule(1.0, 0.0, 9)).init(PARAMS), "more": [optax.sgd(0.1, 0.9).init(PARAMS)]}
    ours, theirs = ({keystr(p): id(x) for p, x in t.get_all_with_path(state, key)} for t in (tree, optax.tree))
    assert ours == theirs
    arrays = lambda path, value: isinstance(value, jax.Array) and "[" not in keystr(path[-1:])
    ours, theirs = ({keystr(p): id(x) for p, x in t.get_all_with_path(state, key, arrays)} for t in (tree, optax.tree))
    assert ours == theirs


@pytest.mark.fast
def test_get():
    state = gx.adam(optax.linear_schedule(1.0, 0.0, 9)).init(PARAMS)
    assert tree.get(state, "mu") is state[0].mu
    assert tree.get(state, "ScaleByAdamState") is state[0]
    assert tree.get(state, "nothing") is None
    assert tree.get(state, "nothing", 3) == 3
    assert tree.get({"a": None}, "a", 3) is None
    with pytest.raises(KeyError, match=r"'count' is found at 2 places: 0/ScaleByAdamState.count, 1/ScaleBy\w+.count.*`filtering="):
        tree.get(state, "count")
    only_adam = lambda path, value: tree.NamedTupleKey("ScaleByAdamState", "count") in path
    assert tree.get(state, "count", filtering=only_adam) is state[0].count
    assert tree.get(state, "count", 7, filtering=lambda path, value: False) == 7
    assert tree.get(Record(2.0, {"a": 1}), "a") == 1
    assert tree.get(Record(2.0, {"a": 1}), "scale") == 2.0
    assert len(tree.get_all_with_path(Inner(1, 2), "Inner")) == 2


@pytest.mark.fast
def test_set_is_optax():
    state = optax.inject_hyperparams(optax.adam)(0.1).init(PARAMS)
    not_dict = lambda path, value: not isinstance(value, dict)
    for filtering, new in [(None, {"learning_rate": 0.5}), (not_dict, {"b1": 0.5, "b2": 0.25}), (None, {"nu": "nu", "mu": 1})]:
        ours, theirs = (t.set(state, filtering, **new) for t in (tree, optax.tree))
        assert jax.tree.structure(ours) == jax.tree.structure(theirs)
        assert all(a is b or a == b for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True))


@pytest.mark.fast
def test_set_replaces_at_every_depth():
    state = optax.inject_hyperparams(optax.adam)(0.1).init(PARAMS)
    assert optax.tree.set(state, count=7).inner_state[0].count == 0  # it stops at the outer one
    new = tree.set(state, count=7, ScaleByAdamState=None)
    assert (new.count, new.inner_state[0]) == (7, None)
    assert [x for _, x in tree.get_all_with_path(tree.set(state, count=7), "count")] == [7, 7]
    assert tree.set(Record(2.0, {"a": 1, "b": None}), scale=3.0, b=4) == Record(3.0, {"a": 1, "b": 4})


@pytest.mark.fast
def test_set_errors():
    state = gx.adam(0.1).init(PARAMS)
    with pytest.raises(KeyError, match=r"there is no 'cuont' in this tree. Did you mean 'count'"):
        tree.set(state, cuont=1)
    with pytest.raises(
        KeyError, match=r"there is no 'learning_rate' in this tree. The names are ScaleByAdamState, count, mu, b, w, nu"
    ):
        tree.set(state, learning_rate=1)
    with pytest.raises(KeyError, match=r"'mu' is found at 0/ScaleByAdamState.mu, but `filtering` rejects"):
        tree.set(state, lambda path, value: False, mu=1)


# Mapping over params ----------------------------------------------------------------------------------------------------------

HOLED = {**PARAMS, "n": None}
SPECS = {"w": "W", "b": "B", "n": None}
MASK = {"w": True, "b": False, "n": False}


def mapped(tx, state=None):
    """Which places of the state got a spec: a tree of specs, with `-` elsewhere."""
    state = tx.init(HOLED) if state is None else state
    return tree.map_params(tx, lambda _, spec: spec, state, SPECS, transform_non_params=lambda _: "-")


@pytest.mark.fast
@pytest.mark.parametrize("lib", [gx, optax])
def test_map_params_on_adam(lib):
    adam, empty = mapped(lib.adam(0.1))
    assert adam == ("-", SPECS, SPECS)
    assert type(adam) is lib.ScaleByAdamState
    assert empty == ()
    state = lib.adam(0.1).init(HOLED)
    doubled = tree.map_params(lib.adam(0.1).init, lambda x: x + 1, state)
    assert doubled[0].count is state[0].count
    np.testing.assert_array_equal(doubled[0].mu["w"], 1.0)


@pytest.mark.fast
def test_map_params_on_a_state_of_optax_with_our_transformation():
    assert type(mapped(gx.adam(0.1), optax.adam(0.1).init(HOLED))[0]) is optax.ScaleByAdamState


@pytest.mark.fast
def test_map_params_is_optax():
    schedule = optax.linear_schedule(1.0, 0.0, 9)
    for tx in (optax.adamw(schedule), optax.adafactor(0.1), optax.MultiSteps(optax.adam(0.1), 2), optax.sm3(0.1), optax.sgd(0.1)):
        state = tx.init(PARAMS)
        ours, theirs = (t.map_params(tx, lambda x: x.shape, state, transform_non_params=lambda _: "-") for t in (tree, optax.tree))
        assert ours == theirs


@pytest.mark.fast
def test_map_params_on_lbfgs():
    tx = optax.lbfgs()
    with pytest.raises(IndexError):
        optax.tree.map_params(tx, lambda x: x, tx.init(PARAMS))
    lbfgs, _, search = mapped(tx)
    assert lbfgs == ("-", SPECS, SPECS, SPECS, SPECS, "-")
    assert search.grad == SPECS


@pytest.mark.parametrize(
    ("tx", "hole"),
    [
        (optax.masked(optax.trace(0.9), MASK), optax.MaskedNode()),
        (optax.masked(optax.trace(0.9), lambda p: jax.tree.map(lambda x: x.ndim == 2, p)), optax.MaskedNode()),
        (gx.masked(gx.trace(0.9), gx.by_ndim(2)), gx.MaskedNode()),
        (gx.masked(gx.trace(0.9), MASK), gx.MaskedNode()),
    ],
)  # fmt: skip
def test_map_params_steps_over_masked_leaves(tx, hole):
    trace = mapped(tx).inner_state.trace
    assert (trace["w"], trace["b"]) == ("W", hole)
    state = tx.init(HOLED)
    asked = tree.map_params(tx, lambda x: type(x).__name__, state, is_leaf=lambda x: type(x).__name__ == "MaskedNode")
    assert asked.inner_state.trace["b"] == "MaskedNode"


@pytest.mark.fast
def test_map_params_on_partition():
    tx = optax.partition({"a": optax.trace(0.9), "b": optax.sgd(0.1)}, {"w": "a", "b": "b", "n": "b"})
    assert mapped(tx).inner_states["a"].inner_state.trace["w"] == "W"


@pytest.mark.fast
def test_map_params_errors():
    by_name = gx.GradientTransformation(lambda params: {"m": params["w"]}, lambda u, s, p=None: (u, s))
    with pytest.raises(StructureError, match=r"could not be called with a stand-in.*TypeError.*Let it map over the parameters"):
        tree.map_params(by_name, lambda x: x, by_name.init(PARAMS))
    with pytest.raises(StructureError, match=r"like the parameters at \[0\].mu, \[0\].nu, and this state has nothing there"):
        tree.map_params(gx.adam(0.1), lambda x: x, gx.sgd(0.1).init(PARAMS))


# Random -----------------------------------------------------------------------------------------------------------------------


@pytest.mark.fast
def test_random_like_takes_shapes_alone():
    like = {"a": jax.ShapeDtypeStruct((3,), jnp.bfloat16), "b": None}
    x = tree.random_like(jax.random.key(0), like)
    assert (x["a"].shape, x["a"].dtype, x["b"]) == ((3,), jnp.bfloat16, None)
    plain = lambda key, shape, dtype: jnp.full(shape, 2, dtype)
    assert tree.sum(tree.random_like(jax.random.key(0), like, plain)) == 6


@pytest.mark.fast
def test_unwrap_random_key_data():
    state = {"key": jax.random.key(3), "x": 1.0, "none": None}
    plain = tree.unwrap_random_key_data(state)
    np.testing.assert_array_equal(plain["key"], jax.random.key_data(state["key"]))
    assert (plain["x"], plain["none"]) == (1.0, None)
