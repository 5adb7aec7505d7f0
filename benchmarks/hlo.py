"""What a compiled step consists of: its instructions, and the loops that read and write arrays with the bytes that each moves."""

import math
import re
from collections.abc import Iterator
from typing import NamedTuple

from jax.stages import Compiled

_INSTRUCTION = re.compile(
    r"^\s+(?P<root>ROOT )?%?(?P<name>[\w.\-]+) = (?P<type>\(.*?\)|\S+) (?P<opcode>[a-z][\w\-]*)\((?P<args>.*)"
)
_NAMED = {"parameter", "constant", "tuple", "get-tuple-element", "bitcast"}  # they only name or group a value
_ARRAY = re.compile(r"(?P<dtype>[a-z]+\d*)\w*\[(?P<shape>[\d,]+)\]")


class Instruction(NamedTuple):
    name: str
    type: str
    opcode: str
    args: str  # what follows the opening parenthesis
    in_entry: bool
    is_root: bool

    @property
    def operands(self) -> list[str]:
        return re.findall(r"%([\w.\-]+)", self.args.partition("), ")[0])

    @property
    def nbytes(self) -> int:
        """Bytes of the arrays in the result; a scalar counts nothing."""
        return sum(_itemsize(m["dtype"]) * math.prod(map(int, m["shape"].split(","))) for m in _ARRAY.finditer(self.type))


def _itemsize(dtype: str) -> int:
    return 1 if dtype == "pred" else int(re.sub(r"\D", "", dtype)) // 8


def instructions(executable: Compiled) -> Iterator[Instruction]:
    """Those of the optimized module, in every computation."""
    in_entry = False
    for line in (executable.as_text() or "").splitlines():
        if not line.startswith(" "):
            in_entry = line.startswith("ENTRY")
        if m := _INSTRUCTION.match(line):
            yield Instruction(m["name"], m["type"], m["opcode"], m["args"], in_entry, m["root"] is not None)


def counts(executable: Compiled) -> dict[str, int]:
    """Instructions, those that only name or group a value excluded.

    all      in every computation of the module, fusion bodies and reducers included
    arrays   of these, the ones whose result is not a scalar
    entry    those of the entry computation: roughly, the kernels launched
    fusions  of the entry's, those that XLA fused
    """
    found = [i for i in instructions(executable) if i.opcode not in _NAMED]
    return {
        "all": len(found),
        "arrays": sum(not i.type.endswith("[]") for i in found),
        "entry": sum(i.in_entry for i in found),
        "fusions": sum(i.in_entry and i.opcode == "fusion" for i in found),
    }


def traffic(executable: Compiled) -> int:
    """Bytes that the entry's instructions on arrays read and write, an operand counted once in each."""
    entry = {i.name: i for i in instructions(executable) if i.in_entry}
    return sum(_moved(i, entry) for i in entry.values() if i.opcode not in _NAMED and i.nbytes)


def _moved(i: Instruction, entry: dict[str, Instruction]) -> int:
    return i.nbytes + sum(x.nbytes for x in _sources(i, entry))


def _sources(i: Instruction, entry: dict[str, Instruction]) -> list[Instruction]:
    return [entry[name] for name in dict.fromkeys(i.operands) if name in entry]


def loops(executable: Compiled, names: list[str]) -> list[dict]:
    """The entry's instructions on arrays, in order: what each reads and writes, and its bytes.

    The step takes the arrays `names` and returns the first of them anew, in this order.
    """
    entry = {i.name: i for i in instructions(executable) if i.in_entry}
    root = next(i for i in entry.values() if i.is_root)

    def made_by(i: Instruction) -> Instruction:
        return made_by(_sources(i, entry)[0]) if i.opcode in ("get-tuple-element", "bitcast") else i

    written = [(made_by(entry[operand]).name, name) for operand, name in zip(root.operands, names, strict=False)]

    def called(i: Instruction) -> list[str]:
        """The arrays that an operand stands for."""
        own = made_by(i)
        if own.opcode == "parameter":
            return [names[int(own.args.partition(")")[0])]]
        return [name for maker, name in written if maker == own.name] or ["a temporary"]

    return [
        {
            "reads": sorted({name for x in _sources(i, entry) if x.nbytes for name in called(x)}),
            "writes": called(i),
            "bytes": _moved(i, entry),
        }
        for i in entry.values()
        if i.opcode not in _NAMED and i.nbytes
    ]


def xla_bytes(executable: Compiled) -> float | None:
    """XLA's own count of the module's bytes, on backends that have one; equal to `traffic` on the CPU."""
    return (executable.cost_analysis() or {}).get("bytes accessed")
