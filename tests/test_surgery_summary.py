"""`summary`: the bytes, the stages and what they see, the rates, and the table."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracle import optax

import gradxform as gx
from gradxform import registry
from gradxform.core._encoded import register
from gradxform.testing._case import case_for

PARAMS = {
    "embedding": jnp.ones((50, 8)),
    "layers": [{"w": jnp.ones((8, 8), jnp.bfloat16), "b": jnp.zeros(8)} for _ in range(2)],
    "none": None,
    "steps": jnp.arange(3),
}
SHAPES = jax.eval_shape(lambda: PARAMS)
LEAVES = ("embedding", "layers/0/b", "layers/0/w", "layers/1/b", "layers/1/w")
MATRICES = ("embedding", "layers/0/w", "layers/1/w")
N = 50 * 8 + 2 * (64 + 8)
RATE = gx.cosine_decay_schedule(0.1, 100)


def fields(found):
    """Every field by the name of its stage and its own."""
    return {f"{stage.title.partition('(')[0]}.{field.name}": field for stage in found.stages for field in stage.fields}


def stage(found, title):
    [one] = [s for s in found.stages if s.title.startswith(title)]
    return one


def nbytes(state):
    return sum(x.nbytes for x in jax.tree.leaves(state))


@pytest.mark.parametrize("name", registry.names(kind="*"))
def test_all_bytes_of_every_registered_transformation_are_found(name):
    """With shapes alone, without a state, and with one."""
    entry = registry.entry(name)
    case = case_for(entry)
    tx, params = entry(), case.params()
    state = tx.init(params)
    found = gx.summary(tx, jax.eval_shape(lambda: params))
    assert found.bytes == nbytes(state)
    assert found.parameters == sum(x.size for x in jax.tree.leaves(params))
    assert gx.summary(tx, params, state).stages == found.stages
    assert found.stages[0].sees == found.leaves
    for line in str(found).splitlines():
        assert len(line) <= 80, line


@pytest.mark.fast
def test_fields_say_how_they_are_stored():
    found = gx.summary(gx.chain(gx.clip(1.0), gx.adam(RATE, mu_dtype="bfloat16")), SHAPES)
    mu, nu, count = (fields(found)[f"scale_by_adam.{f}"] for f in ("mu", "nu", "count"))
    assert (mu.kind, mu.stored, mu.leaves, mu.bytes, mu.wide) == ("leaf", ("bfloat16", "int32"), 6, 2 * N + 12, ())
    assert (nu.kind, nu.stored, nu.leaves, nu.bytes, nu.wide) == ("leaf", ("float32", "int32"), 6, 4 * N + 12, LEAVES)
    assert (count.kind, count.stored, count.leaves, count.bytes, count.wide) == ("clock", ("int32",), 1, 4, ())
    assert (found.leaves, found.parameters) == (LEAVES, N)
    assert found.parameter_bytes == nbytes({k: x for k, x in PARAMS.items() if k != "steps"})
    assert found.bytes == 6 * N + 8 + 24
    assert found.bytes_per_parameter == found.bytes / N
    low = gx.summary(gx.master_weights(gx.sgd(0.1), bits=8), SHAPES)
    assert fields(low)["master_weights.low"].stored == ("int8",)
    assert low.bytes == 2 * 64


@pytest.mark.fast
def test_stages_say_what_they_see():
    tx = gx.chain(
        gx.masked(gx.add_decayed_weights(0.1), gx.by_ndim(2)),
        gx.partition({"m": gx.trace(0.9), "a": gx.adam(0.1)}, {"*/b": "m", "default": "a"}),
        gx.flatten(gx.sgd(0.1, 0.5)),
    )
    found = gx.summary(tx, SHAPES)
    assert stage(found, "masked").sees == LEAVES
    assert stage(found, "add_decayed_weights").sees == MATRICES
    assert stage(found, "trace(decay=0.9").sees == ("layers/0/b", "layers/1/b")
    assert stage(found, "trace(decay=0.9").labels == ("m",)
    assert stage(found, "scale_by_adam").sees == MATRICES
    assert stage(found, "scale_by_adam").labels == ("a",)
    assert stage(found, "trace(decay=0.5").sees == ("(root)",)
    assert stage(found, "trace(decay=0.5").fields[0].bytes == 4 * N
    assert [s.depth for s in found.stages] == [0, 1, 2, 1, 2, 2, 3, 3, 1, 2, 3, 3]
    text = str(found)
    assert (
        "  masked(by_ndim(2))\n    add_decayed_weights(0.1)\n      sees 3 of 5 leaves: embedding, layers/0/w, layers/1/w\n" in text
    )
    assert "    m: trace(decay=0.9)\n      sees 2 of 5 leaves: layers/0/b, layers/1/b\n" in text
    assert "a: adam: chain\n      sees 3 of 5" in text
    assert text.count("sees") == 4  # what is inside a stage says it only where it differs


def test_transformations_of_other_libraries_tell_by_their_states():
    tx = optax.chain(optax.clip(1.0), optax.masked(optax.adamw(1e-3), {**dict.fromkeys(PARAMS, True), "embedding": False}))
    params = {**SHAPES, "steps": None}
    for one, state in ((tx, None), (tx, jax.eval_shape(tx.init, params)), (gx.chain(gx.clip(1.0), tx), None)):
        found = gx.summary(one, params, state)
        nu = fields(found)["ScaleByAdamState.nu"]
        assert (nu.kind, nu.leaves, nu.stored) == ("leaf", 4, ("float32", "bfloat16"))
        assert nu.wide == ("layers/0/b", "layers/1/b")
        assert fields(found)["ScaleByAdamState.count"].kind == "shared"
        assert found.bytes == sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(jax.eval_shape(one.init, params)))


def test_rates_at_the_start_now_and_over_the_run():
    tx = gx.adamw(RATE, b1=0.8, weight_decay=gx.linear_schedule(0.2, 0.0, 10))
    found = {h.name: h for h in gx.summary(tx, SHAPES, steps=100).hyperparams}
    assert found["b1"].now == 0.8
    assert found["b1"].schedule is None
    assert found["learning_rate"].schedule == repr(RATE)
    assert [step for step, _ in found["learning_rate"].course] == [0, 25, 50, 75, 100]
    np.testing.assert_allclose([x for _, x in found["learning_rate"].course], [RATE(k) for k in (0, 25, 50, 75, 100)], rtol=1e-6)
    np.testing.assert_allclose([x for _, x in found["weight_decay"].course], [0.2, 0, 0, 0, 0], atol=1e-7)
    params = {"w": jnp.ones(3)}
    state = tx.init(params)
    for _ in range(6):
        state = tx.update(params, state, params)[1]
    now = {h.name: h.now for h in gx.summary(tx, params, state).hyperparams}
    assert now == gx.get_hyperparams(tx, state)
    assert gx.summary(tx, params).hyperparams[0].course == ()


WRAPPED = {
    "accumulate": (lambda: gx.accumulate(gx.sgd(RATE), 4), [RATE(k // 4) for k in (0, 100, 200, 300, 400)]),
    "MultiSteps": (
        lambda: gx.MultiSteps(gx.sgd(RATE), 4).gradient_transformation(),
        [RATE(k // 4) for k in (0, 100, 200, 300, 400)],
    ),
    "injected": (lambda: gx.inject_hyperparams(gx.sgd)(RATE), [RATE(k) for k in (0, 100, 200, 300, 400)]),
    "a few in a round": (lambda: gx.accumulate(gx.sgd(RATE), 3), [RATE(k // 3) for k in (0, 100, 200, 300, 400)]),
}


@pytest.mark.parametrize("name", WRAPPED)
def test_rates_inside_wrappers_are_those_in_use_there(name):
    make, expected = WRAPPED[name]
    [rate] = [h for h in gx.summary(make(), SHAPES, steps=400).hyperparams if h.name == "learning_rate"]
    np.testing.assert_allclose([x for _, x in rate.course], expected, atol=1e-8, rtol=1e-6)
    assert rate.schedule == repr(RATE)


class Halved(tuple):
    """A codec of these tests: `gradxform.precision.Codec` without what `store` needs."""

    _fields = ("halves", "seed")
    halves = property(lambda self: self[0])
    shape = property(lambda self: self[0].shape)
    dtype = jnp.dtype(jnp.float32)

    def __new__(cls, halves, seed):
        return super().__new__(cls, (halves, seed))

    def saturated(self):
        return jnp.sum(self.halves == 255)


register(Halved)


@pytest.mark.fast
def test_codecs_by_name_and_their_ends():
    params = {"w": jnp.ones((4, 4)), "v": jnp.ones(6), "s": jnp.ones(())}
    tx = gx.scale_by_rms()
    codes = {"w": np.full((4, 4), 3, np.uint8), "v": np.array([255, 1, 255, 0, 255, 9], np.uint8)}
    entries = {k: Halved(jnp.asarray(x), jnp.uint32(7)) for k, x in codes.items()}
    state = tx.init(params)._replace(nu={**entries, "s": jnp.ones(())})
    [field] = [f for s in gx.summary(tx, params, state).stages for f in s.fields]
    assert field.stored == ("float32", "Halved uint8")
    assert (field.leaves, field.bytes, field.wide, field.saturated) == (3, 4 + 22 + 8, ("s",), 3)
    text = str(gx.summary(tx, params, state))
    assert "left wide: s\n" in text
    assert "3 numbers at the end of the range that is stored" in text


@pytest.mark.fast
def test_it_prints_in_80_columns_and_cuts_no_number():
    long = {f"{'block/' * 12}{i}": jnp.ones(3) for i in range(9)}
    schedule = gx.join_schedules(
        [gx.linear_schedule(0.0, 0.123456789, 12345), gx.cosine_decay_schedule(0.123456789, 98765)], [12345]
    )
    tx = gx.partition({"a": gx.adamw(schedule), "b": gx.accumulate(gx.lamb(1e-5), 7)}, {"*/1": "a", "default": "b"})
    text = str(gx.summary(tx, long, steps=98765))
    assert all(len(line) <= 80 for line in text.splitlines())
    joined = re.sub(r"\s+", "", text)
    for number in ("0.123456789", "12345", "98765", "98,765", "1e-05"):
        assert number in joined
    assert "and 2 more" in text
    assert text.splitlines()[0] == "27 parameters in 9 leaves, 108 B"


def test_sizes_are_in_units_and_shares_add_up():
    found = gx.summary(gx.adam(1e-3), {"w": jax.ShapeDtypeStruct((2**20, 1024), jnp.float32)})
    text = str(found)
    assert "1,073,741,824 parameters in 1 leaf, 4 GiB" in text
    assert re.search(r"mu +float32 +1 +4 GiB +4\.00\n", text)
    assert re.search(r"\nstate +8 GiB +8\.00\n", text)


def test_it_neither_makes_the_state_nor_changes_what_it_is_given():
    big = {"w": jax.ShapeDtypeStruct((2**24, 2**20), jnp.float32)}  # 64 TiB
    assert gx.summary(gx.adamw(RATE), big, steps=1000).bytes > 2**47
    state = gx.adam(RATE).init(PARAMS)
    before = jax.tree.map(np.asarray, state)
    gx.summary(gx.adam(RATE), PARAMS, state, steps=10)
    jax.tree.map(np.testing.assert_array_equal, state, before)


def test_empty_and_odd_parameters():
    numbers = {"nothing": ({}, 0), "a gap": ({"a": None}, 0), "whole": ({"n": jnp.arange(3)}, 0), "an array": (jnp.ones(3), 3),
               "a float": (1.0, 1), "no arrays": ([jnp.ones(()), {"f": max, "s": "text"}], 1)}  # fmt: skip
    for what, (params, n) in numbers.items():
        found, tx = gx.summary(gx.sgd(0.1, 0.9), params), gx.sgd(0.1, 0.9)
        assert found.parameters == n, what
        assert found.bytes == nbytes(tx.init(params)), what
        assert f"{n} parameters" in str(found)


@pytest.mark.fast
def test_what_is_no_transformation_is_refused():
    with pytest.raises(gx.StructureError, match="summary: expected a GradientTransformation"):
        gx.summary(gx.adam, PARAMS)


@pytest.mark.fast
def test_a_stored_state():
    """Its bytes, what of it stays wide, and how many squares lie at the end of float8's range."""
    params = {"w": jnp.ones((16, 16)), "s": jnp.ones(()), "z": jnp.ones(4, jnp.complex64)}
    tx = gx.store(gx.adam(1e-3), "8bit")
    found = gx.summary(tx, jax.eval_shape(lambda: params))
    mu, nu = (fields(found)[f"scale_by_adam.{f}"] for f in ("mu", "nu"))
    assert (set(mu.stored), set(nu.stored)) == ({"Int8 int8", "float32", "complex64"}, {"Float8 uint8", "float32"})
    assert (mu.wide, nu.wide, nu.saturated) == (("s", "z"), ("s", "z"), None)
    state = tx.init(params)
    assert found.bytes == nbytes(state)
    big = jnp.where(jnp.arange(16) < 3, 1e4, 1.0)[None] * jnp.ones((16, 16))
    state = tx.update({**params, "w": big}, state, params)[1]
    assert fields(gx.summary(tx, params, state))["scale_by_adam.nu"].saturated == 48


HEADS = gx.WeightDimensionNumbers(output_split=(4, 8))
ROLES = {"layers/1/w": "equinox", "qkv": HEADS, "conv": "conv"}
WITH_ROLES = {**PARAMS, "qkv": jnp.ones((3, 8, 12)), "conv": jnp.ones((2, 2, 3, 4))}
SAID = {
    "conv": "inputs (0, 1, 2), outputs 3",
    "layers/1/w": "inputs 1, outputs 0",
    "qkv": "batch 0, inputs 1, outputs 2 split into (4, 8)",
}


@pytest.mark.fast
def test_roles_are_those_that_stages_ask_for():
    found = gx.summary(gx.muon(0.1, weight_dimension_numbers=ROLES), WITH_ROLES)
    for title in ("scale_by_muon", "scale_by_shape"):
        assert {path: str(role) for path, role in stage(found, title).roles} == SAID
    assert all(s.roles == () for s in found.stages if s.title.startswith(("muon", "scale_by_adam", "add_decayed_weights")))
    lines = str(found).splitlines()
    assert [line.strip() for line in lines if "inputs" in line and "outputs" in line] == [
        f"{r}: {p}" for p, r in sorted(SAID.items())
    ]
    assert [line.strip() for line in str(gx.summary(gx.normuon(0.1), PARAMS)).splitlines() if "inputs" in line] == [
        "inputs 0, outputs 1: embedding, layers/0/w, layers/1/w"
    ]


@pytest.mark.fast
@pytest.mark.parametrize("make", [lambda: gx.galore(0.1, 2), lambda: gx.scion(0.1, weight_dimension_numbers={"*/w": "flax"})])
def test_what_is_no_matrix_is_called_so(make):
    roles = dict(next(s.roles for s in gx.summary(make(), PARAMS).stages if s.roles))
    assert roles["layers/0/b"] is None
    assert str(roles["layers/0/w"]) == "inputs 0, outputs 1"
    assert "no matrix: " in str(gx.summary(make(), PARAMS))


@pytest.mark.fast
def test_where_all_axes_are_alike_there_are_no_roles():
    assert all(s.roles == () for s in gx.summary(gx.scion(0.1), PARAMS).stages)


@pytest.mark.fast
def test_one_for_all_of_galore_is_one_for_all_matrices():
    found = gx.summary(gx.galore(0.1, 2, weight_dimension_numbers=gx.GaLoreDimensionNumbers(1, 0)), PARAMS)
    assert [str(role) for path, role in stage(found, "scale_by_galore").roles] == [
        "inputs 1, outputs 0" if path in MATRICES else "None" for path in LEAVES
    ]
