"""`gpa`, `outer`, `ema_nesterov`: the papers' loops in NumPy, wherever they stand; and every optimizer inside each and `average_params`."""

import by_day
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from checkpoints import through_a_checkpoint

import gradxform as gx
from gradxform.testing import case_for

A, B = np.diag([1.0, 3.0, 10.0]) + 0.1, np.asarray([1.0, -2.0, 0.5])
START = np.asarray([0.3, -1.0, 2.0])
STEPS = 24


def noisy(w, k, worker=0):
    """A gradient of a quadratic, with noise, in float64."""
    return A @ w - B + np.random.default_rng((k, worker)).normal(size=3)


def base(rate=0.02, decay=0.05):
    """Heavy-ball momentum, with a decay, so that it matters which parameters it sees, and a rate that falls."""
    return gx.chain(
        gx.add_decayed_weights(decay), gx.trace(0.9), gx.scale_by_learning_rate(lambda k: rate / (1 + 0.1 * k.astype(float)))
    )


class Base:
    """The same in NumPy."""

    def __init__(self, rate=0.02, decay=0.05):
        self.rate, self.decay, self.v, self.k = rate, decay, 0.0, 0

    def __call__(self, g, w):
        self.v = 0.9 * self.v + g + self.decay * w
        self.k += 1
        return -self.rate / (1 + 0.1 * (self.k - 1)) * self.v


def paper_gpa(steps, mu_x, mu_y):
    """arXiv:2512.17131. Yields the parameters y, and x to evaluate with."""
    z = x = y = START
    inside = Base()
    for k in range(steps):
        z = z + inside(noisy(y, k), z)
        x = mu_x * x + (1 - mu_x) * z
        y = mu_y * x + (1 - mu_y) * z
        yield y, x


def paper_outer(steps, every, rate=0.7, momentum=0.9, workers=1):
    """Douillard et al. 2023, Algorithm 1, outside PyTorch's `SGD(nesterov=True)`. Yields the workers' parameters, and the outer iterate."""
    shared, v = START, 0.0
    local, insides = [shared] * workers, [Base() for _ in range(workers)]
    for k in range(steps):
        local = [w + inside(noisy(w, k, i), w) for i, (w, inside) in enumerate(zip(local, insides, strict=True))]
        if (k + 1) % every == 0:
            delta = sum(shared - w for w in local) / workers
            v = momentum * v + delta
            shared = shared - rate * (delta + momentum * v)
            local = [shared] * workers
        yield np.stack(local), shared + rate * momentum * v


def paper_ema_nesterov(steps, decay, scale):
    """arXiv:2605.25395: the iterate theta, its velocity m, gradients at theta + beta m. Yields that point, and theta."""
    theta, m, beta, inside = START, 0.0, 0.0, Base()
    for k in range(steps):
        ahead = theta + beta * m
        new = ahead + inside(noisy(ahead, k), ahead)
        m, beta = decay * m + (1 - decay) * (new - theta), scale(k) if callable(scale) else scale
        theta = new
        yield theta + beta * m, theta


def middle(k):
    """Ahead from the 5th update to the 15th only, by less and less."""
    xp, k = (jnp, k.astype(float)) if hasattr(k, "astype") else (np, float(k))
    return xp.where((k >= 5) & (k < 15), 0.5 - 0.01 * k, 0.0)


CASES = {
    "gpa": (lambda tx: gx.gpa(tx, 0.9, 0.7), lambda n: paper_gpa(n, 0.9, 0.7)),
    "gpa, gradients at the average": (lambda tx: gx.gpa(tx, 0.95, 1.0), lambda n: paper_gpa(n, 0.95, 1.0)),
    "gpa, gradients at the fast parameters": (lambda tx: gx.gpa(tx, 0.95, 0.0), lambda n: paper_gpa(n, 0.95, 0.0)),
    "outer": (lambda tx: gx.outer(tx, 4), lambda n: ((w[0], x) for w, x in paper_outer(n, 4))),
    "outer, plain": (
        lambda tx: gx.outer(tx, 5, gx.sgd(0.5)),
        lambda n: ((w[0], x) for w, x in paper_outer(n, 5, 0.5, 0.0)),
    ),
    "ema_nesterov": (lambda tx: gx.ema_nesterov(tx, 0.9, 0.4), lambda n: paper_ema_nesterov(n, 0.9, 0.4)),
    "ema_nesterov, in the middle": (
        lambda tx: gx.ema_nesterov(tx, 0.8, middle),
        lambda n: paper_ema_nesterov(n, 0.8, middle),
    ),
}
AROUND = {
    "alone": lambda tx: tx,
    "in a chain": lambda tx: gx.chain(gx.clip(1e3), tx),
    "masked": lambda tx: gx.chain(gx.masked(tx, {"w": True, "b": False}), gx.masked(gx.set_to_zero(), {"w": False, "b": True})),
    "partition": lambda tx: gx.partition({"a": tx, "b": gx.set_to_zero()}, {"w": "a", "b": "b"}),
    "flatten": lambda tx: gx.flatten(tx),
    "accumulate": lambda tx: gx.accumulate(tx, 1),
    "if finite": lambda tx: gx.apply_if_finite(tx, 2),
}


def walk(tx, steps=STEPS, dtype=None, params=None, state=None, first=0):
    """Yields params, state, and what to evaluate with, after each update."""
    params = {"w": jnp.asarray(START, dtype), "b": jnp.asarray(np.asarray(0.5), dtype)} if params is None else params
    state, step = tx.init(params) if state is None else state, jax.jit(tx.update)
    before = step._cache_size()  # an equal transformation may have been compiled
    for k in range(first, first + steps):
        g = {"w": jnp.asarray(noisy(np.asarray(params["w"], np.float64), k), params["w"].dtype), "b": jnp.zeros_like(params["b"])}
        u, state = step(g, state, params)
        params = gx.apply_updates(params, u)
        yield params, state, gx.eval_params(tx, state, params)
    assert step._cache_size() <= before + 1


@pytest.mark.fast
@pytest.mark.parametrize("name", CASES)
def test_the_loop_of_the_paper(x64, name):
    make, paper = CASES[name]
    for (params, _, found), (stored, evaluated) in zip(walk(make(base())), paper(STEPS), strict=True):
        np.testing.assert_allclose(params["w"], stored, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(found["w"], evaluated, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("around", AROUND)
@pytest.mark.parametrize("name", ["gpa", "outer", "ema_nesterov"])
def test_wherever_it_stands(x64, name, around):
    make, paper = CASES[name]
    for (params, _, found), (stored, evaluated) in zip(walk(AROUND[around](make(base())), 12), paper(12), strict=True):
        np.testing.assert_allclose(params["w"], stored, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(found["w"], evaluated, rtol=1e-9, atol=1e-12)
        if around in ("masked", "partition"):
            assert found["b"] == params["b"] == 0.5


def test_before_the_first_update_they_are_the_parameters():
    params = {"w": jnp.asarray([1.0, 2.0], jnp.bfloat16), "n": jnp.arange(2), "none": None}
    for make, _ in CASES.values():
        tx = make(gx.sgd(0.1))
        jax.tree.map(np.testing.assert_array_equal, gx.eval_params(tx, tx.init(params), params), params)


@pytest.mark.parametrize("mapped", ["vmap", "shard_map"])
def test_workers_meet_in_the_outer_step_alone(x64, mapped):
    workers, meet = 4, gx.chain(gx.mean_over("workers"), gx.sgd(0.7, 0.9, nesterov=True))
    tx = gx.outer(base(), 3, meet)
    if mapped == "vmap":
        spread = lambda f: jax.vmap(f, axis_name="workers")
    else:
        if jax.device_count() < workers:
            pytest.skip("needs four devices; tests/conftest.py fakes them on the CPU")
        mesh = jax.make_mesh((workers,), ("workers",), axis_types=(jax.sharding.AxisType.Auto,), devices=jax.devices()[:workers])
        one = lambda f: lambda *xs: jax.tree.map(lambda y: y[None], f(*jax.tree.map(lambda x: x[0], xs)))
        spread = lambda f: jax.shard_map(one(f), mesh=mesh, in_specs=jax.P("workers"), out_specs=jax.P("workers"), check_vma=False)

    def step(g, s, p):
        u, s = tx.update(g, s, p)
        return gx.apply_updates(p, u), s

    params = jnp.stack([jnp.asarray(START)] * workers)
    state, step, look = jax.vmap(tx.init)(params), jax.jit(spread(step)), jax.jit(spread(lambda s, p: gx.eval_params(tx, s, p)))
    for k, (stored, evaluated) in enumerate(paper_outer(12, 3, workers=workers)):
        g = np.stack([noisy(np.asarray(w), k, i) for i, w in enumerate(params)])
        params, state = step(jnp.asarray(g), state, params)
        np.testing.assert_allclose(params, stored, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(look(state, params), np.stack([evaluated] * workers), rtol=1e-9, atol=1e-12)
    if mapped == "shard_map":
        text = step.lower(jnp.asarray(g), state, params).compile().as_text()
        assert "all-reduce" in text
        assert "conditional" in text


def test_the_outer_optimizer_runs_at_its_turn_only(x64):
    calls = []

    def counted(updates, state, params=None):
        jax.debug.callback(lambda: calls.append(1))
        return jax.tree.map(lambda x: -x, updates), state

    tx = gx.outer(gx.sgd(0.1), 3, gx.GradientTransformation(lambda params: (), counted))
    list(walk(tx, 9))
    jax.effects_barrier()
    assert len(calls) == 3


def test_outer_is_lookahead(x64):
    slow, local = START, START
    for k, (params, _, found) in enumerate(walk(gx.outer(gx.sgd(0.05), 3, gx.sgd(0.5)), 12)):
        local = local - 0.05 * noisy(local, k)
        if k % 3 == 2:
            slow = local = slow + 0.5 * (local - slow)
        np.testing.assert_allclose(params["w"], local, rtol=1e-12)
        np.testing.assert_allclose(found["w"], slow, rtol=1e-12)


@pytest.mark.parametrize("name", ["gpa", "outer", "ema_nesterov"])
def test_bfloat16_parameters_keep_wide_averages(name):
    """Steps of a fortieth of the last place of bfloat16 are not lost: what is evaluated follows the paper's loop in float64."""
    rate = 2.0**-13 / 0.9
    make, steps = CASES[name][0], 200
    tx = make(gx.sgd(rate))
    wide, narrow = ({"w": jnp.full(4, 1.0, d)} for d in (jnp.float32, jnp.bfloat16))
    states, step = [tx.init(wide), tx.init(narrow)], jax.jit(tx.update)
    for _ in range(steps):
        for i, params in enumerate((wide, narrow)):
            u, states[i] = step(jax.tree.map(jnp.ones_like, params), states[i], params)
            assert u["w"].dtype == params["w"].dtype
            moved = gx.apply_updates(params, u)
            wide, narrow = (moved, narrow) if i == 0 else (wide, moved)
    kept = [jax.tree.leaves(s._replace(base_optimizer_state=())) for s in states]
    assert all(x.dtype != jnp.bfloat16 for x in kept[1])
    if name == "gpa":
        np.testing.assert_allclose(gx.eval_params(tx, states[1], narrow)["w"].astype(jnp.float32), states[0].x["w"], atol=2**-8)
        np.testing.assert_allclose(states[1].x["w"], states[0].x["w"], rtol=1e-6)
        assert float(states[0].x["w"][0]) < 0.98
    if name == "outer":
        assert jnp.all(gx.eval_params(tx, states[1], narrow)["w"].astype(jnp.float32) < 0.99)
        assert states[1].snapshot["w"].dtype == jnp.float32
    if name == "ema_nesterov":
        np.testing.assert_allclose(states[1].velocity["w"], states[0].velocity["w"], rtol=1e-2)


@pytest.mark.parametrize("name", ["gpa", "outer", "ema_nesterov, in the middle"])
def test_a_checkpoint_goes_on(name, tmp_path):
    tx = CASES[name][0](base())
    params, state, _ = list(walk(tx, 6))[-1]
    params, state = through_a_checkpoint(tx, params, state, tmp_path)
    expected, found = list(walk(tx, 12))[-1], list(walk(tx, 6, params=params, state=state, first=6))[-1]
    jax.tree.map(np.testing.assert_array_equal, found[::2], expected[::2])


def test_resume_at_counts_outer_steps():
    tx = gx.outer(gx.adam(0.1), 4, gx.adam(0.5))
    state = gx.resume_at(tx, tx.init({"w": jnp.ones(2)}), 14)
    assert (int(state.count), int(state.base_optimizer_state[0].count), int(state.outer_state[0].count)) == (14, 14, 3)


WRAPPERS = {
    "average_params": lambda tx: gx.average_params(tx, 0.9),
    "gpa": lambda tx: gx.gpa(tx, 0.9, 0.7),
    "outer": lambda tx: gx.outer(tx, 2),
    "ema_nesterov": lambda tx: gx.ema_nesterov(tx, 0.9, 0.3),
}


def is_key(x):
    return jnp.issubdtype(x.dtype, jax.dtypes.prng_key)


def save(x):
    return np.asarray(jax.random.key_data(x) if is_key(x) else x)


def restore(saved, like):
    return jax.random.wrap_key_data(jnp.asarray(saved)) if is_key(like) else jnp.asarray(saved)


def kinds(tree):
    return jax.tree.map(lambda x: (x.shape, x.dtype, getattr(x, "weak_type", False)), tree)


@pytest.mark.parametrize(("name", "hows"), by_day.in_turn(gx.names(), WRAPPERS))
def test_every_optimizer_inside_each(name, hows):
    """The state is a fixed point, of bfloat16 parameters too; the updates and what is evaluated are laid out like the parameters; saved and
    restored after two updates, the third is the same bits."""
    case = case_for(name)
    params, grads = case.params(), [case.grads(i) for i in range(3)]
    for how in hows:
        tx = WRAPPERS[how](case.make())
        with_functions = any(map(callable, case.extra(params, grads[0]).values()))  # which `gpa` gives wide parameters
        for dtype in filter(case.takes, (jnp.float32,) if with_functions else (jnp.float32, jnp.bfloat16)):
            p, g = case.params(dtype), case.grads(0, dtype)
            state = jax.eval_shape(tx.init, p)
            u, after = jax.eval_shape(lambda g, s, p, tx=tx: tx.update(g, s, p, **case.extra(p, g)), g, state, p)
            assert jax.tree.structure(after) == jax.tree.structure(state), how
            assert kinds(after) == kinds(state), how
            found = jax.eval_shape(lambda s, p, tx=tx: gx.eval_params(tx, s, p), after, p)
            assert [(x.shape, x.dtype) for x in jax.tree.leaves((u, found))] == 2 * [
                (x.shape, x.dtype) for x in jax.tree.leaves(p)
            ], how
        state, p = tx.init(params), params
        for g in grads[:2]:
            u, state = tx.update(g, state, p, **case.extra(p, g))
            p = gx.apply_updates(p, u)
        restored = jax.tree.map(restore, jax.tree.map(save, state), tx.init(params))
        one, other = (tx.update(grads[2], s, p, **case.extra(p, grads[2])) for s in (state, restored))
        jax.tree.map(np.testing.assert_array_equal, one[0], other[0])
        looked = [gx.eval_params(tx, s, gx.apply_updates(p, u)) for u, s in (one, other)]
        jax.tree.map(np.testing.assert_array_equal, *looked)
        assert all(np.isfinite(np.asarray(x, np.complex64)).all() for x in jax.tree.leaves(looked[0])), how


@pytest.mark.parametrize("how", WRAPPERS)
def test_store_and_shardings(how):
    """Moments inside are stored; what is evaluated stays exact. On a mesh all that is like the parameters lies as they do."""
    tx = WRAPPERS[how](gx.adam(0.1))
    params = {"w": jnp.ones((16, 64))}
    state = gx.store(tx, "8bit").init(params)
    assert sum(x.nbytes for x in jax.tree.leaves(state.base_optimizer_state[0].nu)) < 2 * params["w"].size
    for field in {"average", "z", "x", "snapshot"} & set(state._fields):
        assert getattr(state, field)["w"].dtype == jnp.float32
    mesh = jax.sharding.AbstractMesh((8,), ("data",))
    place = jax.sharding.NamedSharding(mesh, jax.P("data", None))
    found = gx.state_shardings(tx, {"w": jax.ShapeDtypeStruct((16, 64), jnp.float32, sharding=place)})
    like = jax.eval_shape(tx.init, params)
    for x, sharding in zip(jax.tree.leaves(like), jax.tree.leaves(found), strict=True):
        assert tuple(sharding.spec)[:1] == (("data",) if x.ndim == 2 else ())
    whole = jax.sharding.NamedSharding(mesh, jax.P())
    found = gx.state_shardings(tx, {"w": jax.ShapeDtypeStruct((16, 64), jnp.float32, sharding=whole)}, zero="data")
    assert all("data" in str(s.spec) for x, s in zip(jax.tree.leaves(like), jax.tree.leaves(found), strict=True) if x.ndim == 2)
