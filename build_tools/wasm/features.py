"""Which WebAssembly feature an opcode belongs to, from the specification's proposals."""

from __future__ import annotations

from wasm_tools.opcodes import OPCODES

MVP = "mvp"
UNKNOWN = "unknown"

# (prefix byte or 0, first opcode, last opcode) -> feature. What no row covers is unknown, hence forbidden.
_RANGES: tuple[tuple[int, int, int, str], ...] = (
    (0x00, 0x00, 0x05, MVP),
    (0x00, 0x06, 0x0A, "exception-handling"),
    (0x00, 0x0B, 0x11, MVP),
    (0x00, 0x12, 0x13, "tail-call"),
    (0x00, 0x14, 0x15, "function-references"),
    (0x00, 0x18, 0x19, "exception-handling"),
    (0x00, 0x1A, 0x1B, MVP),
    (0x00, 0x1C, 0x1C, "reference-types"),
    (0x00, 0x1F, 0x1F, "exception-handling"),
    (0x00, 0x20, 0x24, MVP),
    (0x00, 0x25, 0x26, "reference-types"),
    (0x00, 0x28, 0xBF, MVP),
    (0x00, 0xC0, 0xC4, "sign-extension"),
    (0x00, 0xD0, 0xD2, "reference-types"),
    (0x00, 0xD3, 0xD3, "gc"),
    (0x00, 0xD4, 0xD6, "function-references"),
    (0xFB, 0x00, 0xFFFF, "gc"),
    (0xFC, 0x00, 0x07, "nontrapping-fptoint"),
    (0xFC, 0x08, 0x0E, "bulk-memory"),
    (0xFC, 0x0F, 0x11, "reference-types"),
    (0xFC, 0x13, 0x16, "wide-arithmetic"),
    (0xFC, 0x30, 0x31, "half-precision"),
    (0xFD, 0x00, 0xFF, "simd"),
    (0xFD, 0x100, 0xFFFF, "relaxed-simd"),
    (0xFE, 0x00, 0xFFFF, "threads"),
)


def _feature(prefix: int, opcode: int) -> str:
    for at, first, last, feature in _RANGES:
        if prefix == at and first <= opcode <= last:
            return feature
    return UNKNOWN


def _table() -> dict[str, str]:
    table: dict[str, str] = {}
    for (prefix, opcode), (name, _) in OPCODES.items():
        # One mnemonic may have two encodings (`select` with and without types): keep the older feature,
        # the reader reports the newer encoding by itself.
        table.setdefault(name, _feature(prefix, opcode))
    return table


OPCODE_FEATURES: dict[str, str] = _table()


def feature_of(mnemonic: str) -> str:
    """Return the feature that brought an opcode, `mvp`, or `unknown`."""
    return OPCODE_FEATURES.get(mnemonic, UNKNOWN)
