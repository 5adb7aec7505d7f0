"""Line searches: the conditions, Optax's numbers, how often the objective is traced and evaluated, and parts of the parameters."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy
from oracle import optax

import gradxform as gx

ZOOM = gx.scale_by_zoom_linesearch(20)
ARMIJO = gx.scale_by_backtracking_linesearch(20, store_grad=True)
SEARCHES = pytest.mark.parametrize("tx", [ZOOM, ARMIJO], ids=["zoom", "backtracking"])


def waves(x, c):
    """Smooth, bounded below, neither convex nor a polynomial; another function for every c."""
    return jnp.sum(jnp.cos(c[0] * x + c[1]) + 0.1 * c[2] * x**2) + 0.05 * jnp.sum(x) ** 4


def rosenbrock(x):
    return jnp.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


def search(tx, f, x, u, state=None, **kwargs):
    value, grad = jax.value_and_grad(f)(x, **kwargs)
    return tx.update(u, tx.init(x) if state is None else state, x, value=value, grad=grad, value_fn=f, **kwargs)


def descend(tx, f, x, steps):
    """Gradient descent with a search, as one scan: the states."""

    def step(carry, _):
        x, state = carry
        u, state = search(tx, f, x, -jax.grad(f)(x), state)
        return (x + u, state), state

    return jax.jit(lambda x: jax.lax.scan(step, (x, tx.init(x)), None, length=steps)[1])(x)


class Random(NamedTuple):
    """Random functions, starting points and directions of descent, and what is needed to judge a step."""

    c: jax.Array
    x: jax.Array
    u: jax.Array

    def phi(self, a):
        """Values and slopes at steps a, one for each function."""
        f = jax.vmap(jax.value_and_grad(waves))(self.x + a[:, None] * self.u, self.c)
        return np.asarray(f[0]), np.sum(np.asarray(f[1]) * np.asarray(self.u), axis=1)


def draw(n):
    r = np.random.default_rng(0)
    c, x = jnp.asarray(r.uniform(0.5, 3, (n, 3, 4))), jnp.asarray(r.normal(size=(n, 4)))
    size = jnp.asarray(10.0 ** r.uniform(-3, 1, (n, 4)))  # a diagonal preconditioner: still a direction of descent
    return Random(c, x, -size * jax.vmap(jax.grad(waves))(x, c))


def test_zoom_finds_the_strong_wolfe_conditions(x64):
    many, tx = draw(200), gx.scale_by_zoom_linesearch(30, curv_rtol=0.3, approx_dec_rtol=None)
    u, state = jax.jit(jax.vmap(lambda c, x, u: search(tx, waves, x, u, c=c)))(*many)
    a, (f0, df0) = np.asarray(state.learning_rate), many.phi(np.zeros(200))
    f, df = many.phi(a)
    met = (f <= f0 + 1e-4 * a * df0) & (np.abs(df) <= 0.3 * np.abs(df0) + 1e-12)
    assert met.mean() > 0.98, "an interval of 1e-5 ends the others"
    claimed = (np.asarray(state.info.decrease_error) <= 0) & (np.asarray(state.info.curvature_error) <= 0)
    assert (met | ~claimed).all(), "what the report says is so"
    assert (f <= f0 + 1e-4 * a * df0)[a > 0].all(), "those without small curvature decrease too"
    np.testing.assert_allclose(u, a[:, None] * many.u, rtol=1e-12)
    np.testing.assert_allclose(state.value, f, rtol=1e-12)


def test_backtracking_takes_the_first_step_that_decreases_enough(x64):
    many, tx = draw(200), gx.scale_by_backtracking_linesearch(80, slope_rtol=0.1, decrease_factor=0.7, store_grad=True)
    u, state = jax.jit(jax.vmap(lambda c, x, u: search(tx, waves, x, u, c=c)))(*many)
    f0, df0 = many.phi(np.zeros(200))
    enough = lambda a: many.phi(a)[0] <= f0 + 0.1 * a * df0
    a = np.asarray(state.learning_rate)
    assert enough(a).all()
    assert (~enough(a / 0.7) | (a == 1)).all(), "the step before was too long"
    np.testing.assert_allclose(a, 0.7 ** (np.asarray(state.info.num_linesearch_steps) - 1.0), rtol=1e-12)
    np.testing.assert_allclose(state.grad, jax.vmap(jax.grad(waves))(many.x + u, many.c), rtol=1e-9)


@pytest.mark.parametrize("f", [lambda x: x**4 - x**3 - x, lambda x: jnp.exp(-4 * x) + x**2, lambda x: (x - 7) ** 2], ids="abc")
def test_zoom_agrees_with_scipy(f, x64):
    x = jnp.asarray(0.3)
    u = -jax.grad(f)(x)
    a, *_ = scipy.optimize.line_search(f, jax.grad(f), np.float64(0.3), np.asarray(u), c2=0.5)
    _, state = search(gx.scale_by_zoom_linesearch(30, curv_rtol=0.5, approx_dec_rtol=None), f, x, u)
    assert float(state.learning_rate) == pytest.approx(float(a), rel=1e-6)


@pytest.mark.parametrize(
    "make",
    [
        lambda o: o.scale_by_zoom_linesearch(20),
        lambda o: o.scale_by_zoom_linesearch(7, 0.02, 1e-3, 3.0, 1e-3, 0.1, None, 1e-3, "one"),
        lambda o: o.scale_by_backtracking_linesearch(20, store_grad=True),
        lambda o: o.scale_by_backtracking_linesearch(5, 0.2, 0.5, 3.0, 0.01, 1e-3, 1e-3),
    ],
    ids=["zoom", "zoom, other arguments", "backtracking", "backtracking, other arguments"],
)
def test_numbers_are_optax_numbers(make, x64):
    ours, theirs = (descend(make(o), rosenbrock, jnp.asarray([-1.2, 1.0, 0.5]), 8) for o in (gx, optax))
    assert str(jax.tree.structure(ours)) == str(jax.tree.structure(theirs))
    for x, y in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-6, atol=1e-9)


@SEARCHES
def test_an_unjitted_update_traces_the_objective_and_compiles_it_once(tx, compiled):  # optax #1171
    traces = []

    def f(x, scale):
        traces.append(1)
        return scale * jnp.sum(x**2)

    def step(state, scale):
        _, state = tx.update(-0.1 * x, state, x, value=scale * 5.0, grad=2 * scale * x, value_fn=f, scale=scale)
        assert float(state.value) == pytest.approx(float(f(x - 0.1 * state.learning_rate * x, scale)), rel=1e-5)
        return state

    x = jnp.asarray([1.0, 2.0])
    with compiled() as first:
        state = step(tx.init(x), jnp.asarray(1.0))
    with compiled() as later:
        for i in range(2, 5):
            state = step(state, jnp.asarray(float(i)))
    assert "jit(traced)" in first
    assert "jit(traced)" not in later
    assert len(traces) == 4 * (1 + 1), "once in the search, and once in the comparison"


def test_a_function_that_reads_something_else_is_another_function():  # optax #1171: the cache must not be stale
    shift = 0.0

    def f(x):
        return jnp.sum((x - shift) ** 2)

    for shift in (1.0, 3.0):
        _, state = search(ZOOM, f, jnp.zeros(2), jnp.full(2, shift))
        assert float(state.value) == pytest.approx(0.0)


@SEARCHES
def test_every_point_is_evaluated_once(tx):
    seen = []

    def f(x):
        jax.debug.callback(lambda x: seen.append(float(x)), x)
        return jnp.exp(-4 * x) + x**2

    x = jnp.asarray(-1.0)
    value, grad = jax.value_and_grad(lambda x: jnp.exp(-4 * x) + x**2)(x)
    _, state = tx.update(-grad, tx.init(x), x, value=value, grad=grad, value_fn=f)
    jax.effects_barrier()
    assert len(seen) == len(set(seen)) == int(state.info.num_linesearch_steps) > 1


PARAMS = {"a": jnp.asarray([1.0, -2.0]), "b": {"c": jnp.float32(3)}}
LABELS = {"a": "search", "b": "still"}


def whole(p, anchor):
    return jnp.sum((p["a"] - anchor["a"]) ** 2) * p["b"]["c"] ** 2 + anchor["b"]["c"]


@SEARCHES
def test_inside_partition_and_masked(tx):  # optax #1649
    """`value_fn` sees whole parameters, and its own arguments whole, though they have the structure of the parameters."""
    anchor = jax.tree.map(jnp.zeros_like, PARAMS)
    value, grad = jax.value_and_grad(whole)(PARAMS, anchor)
    extra = {"value": value, "grad": grad, "value_fn": whole, "anchor": anchor}
    alone = lambda a: whole({**PARAMS, "a": a}, anchor)
    expected, _ = search(gx.chain(gx.scale(-1.0), tx), alone, PARAMS["a"], grad["a"])
    descent = gx.chain(gx.scale(-1.0), tx)
    outers = [
        gx.partition({"search": descent, "still": gx.set_to_zero()}, LABELS),
        gx.chain(gx.masked(descent, {"a": True, "b": False}), gx.freeze({"a": False, "b": True})),
        gx.partition({"search": gx.masked(descent, {"*": True}), "still": gx.set_to_zero()}, LABELS),
    ]
    states = [outer.init(PARAMS) for outer in outers]
    step = lambda grad: [outer.update(grad, s, PARAMS, **extra) for outer, s in zip(outers, states, strict=True)]
    for found in (jax.jit(step)(grad), [outers[0].update(grad, states[0], PARAMS, **extra)]):
        for (u, after), state in zip(found, states, strict=False):
            np.testing.assert_allclose(u["a"], expected, rtol=1e-6)
            assert float(u["b"]["c"]) == 0
            assert jax.tree.structure(after) == jax.tree.structure(state)


def test_unjitted_inside_partition_the_objective_is_traced_once_in_an_update():  # optax #1649, #1171
    traces = []

    def f(p):
        traces.append(1)
        return jnp.sum(p["a"] ** 2) * p["b"]["c"]

    tx, params = gx.partition({"search": ZOOM, "still": gx.sgd(0.1)}, LABELS), PARAMS
    state = tx.init(params)
    for _ in range(3):
        grad = {"a": 2 * params["a"] * params["b"]["c"], "b": {"c": jnp.sum(params["a"] ** 2)}}
        u, state = tx.update({**grad, "a": -grad["a"]}, state, params, value=1e3, grad=grad, value_fn=f)
        params = gx.apply_updates(params, u)
    assert len(traces) == 3


@SEARCHES
@pytest.mark.parametrize("missing", ["params", "value", "grad", "value_fn"])
def test_what_is_missing_is_named(tx, missing):
    x = jnp.ones(2)
    given = {"params": x, "value": 1.0, "grad": x, "value_fn": lambda x: jnp.sum(x)}
    del given[missing]
    with pytest.raises(gx.MissingArgumentError, match=f"scale_by_(zoom|backtracking)_linesearch: .*`{missing}`"):
        tx.update(x, tx.init(x), **given)


@SEARCHES
def test_arguments_of_the_objective(tx):  # optax #1269
    x = jnp.ones(2)
    given = {"params": x, "value": 2.0, "grad": 2 * x, "value_fn": lambda x, *, data, power=2: data * jnp.sum(x**power)}
    with pytest.raises(gx.MissingArgumentError, match=r"`value_fn` takes `data`, which was not given.*data=\.\.\."):
        tx.update(-x, tx.init(x), **given)
    u, _ = tx.update(-x, tx.init(x), **given, data=1.0, hessian="of another stage")
    np.testing.assert_allclose(u, -x)


def test_the_objective_returns_one_number():
    x = jnp.ones(2)
    for f, came in [(lambda x: x, r"shape \(2,\)"), (lambda x: (jnp.sum(x), x), "a tuple"), (lambda x: jnp.int32(1), "int32")]:
        with pytest.raises(gx.StructureError, match=f"`value_fn` must return one real number.*{came}"):
            ZOOM.update(-x, ZOOM.init(x), x, value=1.0, grad=x, value_fn=f)


def test_ranges():
    with pytest.raises(gx.HyperparameterError, match="scale_by_zoom_linesearch: `max_linesearch_steps`"):
        gx.scale_by_zoom_linesearch(0)
    with pytest.raises(gx.HyperparameterError, match="`initial_guess_strategy` must be one of 'keep', 'one'"):
        gx.scale_by_zoom_linesearch(5, initial_guess_strategy="two")
    for bad in (-1.0, float("nan"), lambda k: 0.5):
        with pytest.raises(gx.HyperparameterError, match="scale_by_backtracking_linesearch: `decrease_factor`"):
            gx.scale_by_backtracking_linesearch(5, decrease_factor=bad)
    assert repr(gx.scale_by_zoom_linesearch(5, tol=1e-3)) == "scale_by_zoom_linesearch(5, tol=0.001)"
    assert gx.scale_by_backtracking_linesearch(5, increase_factor=np.inf) == gx.scale_by_backtracking_linesearch(
        5, 1e-4, 0.8, np.inf
    )


@SEARCHES
def test_dtypes_are_stable(tx):  # optax #1175, #1210, #1207
    """Scalars are float32 or wider, and nothing that is passed, weakly typed or of another width, makes a step compile again."""
    for wide in (False, True):
        with jax.enable_x64(wide):
            x = {"narrow": jnp.ones(2, jnp.bfloat16), "wide": jnp.ones(3, float)}
            f = lambda x: jnp.sum(x["narrow"] ** 2).astype(x["wide"].dtype) + jnp.sum(x["wide"] ** 2)
            state = tx.init(x)
            assert state.value.dtype == state.learning_rate.dtype == float if wide else jnp.float32
            step = jax.jit(lambda s, value, tx=tx, x=x, f=f: tx.update(x, s, x, value=value, grad=x, value_fn=f))
            u, after = step(state, 5.0)
            step(after, 5.0)
            assert step._cache_size() == 1
            assert jax.tree.map(lambda x: (x.dtype, x.weak_type), after) == jax.tree.map(lambda x: (x.dtype, x.weak_type), state)
            assert jax.tree.map(lambda x: x.dtype, u) == jax.tree.map(lambda x: x.dtype, x)
            jax.lax.scan(lambda s, _, step=step: (step(s, 5.0)[1], None), state, None, length=2)


@SEARCHES
def test_complex_is_two_reals(tx, x64):  # optax #1141, #1142: Optax's backtracking takes the slope of the mirror image
    m = jnp.asarray([[1, -2], [3, 4], [-4 + 2j, 5 - 3j]])
    f = lambda z: jnp.sum(jnp.abs(m @ z) ** 1.5)
    pair = lambda z: jnp.stack([z.real, z.imag])
    f2 = lambda x: f(jax.lax.complex(x[0], x[1]))
    z = jnp.asarray([1 - 1j, 0.5 + 1j])
    value, g = jax.value_and_grad(f)(z)
    turned = -(0.3 + 0.1j) * g.conj()
    u, state = tx.update(turned, tx.init(z), z, value=value, grad=g.conj(), value_fn=f)
    u2, state2 = tx.update(pair(turned), tx.init(pair(z)), pair(z), value=value, grad=jax.grad(f2)(pair(z)), value_fn=f2)
    np.testing.assert_allclose(pair(u), u2, rtol=1e-9)
    assert state.info == state2.info
    np.testing.assert_allclose(pair(state.grad.conj()), state2.grad, rtol=1e-9)
    np.testing.assert_allclose(state.grad, jax.grad(f)(z + u), rtol=1e-9)


@SEARCHES
def test_a_search_that_found_nothing_does_not_stop_the_next(tx):
    """Optax goes on from a step of 0, for ever."""
    x, bad = jnp.ones(2), lambda x: jnp.sum(x) * jnp.nan
    u, state = tx.update(-x, tx.init(x), x, value=2.0, grad=x, value_fn=bad)
    assert float(state.learning_rate) == 0
    np.testing.assert_array_equal(u, 0)
    assert float(state.value) == 2.0
    np.testing.assert_array_equal(state.grad, x)
    u, state = search(tx, lambda x: jnp.sum(x**2), x, -x, state)
    assert float(state.learning_rate) > 0.5


def test_verbose(capsys):
    f = lambda x: jnp.sum(x**2)
    x = jnp.asarray([-60.0, 0.0])
    steps = {
        "The updates do not descend": gx.scale_by_zoom_linesearch(5, verbose=True).update,
        "`max_learning_rate` was reached": gx.scale_by_zoom_linesearch(10, 10.0, curv_rtol=0.5, verbose=True).update,
        "no step satisfies": gx.scale_by_backtracking_linesearch(3, verbose=True).update,
    }
    up = jnp.asarray([1.0, 0.0])
    for (said, update), u in zip(steps.items(), (-up, up, -up), strict=True):
        update(u, update.init(x), x, value=f(x), grad=2 * x, value_fn=f)
        jax.effects_barrier()
        assert said in capsys.readouterr().out
    quiet = gx.scale_by_zoom_linesearch(20, verbose=True)
    quiet.update(up, quiet.init(x), x, value=f(x), grad=2 * x, value_fn=f)
    jax.effects_barrier()
    assert capsys.readouterr().out == ""


def test_value_and_grad_from_state():
    params = {"value": jnp.ones(2), "grad": jnp.asarray(2.0)}  # names that the state has too
    calls = []

    def f(p, scale=1.0):
        calls.append(1)
        return scale * (jnp.sum(p["value"] ** 2) + p["grad"] ** 2)

    value_and_grad = gx.value_and_grad_from_state(f)
    tx = gx.chain(gx.sgd(0.1), gx.scale_by_backtracking_linesearch(5, store_grad=True))
    state = tx.init(params)
    value, grad = value_and_grad(params, state=state)
    assert len(calls) == 1
    u, state = tx.update(grad, state, params, value=value, grad=grad, value_fn=f)
    params, traced = gx.apply_updates(params, u), len(calls)
    kept = value_and_grad(params, state=state)
    assert len(calls) == traced, "nothing is traced where nothing is evaluated"
    for got in (kept, jax.jit(lambda p, s: value_and_grad(p, state=s))(params, state)):
        for x, y in zip(jax.tree.leaves(got), jax.tree.leaves(jax.value_and_grad(f)(params)), strict=True):
            np.testing.assert_allclose(x, y, rtol=1e-6)
    with pytest.raises(KeyError, match="2 parts of the state"):
        value_and_grad(params, state=(state, state))
    for other in (gx.adam(0.1), gx.scale_by_backtracking_linesearch(5)):
        with pytest.raises(gx.MissingArgumentError, match="there is no"):
            value_and_grad(params, state=other.init(params))


def test_a_gradient_of_a_part_is_not_taken_for_the_whole():  # optax #1649
    f = lambda p: jnp.sum(p["a"] ** 2) * p["b"]["c"]
    tx = gx.partition({"search": gx.chain(gx.scale(-1.0), ZOOM), "still": gx.sgd(0.1)}, LABELS)
    state, value_and_grad = tx.init(PARAMS), gx.value_and_grad_from_state(f)
    value, grad = value_and_grad(PARAMS, state=state)
    u, state = tx.update(grad, state, PARAMS, value=value, grad=grad, value_fn=f)
    params = gx.apply_updates(PARAMS, u)
    got, expected = value_and_grad(params, state=state), jax.value_and_grad(f)(params)
    assert jax.tree.all(jax.tree.map(jnp.allclose, got, expected))


@pytest.mark.fast
@pytest.mark.parametrize("make", [gx.scale_by_zoom_linesearch, gx.scale_by_backtracking_linesearch])
@pytest.mark.parametrize("name", ["increase_factor", "slope_rtol", "max_learning_rate", "most"])
def test_numbers_that_a_search_refuses(make, name):
    """Negative ones and NaN; a factor of 0 is allowed, and then a search does not grow."""
    call = lambda value: make(value) if name == "most" else make(5, **{name: value})
    for bad in (-1, float("nan")):
        with pytest.raises(gx.HyperparameterError):
            call(bad)
    if name != "most":
        assert call(0) == call(0)
