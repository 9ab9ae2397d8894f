"""The little of WebAssembly's binary format that a probe is made of: instructions, functions, a module."""

from __future__ import annotations

from dataclasses import dataclass, field

from extism_kernel_conformance.adapter.typed_values import parameters_of, result_of
from extism_kernel_conformance.wasm.module import MAGIC, leb128

BLOCK, LOOP, END = b"\x02\x40", b"\x03\x40", b"\x0b"
RETURN = b"\x0f"
I32_OR, I32_EQZ = b"\x72", b"\x45"
I64_EQZ, I64_EQ, I64_NE = b"\x50", b"\x51", b"\x52"
I64_LT_U, I64_GT_U, I64_LE_U, I64_GE_U = b"\x54", b"\x56", b"\x58", b"\x5a"
I64_ADD, I64_MUL, I64_REM_U = b"\x7c", b"\x7e", b"\x82"
I32_WRAP_I64, I64_EXTEND_I32_U = b"\xa7", b"\xad"

_TYPE_BYTES = {"i32": b"\x7f", "i64": b"\x7e"}
_TYPE, _IMPORT, _FUNCTION, _GLOBAL, _EXPORT, _CODE = 1, 2, 3, 6, 7, 10


def i32(value: int) -> bytes:
    """Push an i32."""
    return b"\x41" + _signed(value, 32)


def i64(value: int) -> bytes:
    """Push an i64, given unsigned."""
    return b"\x42" + _signed(value, 64)


def get(local: int) -> bytes:
    """Push a local."""
    return b"\x20" + leb128(local)


def put(local: int) -> bytes:
    """Pop into a local."""
    return b"\x21" + leb128(local)


def tee(local: int) -> bytes:
    """Copy the top into a local."""
    return b"\x22" + leb128(local)


def get_global(index: int) -> bytes:
    """Push a global."""
    return b"\x23" + leb128(index)


def put_global(index: int) -> bytes:
    """Pop into a global."""
    return b"\x24" + leb128(index)


def branch(depth: int) -> bytes:
    """Leave that many blocks and one more; in a loop, begin again."""
    return b"\x0c" + leb128(depth)


def branch_if(depth: int) -> bytes:
    """Branch if the top is not 0."""
    return b"\x0d" + leb128(depth)


def call(function: int) -> bytes:
    """Call a function by its index."""
    return b"\x10" + leb128(function)


@dataclass(slots=True)
class ModuleBuilder:
    """A module of functions and i64 globals. All imports come before the first function."""

    globals: int = 0
    """How many there are; all mutable, all 0 at first."""
    _types: dict[str, int] = field(default_factory=dict)
    _imports: list[bytes] = field(default_factory=list)
    _functions: list[int] = field(default_factory=list)
    _bodies: list[bytes] = field(default_factory=list)
    _exports: list[bytes] = field(default_factory=list)

    def add_import(self, module: str, name: str, signature: str) -> int:
        """Import a function and return its index."""
        assert not self._functions, "indices of functions count from the last import"
        entry = _name(module) + _name(name) + b"\x00" + leb128(self._type(signature))
        self._imports.append(entry)
        return len(self._imports) - 1

    def add_function(self, signature: str, code: bytes, *, i64_locals: int = 0) -> int:
        """Add a function and return its index; `code` is without the last `end`."""
        groups = [leb128(i64_locals) + _TYPE_BYTES["i64"]] if i64_locals else []
        body = _vector(groups) + code + END
        self._functions.append(self._type(signature))
        self._bodies.append(leb128(len(body)) + body)
        return len(self._imports) + len(self._functions) - 1

    def export(self, name: str, function: int) -> None:
        """Export a function."""
        self._exports.append(_name(name) + b"\x00" + leb128(function))

    def build(self) -> bytes:
        """Return the module."""
        types = [_function_type(signature) for signature in self._types]
        zero = _TYPE_BYTES["i64"] + b"\x01" + i64(0) + END
        sections = (
            (_TYPE, types),
            (_IMPORT, self._imports),
            (_FUNCTION, [leb128(index) for index in self._functions]),
            (_GLOBAL, [zero] * self.globals),
            (_EXPORT, self._exports),
            (_CODE, self._bodies),
        )
        return MAGIC + b"".join(_section(number, entries) for number, entries in sections if entries)

    def _type(self, signature: str) -> int:
        return self._types.setdefault(signature, len(self._types))


def _function_type(signature: str) -> bytes:
    result = result_of(signature)
    results = [] if result is None else [_TYPE_BYTES[result]]
    return b"\x60" + _vector([_TYPE_BYTES[each] for each in parameters_of(signature)]) + _vector(results)


def _section(number: int, entries: list[bytes]) -> bytes:
    content = _vector(entries)
    return bytes((number,)) + leb128(len(content)) + content


def _vector(entries: list[bytes]) -> bytes:
    return leb128(len(entries)) + b"".join(entries)


def _name(text: str) -> bytes:
    data = text.encode()
    return leb128(len(data)) + data


def _signed(value: int, bits: int) -> bytes:
    """Return the signed LEB128 of a number given unsigned."""
    if value >> (bits - 1):
        value -= 1 << bits
    out = bytearray()
    while not -0x40 <= value < 0x40:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes((*out, value & 0x7F))
