"""What a logger shows of an update."""

from __future__ import annotations

from collections.abc import Sequence

import jax.numpy as jnp

from gradxform._types import Array, MaskOrFn, OptState, Params, Tree, Updates
from gradxform.core import GradientTransformation
from gradxform.core._holes import is_array
from gradxform.core._labels import resolve
from gradxform.core._trees import Trees
from gradxform.surgery._hyperparams import get_hyperparams
from gradxform.tree import norm


def stats(
    tx: GradientTransformation,
    state: OptState,
    *,
    grads: Updates,
    updates: Updates,
    params: Params,
    groups: MaskOrFn = None,
    clip: GradientTransformation | None = None,
    hyperparams: Sequence[str] = ("learning_rate", "lr"),
) -> dict[str, Array]:
    """The numbers of one update that are worth a curve, by name; for a compiled step, which returns them beside the loss.

        @jax.jit
        def step(params, state):
            loss, grads = jax.value_and_grad(loss_fn)(params)
            updates, state = tx.update(grads, state, params)
            logs = {"loss": loss, **gx.stats(tx, state, grads=grads, updates=updates, params=params)}
            return gx.apply_updates(params, updates), state, logs

    To TensorBoard, with the writer of PyTorch or of tensorboardX, and to Weights & Biases:

        for name, x in jax.device_get(logs).items():
            writer.add_scalar(name, x, step)
        wandb.log(jax.device_get(logs), step=step)

        rate/NAME               a hyperparameter as the update used it
        norm/grads              ||g|| over all leaves; so norm/updates, norm/params
        ratio/GROUP             ||u|| / ||p|| over the leaves of a group; 0 where the parameters are 0
        clipped                 the share of the gradient's elements that `clip` changes: over time, of a global norm, how often

    Args:
      tx, state: the transformation, and its state after the update.
      grads, updates, params: what the update was given, what it returned, and the parameters before it.
      groups: labels of the leaves in any form that `partition` takes; without them there is one group, `ratio/all`.
      clip: the transformation without a state that clips the gradients first, such as `clip_by_global_norm(1.0)`.
      hyperparams: which to show, as `get_hyperparams` names them, with or without what stands before the dot.

    >>> tx = gx.chain(gx.clip(1.0), gx.sgd(0.1))
    >>> updates, state = tx.update(grads, tx.init(params), params)
    >>> shown = gx.stats(tx, state, grads=grads, updates=updates, params=params, groups={"b": "biases", "default": "kernels"})
    >>> {name: round(float(x), 3) for name, x in shown.items() if name.startswith("r")}
    {'rate/learning_rate': 0.1, 'ratio/biases': 0.0, 'ratio/kernels': 0.037}

    Returns:
      A dictionary of numbers in float32 or wider.

    Units    norms have those of g, u and p, ratios those of u / p.
    Source   gradxform.
    Raises   StructureError: the trees differ. LabelError: the groups do not fit.
    """
    shown = {f"rate/{n}": jnp.asarray(x) for n, x in get_hyperparams(tx, state).items() if n.rpartition(".")[2] in hyperparams}
    for name, tree in (("grads", grads), ("updates", updates), ("params", params)):
        shown[f"norm/{name}"] = norm(_numbers(tree))
    for label, (us, ps) in _grouped(updates, params, groups).items():
        size = norm(ps)
        shown[f"ratio/{label}"] = jnp.where(size > 0, norm(us) / jnp.where(size > 0, size, 1), 0)
    if clip is not None:
        shown["clipped"] = _changed(grads, clip.update(grads, clip.init(params), params)[0])
    return shown


def _numbers(tree: Tree) -> list[Array]:
    trees = Trees("stats", tree)
    return [x for x in trees.pick(trees.leaves) if is_array(x)]


def _grouped(updates: Updates, params: Params, groups: MaskOrFn) -> dict[str, tuple[list[Array], list[Array]]]:
    """The updates and the parameters of each group."""
    trees = Trees("stats", params, "parameter")
    us = trees.take("`updates`", updates)
    labels = ["all"] * len(us) if groups is None else resolve("stats", groups, params)
    found: dict[str, tuple[list[Array], list[Array]]] = {}
    for label, u, p in zip(labels, us, trees.leaves, strict=True):
        if is_array(u) and is_array(p):
            into = found.setdefault(str(label), ([], []))
            into[0].append(u)
            into[1].append(p)
    return found


def _changed(before: Updates, after: Updates) -> Array:
    """The share of elements that differ."""
    xs, ys = _numbers(before), _numbers(after)
    total = sum(x.size for x in xs)
    return sum((jnp.sum(x != y) for x, y in zip(xs, ys, strict=True)), jnp.zeros([], int)).astype(float) / max(total, 1)
