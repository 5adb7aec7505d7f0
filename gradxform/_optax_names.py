"""Addresses for what stands elsewhere here, Optax's and our own older ones: tables of `_lazy.attach`, for the modules of those addresses.

They are for users alone, and may point upward (`transforms` to `wrappers`): our own files import from where a name stands.
"""

# `optax.contrib`. Here its names are not set apart.
CONTRIB = {
    "gradxform.optimizers": (
        "COCOBState DAdaptAdamWState DoGState DoWGState GaLoreDimensionNumbers GaLoreState MadgradState MomoAdamState "
        "MomoState MuonDimensionNumbers MuonState ProdigyState ScaleByAdemamixState ScaleBySimplifiedAdEMAMixState "
        "SophiaState acprop ademamix adopt cocob dadapt_adamw dog dowg dpsgd galore madgrad momo momo_adam muon "
        "prodigy scale_by_acprop scale_by_ademamix scale_by_adopt scale_by_cocob scale_by_galore scale_by_madgrad "
        "scale_by_muon scale_by_simplified_ademamix simplified_ademamix sophia"
    ),
    "gradxform.transforms": (
        "DifferentiallyPrivateAggregateState HutchinsonState NormalizeState differentially_private_aggregate "
        "hutchinson_estimator_diag_hessian normalize"
    ),
    "gradxform.wrappers": (
        "MechanicState ReduceLROnPlateauState SAMState ScheduleFreeState SplitRealAndImaginaryState mechanize "
        "reduce_on_plateau sam schedule_free schedule_free_adamw schedule_free_eval_params schedule_free_sgd "
        "split_real_and_imaginary"
    ),
}

# `optax.transforms`, beside what our `transforms` holds itself. The states without fields are all the same one.
TRANSFORMS = {
    "gradxform._types": "ConditionFn ShouldSkipUpdateFunction",
    "gradxform.core": (
        "MaskedNode MaskedState PartitionState chain freeze masked named_chain partition selective_transform "
        "AdaptiveGradClipState=EmptyState AddDecayedWeightsState=EmptyState ClipByGlobalNormState=EmptyState "
        "ClipState=EmptyState NonNegativeParamsState=EmptyState ScaleByTrustRatioState=EmptyState ScaleState=EmptyState"
    ),
    "gradxform.wrappers": (
        "ApplyIfFiniteState ConditionallyMaskState ConditionallyTransformState MultiSteps MultiStepsState apply_if_finite "
        "conditionally_mask conditionally_transform flatten skip_large_updates skip_not_finite"
    ),
}

# `optax.tree_utils`: `optax.tree` under older names.
_TREE = (
    "add add_scale allclose batch_shape bias_correction cast cast_like clip conj div dtype full_like get get_all_with_path map_params "
    "max min mul norm ones_like random_like real scale set size split_key_like sub sum unwrap_random_key_data update_infinity_moment "
    "update_moment update_moment_per_elem_norm vdot where zeros_like"
)
_OLDER = "tree_scalar_mul=scale tree_add_scalar_mul=add_scale NamedTupleKey"
TREE_UTILS = {
    "gradxform.tree": " ".join([*(f"tree_{name}={name}" for name in _TREE.split()), _OLDER]),
    "gradxform.tree._older_norms": "tree_l1_norm tree_l2_norm tree_linf_norm",
}

# Where names of ours were once, `gradxform.optimizers` and `gradxform.wrappers`.
ONCE_OPTIMIZERS = {"gradxform.transforms": "HutchinsonState hutchinson_estimator_diag_hessian"}
ONCE_WRAPPERS = {
    "gradxform.surgery": "Transfer eval_params get_hyperparams reset_group resume_at set_hyperparams transfer_state",
}

# For `as_optax`: the Optax whose names and numbers ours are, its public modules, its private ones under `optax._src`, and the modules of
# JAX that come with it, which some of its users take for granted.
MATCHED = "0.2.8"
MODULES = "contrib losses tree tree_utils schedules transforms projections assignment microbatching numerics"
PRIVATE = (
    "alias base clipping combine constrain factorized linear_algebra linesearch lookahead numerics privacy schedule sharding transform "
    "update utils wrappers"
)
LOADED = "jax.flatten_util jax.scipy.special jax.scipy.stats"
