"""L-BFGS: against the matrix that it never builds, against Optax and SciPy, and the defects of Optax's mended."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy
from oracle import optax

import gradxform as gx


def rosenbrock(x):
    return jnp.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


def quadratic(n):
    r = np.random.default_rng(n)
    q, _ = np.linalg.qr(r.normal(size=(n, n)))
    a, b = q @ np.diag(np.geomspace(1, 100, n)) @ q.T, r.normal(size=n)
    return lambda x: 0.5 * x @ (jnp.asarray(a) @ x) - x @ jnp.asarray(b), np.linalg.solve(a, b)


def inverse_hessian(pairs, gamma):
    """Nocedal & Wright 1999, equation (7.19): H <- V' H V + rho s s' with V = I - rho y s', from gamma I, from the oldest pair on."""
    n = pairs[0][0].size
    h = gamma * np.eye(n)
    for s, y in pairs:
        v = np.eye(n) - np.outer(y, s) / (s @ y)
        h = v.T @ h @ v + np.outer(s, s) / (s @ y)
    return h


def two_loops(g, pairs, gamma):
    """Nocedal & Wright 1999, Algorithm 7.4, in NumPy."""
    q, alphas = g.copy(), []
    for s, y in reversed(pairs):
        alphas.append((s @ q) / (s @ y))
        q = q - alphas[-1] * y
    r = gamma * q
    for (s, y), alpha in zip(pairs, reversed(alphas), strict=True):
        r = r + s * (alpha - (y @ r) / (s @ y))
    return r


@functools.partial(jax.jit, static_argnums=(0, 1, 3))
def run(tx, f, x, steps):
    """A scan of steps, each from the value and the gradient that the last one left: the parameters and the states on the way."""
    value_and_grad = gx.value_and_grad_from_state(f)

    def step(carry, _):
        x, state = carry
        value, grad = value_and_grad(x, state=state)
        u, state = tx.update(grad, state, x, value=value, grad=grad, value_fn=f)
        x = gx.apply_updates(x, u)
        return (x, state), (x, state)

    return jax.lax.scan(step, (x, tx.init(x)), None, length=steps)[1]


@pytest.mark.parametrize("scaled", [True, False])
@pytest.mark.parametrize("f", [rosenbrock, quadratic(6)[0]], ids=["rosenbrock", "quadratic"])
def test_against_numpy(f, scaled, x64):
    memory, grad = 3, jax.jit(jax.grad(f))
    tx = gx.scale_by_lbfgs(memory, scaled)
    x = np.linspace(-1, 0.5, 6)
    state, pairs, last, update = tx.init(jnp.asarray(x)), [], None, jax.jit(tx.update)
    for _ in range(10):
        g = np.asarray(grad(x))
        if last is not None:
            pairs = [*pairs, (x - last[0], g - last[1])][-memory:]
        last = x, g
        gamma = min(1, 1 / np.linalg.norm(g)) if not pairs else pairs[-1][0] @ pairs[-1][1] / (pairs[-1][1] @ pairs[-1][1])
        u, state = update(jnp.asarray(g), state, jnp.asarray(x))
        expected = two_loops(g, pairs, gamma if scaled else 1.0)
        np.testing.assert_allclose(u, expected, rtol=1e-9, atol=1e-12)
        if pairs:
            h = inverse_hessian(pairs, gamma if scaled else 1.0)
            np.testing.assert_allclose(u, h @ g, rtol=1e-7, atol=1e-9 * np.abs(h).max())
        x = x - 1e-3 * np.asarray(u)


def test_trees_are_one_vector(x64):
    f, _ = quadratic(6)
    tx, x = gx.lbfgs(), jnp.linspace(-1, 0.5, 6)
    as_tree = lambda x: {"a": x[:2].reshape(1, 2), "b": [x[2], None, x[3:]]}
    as_vector = lambda t: jnp.concatenate([t["a"].ravel(), t["b"][0][None], t["b"][2]])
    xs, _ = run(tx, f, x, 6)
    ts, _ = run(tx, lambda t: f(as_vector(t)), as_tree(x), 6)
    np.testing.assert_allclose(jax.vmap(as_vector)(ts), xs, rtol=1e-8)


@pytest.mark.parametrize("make", [lambda o: o.lbfgs(), lambda o: o.lbfgs(0.5, 4, False)], ids=["defaults", "arguments"])
def test_the_way_is_that_of_optax(make, x64):
    """All parameters and states in float64; and a state that Optax made goes on here, and the other way round."""
    x, n = jnp.asarray([-1.2, 1.0, 0.5]), 6
    ours, theirs = (run(make(o), rosenbrock, x, 2 * n) for o in (gx, optax))
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-8)
    half = jax.tree.map(lambda x: x[n - 1], theirs)
    for tx, (x, state) in ((make(gx), half), (make(optax), (half[0], _as(theirs[1], jax.tree.map(lambda x: x[n - 1], ours[1]))))):
        value, grad = jax.value_and_grad(rosenbrock)(x)
        u, after = jax.jit(lambda s, g, x, v, tx=tx: tx.update(g, s, x, value=v, grad=g, value_fn=rosenbrock))(
            state, grad, x, value
        )
        np.testing.assert_allclose(x + u, theirs[0][n], rtol=1e-6)
        assert jax.tree.structure(after) == jax.tree.structure(state), "a state of Optax's classes keeps them"


def _as(like, state):
    return jax.tree.unflatten(jax.tree.structure(like), jax.tree.leaves(state))


def test_against_scipy(x64):
    """As few iterations as SciPy, about, and the minimum."""
    for f, x, steps in ((rosenbrock, np.full(8, -1.0), 80), (quadratic(12)[0], np.zeros(12), 40)):
        theirs = scipy.optimize.minimize(f, x, jac=jax.jit(jax.grad(f)), method="L-BFGS-B", tol=1e-12)
        xs, states = run(gx.lbfgs(), f, jnp.asarray(x), steps)
        np.testing.assert_allclose(xs[-1], theirs.x, rtol=1e-5, atol=1e-5)
        ours = int(np.argmax(np.asarray(states[-1].value) <= theirs.fun + 1e-9))
        assert 0 < ours <= 1.3 * theirs.nit


def test_complex_is_two_reals(x64):  # optax #1141, #1142
    m = jnp.asarray([[1, -2], [3, 4], [-4 + 2j, 5 - 3j], [-2 - 2j, 6]])
    f = lambda z: jnp.sum(jnp.abs(m @ z) ** 1.5)
    z = jnp.asarray([1 - 1j, 0 + 1j])

    def way(tx, f, x):
        def step(carry, _):
            x, state = carry
            value, grad = jax.value_and_grad(f)(x)
            u, state = tx.update(grad.conj(), state, x, value=value, grad=grad.conj(), value_fn=f)
            return (x + u, state), x + u

        return jax.jit(lambda: jax.lax.scan(step, (x, tx.init(x)), None, length=8)[1])()

    tx = gx.lbfgs(linesearch=gx.scale_by_backtracking_linesearch(20))
    complex_way, real_way = way(tx, f, z), way(tx, lambda x: f(jax.lax.complex(x[0], x[1])), jnp.stack([z.real, z.imag]))
    np.testing.assert_allclose(complex_way, np.asarray(real_way[:, 0]) + 1j * np.asarray(real_way[:, 1]), rtol=1e-7)


def test_inside_partition(x64):  # optax #1649
    f = lambda p: rosenbrock(p["w"] * p["scale"])
    tx = gx.partition({"fast": gx.lbfgs(), "still": gx.set_to_zero()}, {"w": "fast", "scale": "still"})
    xs, _ = run(tx, f, {"w": jnp.zeros(3), "scale": jnp.asarray(2.0)}, 40)
    alone, _ = run(gx.lbfgs(), lambda w: rosenbrock(2.0 * w), jnp.zeros(3), 40)
    np.testing.assert_allclose(xs["w"], alone, rtol=1e-6)
    np.testing.assert_allclose(xs["w"][-1], 0.5, rtol=1e-6)
    np.testing.assert_array_equal(xs["scale"], 2.0)


def test_under_vmap(x64):
    starts = jnp.asarray([[-1.0, 1.0], [0.5, 2.0], [2.0, -1.0]])
    together = jax.vmap(lambda x: run(gx.lbfgs(), rosenbrock, x, 50)[0])(starts)
    np.testing.assert_allclose(together[:, -1], 1.0, rtol=1e-5)
    np.testing.assert_allclose(together[0, :20], run(gx.lbfgs(), rosenbrock, starts[0], 50)[0][:20], rtol=1e-5)


def test_mixed_and_narrow_dtypes():  # optax #1210, #1175
    x = {"narrow": jnp.full(3, 2.0, jnp.bfloat16), "wide": jnp.full(2, -1.0)}
    f = lambda x: jnp.sum(x["narrow"].astype(jnp.float32) ** 2) + jnp.sum((x["wide"] - 1) ** 4)
    xs, states = run(gx.lbfgs(), f, x, 12)
    assert xs["narrow"].dtype == jnp.bfloat16
    assert float(states[-1].value[-1]) < 1e-3
    memory = states[0].diff_updates_memory
    assert memory["narrow"].dtype == memory["wide"].dtype == states[-1].value.dtype == jnp.float32
    assert states[-1].grad["narrow"].dtype == jnp.bfloat16


def test_map_params():
    """Optax's `tree_map_params` raises IndexError on it."""
    tx, params = gx.lbfgs(memory_size=3), {"w": jnp.ones((4, 2)), "b": jnp.ones(2)}
    names = gx.tree.map_params(tx, lambda _, name: name, tx.init(params), {"w": "W", "b": "B"}, transform_non_params=lambda _: "")
    found = names[0]
    for tree in (found.params, found.updates, found.diff_params_memory, found.diff_updates_memory, names[-1].grad):
        assert tree == {"w": "W", "b": "B"}
    assert (found.count, found.weights_memory, names[-1].value) == ("", "", "")


def test_a_gradient_that_changes_where_nothing_moved_does_not_stop_it():
    """Optax's scale of the first matrix is then 0, and so is every update from there on."""
    tx, x = gx.scale_by_lbfgs(2), jnp.ones(2)
    state = tx.init(x)
    for g in ([1.0, 0.0], [0.0, 3.0]):
        u, state = tx.update(jnp.asarray(g), state, x)
    np.testing.assert_allclose(u, [0.0, 3.0])


def test_a_vanishing_curvature_counts_for_nothing():
    tx, x = gx.scale_by_lbfgs(2), jnp.ones(2)
    _, state = tx.update(x, tx.init(x), x)
    u, state = tx.update(x * (1 + 1e-6), state, x + 1e-36)
    assert np.isfinite(u).all()
    assert np.isfinite(state.weights_memory).all()


def test_a_gradient_that_is_not_finite_is_forgotten():
    f, x = lambda x: jnp.sum((x - 1) ** 2), jnp.zeros(2)
    tx = gx.lbfgs()
    state = tx.init(x)
    for bad in (False, True, False, False, False):
        value, grad = jax.value_and_grad(f)(x)
        grad = grad * jnp.nan if bad else grad
        u, state = tx.update(grad, state, x, value=value, grad=grad, value_fn=f)
        if bad:
            np.testing.assert_array_equal(u, 0)
        x = x + u
    np.testing.assert_allclose(x, 1.0, rtol=1e-5)


def test_what_is_missing_is_named():
    x, tx = jnp.ones(2), gx.lbfgs()
    with pytest.raises(gx.MissingArgumentError, match=r"scale_by_lbfgs\): needs the parameters"):
        tx.update(x, tx.init(x))
    with pytest.raises(gx.MissingArgumentError, match="scale_by_zoom_linesearch: needs the extra argument `value`"):
        tx.update(x, tx.init(x), x)
    u, _ = gx.lbfgs(0.1, linesearch=None).update(x, gx.lbfgs(0.1, linesearch=None).init(x), x)
    np.testing.assert_allclose(u, -0.1 * x / np.sqrt(2), rtol=1e-6)
    with pytest.raises(gx.HyperparameterError, match="`memory_size` must be a whole number"):
        gx.lbfgs(memory_size=0)


def test_injected():  # optax #412: whole numbers stay static
    x, tx = jnp.zeros(3), gx.inject_hyperparams(gx.lbfgs)(learning_rate=0.5, memory_size=3)
    state = tx.init(x)
    assert set(state.hyperparams) == {"learning_rate"}
    value, grad = jax.value_and_grad(rosenbrock)(x)
    u, _ = jax.jit(lambda s: tx.update(grad, s, x, value=value, grad=grad, value_fn=rosenbrock))(state)
    plain = gx.lbfgs(0.5, memory_size=3)
    expected, _ = plain.update(grad, plain.init(x), x, value=value, grad=grad, value_fn=rosenbrock)
    np.testing.assert_allclose(u, expected, rtol=1e-6)
    search = gx.inject_hyperparams(gx.scale_by_zoom_linesearch)(20, curv_rtol=0.1)
    assert set(search.init(x).hyperparams) >= {"curv_rtol", "tol"}


def test_equal_ones_share_what_is_compiled():
    assert gx.lbfgs() == gx.lbfgs()
    assert gx.lbfgs() != gx.lbfgs(memory_size=5)
    assert "scale_by_zoom_linesearch(20, initial_guess_strategy='one')" in repr(gx.lbfgs())


def walk(tx, f, x, steps, **extra):
    """The points of a walk without a line search."""

    def step(carry, _):
        x, state = carry
        u, state = tx.update(jax.grad(f)(x), state, x)
        x = x + u
        return (x, state), x

    return jax.jit(lambda x: jax.lax.scan(step, (x, tx.init(x)), None, length=steps))(x)


def double_well(x):
    return jnp.sum((x**2 - 1) ** 2) + 0.1 * jnp.sum(x)


UPHILL = {
    "cos": (lambda x: jnp.sum(jnp.cos(x)), jnp.array([0.3])),
    "several": (lambda x: jnp.sum(jnp.cos(x)), jnp.array([0.3, -0.2, 0.4])),
    "a saddle": (lambda x: jnp.cos(x[0]) + x[1] ** 2, jnp.array([0.3, 1.0])),
    "wells": (double_well, jnp.array([0.1, -0.2, 0.05])),
}


@pytest.mark.parametrize("case", UPHILL)
@pytest.mark.parametrize("memory", [1, 5])
def test_negative_curvature_is_not_stored(case, memory):
    """Without a line search it goes down to a minimum, where the quasi-Newton matrix of Optax goes up to the maximum."""
    f, x = UPHILL[case]
    (end, state), _ = walk(gx.lbfgs(0.2, memory, linesearch=None), f, x, 200)
    hessian = np.linalg.eigvalsh(jax.hessian(f)(end))
    assert np.abs(jax.grad(f)(end)).max() < 1e-3
    assert hessian.min() > 0
    assert f(end) < f(x)
    assert (state[0].weights_memory >= 0).all()
    if case == "cos":
        (theirs, _), _ = walk(optax.lbfgs(0.2, memory, linesearch=None), f, x, 200)
        assert abs(theirs[0]) < 1e-3


@pytest.mark.parametrize("vmapped", [False, True])
def test_what_is_not_stored_takes_no_place(vmapped, x64):
    """Pairs between which curvature was negative count as if those updates had not been: the last ones, in their order."""
    tx, r = gx.scale_by_lbfgs(3), np.random.default_rng(0)
    hessian = np.diag([1.0, 3.0, 7.0])
    update = jax.jit(jax.vmap(tx.update) if vmapped else tx.update)
    wrap = (lambda x: x[None]) if vmapped else (lambda x: x)
    x, g, pairs = np.zeros(3), np.ones(3), []
    state = jax.tree.map(wrap, tx.init(jnp.asarray(x)))
    for k in range(14):
        u, state = update(wrap(jnp.asarray(g)), state, wrap(jnp.asarray(x)))
        if pairs:
            s, y = pairs[-1]
            np.testing.assert_allclose(u.reshape(3), two_loops(g, pairs[-3:], s @ y / (y @ y)), rtol=1e-9)
        s = r.normal(size=3)
        curved = k % 5 not in (1, 2, 4)
        y = hessian @ s if curved else -hessian @ s
        if curved:
            pairs.append((s, y))
        x, g = x + s, g + y


@pytest.mark.parametrize("f", [rosenbrock, quadratic(6)[0]], ids=["rosenbrock", "quadratic"])
def test_on_the_way_of_a_line_search_every_pair_is_stored(f, x64):
    _, states = run(gx.lbfgs(memory_size=20), f, jnp.linspace(-1, 0.5, 6), 12)
    weights = states[0].weights_memory[-1]
    assert (weights[:11] > 0).all()
