"""What a kernel refreshes seldom: when, of which matrices, in how many conditionals, and what a bad gradient leaves behind."""

from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradxform as gx
from gradxform.kernels import Axes, BlockSize, Clock, Decay, Every, Field, Phase, Roles, Since, Start, per_leaf


class WhitenedState(NamedTuple):
    count: Clock
    factor: Annotated[Any, Field("leaf", axes=Axes(0, 0))]
    root: Annotated[Any, Field("leaf", axes=Axes(0, 0), first=lambda zero: jnp.eye(zero.shape[0], dtype=zero.dtype), constant=True)]
    refreshed: Annotated[Any, Field("leaf", axes=Axes())]
    since: Since = None


def _inverse(old, factor, t):
    return jnp.linalg.inv(factor + jnp.eye(len(factor), dtype=factor.dtype)), t


def _identity(old, factor, t):
    return jnp.eye(len(factor), dtype=factor.dtype), -t


@per_leaf(WhitenedState, stack=True, sees="matrix")
def whitened(
    g, s, p, c,
    decay: Decay = 0.9, *, every: Every = 3, start: Start = None, phase: Phase = "all", weight_dimension_numbers: Roles = None,
    block_size: BlockSize = None, skip: int = 0,
):  # fmt: skip
    """A matrix times an inverse that is made afresh now and then."""
    factor = decay * s.factor + (1 - decay) * g @ g.T
    t = c.t.astype(g.dtype)
    instead = [(c.t == skip, _identity)] if skip else []
    root, refreshed = c.refresh(_inverse, (s.root, s.refreshed), factor, t, instead=instead)
    return root @ g, s._replace(factor=factor, root=root, refreshed=refreshed)


SHAPES = {"a": (4, 6), "b": (4, 6), "c": (5, 5), "l": (3, 4, 6)}
DIMS = gx.WeightDimensionNumbers(-2, -1)


def draw(seed, shapes=SHAPES):
    r = np.random.default_rng(seed)
    return {k: jnp.asarray(r.normal(size=shape), jnp.float32) for k, shape in shapes.items()}


def truth(gs, due, decay=0.9):
    """The updates of one matrix in float64."""
    factor, root, out = 0, np.eye(gs[0].shape[0]), []
    for t, g in enumerate(map(np.float64, gs), 1):
        factor = decay * factor + (1 - decay) * g @ g.T
        if due(t):
            root = np.linalg.inv(factor + np.eye(len(factor)))
        out.append(root @ g)
    return out


def run(tx, steps, state=None, first=0):
    state, out = tx.init(draw(0)) if state is None else state, []
    update = jax.jit(lambda g, s: tx.update(g, s))  # traced afresh: on the engine that is chosen
    for t in range(first, first + steps):
        u, state = update(draw(t), state)
        out.append(u)
    return out, state


def matrices(tree):
    return {k: x for k, x in tree.items() if x.ndim == 2} | {f"l{i}": x for i, x in enumerate(tree["l"])}


DUE = {
    "every third": ({}, lambda t: t % 3 == 0),
    "from the first on": ({"start": 1}, lambda t: t == 1 or t % 3 == 0),
    "late": ({"every": 2, "start": 5}, lambda t: t == 5 or (t > 5 and t % 2 == 0)),
    "a growing gap": ({"every": lambda k: 1 + k // 3}, lambda t: t in (1, 2, 3, 5, 8, 12)),
}


@pytest.mark.parametrize(("options", "due"), DUE.values(), ids=DUE)
@pytest.mark.parametrize("engine", ["stacked", "leaf"])
def test_when_it_is_due(options, due, engine):
    with gx.kernels.engine(engine):
        found, _ = run(whitened(weight_dimension_numbers=DIMS, **options), 9)
    gs = [matrices(draw(t)) for t in range(9)]
    for k in gs[0]:
        for u, expected in zip(found, truth([g[k] for g in gs], due), strict=True):
            np.testing.assert_allclose(matrices(u)[k], expected, rtol=2e-4, atol=2e-4)


def test_without_compiling():
    """Where the number of the update is known, only what is due is computed."""
    tx = whitened(every=2)
    state, gs = tx.init({"c": draw(0)["c"]}), [{"c": draw(t)["c"]} for t in range(3)]
    with gx.kernels.engine("plain"):
        for g, expected in zip(gs, truth([g["c"] for g in gs], lambda t: t == 2), strict=True):
            u, state = tx.update(g, state)
            np.testing.assert_allclose(u["c"], expected, rtol=2e-4, atol=2e-4)


def test_one_conditional_for_all_matrices_of_a_kind():
    tx, g = whitened(weight_dimension_numbers=DIMS), draw(0)
    conditionals = lambda tx: jax.jit(lambda g, s: tx.update(g, s)).lower(g, tx.init(g)).compile().as_text().count(" conditional(")
    assert conditionals(tx) == 2  # 4 x 6 (five of them), and 5 x 5
    blocks = whitened(weight_dimension_numbers=DIMS, block_size=2)
    assert conditionals(blocks) == 4  # 2 x 2 of every leaf, and what is over: 2 x 1, 1 x 2, 1 x 1 of the 5 x 5


def test_in_turn():
    """Each matrix has its turn once in `every` updates, and as many as can be have another's; at the start all do."""
    tx = whitened(every=3, start=1, phase="spread", weight_dimension_numbers=DIMS)
    _, state = run(tx, 1)
    assert all(np.all(x == 1) for x in jax.tree.leaves(state.refreshed))
    seen = []
    for t in range(1, 7):
        _, state = run(tx, 1, state, t)
        seen.append(np.concatenate([np.ravel(x) for x in jax.tree.leaves(state.refreshed)]) == t + 1)
    counts = np.sum(seen, 1)
    assert counts.tolist() == [2, 2, 2] * 2
    assert np.all(np.sum(seen[:3], 0) == 1)
    assert np.all(np.sum(seen[3:], 0) == 1)


@pytest.mark.fast
def test_in_turn_needs_a_number():
    tx = whitened(every=lambda k: 2, phase="spread", weight_dimension_numbers=DIMS)
    state = tx.init(draw(0))
    with pytest.raises(gx.HyperparameterError, match="must be a whole number there"):
        tx.update(draw(0), state)


@pytest.mark.fast
def test_another_function_where_a_condition_holds():
    _, state = run(whitened(every=2, skip=3, weight_dimension_numbers=DIMS), 3)
    assert all(np.all(x == -3) for x in jax.tree.leaves(state.refreshed))
    np.testing.assert_array_equal(state.root["c"], np.eye(5))


@pytest.mark.fast
def test_what_is_not_finite_leaves_the_old_one():
    tx, bad = whitened(every=1, weight_dimension_numbers=DIMS), draw(1)
    _, state = run(tx, 1)
    bad["l"] = bad["l"].at[1, 0, 0].set(jnp.nan)
    _, after = tx.update(bad, state)
    same = np.all(np.asarray(after.root["l"]) == np.asarray(state.root["l"]), (1, 2))
    assert same.tolist() == [False, True, False]
    assert np.all(np.isfinite(after.root["l"]))


@pytest.mark.parametrize("every", [3, lambda k: 1 + k // 3], ids=["a number", "a schedule"])
def test_resumed_at_a_step_it_goes_on_as_if_never_stopped(every):
    tx = whitened(every=every, weight_dimension_numbers=DIMS)
    _, through = run(tx, 9)
    _, state = run(tx, 4)
    state = gx.resume_at(tx, state._replace(count=jnp.zeros([], jnp.int32)), 4)
    _, state = run(tx, 5, state, 4)
    jax.tree.map(np.testing.assert_array_equal, state, through)


@pytest.mark.fast
def test_over_seeds_and_inside_a_scan():
    tx = whitened(weight_dimension_numbers=DIMS)
    found, _ = run(tx, 4)
    gs = jax.tree.map(lambda *xs: jnp.stack(xs), *map(draw, range(4)))
    scan = lambda gs: jax.lax.scan(lambda s, g: tx.update(g, s)[::-1], tx.init(draw(0)), gs)[1]
    pairs = jax.jit(jax.vmap(scan))(jax.tree.map(lambda x: jnp.stack([x, 2 * x]), gs))
    for k in SHAPES:
        np.testing.assert_allclose(pairs[k][0], np.stack([u[k] for u in found]), rtol=1e-4, atol=1e-4)


@pytest.mark.fast
def test_inside_wrappers_that_skip():
    tx = gx.apply_if_finite(whitened(every=2, weight_dimension_numbers=DIMS), 3)
    state, bad = tx.init(draw(0)), jax.tree.map(lambda x: x * jnp.nan, draw(0))
    for g in (draw(0), bad, draw(1)):
        _, state = tx.update(g, state)
    assert all(np.all(x == 2) for x in jax.tree.leaves(state.inner_state.refreshed))


@pytest.mark.fast
def test_a_kernel_says_when():
    @per_leaf(WhitenedState, sees="matrix")
    def never(g, s, p, c):
        return g, s._replace(root=c.refresh(lambda old: old, s.root))

    state = never().init(draw(0, {"c": (5, 5)}))
    with pytest.raises(gx.MissingArgumentError, match="no argument says when"):
        never().update(draw(0, {"c": (5, 5)}), state)


@pytest.mark.fast
def test_a_kernel_says_what_it_sees():
    @per_leaf(WhitenedState)
    def whole(g, s, p, c, every: Every = 2):
        return g, s._replace(root=c.refresh(lambda old: old, s.root))

    state = whole().init(draw(0, {"c": (5, 5)}))
    with pytest.raises(gx.MissingArgumentError, match="says what it sees"):
        whole().update(draw(0, {"c": (5, 5)}), state)


@pytest.mark.fast
@pytest.mark.parametrize("start", [None, 3])
@pytest.mark.parametrize("every", [2, lambda k: 1 + k // 3], ids=["a number", "a schedule"])
def test_arguments_that_stand_behind_a_mark(every, start):
    """None and a schedule are taken where they are said, too, and not only by default."""
    tx = gx.soap(1e-3, every=every, start=start, stacked=None, block_size=None)
    assert (tx.init({"w": jnp.ones((3, 3))})[0].since is None) != callable(every)
    assert tx == gx.soap(1e-3, every=every, start=start)


COUNT_NOTHING = [{"every": 0}, {"every": None}, {"every": 1.5}, {"start": 0}, {"start": "soon"}, {"block_size": 0}]


@pytest.mark.fast
@pytest.mark.parametrize("arguments", COUNT_NOTHING, ids=str)
def test_numbers_that_count_nothing(arguments):
    with pytest.raises(gx.HyperparameterError, match=r"must be a whole number (from 1 on|in \[1, inf\))"):
        whitened(**arguments)
