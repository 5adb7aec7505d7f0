"""Ours handed to libraries that import Optax themselves, through their own entry points; and what JAX may do to a transformation.

`tests/clients` runs more libraries, with gradxform in Optax's place.
"""

import copy
import functools
import pickle

import jax
import jax.numpy as jnp
import jax.test_util
import numpy as np
import optax
import pytest

import gradxform

OPTIMIZERS = {
    "muon": gradxform.muon(0.05),
    "clip, adamw, schedule": gradxform.chain(
        gradxform.clip_by_global_norm(1.0), gradxform.adamw(gradxform.cosine_decay_schedule(0.05, 200), mask=gradxform.by_ndim(2))
    ),
}
by_optimizer = pytest.mark.parametrize("tx", OPTIMIZERS.values(), ids=OPTIMIZERS)


def regression():
    """Inputs, and outputs that a small network can learn: predicting 0 costs about 1."""
    r = np.random.default_rng(0)
    x = r.standard_normal((64, 4))
    y = np.tanh(x @ r.standard_normal((4, 2))).sum(1, keepdims=True)
    return jnp.asarray(x, jnp.float32), jnp.asarray(y / y.std(), jnp.float32)


X, Y = regression()
STEPS, LEARNED = 100, 0.05


def squared_error(prediction):
    return jnp.mean((prediction - Y) ** 2)


# Neural networks


@by_optimizer
def test_flax_train_state(tx):
    linen, train_state = pytest.importorskip("flax.linen"), pytest.importorskip("flax.training.train_state")
    model, traces = linen.Sequential([linen.Dense(16), jnp.tanh, linen.Dense(1)]), []
    params = model.init(jax.random.key(0), X)["params"]
    create = lambda tx: train_state.TrainState.create(apply_fn=model.apply, params=params, tx=tx)

    @jax.jit
    def step(state):
        traces.append(None)
        loss, grads = jax.value_and_grad(lambda p: squared_error(state.apply_fn({"params": p}, X)))(state.params)
        return state.apply_gradients(grads=grads), loss

    state = create(tx)
    first = step(state)[1]
    for _ in range(STEPS):
        state, loss = step(state)
    assert loss < LEARNED < first
    assert state.step == STEPS
    step(create(copy.deepcopy(tx)))
    assert len(traces) == 1, "an equal optimizer in a new TrainState traces nothing"


@pytest.mark.fast
@by_optimizer
def test_nnx_optimizer(tx):
    nnx = pytest.importorskip("flax.nnx")
    rngs = nnx.Rngs(0)
    model = nnx.Sequential(nnx.Linear(4, 16, rngs=rngs), jnp.tanh, nnx.Linear(16, 1, rngs=rngs))
    optimizer = nnx.Optimizer(model, tx, wrt=nnx.Param)

    @nnx.jit
    def step(model, optimizer):
        loss, grads = nnx.value_and_grad(lambda m: squared_error(m(X)))(model)
        optimizer.update(model, grads)
        return loss

    first = step(model, optimizer)
    for _ in range(STEPS):
        loss = step(model, optimizer)
    assert loss < LEARNED < first


@pytest.mark.fast
@pytest.mark.filterwarnings("ignore:.*look turned:UserWarning")  # as they are
@by_optimizer
def test_equinox_model_with_none_leaves(tx):
    equinox = pytest.importorskip("equinox")
    model = equinox.nn.MLP(4, 1, 16, depth=1, activation=jnp.tanh, key=jax.random.key(0))
    arrays = equinox.filter(model, equinox.is_inexact_array)
    assert None in jax.tree.leaves(arrays, is_leaf=lambda x: x is None)

    @equinox.filter_jit
    def step(model, state):
        loss, grads = equinox.filter_value_and_grad(lambda m: squared_error(jax.vmap(m)(X)))(model)
        updates, state = tx.update(grads, state, equinox.filter(model, equinox.is_inexact_array))
        return equinox.apply_updates(model, updates), state, loss

    state = tx.init(arrays)
    first = step(model, state)[2]
    for _ in range(STEPS):
        model, state, loss = step(model, state)
    assert loss < LEARNED < first


# Solvers


def rosenbrock(y, args):
    return args * (y["b"] - y["a"] ** 2) ** 2 + (1 - y["a"]) ** 2


@pytest.mark.fast
@pytest.mark.parametrize(("tx", "curvature"), [(gradxform.adam(0.05), 100.0), (gradxform.sgd(0.1, 0.9), 1.0)], ids=["adam", "sgd"])
def test_optimistix_minimiser(tx, curvature):
    optimistix = pytest.importorskip("optimistix")
    if jax.config.jax_check_tracer_leaks:
        pytest.skip("JAX's check for leaks fails in Optimistix's loop, with Optax's optimizers too")
    solver = optimistix.OptaxMinimiser(tx, rtol=1e-6, atol=1e-6)
    start = {"a": jnp.array(-0.5), "b": jnp.array(1.0)}
    solution = optimistix.minimise(rosenbrock, solver, start, args=curvature, max_steps=5000)
    np.testing.assert_allclose([solution.value["a"], solution.value["b"]], [1, 1], atol=5e-3)


# What JAX and Python do to a transformation


def draw_trees():
    r = np.random.default_rng(1)
    draw = lambda *shape: jnp.asarray(r.standard_normal(shape), jnp.float32)
    return {"b": draw(4), "w": draw(6, 4)}, [{"b": draw(4), "w": draw(6, 4)} for _ in range(4)]


PARAMS, GRADS = draw_trees()
NOT_B = {"b": False, "w": True}


def train(tx, params=PARAMS, state=None, grads=GRADS):
    """Steps along given gradients, in Optax's own words."""
    state = tx.init(params) if state is None else state
    step = jax.jit(tx.update)
    for g in grads:
        updates, state = step(g, state, params)
        params = optax.apply_updates(params, updates)
    return params, state


def assert_close(ours, expected, rtol=1e-6, atol=1e-7):
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=rtol, atol=atol), ours, expected)


def assert_equal(ours, expected):
    assert jax.tree.structure(ours) == jax.tree.structure(expected)
    jax.tree.map(np.testing.assert_array_equal, ours, expected)


@gradxform.elementwise(needs=("value",))
def scale_by_value(g, s, p, c):
    """u = value g"""
    return c.value * g, s


@pytest.mark.fast
def test_static_argument():
    traces = []

    @functools.partial(jax.jit, static_argnums=0)
    def update(tx, g, state, params):
        traces.append(tx)
        return tx.update(g, state, params)

    def make(rate):
        adamw = gradxform.adamw(gradxform.cosine_decay_schedule(rate, 10), b1=jnp.array(0.9), mask=NOT_B)
        return gradxform.named_chain(("clip", gradxform.clip_by_global_norm(1.0)), ("adamw", adamw))

    state = make(0.1).init(PARAMS)
    first, again, other = (update(make(rate), GRADS[0], state, PARAMS)[0] for rate in (0.1, 0.1, 0.2))
    assert traces == [make(0.1), make(0.2)]
    assert_equal(first, again)
    assert_close(other, jax.tree.map(lambda u: 2 * u, first))


@pytest.mark.fast
@by_optimizer
def test_scan_carries_the_state(tx):
    def body(carry, g):
        params, state = carry
        updates, state = tx.update(g, state, params)
        return (gradxform.apply_updates(params, updates), state), None

    stacked = jax.tree.map(lambda *gs: jnp.stack(gs), *GRADS)
    (params, state), _ = jax.jit(lambda p: jax.lax.scan(body, (p, tx.init(p)), stacked))(PARAMS)
    assert_close((params, state), train(tx), rtol=1e-5, atol=1e-5)


@pytest.mark.fast
@pytest.mark.parametrize("make", [gradxform.adamw, gradxform.muon])
def test_vmap_over_learning_rates(make):
    rates = [0.01, 1.0]
    together = jax.vmap(lambda rate: train(make(rate))[0])(jnp.array(rates))
    for i, rate in enumerate(rates):
        assert_close(jax.tree.map(lambda x, i=i: x[i], together), train(make(rate))[0], rtol=1e-5, atol=1e-5)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("make", [lambda r: gradxform.adamw(r), lambda r: gradxform.sgd(0.1, r), lambda r: gradxform.adam(0.1, r)])
def test_gradient_with_respect_to_a_hyperparameter(make):
    """Against finite differences, through three steps on a quadratic whose gradients depend on the parameters."""

    def final(hyperparameter):
        tx = make(hyperparameter)
        params = jnp.array([1.0, -2.0, 0.5])
        state = tx.init(params)
        for _ in range(3):
            updates, state = tx.update(jnp.array([1.0, 3.0, 9.0]) * params, state, params)
            params = gradxform.apply_updates(params, updates)
        return jnp.sum(params**2)

    jax.test_util.check_grads(final, (jnp.array(0.3),), order=1, modes=("rev",), rtol=1e-6)


@pytest.mark.fast
@pytest.mark.parametrize(
    "tx",
    [*OPTIMIZERS.values(), gradxform.adafactor(0.1, 4, momentum=0.9), gradxform.add_noise(0.1, 0.5, jax.random.key(0))],
    ids=[*OPTIMIZERS, "adafactor", "add_noise"],
)
def test_donation(tx):
    @functools.partial(jax.jit, donate_argnums=(0, 1))
    def step(params, state, g):
        updates, state = tx.update(g, state, params)
        return gradxform.apply_updates(params, updates), state

    params = jax.tree.map(jnp.array, PARAMS)
    carry = (params, tx.init(params))
    for g in GRADS:
        given = jax.tree.leaves(carry)
        carry = step(*carry, g)
        assert all(x.is_deleted() for x in given)
    assert_close(carry[0], train(tx)[0], rtol=1e-5, atol=1e-5)


def is_matrix(path, leaf):
    return leaf.ndim == 2


COPIED = [
    *OPTIMIZERS.values(),
    scale_by_value(),
    gradxform.adam(jnp.array(1e-3), mu_dtype=jnp.bfloat16),
    gradxform.add_noise(0.1, 0.5, jax.random.key(0)),
    gradxform.masked(gradxform.trace(0.9), gradxform.by_leaf(is_matrix)),
    gradxform.named_chain(("freeze", gradxform.freeze(NOT_B)), ("lion", gradxform.lion(gradxform.linear_schedule(0.1, 0.0, 4)))),
    gradxform.partition({"a": gradxform.lamb(0.1), "b": gradxform.sgd(0.1)}, {"w": "a", "default": "b"}),
    gradxform.apply_if_finite(gradxform.adafactor(0.1), 3),
]


@pytest.mark.parametrize(
    "duplicate", [copy.copy, copy.deepcopy, lambda tx: pickle.loads(pickle.dumps(tx))], ids=["copy", "deepcopy", "pickle"]
)
@pytest.mark.parametrize("tx", COPIED, ids=range(len(COPIED)))
def test_copies_are_equal_and_work(tx, duplicate):
    other = duplicate(tx)
    assert type(other) is type(tx)
    assert other == tx
    assert hash(other) == hash(tx)
    assert repr(other) == repr(tx)
    run = lambda tx: tx.update(GRADS[0], tx.init(PARAMS), PARAMS, value=2.0)
    ours, expected = run(other), run(tx)
    assert_equal(ours[0], expected[0])
