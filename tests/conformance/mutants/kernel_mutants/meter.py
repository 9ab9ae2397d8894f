"""Gives a kernel a fuel gauge of its own, so that a call can be cut between any two instructions.

Runtimes look at their fuel, or at their clock, only where a function begins and a loop turns. Contract L-3
speaks of any instruction, and C-1 to C-3 of every one. The metered kernel counts a global down before each
instruction that wasmtime would count, and ends with `unreachable` when it is at zero. The bytes of a
`memory.fill` are not counted.
"""

from __future__ import annotations

from .code import Code, read_code
from .leb128 import read_unsigned, write_signed, write_unsigned
from .opcodes import CODES

METER = "meter"
"""Name of the exported global: instructions that may still run, an i64."""

_GLOBAL, _EXPORT, _CODE = 6, 7, 10
_HEADER = 8
_MUTABLE_I64 = b"\x7e\x01"
_GLOBAL_KIND = 3
_END = CODES["end"]
_IF = CODES["if"] + b"\x40"
_FREE = frozenset(("end", "else", "block", "loop", "nop", "drop", "return", "unreachable"))
"""What wasmtime does not count either; like it, the meter counts one for entering a function."""
_PLENTY = 1 << 62


def add_meter(data: bytes) -> bytes:
    """Return the module with its meter. Raises CodeError for a module that is no kernel."""
    code = read_code(data)
    index = _count_globals(data)
    get, set_ = CODES["global.get"] + write_unsigned(index), CODES["global.set"] + write_unsigned(index)
    stop = get + CODES["i64.eqz"] + _IF + CODES["unreachable"] + _END
    spend = stop + get + CODES["i64.const"] + write_signed(1) + CODES["i64.sub"] + set_
    metered = code.with_bodies(
        {function.index: _meter_body(code, function.index, spend) for function in code.functions}
    )
    new_global = _MUTABLE_I64 + CODES["i64.const"] + write_signed(_PLENTY) + _END
    export = write_unsigned(len(METER)) + METER.encode() + bytes((_GLOBAL_KIND,)) + write_unsigned(index)
    return _append(metered, {_GLOBAL: new_global, _EXPORT: export})


def _meter_body(code: Code, index: int, spend: bytes) -> bytes:
    function = code.functions[index]
    first = function.instructions[0].start
    out = bytearray(code.data[function.start : first]) + spend
    for instruction in function.instructions:
        if instruction.name not in _FREE:
            out += spend
        out += code.data[instruction.start : instruction.end]
    return bytes(out)


def _count_globals(data: bytes) -> int:
    at = _HEADER
    while at < len(data):
        size, start = read_unsigned(data, at + 1)
        if data[at] == _GLOBAL:
            return read_unsigned(data, start)[0]
        at = start + size
    return 0


def _append(data: bytes, additions: dict[int, bytes]) -> bytes:
    """Add one entry at the end of each named section, making a section that is missing."""
    out, at, left = bytearray(data[:_HEADER]), _HEADER, dict(additions)
    while at < len(data):
        number = data[at]
        size, start = read_unsigned(data, at + 1)
        for missing in [each for each in left if number > each]:
            out += _section(missing, write_unsigned(1) + left.pop(missing))
        if number in left:
            count, entries = read_unsigned(data, start)
            out += _section(
                number, write_unsigned(count + 1) + data[entries : start + size] + left.pop(number)
            )
        else:
            out += data[at : start + size]
        at = start + size
    return bytes(out)


def _section(number: int, content: bytes) -> bytes:
    return bytes((number,)) + write_unsigned(len(content)) + content
