"""What a training script of PyTorch's or Keras's has beside its optimizer, and what is said to those who write it as there."""

import math

import jax.numpy as jnp
import numpy as np
import pytest

import gradxform as gx
from gradxform.dialects import keras, torch
from gradxform.testing import examine

PARAMS = {"w": jnp.ones((2, 3)), "b": jnp.ones(3)}


@pytest.mark.fast
@pytest.mark.parametrize("norm_type", [1.0, 2.0, 3.0, math.inf])
@pytest.mark.parametrize("size", [0.01, 10.0])
def test_clip_grad_norm(norm_type, size):
    r = np.random.default_rng(0)
    grads = {"w": size * r.standard_normal((2, 3)), "none": None, "b": size * r.standard_normal(4)}
    tx = gx.chain(torch.clip_grad_norm(0.5, norm_type), torch.sgd(1.0))
    updates, _ = tx.update(gx.tree.cast(grads, jnp.float32), tx.init(grads), grads)
    norm = np.linalg.norm(np.concatenate([grads["w"].ravel(), grads["b"]]), norm_type)
    for k in ("w", "b"):
        np.testing.assert_allclose(updates[k], -grads[k] * min(1, 0.5 / (norm + 1e-6)), rtol=1e-6)


@pytest.mark.fast
def test_clip_grad_norm_has_their_last_digits():
    """At a norm of 1e-6 the constant is half of it."""
    u, _ = torch.clip_grad_norm(1e-7).update(jnp.asarray([1e-6]), (), None)
    np.testing.assert_allclose(u, [1e-6 * 1e-7 / 2e-6], rtol=1e-5)


@pytest.mark.parametrize("norm_type", [2.0, 1.5, math.inf])
def test_laws_of_clip_grad_norm(norm_type):
    report = examine(torch.clip_grad_norm(1.0, norm_type))
    assert report.ok, report


@pytest.mark.fast
@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: torch.AdamW, "has no 'AdamW'. Did you mean 'adamw'?"),
        (lambda: keras.Adam, "has no 'Adam'. Did you mean 'adam'?"),
        (lambda: torch.clip_grad_norm_, "Did you mean 'clip_grad_norm'?"),
        (lambda: torch.lr_scheduler.steplr, "Did you mean 'StepLR'?"),
        (lambda: torch.adamw(PARAMS, lr=1e-3), "The parameters are for `init`: `state = tx.init(params)`."),
        (lambda: torch.adamw(iter([1]), lr=1e-3), "The parameters are for `init`: `state = tx.init(params)`."),
        (lambda: torch.adamw(x for x in (1, 2)), "The parameters are for `init`: `state = tx.init(params)`."),
        (lambda: keras.adam(PARAMS, learning_rate=1e-3), "The parameters are for `init`: `state = tx.init(params)`."),
        (lambda: gx.adam([PARAMS], learning_rate=1e-3), "The parameters are for `init`: `state = tx.init(params)`."),
        (lambda: torch.clip_grad_norm(1.0, 0), "torch.clip_grad_norm: `norm_type` must be a number in (0, inf], but got 0"),
        (
            lambda: torch.clip_grad_norm(-1.0),
            "torch.clip_grad_norm: `max_norm` must be a number, an array or a schedule in [0, inf]",
        ),
    ],
)
def test_hints(call, text):
    with pytest.raises((AttributeError, gx.HyperparameterError)) as info:
        call()
    assert text in str(info.value)


@pytest.mark.fast
def test_another_mistake_has_no_such_hint():
    with pytest.raises(gx.HyperparameterError) as info:
        torch.adamw(1e-3, lr=1e-3)
    assert "init" not in str(info.value)
