"""What a type checker sees of the public calls. Not run: pyright reads it."""

from typing import assert_type

import jax
import jax.numpy as jnp
import numpy as np

import gradxform as gx
from gradxform.dialects import keras, mxnet, neon, torch


def factories() -> None:
    assert_type(gx.scale_by_adam(0.9, 0.95, eps=1e-6), gx.GradientTransformationExtraArgs)
    assert_type(gx.trace(decay=0.9, nesterov=True), gx.GradientTransformationExtraArgs)
    assert_type(gx.clip_by_global_norm(1.0), gx.GradientTransformationExtraArgs)
    assert_type(gx.chain(gx.clip(1.0), gx.scale(-0.1)), gx.GradientTransformationExtraArgs)
    gx.scale_by_adam(b3=0.9)  # pyright: ignore[reportCallIssue]  the kernel has no such hyperparameter
    gx.trace()  # pyright: ignore[reportCallIssue]  decay is required
    gx.scale_by_adam(nesterov="yes")  # pyright: ignore[reportArgumentType]  a flag is a flag


def dialects() -> None:
    assert_type(torch.adam(gx.cosine_decay_schedule(1e-3, 100), betas=(0.9, 0.95)), gx.GradientTransformationExtraArgs)
    assert_type(keras.adamw(1e-3, clipnorm=1.0, use_ema=True), gx.GradientTransformationExtraArgs)
    torch.adam("fast")  # pyright: ignore[reportArgumentType]  no number, array or schedule
    torch.adam(betas=0.9)  # pyright: ignore[reportArgumentType]  two numbers
    torch.adam(lr=None)  # pyright: ignore[reportArgumentType]  None only where it is said
    keras.sgd(clipnorm="big")  # pyright: ignore[reportArgumentType]  the common arguments too
    mxnet.sgd(0.1, weight_decay=0.1)  # pyright: ignore[reportCallIssue]  it is called wd there
    mxnet.rmsprop(clip_weights=lambda k: 0.1)  # pyright: ignore[reportArgumentType]  no schedule
    neon.adam(key=0.5)  # pyright: ignore[reportArgumentType]  a key or a whole number


def hyperparameters() -> None:
    """An optimizer's hyperparameter is a number, a scalar array or a schedule; a mask, dtype or key is one of its own forms."""
    for rate in (
        1,
        1e-3,
        np.float32(1e-3),
        np.asarray(1e-3),
        jnp.asarray(1e-3),
        gx.linear_schedule(1e-3, 0.0, 100),
        lambda k: 1 / k,
    ):
        gx.adam(rate, b1=rate)
    gx.adamw(1e-3, mu_dtype="bfloat16", mask={"*/bias": False, "default": True})
    gx.adamw(1e-3, mu_dtype=jnp.bfloat16, mask=lambda params: jax.tree.map(jnp.ndim, params))
    gx.muon(0.02, ns_coeffs="dion", muon_weight_dimension_numbers=gx.MuonDimensionNumbers(0, 1))
    gx.noisy_sgd(0.1, key=jax.random.key(0))
    gx.dpsgd(0.1, 1.0, 1.0, key=0, momentum=gx.linear_schedule(0.9, 0.8, 10))
    gx.fromage(gx.constant_schedule(0.01))
    gx.adam("fast")  # pyright: ignore[reportArgumentType]
    gx.adam(None)  # pyright: ignore[reportArgumentType]  only where None is listed
    gx.adamw(1e-3, weight_decay="little")  # pyright: ignore[reportArgumentType]
    gx.lion(1e-3, b1=(0.9, 0.99))  # pyright: ignore[reportArgumentType]
    gx.adam(1e-3, mu_dtype=16)  # pyright: ignore[reportArgumentType]
    gx.noisy_sgd(0.1, key=0.5)  # pyright: ignore[reportArgumentType]
    gx.dpsgd(0.1, gx.constant_schedule(1.0), 1.0, key=0)  # pyright: ignore[reportArgumentType]  the clip is no schedule
    gx.dog(init_step=("slowly", 1.0))  # pyright: ignore[reportArgumentType]
    gx.add_decayed_weights("little")  # pyright: ignore[reportArgumentType]
    gx.scale_by_adam(mu_dtype=16)  # pyright: ignore[reportArgumentType]


@gx.per_leaf()
def halve(g, s, p, c, *, times: int = 1):
    return g / 2**times, s


def lifted() -> None:
    assert_type(halve(times=2), gx.GradientTransformationExtraArgs)
    halve(2)  # pyright: ignore[reportCallIssue]  the kernel's star stays
