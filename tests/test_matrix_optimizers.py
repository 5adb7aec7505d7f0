"""The matrix optimizers go where their transcriptions go: 12 updates in float64, many shapes and options, by every engine."""

import functools

import by_day
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from matrix_directions import gradients
from oracles import ORACLES
from oracles._matrices import pseudonormal
from oracles._splus import average
from steps import plain
from test_oracles_matrix import CASES

import gradxform as gx

SHAPES = {"square": (4, 4), "same": (4, 4), "cube": (3, 3, 3), "vector": (7,), "number": ()}
OBLONG = {"tall": (5, 3), "wide": (3, 5), "row": (1, 6), "column": (6, 1), "tensor": (2, 3, 4), "more": (3, 3, 2, 4)}
STEPS = 12
HAVE = [case for case in CASES if hasattr(gx, case[0])]
TIES = [case for case in HAVE if "tie_break" in gx.kernels.entry(case[0]).parameters]


def both(name, arguments, shapes):
    """The updates of both along one path, for each update a list of leaves."""
    entry = gx.kernels.entry(name)
    if "sampler" in entry.parameters:
        arguments = {**arguments, "sampler": pseudonormal}
    tx, step = entry.make(0.01, **arguments), ORACLES[name](0.01, **arguments)
    draw = lambda seed: [gradients(shape, 1, seed=seed)[0] for shape in shapes.values()]
    w, found, wanted = [jnp.asarray(x) for x in draw(99)], [], []
    state, update = tx.init(w), jax.jit(tx.update)
    for k in range(STEPS):
        g = draw(k)
        u, state = update([jnp.asarray(x) for x in g], state, w)
        found.append(u)
        wanted.append(step(g, [np.asarray(x) for x in w]))
        w = gx.apply_updates(w, u)
    return found, wanted


def close(found, wanted, shapes, tolerance):
    for t, (us, vs) in enumerate(zip(found, wanted, strict=True), 1):
        for leaf, u, v in zip(shapes, us, vs, strict=True):
            size = max(np.max(np.abs(v)), 1e-12)
            np.testing.assert_allclose(u, v, rtol=0, atol=tolerance * size, err_msg=f"update {t} of {leaf}")


def compared(name, arguments, leaves):
    taken = SHAPES if gx.kernels.entry(name).null_space else SHAPES | OBLONG
    shapes = {leaf: taken[leaf] for leaf in leaves if leaf in taken}
    close(*both(name, arguments, shapes), shapes, 1e-9)


@pytest.mark.parametrize("name", [name for name, arguments in HAVE if not arguments])
def test_twelve_updates_are_the_transcriptions(name, x64):
    compared(name, {}, SHAPES | OBLONG)


OPTIONS = by_day.in_turn(
    [case for case in HAVE if case[1]], SHAPES | OBLONG, share=2, name=lambda case: f"{case[0]}-{plain(case[1])}"
)


@pytest.mark.parametrize(("case", "leaves"), OPTIONS)
def test_so_they_are_with_other_arguments(case, leaves, x64):
    compared(*case, leaves)


@pytest.mark.parametrize(("name", "arguments"), TIES, ids=plain)
def test_with_a_tie_break_so_are_those_of_oblong_leaves(name, arguments, x64):
    close(*both(name, {**arguments, "tie_break": 1e-4}, OBLONG), OBLONG, 1e-6)


@pytest.mark.fast
def test_splus_evaluates_with_the_average_of_the_parameters_before_each_update(x64):
    tx, w, seen = gx.splus(0.1, ema_decay=0.9, every=2), {"w": jnp.asarray(gradients((4, 4), 1)[0])}, []
    state = tx.init(w)
    np.testing.assert_array_equal(gx.eval_params(tx, state, w)["w"], w["w"])
    for k in range(STEPS):
        seen.append(np.asarray(w["w"]))
        u, state = tx.update({"w": jnp.asarray(gradients((4, 4), 1, seed=k)[0])}, state, w)
        w = gx.apply_updates(w, u)
        np.testing.assert_allclose(gx.eval_params(tx, state, w)["w"], average(seen, 0.9), rtol=1e-12)


@pytest.mark.parametrize("roots", ["eigh", "newton", "newton_db"])
def test_shampoo_keeps_a_root_that_cannot_be_made_again_and_counts(roots):
    tx, (g, bad) = gx.scale_by_shampoo(b2=0.9, roots=roots), (jnp.ones((3, 2)), jnp.full((3, 2), jnp.nan))
    _, state = tx.update({"w": g}, tx.init({"w": g}))
    _, after = tx.update({"w": bad}, state)
    jax.tree.map(np.testing.assert_array_equal, after.roots, state.roots)
    assert state.failures["w"] == 0
    assert after.failures["w"] == 2


@pytest.mark.parametrize("roots", ["eigh", "newton", "newton_db"])
@pytest.mark.parametrize("make", [gx.scale_by_shampoo, functools.partial(gx.scale_by_asgo, b1=0.0, b2=0.0, consistent_rms=None)])
def test_in_float32_the_update_of_rank_one_is_the_direction_itself(make, roots):
    """Eigenvalues that are 0 but for rounding have no say."""
    for shape in ((1, 6), (6, 1), (5, 4)):
        a, b = (np.random.RandomState(seed).randn(n) for seed, n in ((0, shape[0]), (1, shape[-1])))
        g, tx = np.outer(a, b), make(roots=roots)
        u, _ = tx.update(jnp.asarray(g, jnp.float32), tx.init(jnp.asarray(g, jnp.float32)))
        np.testing.assert_allclose(u, g / np.linalg.norm(g), atol=0.03)


LAYERS, WIDTH = 4, 8


def decoder(layers, width=WIDTH):
    """The shapes of a decoder: an embedding, and for each layer four square matrices, two oblong ones and two scales."""
    square, up, down, scale = (width, width), (width, 4 * width), (4 * width, width), (width,)
    layer = {"q": square, "k": square, "v": square, "o": square, "up": up, "down": down, "norm": scale, "norm2": scale}
    shapes = {"embedding": (5 * width, width), "layers": [layer] * layers, "norm": scale}
    return jax.tree.map(lambda shape: jax.ShapeDtypeStruct(shape, jnp.float32), shapes, is_leaf=lambda x: isinstance(x, tuple))


def test_conditionals_are_those_of_the_shapes_and_not_of_the_leaves():
    tx, w = gx.scale_by_soap(), decoder(LAYERS)
    state, found = jax.eval_shape(tx.init, w), {}
    for engine in ("stacked", "leaf"):
        with gx.kernels.engine(engine):
            text = jax.jit(lambda *args: tx.update(*args)).lower(w, state, w).compile().as_text()
        found[engine] = text.count(" conditional("), sum(" = " in line for line in text.splitlines())
    assert found["stacked"][0] == 4  # square, up, down, embedding
    assert found["leaf"][0] == 6 * LAYERS + 1
    assert found["stacked"][1] < found["leaf"][1] / 2
