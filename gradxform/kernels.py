'''The vocabulary of those who write optimizers: decorators, kinds of state fields, ranges, holes, registration.

A kernel is an optimizer's equation for one array. Its decorator makes a function of the hyperparameters out of it, which returns a
`GradientTransformation` for trees:

    >>> from typing import NamedTuple
    >>> import gradxform as gx, jax.numpy as jnp
    >>> from gradxform.kernels import Decay, Real, Updates, elementwise, register
    >>>
    >>> class SignedAverageState(NamedTuple):
    ...     mu: Updates
    >>>
    >>> @register
    ... @elementwise(SignedAverageState)
    ... def signed_average(g, s, p, c, learning_rate: Real, b: Decay = 0.9):
    ...     """Step by the sign of a running mean."""
    ...     mu = b * s.mu + (1 - b) * g
    ...     return -learning_rate * jnp.sign(mu), s._replace(mu=mu)
    >>>
    >>> tx = gx.chain(gx.clip(1.0), signed_average(gx.linear_schedule(0.5, 0.1, 100)))
    >>> params = {"w": jnp.ones(2)}
    >>> updates, state = tx.update({"w": jnp.array([2.0, -3.0])}, tx.init(params), params)
    >>> print(updates["w"])
    [-0.5  0.5]

The kernel    `kernel(g, s, p, c, <hyperparameters>) -> (u, s')`: `g` is the incoming update, `s` the state here, `p` the parameter (None
              without `needs=("params",)`), `c` the context, `u` the outgoing update. All are float32 or wider, present (holes are
              stepped over), and hyperparameters are numbers: a schedule has been evaluated.
The context   `c.t`, the number of this update from 1; `c.debias(x, b)` = x / (1 - b^t); `c.key`, this leaf's random key; the next value
              of every shared field and every extra argument that `needs=` declares, by their names; `c.whole(f, x, *args)` = f(x, *args) of
              whole matrices.
Decorators    say how far information flows, which the laws check and the engines rely on: `elementwise` (commutes with reshape and
              permutation), `per_leaf` (one leaf at a time), `per_tree` (all leaves: lists for g, p and the fields of s; with `total=` one
              leaf and sums over all). `help(elementwise)` has their options; `schedule` makes a schedule from an equation likewise.
State fields  a NamedTuple's annotations: `Updates` (an array per leaf, zeros at first), `RealUpdates` (its real counterpart),
              `ParamsCopy` (the parameters as in `init`), `Shared` (one value), `Clock` (number of updates so far), `Key`, `Inner` (the
              state of a transformation inside). What is special about one stands in the annotation, as a `Field`:
              `Annotated[Shared, Field(first=lambda: 0.0)]`, `Annotated[Updates, Field(axes=Axes())]`; `layout(cls, name=Field(...))` says
              it for one kernel of several that share a class. `Field(mean="b2", nonnegative=True)` says what is there, by which `store`
              knows how it may be kept in fewer bits; without `mean`, the decay of a running mean, it stays wide.
Arguments     `Extra("diagonal", per_leaf=True)` in `needs=` is an extra argument that is a tree; an argument annotated `LeafNumbers` or
              `PerLeaf` differs from leaf to leaf, one marked `READS_CLOCK` makes the kernel read `c.t`. Arguments
              annotated `SpreadOver` and `Wire` are for the engine that computes `c.whole` on other devices; the kernel leaves them alone.
              With `SpreadWithState` in the place of the first, pieces that have a matrix in their state are dealt out with all of
              it, for their whole update; `Stacking` says that matrices of several leaves are held as one array, state and all.
Matrices      a kernel of `per_leaf(..., sees="matrix")` is called with one matrix, `sees="tensor"` with one array of any number of axes:
              an argument annotated `Roles` says which axes of a leaf are inputs, outputs and a batch, `BlockSize` and `MergeDims` how it is
              cut. `c.refresh(f, old, *args)` is f(old, *args) where the arguments annotated `Every`, `Start` and `Phase` say so, and `old`
              elsewhere: all matrices of a kind in one conditional. A field `since: Since` lets `every` be a schedule.
Ranges        of a hyperparameter that is a number, array or schedule: `Decay` [0, 1), `Unit` [0, 1], `Average` (-1, 1),
              `Momentum` [-1, 1], `Positive`, `NonNegative`, `Real`, `Bound` [0, inf], `Floor` [-inf, inf), `Extended` [-inf, inf];
              `Decay[Hyper]` where a plain function only hands it on. `Count`, `Whole`: a static whole number from 1 or 0. Without a range
              it is static, and with `STATIC` beside one, as in `Annotated[float, Range("(0, 1]"), STATIC]`: shapes may depend on it.
Holes         a leaf may be absent: None, or a `MaskedNode`. `is_gap` tells; `is_array` tells a leaf with inexact numbers from the rest.
Whole numbers among the updates are a gradient; a kernel sees them as floats, in the dtype of the parameter if that is known. A parameter
              of whole numbers is left alone: no kernel sees it, and its update is 0 in its dtype, where Optax truncates. What a
              parameter is, `params` say, or else what a state in the same run of stages keeps for it; else it is taken for a float.
Wrappers      are kernels of trees, with transformations inside (`wrapper`):

    >>> from typing import Annotated
    >>> from gradxform.kernels import Count, Field, Inner, Shared, TreeContext, update_if, wrapper
    >>> from gradxform import GradientTransformation
    >>>
    >>> class LazyState(NamedTuple):
    ...     calls: Annotated[Shared, Field(first=lambda: jnp.zeros([], int))]
    ...     inner_state: Inner
    >>>
    >>> @wrapper(LazyState, scope="elementwise")
    ... def lazy(g, s, p, c, inner: GradientTransformation, period: Count = 2):
    ...     """Use every `period`-th gradient, beginning with the first; leave the others out."""
    ...     u, inner_state = update_if(s.calls % period == 0, inner, g, s.inner_state, p)
    ...     return u, s._replace(calls=s.calls + 1, inner_state=inner_state)
    >>>
    >>> lazy(gx.scale(-1.0))
    lazy(scale(-1.0))

              An inner transformation is called as `inner.update(g, s.inner_state, p)` and has the extra arguments with it; `c.map` works
              leaf by leaf, `c.lift` runs a leafwise kernel on the wrapper's own record, a `View` says what is seen inside.
              `update_if(wanted, inner, g, s, p)` is an inner update that is made or left out.
Registry      `register` makes a name known to `names`, `create`, the laws and the race; `entry(name)` is what is known of one;
              `optimizer` and `transform` are how the library's own say their facts. `engine("plain")` executes without compiling.

`gradxform.testing.check(signed_average(0.1))` then examines the result under the laws.
'''

from gradxform._types import READS_CLOCK as READS_CLOCK
from gradxform._types import STATIC as STATIC
from gradxform._types import Average as Average
from gradxform._types import Axes as Axes
from gradxform._types import Bound as Bound
from gradxform._types import Clock as Clock
from gradxform._types import Count as Count
from gradxform._types import Decay as Decay
from gradxform._types import Extended as Extended
from gradxform._types import Extra as Extra
from gradxform._types import Field as Field
from gradxform._types import Floor as Floor
from gradxform._types import Hyper as Hyper
from gradxform._types import Inner as Inner
from gradxform._types import Key as Key
from gradxform._types import LeafNumbers as LeafNumbers
from gradxform._types import Momentum as Momentum
from gradxform._types import NonNegative as NonNegative
from gradxform._types import OptState as OptState
from gradxform._types import Params as Params
from gradxform._types import ParamsCopy as ParamsCopy
from gradxform._types import PerLeaf as PerLeaf
from gradxform._types import Positive as Positive
from gradxform._types import Range as Range
from gradxform._types import Real as Real
from gradxform._types import RealUpdates as RealUpdates
from gradxform._types import Shared as Shared
from gradxform._types import SharedLaw as SharedLaw
from gradxform._types import SpreadOver as SpreadOver
from gradxform._types import SpreadWithState as SpreadWithState
from gradxform._types import Tree as Tree
from gradxform._types import Unit as Unit
from gradxform._types import Updates as Updates
from gradxform._types import Value as Value
from gradxform._types import Whole as Whole
from gradxform._types import Wire as Wire
from gradxform.core._engine import Context as Context
from gradxform.core._engine import engine as engine
from gradxform.core._holes import is_array as is_array
from gradxform.core._lift import elementwise as elementwise
from gradxform.core._lift import per_leaf as per_leaf
from gradxform.core._lift import per_tree as per_tree
from gradxform.core._lift import wrapper as wrapper
from gradxform.core._refresh import Every as Every
from gradxform.core._refresh import Phase as Phase
from gradxform.core._refresh import Since as Since
from gradxform.core._refresh import Start as Start
from gradxform.core._roles import BlockSize as BlockSize
from gradxform.core._roles import MergeDims as MergeDims
from gradxform.core._roles import Roles as Roles
from gradxform.core._roles import Stacking as Stacking
from gradxform.core._state import layout as layout
from gradxform.core._update_if import update_if as update_if
from gradxform.core._views import View as View
from gradxform.core._whole import TreeContext as TreeContext
from gradxform.registry import entry as entry
from gradxform.registry import optimizer as optimizer
from gradxform.registry import register as register
from gradxform.registry import transform as transform
from gradxform.schedules._record import schedule as schedule
from gradxform.tree._leafwise import MaskedNode as MaskedNode
from gradxform.tree._leafwise import is_gap as is_gap
