"""SOAP: Adam in the eigenbasis of Shampoo's factors."""

from __future__ import annotations

from typing import Annotated, Any, NamedTuple

import jax.numpy as jnp

from gradxform._types import (
    Array,
    Average,
    Axes,
    Clock,
    Count,
    Decay,
    DType,
    Field,
    NonNegative,
    RealUpdates,
    Shape,
    Updates,
)
from gradxform.core import per_leaf
from gradxform.core._refresh import Every, Phase, Since, Start
from gradxform.core._roles import BlockSize, MergeDims, Roles
from gradxform.linear_algebra._factorizations import eigh, qr
from gradxform.linear_algebra._kronecker import HIGHEST, along, outer
from gradxform.registry import transform


def squares(shape: Shape, max_precond_dim: int, precondition_1d: bool = False) -> tuple[Axes | None, ...]:
    """A square matrix for each axis that is not too long; none for a vector, unless it is asked for."""
    few = len(shape) < 2 and not (precondition_1d and shape)
    return tuple(None if few or n > max_precond_dim else Axes(k, k) for k, n in enumerate(shape))


class SoapState(NamedTuple):
    """Adam's two means, in the bases; for each axis a factor, and its eigenvectors as columns."""

    count: Clock
    mu: Annotated[Updates, Field(stored="mu_dtype", mean="b1")]
    nu: Annotated[RealUpdates, Field(mean="b2", nonnegative=True)]
    factors: Annotated[Any, Field("leaf", axes=squares)]
    bases: Annotated[Any, Field("leaf", axes=squares)]
    since: Since = None


def _begun(old, factors, tie_break):
    """The bases of the first factors, whose null spaces are what LAPACK makes of them, or by tie_break those of the last axes."""
    mu, nu, _ = old
    return mu, nu, tuple(None if L is None else eigh(_untied(L, tie_break))[1][:, ::-1] for L in factors)


def _untied(L: Array, tie_break: float | Array) -> Array:
    n = len(L)
    return L + tie_break * jnp.trace(L) / n * jnp.diag(jnp.arange(1, n + 1, dtype=L.dtype)) / n


def _turned(old, factors, _):
    """One step of the power iteration from the old bases, in order of the eigenvalues; the means turn with them."""
    mu, nu, bases = old
    mu, new = along(mu, bases, transposed=True), []
    for k, (L, Q) in enumerate(zip(factors, bases, strict=True)):
        if L is None:
            new.append(None)
            continue
        order = jnp.argsort(-jnp.sum(Q * jnp.matmul(L, Q, precision=HIGHEST), 0))
        nu = jnp.take(nu, order, k)
        new.append(qr(jnp.matmul(L, Q[:, order], precision=HIGHEST))[0])
    return along(mu, new), nu, tuple(new)


@transform(source="Vyas et al. 2024, arXiv:2409.11321", homogeneity=0, example={"eps": 1e-30, "every": 2})
@per_leaf(SoapState, stack=True, sees="tensor")
def scale_by_soap(
    g, s, p, c,
    b1: Average = 0.95, b2: Decay = 0.95, shampoo_beta: Decay | None = None, eps: NonNegative = 1e-8, mu_dtype: DType | None = None,
    *, precondition_1d: bool = False, normalize_grads: bool = False, bias_correction: bool = True, max_precond_dim: Count = 10000,
    block_size: BlockSize = None, merge_dims: MergeDims = None, every: Every = 10, start: Start = None, phase: Phase = "all",
    tie_break: NonNegative = 0.0, weight_dimension_numbers: Roles = None,
):  # fmt: skip
    """Adam in the eigenbasis of Shampoo's factors."""
    b3 = b2 if shampoo_beta is None else shampoo_beta
    G = jnp.where(c.t > 1, along(g, s.bases), 0)
    mu = b1 * s.mu + (1 - b1) * G
    nu = b2 * s.nu + (1 - b2) * G**2
    u = along(mu / (jnp.sqrt(nu) + eps), s.bases, transposed=True)
    if normalize_grads:
        u = u / (1e-30 + jnp.sqrt(jnp.mean(u**2)))
    if bias_correction:
        u = c.debias(u, b1, ahead=-1) / jnp.sqrt(c.debias(jnp.ones((), u.dtype), b2, ahead=-1))
    factors = tuple(None if L is None else b3 * L + (1 - b3) * outer(g, k) for k, L in enumerate(s.factors))
    turned = mu, nu, s.bases
    if any(L is not None for L in factors):
        turned = c.refresh(_turned, turned, factors, tie_break, at=c.t - 1, instead=[(c.t == 1, _begun)])
    return u, s._replace(mu=turned[0], nu=turned[1], factors=factors, bases=turned[2])
