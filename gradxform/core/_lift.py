"""The decorators: from a kernel to the public function that makes a transformation of trees.

    kernel(g, s, p, c, <hyperparameters>) -> (u, s')

`g` the incoming update, `s` the state, `p` the parameter, `c` the context (`Context`). A hyperparameter is a number, or an array with as
many axes as the leaf, to which it broadcasts. The decorator says what the kernel sees, and so how far information may flow, which tests
check and engines rely on:

    @elementwise   one leaf; commutes with reshape, split, concatenate, permute
    @per_leaf      one leaf; leaf i ignores leaf j
    @per_tree      the list of present leaves; with `total` one leaf, and sums over all
    @wrapper       trees, and transformations inside
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Concatenate, Literal, ParamSpec, cast

from gradxform._declare import declare
from gradxform._errors import StructureError
from gradxform._types import Extra
from gradxform.core._kernel import OUTSIDE, Kernel, Lifted
from gradxform.core._stacked import Stacked, said_stacking
from gradxform.core._stage import Stage
from gradxform.core._state import STATELESS, layout
from gradxform.core._transformation import SCOPES, GradientTransformationExtraArgs, check_transformation, transformation
from gradxform.core._whole import of_lists

P = ParamSpec("P")
Function = Callable[Concatenate[Any, Any, Any, Any, P], Any]
Needs = Sequence[str | Extra]


class Lift:
    """A decorator that lifts a kernel, `elementwise`, `per_leaf` or `per_tree`.

    A `per_tree` kernel gets lists (of the present leaves) for `g`, `p` and the per-leaf fields of `s`, returns a list, and sets the
    shared fields of its state itself. With `total=f`, all it needs of the other leaves are sums: then it is written for one leaf,
    `c.total` is the sum of f over the leaves, `advance=` says what becomes of the shared fields, and it runs in the same call per
    leaf as the stages after it.

    A kernel runs when it is traced: in an un-jitted update once for each shape and dtype, in a compiled step when that is traced. What it
    reads beside its arguments is what stands there then.

    Args:
      state: NamedTuple of the state, its fields annotated with what they are (`gradxform.kernels`), or its `layout`.
      needs: `"params"` and the extra arguments that the kernel reads (`c.value`, ...), by name or as an `Extra` that says more.
      stack: run all leaves of one shape and dtype as one batch; it pays where a `per_leaf` kernel multiplies matrices.
      sees: of a `per_leaf` kernel, what it is called with: "matrix", one matrix (inputs, outputs) of those that the leaf holds, as its
        argument marked `Roles` says; "tensor", an array of any number of axes, one matrix where a leaf has such a role, and one block
        where arguments marked `BlockSize` and `MergeDims` cut it. Fields that are not laid out like the leaf have an entry for each.
      total: (g at one leaf) -> scalar, or (g, s, p, c, named hyperparameters) -> tree of scalars, for a `per_tree` kernel.
      advance: (s, c, named hyperparameters) -> s with the next values of its shared fields, and a dictionary of what else the kernel
        reads as `c.<name>`; for fields that advance together, or by `c.total`. `s` has no per-leaf fields there.
      evaluate: (params, state, after, named hyperparameters) -> the parameters to evaluate with, all of them wide trees; `after` is
        explained in `gradxform.core._evaluate`. Without it, and where it returns `params` itself, they are the stored ones.
      averages: what it evaluates with is an average of the stored parameters, so that in a chain what stands before is not asked.

    Returns:
      A decorator; the decorated name becomes a function of the hyperparameters that returns a `GradientTransformation`. A kernel
      with a leading underscore shows the name of its public function, without it.
    """

    def __init__(self, scope: str):
        self.scope = scope

    def __call__(
        self,
        state: object = STATELESS,
        *,
        needs: Needs = (),
        stack: bool = False,
        sees: Literal["matrix", "tensor"] | None = None,
        total: Callable[..., Any] | None = None,
        advance: Callable[..., Any] | None = None,
        evaluate: Callable[..., Any] | None = None,
        averages: bool = False,
    ) -> Callable[[Function[P]], Lifted[P]]:
        _check_use(self.scope, state)
        lists = self.scope == "per_tree" and total is None

        def decorate(kernel: Function[P]) -> Lifted[P]:
            function = of_lists(kernel) if lists else kernel
            return _public(kernel, Kernel(
                _name(kernel), function, self.scope, layout(state), lists, _extras(needs), stack, sees, total, advance, evaluate,
                averages=averages,
            ))  # fmt: skip

        return decorate


elementwise: Lift = Lift("elementwise")
per_leaf: Lift = Lift("per_leaf")
per_tree: Lift = Lift("per_tree")


def wrapper(
    state: object = STATELESS,
    *,
    scope: str = "per_tree",
    needs: Needs = (),
    view: Callable[..., Any] | None = None,
    evaluate: Callable[..., Any] | None = None,
    inner_steps: Callable[..., Any] | None = None,
    check: Callable[[str, Mapping[str, Any]], None] | None = None,
    call: Callable[..., tuple[str, Mapping[str, Any]]] | None = None,
    widens: bool = False,
) -> Callable[[Function[P]], Lifted[P]]:
    """A decorator for a kernel of whole trees, with other transformations inside or without.

        class AcceptedState(NamedTuple):
            count: Clock
            inner_state: Inner

        @wrapper(AcceptedState)
        def accepted(g, s, p, c, inner: GradientTransformation, most: Bound = 1.0):
            u, inner_state = inner.update(g, s.inner_state, p)
            return jax.tree.map(lambda x: jnp.clip(x, -most, most), u), s._replace(inner_state=inner_state)

    `g` and `p` are trees, `s` is the state, `c` a `TreeContext`: `c.t`, `c.map` for what is done leaf by leaf, `c.extra`. An argument
    annotated `GradientTransformation` is checked, and stands in the kernel as one whose `update` has the extra arguments; its state is in
    the `Inner` field, of several in order. The first state, placement on devices, `repr`, equality, pickling, `resume_at`,
    `transfer_state`, hyperparameters by name, `eval_params` and the scope follow from the declaration.

    Args:
      state: NamedTuple of the state, as for a kernel; `Inner` alone: it is that of the transformation inside.
      scope: what the kernel promises beside what is inside it: `elementwise`, `per_leaf`, or by default nothing.
      needs: as for a kernel; an extra argument that is a tree comes as it is.
      view: (tree, named arguments) -> `View`: what is inside sees only that of the trees.
      evaluate: (params, state, and named: `after`, `inside`, arguments) -> the parameters to evaluate with; `inside(params)` are those of
        what is inside, which is also what holds without this; `inside(params, after)` where `after` is not the wrapper's own.
      inner_steps: (named: `step`, `s`, arguments) -> the updates that what is inside has made after `step` ones; a tuple where they differ.
      check: (name, arguments) raises where the arguments do not fit together.
      call: (arguments) -> the function and its arguments by which an equal one is made, where that is another.
      widens: whether updates of narrow parameters are float32 or wider, to be rounded only when they are added.

    >>> class WrappedState(typing.NamedTuple):
    ...     inner_state: gx.kernels.Inner
    >>> @gx.kernels.wrapper(WrappedState)
    ... def halved(g, s, p, c, inner: gx.GradientTransformation):
    ...     u, state = inner.update(g, s.inner_state, p)
    ...     return c.map(lambda u: u / 2, u), s._replace(inner_state=state)
    >>> tx = halved(gx.adam(1e-3))
    """
    _check_use("wrapper", state)
    if scope not in SCOPES:
        raise StructureError(f"wrapper: `scope` is one of {', '.join(SCOPES)}, but got {scope!r}.")

    def decorate(kernel: Function[P]) -> Lifted[P]:
        return _public(kernel, Kernel(
            _name(kernel), kernel, scope, layout(state), True, _extras(needs), evaluate=evaluate, inner_steps=inner_steps, view=view,
            call=call, widens=widens,
        ), check)  # fmt: skip

    return decorate


def _check_use(scope: str, state: object) -> None:
    if inspect.isfunction(state):
        raise StructureError(f"{scope}: it takes the state class, not the kernel. Write `@{scope}()` where there is no state.")
    if not any(hasattr(state, name) for name in ("_fields", "fields", "__metadata__")):
        raise StructureError(f"{scope}: the state is a NamedTuple with annotated fields, but got {state!r}.")


def _name(kernel: Callable[..., Any]) -> str:
    return kernel.__name__.lstrip("_")


def _extras(needs: Needs) -> dict[str, Extra]:
    return {x.name: x for x in (Extra(x) if isinstance(x, str) else x for x in needs)}


def _public(fn: Callable[..., Any], kernel: Kernel, check: Callable[[str, Mapping[str, Any]], None] | None = None) -> Lifted[...]:
    """The function of the hyperparameters that takes the kernel's name, signature and docstring."""
    names = list(inspect.signature(fn).parameters)[:OUTSIDE]
    if len(names) < OUTSIDE:
        raise StructureError(
            f"{kernel.name}: a kernel is a function (g, s, p, c, hyperparameters) -> (u, s'), but this takes ({', '.join(names)})."
        )

    def make(bound: inspect.BoundArguments) -> GradientTransformationExtraArgs:
        for name in kernel.transformations:
            if bound.arguments[name] is not None or not kernel.parameters[name].nullable:
                where = kernel.name if len(kernel.transformations) == 1 else f"{kernel.name}, {name}"
                check_transformation(bound.arguments[name], where)
        if kernel.layout.inner and not kernel.whole:
            raise StructureError(
                f"{kernel.name}: its state keeps that of a transformation inside ({', '.join(kernel.layout.inner)}), which only a kernel "
                "of trees can call. Decorate it with `wrapper`, or run it within one: `c.lift`."
            )
        stage = Stage(kernel, bound.arguments)
        return transformation(stage if said_stacking(stage) is None else Stacked(stage))

    _check_fields(kernel)
    returns = GradientTransformationExtraArgs
    public = cast(Lifted[...], declare(fn, make, owner=kernel.name, skip=OUTSIDE, returns=returns, check=check))
    public.kernel = kernel
    kernel.public.append(public)
    return public


def _check_fields(kernel: Kernel) -> None:
    """What a state field needs to begin is asked for where it is declared."""
    for name, field in kernel.layout.fields.items():
        where = f"{kernel.name}: {kernel.layout.cls.__name__}.{name}" if kernel.layout.cls else kernel.name
        if field.kind == "shared" and field.first is None:
            raise StructureError(f"{where}: a shared field needs its first value: `Annotated[Shared, Field(first=lambda: 0.0)]`.")
        if field.kind == "key" and "key" not in kernel.parameters:
            raise StructureError(f"{where}: a random key begins from an argument `key`, which the kernel does not have.")
    fields = [n for n in kernel.layout.inner if kernel.layout.fields[n].made is None]
    if kernel.whole and len(fields) != len(kernel.transformations):
        raise StructureError(
            f"{kernel.name}: the state has {len(fields)} `Inner` fields ({', '.join(fields)}), but {len(kernel.transformations)} arguments "
            f"are annotated `GradientTransformation` ({', '.join(kernel.transformations)}). They belong together in order: annotate the "
            "argument, `inner: GradientTransformation`, or say how it is made, `Annotated[Inner, Field(made=...)]`."
        )
