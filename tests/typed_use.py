"""What a type checker sees of the public calls. Not run: pyright reads it."""

from collections.abc import Callable
from typing import assert_type

import jax
import jax.numpy as jnp
import numpy as np

import gradxform as gx


def factories() -> None:
    assert_type(gx.scale_by_adam(0.9, 0.95, eps=1e-6), gx.GradientTransformationExtraArgs)
    assert_type(gx.trace(decay=0.9, nesterov=True), gx.GradientTransformationExtraArgs)
    assert_type(gx.clip_by_global_norm(1.0), gx.GradientTransformationExtraArgs)
    assert_type(gx.chain(gx.clip(1.0), gx.scale(-0.1)), gx.GradientTransformationExtraArgs)
    gx.scale_by_adam(b3=0.9)  # pyright: ignore[reportCallIssue]  the kernel has no such hyperparameter
    gx.trace()  # pyright: ignore[reportCallIssue]  decay is required
    gx.scale_by_adam(nesterov="yes")  # pyright: ignore[reportArgumentType]  a flag is a flag


@gx.per_leaf()
def halve(g, s, p, c, *, times: int = 1):
    return g / 2**times, s


def lifted() -> None:
    assert_type(halve(times=2), gx.GradientTransformationExtraArgs)
    halve(2)  # pyright: ignore[reportCallIssue]  the kernel's star stays


def losses(scores: jax.Array, labels: np.ndarray) -> None:
    assert_type(gx.losses.softmax_cross_entropy_with_integer_labels(scores, labels, where=labels >= 0), jax.Array)
    assert_type(gx.losses.ctc_loss_with_forward_probs(scores, 0, labels, 0), tuple[jax.Array, jax.Array, jax.Array])
    assert_type(gx.losses.l2_loss(1.0, targets=labels), jax.Array)
    gx.losses.l2_loss("scores")  # pyright: ignore[reportArgumentType]  numbers, not their name
    gx.losses.softmax_cross_entropy(scores, labels, axis=0.5)  # pyright: ignore[reportArgumentType]  an axis is whole
    gx.losses.huber_loss(scores, labels, 2.0)  # pyright: ignore[reportCallIssue]  delta is given by name

    def hottest(x: jax.Array, temperature: float) -> jax.Array:
        return x.max() / temperature

    loss = gx.losses.make_fenchel_young_loss(hottest)
    assert_type(loss(scores, labels, temperature=2.0), jax.Array)
    loss(scores, labels)  # pyright: ignore[reportCallIssue]  what `hottest` needs, the loss needs


def trees(params: dict[str, jax.Array]) -> None:
    assert_type(gx.tree.norm(params), jax.Array)
    assert_type(gx.tree.size(params), int)
    assert_type(gx.tree.max(params), jax.Array | float)  # of no elements it is -inf
    assert_type(gx.tree.dtype(params, "promote"), np.dtype)
    gx.tree.dtype(params, "widest")  # pyright: ignore[reportArgumentType]  no such way
    gx.tree.scale("0.1", params)  # pyright: ignore[reportArgumentType]
    gx.tree.map_params(gx.adam(0.1), abs, gx.adam(0.1).init(params))
    gx.tree.map_params(3, abs, params)  # pyright: ignore[reportArgumentType]  neither a transformation nor an `init`


def numbers(x: jax.Array, y: np.ndarray) -> None:
    assert_type(gx.numerics.abs_sq(x), jax.Array)
    assert_type(gx.numerics.abs_sq(y), np.ndarray)
    assert_type(gx.numerics.safe_norm(y, 1e-6, axis=(0, 1)), jax.Array)
    gx.numerics.safe_norm(x, None)  # pyright: ignore[reportArgumentType]
    assert_type(gx.nnls(x, y, iters=10), jax.Array)
    assert_type(gx.assignment.hungarian_algorithm(y), tuple[jax.Array, jax.Array])
    gx.projections.projection_simplex(x, scale="1")  # pyright: ignore[reportArgumentType]


def searches(schedule: Callable[[jax.Array], jax.Array]) -> None:
    gx.scale_by_zoom_linesearch(15, max_learning_rate=None, tol=np.float32(1e-3))
    gx.scale_by_zoom_linesearch(15, tol=schedule)  # pyright: ignore[reportArgumentType]  a search has no schedules
    gx.error_feedback(gx.two_bit(0.5), ("data", "model"))
    gx.error_feedback("two_bit")  # pyright: ignore[reportArgumentType]  a compressor, not its name
    gx.master_weights(gx.adam(0.1), dtype=jnp.float32, key=0)
