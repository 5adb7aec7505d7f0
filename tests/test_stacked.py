"""Matrices of one shape held as one array: the numbers of leaves that are held by themselves, what is held, and what then travels."""

import pickle
from typing import Any, NamedTuple

import aot
import hlo
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from test_spread_updates import (
    AUTO,
    EXPLICIT,
    MAKERS,
    READ,
    ROLES,
    SINGLE,
    assert_close,
    by_axis_type,
    by_maker,
    compiled,
    draw,
    mesh_of,
    put,
    steps,
    travelled,
)

import gradxform as gx
from gradxform.core._roles import Stack
from gradxform.core._stacked import leaf_by_leaf
from gradxform.kernels import MaskedNode, Roles, Stacking, Updates, per_leaf

P = PartitionSpec
eight = pytest.mark.skipif(jax.device_count() < 8, reason="needs eight devices; tests/conftest.py fakes them on the CPU")
LEAVES = {**{f"w{i}": (8, 8) for i in range(3)}, "a": (8, 12), "b": (8, 12), "lone": (6, 8), "layers": (2, 8, 8)}
BESIDE = {"v": (8,), "x": ()}
MATRICES_ALONE = {"splus", "asgo", "dion"}
GPT = {
    f"h{i}/{name}": shape
    for i in range(12)
    for name, shape in {"qkv": (16, 48), "o": (16, 16), "fc": (16, 64), "proj": (64, 16)}.items()
}


def fields_of(state):
    return {name: x for name, x in state._asdict().items() if isinstance(x, dict) and jax.tree.leaves(x)}


# ---- the numbers


@pytest.mark.fast
@by_maker
def test_as_leaves_that_are_held_by_themselves(name):
    """Over two refreshes, filled up or not; an entry of None stays one. PSGD draws other noise, which moves its factors a little."""
    make, options = MAKERS[name]
    params = draw(LEAVES if name in MATRICES_ALONE else {**LEAVES, **BESIDE}, 0)
    one, tx = make(**ROLES, **options), make(**ROLES, **options, stacked=2)
    (u, state), (v, held) = steps(one, params, one.init(params)), steps(tx, params, tx.init(params))
    assert_close(v, u, 1e-5, 2e-3 if name == "psgd_kron" else 1e-6)
    for field, entries in fields_of(held).items():
        stacks = {k for k, x in entries.items() if isinstance(x, Stack)}
        assert stacks == {"w0", "a"}, field
        assert all(isinstance(entries[k], MaskedNode) for k in ("w1", "w2", "b"))
        assert {x.shape[0] for x in jax.tree.leaves(entries["w0"])} <= {4}
    if name != "psgd_kron":
        assert_close(leaf_by_leaf(tx, held, params), state, 1e-5, 1e-6)


@pytest.mark.parametrize("stacked", [1, 3, 5])
def test_whatever_fills_up(stacked):
    params, options = draw({f"w{i}": (6, 4) for i in range(4)}, 0), {"every": 2, "phase": "spread", **ROLES}
    one, tx = gx.scale_by_soap(**options), gx.scale_by_soap(**options, stacked=stacked)
    found, expected = steps(tx, params, tx.init(params), number=4), steps(one, params, one.init(params), number=4)
    assert found[1].mu["w0"].members.shape == (-(-4 // stacked) * stacked, 6, 4)
    for x, y in zip(jax.tree.leaves(found[0]), jax.tree.leaves(expected[0]), strict=True):
        assert np.isfinite(x).all()
        assert stacked != 1 or np.allclose(x, y, 1e-5, 1e-6)  # what fills up has its turns too, so that others have theirs later


@pytest.mark.fast
def test_mixed_dtypes_and_complex_numbers():
    """A stack is as wide as its widest member; updates are in the dtypes of their leaves."""
    params = {k: x.astype(d) for (k, x), d in zip(draw(SINGLE, 0).items(), [jnp.bfloat16, jnp.float32] * 4, strict=True)}
    params |= {"c0": jax.lax.complex(params["w1"], params["w3"]), "c1": jax.lax.complex(params["w3"], params["w1"])}
    one, tx = gx.scale_by_asgo(**ROLES), gx.scale_by_asgo(**ROLES, stacked=2)
    (u, _), (v, state) = (t.update(params, t.init(params)) for t in (one, tx))
    assert jax.tree.map(lambda x: x.dtype, v) == jax.tree.map(lambda x: x.dtype, u)
    assert state.mu["w0"].members.dtype == jnp.float32
    assert state.mu["c0"].members.dtype == jnp.complex64
    assert_close(
        jax.tree.map(lambda x: x.astype(jnp.complex64), v), jax.tree.map(lambda x: x.astype(jnp.complex64), u), 2**-7, 2**-7
    )


@pytest.mark.fast
@pytest.mark.parametrize("absent", [("w1",), ("w7", "w0"), tuple(SINGLE)], ids=str)
def test_a_member_without_a_gradient_stays_as_it_is(absent):
    params = draw(SINGLE, 0)
    one, tx = gx.scale_by_soap(**ROLES, every=2), gx.scale_by_soap(**ROLES, every=2, stacked=3)
    (_, state), (_, held) = steps(one, params, one.init(params), number=2), steps(tx, params, tx.init(params), number=2)
    grads = {k: None if k in absent else x for k, x in draw(SINGLE, 9).items()}
    (u, state), (v, held) = one.update(grads, state, params), tx.update(grads, held, params)
    assert {k for k, x in v.items() if x is None} == {*absent}
    assert_close(v, u)
    assert_close(leaf_by_leaf(tx, held, params), state)


def test_gradients_of_whole_numbers():
    params, grads = draw(SINGLE, 0), {k: (10 * x).astype(jnp.int32) for k, x in draw(SINGLE, 1).items()}
    one, tx = gx.scale_by_asgo(**ROLES), gx.scale_by_asgo(**ROLES, stacked=1)
    assert_close(tx.update(grads, tx.init(params), params)[0], one.update(grads, one.init(params), params)[0])


@pytest.mark.fast
def test_the_parameters_to_evaluate_with():
    """SPlus averages them; what is around it, and a rate before it, are asked as without stacks."""
    params, found = draw(SINGLE, 0), []
    for more in ({}, {"stacked": 3}):
        tx = gx.masked(gx.splus(0.1, every=2, **ROLES, **more), {"w7": False, "default": True})
        state, at = tx.init(params), params
        for t in range(3):
            u, state = tx.update(draw(SINGLE, t), state, at)
            at = gx.apply_updates(at, u)
        found.append(gx.eval_params(tx, state, at))
        assert not np.allclose(found[-1]["w0"], at["w0"])
    assert_close(*found)


@per_leaf(evaluate=lambda params, state, after: jax.tree.map(lambda x: x + 1, params))
def elsewhere(g, s, p, c):
    """It says what to evaluate with, too, which an average behind it makes superfluous."""
    return g, s


def test_an_average_is_that_of_a_chain():
    params, found = draw(SINGLE, 0), []
    for more in ({}, {"stacked": 2}):
        tx = gx.chain(elsewhere(), gx.scale_by_splus(every=2, **ROLES, **more))
        _, state = steps(tx, params, tx.init(params))
        found.append(gx.eval_params(tx, state, params))
    assert_close(*found)


def test_nothing_goes_to_the_device_unasked():
    params, tx = draw(SINGLE, 0), gx.scale_by_soap(**ROLES, every=2, stacked=3)
    grads = {k: None if k == "w1" else x for k, x in params.items()}
    with jax.transfer_guard("disallow"):
        _, state = tx.update(params, tx.init(params), params)
        tx.update(grads, state, params)


def test_it_keeps_the_laws():
    gx.testing.check(gx.scale_by_shampoo(every=2, stacked=2), params={k: jnp.ones((6, 5)) for k in "abc"})


# ---- what is held together


class HeldState(NamedTuple):
    mu: Updates


@per_leaf(HeldState, sees="matrix")
def seen(g, s, p, c, weight_dimension_numbers: Roles = None, stacked: Stacking = None):
    """The kernel sees one matrix, (inputs, outputs), whatever is held together."""
    assert g.ndim == 2
    return g * jnp.arange(1.0, g.shape[0] + 1)[:, None], s._replace(mu=g)


def test_leaves_of_one_shape_and_different_roles_are_apart():
    params = {k: jnp.ones((3, 3)) for k in ("in0", "in1", "out0", "out1", "odd")}
    roles = {"in*": "flax", "out*": "equinox", "odd": gx.WeightDimensionNumbers(0, 1, output_split=3)}
    tx, one = (seen(roles, **more) for more in ({"stacked": 2}, {}))
    state = tx.init(params)
    assert [k for k, x in state.mu.items() if isinstance(x, Stack)] == ["in0", "out0"]
    u, expected = tx.update(params, state)[0], one.update(params, one.init(params))[0]
    assert_close(u, expected)
    np.testing.assert_array_equal(u["out0"], u["in0"].T)


@pytest.mark.fast
def test_what_is_mostly_filling_is_left_alone():
    shapes = {**{f"three{i}": (4, 4) for i in range(3)}, **{f"four{i}": (4, 6) for i in range(4)}, "one": (4, 8)}
    state = gx.scale_by_soap(stacked=8).init(draw(shapes, 0))
    assert [k for k, x in state.mu.items() if isinstance(x, Stack)] == ["four0"]
    assert state.mu["three0"].shape == (4, 4)


def test_what_is_no_matrix_is_left_alone():
    """Vectors, tensors, and what `merge_dims` joins; a bias as long as its matrix's first axis is none of its kind."""
    params = draw({**{f"v{i}": (8,) for i in range(2)}, **{f"t{i}": (2, 3, 4) for i in range(2)}, "w0": (6, 6), "w1": (6, 6)}, 0)
    held = lambda **options: [k for k, x in gx.scale_by_soap(stacked=2, **options).init(params).mu.items() if isinstance(x, Stack)]
    assert held() == ["w0"]
    assert held(merge_dims=36) == []
    assert held(weight_dimension_numbers={"default": None}) == []
    assert held(weight_dimension_numbers={"t*": gx.WeightDimensionNumbers((0, 1), 2), "default": None}) == ["t0"]
    one, tx = gx.scale_by_soap(every=2, block_size=4), gx.scale_by_soap(every=2, block_size=4, stacked=2)
    assert_close(steps(tx, params, tx.init(params))[0], steps(one, params, one.init(params))[0], 1e-4, 1e-5)


@pytest.mark.fast
def test_it_is_a_value_and_says_what_it_is():
    tx = gx.soap(1e-3, stacked=8, **ROLES)
    assert "stacked=8" in repr(tx)
    assert pickle.loads(pickle.dumps(tx)) == tx == gx.soap(1e-3, stacked=8, **ROLES)
    assert hash(tx) == hash(pickle.loads(pickle.dumps(tx)))
    assert tx != gx.soap(1e-3, stacked=4, **ROLES)
    params = draw({**SINGLE, "v": (16,)}, 0)
    text = str(gx.summary(tx, params))
    assert text.count("scale_by_soap") == 1
    assert "no matrix: v" in text
    assert "inputs 0, outputs 1: w0, w1" in text
    assert gx.get_hyperparams(tx, tx.init(params)) == gx.get_hyperparams(gx.soap(1e-3, **ROLES), gx.soap(1e-3).init(params))


def test_a_turned_matrix_is_warned_of_as_elsewhere():
    params = {f"layer{i}": {"kernel": jnp.ones((5, 3)), "bias": jnp.ones(5)} for i in range(2)}
    with pytest.warns(UserWarning, match="2 of 2 matrices .* look turned"):
        gx.scale_by_soap(stacked=2, **ROLES).init(params)


def test_one_compilation_and_a_conditional_for_each_shape():
    params, tx = draw({**SINGLE, **{f"t{i}": (16, 8) for i in range(8)}}, 0), gx.scale_by_soap(**ROLES, every=2, stacked=1)
    step, state = jax.jit(lambda g, s: tx.update(g, s)), tx.init(params)
    for _ in range(3):
        _, state = step(params, state)
    assert step._cache_size() == 1
    assert step.lower(params, state).compile().as_text().count(" conditional(") == 2


# ---- wherever a state goes


WRAPPED: dict[str, Any] = {
    "accumulate": lambda tx: gx.accumulate(tx, 2),
    "store": lambda tx: gx.store(tx, "bfloat16:nearest"),
    "masked": lambda tx: gx.masked(tx, {"w*": True, "default": False}),
    "partition": lambda tx: gx.partition({"m": tx, "rest": gx.sgd(0.1)}, {"w*": "m", "default": "rest"}),
    "schedule_free": lambda tx: gx.schedule_free(gx.chain(tx, gx.scale_by_learning_rate(0.01)), learning_rate=0.01),
}


@pytest.mark.parametrize("name", WRAPPED)
def test_inside_others(name):
    params = draw({**SINGLE, "v": (16,)}, 0)
    tx, one = (WRAPPED[name](gx.scale_by_soap(**ROLES, every=2, **more)) for more in ({"stacked": 4}, {}))
    assert_close(steps(tx, params, tx.init(params))[0], steps(one, params, one.init(params))[0], 1e-4, 1e-5)


def test_injected():
    params = draw(SINGLE, 0)
    make = lambda **more: gx.inject_hyperparams(gx.scale_by_soap)(b1=gx.linear_schedule(0.9, 0.95, 4), every=2, **more)
    tx, one = make(stacked=4), make()
    assert_close(steps(tx, params, tx.init(params))[0], steps(one, params, one.init(params))[0], 1e-4, 1e-5)
    state = gx.set_hyperparams(tx, tx.init(params), b2=0.5)[1]
    assert gx.get_hyperparams(tx, state)["b2"] == 0.5


def test_over_seeds_and_inside_a_scan():
    params, tx, one = draw(SINGLE, 0), gx.scale_by_soap(**ROLES, every=2, stacked=8), gx.scale_by_soap(**ROLES, every=2)
    gs = jax.tree.map(lambda *xs: jnp.stack(xs).reshape(2, 4, *xs[0].shape), *(draw(SINGLE, 1 + t) for t in range(8)))
    run = lambda tx: lambda gs: jax.lax.scan(lambda s, g: tx.update(g, s)[::-1], tx.init(params), gs)[1]
    assert_close(jax.jit(jax.vmap(run(tx)))(gs), jax.jit(jax.vmap(run(one)))(gs), 1e-4, 1e-4)


@pytest.mark.fast
def test_a_run_goes_on_with_it_and_without():
    """`transfer_state` puts stacks together and takes them apart; nothing starts afresh and the numbers are the same."""
    params = draw({**SINGLE, "v": (16,)}, 0)
    plain, tx = (gx.soap(1e-3, **ROLES, **more) for more in ({}, {"stacked": 3}))
    state = steps(plain, params, plain.init(params), number=3)[1]
    there = gx.transfer_state(plain, state, tx, params)
    assert there.fresh == there.dropped == ()
    assert jax.tree.map(jnp.shape, there.state) == jax.tree.map(jnp.shape, tx.init(params))
    other = gx.accumulate(gx.masked(gx.soap(1e-3, **ROLES, stacked=8), {"w*": True, "default": False}), 2)
    assert jax.tree.structure(gx.transfer_state(tx, there.state, other, params).state) == jax.tree.structure(other.init(params))
    back = gx.transfer_state(tx, there.state, plain, params).state
    jax.tree.map(np.testing.assert_array_equal, back, state)
    stored = gx.store(tx, "bfloat16:nearest")
    narrow = gx.transfer_state(tx, there.state, stored, params).state
    assert jax.tree.structure(narrow) == jax.tree.structure(stored.init(params))


def test_in_nnx():
    nnx = pytest.importorskip("flax.nnx")

    class Model(nnx.Module):
        def __init__(self):
            draws = draw({"a": (4, 4), "b": (4, 4), "c": (4,)}, 0)
            self.a, self.b, self.c = (nnx.Param(x) for x in draws.values())

    def updated(tx):
        model = Model()
        optimizer = nnx.Optimizer(model, tx, wrt=nnx.Param)
        for _ in range(3):
            optimizer.update(model, jax.tree.map(jnp.sin, nnx.state(model, nnx.Param)))
        return jax.tree.leaves(nnx.state(model))

    found, expected = (updated(gx.soap(0.1, every=2, **more)) for more in ({"stacked": 2}, {}))
    assert_close(found, expected)


def test_in_a_checkpoint(tmp_path):
    ocp = pytest.importorskip("orbax.checkpoint")
    params, tx = draw(SINGLE, 0), gx.soap(1e-3, **ROLES, stacked=8)
    _, state = steps(tx, params, tx.init(params), number=2)
    with ocp.StandardCheckpointer() as saver:
        saver.save(tmp_path / "state", state)
        saver.wait_until_finished()
        found = saver.restore(tmp_path / "state", jax.eval_shape(tx.init, params))
    gx.check_restored(tx, params, found, digest=gx.digest(state))
    jax.tree.map(np.testing.assert_array_equal, found, state)


# ---- on devices


@eight
@by_axis_type
@by_maker
def test_only_gradients_and_updates_travel(name, axis_type):
    """In bfloat16 there and back as many bytes as a device's part of the parameters has in float32; each kind has one conditional."""
    make, options = MAKERS[name]
    found, step = travelled(make(**ROLES, **options, spread="fsdp", stacked=8), SINGLE, mesh_of({"fsdp": 8}, axis_type))
    assert set(found) == {"all-to-all"}
    assert found["all-to-all"] <= 1.05 + READ.get(name, 0.0)
    assert step.as_text().count(" conditional(") == (name != "dion")


@eight
@by_axis_type
@pytest.mark.parametrize("name", ["soap", "shampoo"])
def test_twelve_layers_on_eight_devices(name, axis_type):
    """They cost a third more, which `plan` knows; so does their state."""
    make, options = MAKERS[name]
    mesh, tx = mesh_of({"fsdp": 8}, axis_type), make(**ROLES, **options, spread="fsdp", stacked=8)
    found, _ = travelled(tx, GPT, mesh)
    assert sum(found.values()) <= 1.4
    params = put(draw(GPT, 0), mesh)
    plan, own = gx.plan(tx, params, mesh), sum(4 * x.size // 8 for x in params.values())
    assert sum(c.bytes for c in plan.collectives if c.part == "update") / own == pytest.approx(sum(found.values()), rel=0.05)
    (one,) = plan.assignments
    assert {n for *_, n in one.matrices} == {12}
    assert one.groups == ((8, (2, 2, 2, 2), 1 / 8),)
    assert one.padded_bytes / one.bytes == pytest.approx(1 / 4)
    local = lambda x: np.prod(x.sharding.shard_shape(x.shape)) * x.dtype.itemsize
    assert plan.state_bytes == pytest.approx(sum(map(local, jax.tree.leaves(gx.init_sharded(tx, params)))), abs=16)


def test_a_plan_knows_that_what_is_stacked_comes_back_to_its_parameters():
    """Under ZeRO-1 no new parameter is gathered, as none is of layers in one leaf; so much travels as the compiler has."""
    plan = lambda tx, shapes: gx.plan(
        tx, {k: jax.ShapeDtypeStruct(x, jnp.float32) for k, x in shapes.items()}, {"data": 2, "fsdp": 4},
        {k: P(*(None,) * (len(x) - 2), "fsdp", None) for k, x in shapes.items()}, zero="data",
    )  # fmt: skip
    bytes_of = lambda plan: {(c.part, c.kind, c.axes): c.bytes for c in plan.collectives}
    one = bytes_of(plan(gx.scale_by_soap(**ROLES, spread="fsdp"), {"w": (8, 16, 16)}))
    several = bytes_of(plan(gx.scale_by_soap(**ROLES, spread="fsdp", stacked=4), SINGLE))
    assert one == several


SIZES = [{"fsdp": 8}, {"fsdp": 4}, {"data": 2, "fsdp": 4}, {"fsdp": 4, "tensor": 2}]


@eight
@by_axis_type
@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_meshes(sizes, axis_type):
    """With other devices than it was filled up for it is right, too: the state's layout does not depend on them."""
    mesh, params = mesh_of(sizes, axis_type), draw({**LEAVES, **BESIDE}, 0)
    across = "tensor" if "tensor" in sizes else None
    spec = lambda x: P(*(None,) * (x.ndim - 2), "fsdp", across) if x.ndim > 1 else P()
    options = {**ROLES, "every": 2}
    tx, one = gx.scale_by_soap(**options, spread="fsdp", wire=None, stacked=4), gx.scale_by_soap(**options)
    fits = lambda x: all(n % sizes.get(a or "", 1) == 0 for n, a in zip(x.shape, (*spec(x), None, None, None), strict=False))
    where = lambda x: spec(x) if fits(x) else P()
    placed = put(params, mesh, where)
    first = gx.init_sharded(tx, placed)
    found = steps(tx, placed, first, lambda tree: put(tree, mesh, where))
    assert_close((found[0], leaf_by_leaf(tx, found[1], params)), steps(one, params, one.init(params)), 1e-4, 1e-4)
    assert jax.tree.map(jnp.shape, found[1]) == jax.tree.map(jnp.shape, tx.init(params))
    for x, y in zip(jax.tree.leaves(first), jax.tree.leaves(found[1]), strict=True):
        assert x.sharding.is_equivalent_to(y.sharding, x.ndim)


@pytest.mark.aot
@by_axis_type
@pytest.mark.parametrize("name", ["soap", "shampoo", "psgd_kron", "asgo", "splus"])
def test_on_the_h100(name, axis_type):
    pytest.importorskip("jax_cuda12_plugin")
    make, options = MAKERS[name]
    mesh = Mesh(np.array(aot.h100()[:8]), ("fsdp",), axis_types=(axis_type,))
    tx, where = make(**ROLES, **options, spread="fsdp", stacked=8), NamedSharding(mesh, P("fsdp", None))
    params = {f"w{i}": jax.ShapeDtypeStruct((512, 512), jnp.float32, sharding=where) for i in range(8)}
    shaped = lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s)
    state = jax.tree.map(shaped, jax.eval_shape(tx.init, params), gx.state_shardings(tx, params))
    found = hlo.collectives(compiled(tx, params, state))
    own = sum(4 * x.size // 8 for x in params.values())
    assert sum(size for _, size in found) <= (1.05 + READ.get(name, 0.0)) * own
    assert {kind for kind, _ in found} == {"all-to-all"}


@eight
def test_a_state_rests_with_its_matrices():
    mesh, tx = mesh_of({"fsdp": 8}, AUTO), gx.scale_by_soap(**ROLES, spread="fsdp", stacked=8)
    params = put(draw(SINGLE, 0), mesh)
    state = gx.init_sharded(tx, params)
    stacks = [x for x in jax.tree.leaves(state) if x.ndim == 3]
    assert len(stacks) == 6
    assert all(x.sharding.shard_shape(x.shape) == (1, 16, 16) for x in stacks)
    step = compiled(tx, params, state)
    assert hlo.collectives(step)


@eight
def test_leaves_that_are_split_in_different_ways():
    """They are brought to where the first of them is."""
    mesh, params = mesh_of({"fsdp": 8}, EXPLICIT), draw(SINGLE, 0)
    specs = {k: P("fsdp") if i % 2 else P(None, "fsdp") for i, k in enumerate(params)}
    place = lambda tree: {k: jax.device_put(x, NamedSharding(mesh, specs[k])) for k, x in tree.items()}
    tx, one = gx.scale_by_soap(**ROLES, every=2, spread="fsdp", wire=None, stacked=8), gx.scale_by_soap(**ROLES, every=2)
    placed = place(params)
    found = steps(tx, placed, gx.init_sharded(tx, placed), place)
    assert_close(found[0], steps(one, params, one.init(params))[0], 1e-4, 1e-4)
    assert all(jax.typeof(found[0][k]).sharding.spec == jax.typeof(placed[k]).sharding.spec for k in params)


# ---- errors


@pytest.mark.fast
@by_maker
def test_none_and_less_are_no_numbers(name):
    with pytest.raises(gx.HyperparameterError, match="stacked"):
        MAKERS[name][0](stacked=0)


def test_a_gradient_of_another_shape_is_named():
    params, tx = draw(SINGLE, 0), gx.scale_by_soap(**ROLES, stacked=8)
    with pytest.raises(gx.StructureError, match=r"at 'w3' .*\(4, 16\).*\(16, 16\)"):
        tx.update({**params, "w3": jnp.ones((4, 16))}, tx.init(params), params)


def test_a_state_that_is_held_otherwise_is_refused():
    params, tx = draw(SINGLE, 0), gx.scale_by_soap(**ROLES, stacked=8)
    with pytest.raises(gx.StructureError, match="w0"):
        tx.update(params, gx.scale_by_soap(**ROLES).init(params))
