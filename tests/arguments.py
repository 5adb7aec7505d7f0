"""What several functions say of an argument: one line for each, which stands in the source of all of them.

    python -m tests.arguments    writes the lines into the docstrings

Readers of a hover, of `help` and of `show` see the docstring and nothing else, so nothing is composed at import.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import pathlib
import re
import textwrap
import typing
from collections.abc import Callable, Iterator
from typing import Any

from gradxform._docs import explained
from notebooks.site.reference import things

WIDTH = 132

SHARED = """
a: the direction, a tree like x.
  | projections.projection_halfspace projections.projection_hyperplane projections.projection_vector
accumulator_dtype: the dtype of the accumulated updates; None: the parameter's, float32 or wider.
  | ema nesterov sgd signum trace
axis: the axis or axes of the distribution.
  | convex_kl_divergence generalized_kl_divergence kl_divergence kl_divergence_with_log_targets
axis: the axis of the vectors.
  | cosine_distance cosine_similarity triplet_margin_loss
axis: the axis or axes of the classes.
  | poly_loss_cross_entropy smooth_labels softmax_cross_entropy
axis_name: the name, or names, of the mapped axis; None: there is one device.
  | compressed_mean error_feedback majority_vote mean_over
b1: how much of the running mean of gradients stays at each update.
  | acprop adabelief adam adamax adamaxw adamw adan ademamix adopt amsgrad lamb lans momo_adam nadam nadamax nadamw
  | optimistic_adam optimistic_adam_v2 radam scale_by_acprop scale_by_adam scale_by_adamax scale_by_adan scale_by_ademamix
  | scale_by_adopt scale_by_amsgrad scale_by_belief scale_by_lans scale_by_nadam scale_by_nadamax scale_by_radam scale_by_sophia
  | scale_by_yogi sophia yogi
b1: how much of the decaying sum stays at each update.
  | novograd scale_by_novograd scale_by_simplified_ademamix simplified_ademamix
b1: where gradients are taken, between z (0) and the average x (1).
  | schedule_free schedule_free_adamw schedule_free_sgd
b2: how much of the running mean of squares stays at each update.
  | acprop adabelief adam adamw ademamix adopt amsgrad ftml lamb lans momo_adam nadam nadamw optimistic_adam optimistic_adam_v2
  | radam scale_by_acprop scale_by_adam scale_by_ademamix scale_by_adopt scale_by_amsgrad scale_by_belief scale_by_lans
  | scale_by_nadam scale_by_radam scale_by_simplified_ademamix scale_by_yogi schedule_free_adamw simplified_ademamix yogi
b2: how much of the largest gradient stays at each update.
  | adamax adamaxw nadamax scale_by_adamax scale_by_nadamax
beta: how much of the running mean of gradients stays at each update.
  | momo muon scale_by_muon signum
bias_correction: divide the averages by 1 - b^t, since they begin at 0.
  | lamb rmsprop scale_by_adam scale_by_rms scale_by_stddev
decay: how much of the average stays at each update.
  | bias_correction ema measure_with_ema update_infinity_moment update_moment update_moment_per_elem_norm
decay: how much of the running mean of squares stays at each update.
  | rmsprop scale_by_rms scale_by_stddev
dtype: the dtype of all leaves; None: each its own.
  | tree.full_like tree.ones_like tree.random_like tree.zeros_like
end_value: the value in the end.
  | linear_schedule one_minus_sqrt_schedule polynomial_schedule rex_schedule warmup_cosine_decay_schedule wsd_schedule
eps: added to the divisor, in its units, so that it is never 0.
  | acprop adabelief adam adamw adan ademamix amsgrad dadapt_adamw dog ftml group_adagrad lamb lans lars maxaprop momo_adam
  | nadam nadamax nadamw normalize_by_update_norm novograd optimistic_adam optimistic_adam_v2 polyak_sgd prodigy radam
  | scale_by_acprop scale_by_adam scale_by_adan scale_by_ademamix scale_by_amsgrad scale_by_belief
  | scale_by_distance_over_gradients scale_by_dog scale_by_infinity_norm scale_by_lans scale_by_nadam scale_by_nadamax
  | scale_by_novograd scale_by_polyak scale_by_radam scale_by_row_rss scale_by_simplified_ademamix scale_by_sm3
  | scale_by_trust_ratio scale_by_yogi schedule_free_adamw sgld simplified_ademamix yogi
eps: added to the divisor, or inside its root, as eps_in_sqrt says.
  | adagrad rmsprop scale_by_rms scale_by_rss scale_by_stddev
eps: the least divisor.
  | adopt scale_by_adopt scale_by_sophia sophia
eps: added to the size of the gradient, inside the maximum.
  | adamax adamaxw scale_by_adamax
eps: added to the norm by which the matrix is divided first.
  | muon orthogonalize_via_newton_schulz scale_by_muon
eps_in_sqrt: where eps is added: True inside the root, False outside of it, "both" at both places.
  | adagrad rmsprop scale_by_rms scale_by_rss scale_by_stddev
eps_root: added inside the root; more than 0 makes derivatives through the update finite at gradients of 0.
  | adam adamw adan ademamix amsgrad lamb nadam nadamw novograd optimistic_adam optimistic_adam_v2 radam scale_by_adam
  | scale_by_adan scale_by_ademamix scale_by_amsgrad scale_by_nadam scale_by_novograd scale_by_radam
  | scale_by_simplified_ademamix scale_by_yogi simplified_ademamix
eps_root: added to nu at each update.
  | acprop adabelief scale_by_acprop scale_by_belief
example: arguments that the laws examine it with; None: its defaults.
  | kernels.optimizer kernels.register kernels.transform
filtering: (path, value) -> whether it counts; None: all do.
  | tree.get tree.get_all_with_path tree.set
homogeneity: the power of k with which updates grow when all gradients are k times as large; None: not known.
  | kernels.optimizer kernels.register kernels.transform
identities: pairs of calls that must give the same updates.
  | kernels.optimizer kernels.register kernels.transform
init_value: the value at first.
  | cosine_decay_schedule cyclic_triangular_schedule exponential_decay inverse_time_schedule linear_schedule
  | one_minus_sqrt_schedule piecewise_constant_schedule piecewise_interpolate_schedule polynomial_schedule rex_schedule
  | rsqrt_schedule warmup_constant_schedule warmup_cosine_decay_schedule warmup_exponential_decay_schedule warmup_power_schedule
  | wsd_schedule
initial_accumulator_value: the first sum of squares.
  | adagrad ftrl group_adagrad scale_by_row_rss scale_by_rss
initial_scale: the first mean of squares.
  | rmsprop scale_by_rms scale_by_stddev
key: a random key, or a whole number as a seed; None: 0, with a warning.
  | add_noise dpsgd noisy_sgd
labels: the number of the right class, a whole number of at least 0.
  | multiclass_hinge_loss multiclass_perceptron_loss multiclass_sparsemax_loss softmax_cross_entropy_with_integer_labels
labels: one-hot, or a distribution over the classes.
  | poly_loss_cross_entropy safe_softmax_cross_entropy softmax_cross_entropy
labels: 0 or 1, or for the first a probability between them.
  | sigmoid_binary_cross_entropy sigmoid_focal_loss sparsemax_loss
learning_rate: the size of a step: a number, an array that fits every leaf, or a schedule of the number of updates.
  | acprop adabelief adagrad adam adamax adamaxw adamw adan ademamix adopt amsgrad dcasgd dpsgd fromage ftml ftrl galore
  | group_adagrad lamb lans lars lion madgrad maxaprop muon nadam nadamax nadamw noisy_sgd novograd optimistic_adam
  | optimistic_adam_v2 optimistic_gradient_descent radam rmsprop scale_by_madgrad sgd sgld sign_sgd signum simplified_ademamix
  | sm3 sophia yogi
learning_rate: a factor of the steps that are found: 1, or a schedule that peaks at 1.
  | cocob dadapt_adamw dog dowg prodigy
log_predictions: the logarithms of the predicted probabilities.
  | convex_kl_divergence generalized_kl_divergence kl_divergence kl_divergence_with_log_targets
logits: scores before the softmax, floats.
  | poly_loss_cross_entropy safe_softmax_cross_entropy softmax_cross_entropy softmax_cross_entropy_with_integer_labels
logits: scores before the sigmoid, floats.
  | sigmoid_binary_cross_entropy sigmoid_focal_loss sparsemax_loss
lower_bound: the least norm of a parameter that counts; None: no bound.
  | lamb lans scale_by_lans scale_by_trust_ratio
mask: which leaves decay: patterns such as `{"*/bias": False, "default": True}`, `by_ndim(2)`, a tree, a function; None: all.
  | acprop adamaxw adamw adan add_decayed_weights ademamix cocob dog dowg galore lamb lans lion nadamw scale_by_lans
  | simplified_ademamix
moments: the running means, a tree.
  | update_infinity_moment update_moment update_moment_per_elem_norm
momentum: how much of the decaying sum of steps stays at each update; None: no momentum.
  | dcasgd dpsgd rmsprop sgd
mu_dtype: the dtype of the running mean; None: the parameter's, float32 or wider.
  | adam adamw ademamix adopt amsgrad lion muon nadam nadamw optimistic_adam optimistic_adam_v2 scale_by_adam scale_by_ademamix
  | scale_by_adopt scale_by_amsgrad scale_by_lion scale_by_muon scale_by_nadam
needs: for each extra argument of `update` by name, a function of (params, grads) that makes one for the laws.
  | kernels.optimizer kernels.register kernels.transform
nesterov: look ahead by one step of the momentum.
  | adabelief adam adamw adopt dpsgd lars muon nadam nadamw optimistic_adam optimistic_adam_v2 radam rmsprop scale_by_adam
  | scale_by_adopt scale_by_belief scale_by_muon scale_by_radam sgd trace
ns_coeffs: the coefficients of the Newton-Schulz polynomial, a row for all steps or one for each; "standard", "dion" are presets.
  | muon orthogonalize_via_newton_schulz scale_by_muon
ns_steps: the number of Newton-Schulz steps.
  | muon orthogonalize_via_newton_schulz scale_by_muon
params: the parameters, which are not looked at.
  | init_empty_state skip_large_updates skip_not_finite
peak_value: the largest value, at the end of the rise.
  | cosine_onecycle_schedule cyclic_triangular_schedule linear_onecycle_schedule rsqrt_schedule warmup_constant_schedule
  | warmup_cosine_decay_schedule warmup_exponential_decay_schedule warmup_power_schedule wsd_schedule
preconditioning: how the matrix is scaled first: "frobenius", "spectral", "aol" or "schatten".
  | muon orthogonalize_via_newton_schulz scale_by_muon
predictions: what the model says, an array of floats.
  | cosine_distance cosine_similarity huber_loss l2_loss log_cosh squared_error
predictions: scores, or probabilities, of shape (batch, ..., classes).
  | binary_dice_loss dice_loss multiclass_generalized_dice_loss
scores: scores of the classes along the last axis.
  | multiclass_hinge_loss multiclass_perceptron_loss multiclass_sparsemax_loss
seed: the older name of key.
  | add_noise dpsgd noisy_sgd
smooth: added above and below the fraction, so that empty regions have no loss.
  | binary_dice_loss dice_loss multiclass_generalized_dice_loss
source: where the equation comes from.
  | kernels.optimizer kernels.register kernels.transform
state: its state.
  | get_hyperparams reset_group set_hyperparams tree_map_params
state_dtype: the dtype of z; None: the parameter's, float32 or wider.
  | schedule_free schedule_free_adamw schedule_free_sgd
subject: a transformation, a function that makes one without arguments, a registered name, or a registry entry.
  | testing.case_for testing.check testing.examine
targets: what is right, of the predictions' shape; None: zeros.
  | huber_loss l2_loss log_cosh squared_error
targets: what is right: 0 or 1, or one-hot, of the predictions' shape.
  | binary_dice_loss dice_loss multiclass_generalized_dice_loss
targets: the true distribution, not its logarithm.
  | convex_kl_divergence generalized_kl_divergence kl_divergence
transition_begin: the number of updates before the value begins to change.
  | exponential_decay linear_schedule one_minus_sqrt_schedule polynomial_schedule rex_schedule warmup_exponential_decay_schedule
transition_steps: the number of updates that the way takes.
  | linear_schedule one_minus_sqrt_schedule polynomial_schedule rex_schedule
tree: a tree of arrays.
  | tree.batch_shape tree.cast tree.cast_like tree.clip tree.conj tree.dtype tree.full_like tree.max tree.min tree.norm
  | tree.ones_like tree.real tree.scale tree.size tree.sum tree.zeros_like
tree: the point, a tree of arrays.
  | projections.projection_box projections.projection_hypercube projections.projection_l1_ball projections.projection_l1_sphere
  | projections.projection_l2_ball projections.projection_l2_sphere projections.projection_linf_ball
  | projections.projection_non_negative projections.projection_simplex
tree: a state, or any tree of named tuples, dictionaries and dataclasses.
  | tree.get tree.get_all_with_path tree.set
tree_x: a tree of arrays.
  | tree.add tree.add_scale tree.div tree.mul tree.sub tree.vdot tree.where
tree_y: a tree like the first.
  | tree.add tree.add_scale tree.div tree.mul tree.sub tree.vdot tree.where
updates: the gradients, a tree.
  | update_infinity_moment update_moment update_moment_per_elem_norm
upper_bound: the largest norm of a parameter that counts; None: no bound.
  | lamb lans scale_by_lans scale_by_trust_ratio
warmup_steps: the number of updates of the rise.
  | rsqrt_schedule warmup_constant_schedule warmup_cosine_decay_schedule warmup_exponential_decay_schedule warmup_power_schedule
  | wsd_schedule
weight_decay: decoupled decay: the part of the parameters, times learning_rate, that is taken away at each update.
  | acprop adamaxw adamw adan ademamix dadapt_adamw lion nadamw prodigy simplified_ademamix sophia
weight_decay: the part of the parameters that is added to the gradient.
  | adadelta cocob dog dowg madgrad
weight_decay: the part of the parameters that is added to the direction before its norm is taken.
  | lamb lans lars scale_by_lans
weight_decay_mask: which leaves decay: patterns such as `{"*/bias": False, "default": True}`, `by_ndim(2)`, a tree, a function;
    None: all.
  | adadelta adafactor lars muon sophia
weight_dimension_numbers: which axes are a leaf's inputs and outputs; one for all, a tree of them, or a function.
  | galore scale_by_muon scale_by_shape
weight_lr_power: how much more steps of a large rate weigh in the average.
  | schedule_free schedule_free_adamw schedule_free_sgd
where: the elements that count; None: all.
  | convex_kl_divergence cosine_distance cosine_similarity generalized_kl_divergence kl_divergence
  | kl_divergence_with_log_targets smooth_labels
where: the elements that count, of the shape of logits or without `axis`; None: all.
  | poly_loss_cross_entropy softmax_cross_entropy softmax_cross_entropy_with_integer_labels
x: the point, a tree.
  | projections.projection_halfspace projections.projection_hyperplane projections.projection_vector
"""


def public() -> dict[str, Callable[..., Any]]:
    """Every public function but the dialects', by its shortest address behind `gradxform.`."""
    return {thing.name: thing.value for thing in things() if _is_function(thing.value) and not thing.name.startswith("dialects.")}


def _is_function(x: Any) -> bool:
    return callable(x) and hasattr(x, "__name__") and not inspect.isclass(x) and typing.get_origin(x) is None


def shared() -> Iterator[tuple[str, str, str]]:
    """(function, argument, line) of the table."""
    rows = re.findall(r"^(\w+): (.*(?:\n    .*)*)((?:\n  \| .*)+)", SHARED, re.MULTILINE)
    for argument, line, functions in rows:
        for function in functions.replace("|", " ").split():
            yield function, argument, " ".join(line.split())


def write() -> None:
    """Put the table's lines into the docstrings whose own differ."""
    functions = public()
    for function, argument, line in shared():
        f = functions[function]
        if explained(f).get(argument) != line:
            path = pathlib.Path(importlib.import_module(f.__module__).__file__ or "")
            path.write_text(_replaced(path.read_text(encoding="utf-8"), f.__name__, argument, line), encoding="utf-8")
            print(f"{function}: {argument}")


def _replaced(source: str, function: str, argument: str, line: str) -> str:
    """The source with another line for an argument that the function's docstring explains."""
    nodes = [n for n in ast.parse(source).body if isinstance(n, ast.FunctionDef) and n.name == function and ast.get_docstring(n)]
    doc, lines = nodes[-1].body[0], source.split("\n")
    before, inside = lines[: doc.lineno - 1], "\n".join(lines[doc.lineno - 1 : doc.end_lineno])
    entry = textwrap.indent("\n".join(textwrap.wrap(f"{argument}: {line}", WIDTH - 6, subsequent_indent="  ")), " " * 6)
    inside, count = re.subn(rf"^ {{6}}{argument}: .*(?:\n {{8}}.*)*", lambda _: entry, inside, count=1, flags=re.MULTILINE)
    if not count:
        raise SystemExit(f"{function}: no line for {argument} under Args")
    return "\n".join([*before, inside, *lines[doc.end_lineno :]])


if __name__ == "__main__":
    write()
