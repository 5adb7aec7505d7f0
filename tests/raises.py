"""The clauses of a `Raises` part, and what each of them asks for.

    Raises   MissingArgumentError: no params. HyperparameterError: b1 or b2 outside [0, 1), eps < 0, an unknown mode.

are the clauses (MissingArgumentError, "no params"), (HyperparameterError, "b1 or b2 outside [0, 1)"), ... A clause in the words of `RULES`
says itself what must raise: `b1 = 1.0` must, and `b1 = 0.0` must not. What must raise for one in other words stands in a table of the test.
"""

import importlib
import inspect
import re
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

import gradxform as gx
from gradxform import registry
from gradxform._declare import declaration_of
from gradxform.testing._case import case_for

ROOMS = [
    "gradxform",
    *(
        f"gradxform.{room}"
        for room in ("projections", "assignment", "microbatching", "losses", "tree", "numerics", "linear_algebra", "kernels")
    ),
    "gradxform.testing",
    *(f"gradxform.dialects.{system}" for system in registry.SYSTEMS),
]
GIVEN = {  # arguments that a function cannot do without, by name
    "f": lambda k: 0.1,
    "learning_rate": 0.1, "init_value": 1.0, "end_value": 0.1, "peak_value": 1.0, "decay_steps": 20, "transition_steps": 10,
    "decay_rate": 0.5, "warmup_steps": 5, "power": 1.0, "value": 1.0, "stable_steps": 5, "step_size": 0.5, "decay": 0.9, "warmup_end": 5,
    "l2_norm_clip": 1.0, "noise_multiplier": 0.1, "sync_period": 3, "slow_step_size": 0.5, "fast_optimizer": gx.sgd(0.1),
    "opt": gx.sgd(0.1), "every_k_schedule": 2, "measure": gx.tree.norm, "fun": jnp.sum, "params": jnp.ones(2),
    "predictions": jnp.ones((2, 3)),
    "targets": jnp.ones((2, 3)), "max_linesearch_steps": 5, "learning_rates": 0.1, "momentum_coef": 0.9, "factor": 0.5,
    "tree": jnp.full(3, 0.5), "lower": 0.0, "upper": 1.0, "mesh": {"data": 2},
    "boundaries_and_scales": {5: 0.5}, "interpolate_type": "linear", "base_lr": 0.1, "max_update": 20, "step": 5, "lr": 0.1,
}  # fmt: skip


class Clause(NamedTuple):
    """That a function raises an error, in the words of its docstring."""

    function: str
    error: str
    phrase: str

    def __str__(self):
        return f"{self.function}: {self.error}: {self.phrase}"


def public():
    """The public functions and classes by name, those of the dialects with their system."""
    found = {}
    for room in ROOMS:
        module = importlib.import_module(room)
        prefix = f"{room.rpartition('.')[2]}." if "dialects" in room else ""
        for name in dir(module):
            thing = None if name.startswith("_") else getattr(module, name)
            if callable(thing) and not any(thing is x for x in found.values()):
                found[f"{prefix}{name}"] = thing
    return found


PUBLIC = public()
CONDITION = r"(?:<|<=|>|>=) -?[\d.]+|outside [\[(]\S+, \S+[\])]|is not a (?:finite )?number|not finite|is not a whole number >= 1"
ERROR = r"\w+(?:Error|Broken)(?=:|, with)"
OUTSIDE_BRACKETS = r"(?![^\[(]*[\])])"


def part_of(doc):
    """The text of the `Raises` part."""
    found = re.search(r"^Raises\b(.*?)(?=^\S|\Z)", doc or "", re.DOTALL | re.MULTILINE)
    return " ".join(found[1].split()) if found else ""


def clauses_of(name, doc):
    """The clauses of a docstring, in order, and those of the docstrings to which it points: as `adam`."""
    text = part_of(doc)
    found = [
        c._replace(function=name)
        for other in re.findall(r"as `(\w+)`", text)
        for c in clauses_of(other, inspect.getdoc(PUBLIC[other]))
    ]
    text = re.sub(r"as `\w+`(?:, and |; |(?=\.))", "", text)
    for error, sentence in re.findall(rf"({ERROR})[^:]*: (.*?)(?=\.? {ERROR}|\.?$)", text):
        found += [Clause(name, error, phrase) for phrase in phrases_of(sentence)]
    return found


def phrases_of(sentence):
    """Its parts: a name alone shares the condition of a later one, `with wd` belongs to the one before."""
    sentence = re.sub(rf"({CONDITION}) or (?=\w+ (?:{CONDITION}))", r"\1, ", sentence.rstrip("."))
    found, names = [], []
    for piece in re.split(rf"[,;] (?!and )(?:or )?{OUTSIDE_BRACKETS}", sentence):
        if re.fullmatch(r"[a-z]\w*", piece):
            names.append(piece)
        elif piece.startswith("with ") and found and found[-1].startswith("no params"):
            found[-1] += f", {piece}"
        elif piece:
            found.append(", ".join([*names, piece]))
            names = []
    assert not names, f"{names} stand without a condition in {sentence!r}"
    return found


def clauses():
    return [c for name, thing in PUBLIC.items() for c in clauses_of(name, inspect.getdoc(thing))]


BESIDE = {"reduce_on_plateau": {"atol": 0.1}}  # so that what an argument may be does not depend on another


def arguments_for(name):
    """Arguments with which a function runs: those of its example, or those that it cannot do without."""
    system, _, short = name.rpartition(".")
    try:
        return {**registry.entry(f"{system}.{short}" if system else short).example, **BESIDE.get(name, {})}
    except gx.UnknownNameError:
        required = [p.name for p in inspect.signature(PUBLIC[name]).parameters.values() if p.default is p.empty]
        return {n: GIVEN[n] for n in required if n in GIVEN}


def parameters(name):
    """The declared arguments with a range."""
    return {n: p for n, p in declaration_of(PUBLIC[name]).parameters.items() if p.range is not None}


# What a condition refuses, and what it lets pass


def number(text):
    return float(text) if "inf" in text or "." in text else int(text)


def around(condition):
    """(refused, accepted) values."""
    if m := re.fullmatch(r"(<|<=|>|>=) (\S+)", condition):
        x, sign = number(m[2]), 1 if m[1][0] == ">" else -1
        beyond = [x + sign, x + sign * 1000]
        return (beyond, [x]) if len(m[1]) == 1 else ([x, *beyond], [])
    if m := re.fullmatch(r"outside ([\[(])(\S+), (\S+)([\])])", condition):
        low, high, refused, accepted = number(m[2]), number(m[3]), [], []
        for x, beyond, open_end in ((low, low - 1, m[1] == "("), (high, high + 1, m[4] == ")")):
            refused += ([x] if open_end else []) + ([beyond] if np.isfinite(x) else [])
            accepted += [] if open_end else [x]
        return refused, accepted
    return {
        "is not a finite number": ([np.nan, np.inf, "a"], [-1.0]),
        "is not a number": ([np.nan, "a"], []),
        "not finite": ([np.nan, np.inf], [-1.0]),
        "is not a whole number >= 1": ([0, -1, 1.5, "a"], [1]),
        "out of range": ([np.nan], []),
    }[condition]


NAMES = r"`?[a-z]\w*`?(?:(?:, | or )`?[a-z]\w*`?)*"


def make(name, **over):
    return PUBLIC[name](**{**arguments_for(name), **over})


def registered():
    return {*registry.names(kind="*"), *registry.names("*.*", kind="*")}


def transformation_inputs(name, **over):
    """A transformation, trees for an update, and the extra arguments that it needs."""
    entry = registry.entry(name)
    case = case_for(entry)
    params, grads = case.params(), case.grads(0)
    return make(name, **over), params, grads, case.extra(params, grads)


def of_names(name, names, condition):
    """The cases of a condition on arguments: (what to call, whether it must raise)."""
    refused, accepted = around(condition)
    for argument in names:
        for value in refused:
            yield lambda argument=argument, value=value: make(name, **{argument: value}), True
        for value in accepted:
            yield lambda argument=argument, value=value: make(name, **{argument: value}), False


def of_two(name, first, sign, second):
    """An argument that must not be so beside another."""
    whole = second.endswith("steps")
    x = 5 if whole else 0.5
    y = {"<=": x, "<": x - 0.25, ">": 2 * x}[sign]
    yield (
        lambda: make(name, **{"warmup_steps": 5} | {first: y, second: x} if first.startswith("warmup") else {first: y, second: x}),
        True,
    )


def others(name, phrases):
    """The numbers with a range that no other clause speaks of."""
    spoken = {word for phrase in phrases for word in re.findall(r"\w+", phrase)}
    defaults = arguments_for(name)
    return [n for n, p in parameters(name).items() if n not in spoken and is_number(defaults.get(n, p.default))]


def is_number(x):
    return isinstance(x, (int, float)) and not isinstance(x, bool)


def switched_on(name, option):
    """An argument that switches something on, or for a word of its docstring the argument that has it as a value."""
    declared = inspect.signature(PUBLIC[name]).parameters
    if option in declared:
        return {option: True if declared[option].default is False else 0.1}
    return {next(n for n, p in declared.items() if option in str(p.annotation)): option}


def without(argument, name, **over):
    """An update without an argument that it needs."""
    tx, params, grads, extra = transformation_inputs(name, **over)
    state = tx.init(params)
    extra = {k: v for k, v in extra.items() if k != argument}
    given = () if argument == "params" else (params,)
    yield lambda: tx.update(grads, state, *given, **extra), True


def rule_for(clause, all_phrases):
    """The cases of a clause in the words that rules know; None if they do not know them."""
    name, error, phrase = clause
    if error == "HyperparameterError":
        if m := re.fullmatch(rf"({NAMES}) ({CONDITION})", phrase):
            return list(of_names(name, re.findall(r"[a-z]\w*", m[1].replace(" or ", " ")), m[2]))
        if m := re.fullmatch(rf"(?:({NAMES}) or )?an(?:other)? argument ({CONDITION}|out of range)", phrase):
            named = re.findall(r"[a-z]\w*", (m[1] or "").replace(" or ", " "))
            rest = others(name, [p for p in all_phrases if p != phrase])
            assert named or rest, f"{name}: which argument is that?"
            refused, _ = around(m[2])
            return list(of_names(name, [*named, *(n for n in rest if n not in named)], m[2]))[: None if refused else 0]
        if m := re.fullmatch(rf"an? (beta|bound|factor) ({CONDITION})", phrase):
            alike = r"b\d|beta_?\d?" if m[1] == "beta" else rf"\w*{m[1]}"
            names = [n for n in inspect.signature(PUBLIC[name]).parameters if re.fullmatch(alike, n)]
            return list(of_names(name, names, m[2])) or [(lambda b=b: make(name, betas=b), True) for b in ((1.0, 0.9), (0.9, -0.1))]
        if m := re.fullmatch(r"(\w+) (<|<=|>) ([a-z]\w+)", phrase):
            return list(of_two(name, m[1], m[2], m[3]))
        if m := re.fullmatch(r"an unknown (\w+)", phrase):
            return [(lambda: make(name, **{m[1]: "nonsense"}), True)]
    if error == "MissingArgumentError":
        if (m := re.fullmatch(r"no (params|value|obj_fn)", phrase)) and name.removeprefix("gradxform.") in registered():
            return list(without(m[1], name))
        if m := re.fullmatch(r"no params,? with (.*)", phrase):
            options = [n for n in re.findall(r"\w+", m[1]) if n != "or"]
            return [case for n in options for case in without("params", name, **switched_on(name, n))]
    if error == "StructureError" and (m := re.fullmatch(r"(\w+) is (?:not a|no) transformation", phrase)):
        return [(lambda wrong=wrong: make(name, **{m[1]: wrong}), True) for wrong in (gx.sgd, 3.0)]
    if error == "StructureError" and hasattr(gx.losses, name):
        return of_a_loss(name, phrase)
    return None


def of_a_loss(name, phrase):
    """A loss of whole numbers where it wants others, or the other way round; of arguments whose shapes do not belong together."""
    required = [p.name for p in inspect.signature(PUBLIC[name]).parameters.values() if p.default is p.empty]
    declared = re.sub(r"\W+", " ", part_of(inspect.getdoc(PUBLIC[name])))
    of_classes = "labels are not integers" in declared
    given = [jnp.zeros(2, int) if of_classes and n == "labels" else jnp.full((2, 3), 0.5) for n in required]
    call = lambda i, x: PUBLIC[name](*given[:i], x, *given[i + 1 :])
    if re.fullmatch("(or )?the shapes (do not fit|differ|do not broadcast)", phrase):
        odd = (5,) if of_classes else (5, 7)
        second = [*given, jnp.ones((2, 3))][1]  # targets may be left out
        return [(lambda: PUBLIC[name](given[0], jnp.ones(odd, second.dtype), *given[2:]), True)]
    if m := re.fullmatch(r"(\w+) are not (floating-point|integers)", phrase):
        return [(lambda: call(required.index(m[1]), jnp.ones((2, 3), int) if m[2] != "integers" else jnp.ones(2)), True)]
    if phrase == "a dtype is not floating-point":
        return [(lambda i=i: call(i, jnp.ones((2, 3), int)), True) for i in range(len(given))]
    return None
