"""What several functions say of an argument: a line, and below it the functions whose docstrings have it under `Args`.

`dialects.torch.*` are all functions of that room with such an argument, but for those with a minus before them.
"""

SHARED = """
a: the direction, a tree like x.
  | projections.projection_halfspace projections.projection_hyperplane projections.projection_vector
accumulator_dtype: the dtype of the accumulated updates; None: the parameter's, float32 or wider.
  | ema grokfast nesterov sgd signum trace
axis: the axis or axes of the distribution.
  | convex_kl_divergence generalized_kl_divergence kl_divergence kl_divergence_with_log_targets
axis: the axis of the vectors.
  | cosine_distance cosine_similarity triplet_margin_loss
axis: the axis or axes of the classes.
  | poly_loss_cross_entropy smooth_labels softmax_cross_entropy
axis_name: the name, or names, of the mapped axis; None: there is one device.
  | compressed_mean error_feedback majority_vote mean_over
b1: how much of the running mean of gradients stays at each update.
  | acprop adabelief adahessian adam adam_mini adamax adamaxw adamp adamw adan ademamix adopt amsgrad ano apollo apollo_mini asgo
  | grams kl_shampoo kl_soap lamb lans momo_adam nadam nadamax nadamw optimistic_adam optimistic_adam_v2 psgd_kron qhadam qhm
  | radam scale_by_acprop scale_by_adahessian scale_by_adam scale_by_adam_mini scale_by_adamax scale_by_adamp scale_by_adan
  | scale_by_ademamix scale_by_adopt scale_by_amsgrad scale_by_ano scale_by_apollo scale_by_asgo scale_by_belief scale_by_grams
  | scale_by_kl_shampoo scale_by_kl_soap scale_by_lans scale_by_nadam scale_by_nadamax scale_by_psgd_kron scale_by_qhadam
  | scale_by_qhm scale_by_radam scale_by_shampoo scale_by_soap scale_by_sophia scale_by_splus scale_by_stable_adam scale_by_yogi
  | shampoo soap sophia splus stable_adamw yogi
b1: how much of the decaying sum stays at each update.
  | novograd scale_by_novograd scale_by_simplified_ademamix simplified_ademamix
b1: where gradients are taken, between z (0) and the average x (1).
  | schedule_free schedule_free_adamw schedule_free_sgd
b1: how much of the running mean of normalized gradients stays at each update.
  | laprop scale_by_laprop
b2: how much of the running mean of squares stays at each update.
  | acprop adabelief adam adam_mini adamp adamw ademamix adopt amsgrad apollo apollo_mini ftml grams lamb lans laprop mars
  | momo_adam nadam nadamw optimistic_adam optimistic_adam_v2 qhadam radam scale_by_acprop scale_by_adam scale_by_adam_mini
  | scale_by_adamp scale_by_ademamix scale_by_adopt scale_by_amsgrad scale_by_apollo scale_by_belief scale_by_grams scale_by_lans
  | scale_by_laprop scale_by_mars scale_by_nadam scale_by_qhadam scale_by_radam scale_by_simplified_ademamix scale_by_stable_adam
  | scale_by_yogi schedule_free_adamw simplified_ademamix stable_adamw yogi
b2: how much of the largest gradient stays at each update.
  | adamax adamaxw nadamax scale_by_adamax scale_by_nadamax
beta: how much of the running mean of gradients stays at each update.
  | adamuon momo muon normuon scale_by_adamuon scale_by_lmo scale_by_muon scale_by_normuon scion signum
betas: how much of each sum stays at each update.
  | aggmo scale_by_aggmo
bias_correction: divide the averages by 1 - b^t, since they begin at 0.
  | lamb rmsprop scale_by_adam scale_by_rms scale_by_stddev
blocks: "output", "input", ("heads", h), "leaf", "element" or None; one for all leaves, or patterns such as `{"embed": "input",
    "*/query": ("heads", 12)}`, a function of the tree.
  | adam_mini scale_by_adam_mini
decay: how much of the average stays at each update.
  | bias_correction ema grokfast measure_with_ema update_infinity_moment update_moment update_moment_per_elem_norm
decay: how much of the running mean of squares stays at each update.
  | rmsprop scale_by_rms scale_by_stddev
dtype: the dtype of all leaves; None: each its own.
  | tree.full_like tree.ones_like tree.random_like tree.zeros_like
end_value: the value in the end.
  | linear_schedule one_minus_sqrt_schedule polynomial_schedule rex_schedule warmup_cosine_decay_schedule wsd_schedule
eps: added to the divisor, in its units, so that it is never 0.
  | acprop adabelief adahessian adam adam_mini adamp adamw adan ademamix amsgrad dadapt_adamw dog ftml group_adagrad lamb lans
  | laprop lars maxaprop momo_adam nadam nadamax nadamw normalize_by_update_norm novograd optimistic_adam optimistic_adam_v2
  | polyak_sgd prodigy qhadam radam scale_by_acprop scale_by_adahessian scale_by_adam scale_by_adam_mini scale_by_adamp
  | scale_by_adan scale_by_ademamix scale_by_amsgrad scale_by_belief scale_by_distance_over_gradients scale_by_dog
  | scale_by_infinity_norm scale_by_lans scale_by_laprop scale_by_nadam scale_by_nadamax scale_by_novograd scale_by_polyak
  | scale_by_qhadam scale_by_radam scale_by_row_rss scale_by_simplified_ademamix scale_by_sm3 scale_by_stable_adam
  | scale_by_trust_ratio scale_by_yogi schedule_free_adamw sgld simplified_ademamix stable_adamw yogi
eps: added to the divisor, or inside its root, as eps_in_sqrt says.
  | adagrad rmsprop scale_by_rms scale_by_rss scale_by_stddev
eps: the least divisor.
  | adopt scale_by_adopt scale_by_sophia sophia
eps: added to the size of the gradient, inside the maximum.
  | adamax adamaxw scale_by_adamax
eps: added to the norm by which the matrix is divided first.
  | adamuon dion2 muon normuon orthogonalize_via_newton_schulz scale_by_adamuon scale_by_dion2 scale_by_muon scale_by_normuon
eps_in_sqrt: where eps is added: True inside the root, False outside of it, "both" at both places.
  | adagrad rmsprop scale_by_rms scale_by_rss scale_by_stddev
eps_root: added inside the root; more than 0 makes derivatives through the update finite at gradients of 0.
  | adam adamw adan ademamix amsgrad lamb nadam nadamw novograd optimistic_adam optimistic_adam_v2 radam scale_by_adam
  | scale_by_adan scale_by_ademamix scale_by_amsgrad scale_by_nadam scale_by_novograd scale_by_radam scale_by_simplified_ademamix
  | scale_by_yogi simplified_ademamix
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
  | acprop adabelief adagrad adahessian adam adam_mini adamax adamaxw adamp adamuon adamw adan ademamix adopt aggmo amsgrad ano
  | apollo apollo_mini asgo came dcasgd dion dion2 dpsgd fromage ftml ftrl galore grams group_adagrad kl_shampoo kl_soap lamb lans
  | laprop lars lion madgrad mars maxaprop muon nadam nadamax nadamw noisy_sgd normuon novograd optimistic_adam optimistic_adam_v2
  | optimistic_gradient_descent psgd_kron qhadam qhm radam rmsprop scale_by_madgrad scion sgd sgld shampoo sign_sgd signum
  | simplified_ademamix sm3 soap sophia splus stable_adamw yogi
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
  | acprop adahessian adam_mini adamaxw adamp adamw adan add_decayed_weights ademamix aggmo ano apollo apollo_mini asgo came cocob
  | dog dowg galore grams kl_shampoo kl_soap lamb lans laprop lion mars nadamw psgd_kron qhadam qhm scale_by_adamp scale_by_lans
  | scale_by_splus scale_by_stable_adam shampoo simplified_ademamix soap splus stable_adamw
moments: the running means, a tree.
  | update_infinity_moment update_moment update_moment_per_elem_norm
momentum: how much of the decaying sum of steps stays at each update; None: no momentum.
  | dcasgd dpsgd rmsprop sgd
mu_dtype: the dtype of the running mean; None: the parameter's, float32 or wider.
  | adam adam_mini adamp adamuon adamw ademamix adopt amsgrad ano apollo apollo_mini asgo came grams kl_shampoo kl_soap laprop
  | lion mars muon nadam nadamw normuon optimistic_adam optimistic_adam_v2 psgd_kron qhadam qhm scale_by_adam scale_by_adam_mini
  | scale_by_adamp scale_by_adamuon scale_by_ademamix scale_by_adopt scale_by_amsgrad scale_by_ano scale_by_apollo scale_by_asgo
  | scale_by_came scale_by_grams scale_by_kl_shampoo scale_by_kl_soap scale_by_laprop scale_by_lion scale_by_lmo scale_by_mars
  | scale_by_muon scale_by_nadam scale_by_normuon scale_by_psgd_kron scale_by_qhadam scale_by_qhm scale_by_shampoo scale_by_soap
  | scale_by_splus scale_by_stable_adam scion shampoo soap splus stable_adamw
mu_dtype: the dtype of the sums; None: the parameter's, float32 or wider.
  | aggmo scale_by_aggmo
needs: for each extra argument of `update` by name, a function of (params, grads) that makes one for the laws.
  | kernels.optimizer kernels.register kernels.transform
nesterov: look ahead by one step of the momentum.
  | adabelief adam adamp adamuon adamw adopt dpsgd lars muon nadam nadamw normuon optimistic_adam optimistic_adam_v2 radam rmsprop
  | scale_by_adam scale_by_adamp scale_by_adamuon scale_by_adopt scale_by_belief scale_by_muon scale_by_normuon scale_by_radam sgd
  | trace
ns_coeffs: the coefficients of the Newton-Schulz polynomial, a row for all steps or one for each; or the name of a table: "standard",
    "dion", "polar_express", "deepseek_v4", "cans", "cubic", "turbo", "dion2".
  | adamuon dion2 mars muon normuon orthogonalize_via_newton_schulz scale_by_adamuon scale_by_dion2 scale_by_lmo scale_by_mars
  | scale_by_muon scale_by_normuon scion
ns_steps: the number of Newton-Schulz steps; a table with a row for each is used whole, "polar_express" as far as they go.
  | adamuon dion2 mars muon normuon orthogonalize_via_newton_schulz scale_by_adamuon scale_by_dion2 scale_by_lmo scale_by_mars
  | scale_by_muon scale_by_normuon scion
nu1: the weight of the running mean, beside the gradient.
  | qhadam qhm scale_by_qhadam scale_by_qhm
nu2: the weight of the running mean of squares, beside the square.
  | qhadam scale_by_qhadam
params: the parameters, which are not looked at.
  | init_empty_state skip_large_updates skip_not_finite
peak_value: the largest value, at the end of the rise.
  | cosine_onecycle_schedule cyclic_triangular_schedule linear_onecycle_schedule rsqrt_schedule warmup_constant_schedule
  | warmup_cosine_decay_schedule warmup_exponential_decay_schedule warmup_power_schedule wsd_schedule
preconditioning: how the matrix is scaled first: "frobenius", "spectral", "aol" or "schatten".
  | adamuon muon normuon orthogonalize_via_newton_schulz scale_by_adamuon scale_by_muon scale_by_normuon
placement: "pinned_host", or a dictionary of that by names of fields, `{"mu": "pinned_host"}`; None: all is on the devices, as are numbers,
    seeds and what is inside `per_device` in any case.
  | init_sharded state_shardings
predictions: what the model says, an array of floats.
  | cosine_distance cosine_similarity huber_loss l2_loss log_cosh squared_error
predictions: scores, or probabilities, of shape (batch, ..., classes).
  | binary_dice_loss dice_loss multiclass_generalized_dice_loss
scores: scores of the classes along the last axis.
  | multiclass_hinge_loss multiclass_perceptron_loss multiclass_sparsemax_loss
seed: the older name of key.
  | add_noise dpsgd noisy_sgd
shardings: where the parameters are to be, if not where they say: a `NamedSharding` or `PartitionSpec` each, or one for a part
    of the tree.
  | init_sharded state_shardings
smooth: added above and below the fraction, so that empty regions have no loss.
  | binary_dice_loss dice_loss multiclass_generalized_dice_loss
source: where the equation comes from.
  | kernels.optimizer kernels.register kernels.transform
spread: the axis of the mesh, or a tuple of axes, over whose devices whole matrices are dealt out; None: each is iterated on where it lives.
  | adamuon dion2 muon normuon scale_by_adamuon scale_by_dion2 scale_by_lmo scale_by_muon scale_by_normuon scion
spread: the axis of the mesh, or a tuple of axes, over whose devices matrices are dealt out with all of their state; None: each is updated
    where it lives.
  | asgo dion kl_shampoo kl_soap psgd_kron scale_by_asgo scale_by_dion scale_by_kl_shampoo scale_by_kl_soap scale_by_psgd_kron
  | scale_by_shampoo scale_by_soap scale_by_splus shampoo soap splus
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
tx: the optimizer, ours or of another library.
  | init_sharded state_shardings
updates: the gradients, a tree.
  | update_infinity_moment update_moment update_moment_per_elem_norm
upper_bound: the largest norm of a parameter that counts; None: no bound.
  | lamb lans scale_by_lans scale_by_trust_ratio
warmup_steps: the number of updates of the rise.
  | rsqrt_schedule warmup_constant_schedule warmup_cosine_decay_schedule warmup_exponential_decay_schedule warmup_power_schedule
  | wsd_schedule
weight_decay: decoupled decay: the part of the parameters, times learning_rate, that is taken away at each update.
  | acprop adahessian adam_mini adamaxw adamp adamw adan ademamix aggmo ano apollo apollo_mini asgo came dadapt_adamw grams
  | kl_shampoo kl_soap laprop lion nadamw prodigy psgd_kron qhadam qhm shampoo simplified_ademamix soap sophia
weight_decay: the part of the parameters that is added to the gradient.
  | adadelta cocob dog dowg madgrad
weight_decay: the part of the parameters that is added to the direction before its norm is taken.
  | lamb lans lars scale_by_lans
weight_decay_mask: which leaves decay: patterns such as `{"*/bias": False, "default": True}`, `by_ndim(2)`, a tree, a function;
    None: all.
  | adadelta adafactor adamuon dion dion2 lars muon normuon sophia
zero: the axes of the mesh that split the batch, a name or a tuple, over all of which the state is split; None: as the parameters.
  | init_sharded state_shardings
weight_dimension_numbers: which axes are a leaf's inputs and outputs: `WeightDimensionNumbers`, "flax", "equinox", "conv" or None;
    one for all, patterns of paths, a tree, or a function.
  | adamuon apollo apollo_mini dion dion2 galore initial_scale mars muon normuon scale_by_adamuon scale_by_apollo scale_by_dion
  | scale_by_dion2 scale_by_lmo scale_by_mars scale_by_muon scale_by_normuon scale_by_shape scale_by_width scion
weight_lr_power: how much more steps of a large rate weigh in the average.
  | schedule_free schedule_free_adamw schedule_free_sgd
bias_correction: divide the running mean and g by what is missing of a mean that began at 0.
  | muon scale_by_muon
ema: mu is a running mean; False: a decaying sum, of which g is a part with weight 1.
  | muon scale_by_muon
shape_scale: how a matrix's step depends on its shape: "original", sqrt(max(1, outputs / inputs)); "spectral", without the max;
    "match_rms_adamw", 0.2 sqrt(max(inputs, outputs)); None: not at all.
  | dion dion2 muon normuon scale_by_shape
gram: the same numbers by products of the shorter side; fewer operations where the longer is twice as long or more.
  | adamuon muon normuon orthogonalize_via_newton_schulz scale_by_adamuon scale_by_muon scale_by_normuon
wire: with spread, the dtype in which matrices travel between devices; None: that of the iteration.
  | adamuon dion2 muon normuon scale_by_adamuon scale_by_dion2 scale_by_lmo scale_by_muon scale_by_normuon scion
wire: with spread, the dtype in which gradients and updates travel between devices; None: their own.
  | asgo dion kl_shampoo kl_soap psgd_kron scale_by_asgo scale_by_dion scale_by_kl_shampoo scale_by_kl_soap scale_by_psgd_kron
  | scale_by_shampoo scale_by_soap scale_by_splus shampoo soap splus
b2: how much of the running mean of squared gradients stays at each update.
  | kl_soap scale_by_kl_soap scale_by_soap soap
b2: how much of the mean of squares stays at each update.
  | ano scale_by_ano
shampoo_beta: how much of each axis's factor stays at each update; None: b2.
  | scale_by_soap soap
eps: added to the denominator, after the square root, before what debiases.
  | scale_by_soap soap
eps: added to the root of nu before nu is debiased.
  | apollo apollo_mini grams scale_by_apollo scale_by_grams
eps: added inside the root by which the gradient is divided.
  | ano scale_by_ano
precondition_1d: whether a vector has a basis, too.
  | scale_by_soap soap
normalize_grads: divide what comes back from the bases by its root mean square.
  | scale_by_soap soap
bias_correction: multiply by sqrt(1 - b2^t) / (1 - b1^t).
  | scale_by_soap soap
max_precond_dim: an axis that is longer has no factor.
  | kl_shampoo kl_soap scale_by_kl_shampoo scale_by_kl_soap scale_by_soap soap
block_size: cut every axis into blocks of that length, each with factors of its own; None: not at all.
  | kl_shampoo kl_soap psgd_kron scale_by_kl_shampoo scale_by_kl_soap scale_by_psgd_kron scale_by_shampoo scale_by_soap shampoo
  | soap
merge_dims: join neighbouring axes first, from the front, as long as they have no more elements together; None: none.
  | kl_shampoo kl_soap psgd_kron scale_by_kl_shampoo scale_by_kl_soap scale_by_psgd_kron scale_by_shampoo scale_by_soap shampoo
  | soap
every: at every how many updates the factors are refreshed; a schedule: the gap between two refreshes.
  | asgo kl_shampoo kl_soap scale_by_asgo scale_by_kl_shampoo scale_by_kl_soap scale_by_shampoo scale_by_soap scale_by_splus
  | shampoo soap splus
start: the first update at which they are; None: every.
  | asgo kl_shampoo kl_soap scale_by_asgo scale_by_kl_shampoo scale_by_kl_soap scale_by_shampoo scale_by_soap scale_by_splus
  | shampoo soap splus
stacked: hold matrices of one shape and role, each a leaf of its own, as one array, with copies of the last behind them up to a multiple
    of so many, and all state of theirs so; with spread, best the number of its devices. None: a leaf is held by itself; `transfer_state`
    goes from one to the other.
  | asgo dion kl_shampoo kl_soap psgd_kron scale_by_asgo scale_by_dion scale_by_kl_shampoo scale_by_kl_soap scale_by_psgd_kron
  | scale_by_shampoo scale_by_soap scale_by_splus shampoo soap splus
phase: "all": at once; "spread": each update has its share of them, every needs to be a number.
  | apollo apollo_mini asgo kl_shampoo kl_soap psgd_kron scale_by_apollo scale_by_asgo scale_by_kl_shampoo scale_by_kl_soap
  | scale_by_psgd_kron scale_by_shampoo scale_by_soap scale_by_splus shampoo soap splus
tie_break: the first factor gets this part of its mean eigenvalue times diag(1..n) / n, which orders its null space.
  | scale_by_soap soap
weight_dimension_numbers: which axes are a leaf's inputs and outputs, all others a batch of matrices; a leaf without any is a vector.
    `WeightDimensionNumbers`, "flax", "equinox", "conv"; one for all, patterns of paths, a tree, a function. None: a leaf is one tensor,
    all axes are alike.
  | asgo kl_shampoo kl_soap psgd_kron scale_by_asgo scale_by_kl_shampoo scale_by_kl_soap scale_by_psgd_kron scale_by_shampoo
  | scale_by_soap scale_by_splus shampoo soap splus
adam_b1: b1 of the AdamW that the other leaves get.
  | adamuon dion dion2 mars muon normuon
adam_b2: b2 of the AdamW that the other leaves get.
  | adamuon dion dion2 mars muon normuon
adam_eps_root: eps_root of the AdamW that the other leaves get.
  | adamuon dion dion2 muon normuon
adam_weight_decay: weight_decay of the AdamW that the other leaves get.
  | adamuon dion dion2 mars muon normuon
adam_learning_rate: the rate of the AdamW that the other leaves get; None: learning_rate.
  | adamuon dion dion2 mars muon normuon
weight_decay: decoupled decay of the matrices: the part of the parameters, times learning_rate, that is taken away.
  | adamuon dion dion2 mars muon normuon
beta2: how much of the running mean of squares stays at each update.
  | normuon scale_by_normuon
eps_nu: added to the roots of nu, and without consistent_rms to the norm.
  | normuon scale_by_normuon
consistent_rms: the root mean square of every matrix's step, in units of the rate.
  | adamuon scale_by_adamuon
beta2: how much of the running mean of squares stays at each update; None: beta.
  | adamuon scale_by_adamuon
sign: orthogonalize the signs of the momentum, so that the sizes of its elements do not count.
  | adamuon scale_by_adamuon
eps_nu: added to the roots of nu, and to the norm.
  | adamuon scale_by_adamuon
where: the elements that count; None: all.
  | convex_kl_divergence cosine_distance cosine_similarity generalized_kl_divergence kl_divergence kl_divergence_with_log_targets
  | smooth_labels
where: the elements that count, of the shape of logits or without `axis`; None: all.
  | poly_loss_cross_entropy softmax_cross_entropy softmax_cross_entropy_with_integer_labels
x: the point, a tree.
  | projections.projection_halfspace projections.projection_hyperplane projections.projection_vector
precond_lr: the size of a step of Q, in parts of it.
  | psgd_kron scale_by_psgd_kron
form: "pro": no inverse, and Q nearly Hermitian; "triangular": an upper triangular Q, with which systems are solved.
  | psgd_kron scale_by_psgd_kron
whiten: what Q is fitted to: "momentum", the debiased mean, or "gradient".
  | psgd_kron scale_by_psgd_kron
init_scale: the size of all axes' Q together at first: u is init_scale^2 m where Q has not been updated.
  | psgd_kron scale_by_psgd_kron
clip_rms: the largest root mean square of a leaf's, or a block's, update; None: any.
  | psgd_kron scale_by_psgd_kron
clip_value: the largest size of its elements, after that; None: any.
  | psgd_kron scale_by_psgd_kron
diagonal: which axes have a diagonal Q whatever their length: "all"; "largest", the longest, of several the last; or None.
  | psgd_kron scale_by_psgd_kron
max_precond_dim: an axis that is longer has a diagonal Q.
  | psgd_kron scale_by_psgd_kron
max_skew: in form "pro" so has one whose length squared is more than max_skew times the number of elements.
  | psgd_kron scale_by_psgd_kron
every: at every how many updates Q is updated; a schedule: the gap between two updates of it.
  | psgd_kron scale_by_psgd_kron
start: the first update at which it is; None: every, with a schedule the first.
  | psgd_kron scale_by_psgd_kron
balance_every: after how many updates of Q all axes' are brought to one size, which leaves the result as it is.
  | psgd_kron scale_by_psgd_kron
key: a random key, or a whole number as a seed.
  | apollo apollo_mini dion psgd_kron scale_by_apollo scale_by_dion scale_by_psgd_kron
sampler: what draws n: (key, shape, dtype) -> normal numbers, of the shape of a leaf or block; in form "pro" for norms also of
    shape (32, d).
  | psgd_kron scale_by_psgd_kron
norm: whose ball it is: "auto", "spectral", "spectral_max", "sign", "column", "row" or "bias"; one for all leaves, or patterns such
    as `{"head/*": "sign"}` (the others "auto"), a tree, a function.
  | scale_by_lmo scion
radius: the radius of the ball: a number, or patterns, a tree, a function of (path, leaf).
  | scale_by_lmo scion
eps: added to the norms by which a leaf is divided.
  | scale_by_lmo scion
rank_fraction: the rank of an update, as a part of the matrix's shorter side, rounded up.
  | dion scale_by_dion
beta: how much stays in the momentum of what goes out of it as an update; all else stays.
  | dion scale_by_dion
eps: added to the length of a column of R, by which it is divided.
  | dion scale_by_dion
mu_dtype: the dtype of the momentum; None: the parameter's, float32 or wider.
  | dion dion2 scale_by_dion scale_by_dion2
fraction: how many of the rows go out as an update, as a part of the matrix's shorter side, rounded up.
  | dion2 scale_by_dion2
beta: how much stays of the momentum's rows that go out; the others stay.
  | dion2 scale_by_dion2
orthogonalization: how the orthonormal basis P is found: "qr"; "cholesky", the same by products of matrices, for accelerators.
  | dion scale_by_dion
sampler: what draws the first Q: (key, shape, dtype) -> normal numbers, of the shape (inputs, rank).
  | dion scale_by_dion
b1: how much of the running mean of scaled gradients stays at each update.
  | came scale_by_came scale_by_sm3
b1: how much of the running mean of corrected gradients stays at each update.
  | mars scale_by_mars
b3: how much of the running means of the instability stays at each update.
  | came scale_by_came
clip_threshold: the largest root mean square of a leaf's scaled gradient.
  | came scale_by_came
clip_threshold: the largest norm of a leaf's corrected gradient; None: any.
  | mars scale_by_mars
delta: how near to a right angle gradient and weight must be, in units of what random directions are.
  | adamp scale_by_adamp
eps2: added to the squared distance of a scaled gradient from their mean.
  | came scale_by_came
gamma: how much of the correction counts; 0: none.
  | mars scale_by_mars
hessian_diagonal_fn: a transformation from gradients to estimates of the diagonal.
  | adahessian scale_by_adahessian scale_by_sophia
hessian_power: 1: divide by the curvature, as Newton's method; 0: not at all; between them, by a power of it.
  | adahessian scale_by_adahessian
kind: what is made of the running mean: "adamw", "lion" or "muon".
  | mars scale_by_mars
mu_dtype: the dtype of the running mean of gradients; None: the parameter's, float32 or wider.
  | adahessian scale_by_adahessian scale_by_sophia sophia
wd_ratio: a factor of the decay of weights whose length does not count.
  | adamp scale_by_adamp
b2: how much of the running means of squares stays at each update.
  | came scale_by_came
b2: how much of the running mean of squared curvatures stays at each update.
  | adahessian scale_by_adahessian
eps: added to the squared gradients.
  | adafactor came scale_by_came
eps: added to the divisor, in its units, so that it is never 0; of "muon" to the norm by which the matrix is divided first.
  | mars scale_by_mars
weight_dimension_numbers: which axes are a leaf's inputs and outputs: `WeightDimensionNumbers`, "flax", "equinox", "conv"; one
    for all, patterns of paths, a tree, or a function; a leaf without any is a vector. None: the last of two axes or more has the
    outputs.
  | adam_mini adamp scale_by_adam_mini scale_by_adamp
b2: how much of each axis's factor stays at each update; 1: it is a sum.
  | scale_by_shampoo shampoo
b3: the share of the old running mean in what is multiplied by the roots; None: b1.
  | scale_by_shampoo shampoo
eps: added to the eigenvalues of the factors before a root is taken.
  | scale_by_shampoo shampoo
graft: whose step says how long that of each block is: "sgd", "adagrad", "rmsprop", "adam"; None: it is as long as it comes.
  | scale_by_shampoo shampoo
graft_b2: how much of the graft's running mean of squared gradients stays at each update.
  | scale_by_shampoo shampoo
graft_eps: added to the graft's denominator, after the square root.
  | scale_by_shampoo shampoo
exponents: for each axis of a leaf with as many axes the power of the inverse root, None for no factor; None, and for other leaves:
    1 / (2 axes).
  | scale_by_shampoo shampoo
roots: how roots are found: "eigh", by eigenvectors, or by products alone, "newton" or, of order 2, 4, 8, "newton_db".
  | scale_by_shampoo shampoo
bias_correction: divide both means by what is missing of a mean that began at 0.
  | scale_by_shampoo shampoo
max_precond_dim: an axis that is longer has no factor; None: every axis has one.
  | scale_by_shampoo shampoo
limiter: how many times as large as the last a matrix's update may be; None: any.
  | apollo apollo_mini scale_by_apollo
rank: the number of dimensions that the shorter side of a matrix is projected to.
  | apollo apollo_mini scale_by_apollo
scale: the square of a factor of the updates of matrices.
  | apollo apollo_mini scale_by_apollo
scale_front: multiply by the root of scale before the norm is limited, and not after it.
  | apollo apollo_mini scale_by_apollo
scale_type: "channel": a factor for each row of the longer side; "tensor": one for the matrix.
  | apollo apollo_mini scale_by_apollo
every: the number of updates from one projection to the next; a schedule: the gap between two.
  | apollo apollo_mini scale_by_apollo
start: the first update at which there is one, before which matrices stand still; None: every.
  | apollo apollo_mini scale_by_apollo
sampler: what draws P: (key, shape, dtype) -> normal numbers, of the shape (rank, shorter side).
  | apollo apollo_mini scale_by_apollo
shampoo_beta: how much of each side's factor stays at each update, once many have been.
  | kl_shampoo kl_soap scale_by_kl_shampoo scale_by_kl_soap
eps: the least eigenvalue that counts; for what is no matrix, added to Adam's denominator.
  | kl_shampoo scale_by_kl_shampoo
init_factor: what the factors begin with, times the identity.
  | kl_shampoo kl_soap scale_by_kl_shampoo scale_by_kl_soap
eps: added to the denominator, before what debiases; and the least eigenvalue that counts.
  | kl_soap scale_by_kl_soap
b2: how much of each side's factor stays at each update.
  | scale_by_splus splus
eps: added to the factors' diagonals before their eigenvectors are taken.
  | scale_by_splus splus
ema_decay: how much of the average of the parameters stays at each update.
  | scale_by_splus splus
nonstandard_scale: the size of the step of what is no matrix, or has a side that is too long.
  | scale_by_splus splus
max_precond_dim: a matrix with a longer side has no factors.
  | scale_by_splus splus
b2: how much of the factor stays at each update.
  | asgo scale_by_asgo
eps: added to the root of the factor before it is inverted.
  | asgo scale_by_asgo
consistent_rms: the root mean square of every matrix's step, in units of the rate; None: it is as long as it comes.
  | asgo scale_by_asgo
roots: how roots are found: "eigh", by eigenvectors, or by products alone, "newton" or "newton_db".
  | asgo scale_by_asgo
"""

DIALECTS = """
lr: the learning rate, or a schedule: a function of the number of completed updates.
  | dialects.torch.*
betas: how much of the running means of g and of its square stays at each update.
  | dialects.torch.* -dialects.torch.adamax
eps: added to the root by which the gradient is divided.
  | dialects.torch.* -dialects.torch.adadelta -dialects.torch.adafactor -dialects.torch.adamax -dialects.torch.muon
weight_decay: the part of the parameters that is added to the gradient.
  | dialects.torch.* -dialects.torch.adamw -dialects.torch.adafactor -dialects.torch.muon -dialects.torch.adam
  | -dialects.torch.nadam -dialects.torch.radam
weight_decay: the part of the parameters that is added to the gradient; with decoupled_weight_decay, taken away apart, times lr.
  | dialects.torch.adam dialects.torch.nadam dialects.torch.radam
weight_decay: decoupled decay: the part of the parameters, times lr, that is taken away at each update.
  | dialects.torch.adafactor dialects.torch.adamw dialects.torch.muon
decoupled_weight_decay: take the decay away apart from the gradient, as AdamW does.
  | dialects.torch.*
maximize: climb.
  | dialects.torch.*
amsgrad: divide by the largest running mean of squares so far.
  | dialects.torch.* dialects.keras.*
nesterov: look ahead by one step of the momentum.
  | dialects.torch.* dialects.keras.* dialects.neon.*
momentum: how much of the velocity stays at each update.
  | dialects.torch.sgd dialects.torch.rmsprop dialects.keras.* dialects.mxnet.* -dialects.mxnet.signum
momentum: how much of the running mean of gradients stays at each update.
  | dialects.mxnet.signum dialects.torch.muon
rho: how much of the running means of squares stays at each update.
  | dialects.torch.* dialects.keras.* dialects.mxnet.*
centered: divide by the running standard deviation in the place of the root mean square.
  | dialects.torch.* dialects.keras.*
momentum_decay: how fast the momentum warms up.
  | dialects.torch.*
initial_accumulator_value: where the sum of squares begins.
  | dialects.torch.* dialects.keras.*
lr: the rate from which the schedule starts: the optimizer's, in whose place it stands.
  | dialects.torch.lr_scheduler.* -dialects.torch.lr_scheduler.ReduceLROnPlateau
eta_min: the lowest rate.
  | dialects.torch.lr_scheduler.*
gamma: by what the rate is multiplied each time.
  | dialects.torch.lr_scheduler.*
total_iters: the number of steps that it takes.
  | dialects.torch.lr_scheduler.*
power: the power of the time that is left.
  | dialects.torch.lr_scheduler.* dialects.keras.schedules.* dialects.neon.*
total_steps: the length of the cycle; or epochs steps_per_epoch.
  | dialects.torch.lr_scheduler.*
epochs: the number of epochs, where total_steps is not given.
  | dialects.torch.lr_scheduler.*
steps_per_epoch: the steps in an epoch, where total_steps is not given.
  | dialects.torch.lr_scheduler.*
pct_start: the part of the cycle in which the rate rises.
  | dialects.torch.lr_scheduler.*
anneal_strategy: "cos" or "linear".
  | dialects.torch.lr_scheduler.*
three_phase: fall to the first rate as slowly as it rose, and only then to the last.
  | dialects.torch.lr_scheduler.*
learning_rate: the learning rate, or a schedule: a function of the number of completed updates.
  | dialects.keras.* dialects.mxnet.* dialects.neon.gradient_descent_momentum dialects.neon.adam dialects.neon.adagrad
  | dialects.neon.rmsprop
beta_1: how much of the running mean of gradients stays at each update.
  | dialects.keras.* dialects.neon.* -dialects.keras.lion
beta_2: how much of the running mean of squares stays at each update.
  | dialects.keras.* dialects.neon.* -dialects.keras.lion -dialects.keras.adamax
epsilon: added to the root by which the gradient is divided.
  | dialects.keras.adam dialects.keras.adamw dialects.keras.lamb dialects.keras.nadam dialects.mxnet.adam dialects.mxnet.adamw
  | dialects.mxnet.ftml dialects.mxnet.group_adagrad dialects.mxnet.lamb dialects.mxnet.lans dialects.mxnet.nadam
  | dialects.neon.adam
epsilon: added inside the root by which the gradient is divided.
  | dialects.keras.adagrad dialects.keras.rmsprop dialects.mxnet.rmsprop dialects.neon.adagrad
epsilon: added inside both roots; it starts the first steps.
  | dialects.keras.adadelta dialects.mxnet.adadelta dialects.neon.adadelta
epsilon: added to the largest recent gradient.
  | dialects.keras.adamax dialects.mxnet.adamax
weight_decay: decoupled decay: the part of the parameters, times learning_rate, that is taken away at each update; None: none.
  | dialects.keras.*
clipnorm: the norm above which a leaf's gradient is scaled down; None: none.
  | dialects.keras.*
clipvalue: the size above which an element of a gradient is cut; None: none.
  | dialects.keras.*
global_clipnorm: the norm of all leaves together above which they are scaled down; None: none.
  | dialects.keras.*
use_ema: keep a running mean of the parameters in the state; `eval_params` and `ema_params` read it.
  | dialects.keras.*
ema_momentum: how much of that running mean stays at each update.
  | dialects.keras.*
ema_overwrite_frequency: after how many updates the parameters are set to it; None: never.
  | dialects.keras.*
beta: added to the root of the sum of squares, in the curvature.
  | dialects.keras.ftrl dialects.mxnet.ftrl
initial_learning_rate: the rate from which the schedule starts.
  | dialects.keras.schedules.*
decay_steps: the steps over which decay_rate counts once.
  | dialects.keras.schedules.ExponentialDecay dialects.keras.schedules.InverseTimeDecay
decay_steps: the number of steps that the decay takes.
  | dialects.keras.schedules.CosineDecay dialects.keras.schedules.PolynomialDecay
staircase: count whole periods only.
  | dialects.keras.schedules.*
alpha: the lowest rate, as a part of the highest.
  | dialects.keras.schedules.*
warmup_steps: the number of steps of the warm-up.
  | dialects.keras.schedules.CosineDecay dialects.mxnet.*
beta1: how much of the running mean of gradients stays at each update.
  | dialects.mxnet.*
beta2: how much of the running mean of squares stays at each update.
  | dialects.mxnet.* -dialects.mxnet.adamax
rescale_grad: what gradients are multiplied by first; MXNet's sum over the batch, so 1 / batch size there.
  | dialects.mxnet.*
clip_gradient: the size above which an element of the rescaled gradient is cut; None: none.
  | dialects.mxnet.*
wd: the strength of the weight decay.
  | dialects.mxnet.*
lr_mult: factors of the learning rate: a mapping from patterns of paths, or a tree; None: 1.
  | dialects.mxnet.*
wd_mult: factors of the weight decay: a mapping from patterns of paths, or a tree; None: 1.
  | dialects.mxnet.*
multi_precision: keep a float32 copy of narrow parameters in the state.
  | dialects.mxnet.*
correct_bias: multiply the rate by the quotient of the bias corrections.
  | dialects.mxnet.*
lower_bound: the least norm that a leaf counts as having; None: none.
  | dialects.mxnet.*
upper_bound: the largest norm that a leaf counts as having; None: none.
  | dialects.mxnet.*
max_update: the update at which the decay ends.
  | dialects.mxnet.*
base_lr: the rate from which the decay starts.
  | dialects.mxnet.*
final_lr: the rate at which it ends.
  | dialects.mxnet.*
warmup_begin_lr: the rate at which the warm-up begins.
  | dialects.mxnet.*
warmup_mode: whether the warm-up is "linear" or "constant".
  | dialects.mxnet.*
factor: by what the rate is multiplied each time.
  | dialects.mxnet.*
gradient_clip_value: the size above which an element of a gradient is cut; None: none.
  | dialects.neon.*
gradient_clip_norm: the norm of all leaves together above which they are scaled down; None: none.
  | dialects.neon.*
param_clip_value: the largest size that parameters may come to; None: any.
  | dialects.neon.*
stochastic_round: round narrow parameters up or down at random, so that small updates count on average.
  | dialects.neon.*
key: a random key for stochastic_round, or a number to make one of.
  | dialects.neon.*
learning_rate: the rate from which the schedule starts.
  | dialects.neon.exp_schedule dialects.neon.poly_schedule dialects.neon.power_schedule dialects.neon.schedule
  | dialects.neon.shift_schedule dialects.neon.step_schedule
updates_per_epoch: the updates in an epoch.
  | dialects.neon.*
change: by what the rate is multiplied each time.
  | dialects.neon.power_schedule dialects.neon.schedule
"""
