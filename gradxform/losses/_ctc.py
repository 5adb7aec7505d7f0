"""Connectionist temporal classification: a label sequence without its alignment."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from gradxform._errors import HyperparameterError, StructureError
from gradxform._types import Array, ArrayLike
from gradxform.losses._arguments import check_dtype, if_classes
from gradxform.tree._leafwise import wide


def ctc_loss(
    logits: ArrayLike,
    logit_paddings: ArrayLike,
    labels: ArrayLike,
    label_paddings: ArrayLike,
    *,
    blank_id: int = 0,
    log_epsilon: ArrayLike = -1e5,
) -> Array:
    """The negative log-probability of a label sequence, summed over its alignments to the frames: (B,).

        l = -log sum of p(path)         over the paths of T frames that spell the labels: repeated classes merged, blanks removed

    The arguments are those of `ctc_loss_with_forward_probs`.

    Args:
      logits: scores of the classes for each frame, (B, T, K).
      logit_paddings: 1 at frames that are padding, 0 elsewhere, (B, T).
      labels: the classes of each sequence, whole numbers, (B, N).
      label_paddings: 1 at labels that are padding, 0 elsewhere, (B, N).
      blank_id: the number of the class that means no label.
      log_epsilon: the logarithm that stands for a probability of 0.

    >>> frames, one_label = jnp.zeros((1, 3, 2)), jnp.array([[1]])
    >>> loss = gx.losses.ctc_loss(frames, jnp.zeros((1, 3)), one_label, jnp.zeros((1, 1)))

    Source   Graves et al. 2006, 'Connectionist temporal classification'.
    Differs  as `ctc_loss_with_forward_probs`.
    Raises   StructureError: shapes that do not belong together. HyperparameterError: blank_id is no class.
    """
    return ctc_loss_with_forward_probs(logits, logit_paddings, labels, label_paddings, blank_id=blank_id, log_epsilon=log_epsilon)[
        0
    ]


def ctc_loss_with_forward_probs(
    logits: ArrayLike,
    logit_paddings: ArrayLike,
    labels: ArrayLike,
    label_paddings: ArrayLike,
    *,
    blank_id: int = 0,
    log_epsilon: ArrayLike = -1e5,
) -> tuple[Array, Array, Array]:
    """The CTC loss (B,), and the log-probabilities of the prefixes that end in a blank and in a label, both by frame.

        p    = log softmax(logits)
        b(n) = the prefix has n labels and ends in a blank, or has just begun; also in label n, unless label n + 1 repeats it
        e(n) = the prefix ends in label n
        e(n) = logaddexp(b(n - 1), e(n)) + p(label n)           frame after frame
        b(n) = b(n) + p(blank)                                  logaddexp(b(n), e(n)) + p(blank) if label n + 1 repeats label n
        l    = -logaddexp(b(N), e(N))                           after the last frame; N labels

    Args
        logits          (B, T, K) scores of the K classes, the blank among them.
        logit_paddings  (B, T) 1 for a frame that does not exist, else 0.
        labels          (B, N) class numbers.
        label_paddings  (B, N) 1 for a label that does not exist, else 0. The existing ones come first.
        blank_id        the class of the blank.
        log_epsilon     stands for log 0.

    Returns (B,), (T, B, N + 1) and (T, B, N), in float32 or wider.

    Args:
      logits: scores of the classes for each frame, (B, T, K).
      logit_paddings: 1 at frames that are padding, 0 elsewhere, (B, T).
      labels: the classes of each sequence, whole numbers, (B, N).
      label_paddings: 1 at labels that are padding, 0 elsewhere, (B, N).
      blank_id: the number of the class that means no label.
      log_epsilon: the logarithm that stands for a probability of 0.

    >>> frames, one_label = jnp.zeros((1, 3, 2)), jnp.array([[1]])
    >>> loss, *forward = gx.losses.ctc_loss_with_forward_probs(frames, jnp.zeros((1, 3)), one_label, jnp.zeros((1, 1)))

    Source   Graves et al. 2006, 'Connectionist temporal classification', section 4.1, without blanks between the labels.
    Differs  the loss is never negative and the log-probabilities never positive; logits of padded frames and labels of padded
             places may be anything, NaN included; there may be no labels. A sequence with a label that is no class, below 0 or
             beyond the last, gives NaN, value and gradient.
    Raises   StructureError: shapes that do not belong together. HyperparameterError: blank_id is no class.
    """
    logits, labels = jnp.asarray(logits), jnp.asarray(labels)
    no_frame, no_label = _check(logits, jnp.asarray(logit_paddings), labels, jnp.asarray(label_paddings))
    if not 0 <= blank_id < logits.shape[-1]:
        raise HyperparameterError(f"ctc_loss: `blank_id` must be one of the {logits.shape[-1]} classes, but got {blank_id!r}.")
    logits = jnp.where(no_frame[..., None], 0, wide(logits))
    ones, labels = if_classes(labels, logits.shape[-1], logits.dtype)
    one = jnp.prod(jnp.where(no_label, 1, ones), 1)  # NaN for a sequence with a label that is no class
    log_p = jax.nn.log_softmax(logits * one[:, None, None])
    repeats = jnp.pad(labels[:, :-1] == labels[:, 1:], ((0, 0), (0, min(1, labels.shape[1]))))
    to_label = jnp.moveaxis(jnp.take_along_axis(log_p, labels[:, None, :], 2), 1, 0)
    to_blank = jnp.moveaxis(log_p[:, :, blank_id, None], 1, 0)
    allow_repeated, forbid_repeated = jnp.where(repeats, 0, log_epsilon), jnp.where(repeats, log_epsilon, 0)

    def frame(before: tuple[Array, Array], now: tuple[Array, Array, Array]) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
        b, e = before
        p_label, p_blank, skip = now
        free = _join(b, e + forbid_repeated)
        next_e = jnp.logaddexp(free[:, :-1], e) + p_label
        next_b = _join(free + p_blank, e + p_blank + allow_repeated)
        after = jnp.where(skip, b, next_b), jnp.where(skip, e, next_e)
        return after, after

    e = jnp.full(labels.shape, log_epsilon, log_p.dtype)
    b = jnp.full((labels.shape[0], labels.shape[1] + 1), log_epsilon, log_p.dtype).at[:, 0].set(0)
    _, (b, e) = jax.lax.scan(frame, (b, e), (to_label, to_blank, no_frame.T[..., None]))
    b = b.at[-1].set(_join(b[-1], e[-1]))
    b, e = _at_most_zero(b), _at_most_zero(e)
    lengths = jnp.sum(~no_label, axis=1, keepdims=True)
    return -jnp.take_along_axis(b[-1], lengths, 1)[:, 0], b, e


def _join(b: Array, e: Array) -> Array:
    """Add the prefixes that end in label n to those with n labels."""
    return jnp.concatenate([b[:, :1], jnp.logaddexp(b[:, 1:], e)], axis=1)


def _at_most_zero(x: Array) -> Array:
    """Log-probabilities that rounding made positive become 0; derivatives stay."""
    return x - jax.lax.stop_gradient(jnp.maximum(x, 0))


def _check(logits: Array, logit_paddings: Array, labels: Array, label_paddings: Array) -> tuple[Array, Array]:
    """The paddings as booleans."""
    check_dtype("ctc_loss", jnp.floating, logits=logits)
    if logits.ndim != 3 or labels.ndim != 2 or logits.shape[0] != labels.shape[0]:
        raise StructureError(
            f"ctc_loss: `logits` must have shape (B, T, K) and `labels` (B, N), but got {logits.shape} and {labels.shape}."
        )
    for name, x, shape in (("logit", logit_paddings, logits.shape[:2]), ("label", label_paddings, labels.shape)):
        if x.shape != shape:
            raise StructureError(f"ctc_loss: `{name}_paddings` has shape {x.shape}, but its {name}s call for {shape}.")
    return logit_paddings != 0, label_paddings != 0
