"""What a wrapper of a user gets by its declaration alone; its author imports nothing but `gradxform` and `gradxform.kernels`."""

import copy
import dataclasses
import pickle
from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracle import optax

import gradxform as gx
from gradxform.kernels import (
    Clock,
    Decay,
    Field,
    Inner,
    NonNegative,
    ParamsCopy,
    Shared,
    Updates,
    View,
    elementwise,
    is_gap,
    update_if,
    wrapper,
)
from gradxform.testing import case_for, examine

PARAMS = {"w": jnp.linspace(-1.0, 1.0, 24).reshape(4, 6), "b": jnp.full(3, 0.5)}
SCHEDULE = gx.linear_schedule(1.0, 0.0, 10)


def gradients(k):
    rng = np.random.default_rng(k)
    return jax.tree.map(lambda p: jnp.asarray(rng.normal(size=p.shape), p.dtype), PARAMS)


def run(tx, steps=3, params=PARAMS, **extra):
    state, u = tx.init(params), None
    for k in range(steps):
        u, state = tx.update(gradients(k), state, params, **extra)
    return u, state


def same(a, b, rtol=1e-6):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=rtol), a, b)


def times(k, tree):
    return jax.tree.map(lambda x: k * x, tree)


# ---- one in ten lines


class DampedState(NamedTuple):
    count: Clock
    inner_state: Inner


@wrapper(DampedState, scope="elementwise")
def damped(g, s, p, c, inner: gx.GradientTransformation, factor: NonNegative = 0.5):
    """Shrink what comes out of a transformation."""
    u, inner_state = inner.update(g, s.inner_state, p)
    return c.map(lambda x: factor * x, u), s._replace(inner_state=inner_state)


def test_it_obeys_the_laws():
    report = examine(damped(gx.adam(0.1)))
    assert report.ok, report
    assert {f.law.number for f in report.findings if f.outcome == "skipped"} == {8, 14, 15, 17, 18, 25}


@pytest.mark.fast
def test_it_is_a_value():
    tx = damped(gx.adam(SCHEDULE, b1=0.8), 0.25)
    assert repr(damped(gx.scale(2.0))) == "damped(scale(2.0), factor=0.5)"
    assert repr(damped(gx.scale(2.0), factor=0.25)) == "damped(scale(2.0), factor=0.25)"
    names = {name: getattr(gx, name) for name in dir(gx)}
    assert eval(repr(tx), {**names, "damped": damped}) == tx
    assert tx == damped(gx.adam(SCHEDULE, b1=0.8), factor=0.25)
    assert hash(tx) == hash(damped(gx.adam(SCHEDULE, b1=0.8), factor=0.25))
    assert len({tx, damped(gx.adam(SCHEDULE, b1=0.8)), damped(gx.adam(SCHEDULE), 0.25)}) == 3
    assert pickle.loads(pickle.dumps(tx)) == tx == copy.deepcopy(tx)


@pytest.mark.fast
def test_it_checks_its_arguments():
    with pytest.raises(gx.HyperparameterError, match=r"damped: `factor` must be .* in \[0, inf\), but got -1"):
        damped(gx.sgd(0.1), -1)
    with pytest.raises(gx.StructureError, match=r"damped: expected a GradientTransformation .* Did you forget to call it"):
        damped(gx.sgd)
    with pytest.raises(gx.HyperparameterError, match=r"damped has no argument 'factr'\. Did you mean 'factor'"):
        damped(gx.sgd(0.1), factr=1)
    tx = damped(gx.sgd(0.1))
    with pytest.raises(gx.StructureError, match="damped: the state should be a DampedState"):
        tx.update(PARAMS, gx.adam(0.1).init(PARAMS))


@pytest.mark.fast
def test_it_begins_on_abstract_parameters_and_on_a_mesh():
    tx, avals = damped(gx.adam(0.1)), lambda tree: jax.tree.map(lambda x: (x.shape, x.dtype), tree)
    abstract = jax.eval_shape(lambda: PARAMS)
    assert avals(tx.init(abstract)) == avals(jax.eval_shape(tx.init, abstract)) == avals(tx.init(PARAMS))
    mesh = jax.sharding.Mesh(np.asarray(jax.devices()[:4]), ("x",))
    rows = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("x"))
    state = tx.init({"w": jax.device_put(PARAMS["w"], rows)})
    assert state.inner_state[0].mu["w"].sharding.is_equivalent_to(rows, 2)
    assert all(x.sharding.mesh == mesh for x in jax.tree.leaves(state))


@pytest.mark.fast
def test_extra_arguments_reach_what_is_inside():
    u, _ = run(damped(gx.polyak_sgd()), value=2.0, unknown=None)
    same(u, times(0.5, run(gx.polyak_sgd(), value=2.0)[0]))
    with pytest.raises(gx.MissingArgumentError, match="polyak"):
        run(damped(gx.polyak_sgd()))


@pytest.mark.fast
def test_its_clock_is_set_and_its_moments_go_over():
    tx = damped(gx.adam(SCHEDULE))
    resumed = gx.resume_at(tx, tx.init(PARAMS), 6)
    assert (int(resumed.count), int(resumed.inner_state[0].count), int(resumed.inner_state[1].count)) == (6, 6, 6)
    bare, state = gx.adam(SCHEDULE), run(gx.adam(SCHEDULE))[1]
    there = gx.transfer_state(bare, state, tx, PARAMS)
    assert there.fresh == ()
    assert there.carried == ("damped.count", "adam.count", "adam.mu", "adam.nu", "learning_rate.count")
    same(there.state.inner_state, state, rtol=0)
    back = gx.transfer_state(tx, run(tx)[1], bare, PARAMS)
    same(back.state, run(tx)[1].inner_state, rtol=0)


@pytest.mark.fast
def test_hyperparameters_by_name():
    tx, state = damped(gx.adam(SCHEDULE, b1=0.8)), damped(gx.adam(SCHEDULE, b1=0.8)).init(PARAMS)
    found = gx.get_hyperparams(tx, state)
    assert (found["factor"], found["b1"], float(found["learning_rate"])) == (0.5, 0.8, 1.0)
    new, state = gx.set_hyperparams(tx, state, b1=0.7, factor=0.1)
    assert new == damped(gx.adam(SCHEDULE, b1=0.7), 0.1)
    assert new.update(PARAMS, state)[1].count == 1


@pytest.mark.fast
def test_eval_params_are_those_of_what_is_inside():
    inner = gx.schedule_free_sgd(0.1)
    _, state = run(damped(inner))
    found = gx.eval_params(damped(inner), state, PARAMS)
    same(found, gx.eval_params(inner, state.inner_state, PARAMS), rtol=0)
    assert not np.allclose(found["w"], PARAMS["w"])


@pytest.mark.fast
def test_scope_and_flatten():
    scopes = [damped(tx).update.scope for tx in (gx.adam(0.1), gx.lamb(0.1), gx.normalize(), optax.sgd(0.1))]
    assert scopes == ["elementwise", "per_leaf", "per_tree", "per_tree"]
    same(run(gx.flatten(damped(gx.adam(0.1))))[0], run(damped(gx.adam(0.1)))[0], rtol=1e-5)
    with pytest.raises(gx.StructureError, match=r"flatten: scale_by_trust_ratio.* is per_leaf"):
        gx.flatten(damped(gx.lamb(0.1)))


@pytest.mark.fast
def test_with_transformations_of_optax_inside_and_around():
    expected = times(0.5, run(gx.adam(0.1))[0])
    same(run(damped(optax.adam(0.1)))[0], expected, rtol=1e-5)
    same(run(optax.chain(damped(gx.adam(0.1)), optax.scale(1.0)))[0], expected)
    same(run(optax.chain(damped(gx.polyak_sgd())), value=2.0)[0], times(0.5, run(gx.polyak_sgd(), value=2.0)[0]))
    same(run(optax.masked(damped(gx.adam(0.1)), {"w": True, "b": True}))[0], expected)


@pytest.mark.parametrize(
    "around",
    [
        lambda tx: gx.chain(gx.scale(1.0), tx),
        lambda tx: gx.named_chain(("tx", tx)),
        lambda tx: gx.masked(tx, {"w": True, "b": True}),
        lambda tx: gx.partition({"x": tx, "y": gx.set_to_zero()}, {"w": "x", "b": "x"}),
        lambda tx: gx.accumulate(tx, 1),
        lambda tx: gx.apply_if_finite(tx, 3),
        damped,
    ],
    ids=["chain", "named_chain", "masked", "partition", "accumulate", "apply_if_finite", "damped"],
)
def test_within_others_compiled_and_in_a_scan(around):
    tx, factor = around(damped(gx.adam(0.1))), 0.25 if around is damped else 0.5
    expected = times(factor, run(gx.adam(0.1))[0])
    same(run(tx)[0], expected)
    same(run(gx.GradientTransformationExtraArgs(tx.init, jax.jit(tx.update)))[0], expected, rtol=1e-5)
    stacked = jax.tree.map(lambda *xs: jnp.stack(xs), *map(gradients, range(3)))
    _, us = jax.lax.scan(lambda s, g: tx.update(g, s, PARAMS)[::-1], tx.init(PARAMS), stacked)
    same(jax.tree.map(lambda x: x[-1], us), expected, rtol=1e-5)


# ---- a schedule


@wrapper(NamedTuple("PlainState", [("inner_state", Inner)]))
def damped_without_a_clock(g, s, p, c, inner: gx.GradientTransformation, factor: NonNegative = 0.5):
    u, inner_state = inner.update(g, s.inner_state, p)
    return gx.tree.scale(factor, u), s._replace(inner_state=inner_state)


@pytest.mark.fast
@pytest.mark.parametrize("make", [damped, damped_without_a_clock])
def test_an_argument_may_be_a_schedule(make):
    tx = make(gx.trace(0.9), SCHEDULE)
    for k in (0, 4):
        state = gx.resume_at(tx, tx.init(PARAMS), k)
        u, after = tx.update(PARAMS, state)
        same(u, times(SCHEDULE(k), PARAMS))
        assert int(after.count) == k + 1
        assert float(gx.get_hyperparams(tx, after)["factor"]) == float(SCHEDULE(k))
    assert "count" not in damped_without_a_clock(gx.trace(0.9)).init(PARAMS)._fields
    assert examine(tx, laws=[2, 3, 12, 16, 19]).ok


# ---- a state that is that of the transformation inside


@wrapper(Inner, scope="elementwise")
def twice(g, s, p, c, inner: gx.GradientTransformation):
    u, s = inner.update(g, s, p)
    return inner.update(u, s, p)


def test_a_state_that_is_the_inner_one():
    tx = twice(gx.adam(SCHEDULE))
    assert jax.tree.structure(tx.init(PARAMS)) == jax.tree.structure(gx.adam(SCHEDULE).init(PARAMS))
    _, state = tx.update(PARAMS, tx.init(PARAMS))
    assert int(state[0].count) == 2
    assert gx.get_hyperparams(tx, state)["b1"] == 0.9
    assert examine(tx, laws=[1, 2, 3, 4, 10, 12, 16, 19]).ok
    inner = gx.schedule_free_sgd(0.1)
    state = run(inner)[1]
    same(gx.eval_params(twice(inner), state, PARAMS), gx.eval_params(inner, state, PARAMS), rtol=0)
    moved = gx.transfer_state(inner, state, twice(inner), PARAMS)
    assert not moved.fresh
    same(moved.state, state, rtol=0)


# ---- two transformations, one of which does not go out


class MixedState(NamedTuple):
    left: Inner
    right: Inner


@wrapper(MixedState, scope="elementwise")
def mixed(g, s, p, c, first: gx.GradientTransformation, second: gx.GradientTransformation, share: Decay = 0.5):
    """A weighted mean of two."""
    u, left = first.update(g, s.left, p)
    v, right = second.update(g, s.right, p)
    return c.map(lambda x, y: (1 - share) * x + share * y, u, v), s._replace(left=left, right=right)


class ProbedState(NamedTuple):
    probe_state: Annotated[Inner, Field(aside=True)]
    inner_state: Inner


@wrapper(ProbedState, scope="elementwise")
def probed(g, s, p, c, probe: gx.GradientTransformation, inner: gx.GradientTransformation):
    _, probe_state = probe.update(g, s.probe_state, p)
    u, inner_state = inner.update(g, s.inner_state, p)
    return u, s._replace(probe_state=probe_state, inner_state=inner_state)


def test_two_inside():
    tx = mixed(gx.adam(SCHEDULE), gx.sgd(0.3, 0.9), 0.25)
    assert tx == mixed(gx.adam(SCHEDULE), gx.sgd(0.3, 0.9), 0.25) != mixed(gx.sgd(0.3, 0.9), gx.adam(SCHEDULE), 0.25)
    u, state = run(tx)
    parts = [run(gx.adam(SCHEDULE)), run(gx.sgd(0.3, 0.9))]
    same(u, jax.tree.map(lambda x, y: 0.75 * x + 0.25 * y, parts[0][0], parts[1][0]))
    same(state, MixedState(parts[0][1], parts[1][1]))
    assert gx.get_hyperparams(tx, state)["share"] == 0.25
    assert int(gx.resume_at(tx, tx.init(PARAMS), 6).left[0].count) == 6
    moved = gx.transfer_state(gx.adam(SCHEDULE), parts[0][1], tx, PARAMS)
    same(moved.state.left, parts[0][1], rtol=0)
    assert moved.fresh == ("trace.trace",)
    assert tx.update.scope == "elementwise"
    assert mixed(gx.adam(0.1), gx.lamb(0.1)).update.scope == "per_leaf"
    assert examine(tx, laws=[1, 2, 3, 4, 10, 11, 12, 16, 19]).ok
    with pytest.raises(gx.StructureError, match="mixed, second: expected a GradientTransformation"):
        mixed(gx.sgd(0.1), 3)


@pytest.mark.fast
def test_what_is_aside_does_not_say_what_to_evaluate_with():
    average = gx.schedule_free_sgd(0.1)
    tx = probed(average, gx.sgd(0.1))
    _, state = run(tx)
    assert gx.eval_params(tx, state, PARAMS) is PARAMS
    tx = probed(average, average)
    _, state = run(tx)
    same(gx.eval_params(tx, state, PARAMS), gx.eval_params(average, state.inner_state, PARAMS), rtol=0)
    same(run(tx)[0], run(average)[0], rtol=0)


# ---- a transformation that is made


class TunedState(NamedTuple):
    calls: Annotated[Shared, Field(first=lambda: jnp.zeros([], jnp.int32))]
    tuned_state: Annotated[Inner, Field(made=lambda decay: gx.trace(decay))]


@wrapper(TunedState, scope="elementwise")
def tuned(g, s, p, c, decay: Decay = 0.9):
    u, tuned_state = c.bind(gx.trace(decay)).update(g, s.tuned_state, p)
    return u, s._replace(calls=s.calls + 1, tuned_state=tuned_state)


@pytest.mark.fast
def test_one_that_is_made():
    tx = tuned(0.5)
    u, state = run(tx)
    same(u, run(gx.trace(0.5))[0])
    assert int(state.calls) == 3
    assert tx.update.scope == "elementwise"
    assert list(tx.update.members) == [gx.trace(0.5)]
    moved = gx.transfer_state(gx.trace(0.5), run(gx.trace(0.5))[1], tx, PARAMS)
    same(moved.state.tuned_state.trace, run(gx.trace(0.5))[1].trace, rtol=0)
    assert moved.fresh == ("tuned.calls",)
    assert gx.get_hyperparams(tx, state)["tuned.decay"] == 0.5
    assert gx.set_hyperparams(tx, state, **{"tuned.decay": 0.25})[0] == tuned(0.25)
    with pytest.raises(gx.StructureError, match=r"tuned\(0\.5\) makes what is inside from its own arguments"):
        gx.set_hyperparams(tx, state, **{"trace.decay": 0.25})
    assert examine(tx, laws=[1, 2, 3, 4, 10, 12, 16, 18, 19]).ok


class SeveralState(NamedTuple):
    states: Annotated[Inner, Field(made=lambda txs: txs)]


@wrapper(SeveralState, scope="elementwise")
def in_turn(g, s, p, c, txs: tuple):
    states = []
    for tx, state in zip(map(c.bind, txs), s.states, strict=True):
        g, state = tx.update(g, state, p)
        states.append(state)
    return g, s._replace(states=tuple(states))


@pytest.mark.fast
def test_several_in_one_field():
    txs = (gx.trace(0.9), gx.schedule_free_sgd(SCHEDULE))
    tx, other = in_turn(txs), gx.chain(*txs)
    (u, state), (v, after) = run(tx), run(other)
    same((u, state.states), (v, after))
    same(gx.eval_params(tx, state, PARAMS), gx.eval_params(other, after, PARAMS), rtol=0)
    same(gx.resume_at(tx, tx.init(PARAMS), 3).states, gx.resume_at(other, other.init(PARAMS), 3), rtol=0)
    assert gx.transfer_state(other, after, tx, PARAMS).fresh == ()
    assert tx == in_turn((gx.trace(0.9), gx.schedule_free_sgd(SCHEDULE)))


# ---- a view


@dataclasses.dataclass(frozen=True)
class Values(View):
    """The values of a dictionary, as a list."""

    keys: tuple[str, ...]

    def see(self, tree):
        return [tree[k] for k in self.keys]

    def put(self, tree, seen):
        return dict(zip(self.keys, seen, strict=True))


@wrapper(NamedTuple("ListedState", [("inner_state", Inner)]), scope="elementwise", view=lambda tree: Values(tuple(sorted(tree))))
def listed(g, s, p, c, inner: gx.GradientTransformation):
    u, inner_state = inner.update(g, s.inner_state, p)
    return u, s._replace(inner_state=inner_state)


def update_of_lists(g, s, p=None, *, value_fn, diagonal, **extra):
    assert all(isinstance(x, list) for x in (g, p, diagonal))
    return jax.tree.map(lambda x, d: x * d * value_fn(p), g, diagonal), s


def test_a_view_is_used_by_everything():
    inner = gx.schedule_free_sgd(0.1)
    tx = listed(inner)
    u, state = run(tx)
    same(u, run(inner)[0])
    assert isinstance(state.inner_state.z, list)
    same(gx.eval_params(tx, state, PARAMS), gx.eval_params(inner, run(inner)[1], PARAMS))
    assert isinstance(tx.init(jax.eval_shape(lambda: PARAMS)).inner_state.z, list)
    assert examine(tx, laws=[1, 2, 3, 12, 16, 19]).ok
    tx = listed(gx.GradientTransformationExtraArgs(lambda p: (), update_of_lists))
    u, _ = tx.update(PARAMS, tx.init(PARAMS), PARAMS, value_fn=lambda p: jnp.sum(p["b"]), diagonal=times(2.0, PARAMS), unknown=1)
    same(u, jax.tree.map(lambda p: 3 * p * p, PARAMS))


# ---- leaf by leaf


def add(g, total):
    return g + total, total + g


class SumState(NamedTuple):
    total: Annotated[Updates, Field(stored="total_dtype")]


@wrapper(SumState, scope="elementwise")
def summing(g, s, p, c, total_dtype=None, closed: bool = False):
    """The sum so far goes out; where it is kept in another dtype, it is rounded there."""
    f = (lambda x, y: add(x, y)) if closed else add
    u, total = c.map(f, g, s.total, like=(g, s.total))
    return u, s._replace(total=total)


@pytest.mark.fast
@pytest.mark.parametrize("closed", [False, True])
def test_map_is_wide_and_rounds_like_what_it_is_told(closed):
    tx, x = summing(closed=closed), jnp.asarray([1 + 2**-7, 2**-9], jnp.bfloat16)
    u, state = tx.update(x, tx.init(x))
    u, state = tx.update(x, state)
    assert (u.dtype, state.total.dtype) == (jnp.bfloat16, jnp.float32)
    np.testing.assert_array_equal(state.total, 2 * np.asarray(x, np.float32))
    narrow = summing("float16", closed)
    state = narrow.update(jnp.float32(1 + 2**-12), narrow.init(jnp.float32(0)))[1]
    assert state.total.dtype == jnp.float16
    assert float(state.total) == 1.0


@pytest.mark.parametrize("closed", [False, True])
def test_map_steps_over_holes_and_whole_numbers(closed):
    tx = summing(closed=closed)
    params = {"w": jnp.ones(2), "none": None, "masked": gx.MaskedNode(), "n": jnp.arange(3), "late": jnp.ones(1)}
    grads = {**params, "n": np.zeros(3, jax.dtypes.float0), "late": None}
    u, state = tx.update(grads, tx.init(params), params)
    assert u["none"] is u["late"] is None
    assert u["masked"] == gx.MaskedNode()
    assert u["n"].dtype == jax.dtypes.float0
    same(u["w"], jnp.ones(2))
    same(state.total["w"], jnp.ones(2))
    same(state.total["late"], jnp.zeros(1))
    same(state.total["n"], jnp.zeros(3, jnp.int32))
    assert examine(tx).ok


class NoState(NamedTuple):
    pass


traces = []


def counted(x, k):
    traces.append(x.dtype)
    return k * x


@wrapper(NoState)
def mapped(g, s, p, c, f, other=None, k: NonNegative = 1.0):
    return c.map(f, g, k=k) if other is None else c.map(f, g, other), s


@pytest.mark.fast
def test_map_traces_a_function_once_for_each_dtype_in_an_update():
    traces.clear()
    for k in range(3):
        g = {"a": jnp.ones(2), "b": jnp.ones(2), "c": jnp.ones(2, jnp.bfloat16)}
        same(mapped(counted, k=float(k)).update(g, ())[0], times(k, g))
    assert traces == [jnp.float32, jnp.float32] * 3  # of float32, and of bfloat16, which is widened


@pytest.mark.fast
def test_map_of_a_tree_that_does_not_fit():
    with pytest.raises(gx.StructureError, match=r"mapped: at 'w' the update has shape \(2,\), but .* has shape \(3,\)"):
        mapped(jnp.add, {"w": jnp.ones(3)}).update({"w": jnp.ones(2)}, ())
    with pytest.raises(gx.StructureError, match=r"mapped: .* They part at w, v"):
        mapped(jnp.add, {"v": jnp.ones(2)}).update({"w": jnp.ones(2)}, ())


# ---- a kernel on the wrapper's own record


class HeavyState(NamedTuple):
    trace: Updates
    start: Annotated[ParamsCopy, Field(constant=True)]
    inner_state: Inner


@elementwise(HeavyState, needs=("params",))
def _heavy(g, s, p, c, decay: Decay = 0.9):
    trace = decay * s.trace + g
    return trace + (p - s.start), s._replace(trace=trace)


@wrapper(HeavyState, scope="elementwise", needs=("params",))
def heavy(g, s, p, c, inner: gx.GradientTransformation, decay: Decay = 0.9, often: int = 1):
    """Momentum behind a transformation, by a kernel."""
    u, inner_state = update_if(jnp.asarray(often > 0), inner, g, s.inner_state, p)
    u, s = c.lift(_heavy, u, s, p)
    return u, s._replace(inner_state=inner_state)


def test_lift_runs_a_kernel_on_the_wrappers_own_state():
    tx = heavy(gx.adam(0.1), 0.5)
    u, state = run(tx)
    expected, after = run(gx.chain(gx.adam(0.1), gx.trace(0.5)))
    same(u, expected)
    same(state.trace, after[1].trace)
    same(state.inner_state, after[0])
    same(state.start, PARAMS)
    scheduled = heavy(gx.adam(0.1), gx.constant_schedule(0.5))
    same(run(scheduled)[0], expected)
    assert examine(tx).ok
    with pytest.raises(gx.MissingArgumentError, match="heavy: needs the parameters"):
        tx.update(PARAMS, tx.init(PARAMS))


# ---- the library's own, which are declared alike


OWN = {
    "accumulate": gx.accumulate(gx.adam(0.1), 2, branch_free=True),
    "MultiSteps": gx.MultiSteps(gx.adam(0.1), 2).gradient_transformation(),
    "conditionally_transform": gx.conditionally_transform(gx.adam(0.1), lambda k: k % 2 == 0),
    "conditionally_mask": gx.conditionally_mask(gx.adam(0.1), lambda k: k % 2 == 0),
    "schedule_free": gx.schedule_free(gx.scale_by_rms(), SCHEDULE),
    "sam": gx.sam(gx.adam(0.1), gx.sgd(0.1), sync_period=3),
    "master_weights": gx.master_weights(gx.adam(0.1)),
    "reduce_on_plateau": gx.reduce_on_plateau(accumulation_size=2),
    "split_real_and_imaginary": gx.split_real_and_imaginary(gx.adam(0.1)),
    "inject_hyperparams": gx.inject_hyperparams(gx.adam)(SCHEDULE),
    "with_extra_args_support": gx.with_extra_args_support(gx.adam(0.1)),
    "apply_every": gx.apply_every(3),
    "flatten": gx.flatten(gx.adam(0.1)),
}


@pytest.mark.parametrize("name", OWN)
def test_the_scope_that_a_wrapper_of_the_library_declares_holds(name):
    assert OWN[name].update.scope == "elementwise"
    report = examine(OWN[name], laws=[4, 13])
    assert [f.outcome for f in report.findings] == ["holds", "holds"], report


@pytest.mark.fast
def test_lookahead_is_elementwise():
    tx = gx.lookahead(gx.adam(0.1), 2, 0.5)
    assert tx.update.scope == "elementwise"

    def steps(params, *grads):
        state, u = tx.init(params), None
        for g in grads:
            u, state = tx.update(g, state, params)
        return u

    flat = lambda tree: jnp.concatenate([x.ravel() for x in jax.tree.leaves(tree)])[::-1]
    other = times(0.5, PARAMS)
    whole = steps(gx.LookaheadParams(PARAMS, other), gradients(0), gradients(1))
    joined = steps(gx.LookaheadParams(flat(PARAMS), flat(other)), flat(gradients(0)), flat(gradients(1)))
    same((flat(whole.fast), flat(whole.slow)), (joined.fast, joined.slow), rtol=1e-5)


@pytest.mark.fast
@pytest.mark.parametrize("name", ["snapshot", "monitor"])
def test_what_measures_the_whole_tree_says_so(name):
    tx = gx.snapshot("norm", gx.tree.norm) if name == "snapshot" else gx.monitor({"norm": gx.tree.norm})
    assert tx.update.scope == "per_tree"
    with pytest.raises(gx.StructureError, match=r"flatten: .* is per_tree"):
        gx.flatten(tx)


@pytest.mark.fast
def test_a_wrapper_is_a_case_as_a_kernel_is():
    case = case_for(damped(gx.adam(0.1), 0.25))
    assert case.make(factor=0.75) == damped(gx.adam(0.1), 0.75)
    assert not is_gap(case.tx)


@pytest.mark.fast
@pytest.mark.parametrize(("begin", "after", "dtype"), [(0, 0.5, "float32"), (0, True, "int32"), (0.0, 1, "float32")])
def test_a_whole_number_becomes_a_fraction_but_no_fraction_or_flag_takes_another_dtype(begin, after, dtype):
    class NumberState(NamedTuple):
        x: Annotated[Shared, Field(first=lambda: jnp.asarray(begin))]

    @wrapper(NumberState)
    def numbered(g, s, p, c):
        return g, s._replace(x=jnp.asarray(after))

    _, s = numbered().update(jnp.ones(2), numbered().init(jnp.ones(2)))
    assert float(s.x) == after
    assert s.x.dtype == dtype
    assert not s.x.weak_type
