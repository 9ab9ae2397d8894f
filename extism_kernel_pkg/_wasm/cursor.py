"""A position in bytes of the binary format, and the numbers, names and vectors that are read there."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

MORE, SIGN, LOW = 0x80, 0x40, 0x7F
"""LEB128: the bit that says another byte follows, the sign in the last byte, the bits of the number."""


class InvalidModuleError(ValueError):
    """Bytes are not as the binary format says; `offset` is the place, in bytes from the module's start."""

    def __init__(self, message: str, offset: int) -> None:
        super().__init__(f"{message} at byte {offset:#x}")
        self.message = message
        self.offset = offset

    def __reduce__(self) -> tuple[type[InvalidModuleError], tuple[str, int]]:
        """Let the error cross processes."""
        return type(self), (self.message, self.offset)


class Cursor:
    """Reads forward from `at` and never past `end`; all reads raise `InvalidModuleError` with the place."""

    __slots__ = ("at", "data", "end")

    def __init__(self, data: bytes, at: int = 0, end: int | None = None) -> None:
        self.data = data
        self.at = at
        self.end = len(data) if end is None else end

    def byte(self) -> int:
        """Read one byte."""
        at = self.at
        if at >= self.end:
            raise InvalidModuleError("ends where another byte should be", at)
        self.at = at + 1
        return self.data[at]

    def skip(self, count: int, what: str) -> int:
        """Pass `count` bytes and return the offset of the first."""
        start = self.at
        if count > self.end - start:
            raise InvalidModuleError(
                f"{what} of {count} bytes does not fit the {self.end - start} that are left", start
            )
        self.at = start + count
        return start

    def u32(self) -> int:
        """Read an unsigned number of 32 bits; longer encodings than needed are allowed up to five bytes."""
        return self._unsigned(32)

    def u64(self) -> int:
        """Read an unsigned number of 64 bits."""
        return self._unsigned(64)

    def s32(self) -> int:
        """Read a signed number of 32 bits."""
        return self._signed(32)

    def s33(self) -> int:
        """Read a signed number of 33 bits, the encoding of a heap type."""
        return self._signed(33)

    def s64(self) -> int:
        """Read a signed number of 64 bits."""
        return self._signed(64)

    def _unsigned(self, bits: int) -> int:
        start = self.at
        value, _ = self._leb(bits)
        if value >> bits:
            raise InvalidModuleError(f"a number has more than {bits} bits", start)
        return value

    def _signed(self, bits: int) -> int:
        start = self.at
        value, shift = self._leb(bits)
        if value >> (shift - 1) & 1:
            value -= 1 << shift
        if not -(1 << bits - 1) <= value < 1 << bits - 1:
            raise InvalidModuleError(f"a number has more than {bits} bits", start)
        return value

    def _leb(self, bits: int) -> tuple[int, int]:
        """Return the bits of a LEB128 number and how many they are."""
        value, shift, start = 0, 0, self.at
        while shift < bits:
            byte = self.byte()
            value |= (byte & LOW) << shift
            shift += 7
            if byte < MORE:
                return value, shift
        raise InvalidModuleError(f"a number of {bits} bits takes more than {(bits + 6) // 7} bytes", start)

    def count(self, what: str) -> int:
        """Read the length of a vector whose items take at least a byte each."""
        start = self.at
        number = self.u32()
        if number > self.end - self.at:
            raise InvalidModuleError(f"{number} {what} do not fit the {self.end - self.at} bytes left", start)
        return number

    def vector(self, what: str) -> Iterator[int]:
        """Yield the index of each item of a vector; the caller reads the item before it asks for the next."""
        yield from range(self.count(what))

    def name(self) -> str:
        """Read a name: its length in bytes, then UTF-8."""
        size = self.u32()
        start = self.skip(size, "a name")
        try:
            return str(self.data[start : self.at], "utf-8")
        except UnicodeDecodeError:
            raise InvalidModuleError("a name is not UTF-8", start) from None

    def finish(self, what: str) -> None:
        """Raise unless everything up to `end` was read."""
        if self.at != self.end:
            raise InvalidModuleError(f"{self.end - self.at} bytes are left over in {what}", self.at)
