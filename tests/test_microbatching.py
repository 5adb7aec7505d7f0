"""Microbatching: the results of the whole batch, wide sums, the order of the examples, shardings, Optax's numbers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec
from oracle import optax

import gradxform as gx
from gradxform.microbatching import AccumulationType, Accumulator, micro_grad, micro_vmap, reshape_batch_axis

MEAN, SUM, CONCAT, RUNNING = AccumulationType.MEAN, AccumulationType.SUM, AccumulationType.CONCAT, AccumulationType.RUNNING_MEAN
RNG = np.random.default_rng(0)
W, X, Y = (jnp.asarray(RNG.normal(size=s), jnp.float32) for s in ((3, 2), (12, 3), (12, 2)))
loss = lambda w, x, y: jnp.mean((x @ w - y) ** 2)
close = lambda a, b: jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-6), a, b)


@pytest.mark.parametrize("size", [1, 4, 12, None])
def test_the_gradient_of_the_whole_batch(size):
    grad = jax.value_and_grad(loss)
    pieces = gx.microbatch(grad, (1, 2), size, MEAN)
    close(jax.jit(pieces)(W, X, Y), grad(W, X, Y))


def test_a_tree_of_accumulators():
    f = lambda w, batch: {"each": batch["x"] @ w, "sums": (batch["x"].sum(0), batch["y"].sum()), "large": batch["y"].max() > 1}
    kinds = {"each": CONCAT, "sums": SUM, "large": SUM}
    batch = {"x": X, "y": Y}
    got = gx.microbatch(f, 1, 3, kinds)(W, batch)
    close((got["each"], got["sums"]), (X @ W, (X.sum(0), Y.sum())))
    assert got["large"].dtype == jnp.int32, "flags are counted"


def test_an_accumulator_of_ones_own():
    largest = Accumulator(
        init=lambda x: jnp.full(x.shape, -jnp.inf, x.dtype),
        update=lambda carry, x, i: jnp.maximum(carry, x),
        finalize=lambda carry: carry,
        aggregate=lambda x: x.max(0),
    )
    assert gx.microbatch(jnp.max, 0, 3, largest)(X) == X.max()
    assert micro_vmap(jnp.max, microbatch_size=3, accumulator=largest)(X) == X.max()


def test_narrow_results_are_accumulated_in_float32():
    """A bfloat16 sum of ones stands still at 256."""
    f = lambda x: x.sum()
    x = jnp.ones(1024, jnp.bfloat16)
    total, mean = (gx.microbatch(f, 0, 1, kind)(x) for kind in (SUM, RUNNING))
    assert (total.dtype, float(total), float(mean)) == (jnp.bfloat16, 1024.0, 1.0)
    theirs = optax.microbatch(f, 0, 1, optax.microbatching.AccumulationType.SUM)(x)
    assert float(theirs) == 256.0


@pytest.mark.parametrize("axis", [0, 1, -2])
def test_the_order_of_the_examples(axis):
    x = jnp.arange(2 * 6 * 3).reshape(2, 6, 3) if axis else jnp.arange(18).reshape(6, 3)
    ours = reshape_batch_axis({"x": x}, 2, axis)["x"]
    np.testing.assert_array_equal(ours, optax.microbatching.reshape_batch_axis({"x": x}, 2, axis % x.ndim)["x"])


@pytest.mark.parametrize("kind", list(AccumulationType), ids=lambda k: k.name)
def test_agrees_with_optax(kind):
    theirs = optax.microbatching.AccumulationType[kind.name]
    f = lambda x, *, y: (x[..., :2] * y).sum(-1)
    for real in (None, 2):
        ours = gx.microbatch(f, 0, 3, kind, argnames="y", num_real_microbatches=real)(X, y=Y)
        close(ours, optax.microbatch(f, 0, 3, theirs, argnames="y", num_real_microbatches=real)(X, y=Y))


def test_fewer_pieces_than_there_are():
    f = jax.jit(lambda n: gx.microbatch(jnp.sum, 0, 4, RUNNING, num_real_microbatches=n)(jnp.arange(12.0)))
    assert f(2) == (0 + 3 + 6 + 9 + 1 + 4 + 7 + 10) / 2
    assert f(99) == sum(range(12)) / 3, "no piece is executed twice"


@pytest.mark.parametrize("size", [None, 4])
def test_micro_vmap(size):
    f = lambda w, x, *, y: {"r": x @ w - y}
    got = micro_vmap(f, (None, 0), microbatch_size=size)(W, X, y=Y)
    close(got, {"r": X @ W - Y})
    close(micro_vmap(f, (None, 0), microbatch_size=size, accumulator=MEAN)(W, X, y=Y), {"r": (X @ W - Y).mean(0)})


@pytest.mark.parametrize("size", [None, 4])
@pytest.mark.parametrize("keep", [True, False])
def test_micro_grad(size, keep):
    """Clipped example by example, with an argument after the batched ones."""
    clip = lambda g: g / jnp.maximum(jnp.linalg.norm(g), 1.0)
    f = lambda w, x, y, scale: (scale * loss(w, x, y), x.ndim)
    grad = micro_grad(
        f, True, batch_argnums=(1, 2), keep_batch_dim=keep, microbatch_size=size, transform_fn=clip, metrics_fn=jnp.linalg.norm
    )
    total, each = grad(W, X, Y, 3.0)
    grads = [3 * jax.grad(loss)(W, x[None], y[None]) for x, y in zip(X, Y, strict=True)]
    close(total, sum(clip(g) for g in grads))
    close(each.metrics, jnp.stack([jnp.linalg.norm(g) for g in grads]))
    close(each.values, jnp.stack([3 * loss(W, x[None], y[None]) for x, y in zip(X, Y, strict=True)]))
    assert (each.aux == 1 + keep).all()


@pytest.mark.parametrize("kind", [SUM, MEAN, RUNNING, CONCAT], ids=str)
def test_plain_numbers_are_results_too(kind):
    """As of a function that returns a constant metric beside the loss."""
    f = lambda x: {"loss": x.sum(), "one": 1.0, "rows": np.float32(3)}
    theirs = getattr(optax.microbatching.AccumulationType, kind.name)
    close(gx.microbatch(f, 0, 4, kind)(X), optax.microbatching.microbatch(f, 0, 4, theirs)(X))
    whole = gx.microbatch(lambda x: (7, True), 0, 4)(X)
    assert [(int(x), x.dtype) for x in whole] == [(21, jnp.int32), (3, jnp.int32)]
    _, each = micro_grad(lambda w, x: (jnp.sum(x @ w), 2.0), True, microbatch_size=4, metrics_fn=lambda g: 3)(W, X)
    np.testing.assert_array_equal((each.aux, each.metrics), np.full((2, 12), [[2], [3]]))


@pytest.mark.skipif(jax.device_count() < 4, reason="needs four devices")
@pytest.mark.parametrize("kind", [AxisType.Auto, AxisType.Explicit], ids=str)
def test_every_piece_has_the_sharding_of_the_batch(kind):
    mesh = jax.make_mesh((4,), ("d",), axis_types=(kind,), devices=jax.devices()[:4])
    x = jax.device_put(jnp.arange(32.0).reshape(16, 2), NamedSharding(mesh, PartitionSpec("d")))
    with jax.set_mesh(mesh):
        pieces = jax.jit(lambda x: reshape_batch_axis(x, 8))(x)
        each = jax.jit(gx.microbatch(lambda x: 2 * x, 0, 8, CONCAT))(x)
    assert pieces.sharding.is_equivalent_to(NamedSharding(mesh, PartitionSpec(None, "d")), 3)
    np.testing.assert_array_equal(each, 2 * np.asarray(x))


def test_mistakes():
    with pytest.raises(gx.StructureError, match="a batch of 12 is not divisible by microbatch_size=5"):
        gx.microbatch(loss, (1, 2), 5)(W, X, Y)
    with pytest.raises(gx.StructureError, match=r"one length, but have \{'0': 3, '1': 12"):
        gx.microbatch(loss, (0, 1), 3)(W, X, Y)
    with pytest.raises(gx.StructureError, match=r"the batched arguments \['y'\] were not given"):
        gx.microbatch(loss, 1, 3, argnames="y")(W, X, Y)
    with pytest.raises(gx.StructureError, match="MEAN and RUNNING_MEAN need floating-point results, but got int32"):
        gx.microbatch(jnp.sum, 0, 3, MEAN)(jnp.arange(12))
    with pytest.raises(gx.StructureError, match="`accumulator` must be made of"):
        gx.microbatch(jnp.sum, 0, 3, "sum")(X)
    with pytest.raises(gx.StructureError, match="`out_axes` must be 0"):
        micro_vmap(jnp.sum, out_axes=1)
    with pytest.raises(gx.StructureError, match="no argument has a batch axis"):
        gx.microbatch(loss, (), 3)(W, X, Y)


ODD = {
    "bfloat16": (jnp.ones(999, jnp.bfloat16), 1000.0, 1.0),  # 999 is not a number of bfloat16: 996 or 1000
    "float16": (jnp.full(64, 2048.5, jnp.float16), 131072.0, 2048.0),
    "int8": (jnp.full(64, 100, jnp.int8), 6400, 100.0),
    "uint8": (jnp.full(64, 200, jnp.uint8), 12800, 200.0),
    "int16": (jnp.full(64, -30000, jnp.int16), -1920000, -30000.0),
    "bool": (jnp.ones(300, bool), 300, 1.0),
    "int32": (jnp.full(64, 2**24 + 1), 64 * (2**24 + 1), float(2**24)),
}


@pytest.mark.parametrize("case", ODD)
@pytest.mark.parametrize("pieces", [1, 3, None])
def test_the_exact_sum_is_rounded_once(case, pieces):
    """Whichever way the examples come together: mapped or not, in pieces of any size, into a sum or a mean."""
    x, total, _ = ODD[case]
    x = x[: len(x) // 3 * 3] if pieces == 3 else x
    n = len(x)
    size = None if pieces is None else n // pieces
    exact = np.asarray(x, np.float64).sum()
    floats = jnp.issubdtype(x.dtype, jnp.inexact)
    found = {SUM: micro_vmap(lambda x: x, microbatch_size=size, accumulator=SUM)(x)}
    if x.dtype != bool:
        found |= {kind: micro_vmap(lambda x: x, microbatch_size=size, accumulator=kind)(x) for kind in (MEAN, RUNNING)}
    if size is not None:
        one = gx.microbatch(lambda x: x[0], 0, 1, SUM)(x)
        assert one.dtype == found[SUM].dtype
        np.testing.assert_array_equal(one, found[SUM])
    rounded = lambda v, dtype: np.asarray(jnp.asarray(v, jnp.float32).astype(dtype), np.float64) if floats else v
    np.testing.assert_array_equal(np.asarray(found[SUM], np.float64), rounded(exact, x.dtype))
    assert found[SUM].dtype == (x.dtype if floats else jnp.sum(x).dtype)
    if n == len(ODD[case][0]):
        assert float(found[SUM]) == total or not np.isfinite(found[SUM])
    for kind in set(found) - {SUM}:
        np.testing.assert_allclose(np.asarray(found[kind], np.float64), rounded(exact / n, x.dtype), rtol=1e-6)
        assert found[kind].dtype == (x.dtype if floats else jnp.float32)


@pytest.mark.fast
@pytest.mark.parametrize("size", [1, 37, None])
def test_gradients_of_examples_are_added_wide(size):
    w, x = jnp.zeros((), jnp.bfloat16), jnp.ones(999, jnp.bfloat16)
    grad, _ = micro_grad(lambda w, x: w * x, keep_batch_dim=False, microbatch_size=size)(w, x)
    assert (grad.dtype, float(grad)) == (jnp.bfloat16, 1000.0)


@pytest.mark.parametrize("size", [None, 4])
def test_one_axis_is_that_of_all_arguments(size):
    f = lambda x, y: (x * y[0]).sum()
    close(micro_vmap(f, microbatch_size=size)(X, Y), jax.vmap(f)(X, Y))
    close(micro_vmap(f, 1, microbatch_size=size, accumulator=SUM)(X.T, Y.T), jax.vmap(f)(X, Y).sum())


@pytest.mark.parametrize("keep", [True, False])
def test_keyword_arguments_have_no_batch_axis(keep):
    f = lambda w, x, *, y: (jnp.sum(w), (x.ndim, y.ndim))
    for m in (gx.microbatching, optax.microbatching):
        _, each = m.micro_grad(f, has_aux=True, keep_batch_dim=keep, microbatch_size=4)(W, X, y=Y)
        assert each.aux[0][0] == 1 + keep
        assert each.aux[1][0] == 1
