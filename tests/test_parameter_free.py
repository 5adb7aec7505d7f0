"""Optimizers that find their own learning rate: D-Adaptation, Prodigy, DoG, DoWG, MoMo, Mechanic; and the lift's sums over leaves."""

from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracle import optax
from oracles import ORACLES

import gradxform as gx
from gradxform._types import Field

P = {"a": jnp.array([1.0, 2.0, 3.0]), "b": jnp.array(-0.5)}
G = {"a": jnp.array([0.5, -1.0, 0.25]), "b": jnp.array(2.0)}
MAKERS = {
    "prodigy": gx.prodigy,
    "dadapt_adamw": gx.dadapt_adamw,
    "dog": gx.dog,
    "dowg": gx.dowg,
    "momo": gx.momo,
    "momo_adam": gx.momo_adam,
    "mechanize": lambda: gx.mechanize(gx.sgd(1.0)),
}


def scalars(state):
    return [x for x in jax.tree.leaves(state) if x.ndim == 0 or x.shape == (6,)]


def train(tx, loss, params, steps):
    @jax.jit
    def step(params, state):
        value, grads = jax.value_and_grad(loss)(params)
        u, state = tx.update(grads, state, params, value=value)
        return gx.apply_updates(params, u), state

    state = tx.init(params)
    for _ in range(steps):
        params, state = step(params, state)
    return params


@pytest.mark.parametrize("name", ["prodigy", "dog", "dowg", "mechanize"])
def test_the_state_shares_no_buffer_with_the_parameters(name):  # optax #1059
    params = jax.tree.map(jnp.copy, P)
    state = MAKERS[name]().init(params)
    ours = {x.unsafe_buffer_pointer() for x in jax.tree.leaves(params)}
    assert not ours & {x.unsafe_buffer_pointer() for x in jax.tree.leaves(state)}


@pytest.mark.parametrize("name", MAKERS)
def test_scalars_of_bfloat16_parameters_are_float32(name):
    params = {"a": P["a"].astype(jnp.bfloat16)}
    state = MAKERS[name]().init(params)
    assert {x.dtype.name for x in scalars(state)} <= {"float32", "int32", "bool"}
    copies = [s for s in ("params0", "init_params", "x0") for s in [gx.tree.get(state, s, None)] if s is not None]
    assert all(x.dtype == jnp.bfloat16 for x in jax.tree.leaves(copies)), "a copy of the parameters keeps their dtype"


@pytest.mark.parametrize("name", ["prodigy", "dadapt_adamw", "momo"])
def test_float32_parameters_stay_float32_under_x64(name):  # optax #1051
    with jax.enable_x64(True):
        params = jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), P)
        tx = MAKERS[name]()
        updates, state = tx.update(params, tx.init(params), params, value=1.0)
        floats = [x.dtype for x in jax.tree.leaves((updates, state)) if jnp.issubdtype(x.dtype, jnp.floating)]
        assert set(floats) == {jnp.dtype(jnp.float32)}


@pytest.mark.parametrize("name", ["prodigy", "dadapt_adamw"])
def test_zero_gradients_at_the_start_leave_the_estimate(name):
    tx, zero = MAKERS[name](), jax.tree.map(jnp.zeros_like, P)
    updates, state = tx.update(zero, tx.init(P), P)
    assert state.estim_lr == jnp.float32(1e-6)
    assert all(not x.any() for x in jax.tree.leaves(updates))
    theirs = optax.with_extra_args_support(getattr(optax.contrib, name)())
    assert np.isnan(theirs.update(zero, theirs.init(P), P)[1].estim_lr), "Optax has mended it: the docstring's `Differs` can go"


VARIANTS = [
    ("prodigy", {"beta3": 0.9, "estim_lr_coef": 2.0, "weight_decay": 0.1, "estim_lr0": 1e-2}),
    ("prodigy", {"safeguard_warmup": True, "learning_rate": lambda k: 0.1 * (jnp.asarray(k, float) + 1), "estim_lr0": 1e-2}),
    ("dadapt_adamw", {"weight_decay": 0.1, "betas": (0.5, 0.9), "estim_lr0": 1e-2}),
    ("dog", {"init_step": ("distance", 0.1), "weight_decay": 0.1}),
    ("dog", {"init_step": ("learning_rate", 0.1)}),
    ("dowg", {"weight_decay": 0.1}),
    ("momo", {"weight_decay": 0.1, "lower_bound": -1.0}),
    ("momo", {"adapt_lower_bound": True, "learning_rate": 0.1}),
    ("momo_adam", {"weight_decay": 0.1, "adapt_lower_bound": True, "lower_bound": -3.0}),
]


@pytest.mark.parametrize(("name", "arguments"), VARIANTS, ids=lambda x: x if isinstance(x, str) else ",".join(x))
def test_variants_agree_with_the_papers(name, arguments):
    with jax.enable_x64(True):
        rng = np.random.default_rng(3)
        tx, step = getattr(gx, name)(**arguments), ORACLES[name](**arguments)
        ws = [rng.normal(size=(3,)), rng.normal(size=())]
        state = tx.init([jnp.asarray(w) for w in ws])
        update = jax.jit(lambda g, s, p, value: tx.update(g, s, p, value=value))
        for _ in range(20):
            gs, value = [rng.normal(size=w.shape) for w in ws], rng.normal() ** 2
            expected = step(gs, ws, **({"value": [value] * 2} if "momo" in name else {}))
            got, state = update([jnp.asarray(g) for g in gs], state, [jnp.asarray(w) for w in ws], value)
            for x, y in zip(got, expected, strict=True):
                np.testing.assert_allclose(x, y, rtol=1e-9, atol=1e-12)
            ws = [w + 0.3 * u for w, u in zip(ws, expected, strict=True)]


def test_complex_parameters_are_pairs_of_real_ones_to_dog():
    z = {"a": jnp.array([1 + 2j, 3 - 1j])}
    pairs = lambda t: jax.tree.map(lambda x: jnp.stack([x.real, x.imag]), t)
    tx, g = gx.dog(), {"a": jnp.array([0.5j, 1 - 1j])}
    u, _ = tx.update(g, tx.init(z), z)
    v, _ = tx.update(pairs(g), tx.init(pairs(z)), pairs(z))
    np.testing.assert_allclose(pairs(u)["a"], v["a"], rtol=1e-6)


class TestArguments:
    def test_a_pair_is_checked_part_by_part(self):
        with pytest.raises(
            gx.HyperparameterError, match=r"prodigy: `betas\[1\]` must be .* in \[0, 1\), but got 1.0 \(out of range\)"
        ):
            gx.prodigy(betas=(0.9, 1.0))
        with pytest.raises(gx.HyperparameterError, match=r"`betas` must be a tuple of 2, but got 0.9"):
            gx.dadapt_adamw(betas=0.9)
        with pytest.raises(gx.HyperparameterError, match=r"`betas\[0\]` cannot be a schedule"):
            gx.prodigy(betas=(gx.constant_schedule(0.9), 0.999))

    def test_the_first_step_of_dog(self):
        with pytest.raises(
            gx.HyperparameterError, match=r"`init_step\[0\]` must be one of 'distance', 'learning_rate', 'heuristic'"
        ):
            gx.dog(init_step=("guess", 1.0))

    def test_traced_betas(self):
        def first(b1):
            tx = gx.prodigy(betas=(b1, 0.999))
            return tx.update(G, tx.init(P), P)[1].exp_avg["b"]

        np.testing.assert_allclose(jax.jit(first)(0.5), 1e-6, rtol=1e-5)
        np.testing.assert_allclose(jax.vmap(first)(jnp.array([0.0, 0.5])), [2e-6, 1e-6], rtol=1e-5)


class TestMomo:
    def test_the_loss_may_be_a_python_number(self):  # optax 3482972d
        tx = gx.momo()
        u, state = tx.update(G, tx.init(P), P, value=1.5)
        v, other = tx.update(G, tx.init(P), P, value=jnp.float32(1.5))
        assert jax.tree.all(jax.tree.map(lambda x, y: bool((x == y).all()), (u, state), (v, other)))

    @pytest.mark.parametrize("tx", [gx.momo(), gx.momo_adam()], ids=repr)
    def test_the_loss_is_needed(self, tx):
        with pytest.raises(gx.MissingArgumentError, match=r"momo.*: needs the extra argument `value`"):
            tx.update(G, tx.init(P), P)

    def test_weight_decay_divides_the_whole_step(self):  # optax #1787
        p = jnp.array([1.0, 2.0, 3.0])
        tx = gx.momo(weight_decay=0.1)
        u, _ = tx.update(2 * p, tx.init(p), p, value=jnp.sum(p**2))
        np.testing.assert_allclose(p + u, [0.5, 1.0, 1.5], rtol=1e-6)

    def test_updates_are_added(self):  # optax #1745: the documented loop assigned them to the parameters
        params = train(gx.momo(), lambda p: jnp.sum(p**2), jnp.array([1.0, 2.0, 3.0]), 1)
        np.testing.assert_allclose(params, [0.5, 1.0, 1.5], rtol=1e-6)

    def test_a_small_gradient_still_moves(self):
        p, g = jnp.array([1.0]), jnp.array([1e-9])
        tx = gx.momo()
        u, _ = tx.update(g, tx.init(p), p, value=1.0)
        assert u[0] == -g[0]


def test_mechanic_starts_from_the_parameters_of_the_first_update():
    tx, loaded = gx.mechanize(gx.sgd(1.0)), jax.tree.map(lambda x: x + 1, P)
    _, state = tx.update(G, tx.init(P), loaded)
    assert jax.tree.all(jax.tree.map(lambda x, y: bool((x == y).all()), state.x0, loaded))


def test_mechanic_with_decay_is_optax_s():
    run = lambda o, sgd: _three_steps(o.mechanize(sgd(1.0), weight_decay=0.1, num_betas=3))
    ours, theirs = run(gx, gx.sgd), run(optax.contrib, optax.sgd)
    for x, y in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_allclose(x, y, rtol=2e-5, atol=1e-9)


def _three_steps(tx):
    params, state = P, tx.init(P)
    for k in range(3):
        u, state = jax.jit(tx.update)(jax.tree.map(lambda g, k=k: g * (k + 1), G), state, params)
        params = gx.apply_updates(params, u)
    return params, state


class TestPass(NamedTuple):
    __test__ = False
    largest: Annotated[gx.Shared, Field(first=lambda params: 1e-3 * len(params), dtype="params")]
    start: gx.ParamsCopy


def _total(g, s, p, c, factor):
    return factor * jnp.sum(jnp.abs(p - s.start)), jnp.sum(g)


def _advance(s, c):
    distance, size = c.total
    return s._replace(largest=jnp.maximum(s.largest, distance)), {"size": size}


@gx.per_tree(
    TestPass,
    needs=("params",),
    total=_total,
    advance=_advance,
)
def measured(g, s, p, c, factor: gx.Positive = 1.0):
    return g * c.largest / c.size + s.largest, s


class TestSums:
    """The lift's `total` with sums of everything a kernel sees, and `advance`."""

    def test_the_kernel_reads_the_sums_and_both_values_of_a_shared_field(self):
        tx = gx.chain(measured(2.0), gx.scale(-1.0))
        state = tx.init(P)
        moved = jax.tree.map(lambda x: x + 0.5, P)
        for update in (tx.update, jax.jit(tx.update)):
            u, (new, _) = update(G, state, moved)
            np.testing.assert_allclose(new.largest, 2 * 0.5 * 4)
            np.testing.assert_allclose(u["b"], -(2.0 * 4.0 / 1.75 + 2e-3), rtol=1e-6)

    def test_holes_and_empty_trees(self):
        tx = measured()
        u, state = tx.update({**G, "hole": None}, tx.init({**P, "hole": None}), {**P, "hole": None})
        assert u["hole"] is None
        assert state.start["hole"] is None
        assert tx.update({}, tx.init({}), {})[1].largest == 0

    def test_abstract_parameters(self):
        shapes = jax.eval_shape(lambda: P)
        assert jax.tree.map(jnp.shape, measured().init(shapes)) == jax.tree.map(jnp.shape, measured().init(P))

    @pytest.mark.parametrize("engine", ["plain", "tree", "stacked"])
    def test_engines(self, engine):
        tx = gx.prodigy()
        expected = tx.update(G, tx.init(P), P)
        with gx.engine(engine):
            got = tx.update(G, tx.init(P), P)
        for x, y in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
            np.testing.assert_allclose(x, y, rtol=1e-5)

    def test_an_error_names_the_leaf(self):
        @gx.per_tree(TestPass, total=lambda g, s: jnp.ones(2) * g, advance=_advance)
        def broken(g, s, p, c):
            return g, s

        with pytest.raises(TypeError) as raised:
            broken().update({"x": jnp.ones(3)}, broken().init({"x": jnp.ones(3)}))
        assert raised.value.__notes__[-1] == "gradxform: in broken, at leaf 'x'"
