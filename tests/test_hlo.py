"""What benchmarks/hlo.py reads in optimized HLO: programs whose bytes are known, compiled here and as compilers of accelerators write."""

import hlo
import jax
import jax.numpy as jnp
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec

pytestmark = pytest.mark.fast

N = 1 << 12
X = jax.ShapeDtypeStruct((N,), jnp.float32)
ROWS = jax.ShapeDtypeStruct((16, N), jnp.float32)
PLACE = jax.ShapeDtypeStruct((), jnp.int32)

PROGRAMS = {
    "one pass": (lambda x, y: x + 2 * y, (X, X), 3),
    "an operand counts once": (lambda x: x * x + x, (X,), 2),
    "a sum reads, and a scalar is nothing": (lambda x: jnp.sum(x), (X,), 1),
    "a row of a larger array": (lambda x, i: jax.lax.dynamic_index_in_dim(x, i, keepdims=False) * 2, (ROWS, PLACE), 2),
    "a loop's trips": (lambda x: jax.lax.fori_loop(0, 5, lambda i, y: jnp.sin(y) * 2, x), (X,), 2 * 5),
    "rows read in a loop": (lambda x, y: jax.lax.scan(lambda c, row: (jnp.sin(c) * row, None), y, x)[0], (ROWS, X), 3 * 16),
}


def compiled(f, *args, **options):
    return jax.jit(f, **options).lower(*args).compile()


@pytest.mark.parametrize(("f", "args", "arrays"), PROGRAMS.values(), ids=PROGRAMS)
def test_traffic(f, args, arrays):
    moved = hlo.traffic(compiled(f, *args)) / (4 * N)
    assert arrays <= moved <= arrays + 2.01  # the CPU may copy what a loop carries, in and out
    if "loop" not in str(jax.make_jaxpr(f)(*args)) and "scan" not in str(jax.make_jaxpr(f)(*args)):
        assert moved == pytest.approx(arrays, abs=0.1)  # a sum may be of partial sums


def test_an_update_of_a_row_moves_the_row():
    step = compiled(lambda x, y, i: jax.lax.dynamic_update_index_in_dim(x, 3 * y, i, 0), ROWS, X, PLACE, donate_argnums=0)
    assert hlo.traffic(step) <= 4 * 4 * N  # of the sixteen rows, none but one


def test_the_dearest_branch_counts():
    dear = lambda x: jax.lax.fori_loop(0, 7, lambda i, y: jnp.sin(y) * 2, x)
    either = hlo.traffic(compiled(lambda i, x: jax.lax.cond(i > 0, dear, lambda x: x + 1, x), PLACE, X))
    assert either >= hlo.traffic(compiled(dear, X))
    assert either <= hlo.traffic(compiled(dear, X)) + 4 * 4 * N


def test_memory_of_a_donated_step():
    found = hlo.memory(compiled(lambda p, g: p - g, X, X, donate_argnums=0))
    assert found["argument"] == 2 * 4 * N
    assert found["alias"] == found["output"] == 4 * N


@pytest.fixture
def over_devices():
    """A compiled function of an array of N elements that lie on eight devices."""
    mesh = Mesh(jax.devices(), ("data",))
    place = lambda *names: NamedSharding(mesh, PartitionSpec(*names))

    def compile_for(f, out):
        x = jax.ShapeDtypeStruct((N,), jnp.float32, sharding=place("data"))
        return compiled(f, x, out_shardings=place(*out))

    return compile_for


def test_collectives(over_devices):
    assert hlo.collectives(over_devices(lambda x: x + 1, ["data"])) == []
    assert hlo.collectives(over_devices(lambda x: x + 1, [None])) == [("all-gather", 4 * N)]
    assert [kind for kind, _ in hlo.collectives(over_devices(jnp.sum, []))] == ["all-reduce"]


def test_collectives_in_a_loop(over_devices):
    whole = NamedSharding(Mesh(jax.devices(), ("data",)), PartitionSpec(None))

    def f(x):
        gathered = lambda x: jnp.sin(jax.lax.with_sharding_constraint(x, whole))[: x.shape[0]]
        split = NamedSharding(whole.mesh, PartitionSpec("data"))
        return jax.lax.fori_loop(0, 3, lambda i, x: jax.lax.with_sharding_constraint(gathered(x) * x, split), x)

    assert [one for one in hlo.collectives(over_devices(f, ["data"])) if one[0] == "all-gather"] == 3 * [("all-gather", 4 * N)]


class Text(str):
    """A module's text in place of an executable."""

    __slots__ = ()

    def as_text(self):
        return str(self)


HBM, VMEM, HOST = "f32[8,1024]{1,0:T(8,128)}", "f32[8,1024]{1,0:T(8,128)S(1)}", "f32[8,1024]{1,0:T(8,128)S(5)}"
ARRAY = 8 * 1024 * 4


def module(*lines, computations=""):
    body = "\n".join(f'  {line}, metadata={{op_name="x"}}' for line in lines)
    return Text(
        f"HloModule step, is_scheduled=true\n\n{computations}\nENTRY %main (p: f32[8,1024]) -> f32[8,1024] {{\n{body}\n}}\n"
    )


P = f"%p = {HBM} parameter(0)"
TPU = {
    "what stays on the chip is free": (
        (P, f"%a = {VMEM} negate(%p)", f"%b = {VMEM} exponential(%a)", f"ROOT %c = {HBM} negate(%b)"),
        2,
    ),
    "an asynchronous copy counts once": (
        (P, f"%s = ({VMEM}, {HBM}, u32[]{{:S(2)}}) copy-start(%p)", f"%d = {VMEM} copy-done(%s)", f"ROOT %c = {HBM} negate(%d)"),
        2,
    ),
    "host memory is another": (
        (P, f"%s = ({HOST}, {HBM}, u32[]{{:S(2)}}) copy-start(%p)", f"ROOT %d = {HOST} copy-done(%s)"),
        1,
    ),
    "buffers are only placed": (
        (P, f'%a = {HBM} custom-call(), custom_call_target="AllocateBuffer"', f"ROOT %c = {HBM} negate(%p)"),
        2,
    ),
    "tuples and bitcasts name": (
        (P, f"%t = ({HBM}, {HBM}) tuple(%p, %p)", f"%g = {HBM} get-tuple-element(%t), index=1", f"ROOT %c = {HBM} negate(%g)"),
        2,
    ),
}


@pytest.mark.parametrize(("lines", "arrays"), TPU.values(), ids=TPU)
def test_traffic_as_a_tpu_writes_it(lines, arrays):
    assert hlo.traffic(module(*lines)) == arrays * ARRAY


LOOP = f"""%cond (c: (s32[], {HBM})) -> pred[] {{
  %c = (s32[]{{:T(128)}}, {HBM}) parameter(0)
  %n = s32[]{{:T(128)}} constant(6)
  %i = s32[]{{:T(128)}} get-tuple-element(%c), index=0
  ROOT %lt = pred[]{{:T(512)}} compare(%i, %n), direction=LT
}}

%body (c: (s32[], {HBM})) -> (s32[], {HBM}) {{
  %c = (s32[]{{:T(128)}}, {HBM}) parameter(0)
  %x = {HBM} get-tuple-element(%c), index=1
  %y = {HBM} negate(%x)
  %i = s32[]{{:T(128)}} get-tuple-element(%c), index=0
  ROOT %t = (s32[]{{:T(128)}}, {HBM}) tuple(%i, %y)
}}
"""


@pytest.mark.parametrize(
    ("says", "trips"), [("", 6), (', backend_config={"known_trip_count":{"n":"4"}}', 4)], ids=["bound", "known"]
)
def test_trips(says, trips):
    state = f"(s32[]{{:T(128)}}, {HBM})"
    loop = f"%w = {state} while(%t), condition=%cond, body=%body{says}"
    lines = (
        P,
        "%z = s32[]{:T(128)} constant(0)",
        f"%t = {state} tuple(%z, %p)",
        loop,
        f"ROOT %r = {HBM} get-tuple-element(%w), index=1",
    )
    assert hlo.traffic(module(*lines, computations=LOOP)) == trips * 2 * ARRAY


PARTS = f"""%fused (a: {HBM}, b: f32[1,1024], i: s32[]) -> {HBM} {{
  %a = {HBM} parameter(0)
  %b = f32[1,1024]{{1,0}} parameter(1)
  %i = s32[] parameter(2)
  %o = f32[1,1024]{{1,0}} dynamic-slice(%a, %i, %i), dynamic_slice_sizes={{1,1024}}
  %s = f32[1,1024]{{1,0}} add(%o, %b)
  ROOT %u = {HBM} dynamic-update-slice(%a, %s, %i, %i)
}}
"""


def test_a_fusion_that_updates_a_row():
    lines = (
        P,
        "%b = f32[1,1024]{1,0} parameter(1)",
        "%i = s32[] parameter(2)",
        f"ROOT %f = {HBM} fusion(%p, %b, %i), kind=kLoop, calls=%fused",
    )
    assert hlo.traffic(module(*lines, computations=PARTS)) == 3 * 4096
    assert hlo.kernels(module(*lines, computations=PARTS)) == 1


ASYNC = f"""%start (a: {HBM}) -> {HBM} {{
  %a = {HBM} parameter(0)
  ROOT %g = f32[64,1024]{{1,0}} all-gather(%a), channel_id=3, dimensions={{0}}
}}

%middle (a: {HBM}) -> {HBM} {{
  %a = {HBM} parameter(0)
  ROOT %g = f32[64,1024]{{1,0}} all-gather(%a), channel_id=3, dimensions={{0}}
}}

%all-reduce-scatter.1 (a: f32[64,1024]) -> {HBM} {{
  %a = f32[64,1024]{{1,0}} parameter(0)
  ROOT %r = f32[64,1024]{{1,0}} all-reduce(%a), channel_id=5
}}
"""


def test_collectives_as_a_tpu_writes_them():
    big = "f32[64,1024]{1,0}"
    lines = (
        P,
        f"%s = {big} fusion(%p), kind=kCustom, calls=%start",
        f"%m = {big} fusion(%p), kind=kCustom, calls=%middle",
        f"ROOT %r = {HBM} fusion(%m), kind=kCustom, calls=%all-reduce-scatter.1",
    )
    assert hlo.collectives(module(*lines, computations=ASYNC)) == [("all-gather", 8 * ARRAY), ("reduce-scatter", ARRAY)]


@pytest.mark.parametrize(
    "start", ["f32[64,1024]{1,0}", "(f32[8,1024]{1,0}, f32[64,1024]{1,0})"], ids=["array", "operand and array"]
)
def test_an_asynchronous_collective_has_the_size_of_its_end(start):
    big = "f32[64,1024]{1,0}"
    lines = P, f"%s = {start} all-gather-start(%p), channel_id=1, dimensions={{0}}", f"ROOT %d = {big} all-gather-done(%s)"
    assert hlo.collectives(module(*lines)) == [("all-gather", 8 * ARRAY)]
