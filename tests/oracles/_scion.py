"""Transcriptions of `scion` and `scale_by_lmo`."""

from itertools import count

import numpy as np

from oracles._arithmetic import at, rms
from oracles._collect import oracle
from oracles._matrices import orthogonalized


@oracle
def scion(
    learning_rate, norm="auto", radius=1.0, beta=0.9, eps=1e-8, constrained=True, ns_coeffs=(3.4445, -4.7750, 2.0315), ns_steps=5
):
    """Pethick et al. 2025, arXiv:2502.07529, Algorithms 1 and 2; `beta` is 1 − their momentum. Nothing is given to Adam.

    m ← β m + (1 − β) g;  d = `radius` lmo(m);  `constrained`: u = −lr (d + w), else u = −lr d

    `norm` and `radius`: one for all leaves, or a list. Leaves with two axes are (inputs, outputs), convolutions (kernel..., inputs,
    outputs); the lmo of each norm stands in `lmo`.
    """
    m, u = {}, None
    for k in count():
        g, w = yield u
        u = []
        for i, (gi, wi) in enumerate(zip(g, w, strict=True)):
            m[i] = beta * m.get(i, 0.0) + (1 - beta) * gi
            d = _of(radius, i) * lmo(_of(norm, i), m[i], eps, ns_coeffs, ns_steps)
            u.append(-at(learning_rate, k) * (d + wi if constrained else d))


@oracle
def scale_by_lmo(norm="auto", radius=1.0, beta=0.9, eps=1e-8, ns_coeffs=(3.4445, -4.7750, 2.0315), ns_steps=5):
    """The direction alone, uphill."""
    return scion.__wrapped__(-1.0, norm, radius, beta, eps, False, ns_coeffs, ns_steps)


def _of(value, i):
    return value[i] if isinstance(value, list) else value


def lmo(norm, m, eps, ns_coeffs, ns_steps):
    """Table 2 of the paper, for W = (o outputs, i inputs), the transpose of the leaf.

    "spectral" √(o/i) NS(W);  "spectral_max" max(1, √(o/i)) NS(W);  "sign" sign(W) / i;  "column" each column divided by its RMS + ε;
    "row" each row divided by (√i its norm + ε);  "bias" m / (its RMS + ε);  "auto" "bias" for 0 and 1 axes, "spectral" for 2, for
    more √(o/i) / (size of the kernel) NS(W), W (o, kernel i)
    """
    if norm == "auto":
        norm = "bias" if m.ndim < 2 else "spectral" if m.ndim == 2 else "convolution"
    if norm == "bias":
        return m / (rms(m) + eps)
    if norm == "convolution":
        kernel, (inputs, outputs) = np.prod(m.shape[:-2]), m.shape[-2:]
        X = orthogonalized(m.reshape(-1, outputs).T, ns_coeffs, ns_steps, eps=eps)
        return (np.sqrt(outputs / inputs) / kernel * X).T.reshape(m.shape)
    W = m.T
    outputs, inputs = W.shape
    if norm in ("spectral", "spectral_max"):
        scale = np.sqrt(outputs / inputs) if norm == "spectral" else max(1.0, np.sqrt(outputs / inputs))
        u = scale * orthogonalized(W, ns_coeffs, ns_steps, eps=eps)
    elif norm == "sign":
        u = np.sign(W) / inputs
    elif norm == "column":
        u = W / (np.sqrt(np.mean(W**2, axis=0, keepdims=True)) + eps)
    elif norm == "row":
        u = W / (np.sqrt(inputs) * np.sqrt(np.sum(W**2, axis=1, keepdims=True)) + eps)
    else:
        raise ValueError(f"no norm is named {norm!r}")
    return u.T
