"""Gives a kernel a fuel gauge of its own, so that a call can be cut between any two instructions.

Runtimes look at their fuel, or at their clock, only where a function begins and a loop turns. Contract L-3
speaks of any instruction, and C-1 to C-3 of every one. The metered kernel counts a global down before each
instruction that wasmtime would count, and ends with `unreachable` when it is at zero. What `memory.fill` and
`memory.copy` cost by the byte (C-3) counts only while the global `weight` is 1: a call that no case limits is
limited all the same, so that a broken kernel ends, and it may fill gigabytes. One that fills for ever ends
when its instance has filled as many as no case needs, and so does one that grows memory for ever, by nothing.

All other globals are exported too, so that a used instance can be made as good as new.
"""

from __future__ import annotations

from collections.abc import Callable

from .code import Code, Function, read_code, read_sections
from .leb128 import read_unsigned, write_signed, write_unsigned
from .opcodes import CODES

METER = "meter"
"""Name of the exported global: instructions that may still run, an i64."""
WEIGHT = "weight"
"""Name of the exported global: what a byte of `memory.fill` costs, an i64."""
BYTES = "bytes"
"""Name of the exported global: bytes that `memory.fill` and `memory.copy` may still write, an i64."""

Mark = Callable[[Function, int], bytes]
"""Code to put before an instruction, given by its number in its function."""

_GLOBAL, _EXPORT, _CODE = 6, 7, 10
_HEADER = 8
_I32, _I64 = 0x7F, 0x7E
_GLOBAL_KIND = 3
_END = CODES["end"]
_IF = CODES["if"] + b"\x40"
_FREE = frozenset(("end", "else", "block", "loop", "nop", "drop", "return", "unreachable"))
"""What wasmtime does not count either; like it, the meter counts one for entering a function."""
_BY_THE_BYTE = frozenset(("memory.fill", "memory.copy"))
_PLENTY = 1 << 62
_MOST_BYTES = 1 << 33
_BYTES_OF_GROWTH = 1 << 21
"""What each `memory.grow` counts as: an instance may try a few thousand."""


def add_meter(data: bytes, mark: Mark | None = None, marks: int = 0) -> bytes:
    """Return the module with its meter. Raises CodeError for a module that is no kernel.

    `mark` may put more code before each instruction, which may use `marks` i64 globals that are added
    behind those the module has; they are exported as all are.
    """
    code = read_code(data)
    meter = len(code.globals) + marks
    bodies = {
        function.index: _meter_body(code, function, meter, mark or _no_mark) for function in code.functions
    }
    exports = {
        **{f"global-{n}": n for n, each in enumerate(code.globals) if each.is_mutable},
        **{f"mark-{n}": len(code.globals) + n for n in range(marks)},
        METER: meter,
        WEIGHT: meter + 1,
        BYTES: meter + 3,
    }
    gauges = [_global(_I64, _PLENTY), _global(_I64, 0), _global(_I32, 0), _global(_I64, _MOST_BYTES)]
    new = [_global(_I64, 0)] * marks + gauges
    return _append(
        code.with_bodies(bodies),
        {_GLOBAL: new, _EXPORT: [_export(name, index) for name, index in exports.items()]},
    )


def _no_mark(_function: Function, _place: int) -> bytes:
    return b""


def _spend(meter: int) -> bytes:
    get, put = CODES["global.get"] + write_unsigned(meter), CODES["global.set"] + write_unsigned(meter)
    stop = get + CODES["i64.eqz"] + _IF + CODES["unreachable"] + _END
    return stop + get + CODES["i64.const"] + write_signed(1) + CODES["i64.sub"] + put


def _weigh(meter: int) -> bytes:
    """Spend the number of bytes that is on the stack, times the weight, and leave the number there."""
    get, put = CODES["global.get"], CODES["global.set"]
    meter_, weight, length = (write_unsigned(meter + n) for n in range(3))
    zero = CODES["i64.const"] + write_signed(0)
    spend = (
        put + length + get + meter_ + get + length + CODES["i64.extend_i32_u"] + get + weight
        + CODES["i64.mul"] + CODES["i64.sub"] + put + meter_
    )  # fmt: skip
    stop = get + meter_ + zero + CODES["i64.lt_s"] + _IF + zero + put + meter_ + CODES["unreachable"] + _END
    return spend + stop + _write(meter, get + length + CODES["i64.extend_i32_u"]) + get + length


def _write(meter: int, count: bytes) -> bytes:
    """Take a number of bytes from those that may still be written."""
    get, put, left = CODES["global.get"], CODES["global.set"], write_unsigned(meter + 3)
    zero = CODES["i64.const"] + write_signed(0)
    take = get + left + count + CODES["i64.sub"] + put + left
    return take + get + left + zero + CODES["i64.lt_s"] + _IF + CODES["unreachable"] + _END


def _meter_body(code: Code, function: Function, meter: int, mark: Mark) -> bytes:
    first = function.instructions[0].start
    spend, weigh = _spend(meter), _weigh(meter)
    grow = _write(meter, CODES["i64.const"] + write_signed(_BYTES_OF_GROWTH))
    out = bytearray(code.data[function.start : first]) + spend
    for place, instruction in enumerate(function.instructions):
        out += mark(function, place)
        if instruction.name not in _FREE:
            out += spend
        if instruction.name in _BY_THE_BYTE:
            out += weigh
        if instruction.name == "memory.grow":
            out += grow
        out += code.data[instruction.start : instruction.end]
    return bytes(out)


def _global(kind: int, value: int) -> bytes:
    constant = CODES["i32.const" if kind == _I32 else "i64.const"]
    return bytes((kind, 1)) + constant + write_signed(value) + _END


def _export(name: str, index: int) -> bytes:
    return write_unsigned(len(name)) + name.encode() + bytes((_GLOBAL_KIND,)) + write_unsigned(index)


def _append(data: bytes, additions: dict[int, list[bytes]]) -> bytes:
    """Add entries at the end of each named section, making a section that is missing."""
    out, left = bytearray(data[:_HEADER]), dict(additions)
    for number, size_at, start, end in read_sections(data):
        for missing in [each for each in left if 0 < each < number]:
            out += _section(missing, left.pop(missing))
        if number in left:
            count, entries = read_unsigned(data, start)
            out += _section(number, [data[entries:end], *left.pop(number)], count - 1)
        else:
            out += data[size_at - 1 : end]
    return bytes(out)


def _section(number: int, entries: list[bytes], more: int = 0) -> bytes:
    content = write_unsigned(len(entries) + more) + b"".join(entries)
    return bytes((number,)) + write_unsigned(len(content)) + content
