"""What a type checker sees of the public calls. Not run: pyright reads it."""

from typing import assert_type

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
