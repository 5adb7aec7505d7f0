"""Generalized primal averaging: gradients between a fast sequence and its average, each with a constant of its own."""

from __future__ import annotations

from typing import Annotated, NamedTuple

import jax.numpy as jnp

from gradxform._types import Array, Clock, Field, Inner, OptState, Params, Unit
from gradxform.core import GradientTransformation, wrapper
from gradxform.core._hyper import at_rank
from gradxform.optimizers import sgd
from gradxform.registry import transform
from gradxform.wrappers._copies import Copy, as_params, widened


class GPAState(NamedTuple):
    """The number of updates, the inner state, the fast parameters z, and their average x."""

    count: Clock
    base_optimizer_state: Annotated[Inner, Field(first=lambda base_optimizer, params: base_optimizer.init(widened(params)))]
    z: Copy
    x: Copy


def _moved(g: Array, y: Array, z: Array, x: Array, step: Array, share: Array, mu_y: Array) -> tuple[Array, Array, Array]:
    """y' - y, z' and x' for y = mu_y x + (1 - mu_y) z, where z moves by a step and x a share of its way to z."""
    z = z + step
    x = x + at_rank(share, x.ndim) * (z - x)
    return z + at_rank(mu_y, x.ndim) * (x - z) - y, z, x


def _average(params: Params, s: OptState) -> Params:
    return as_params(params, s.x)


@transform(source="arXiv:2512.17131", example={"base_optimizer": sgd(0.1)}, homogeneity=1)
@wrapper(GPAState, scope="elementwise", needs=("params",), evaluate=_average)
def gpa(g, s, p, c, base_optimizer: GradientTransformation, mu_x: Unit = 0.9967, mu_y: Unit = 0.7):
    """Generalized primal averaging: let an optimizer move z, average z into x, and take gradients in between, at the parameters y.

        z = z + base_optimizer(g)
        x = mu_x x + (1 - mu_x) z
        u = mu_y x + (1 - mu_y) z - y

    Evaluate with x: `eval_params(tx, state, params)`. It is the outer loop of `outer` on one device, in every step a little: mu_x =
    0.9^(1/H) takes the place of H local steps. With mu_y = 0 training is that of the base optimizer, and x an exponential moving average
    of its parameters; with 1 gradients are taken at the average itself. The learning rate may decay, and the base optimizer have
    momentum.

    Args:
      base_optimizer: the optimizer that moves z, which it sees in the place of the parameters.
      mu_x: how much of the average x stays at each update.
      mu_y: where gradients are taken, between z (0) and the average x (1).

    >>> tx = gx.gpa(gx.adamw(1e-3), mu_x=0.9967)
    >>> averaged = gx.eval_params(tx, tx.init(params), params)

    State    GPAState(count, base_optimizer_state, z, x). z, x: like p, float32 or wider, both p at first. Memory: 2 x params, and that of
             base_optimizer.
    Units    those of base_optimizer.
    Shapes   any, scalars and complex included.
    Source   arXiv:2512.17131, the sequence of the paper.
    Differs  Optax has none. The authors' implementation keeps y and z, and decays z in place, by which the x that follows from them moves,
             too; here x moves by its equation alone.
    Raises   MissingArgumentError: no params. HyperparameterError: mu_x or mu_y outside [0, 1]. StructureError: base_optimizer is not a
             transformation.
    """
    step, inner_state = base_optimizer.update(widened(g), s.base_optimizer_state, s.z)
    share, mu_y = jnp.asarray(1 - mu_x), jnp.asarray(mu_y)
    u, z, x = c.map(_moved, g, p, s.z, s.x, step, like=(g, s.z, s.x), share=share, mu_y=mu_y)
    return u, s._replace(base_optimizer_state=inner_state, z=z, x=x)
