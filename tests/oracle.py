"""Optax as it is meant to run, with JAX's standard promotion, which the suite forbids to gradxform: `from oracle import optax`."""

import functools
import inspect
import types

import jax
import optax as real
import optax.contrib
import optax.losses
import optax.projections


class Standard:
    """A module whose functions, and the transformations and schedules that they return, promote as usual."""

    def __init__(self, module):
        self.module = module

    def __getattr__(self, name):
        return standard(getattr(self.module, name))

    def __dir__(self):
        return dir(self.module)


def standard(x):
    """A module, transformation or function with JAX's standard promotion; anything else as it is."""
    if isinstance(x, types.ModuleType):
        return Standard(x)
    if x is real.MultiSteps:
        return lambda *args, **kwargs: standard(x(*args, **kwargs).gradient_transformation())
    if type(x) in (real.GradientTransformation, real.GradientTransformationExtraArgs):
        return x._replace(init=standard(x.init), update=standard(x.update))
    if inspect.isclass(x) or not callable(x) or not hasattr(x, "__name__"):
        return x

    @functools.wraps(x)
    def inside(*args, **kwargs):
        with jax.numpy_dtype_promotion("standard"):
            return standard(x(*args, **kwargs))

    return inside


optax = Standard(real)
