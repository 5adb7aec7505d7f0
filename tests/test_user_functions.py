"""Functions of the user's inside a transformation: never kept, evaluated anew in every un-jitted update, compiled only where their trace is
new; and the tables of what is compiled, when tracers are in the arguments and when threads share them.
"""

import functools
import gc
import threading
import weakref
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gradxform as gx

pytestmark = pytest.mark.usefixtures("all_in_use")

PARAMS = {"w": jnp.asarray([[0.5, -1.0, 2.0]] * 3), "b": jnp.asarray([1.0, 2.0])}
GRADS = {"w": jnp.asarray([[0.25, -0.5, 1.0]] * 3), "b": jnp.asarray([0.125, -2.0])}


def update(tx, **extra):
    return tx.update(GRADS, tx.init(PARAMS), PARAMS, **extra)[0]


def second(tx):
    _, state = tx.update(GRADS, tx.init(PARAMS), PARAMS)
    return tx.update(GRADS, state, PARAMS)[0]


def bowl(k, p):
    return sum(jnp.sum((x - k) ** 2) for x in jax.tree.leaves(p))


def searched(search, f):
    tx, (value, grad) = gx.chain(gx.sgd(1.0), search), jax.value_and_grad(f)(PARAMS)
    u, _ = tx.update(grad, tx.init(PARAMS), PARAMS, value=value, grad=grad, value_fn=f)
    return u


def kernel_of(f):
    @gx.elementwise()
    def mine(g, s, p, c, learning_rate: gx.NonNegative):
        return -learning_rate * f(g), s

    return mine


def kernel_with_a_state_of(f):
    class MineState(NamedTuple):
        mu: gx.Updates

    @gx.per_leaf(MineState, needs=("params",))
    def mine(g, s, p, c, b: gx.Decay = 0.5):
        mu = f(b * s.mu + g)
        return mu, s._replace(mu=mu)

    return mine


def kernel_with_a_total_of(f):
    @gx.per_tree(total=lambda g: jnp.sum(f(g)))
    def mine(g, s, p, c):
        return g / c.total, s

    return mine


def kernel_with_a_measure_of(f):
    @gx.per_tree(total=lambda g, s, p, c, k: k * jnp.sum(f(g)))
    def mine(g, s, p, c, k: gx.NonNegative = 2.0):
        return g / c.total, s

    return mine


def mapped_by(f):
    class MappedState(NamedTuple):
        pass

    @gx.wrapper(MappedState)
    def mine(g, s, p, c):
        return c.map(f, g), s

    return mine


def as_mask(f):
    return lambda params: jax.tree.map(lambda x: bool(f(1.0) > 0), params)


USES = {  # name -> (f -> numbers that depend on f(x)); f is called with numbers and with arrays
    "adopt(clip_value_fn=f)": lambda f: second(gx.contrib.adopt(0.1, clip_value_fn=lambda k: f(0.25 * k))),
    "chain(..., adopt(clip_value_fn=f))": lambda f: second(
        gx.chain(gx.clip(1.0), gx.contrib.adopt(0.1, clip_value_fn=lambda k: f(0.25 * k)), gx.scale(2.0))
    ),
    "add_regularizer(f)": lambda f: update(gx.add_regularizer(lambda p: jnp.sum(f(p)), 0.5)),
    "add_regularizer(f, whole_tree)": lambda f: update(gx.add_regularizer(lambda p: f(bowl(0.0, p)), 0.5, whole_tree=True)),
    "a schedule": lambda f: update(gx.adam(lambda k: 0.1 * f(1.0 + jnp.float32(k)))),
    "a schedule for a decay": lambda f: update(gx.add_decayed_weights(lambda k: f(1.0 + jnp.float32(k)))),
    "an injected schedule": lambda f: update(gx.inject_hyperparams(gx.sgd)(lambda k: f(1.0 + jnp.float32(k)))),
    "an injected factory": lambda f: update(gx.inject_hyperparams(lambda rate: gx.sgd(f(rate)))(rate=0.1)),
    "masked(..., f)": lambda f: update(gx.masked(gx.scale(3.0), as_mask(lambda x: f(x) - 1.5))),
    "adamw(mask=f)": lambda f: update(gx.adamw(0.1, weight_decay=0.5, mask=as_mask(lambda x: f(x) - 1.5))),
    "partition(..., f)": lambda f: update(
        gx.partition({"a": gx.scale(2.0), "b": gx.scale(3.0)}, lambda path, x: "a" if f(1.0) > 1.5 else "b")
    ),
    "conditionally_transform(..., f)": lambda f: update(
        gx.conditionally_transform(gx.scale(3.0), lambda k: f(1.0 + jnp.float32(k)) > 1.5)
    ),
    "conditionally_mask(..., f)": lambda f: update(gx.conditionally_mask(gx.scale(3.0), lambda k: f(1.0 + jnp.float32(k)) > 1.5)),
    "stateless(f)": lambda f: update(gx.stateless(lambda g, p: jax.tree.map(f, g))),
    "stateless_with_tree_map(f)": lambda f: update(gx.stateless_with_tree_map(lambda g, p: f(g))),
    "snapshot(f)": lambda f: gx.snapshot("it", lambda g: f(bowl(0.0, g))).update(GRADS, gx.snapshot("it", f).init(jnp.ones(())))[1],
    "muon(dimension numbers)": lambda f: update(
        gx.contrib.muon(
            0.1,
            muon_weight_dimension_numbers=lambda p: jax.tree.map(
                lambda x: gx.contrib.MuonDimensionNumbers() if x.ndim == 2 and f(1.0) > 1.5 else None, p
            ),
        )
    ),
    "zoom(value_fn=f)": lambda f: searched(gx.scale_by_zoom_linesearch(9), lambda p: bowl(f(1.0), p)),
    "backtracking(value_fn=f)": lambda f: searched(gx.scale_by_backtracking_linesearch(9), lambda p: bowl(f(1.0), p)),
    "minimize(f)": lambda f: gx.minimize(lambda p: bowl(f(1.0), p), PARAMS, gx.sgd(0.1), max_steps=3).params,
    "minimize(..., tx of f)": lambda f: (
        gx.minimize(lambda p: bowl(1.0, p), PARAMS, gx.sgd(lambda k: 0.1 * f(1.0)), max_steps=3).params
    ),
    "a kernel": lambda f: update(kernel_of(f)(0.1)),
    "a kernel with a state": lambda f: update(gx.chain(gx.scale(2.0), kernel_with_a_state_of(f)())),
    "a kernel with a total": lambda f: update(kernel_with_a_total_of(f)()),
    "a kernel with a measure": lambda f: update(kernel_with_a_measure_of(f)()),
    "c.map": lambda f: update(mapped_by(f)()),
}
ALL = pytest.mark.parametrize("use", USES.values(), ids=USES)


def same(xs, ys, rtol=1e-6):
    for x, y in zip(jax.tree.leaves(xs), jax.tree.leaves(ys), strict=True):
        np.testing.assert_allclose(x, y, rtol=rtol)


@ALL
def test_an_unjitted_update_sees_what_the_function_reads_today(use):
    seen = {"scale": 1.0}
    scaled = lambda x: seen["scale"] * x
    first = use(scaled)
    seen["scale"] = 2.0
    later = use(scaled)
    same(later, use(lambda x: 2.0 * x))
    assert any(np.any(x != y) for x, y in zip(jax.tree.leaves(first), jax.tree.leaves(later), strict=True)), "nothing depends on it"


@pytest.mark.parametrize("engine", ["leaf", "stacked", "tree", "plain"])
def test_one_transformation_sees_it_too_by_every_engine(engine):
    """Not only one that is made anew."""
    seen = {"limit": 0.1}
    tx = gx.contrib.adopt(1.0, clip_value_fn=lambda k: seen["limit"])
    theirs = optax.contrib.adopt(1.0, clip_value_fn=lambda k: seen["limit"])
    state, ref = tx.init(PARAMS), theirs.init(PARAMS)
    for limit in (0.1, 0.2, 0.3):
        seen["limit"] = limit
        with gx.engine(engine):
            u, state = tx.update(GRADS, state, PARAMS)
        expected, ref = theirs.update(GRADS, ref, PARAMS)
        same(u, expected)


class Model:
    def __init__(self):
        self.batch = 1.0

    def loss(self, p):
        return bowl(self.batch, p)


@pytest.mark.parametrize("of", ["attribute", "array in a list", "NumPy array written to"])
@pytest.mark.parametrize("make", [gx.scale_by_zoom_linesearch, gx.scale_by_backtracking_linesearch])
def test_a_search_along_an_objective_that_changes(make, of):
    model, data, numbers = Model(), [jnp.float32(1.0)], np.ones(1)
    value_fn = {
        "attribute": model.loss,
        "array in a list": lambda p: bowl(data[0], p),
        "NumPy array written to": lambda p: bowl(numbers.sum(), p),
    }[of]
    tx = gx.chain(gx.sgd(1.0), make(15))
    state = tx.init(PARAMS)
    for target in (1.0, 3.0):
        model.batch, data[0], numbers[0] = target, jnp.float32(target), target
        value, grad = jax.value_and_grad(value_fn)(PARAMS)
        u, after = tx.update(grad, state, PARAMS, value=value, grad=grad, value_fn=value_fn)
        assert float(after[-1].value) == pytest.approx(float(bowl(target, gx.apply_updates(PARAMS, u))), rel=1e-5, abs=1e-6)


MANY = ("adopt(clip_value_fn=f)", "a kernel", "a schedule", "conditionally_transform(..., f)")


@pytest.mark.parametrize("name", USES)
def test_two_hundred_functions_are_not_kept(name):
    """With all that they close over, and with the kernels made of them."""
    refs = []
    for _ in range(200 if name in MANY else 20):
        f = lambda x, k=2.0: k * x
        refs.append(weakref.ref(f))
        USES[name](f)
        del f
    gc.collect()
    assert sum(r() is not None for r in refs) <= 8


@pytest.mark.parametrize("name", ["adopt(clip_value_fn=f)", "a kernel with a state", "c.map", "zoom(value_fn=f)", "minimize(f)"])
def test_functions_whose_traces_differ_are_not_kept_either(name):
    refs = []
    for i in range(10):
        f = lambda x, k=1.0 + i: k * x
        refs.append(weakref.ref(f))
        USES[name](f)
        del f
    gc.collect()
    assert sum(r() is not None for r in refs) == 0


def test_what_a_dropped_transformation_holds_is_free_without_collecting():
    """No cycle keeps it: so no tracer in it is taken for a leak."""

    class Held:
        pass

    gc.collect()
    gc.disable()
    try:
        for make in (
            lambda held: gx.contrib.adopt(0.1, clip_value_fn=lambda k, held=held: k),
            lambda held: gx.chain(gx.clip_by_global_norm(1.0), gx.adamw(lambda k, held=held: 0.1)),
        ):
            held = Held()
            ref, tx = weakref.ref(held), make(held)
            jax.jit(tx.update)(GRADS, tx.init(PARAMS), PARAMS)
            update(tx)
            del tx, held
            assert ref() is None
    finally:
        gc.enable()


@ALL
def test_an_equal_trace_is_not_compiled_again(use, compiled):
    use(lambda x: 3.0 * x)
    use(lambda x: 3.0 * x)
    with compiled() as names:
        use(lambda x: 3.0 * x)
    assert not names


OPERATIONS = {
    "a derivative of its own": lambda x: jax.nn.softplus(x),
    "a loop": lambda x: jax.lax.scan(lambda c, k: (c * k, None), x, jnp.ones(3))[0],
    "a branch": lambda x: jax.lax.cond(jnp.sum(x) > 0, lambda x: x, lambda x: 2 * x, x),
    "a random number": lambda x: x + jax.random.uniform(jax.random.key(0)),
    "an array": lambda x: x + PARAMS["b"].sum(),
}


@pytest.mark.parametrize("f", OPERATIONS.values(), ids=OPERATIONS)
def test_traces_are_equal_whatever_is_in_them(f, compiled):
    use = USES["adopt(clip_value_fn=f)"]
    first = use(lambda x: 0.1 * f(x))
    with compiled() as names:
        same(use(lambda x: 0.1 * f(x)), first, rtol=0)
    assert not names
    with compiled() as names:
        use(lambda x: 0.2 * f(x))
    assert names


def test_a_callback_is_called_and_not_kept():
    seen, refs = [], []
    for i in range(12):
        tell = lambda x, i=i: seen.append((i, float(x)))
        refs.append(weakref.ref(tell))
        USES["adopt(clip_value_fn=f)"](lambda k, tell=tell: (jax.debug.callback(tell, k), k)[1])
        jax.effects_barrier()
        del tell
    gc.collect()
    assert {i for i, _ in seen} == set(range(12))
    assert sum(r() is not None for r in refs) <= 8


def test_under_disable_jit_a_function_gets_numbers():
    with jax.disable_jit():
        u = USES["adopt(clip_value_fn=f)"](lambda x: float(x) / 2)
    same(u, USES["adopt(clip_value_fn=f)"](lambda x: x / 2))


def test_what_only_looks_like_a_function_of_the_library_is_evaluated_anew():
    """`functools.wraps` gives a user's function JAX's name and module."""
    seen = {"scale": 1.0}
    masked = functools.wraps(jnp.sqrt)(lambda x: seen["scale"] * x)
    use = lambda f: second(gx.contrib.adopt(0.1, clip_value_fn=f))
    use(masked)
    seen["scale"] = 0.1
    same(use(masked), use(lambda x: 0.1 * x))


@pytest.mark.parametrize(
    "make", [gx.adam, gx.adamw, gx.lamb, gx.contrib.muon, lambda lr: gx.chain(gx.clip_by_global_norm(1.0), gx.sgd(lr))]
)
def test_an_equal_optimizer_made_anew_compiles_nothing(make, compiled):
    update(make(1e-3))
    gc.collect()
    with compiled() as names:
        update(make(1e-3))
        update(make(2e-3))
    assert not names


@ALL
def test_no_tracer_leaks(use):
    """Neither from a function that closes over tracers, nor from what was compiled before."""
    with jax.checking_leaks():
        if use not in CONCRETE:
            jax.jit(lambda k: use(lambda x: k * x))(2.0)
        jax.jit(lambda: use(lambda x: 2.0 * x))()


CONCRETE = [  # which decide in Python
    USES[n] for n in ("masked(..., f)", "adamw(mask=f)", "partition(..., f)", "muon(dimension numbers)")
]


def test_threads_share_the_tables():
    """Sixteen threads that make equal and fresh optimizers at once get what one thread gets."""
    make = [
        lambda: gx.adamw(1e-2),
        lambda: gx.chain(gx.clip_by_global_norm(0.5), gx.lion(1e-2)),
        lambda: gx.contrib.adopt(0.1, clip_value_fn=lambda k: 0.2),
        lambda: kernel_with_a_state_of(lambda x: 0.5 * x)(),
        lambda: gx.inject_hyperparams(gx.sgd)(lambda k: 0.1),
        lambda: kernel_with_a_total_of(jnp.abs)(),
    ]
    jax.clear_caches()
    found, start = {}, threading.Barrier(16)

    def work(i):
        start.wait()
        for j in range(len(make)):
            which = (i + j) % len(make)
            try:
                found[i, which] = second(make[which]())
            except Exception as e:
                found[i, which] = e

    threads = [threading.Thread(target=work, args=(i,)) for i in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    expected = [second(one()) for one in make]
    assert len(found) == 16 * len(make)
    for (_, which), u in found.items():
        assert not isinstance(u, Exception), u
        same(u, expected[which])
