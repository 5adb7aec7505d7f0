"""Which laws of a chain follow from its members: they need not be examined again."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence

from gradxform import registry
from gradxform._parameters import Parameter
from gradxform._types import Hyper, OptState, Tree, Updates
from gradxform.core._chain import Chain
from gradxform.core._stage import Stage
from gradxform.core._transformation import frozen
from gradxform.testing._case import Case
from gradxform.testing._laws import Law, Skip


def entailed(law: Law, case: Case) -> Skip | None:
    """Why the law follows from those of registered transformations and from what is tested of `chain`; None if it does not.

    Args:
      law: a law.
      case: the case that is examined.
    """
    if law.of_the_whole:
        return None
    stages = entailing(case.tx.update)
    return Skip(f"a chain of registered stages, whose laws entail it: {', '.join(stages)}") if stages else None


def entailing(update: Callable[..., tuple[Updates, OptState]]) -> Sequence[str]:
    """The registered transformations that the stages of a chain are; none if one of them is not registered.

    A stage is the registered one if it has the same kernel and differs only in the numbers that the kernel gets: a flag or a dtype
    chooses other code.

    Args:
      update: the `update` of a transformation.
    """
    stages = update.updates if isinstance(update, Chain) else ()
    return [stage.name() for stage in stages] if all(map(_is_registered, stages)) else []


def _is_registered(stage: Callable[..., tuple[Updates, OptState]]) -> bool:
    if not isinstance(stage, Stage) or not registry.names(stage.name(), kind="*"):
        return False
    return _code(stage) == _code(registry.entry(stage.name())().update)


def _code(stage: Callable[..., tuple[Updates, OptState]]) -> Hashable:
    """The kernel and its arguments, the numbers left out."""
    if not isinstance(stage, Stage):
        return None
    parameters = stage.kernel.parameters
    return stage.kernel, tuple(
        (name, "a number" if _is_number(parameters[name], x) else frozen(x)) for name, x in stage.args.items()
    )


def _is_number(parameter: Parameter, x: Hyper | Tree) -> bool:
    return parameter.is_data and isinstance(x, (int, float)) and not isinstance(x, bool)
