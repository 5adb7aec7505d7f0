"""MXNet's `AdaGrad` and `GroupAdaGrad`."""

from __future__ import annotations

from typing import Unpack

from gradxform._types import Hyper, NonNegative, Real
from gradxform.dialects.mxnet._mxnet import Common, coupled, decay, decoupled, mxnet_optimizer, rate
from gradxform.optimizers import scale_by_row_rss
from gradxform.transforms import scale_by_rss


@mxnet_optimizer(core="adagrad", example={"wd": 0.01})
def adagrad(learning_rate: Real[Hyper] = 0.1, eps: NonNegative[Hyper] = 1e-7, **common: Unpack[Common]):
    """MXNet's `AdaGrad`: eps inside the root, sums from 0, and a decay that is not divided by them.

        g = clip(rescale_grad g)
        G = G + |g|^2
        u = -learning_rate (g / sqrt(G + eps) + wd p)

    Args:
      learning_rate: the learning rate, or a schedule: a function of the number of completed updates.
      eps: added inside the root by which the gradient is divided.
      rescale_grad: what gradients are multiplied by first; MXNet's sum over the batch, so 1 / batch size there.
      clip_gradient: the size above which an element of the rescaled gradient is cut; None: none.
      wd: the strength of the weight decay.
      lr_mult: factors of the learning rate: a mapping from patterns of paths, or a tree; None: 1.
      wd_mult: factors of the weight decay: a mapping from patterns of paths, or a tree; None: 1.
      multi_precision: keep a float32 copy of narrow parameters in the state.

    >>> from gradxform.dialects import mxnet
    >>> tx = mxnet.adagrad(learning_rate=0.1)
    >>> updates, state = tx.update(grads, tx.init(params), params)

    State    a chain's; ScaleByRssState(sum_of_squares). Memory: 1 x params.
    Units    learning_rate has those of p.
    Shapes   any, scalars and complex included.
    Source   MXNet's optimizer guide; MXNet 1, `AdaGrad`.
    Differs  the guide is mended: this divides, and by the sum with the new g. MXNet 2 has wd p in g, eps outside.
    Raises   HyperparameterError: an argument out of range. MissingArgumentError: no params, with wd. LabelError: lr_mult or wd_mult.
    """
    return decoupled(scale_by_rss(0.0, eps), *decay(common), *rate(learning_rate, common), common=common)


@mxnet_optimizer(core="group_adagrad")
def group_adagrad(learning_rate: Real[Hyper] = 0.01, epsilon: NonNegative[Hyper] = 1e-6, **common: Unpack[Common]):
    """MXNet's `GroupAdaGrad`: AdaGrad with one rate per row, for embeddings.

        g = clip(rescale_grad g) + wd p
        G = G + mean over the row of |g|^2
        u = -learning_rate g / (sqrt(G) + epsilon)      0 where G = 0

    Args:
      learning_rate: the learning rate, or a schedule: a function of the number of completed updates.
      epsilon: added to the root by which the gradient is divided.
      rescale_grad: what gradients are multiplied by first; MXNet's sum over the batch, so 1 / batch size there.
      clip_gradient: the size above which an element of the rescaled gradient is cut; None: none.
      wd: the strength of the weight decay.
      lr_mult: factors of the learning rate: a mapping from patterns of paths, or a tree; None: 1.
      wd_mult: factors of the weight decay: a mapping from patterns of paths, or a tree; None: 1.
      multi_precision: keep a float32 copy of narrow parameters in the state.

    >>> from gradxform.dialects import mxnet
    >>> tx = mxnet.group_adagrad(learning_rate=0.01)
    >>> updates, state = tx.update(grads, tx.init(params), params)

    State    a chain's; ScaleByRowRssState(sum_of_squares). Memory: 1 number per row.
    Units    learning_rate has those of p.
    Shapes   any, complex included; vectors and scalars have rows of one element.
    Sharded  inside `shard_map` what is taken along an axis is taken along the device's own part of it; under `jit` along the whole
             axis.
    Source   MXNet 2, `GroupAdaGrad`.
    Differs  MXNet refuses wd, and takes matrices only.
    Raises   HyperparameterError: an argument out of range. MissingArgumentError: no params, with wd. LabelError: lr_mult or wd_mult.
    """
    return coupled(scale_by_row_rss(0.0, epsilon), *rate(learning_rate, common), common=common)
