"""What a compiled step consists of, read from its optimized HLO: instructions, bytes moved, collectives, memory, kernels.

An executable for a machine that is not here (`aot.py`) can be read like any other.
"""

import math
import re
from collections.abc import Iterator
from typing import NamedTuple, Protocol

from jax.stages import Compiled

ENTRY = "ENTRY"
_COMPUTATION = re.compile(r"(?P<entry>ENTRY )?%?(?P<name>[\w.\-]+) \(.*\{$")
_INSTRUCTION = re.compile(r"\s+(?P<root>ROOT )?%?(?P<name>[\w.\-]+) = (?P<type>\(.*?\)|\S+) (?P<opcode>[a-z][\w\-]*)\((?P<args>.*)")
_ARRAY = re.compile(r"(?P<dtype>[a-z]+\d*)\w*\[(?P<shape>[\d,]*)\](?P<layout>\{[^}]*\})?")
_NAMED = {"parameter", "constant", "tuple", "get-tuple-element", "bitcast"}  # they only name or group a value
_FREE = _NAMED | {"after-all", "opt-barrier", "partition-id", "replica-id"}
_PLACED = re.compile('custom_call_target="(AllocateBuffer|ConcatBitcast)"')  # a TPU's custom calls that move nothing
_SLICES = {"slice", "dynamic-slice", "gather"}
_COLLECTIVE = re.compile(r"(all-gather|all-reduce|all-to-all|collective-broadcast|collective-permute|reduce-scatter)(-start)?$")


class Executable(Protocol):
    """A `jax.stages.Compiled`, or another with the text of an optimized module."""

    def as_text(self) -> str | None: ...


class Instruction(NamedTuple):
    name: str
    type: str  # of what it writes; at the start of an asynchronous pair, what its end gives
    opcode: str
    args: str  # what follows the opening parenthesis
    is_root: bool

    @property
    def operands(self) -> list[str]:
        """Their names, each once."""
        return list(dict.fromkeys(re.findall(r"%([\w.\-]+)", self.args.partition("), ")[0])))

    @property
    def number(self) -> int:
        """Of a parameter, its place; of a whole constant, its value."""
        return int(self.args.partition(")")[0])

    @property
    def nbytes(self) -> int:
        """Bytes of the arrays in the result that lie in the device's main memory; a scalar counts nothing."""
        return sum(_nbytes(m) for m in _ARRAY.finditer(self.type) if not _is_elsewhere(m["layout"] or ""))

    @property
    def size(self) -> int:
        """Bytes of the arrays in the result, wherever they lie."""
        return sum(_nbytes(m) for m in _ARRAY.finditer(self.type))

    def attribute(self, pattern: str) -> list[str]:
        """The computations that the attributes of this name call."""
        found = re.findall(rf"\b(?:{pattern})=(%[\w.\-]+|\{{[^}}]*\}})", self.args)
        return re.findall(r"%([\w.\-]+)", " ".join(found))


Program = dict[str, dict[str, Instruction]]  # computation -> name -> instruction


def _nbytes(array: re.Match[str]) -> int:
    shape = [int(n) for n in array["shape"].split(",") if n]
    return math.prod(shape) * _bits(array["dtype"]) // 8 if shape else 0


def _bits(dtype: str) -> int:
    digits = re.search(r"\d+", dtype)
    return int(digits[0]) if digits else 8 * (dtype == "pred")


def _is_elsewhere(layout: str) -> bool:
    """In host memory (5), or in the memory on a TPU's chip: there an array is tiled and its memory space is not 0."""
    return "S(5)" in layout or re.search(r"T\(.*S\(", layout) is not None


def read(executable: Executable) -> Program:
    """The computations of the optimized module; the entry is called ENTRY."""
    program: Program = {}
    body: dict[str, Instruction] = {}
    for line in re.sub(r"/\*.*?\*/", "", executable.as_text() or "").splitlines():
        if m := _COMPUTATION.match(line):
            body = program.setdefault(ENTRY if m["entry"] else m["name"], {})
        elif m := _INSTRUCTION.match(line):
            found = Instruction(m["name"], m["type"], m["opcode"], m["args"], m["root"] is not None)
            body[found.name] = found
            if found.opcode.endswith("-done") and (start := body.get(found.operands[0])):
                body[start.name] = start._replace(type=found.type)
    return program


def _running(program: Program, computation: str = ENTRY) -> Iterator[tuple[Instruction, int, int]]:
    """What one run executes, how often and the bytes that it then moves each time.

    Calls are entered, loops for each of their trips; of a conditional, the branch that moves most is taken.
    """
    body = program[computation]
    for i in body.values():
        if i.opcode in ("call", "while"):
            trips = _trips(program, i) if i.opcode == "while" else 1
            for called in i.attribute("to_apply|body|calls"):
                yield from ((j, times * trips, moved) for j, times, moved in _running(program, called))
        elif i.opcode == "conditional":
            branches = [list(_running(program, b)) for b in i.attribute("branch_computations|true_computation|false_computation")]
            yield from max(branches, key=lambda branch: sum(times * moved for _, times, moved in branch), default=[])
        elif not (i.opcode in _FREE or i.opcode.endswith(("-done", "-update")) or _PLACED.search(i.args)):
            yield i, 1, _moved(i, program, body)


def _trips(program: Program, loop: Instruction) -> int:
    """How often a loop runs: as XLA says, or by the bound in its condition; once, if that is not there."""
    if known := re.search(r'"known_trip_count":\{"n":"(\d+)"', loop.args):
        return int(known[1])
    conditions = [i for name in loop.attribute("condition") for i in program[name].values()]
    return max((i.number for i in conditions if i.opcode == "constant" and re.match(r"s(32|64)\[\]", i.type)), default=1)


def _moved(i: Instruction, program: Program, body: dict[str, Instruction]) -> int:
    """The bytes that an instruction reads and writes: each operand once, and the result; of slices, what is taken or put there."""
    sources = [body[name] for name in i.operands if name in body]
    if i.opcode.removesuffix("-start") in _SLICES:
        return min(sum(s.nbytes for s in sources), i.size) + i.nbytes
    if i.opcode == "dynamic-update-slice":
        return 2 * sources[1].nbytes
    if i.opcode != "fusion":
        return i.nbytes + sum(s.nbytes for s in sources)
    inner = program[i.attribute("calls")[0]]
    parameters = {p.number: p for p in inner.values() if p.opcode == "parameter"}
    reads: dict[str, int] = {}
    for place, name in enumerate(re.findall(r"%([\w.\-]+)", i.args.partition("), ")[0])):
        reads[name] = min(body[name].nbytes, reads.get(name, 0) + _read(inner, parameters[place]))
    return sum(reads.values()) + min(i.nbytes, _written(inner))


def _read(inner: dict[str, Instruction], value: Instruction) -> int:
    """What a fusion reads of an operand: the whole, or the slices of it that are all that it uses."""
    total = 0
    for user in (i for i in inner.values() if value.name in i.operands):
        if user.opcode == "bitcast":
            total += _read(inner, user)
        elif user.opcode in _SLICES and user.operands[0] == value.name:
            total += user.size
        elif not (user.opcode == "dynamic-update-slice" and user.operands[0] == value.name):
            return value.size
    return total


def _written(inner: dict[str, Instruction]) -> int:
    """What a fusion writes: its results, of those that update a slice the slice."""
    root = next(i for i in inner.values() if i.is_root)
    total = 0
    for value in [inner[name] for name in root.operands] if root.opcode == "tuple" else [root]:
        while value.opcode == "bitcast":
            value = inner[value.operands[0]]
        total += inner[value.operands[1]].size if value.opcode == "dynamic-update-slice" else value.size
    return total


def instructions(executable: Executable) -> Iterator[tuple[str, Instruction]]:
    """Those that do not merely name or group a value, in every computation, with the computation's name."""
    return ((name, i) for name, body in read(executable).items() for i in body.values() if i.opcode not in _NAMED)


def counts(executable: Executable) -> dict[str, int]:
    """Instructions, those that only name or group a value excluded.

    all      in every computation of the module, fusion bodies and reducers included
    arrays   of these, the ones whose result is not a scalar
    entry    those of the entry computation: roughly, the kernels launched
    fusions  of the entry's, those that XLA fused
    """
    found = list(instructions(executable))
    return {
        "all": len(found),
        "arrays": sum(not i.type.endswith("[]") for _, i in found),
        "entry": sum(name == ENTRY for name, _ in found),
        "fusions": sum(name == ENTRY and i.opcode == "fusion" for name, i in found),
    }


def traffic(executable: Executable) -> int:
    """Bytes that one run reads from and writes to one device's main memory.

    A fusion counts as what enters and leaves it, an operand once in each instruction; a slice as its result, an asynchronous pair
    once, a loop's body for every trip, a conditional as its dearest branch. What a TPU keeps on its chip is free, and so are
    scalars. Not seen: the padding of tiles, caches, what a matrix product reads more than once.
    """
    return sum(times * moved for _, times, moved in _running(read(executable)))


def kernels(executable: Executable) -> int:
    """How many fusions and custom calls one run starts."""
    return sum(times for i, times, _ in _running(read(executable)) if i.opcode in ("fusion", "custom-call"))


def collectives(executable: Executable) -> list[tuple[str, int]]:
    """Kind and bytes of the result on one device of every collective, as often as one run executes it.

    On a TPU a reduce-scatter is a fusion of `all-reduce-scatter`, and the start, the middle and the end of an asynchronous
    collective are fusions that share a channel.
    """
    program, found = read(executable), {}
    for i, times, _ in _running(program):
        called = i.attribute("calls") if i.opcode in ("fusion", "async-start") else []
        inside = [(name, j) for name in called for j in program[name].values()]
        for computation, j in inside or [("", i)]:
            if kind := _COLLECTIVE.match(j.opcode):
                scatters = computation.startswith("all-reduce-scatter")
                channel = re.search(r"\bchannel_id=\d+", j.args)
                one = ("reduce-scatter", i.size) if scatters else (kind[1], j.size)
                found.setdefault(channel[0] if channel else (i.name, j.name), [one] * times)
    return sorted(one for several in found.values() for one in several)


def memory(executable: Compiled) -> dict[str, int]:
    """Bytes on one device; `alias` is the part of the output that takes the place of donated arguments."""
    found = executable.memory_analysis()
    return {kind: getattr(found, f"{kind}_size_in_bytes") for kind in ("argument", "output", "temp", "alias")}


def loops(executable: Executable, names: list[str]) -> list[dict]:
    """The entry's instructions on arrays, in order: what each reads and writes, and its bytes.

    The step takes the arrays `names` and returns the first of them anew, in this order.
    """
    program = read(executable)
    entry = program[ENTRY]
    root = next(i for i in entry.values() if i.is_root)

    def made_by(i: Instruction) -> Instruction:
        return made_by(entry[i.operands[0]]) if i.opcode in ("get-tuple-element", "bitcast") else i

    written = [(made_by(entry[operand]).name, name) for operand, name in zip(root.operands, names, strict=False)]

    def called(i: Instruction) -> list[str]:
        """The arrays that an operand stands for."""
        own = made_by(i)
        if own.opcode == "parameter":
            return [names[own.number]]
        return [name for maker, name in written if maker == own.name] or ["a temporary"]

    return [
        {
            "reads": sorted({name for x in i.operands if entry[x].nbytes for name in called(entry[x])}),
            "writes": called(i),
            "bytes": _moved(i, program, entry),
        }
        for i in entry.values()
        if i.opcode not in _NAMED and i.nbytes
    ]


def xla_bytes(executable: Compiled) -> float | None:
    """XLA's own count of the module's bytes, on backends that have one; equal to `traffic` on the CPU."""
    return (executable.cost_analysis() or {}).get("bytes accessed")
