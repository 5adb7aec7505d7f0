"""For each law a deliberately wrong transformation that it catches: a law that nothing breaks says nothing."""

import dataclasses
import itertools
import re
from typing import NamedTuple

import jax
import jax.numpy as jnp
import pytest
import wrong_optimizers

import gradxform as gx
from gradxform import registry
from gradxform.kernels import Axes, Field, layout
from gradxform.testing import LAWS, LawBroken, Skip, case_for, check, entailed, entailing, examine

QUICK = {"no debiasing"}
"""Wrong optimizers that the fast set examines, by hand."""


def by_hand(update, init=lambda params: ()):
    return lambda: gx.GradientTransformationExtraArgs(init, lambda g, s, p=None, **extra: update(g, s, p))


def always_float32(g, s, p):
    return jax.tree.map(lambda x: x.astype(jnp.float32), g), s


def drifting_state(g, s, p):
    return g, (s[0] + 1.0,)


@gx.elementwise()
def mean_in_elementwise(g, s, p, c):
    return g - jnp.mean(g), s


def impure():
    """Every trace of the kernel is another function."""
    calls = itertools.count()

    @gx.per_leaf()
    def counts_its_traces(g, s, p, c):
        return g * (1.0 + next(calls)), s

    return counts_its_traces()


@gx.elementwise()
def branches_on_a_hyperparameter(g, s, p, c, decay: gx.Decay = 0.9):
    return (g if decay > 0.5 else -g), s


class NuState(NamedTuple):
    nu: gx.RealUpdates


@gx.elementwise(NuState)
def no_eps(g, s, p, c, decay: gx.Decay = 0.9):
    nu = decay * s.nu + (1 - decay) * g * g
    return g / jnp.sqrt(nu), s._replace(nu=nu)


def everywhere(params):
    return jax.tree.map(lambda _: jnp.zeros(3), params, is_leaf=lambda x: isinstance(x, gx.MaskedNode))


def python_branch(g, s, p):
    return jax.tree.map(lambda x: x if x.sum() > 0 else -x, g), s


def scaled(k, g):
    return jax.tree.map(lambda x: x * k, g)


def hidden_counter():
    calls = itertools.count()
    return by_hand(lambda g, s, p: (scaled(next(calls), g), s))()


def entry(**changes):
    return dataclasses.replace(gx.entry("sgd"), **changes)


def climbing(learning_rate=0.1):
    return gx.scale_by_learning_rate(learning_rate, flip_sign=False)


def undocumented(learning_rate=0.1):
    return gx.sgd(learning_rate)


def wrong_adam(learning_rate, eps):
    del learning_rate, eps
    return lambda gs, ws: [-1e-3 * g for g in gs]


def keeps(annotation):
    """A transformation with one per-leaf field, declared like that."""

    @gx.per_leaf(NamedTuple("KeepsState", [("kept", annotation)]))
    def keeps(g, s, p, c, kept_dtype=None):
        return g, s

    return keeps


def first_axes(shape):
    return Axes(*range(len(shape[:1])))


[FIELDS] = [law for law in LAWS if law.number == 19]
WRONG_FIELDS = {
    "a shape that is not declared": (Field(first=lambda zero: zero.sum()), r"`kept` at 'b' has shape \(\) beside .* \(3,\), but"),
    "axes that are not there": (Field(first=lambda zero: zero, axes=Axes()), r"has shape \(3,\) beside .* declared as \(\)"),
    "another axis": (Field(first=lambda zero: jnp.zeros(zero.shape[-1:]), axes=first_axes), r"has shape \(6,\) beside .* \(4, 6\)"),
    "a fixed size as the parameter's": (Field(first=lambda zero: jnp.zeros((4, 6, 3)[: zero.ndim])), r"has shape \(4,\) beside"),
    "the parameter's size as its own": (
        Field(first=lambda zero: zero, axes=lambda shape: Axes(*[None for _ in shape])),
        r"axes of its own, declared as None in \(None,\), have sizes \(4,\), elsewhere \(3,\)",
    ),
    "two arrays for one": (Field(first=lambda zero: {"a": zero, "b": zero}), r"is PyTreeDef.* declared for PyTreeDef"),
    "another dtype": (Field(first=lambda leaf: jnp.zeros(leaf.shape, "bfloat16")), "is bfloat16 .* but is declared as float32"),
    "complex for real": (
        Field(first=lambda leaf: jnp.zeros_like(leaf, dtype="complex64"), dtype="real"),
        "is complex64 .* declared as float32",
    ),
    "not as stored": (Field(first=lambda leaf: leaf * 0.0, stored="kept_dtype"), "is float32, but `kept_dtype` is 'float16'"),
}
RIGHT_FIELDS = {
    "one axis": Field(axes=first_axes),
    "an axis of its own": Field(first=lambda zero: jnp.zeros((3, *zero.shape)), axes=lambda shape: Axes(None, *range(len(shape)))),
    "an axis of its own, as long as the shape makes it": Field(
        first=lambda zero: jnp.zeros((*zero.shape, 1 + max(zero.shape, default=0) // 2)),
        axes=lambda shape: Axes(*range(len(shape)), None),
    ),
    "a tree": Field(
        first=lambda zero: {"all": zero, "sum": zero.sum()}, axes=lambda shape: {"all": Axes(*range(len(shape))), "sum": Axes()}
    ),
    "real, stored": Field(dtype="real", stored="kept_dtype"),
    "as the parameter": Field(dtype="p"),
    "not here": Field(first=lambda leaf: gx.MaskedNode()),
    "not at all": Field(when=lambda: False),
}


class Kept(NamedTuple):
    kept: gx.Updates


def keeping(**special):
    """A transformation with one per-leaf field, declared like that."""

    @gx.per_leaf(layout(Kept, **special))
    def keeps(g, s, p, c, kept_dtype=None):
        return g, s

    return keeps


WRONG = {
    1: by_hand(always_float32),
    2: by_hand(drifting_state, lambda params: (jnp.zeros([], jnp.int32),)),
    3: hidden_counter,
    4: mean_in_elementwise,
    5: impure,
    6: by_hand(lambda g, s, p: (dict(g.items()), s)),
    7: branches_on_a_hyperparameter,
    8: entry(homogeneity=0),
    9: no_eps,
    10: by_hand(lambda g, s, p: (g, s), everywhere),
    11: by_hand(python_branch),
    12: by_hand(lambda g, s, p: (g, s), lambda params: params),
    13: mean_in_elementwise,
    14: entry(make=climbing),
    16: hidden_counter,
    17: entry(identities=(("sgd(0.1)", "adam(0.1)"),)),
    18: entry(make=undocumented, name="undocumented"),
    19: keeping(kept=WRONG_FIELDS["another axis"][0]),
}


@pytest.mark.parametrize("number", WRONG)
def test_law_catches(number):
    [found] = examine(WRONG[number], laws=[number]).findings
    assert found.outcome == "broken", f"law {number} let {WRONG[number]} pass: {found}"


@pytest.mark.fast
def test_the_oracle_law_catches():
    [found] = examine("adam", reference=wrong_adam, laws=[15]).findings
    assert found.outcome == "broken"
    assert "the reference" in found.text


def of_one_dtype(g, s, p):
    if len({x.dtype for x in jax.tree.leaves(g)}) > 1:
        raise gx.StructureError("of_one_dtype: leaves of one dtype are wanted.")
    return g, s


def of_one_dtype_but_wide(g, s, p):
    return always_float32(*of_one_dtype(g, s, p), p)


def promoting(g, s, p):
    with jax.numpy_dtype_promotion("standard"):
        return jax.tree.map(lambda x: x.astype(jnp.result_type(*jax.tree.leaves(g))), g), s


def real_only(g, s, p):
    if any(jnp.iscomplexobj(x) for x in jax.tree.leaves(g)):
        raise gx.StructureError("real_only: real leaves are wanted.")
    return g, s


def wide_only(g, s, p):
    if any(x.dtype.itemsize < 4 for x in jax.tree.leaves(g)):
        raise gx.StructureError("wide_only: leaves of 32 bits are wanted.")
    return g, s


@pytest.mark.fast
@pytest.mark.parametrize(
    ("update", "outcome", "text"),
    [
        (of_one_dtype, "holds", ""),
        (real_only, "holds", ""),
        (promoting, "broken", "bfloat16 and complex64 and float16 and float32 parameters"),
        (of_one_dtype_but_wide, "broken", "with bfloat16 parameters"),
        (wide_only, "broken", "bfloat16 parameters are refused"),
    ],
    ids=lambda x: x.__name__ if callable(x) else None,
)
def test_dtypes_alone_and_in_one_tree(update, outcome, text):
    [found] = examine(by_hand(update), laws=[1]).findings
    assert found.outcome == outcome
    assert text in found.text


@pytest.mark.fast
def test_a_refused_dtype_has_no_state_to_keep():
    assert examine(by_hand(real_only), laws=[2]).ok


@pytest.mark.fast
@pytest.mark.parametrize("name", WRONG_FIELDS)
def test_a_field_that_is_declared_wrong_is_caught(name):
    field, text = WRONG_FIELDS[name]
    tx = gx.chain(gx.masked(gx.chain(gx.clip(1.0), keeping(kept=field)("float16")), True))
    with pytest.raises(LawBroken, match="keeps: the state's .*" + text):
        FIELDS(case_for(tx))


@pytest.mark.fast
@pytest.mark.parametrize("name", RIGHT_FIELDS)
def test_a_field_that_is_declared_right_passes(name):
    FIELDS(case_for(keeping(kept=RIGHT_FIELDS[name])("float16")))


@pytest.mark.fast
def test_axes_that_the_kernel_does_not_keep_are_refused():
    @gx.per_leaf(layout(Kept, kept=Field(axes=Axes())))
    def grows(g, s, p, c):
        return g, s._replace(kept=s.kept + g)

    with pytest.raises(gx.StructureError, match=r"grows: the state's `kept` must keep the shape \(\), but .* with \(3,\)"):
        grows().update(jnp.ones(3), grows().init(jnp.ones(3)))


@pytest.mark.fast
def test_a_first_call_that_raises_is_said_once():
    @gx.elementwise(NuState)
    def forgets(g, s, p, c, decay: gx.Decay = 0.9):
        return g

    first, *rest = examine(forgets, laws=[1, 2, 9]).findings
    assert "it raises at the first call: StructureError: forgets: a kernel returns the update and the state" in first.text
    assert "JAX has removed" not in first.text
    assert [(f.outcome, f.text) for f in rest] == [("skipped", "not examined")] * 2
    with pytest.raises(LawBroken) as raised:
        check(forgets)
    assert str(raised.value).count("forgets: a kernel returns") == 1
    assert len(str(raised.value)) < 3000


@pytest.mark.fast
def test_a_later_error_is_told_without_the_notes_of_jax():
    [found] = examine(by_hand(python_branch), laws=[11]).findings  # it raises where it is compiled
    assert found.text.startswith("it raised TracerBoolConversionError: ")
    assert "JAX has removed" not in found.text


@pytest.mark.fast
def test_every_law_is_bitten():
    named = {wrong.law for wrong in wrong_optimizers.WRONG.values()}
    assert {law.number for law in LAWS} == {*WRONG, *named} == set(range(1, 26))


@pytest.mark.fast
def test_report_says_which_law_on_which_input_with_what_numbers(capsys):
    with pytest.raises(LawBroken, match=r"Law 9, zero, huge and tiny gradients give finite updates, is broken") as raised:
        check(no_eps(), laws=[1, 9])
    text = str(raised.value)
    assert "holds    1." in text
    assert "the update of float32 gradients of size 0" in text
    assert "nan" in text
    assert "The laws for no_eps" in capsys.readouterr().out


def test_a_right_one_passes():
    assert examine(lambda: gx.chain(gx.clip(1.0), gx.trace(0.9), gx.scale(-0.1))).ok


@pytest.mark.fast
def test_case_of_a_transformation_keeps_its_arguments():
    assert case_for(gx.trace(0.5)).tx == gx.trace(0.5)


@pytest.mark.fast
def test_stages_of_registered_transformations_entail_a_chain():
    tx = gx.chain(gx.clip(0.5), gx.chain(gx.trace(0.5), gx.scale_by_learning_rate(0.1)))
    assert entailing(tx.update) == ["clip", "trace", "scale_by_learning_rate"]
    found = {law.number: entailed(law, case_for(tx)) for law in LAWS}
    assert {number for number, skip in found.items() if skip is None} == {7, 8, 9, 14, 15, 17, 18, 23, 25}
    assert found[4] == Skip("a chain of registered stages, whose laws entail it: clip, trace, scale_by_learning_rate")


@pytest.mark.fast
@pytest.mark.parametrize(
    "member",
    [
        pytest.param(mean_in_elementwise(), id="not registered"),
        pytest.param(by_hand(always_float32)(), id="by hand"),
        pytest.param(gx.masked(gx.clip(1.0), True), id="a wrapper"),
        pytest.param(gx.scale_by_adam(nesterov=True), id="another flag"),
        pytest.param(gx.trace(0.9, accumulator_dtype="bfloat16"), id="another dtype"),
        pytest.param(gx.scale_by_learning_rate(lambda k: 0.1 / (jnp.asarray(k, float) + 1)), id="a schedule"),
    ],
)
def test_other_members_entail_nothing(member):
    tx = gx.chain(gx.clip(0.5), member)
    assert not entailing(tx.update)
    assert [entailed(law, case_for(tx)) for law in LAWS] == [None] * len(LAWS)


@pytest.mark.fast
def test_another_kernel_under_a_registered_name_entails_nothing(monkeypatch):
    registry.names("*.*")
    monkeypatch.setattr(registry, "_ENTRIES", dict(registry._ENTRIES))
    gx.register("mean_in_elementwise", lambda: gx.clip(1.0))
    assert not entailing(gx.chain(mean_in_elementwise()).update)


@pytest.mark.fast
def test_a_registered_chain_with_a_wrong_stage_is_examined_and_caught(monkeypatch):
    registry.names("*.*")
    monkeypatch.setattr(registry, "_ENTRIES", dict(registry._ENTRIES))
    gx.register("wrong", lambda learning_rate=0.1: gx.chain(mean_in_elementwise(), gx.scale_by_learning_rate(learning_rate)))
    case = case_for("wrong")
    [law] = [law for law in LAWS if law.number == 4]
    assert entailed(law, case) is None
    with pytest.raises(LawBroken, match="joined and reversed"):
        law(case)


@pytest.mark.fast
def test_check_examines_a_chain_under_all_laws():
    found = check(gx.chain(gx.clip(0.5), gx.scale(-0.1)), laws=[1, 2, 4]).findings
    assert [f.outcome for f in found] == ["holds"] * 3


def wrong_ones():
    """Where there are two of a fault, the one by hand is examined under all laws, the lifted one under those that are left.

    By day each under its own and a third of these, in turn.
    """
    for i, (name, wrong) in enumerate(wrong_optimizers.WRONG.items()):
        for how in ("lifted", "by_hand"):
            if getattr(wrong, how) is not None:
                laws = OF_LIFTED_ONES if how == "lifted" and wrong.by_hand is not None else [law.number for law in LAWS]
                quick = [pytest.mark.fast] * (how == "by_hand" and name in QUICK)
                title = f"{name}, {how.replace('_', ' ')}"
                yield pytest.param(wrong, how, [wrong.law, *laws[i % 3 :: 3]], id=title, marks=quick)
                yield pytest.param(wrong, how, [wrong.law, *laws], id=f"{title}, all laws", marks=pytest.mark.nightly)


OF_LIFTED_ONES = [4, 5, 7, 8, 17, 18, 19, 21, 25]  # laws under which what is written by hand is not examined


@pytest.mark.parametrize(("wrong", "how", "laws"), list(wrong_ones()))
def test_a_wrong_optimizer_is_caught_by_the_law_that_names_its_fault_and_by_no_other(wrong, how, laws):
    with jax.numpy_dtype_promotion("standard"):  # as users have it
        broken = examine(getattr(wrong, how), laws=laws, **wrong.facts).broken
    assert [f.law.number for f in broken] == [wrong.law], "\n".join(f"{f.law}: {f.text:.300}" for f in broken)
    assert re.search(wrong.phrase, broken[0].text, re.DOTALL), broken[0].text


@pytest.mark.parametrize("name", wrong_optimizers.RIGHT)
def test_the_right_optimizers_beside_them_pass(name):
    scope = {} if name == "lifted" else {"scope": "elementwise"}
    with jax.numpy_dtype_promotion("standard"):
        report = examine(wrong_optimizers.RIGHT[name], reference=wrong_optimizers.adam_reference, **scope)
    assert report.ok, str(report)
    assert {f.law.number for f in report.findings if f.outcome == "holds"} >= {
        1,
        2,
        3,
        4,
        6,
        9,
        10,
        11,
        12,
        13,
        14,
        15,
        16,
        20,
        21,
        22,
        23,
        24,
    }


@pytest.mark.fast
def test_what_is_not_examined_is_said_with_what_to_do():
    text = str(examine(wrong_optimizers.by_hand()(1e-2), laws=[4, 7, 14, 15, 23]))
    assert "holds  " not in text
    assert "Not examined, and how to have it examined:" in text
    for what in ("reference=", 'kind="optimizer"', 'scope="elementwise"'):
        assert what in text


@pytest.mark.fast
def test_a_local_kernel_is_a_value_whose_documentation_is_not_examined():
    [found] = examine(wrong_optimizers.lifted(wrong_optimizers.right_leaf)(1e-3), laws=[18]).findings
    assert (found.outcome, found.text) == (
        "skipped",
        "not examined: register it, `gradxform.register`, for its docstring and its pickling",
    )


@pytest.fixture
def own_registry(monkeypatch):
    registry.names("*.*")
    monkeypatch.setattr(registry, "_ENTRIES", dict(registry._ENTRIES))


def test_a_registered_optimizer_without_rates_has_to_converge(own_registry):
    gx.register("plain", lambda learning_rate=0.1: gx.chain(gx.clip(1.0), gx.scale_by_learning_rate(learning_rate)))
    gx.register("climbing", lambda learning_rate=0.1: gx.chain(gx.clip(1.0), climbing(learning_rate)))
    assert [f.outcome for f in examine("plain", laws=[14]).findings] == ["holds"]
    [found] = examine("climbing", laws=[14]).findings
    assert "Is a minus sign missing?" in found.text


@pytest.mark.fast
def test_a_stage_with_a_learning_rate_has_to_converge_in_a_chain():
    up = wrong_optimizers.lifted(wrong_optimizers.changed(wrong_optimizers.uphill))
    [found] = examine(gx.chain(gx.clip(1.0), up(1e-3)), laws=[14]).findings
    assert "Is a minus sign missing?" in found.text
    [found] = examine(gx.scale_by_learning_rate(0.1, flip_sign=False), laws=[14]).findings
    assert found.outcome == "skipped"  # registered as a transformation
    assert 'kind="optimizer"' in found.to_do


def needing(learning_rate):
    return gx.sgd(learning_rate)


@pytest.mark.fast
def test_what_has_no_value_to_be_examined_with_says_what_to_do(own_registry):
    gx.register("needing", needing)
    with pytest.raises(gx.HyperparameterError, match=r"`needing` needs `learning_rate`.*example=\{'learning_rate': ...\}"):
        check("needing")
    with pytest.raises(gx.HyperparameterError, match=r"`needing` needs `learning_rate`.*check\(needing\(learning_rate=...\)\)"):
        check(needing)


@pytest.mark.fast
def test_a_field_that_stays_is_declared():
    right = wrong_optimizers.by_hand(after=lambda new, old: new._replace(mu=old.mu))
    [found] = examine(right, laws=[20]).findings
    assert "constant=('mu',)" in found.text
    assert examine(right, laws=[20], constant=("mu",)).ok


@pytest.mark.fast
def test_the_number_of_an_update_that_nothing_counts():
    @gx.elementwise()
    def debiases(g, s, p, c):
        return c.debias(g, 0.9), s

    with pytest.raises(gx.MissingArgumentError, match=r"debiases: the kernel calls `c.debias`.*`count: Clock`"):
        debiases().update(jnp.ones(3), debiases().init(jnp.ones(3)))


@pytest.mark.fast
def test_lists_of_leaves_have_the_same_messages():
    @gx.per_tree()
    def forgets(g, s, p, c):
        return g

    @gx.per_tree()
    def reads(g, s, p, c):
        return [x + y for x, y in zip(g, p, strict=True)], s

    with pytest.raises(gx.StructureError, match=r"forgets: a kernel returns the update and the state.*but this returned a list"):
        forgets().update(jnp.ones(3), forgets().init(jnp.ones(3)))
    with pytest.raises(gx.MissingArgumentError, match=r"reads: the kernel reads `p`, which its decorator does not declare"):
        reads().update(jnp.ones(3), reads().init(jnp.ones(3)), jnp.ones(3))
