"""Muon: momentum, orthogonalized."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal, NamedTuple

import jax.numpy as jnp

from gradxform._errors import HyperparameterError, StructureError
from gradxform._numerics import real_part, round_to, widen
from gradxform._types import (
    Array,
    Average,
    Clock,
    Decay,
    DType,
    Field,
    Hyper,
    MaskOrFn,
    NonNegative,
    Real,
    Shared,
    SpreadOver,
    Updates,
    Whole,
    Wire,
)
from gradxform.core import chain, per_leaf
from gradxform.core._roles import DimensionNumbers, Roles, WeightDimensionNumbers, role_for
from gradxform.linear_algebra._newton_schulz import Preconditioning, newton_schulz
from gradxform.linear_algebra._polynomials import JORDAN, polynomials
from gradxform.optimizers._matrices import Coefficients, ShapeScale, coefficients, rows_of, scale_by_shape, with_adam
from gradxform.registry import optimizer, transform
from gradxform.transforms import add_decayed_weights, scale_by_learning_rate


class MuonDimensionNumbers(NamedTuple):
    """Optax's name for `WeightDimensionNumbers`, of the first two axes where nothing else is said.

    An axis counts modulo the number of axes of the weight.
    """

    reduction_axis: Sequence[int] | int = 0
    output_axis: Sequence[int] | int = 1


class MuonState(NamedTuple):
    """The running mean of g, and the coefficients of the iteration."""

    count: Clock
    mu: Annotated[Updates, Field(stored="mu_dtype", mean="beta")]
    ns_coeffs: Annotated[Shared, coefficients("scale_by_muon")]


def orthogonalize_via_newton_schulz(
    x: Array,
    ns_coeffs: Coefficients,
    ns_steps: int = 5,
    preconditioning: Preconditioning = "frobenius",
    eps: float | Array = 1e-8,
    dimension_numbers: WeightDimensionNumbers | MuonDimensionNumbers | str | None = None,
    *,
    gram: bool = False,
) -> Array:
    """The nearest semi-orthogonal matrix, roughly: U S V* gives about U V*.

        x = x scale(x)                          so that its singular values are at most 1
        a = x x*
        x = c0 x + (c1 a + c2 a a) x            ns_steps times, or once for each row of ns_coeffs

    Args:
      x: a matrix, or an array with dimension_numbers.
      ns_coeffs: the coefficients of the Newton-Schulz polynomial, a row for all steps or one for each; or the name of a table: "standard",
        "dion", "polar_express", "deepseek_v4", "cans", "cubic", "turbo", "dion2".
      ns_steps: the number of Newton-Schulz steps; a table with a row for each is used whole, "polar_express" as far as they go.
      preconditioning: how the matrix is scaled first: "frobenius", "spectral", "aol" or "schatten".
      eps: added to the norm by which the matrix is divided first.
      dimension_numbers: which axes are inputs and outputs, the others a batch; None: a matrix (inputs, outputs).
      gram: the same numbers by products of the shorter side; fewer operations where the longer is twice as long or more.

    >>> q = gx.orthogonalize_via_newton_schulz(jnp.diag(jnp.array([3.0, 1.0])), jnp.array([1.5, -0.5, 0.0]), ns_steps=20)
    >>> jnp.round(jnp.abs(q), 3)
    Array([[1., 0.],
           [0., 1.]], dtype=float32)

    Shapes   x: a matrix, or any with dimension_numbers, which may leave a batch; ns_coeffs (3,) or (n, 3).
    Source   Jordan et al. 2024, https://kellerjordan.github.io/posts/muon.
    Differs  dimension numbers of a matrix are heeded; eps reaches every preconditioning.
    Raises   StructureError: not a matrix, and no dimension numbers. HyperparameterError: no table of that name.
    """
    coeffs, dtype = rows_of("orthogonalize_via_newton_schulz", ns_coeffs, ns_steps), widen(x.dtype)
    if dimension_numbers is None and x.ndim != 2:
        raise StructureError(
            f"orthogonalize_via_newton_schulz: expected a matrix, but `x` has shape {x.shape}. Say with "
            "`dimension_numbers=WeightDimensionNumbers(...)` which axes are inputs and outputs."
        )
    axes = role_for(
        "orthogonalize_via_newton_schulz", x.shape, WeightDimensionNumbers() if dimension_numbers is None else dimension_numbers
    )
    u = newton_schulz(axes.matrix(x.astype(dtype)), coeffs.astype(real_part(dtype)), ns_steps, preconditioning, eps, gram)
    return round_to(axes.array(u, x.shape), x.dtype)


@transform(source="Jordan et al. 2024, https://kellerjordan.github.io/posts/muon", homogeneity=0, example={"eps": 1e-30}, ndim=2)
@per_leaf(
    MuonState,
    stack=True,
    sees="matrix",
)
def scale_by_muon(
    g, s, p, c,
    ns_coeffs: Coefficients = JORDAN, ns_steps: Whole = 5, beta: Average = 0.95, eps: NonNegative = 1e-8, mu_dtype: DType | None = None,
    *, nesterov: bool = True, adaptive: bool = False, preconditioning: Preconditioning = "frobenius",
    weight_dimension_numbers: Roles = None, spread: SpreadOver = None, wire: Wire = jnp.bfloat16, gram: bool = False,
    bias_correction: bool = True, ema: bool = True,
):  # fmt: skip
    """Orthogonalize the gradient's running mean.

        mu = beta mu + (1 - beta) g             ema=False: 1 in the place of every 1 - beta
        m  = mu / (1 - beta^t)                  nesterov: beta mu / (1 - beta^(t+1)) + (1 - beta) g / (1 - beta^t)
                                                bias_correction=False: without the denominators
        u  = newton_schulz(m)                   m = U S V* gives about U V*
        u  = <m, u> u                           if adaptive

    Args:
      ns_coeffs: the coefficients of the Newton-Schulz polynomial, a row for all steps or one for each; or the name of a table: "standard",
        "dion", "polar_express", "deepseek_v4", "cans", "cubic", "turbo", "dion2".
      ns_steps: the number of Newton-Schulz steps; a table with a row for each is used whole, "polar_express" as far as they go.
      beta: how much of the running mean of gradients stays at each update.
      eps: added to the norm by which the matrix is divided first.
      mu_dtype: the dtype of the running mean; None: the parameter's, float32 or wider.
      nesterov: look ahead by one step of the momentum.
      adaptive: multiply the result by its inner product with the momentum.
      preconditioning: how the matrix is scaled first: "frobenius", "spectral", "aol" or "schatten".
      weight_dimension_numbers: which axes are a leaf's inputs and outputs: `WeightDimensionNumbers`, "flax", "equinox", "conv" or None; one
        for all, patterns of paths, a tree, or a function.
      spread: the axis of the mesh, or a tuple of axes, over whose devices whole matrices are dealt out; None: each is iterated on where
        it lives.
      wire: with spread, the dtype in which matrices travel between devices; None: that of the iteration.
      gram: the same numbers by products of the shorter side; fewer operations where the longer is twice as long or more.
      bias_correction: divide the running mean and g by what is missing of a mean that began at 0.
      ema: mu is a running mean; False: a decaying sum, of which g is a part with weight 1.

    >>> tx = gx.chain(gx.masked(gx.contrib.scale_by_muon(), gx.by_ndim(2)), gx.scale_by_learning_rate(0.02))

    State    count; mu: like p, float32 or wider unless mu_dtype says otherwise; ns_coeffs. Memory: 1 x params.
    Cost     ns_steps (4 s^2 l + 2 s^3) for a matrix of sides s <= l; with gram at most 8 s^2 l + 8 ns_steps s^3.
    Units    u is dimensionless, its singular values are about 1: scaling every gradient by k > 0 leaves u unchanged (eps -> 0).
    Shapes   matrices (inputs, outputs); other shapes with weight_dimension_numbers: one for all leaves, a tree of them, or a
             function of the updates that returns one. Leaves of one shape are iterated on as one batch. With spread, m of every leaf
             travels to one device and u back, once in each step; mu stays with the parameter. Of a device's part of the parameters
             2 + 2 bytes per element travel in bfloat16, as many as half of the float32 parameters for each way. What other axes shard
             is gathered where it has arrived; of a leaf split along the axis that counts its matrices, these axes of the mesh are not
             crossed. If the mesh is automatic, JAX does not say what shards a matrix, and more travels in three cases: such a leaf is
             gathered, n times as many bytes for n devices, but by a GPU's compiler for one axis; of several axes in spread one shards
             nothing, or one side by the smaller first, up to 2.5 times; others shard it, too, or matrices of one shape are sharded
             differently, 5 to 15 times. Make the axes explicit. Matrices that the devices do not divide are dealt out by cost, and
             padded.
    Sharded  inside `shard_map` the device's own part of a matrix counts as the matrix; under `jit` the whole does.
    Source   Jordan et al. 2024, https://kellerjordan.github.io/posts/muon; adaptive: arXiv:2502.16982.
    Differs  spread and wire: in bfloat16 an element of m and of u is off by 2^-9 of itself at most, with wire=None by nothing but the
             order in which XLA computes m. float32 iterations for narrow parameters; a zero gradient gives 0 in every dtype.
             adaptive: the inner product is that of each matrix; Optax's is that of all matrices of a leaf. "turbo" is as published: it
             turns around what has a singular value above 0.884 once the matrix is scaled. With "aol", a row, a matrix of rank 1 and an
             orthogonal one have such alone, and go uphill.
    Raises   StructureError: a leaf is not a matrix. HyperparameterError: beta outside (-1, 1), ns_coeffs of
             another shape, no table of that name, an unknown preconditioning, no mesh for spread, spread names no axis of it, spread
             names an axis of shard_map, spread is no name, wire is not a real dtype.
    """
    weight = 1 - beta if ema else 1
    mu = beta * s.mu + weight * g
    mean = c.debias if bias_correction else lambda x, beta, ahead=0: x
    m = beta * mean(mu, beta, ahead=1) + weight * mean(g, beta) if nesterov else mean(mu, beta)
    u = c.whole(newton_schulz, m, s.ns_coeffs.astype(c.dtype), ns_steps, preconditioning, eps, gram)
    u = jnp.sum(m.conj() * u) * u if adaptive else u
    return u, s._replace(mu=mu)


@optimizer(
    source="Jordan et al. 2024, https://kellerjordan.github.io/posts/muon",
    example={"learning_rate": 0.02, "eps": 1e-30},
    homogeneity=0,
    rates={"default": 2e-2, "digits": 3e-2},
)
def muon(
    learning_rate: Real[Hyper],
    ns_coeffs: Coefficients = JORDAN,
    ns_steps: Whole = 5,
    beta: Average[Hyper] = 0.95,
    eps: NonNegative[Hyper] = 1e-8,
    weight_decay: Real[Hyper] = 0.0,
    weight_decay_mask: MaskOrFn = None,
    mu_dtype: DType | None = None,
    *,
    nesterov: bool = True,
    adaptive: bool = False,
    preconditioning: Preconditioning = "frobenius",
    adam_b1: Average[Hyper] = 0.9,
    adam_b2: Decay[Hyper] = 0.999,
    adam_eps_root: NonNegative[Hyper] = 0.0,
    adam_weight_decay: Real[Hyper] = 0.0,
    adam_learning_rate: Real[Hyper] | None = None,
    muon_weight_dimension_numbers: DimensionNumbers = None,
    consistent_rms: NonNegative[Hyper] | None = None,
    weight_dimension_numbers: DimensionNumbers = None,
    spread: SpreadOver = None,
    wire: Wire = jnp.bfloat16,
    gram: bool = False,
    shape_scale: ShapeScale = "original",
    bias_correction: bool = True,
    ema: bool = True,
    weight_decay_policy: Literal["scaled", "cautious"] = "scaled",
):
    """Muon: orthogonalized momentum for matrices, AdamW for everything else.

        m = beta mu / (1 - beta^(t+1)) + (1 - beta) g / (1 - beta^t)        mu = beta mu + (1 - beta) g
        u = -learning_rate (sqrt(max(1, outputs / inputs)) newton_schulz(m) + weight_decay p)

    Args:
      learning_rate: the size of a step: a number, an array that fits every leaf, or a schedule of the number of updates.
      ns_coeffs: the coefficients of the Newton-Schulz polynomial, a row for all steps or one for each; or the name of a table: "standard",
        "dion", "polar_express", "deepseek_v4", "cans", "cubic", "turbo", "dion2".
      ns_steps: the number of Newton-Schulz steps; a table with a row for each is used whole, "polar_express" as far as they go.
      beta: how much of the running mean of gradients stays at each update.
      eps: added to the norm by which the matrix is divided first.
      weight_decay: decoupled decay of the matrices: the part of the parameters, times learning_rate, that is taken away.
      weight_decay_mask: which leaves decay: patterns such as `{"*/bias": False, "default": True}`, `by_ndim(2)`, a tree, a function;
        None: all.
      mu_dtype: the dtype of the running mean; None: the parameter's, float32 or wider.
      nesterov: look ahead by one step of the momentum.
      adaptive: multiply the result by its inner product with the momentum.
      preconditioning: how the matrix is scaled first: "frobenius", "spectral", "aol" or "schatten".
      adam_b1: b1 of the AdamW that the other leaves get.
      adam_b2: b2 of the AdamW that the other leaves get.
      adam_eps_root: eps_root of the AdamW that the other leaves get.
      adam_weight_decay: weight_decay of the AdamW that the other leaves get.
      adam_learning_rate: the rate of the AdamW that the other leaves get; None: learning_rate.
      muon_weight_dimension_numbers: Optax's name for weight_dimension_numbers.
      consistent_rms: the root mean square of every matrix's step, in units of the rate; None: as shape_scale says.
      weight_dimension_numbers: which axes are a leaf's inputs and outputs: `WeightDimensionNumbers`, "flax", "equinox", "conv" or
        None; one for all, patterns of paths, a tree, or a function.
      spread: the axis of the mesh, or a tuple of axes, over whose devices whole matrices are dealt out; None: each is iterated on where
        it lives.
      wire: with spread, the dtype in which matrices travel between devices; None: that of the iteration.
      gram: the same numbers by products of the shorter side; fewer operations where the longer is twice as long or more.
      shape_scale: how a matrix's step depends on its shape: "original", sqrt(max(1, outputs / inputs)); "spectral", without the max;
        "match_rms_adamw", 0.2 sqrt(max(inputs, outputs)); None: not at all.
      bias_correction: divide the running mean and g by what is missing of a mean that began at 0.
      ema: mu is a running mean; False: a decaying sum, of which g is a part with weight 1.
      weight_decay_policy: "scaled": all decay; "cautious": what the step makes smaller, too; see `add_decayed_weights`.

    >>> tx = gx.muon(0.02, weight_dimension_numbers={"b": None, "w": "flax"}, adam_learning_rate=1e-3)  # None: no matrix, so AdamW
    >>> updates, state = tx.update(grads, tx.init(params), params)

    State    PartitionState: under "muon" MuonState(count, mu, ns_coeffs) and stateless stages, under "adam" the state of `adamw`.
             Memory: 1 x the matrices, 2 x the rest.
    Cost     ns_steps (4 s^2 l + 2 s^3) for a matrix of sides s <= l; with gram at most 8 s^2 l + 8 ns_steps s^3.
    Units    learning_rate has those of a spectral norm: each matrix moves by about learning_rate in its largest singular value.
    Shapes   matrices (inputs, outputs) get Muon; with weight_dimension_numbers the leaves that have some. Do not use it for embeddings
             and the last layer: say None of them.
    Sharded  inside `shard_map` the device's own part of a matrix counts as the matrix; under `jit` the whole does.
    Source   Jordan et al. 2024, https://kellerjordan.github.io/posts/muon; the shape factor: arXiv:2409.20325.
    Differs  weight_dimension_numbers, spread, wire, gram, shape_scale, bias_correction, ema and weight_decay_policy; leaves of one
             shape are iterated on as one batch; Optax's tables are "standard" and "dion" alone. Of "turbo" `scale_by_muon` says what
             it does.
    Raises   MissingArgumentError: no params. HyperparameterError: an argument out of range, no table of that name, no mesh for spread,
             spread names no axis of it, muon_weight_dimension_numbers beside weight_dimension_numbers.
    """
    if isinstance(ns_coeffs, str):
        polynomials("muon", ns_coeffs, ns_steps)
    if muon_weight_dimension_numbers is not None and weight_dimension_numbers is not None:
        raise HyperparameterError(
            "muon: `muon_weight_dimension_numbers` is Optax's name for `weight_dimension_numbers`, and both are given. Give one of them."
        )
    dims = muon_weight_dimension_numbers if weight_dimension_numbers is None else weight_dimension_numbers
    matrices = chain(
        scale_by_muon(
            ns_coeffs, ns_steps, beta, eps, mu_dtype,
            nesterov=nesterov, adaptive=adaptive, preconditioning=preconditioning, weight_dimension_numbers=dims,
            spread=spread, wire=wire, gram=gram,
            bias_correction=bias_correction, ema=ema,
        ),
        scale_by_shape(dims, consistent_rms, shape_scale),
        add_decayed_weights(weight_decay, weight_decay_mask, policy=weight_decay_policy),
        scale_by_learning_rate(learning_rate),
    )  # fmt: skip
    return with_adam(
        "muon", matrices, dims, learning_rate, adam_learning_rate,
        adam_b1, adam_b2, eps, adam_eps_root, mu_dtype, adam_weight_decay, nesterov,
    )  # fmt: skip
