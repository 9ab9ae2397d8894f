"""The ways to break one instruction."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .leb128 import write_signed, write_unsigned
from .opcodes import CODES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from .code import Code, Function, Instruction

_I32, _I64 = 0x7F, 0x7E
_ZEROS = {_I32: CODES["i32.const"] + b"\0", _I64: CODES["i64.const"] + b"\0"}
"""The instruction that puts a zero of each type on the stack."""
_WIDTH = {"8": 1, "16": 2, "32": 4}
_CONTEXT = 6
"""Instructions on each side that a mutant's key takes into account."""

_SWAPS: Mapping[str, tuple[str, ...]] = {
    "add": ("sub",), "sub": ("add",), "mul": ("add",), "div_u": ("mul",), "rem_u": ("and",),
    "and": ("or",), "or": ("and", "xor"), "xor": ("or",),
    "shl": ("shr_u",), "shr_u": ("shl", "shr_s"), "shr_s": ("shr_u",), "rotl": ("rotr",), "rotr": ("rotl",),
    "clz": ("ctz",), "ctz": ("clz",),
    "eq": ("ne",), "ne": ("eq",),
    "lt_u": ("le_u", "ge_u", "lt_s"), "le_u": ("lt_u", "gt_u", "le_s"),
    "gt_u": ("ge_u", "le_u", "gt_s"), "ge_u": ("gt_u", "lt_u", "ge_s"),
    "lt_s": ("le_s", "ge_s", "lt_u"), "le_s": ("lt_s", "gt_s", "le_u"),
    "gt_s": ("ge_s", "le_s", "gt_u"), "ge_s": ("gt_s", "lt_s", "ge_u"),
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant:
    """One change of one instruction: not yet known to validate, or to change anything."""

    function: Function
    place: int
    """The instruction's number in its function."""
    before: str
    after: str
    key: str
    """Function, change and a digest of the instructions around it: the same mutant in a kernel built anew."""
    new: bytes

    @property
    def offset(self) -> int:
        """Offset of the instruction in the module."""
        return self.function.instructions[self.place].start

    def build(self, code: Code) -> bytes:
        """Return the broken module."""
        instruction = self.function.instructions[self.place]
        return code.replace(self.function, instruction.start, instruction.end, self.new)


def find_mutants(code: Code) -> Iterator[Mutant]:
    """Yield every mutant of every function, in the order of the code."""
    for function in code.functions:
        seen: dict[str, int] = {}
        for place, instruction in enumerate(function.instructions):
            old = code.data[instruction.start : instruction.end]
            for after, new in _break(code, instruction, old):
                key = _key(function, place, after)
                seen[key] = seen.get(key, 0) + 1
                if seen[key] > 1:
                    key = f"{key}-{seen[key]}"
                yield Mutant(
                    function=function, place=place, before=instruction.text, after=after, key=key, new=new
                )  # fmt: skip


def _key(function: Function, place: int, after: str) -> str:
    around = function.instructions[max(0, place - _CONTEXT) : place + _CONTEXT + 1]
    digest = hashlib.sha256("\n".join(_text(each) for each in around).encode()).hexdigest()
    return f"{function.name}:{digest[:10]}:{after.replace(' ', '_')}"


def _text(instruction: Instruction) -> str:
    """The number of a called function changes with every function before it."""
    return "call" if instruction.name == "call" else instruction.text


def _break(code: Code, instruction: Instruction, old: bytes) -> Iterator[tuple[str, bytes]]:
    kind, _, operation = instruction.name.partition(".")
    if operation == "const":
        yield from _break_constant(instruction)
    elif "load" in operation or "store" in operation:
        yield from _break_access(instruction)
    elif operation == "eqz":
        yield f"{kind}.eqz twice", old + CODES["i32.eqz"]
    elif operation in _SWAPS:
        for other in _SWAPS[operation]:
            yield f"{kind}.{other}", CODES[f"{kind}.{other}"]
    else:
        yield from _break_control(code, instruction, old)


def _break_constant(instruction: Instruction) -> Iterator[tuple[str, bytes]]:
    value = instruction.immediates[0]
    bits = 32 if instruction.name.startswith("i32") else 64
    low, high = -(1 << (bits - 1)), (1 << (bits - 1)) - 1
    for other in dict.fromkeys((value + 1, value - 1, 0)):
        if other != value and low <= other <= high:
            yield f"{instruction.name} {other}", CODES[instruction.name] + write_signed(other)


def _break_access(instruction: Instruction) -> Iterator[tuple[str, bytes]]:
    kind, _, operation = instruction.name.partition(".")
    align, offset = instruction.immediates
    digits = operation.removeprefix("load").removeprefix("store").partition("_")[0]
    width = _WIDTH.get(digits, 4 if kind == "i32" else 8)
    for other in (offset + width, offset - width):
        if other >= 0:
            new = CODES[instruction.name] + write_unsigned(align) + write_unsigned(other)
            yield f"{instruction.name} offset={other}", new
    if operation.startswith("store"):
        yield "store dropped", CODES["drop"] * 2
    elif digits:
        other_sign = instruction.name[:-1] + ("s" if instruction.name.endswith("u") else "u")
        yield other_sign, CODES[other_sign] + write_unsigned(align) + write_unsigned(offset)


def _break_control(code: Code, instruction: Instruction, old: bytes) -> Iterator[tuple[str, bytes]]:
    not_ = CODES["i32.eqz"]
    drop = CODES["drop"]
    match instruction.name:
        case "br_if":
            yield "branch if not", not_ + old
            yield "never branch", drop
        case "if":
            yield "if not", not_ + old
        case "select":
            yield "select the other", not_ + old
        case "memory.fill" | "memory.copy":
            yield "call removed", drop * 3
        case "memory.grow":
            yield "growth refused", drop + CODES["i32.const"] + write_signed(-1)
        case "global.get" | "global.set":
            yield from _break_global(code, instruction)
        case "call":
            yield from _remove_call(code, instruction)
        case "i64.extend_i32_u" | "i64.extend_i32_s":
            other = instruction.name[:-1] + ("s" if instruction.name.endswith("u") else "u")
            yield other, CODES[other]


def _remove_call(code: Code, instruction: Instruction) -> Iterator[tuple[str, bytes]]:
    parameters, results = code.types[instruction.immediates[0]]
    if all(result in _ZEROS for result in results):
        yield "call removed", CODES["drop"] * parameters + b"".join(_ZEROS[result] for result in results)


def _break_global(code: Code, instruction: Instruction) -> Iterator[tuple[str, bytes]]:
    """A zero or nothing instead; then the next global of the same type, the first after the last."""
    index = instruction.immediates[0]
    wanted = code.globals[index]
    if instruction.name == "global.set":
        yield "global.set dropped", CODES["drop"]
    elif wanted.value in _ZEROS:
        yield "zero instead", _ZEROS[wanted.value]
    same = [each for each, found in enumerate(code.globals) if found == wanted]
    other = same[(same.index(index) + 1) % len(same)]
    if other != index:
        yield f"{instruction.name} {other}", CODES[instruction.name] + write_unsigned(other)
