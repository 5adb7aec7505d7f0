"""What a type checker sees of the public calls. Not run: pyright reads it."""

import functools
from collections.abc import Callable
from typing import Annotated, NamedTuple, assert_type

import jax
import jax.numpy as jnp
import numpy as np

import gradxform as gx
from gradxform.dialects import keras, mxnet, neon, torch
from gradxform.kernels import Count, Field, Inner, NonNegative, Shared, elementwise, register, update_if, wrapper


def factories() -> None:
    assert_type(gx.scale_by_adam(0.9, 0.95, eps=1e-6), gx.GradientTransformationExtraArgs)
    assert_type(gx.trace(decay=0.9, nesterov=True), gx.GradientTransformationExtraArgs)
    assert_type(gx.clip_by_global_norm(1.0), gx.GradientTransformationExtraArgs)
    assert_type(gx.chain(gx.clip(1.0), gx.scale(-0.1)), gx.GradientTransformationExtraArgs)
    gx.scale_by_adam(b3=0.9)  # pyright: ignore[reportCallIssue]  the kernel has no such hyperparameter
    gx.trace()  # pyright: ignore[reportCallIssue]  decay is required
    gx.scale_by_adam(nesterov="yes")  # pyright: ignore[reportArgumentType]  a flag is a flag


def dialects() -> None:
    assert_type(torch.adam(gx.cosine_decay_schedule(1e-3, 100), betas=(0.9, 0.95)), gx.GradientTransformationExtraArgs)
    assert_type(keras.adamw(1e-3, clipnorm=1.0, use_ema=True), gx.GradientTransformationExtraArgs)
    torch.adam("fast")  # pyright: ignore[reportArgumentType]  no number, array or schedule
    torch.adam(betas=0.9)  # pyright: ignore[reportArgumentType]  two numbers
    torch.adam(lr=None)  # pyright: ignore[reportArgumentType]  None only where it is said
    keras.sgd(clipnorm="big")  # pyright: ignore[reportArgumentType]  the common arguments too
    mxnet.sgd(0.1, weight_decay=0.1)  # pyright: ignore[reportCallIssue]  it is called wd there
    mxnet.rmsprop(clip_weights=lambda k: 0.1)  # pyright: ignore[reportArgumentType]  no schedule
    neon.adam(key=0.5)  # pyright: ignore[reportArgumentType]  a key or a whole number


def hyperparameters() -> None:
    """An optimizer's hyperparameter is a number, an array or a schedule; a mask, dtype or key is one of its own forms."""
    for rate in (
        1,
        1e-3,
        np.float32(1e-3),
        np.asarray(1e-3),
        jnp.asarray(1e-3),
        gx.linear_schedule(1e-3, 0.0, 100),
        lambda k: 1 / k,
    ):
        gx.adam(rate, b1=rate)
    gx.adamw(1e-3, mu_dtype="bfloat16", mask={"*/bias": False, "default": True})
    gx.adamw(1e-3, mu_dtype=jnp.bfloat16, mask=lambda params: jax.tree.map(jnp.ndim, params))
    gx.muon(0.02, ns_coeffs="dion", muon_weight_dimension_numbers=gx.MuonDimensionNumbers(0, 1))
    gx.noisy_sgd(0.1, key=jax.random.key(0))
    gx.dpsgd(0.1, 1.0, 1.0, key=0, momentum=gx.linear_schedule(0.9, 0.8, 10))
    gx.fromage(gx.constant_schedule(0.01))
    for number in (1, 1e-3, np.float32(1e-3), np.asarray(1e-3), jnp.asarray(1e-3)):
        gx.cosine_decay_schedule(number, decay_steps=number)
        mxnet.poly_scheduler(100, base_lr=number)
    gx.cosine_decay_schedule("x", 100)  # pyright: ignore[reportArgumentType]
    gx.cosine_decay_schedule(1e-3, "100")  # pyright: ignore[reportArgumentType]
    gx.linear_schedule(gx.constant_schedule(1.0), 0.0, 100)  # pyright: ignore[reportArgumentType]  no schedule of schedules
    neon.exp_schedule(0.1, decay="slow")  # pyright: ignore[reportArgumentType]
    gx.adam("fast")  # pyright: ignore[reportArgumentType]
    gx.adam(None)  # pyright: ignore[reportArgumentType]  only where None is listed
    gx.adamw(1e-3, weight_decay="little")  # pyright: ignore[reportArgumentType]
    gx.lion(1e-3, b1=(0.9, 0.99))  # pyright: ignore[reportArgumentType]
    gx.adam(1e-3, mu_dtype=16)  # pyright: ignore[reportArgumentType]
    gx.noisy_sgd(0.1, key=0.5)  # pyright: ignore[reportArgumentType]
    gx.dpsgd(0.1, gx.constant_schedule(1.0), 1.0, key=0)  # pyright: ignore[reportArgumentType]  the clip is no schedule
    gx.dog(init_step=("slowly", 1.0))  # pyright: ignore[reportArgumentType]
    gx.add_decayed_weights("little")  # pyright: ignore[reportArgumentType]
    gx.scale_by_adam(mu_dtype=16)  # pyright: ignore[reportArgumentType]


class Network(NamedTuple):
    """A model of a class of its own."""

    kernel: jax.Array
    bias: jax.Array


def loop(tx: gx.GradientTransformation, model: Network, grads: Network) -> None:
    """`update` has named parameters, whoever made the transformation, and parameters keep their class."""
    for optimizer in (tx, gx.adam(0.1), gx.chain(gx.clip(1.0), torch.adamw()), gx.accumulate(tx, 2), gx.loss_scale(tx)):
        updates, state = optimizer.update(grads, optimizer.init(model), model)
        assert_type(gx.apply_updates(model, updates), Network)
        assert_type(gx.projections.projection_box(model, -1.0, 1.0), Network)
        assert_type(gx.scale_gradient(model, 0.5), Network)
        assert_type(gx.eval_params(optimizer, state, model), Network)
        optimizer.update(updates=grads, state=state, params=model, value=jnp.float32(1))
        optimizer.update(grads=grads, state=state)  # pyright: ignore[reportCallIssue]
        optimizer.update(grads)  # pyright: ignore[reportCallIssue]
        optimizer.init(parameters=model)  # pyright: ignore[reportCallIssue]
        init, update = optimizer
        update(grads, init(model), model)
    assert_type(tx._replace(update=tx.update), gx.GradientTransformation)
    gx.GradientTransformationExtraArgs(lambda p: (), lambda g, s, p=None, **extra: (g, s)).update(grads, (), value=1)
    gx.GradientTransformation(3, tx.update)  # pyright: ignore[reportArgumentType]  a function


def coming_over(tx: gx.GradientTransformation, model: Network, grads: Network) -> None:
    rate = torch.lr_scheduler.CosineAnnealingLR(0.1, T_max=100)
    torch.adamw(rate, betas=(torch.lr_scheduler.OneCycleMomentum(100), 0.999))
    torch.lr_scheduler.StepLR(0.1, step_size=2.5)  # pyright: ignore[reportArgumentType]  a whole number
    torch.lr_scheduler.CosineAnnealingLR(0.1)  # pyright: ignore[reportCallIssue]  T_max is required
    keras.adam(keras.schedules.ExponentialDecay(0.1, decay_steps=100, decay_rate=0.9))
    torch.lr_scheduler.StepLR("fast", step_size=2)  # pyright: ignore[reportArgumentType]
    keras.schedules.PolynomialDecay(0.1, "slow")  # pyright: ignore[reportArgumentType]
    gx.sgd(gx.tabulate(lambda k: 1 / (1 + k), 100))
    gx.tabulate(lambda: 1.0, 100)  # pyright: ignore[reportArgumentType]  it is given the step
    torch.clip_grad_norm(1.0, norm_type="fro")  # pyright: ignore[reportArgumentType]
    assert_type(gx.loss_scale_of(gx.loss_scale(tx).init(model)), jax.Array)
    gx.load_torch_state(tx, model, "optimizer.pt", {"weight": ("kernel", (1, 0)), "bias": "bias", "buffer": None}, step=3)
    gx.load_torch_state(tx, model, "optimizer.pt", ["kernel", "bias"])  # pyright: ignore[reportArgumentType]  by name


@gx.per_leaf()
def halve(g, s, p, c, *, times: int = 1):
    return g / 2**times, s


def lifted() -> None:
    assert_type(halve(times=2), gx.GradientTransformationExtraArgs)
    halve(2)  # pyright: ignore[reportCallIssue]  the kernel's star stays


class LazyState(NamedTuple):
    calls: Annotated[Shared, Field(first=lambda: jnp.zeros([], int))]
    inner_state: Inner


@wrapper(LazyState, scope="elementwise")
def lazy(g, s, p, c, inner: gx.GradientTransformation, period: Count = 2):
    """Use every `period`-th gradient, beginning with the first; leave the others out."""
    u, inner_state = update_if(s.calls % period == 0, inner, g, s.inner_state, p)
    return u, s._replace(calls=s.calls + 1, inner_state=inner_state)


def wrappers() -> None:
    """A wrapper, ours or a user's, has the arguments of its kernel after (g, s, p, c)."""
    assert_type(gx.lookahead(gx.sgd(0.1), 5, 0.5), gx.GradientTransformationExtraArgs)
    assert_type(gx.accumulate(gx.sgd(0.1), every_k=4), gx.GradientTransformationExtraArgs)
    gx.lookahead(0.1, 5, 0.5)  # pyright: ignore[reportArgumentType]  a rate is no transformation
    gx.lookahead(gx.sgd(0.1), slow_step=0.5)  # pyright: ignore[reportCallIssue]
    assert_type(lazy(gx.adam(0.1), period=3), gx.GradientTransformationExtraArgs)
    assert_type(lazy(lazy(gx.adam(0.1)), 3).update({}, ())[0], gx.Updates)
    lazy("adam")  # pyright: ignore[reportArgumentType]  a transformation, not its name
    lazy(gx.adam)  # pyright: ignore[reportArgumentType]  nor the function that makes it
    lazy(gx.adam(0.1), 2.5)  # pyright: ignore[reportArgumentType]  a whole number
    lazy(gx.adam(0.1), every=3)  # pyright: ignore[reportCallIssue]


def functions(tx: gx.GradientTransformation, late: Callable[[jax.Array], jax.Array]) -> None:
    """A user's function may name its arguments as it likes, and leave out those that it does not read."""

    def where(step: jax.Array, *, loss: jax.Array) -> jax.Array:
        return loss > step

    gx.conditionally_transform(tx, lambda step: step > 3)
    gx.conditionally_transform(tx, lambda k, **extra: extra["loss"] > k, forward_extra_args=True)
    gx.conditionally_transform(tx, gx.piecewise_constant_schedule(1.0, {100: 0.0}))
    gx.conditionally_mask(tx, late)
    gx.conditionally_mask(tx, where, forward_extra_args=True)
    gx.conditionally_mask(tx, lambda: True)  # pyright: ignore[reportArgumentType]  it is given the step
    gx.conditionally_mask(tx, 3)  # pyright: ignore[reportArgumentType]  a function
    gx.MultiSteps(tx, lambda k: jnp.where(k < 100, 1, 4), should_skip_update_fn=lambda g, k, p: (jnp.max(g) > 1, ()))
    gx.MultiSteps(tx, 4, should_skip_update_fn=gx.skip_not_finite)
    gx.MultiSteps(tx, 4, should_skip_update_fn=functools.partial(gx.skip_large_updates, max_squared_norm=1.0))
    gx.MultiSteps(tx, 4, should_skip_update_fn=lambda g: (True, ()))  # pyright: ignore[reportArgumentType]  three arguments
    gx.accumulate(tx, lambda k: jnp.where(k < 100, 1, 4))
    gx.partition({"a": tx, "b": gx.set_to_zero()}, lambda path, leaf: "a" if leaf.ndim > 1 else "b")
    gx.masked(tx, lambda params: jax.tree.map(lambda x: x.ndim > 1, params))
    gx.stateless(lambda g, p: g)
    gx.add_regularizer(lambda w: jnp.sum(w**2), lambda k: 0.1)
    assert_type(gx.join_schedules([lambda k: 0.1 * k, gx.linear_schedule(1.0, 0.0, 10)], [3]), gx.Schedule)
    assert_type(torch.lr_scheduler.StepLR(0.1, step_size=2), gx.Schedule)
    gx.inject_hyperparams(lambda learning_rate: gx.sgd(learning_rate))(lambda k: 0.1)
    gx.chain(gx.GradientTransformation(lambda p: (), lambda g, s, p=None: (g, s)), tx)


@register("MyDescent", source="a user")
@elementwise()
def descent(g, s, p, c, learning_rate: NonNegative, *, sign: bool = False):
    return -learning_rate * (jnp.sign(g) if sign else g), s


def registered() -> None:
    """Registration changes nothing."""
    assert_type(descent(gx.linear_schedule(0.1, 0.0, 10), sign=True), gx.GradientTransformationExtraArgs)
    assert_type(gx.create("mydescent", learning_rate=0.1), gx.GradientTransformationExtraArgs)
    descent(0.1, True)  # pyright: ignore[reportCallIssue]  the flag is given by name
    register("MyDescent", descent, sauce="a user")  # pyright: ignore[reportCallIssue]


def losses(scores: jax.Array, labels: np.ndarray) -> None:
    assert_type(gx.losses.softmax_cross_entropy_with_integer_labels(scores, labels, where=labels >= 0), jax.Array)
    assert_type(gx.losses.ctc_loss_with_forward_probs(scores, 0, labels, 0), tuple[jax.Array, jax.Array, jax.Array])
    assert_type(gx.losses.l2_loss(1.0, targets=labels), jax.Array)
    gx.losses.l2_loss("scores")  # pyright: ignore[reportArgumentType]  numbers, not their name
    gx.losses.softmax_cross_entropy(scores, labels, axis=0.5)  # pyright: ignore[reportArgumentType]  an axis is whole
    gx.losses.huber_loss(scores, labels, 2.0)  # pyright: ignore[reportCallIssue]  delta is given by name

    def hottest(x: jax.Array, temperature: float) -> jax.Array:
        return x.max() / temperature

    loss = gx.losses.make_fenchel_young_loss(hottest)
    assert_type(loss(scores, labels, temperature=2.0), jax.Array)
    loss(scores, labels)  # pyright: ignore[reportCallIssue]  what `hottest` needs, the loss needs


def trees(params: dict[str, jax.Array]) -> None:
    assert_type(gx.tree.norm(params), jax.Array)
    assert_type(gx.tree.size(params), int)
    assert_type(gx.tree.max(params), jax.Array | float)  # of no elements it is -inf
    assert_type(gx.tree.dtype(params, "promote"), np.dtype)
    gx.tree.dtype(params, "widest")  # pyright: ignore[reportArgumentType]  no such way
    gx.tree.scale("0.1", params)  # pyright: ignore[reportArgumentType]
    gx.tree.map_params(gx.adam(0.1), abs, gx.adam(0.1).init(params))
    gx.tree.map_params(3, abs, params)  # pyright: ignore[reportArgumentType]  neither a transformation nor an `init`


def numbers(x: jax.Array, y: np.ndarray) -> None:
    assert_type(gx.numerics.abs_sq(x), jax.Array)
    assert_type(gx.numerics.abs_sq(y), np.ndarray)
    assert_type(gx.numerics.safe_norm(y, 1e-6, axis=(0, 1)), jax.Array)
    gx.numerics.safe_norm(x, None)  # pyright: ignore[reportArgumentType]
    assert_type(gx.nnls(x, y, iters=10), jax.Array)
    assert_type(gx.assignment.hungarian_algorithm(y), tuple[jax.Array, jax.Array])
    gx.projections.projection_simplex(x, scale="1")  # pyright: ignore[reportArgumentType]


def searches(schedule: Callable[[jax.Array], jax.Array]) -> None:
    gx.scale_by_zoom_linesearch(15, max_learning_rate=None, tol=np.float32(1e-3))
    gx.scale_by_zoom_linesearch(15, tol=schedule)  # pyright: ignore[reportArgumentType]  a search has no schedules
    gx.error_feedback(gx.two_bit(0.5), ("data", "model"))
    gx.error_feedback("two_bit")  # pyright: ignore[reportArgumentType]  a compressor, not its name
    gx.master_weights(gx.adam(0.1), dtype=jnp.float32, key=0)
    gx.master_weights(gx.adam(0.1), bits=8, key=jnp.uint32(3))
    gx.summary(gx.adam(0.1), {"w": jnp.ones(3)}, steps=100).bytes_per_parameter.is_integer()
