"""PSGD: its factors against the transcription, complex gradients, leaves of any shape, dead leaves, and how often it draws."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from matrix_directions import close, gradients
from oracles import ORACLES
from oracles import _psgd_kron as truth
from oracles._matrices import pseudonormal
from steps import plain

import gradxform as gx

SHAPES = [(4, 4), (3, 5), (1, 6), (6, 1), (1, 1), (7,), (), (2, 3, 4)]
OPTIONS = [
    {"balance_every": 2}, {"form": "triangular", "balance_every": 2}, {"diagonal": "largest"}, {"form": "triangular", "diagonal": "all"},
    {"every": 3, "block_size": 2, "clip_value": 1.0, "max_skew": 0.5}, {"whiten": "gradient", "b1": 0.5, "max_skew": 8.0},
    {"form": "triangular", "every": lambda k: 1 + k // 3, "merge_dims": 6}, {"clip_rms": None, "init_scale": 0.3, "max_precond_dim": 3},
]  # fmt: skip


def run(tx, gs, jit=True):
    """All updates of one tree, and the last state."""
    state, out = tx.init(jax.tree.map(jnp.zeros_like, gs[0])), []
    update = jax.jit(tx.update) if jit else tx.update
    for g in gs:
        u, state = update(g, state)
        out.append(u)
    return out, state


@pytest.mark.parametrize("options", OPTIONS, ids=plain)
def test_it_goes_where_the_transcription_goes(options):
    with jax.enable_x64(True):
        gs = [[np.asarray(g) for g in some] for some in zip(*(gradients(shape) for shape in SHAPES), strict=True)]
        found, _ = run(gx.scale_by_psgd_kron(sampler=pseudonormal, **options), [list(map(jnp.asarray, some)) for some in gs])
        step = ORACLES["scale_by_psgd_kron"](sampler=pseudonormal, **options)
        for us, some in zip(found, gs, strict=True):
            for u, expected in zip(us, step(some, some), strict=True):
                close(u, expected)


@pytest.mark.parametrize("form", ["pro", "triangular"])
def test_the_factors_are_the_transcriptions_balanced_when_it_is_time(form):
    """Balancing shows in Q alone."""
    gs, normal = gradients((4, 4)), lambda shape: pseudonormal(0, shape, float)
    with jax.enable_x64(True):
        tx = gx.scale_by_psgd_kron(form=form, b1=0.0, balance_every=4, sampler=pseudonormal, every=2, max_skew=4.0, init_scale=3.0)
        tx_q = lambda n: run(tx, [jnp.asarray(g) for g in gs[:n]])[1]
        Q, ell = truth._first(gs[0], form, 3.0, None, 8192, 4.0), [0.0, 0.0]
        Q[0], Q[1] = Q[0].copy(), Q[1].copy()
        for k, g in enumerate(gs[1::2], 1):
            if form == "triangular":
                Q = truth._triangular(truth._balanced(Q) if k % 4 == 0 else Q, g, 0.1, normal)
            else:
                Q, ell = truth._pro(Q, ell, g, 0.1, normal)
                Q = truth._balanced(Q) if k % 4 == 0 else Q
            if k in (3, 4, 6):
                state = tx_q(2 * k)
                assert state.turns == k
                for found, expected in zip(state.q, Q, strict=True):
                    close(found, expected)
                if form == "pro":
                    close(np.asarray(state.lipschitz), np.asarray(ell))
                else:
                    assert state.lipschitz is None


@pytest.mark.parametrize("form", ["pro", "triangular"])
def test_complex_gradients_come_out_white_too(form):
    """P becomes E[g g*]^-1/2, and a phase of all gradients is one of all updates."""
    rng = np.random.RandomState(0)
    complex_ = lambda *shape: rng.standard_normal(shape) + 1j * rng.standard_normal(shape)
    A, B = complex_(3, 3) / 2 + 2 * np.eye(3), complex_(3, 3) / 2 + 3 * np.eye(3)
    gs = np.stack([3.0 * np.outer(a, b) for a in A.T for b in B])
    values, V = np.linalg.eigh(sum(np.outer(g.ravel(), g.ravel().conj()) for g in gs) / len(gs))
    expected = (V * values**-0.5) @ V.conj().T
    with jax.enable_x64(True):
        tx = gx.scale_by_psgd_kron(
            b1=0.0, precond_lr=gx.exponential_decay(0.3, 1, 0.996, end_value=0.003), form=form, every=1, clip_rms=None
        )
        order, state = jnp.asarray(gs[rng.randint(9, size=1500)]), tx.init(jnp.zeros((3, 3), complex))
        state, _ = jax.jit(lambda s, gs: jax.lax.scan(lambda s, g: (tx.update(g, s)[1], None), s, gs))(state, order)
        P = np.kron(*(np.asarray(q).conj().T @ np.asarray(q) for q in state.q))
        assert np.linalg.norm(P - expected) < 0.15 * np.linalg.norm(expected)
        one = [jnp.asarray(g) for g in gs[:6]]
        plain, turned = (run(gx.scale_by_psgd_kron(form=form, sampler=pseudonormal), [z * g for g in one])[0] for z in (1, 1j))
        for u, v in zip(plain, turned, strict=True):
            close(v, 1j * u, 1e-2)  # the noise is not turned


def test_real_numbers_as_complex_ones_give_the_same():
    with jax.enable_x64(True):
        for form in ("pro", "triangular"):
            tx = gx.scale_by_psgd_kron(form=form, sampler=pseudonormal, max_skew=8.0)
            real, imaginary = (run(tx, [jnp.asarray(g, dtype) for g in gradients((3, 5))])[0] for dtype in (float, complex))
            for u, v in zip(real, imaginary, strict=True):
                close(v, u)


@pytest.mark.parametrize("form", ["pro", "triangular"])
def test_a_leaf_that_slept_wakes_up(form):
    """Gradients of zeros for long, and then others: nothing overflows, in float32."""
    tx = gx.scale_by_psgd_kron(form=form, every=1, b1=0.0)
    state = tx.init(jnp.zeros((3, 3)))
    sleep = jax.jit(lambda s: jax.lax.scan(lambda s, _: (tx.update(jnp.zeros((3, 3)), s)[1], None), s, jnp.zeros(1500))[0])
    state = sleep(state)
    for g in gradients((3, 3), 30):
        u, state = jax.jit(tx.update)(jnp.asarray(g, jnp.float32), state)
        assert bool(jnp.all(jnp.isfinite(u)))
        assert float(jnp.sqrt(jnp.mean(u**2))) <= 1.1001


@pytest.mark.parametrize("form", ["pro", "triangular"])
def test_one_conditional_for_all_leaves_of_a_shape(form):
    tree = {"a": jnp.ones((4, 6)), "b": jnp.ones((4, 6)), "c": jnp.ones((5, 5)), "d": jnp.ones((5, 5))}
    tx = gx.scale_by_psgd_kron(form=form)
    text = jax.jit(lambda g, s: tx.update(g, s)).lower(tree, tx.init(tree)).compile().as_text()
    assert text.count(" conditional(") == 2


def test_noise_is_drawn_where_q_is_updated_and_never_twice():
    """Each leaf, each update and each estimate of a norm has numbers of its own; the key alone decides them."""
    drawn = []

    def sampler(key, shape, dtype):
        x = jax.random.normal(key, shape, dtype)
        jax.debug.callback(lambda x: drawn.append(np.asarray(x).ravel()[0].item()), x)
        return x

    tree = dict(zip("ab", (jnp.asarray(g, jnp.float32) for g in gradients((3, 3), 2)), strict=True))
    tx = gx.scale_by_psgd_kron(sampler=sampler, every=2, max_skew=4.0)
    _, state = run(tx, 4 * [tree], jit=False)
    jax.effects_barrier()
    assert len(drawn) == 2 * 2 * 5  # updates of Q, leaves, and x and for each of two axes T and R
    assert len(set(drawn)) == len(drawn)
    again = run(gx.scale_by_psgd_kron(every=2, max_skew=4.0), 4 * [tree])[1]
    other = run(gx.scale_by_psgd_kron(every=2, max_skew=4.0, key=1), 4 * [tree])[1]
    np.testing.assert_allclose(again.q["a"][0], state.q["a"][0], rtol=1e-5)
    assert np.any(np.asarray(again.q["a"][0]) != np.asarray(other.q["a"][0]))


def test_a_share_of_the_leaves_at_each_update():
    tree = {k: jnp.asarray(gradients((3, 3), 1, seed=i)[0], jnp.float32) for i, k in enumerate("abcd")}
    tx, turns = gx.scale_by_psgd_kron(every=4, start=1, phase="spread"), []
    state = tx.init(tree)
    for _ in range(5):
        _, state = jax.jit(tx.update)(tree, state)
        turns.append([int(x) for x in jax.tree.leaves(state.turns)])
    assert turns[0] == [1, 1, 1, 1]
    assert sum(turns[-1]) - sum(turns[0]) == 4
    assert np.all(np.diff([sum(row) for row in turns]) == 1)


def test_a_gradient_that_is_not_finite_leaves_q_as_it_was():
    tx, good = gx.scale_by_psgd_kron(every=1, b1=0.0), [jnp.asarray(g, jnp.float32) for g in gradients((3, 3), 2)]
    _, state = run(tx, good)
    _, after = tx.update(good[0].at[0, 0].set(jnp.nan), state)
    for old, new in zip(jax.tree.leaves((state.q, state.lipschitz, state.turns)), jax.tree.leaves(after[2:5]), strict=True):
        np.testing.assert_array_equal(old, new)


@pytest.mark.parametrize("wrong", [-1.0, "much", True, jnp.ones(()), gx.constant_schedule(1.0)])
def test_a_number_on_which_shapes_depend_is_a_plain_one(wrong):
    with pytest.raises(gx.HyperparameterError, match=r"`max_skew` must be a number in \[0, inf\]"):
        gx.scale_by_psgd_kron(max_skew=wrong)
    assert gx.scale_by_psgd_kron(max_skew=np.float32(1)) == gx.scale_by_psgd_kron(max_skew=1.0) == gx.scale_by_psgd_kron()
