"""Optimizers that orthogonalize a momentum: twelve updates as their transcriptions have them, and what becomes of odd leaves."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from matrix_directions import close, gradients
from oracles import ORACLES

import gradxform as gx

SHAPES = {"square": (4, 4), "wide": (3, 5), "tall": (6, 3), "row": (1, 6), "column": (6, 1), "vector": (5,), "number": ()}
CONVOLUTIONS = {"line": (3, 2, 4), "kernel": (2, 2, 3, 4)}
MATRICES = {name: shape for name, shape in SHAPES.items() if len(shape) == 2}

CASES = [
    ("normuon", {}),
    ("normuon", {"nesterov": False, "weight_decay": 0.1, "adam_learning_rate": 0.3, "adam_weight_decay": 0.2, "adam_b1": 0.8}),
    ("normuon", {"consistent_rms": 0.2, "ns_coeffs": "turbo", "preconditioning": "aol"}),
    ("normuon", {"ns_coeffs": "polar_express", "ns_steps": 7, "shape_scale": "spectral", "beta2": 0.8, "eps_nu": 1e-3}),
    ("scale_by_normuon", {"beta": 0.7, "eps": 0.3}),
    ("adamuon", {}),
    ("adamuon", {"sign": False, "nesterov": False, "weight_decay": 0.1, "adam_learning_rate": 0.3, "adam_b2": 0.9}),
    ("adamuon", {"beta2": 0.8, "consistent_rms": 0.3, "eps_nu": 1e-3, "ns_coeffs": "dion", "preconditioning": "schatten", "eps": 0.0}),
    ("scale_by_adamuon", {"beta": 0.7, "sign": False, "eps": 0.3}),
    ("scion", {}),
    ("scion", {"constrained": False, "radius": 3.0, "ns_coeffs": "cans", "beta": 0.5, "eps": 0.1}),
    ("scale_by_lmo", {"norm": "spectral_max"}),
    ("scale_by_lmo", {"norm": "sign"}),
    ("scale_by_lmo", {"norm": "column", "eps": 0.1}),
    ("scale_by_lmo", {"norm": "row", "eps": 0.1}),
    ("scale_by_lmo", {"norm": "bias", "eps": 0.1}),
]  # fmt: skip


def of_a_rate(name):
    return not name.startswith("scale_by_")


def trained(step, shapes, steps=12):
    """The updates of leaves that are moved by them, in NumPy; `step` takes lists of gradients and of parameters."""
    ws = gradients_of(shapes, 100)
    us = []
    for k in range(steps):
        us.append(step(gradients_of(shapes, k), ws))
        ws = [w + u for w, u in zip(ws, us[-1], strict=True)]
    return us


def gradients_of(shapes, seed):
    return [gradients(shape, 1, seed=seed + 7 * i)[0] for i, shape in enumerate(shapes.values())]


def ours(tx, shapes, **extra):
    state = None

    def step(gs, ws):
        nonlocal state
        g, w = (dict(zip(shapes, map(jnp.asarray, xs), strict=True)) for xs in (gs, ws))
        state = tx.init(w) if state is None else state
        u, state = tx.update(g, state, w, **extra)
        return [np.asarray(u[name]) for name in shapes]

    return step


@pytest.mark.parametrize(("name", "options"), CASES, ids=str)
def test_twelve_updates_are_those_of_the_transcription(name, options, x64):
    shapes = SHAPES | (CONVOLUTIONS if name == "scion" else {}) if of_a_rate(name) else MATRICES
    rate = (0.1,) if of_a_rate(name) else ()
    found = trained(ours(getattr(gx, name)(*rate, **options), shapes), shapes)
    truth = trained(ORACLES[name](*rate, **options), shapes)
    for us, vs in zip(found, truth, strict=True):
        for u, v in zip(us, vs, strict=True):
            close(u, v)


ODD = {
    "rank 1": lambda: np.outer([1.0, -2.0, 3.0], [1.0, 0.5, 2.0, -1.0]), "a dead output": lambda: np.array([[1.0, 0.0], [2.0, 0.0]]),
    "1 x n": lambda: np.array([[1.0, -2.0, 3.0]]), "n x 1": lambda: np.array([[1.0], [-2.0], [3.0]]), "1 x 1": lambda: np.array([[-2.0]]),
    "a batch of one": lambda: np.random.default_rng(0).normal(size=(1, 3, 4)),
}  # fmt: skip
FAMILY = ["scale_by_normuon", "scale_by_adamuon", "scale_by_lmo"]


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float32, jnp.float64])
@pytest.mark.parametrize("name", FAMILY)
def test_odd_matrices(name, dtype, x64):
    """Of each as of float64, as far as the dtype goes."""
    tx = getattr(gx, name)(weight_dimension_numbers="flax")
    for what, make in ODD.items():
        x = jnp.asarray(make()).astype(dtype)
        wide = x.astype(float)
        (u, state), (v, _) = (tx.update({"w": g}, tx.init({"w": g})) for g in (x, wide))
        assert u["w"].dtype == dtype
        if x.ndim == 3:
            one = gx.chain(getattr(gx, name)())
            alone, _ = one.update({"w": wide[0]}, one.init({"w": wide[0]}))
            np.testing.assert_allclose(v["w"][0], alone["w"], rtol=1e-12, atol=0, err_msg=what)
        error = {jnp.bfloat16: 2**-8, jnp.float32: 3e-5, jnp.float64: 0}[dtype]
        np.testing.assert_allclose(u["w"].astype(float), v["w"], rtol=0, atol=error * float(jnp.max(jnp.abs(v["w"]))), err_msg=what)
        assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(state))


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16, jnp.float32])
@pytest.mark.parametrize("name", FAMILY)
def test_gradients_of_zeros_give_updates_of_zeros(name, dtype):
    tx, zeros = getattr(gx, name)(), {"w": jnp.zeros((3, 4), dtype)}
    state = tx.init(zeros)
    for _ in range(2):
        u, state = tx.update(zeros, state)
        assert not np.any(u["w"])


@pytest.mark.parametrize("name", FAMILY)
def test_complex_matrices_turn_with_their_phases(name):
    """Of real g, U g V* gives U u V* where U and V are diagonal phases: what takes sizes of elements goes by |x|."""
    rng = np.random.default_rng(0)
    g, (a, b) = rng.normal(size=(3, 4)), (np.exp(1j * rng.normal(size=n)) for n in (3, 4))
    turn = lambda x: (a[:, None] * x * b).astype(np.complex64)
    tx = getattr(gx, name)()
    update = lambda x: tx.update({"w": jnp.asarray(x)}, tx.init({"w": jnp.asarray(x)}))[0]["w"]
    np.testing.assert_allclose(update(turn(g)), turn(np.asarray(update(g.astype(np.float32)))), rtol=0, atol=2e-5)


def test_a_norm_and_a_radius_for_each_leaf(x64):
    """By patterns, a tree, a predicate; a batch of matrices has one radius."""
    shapes = {"embed": (6, 3), "head": (3, 6), "b": (4,), "w": (3, 4)}
    norms, radii = ["column", "sign", "auto", "auto"], [2.0, 3.0, 1.5, 1.5]
    truth = trained(ORACLES["scion"](0.1, norms, radii), shapes)
    given = [
        ({"embed": "column", "head": "sign"}, {"embed": 2.0, "head": 3.0, "default": 1.5}),
        (dict(zip(shapes, norms, strict=True)), dict(zip(shapes, radii, strict=True))),
        (
            gx.by_leaf(lambda path, x: {"embed": "column", "head": "sign"}.get(path, "auto")),
            lambda path, x: {"embed": 2.0, "head": 3.0}.get(path, 1.5),
        ),
        (dict(zip(shapes, norms, strict=True)), dict(zip(shapes, map(jnp.asarray, radii), strict=True))),
    ]
    for norm, radius in given:
        for us, vs in zip(trained(ours(gx.scion(0.1, norm, radius), shapes), shapes), truth, strict=True):
            jax.tree.map(close, us, vs)
    three, one = (np.random.default_rng(0).normal(size=shape) for shape in ((3, 4, 5), (2,)))
    p = {"w": jnp.asarray(three), "b": jnp.asarray(one)}
    tx = gx.scale_by_lmo(radius={"w": 2.0, "b": 3.0}, weight_dimension_numbers={"w": "equinox", "b": None})
    u, _ = tx.update(p, tx.init(p))
    for i in range(3):
        close(u["w"][i].T, ORACLES["scale_by_lmo"](radius=2.0)([three[i].T])[0])
    close(u["b"], ORACLES["scale_by_lmo"](radius=3.0)([one])[0])


def test_what_fits_no_leaf_says_where():
    tx, p = gx.scale_by_lmo({"b": "row"}), {"w": jnp.ones((2, 3)), "b": jnp.ones(3), "c": jnp.ones(3)}
    with pytest.raises(gx.StructureError, match=r"'row' is one of matrices.*\(3,\)") as e:
        tx.update(p, tx.init(p))
    assert any("at leaf 'b'" in note for note in e.value.__notes__)
    with pytest.raises(gx.LabelError, match="`norm` must be a str at every leaf, but at 'w' it is 3"):
        gx.scale_by_lmo({"w": 3}).update(p, tx.init(p))
    with pytest.raises(gx.HyperparameterError, match=r"at 'b': `norm` must be one of 'auto', .*'nuclear'"):
        gx.scale_by_lmo(lambda path, x: "nuclear").update(p, tx.init(p))


def test_a_constrained_step_stays_in_the_ball():
    p = {"w": jnp.asarray(np.random.default_rng(0).normal(size=(4, 6)), jnp.float32)}
    tx = gx.scion(0.5, radius=2.0, ns_coeffs="polar_express", ns_steps=8)
    state = tx.init(p)
    for k in range(20):
        u, state = tx.update({"w": jnp.asarray(gradients((4, 6), 1, seed=k)[0], jnp.float32)}, state, p)
        p = gx.apply_updates(p, u)
    assert np.linalg.norm(p["w"], 2) <= 2.0 * np.sqrt(6 / 4) * 1.01
