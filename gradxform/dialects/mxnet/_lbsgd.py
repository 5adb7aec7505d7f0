"""MXNet's `LBSGD`."""

from __future__ import annotations

import dataclasses
from typing import Literal, Unpack

import jax.numpy as jnp

from gradxform._numerics import abs_sq
from gradxform._types import Array, Bound, Count, Hyper, LeafNumbers, NonNegative, Real, Unit, Whole
from gradxform.core import chain, per_leaf
from gradxform.core._hyper import evaluate
from gradxform.dialects._pieces import is_zero
from gradxform.dialects.mxnet._mxnet import Common, clipped, clips, decay, filled, finished, mxnet_optimizer, rate, rescaled
from gradxform.schedules._path import real
from gradxform.transforms import scale, trace
from gradxform.wrappers import accumulate as accumulated

CURVES = {"linear": 1.0, "power2": 2.0, "sqrt": 0.5}


@dataclasses.dataclass(frozen=True)
class MacroBatches:
    """How mini-batches are counted: `before` of them at the start, `first` up to the first macro-batch, then `size` for each."""

    before: int
    first: int
    size: int

    def counted(self, k: Array) -> Array:
        """The mini-batches counted when the (k+1)-th macro-batch is complete."""
        return self.before + self.first + k * self.size

    def __call__(self, k: Array) -> Array:
        """The mini-batches in the (k+1)-th macro-batch."""
        return jnp.where(k > 0, self.size, self.first)


@dataclasses.dataclass(frozen=True)
class Share:
    """A schedule: the mini-batches of a macro-batch, by what their sum is divided by."""

    batches: MacroBatches

    def __call__(self, k: Array) -> Array:
        return self.batches(k) / float(self.batches.size)


@dataclasses.dataclass(frozen=True)
class WarmUp:
    """A schedule: the learning rate times its warm-up factor."""

    learning_rate: Hyper
    batches: MacroBatches
    strategy: str
    steps: int
    accumulate: bool

    def __call__(self, k: Array) -> Array | float:
        n = self.batches.counted(k)
        seen = n - self.batches.before - 1 if self.accumulate else k
        return evaluate(self.learning_rate, seen, "mxnet.lbsgd", "learning_rate") * self._factor(n)

    def _factor(self, n: Array) -> Array | float:
        if self.strategy == "lars":
            return 1.0
        size = self.batches.size
        if self.steps <= 1:
            return jnp.where(n >= self.steps, size, 1)
        return 1 + (size - 1) * jnp.minimum(real(n) / float(self.steps), 1) ** CURVES[self.strategy]


@per_leaf(needs=("params",))
def scale_by_lbsgd_ratio(
    g, s, p, c,
    rescale_grad: Real = 1.0, clip_gradient: Bound | None = None, wd: NonNegative = 0.0, wd_mult: LeafNumbers = None,
):  # fmt: skip
    """The direction of `lbsgd` with the strategy "lars": see there."""
    decay, above = wd * c.wd_mult, jnp.sum(abs_sq(p))
    ratio = jnp.sqrt(above / (jnp.sum(abs_sq(g)) + decay * above + 1e-18))
    return jnp.clip(ratio, 0.01, 100) * (clipped(rescale_grad * g, clip_gradient) + decay * p), s


@mxnet_optimizer(core="lars", example={"momentum": 0.9, "batch_scale": 2, "updates_per_epoch": 4, "warmup_epochs": 2})
def lbsgd(
    learning_rate: Real[Hyper] = 0.01,
    momentum: Unit[Hyper] = 0.0,
    warmup_strategy: Literal["linear", "power2", "sqrt", "lars"] = "linear",
    warmup_epochs: Whole = 5,
    batch_scale: Count = 1,
    updates_per_epoch: Count = 32,
    begin_epoch: Whole = 0,
    num_epochs: Count = 60,
    accumulate: bool = True,
    **common: Unpack[Common],
):
    """MXNet's `LBSGD`: SGD with macro-batches of M = batch_scale mini-batches, and a warm-up to M times the rate.

        n    = begin_epoch updates_per_epoch + mini-batches so far,  N = warmup_epochs updates_per_epoch
        mult = M if n >= N, else 1 if N <= 1, else 1 + (M - 1) shape(n / N)
        shape(x) = x, x^2, sqrt(x)                      warmup_strategy "linear", "power2", "sqrt"

        g = clip(rescale_grad (mean of M gradients)) + wd p
        v = momentum v - learning_rate mult g
        u = v                                           where M divides n, else 0

    "lars": mult = sqrt(||p||^2 / (||g||^2 + wd ||p||^2 + 1e-18)) in [0.01, 100], for each leaf, g before rescaling, for all n.

    With accumulate=False every gradient is a macro-batch already, is not accumulated, and counts for M mini-batches. If begin_epoch
    begins inside a macro-batch, what is left of that is still divided by M.

    Args:
      learning_rate: the learning rate, or a schedule: a function of the number of completed updates.
      momentum: how much of the velocity stays at each update.
      warmup_strategy: how the rate grows in the warm-up, or "lars" for a rate of each leaf's own.
      warmup_epochs: the length of the warm-up.
      batch_scale: how many mini-batches are one macro-batch.
      updates_per_epoch: the mini-batches in an epoch.
      begin_epoch: the epochs that are over when it starts.
      num_epochs: not used, nor is it in MXNet.
      accumulate: add up the gradients of a macro-batch; False: each is one already.
      rescale_grad: what gradients are multiplied by first; MXNet's sum over the batch, so 1 / batch size there.
      clip_gradient: the size above which an element of the rescaled gradient is cut; None: none.
      wd: the strength of the weight decay.
      lr_mult: factors of the learning rate: a mapping from patterns of paths, or a tree; None: 1.
      wd_mult: factors of the weight decay: a mapping from patterns of paths, or a tree; None: 1.
      multi_precision: keep a float32 copy of narrow parameters in the state.

    >>> from gradxform.dialects import mxnet
    >>> tx = mxnet.lbsgd(learning_rate=0.01, momentum=0.9, batch_scale=4)
    >>> updates, state = tx.update(grads, tx.init(params), params)

    State    a chain's, with accumulate and batch_scale > 1 in an AccumulateState. Memory: 1 x params with momentum, 1 x with accumulate.
    Units    learning_rate has those of p / g; with "lars" it is dimensionless.
    Shapes   any, scalars and complex included; the norms are over whole leaves.
    Source   MXNet 1, `LBSGD` (removed in MXNet 2).
    Differs  the guide says that it makes the update steps of SGD; the above is what the code does. Its "lars" is not
             You et al.'s: see `lars`. learning_rate as a schedule is a function of the number of mini-batches.
    Raises   HyperparameterError: an argument out of range, an unknown warmup_strategy. MissingArgumentError: no params, with wd or
             "lars". LabelError: lr_mult or wd_mult.
    """
    del num_epochs
    before = begin_epoch * updates_per_epoch
    first = batch_scale - before % batch_scale if accumulate else batch_scale
    batches = MacroBatches(before, first, batch_scale)
    if warmup_strategy == "lars":
        given = filled(common)
        direction = [scale_by_lbsgd_ratio(given["rescale_grad"], given["clip_gradient"], given["wd"], given["wd_mult"])]
    else:
        direction = [*rescaled(common), *clips(common), *decay(common)]
    warm = WarmUp(learning_rate, batches, warmup_strategy, warmup_epochs * updates_per_epoch, accumulate)
    part = [] if first == batch_scale else [scale(Share(batches))]
    tx = chain(*part, *direction, *rate(warm, common), *([] if is_zero(momentum) else [trace(momentum)]))
    if accumulate and batch_scale > 1:
        tx = accumulated(tx, batch_scale if first == batch_scale else batches)
    return finished(tx, common=common)
