"""The contract as a model in Python: what a kernel must answer, without how it does so."""

from __future__ import annotations

from bisect import bisect
from dataclasses import dataclass, field
from typing import Protocol

from tests.integration.kernel_support import GETTERS, PAGE

SLACK = 8192
"""Bytes that the kernel may need beside the blocks, for a few of them."""
PER_BLOCK = 64
HINT = 8
"""Bytes before a block that a store must not touch, or the block's handle may be dead (A-6)."""


class Machine(Protocol):
    """A kernel somewhere: the module in a runtime, or its native twin."""

    def call(self, name: str, *args: int) -> int:
        """Return what an export returns, 0 for nothing."""

    def read(self, address: int, length: int) -> bytes:
        """Return bytes of memory, as a host reads them."""

    def pages(self) -> int:
        """Return the size of memory."""

    def grow(self, delta: int) -> None:
        """Grow memory, as a host does."""

    def scan(self) -> None:
        """Judge what nobody but this machine sees of its kernel."""


@dataclass
class Model:
    """A kernel and what is known of it. Every method makes one call and judges what it did.

    `live` holds each live block's bytes, `order` their handles in order; `doubtful` are those whose header a
    store touched. `held` has, for the output and for the error, the block that was freed while the register
    described it. `bottom` is the first handle ever, `top` the end of what was handed out since `reset`.
    """

    kernel: Machine
    limit: int
    bottom: int
    top: int = 0
    live: dict[int, bytearray] = field(default_factory=dict)
    order: list[int] = field(default_factory=list)
    doubtful: set[int] = field(default_factory=set)
    held: dict[str, int] = field(default_factory=dict)
    ended: set[int] = field(default_factory=set)
    foreign: list[tuple[int, int]] = field(default_factory=list)
    input: tuple[int, int] = (0, 0)
    output: tuple[int, int] = (0, 0)
    error: int = 0
    handed_out: int = 0

    def alloc(self, length: int) -> None:
        handle = self.kernel.call("alloc", length)
        if handle == 0:
            assert length == 0 or not self.must_fit(length), f"alloc({length}) was refused"
            return
        assert length != 0
        assert handle % 8 == 0
        assert handle >= self.bottom
        end = handle + length
        assert end <= self.kernel.pages() * PAGE
        if not self.handed_out:
            assert handle == self.bottom or self.foreign, "L-2: the very first handle again"
        at = bisect(self.order, handle)
        near = self.order[max(0, at - 1) : at + 1]  # live blocks are apart, so the two beside it will do
        taken = [(start, start + len(self.live[start])) for start in near]
        if self.output[0]:
            taken.append((self.output[0], sum(self.output)))
        for start, stop in (*taken, *self.foreign):
            assert end <= start or stop <= handle, f"[{handle}, {end}) meets [{start}, {stop})"
        content = bytearray(self.kernel.read(handle, length))
        if handle >= self.top:
            assert content == bytes(length), "A-2: bytes not used in this life are zero"
            self.check_passed(self.top or self.bottom, handle)
        self.live[handle] = content
        self.order.insert(at, handle)
        self.ended.discard(handle)
        self.doubtful.discard(handle)
        self.handed_out += 1
        self.top = max(self.top, end)

    def check_passed(self, start: int, stop: int) -> None:
        """What is passed over, because it is too small, can be loaded, so it shows nothing.

        Others' pages, and what is given up between them, show whatever is there (A-3).
        """
        stop -= PER_BLOCK // 2  # the headers of the new block and of the bytes before it
        parts = [(start, stop)]
        if self.foreign:
            parts = [(start, min(self.foreign[0][0], stop)), (max(start, self.foreign[-1][1]), stop)]
        for low, high in parts:
            if low < high:
                passed = self.kernel.read(low, high - low)
                assert passed == bytes(high - low), "L-2: bytes that are passed over show nothing"

    def must_fit(self, length: int) -> bool:
        room = self.limit * PAGE - self.top - SLACK - self.limit * PAGE // 256
        return not self.foreign and length <= room - PER_BLOCK * self.handed_out

    def is_alive(self, handle: int) -> bool:
        """Say whether a handle is that of a live block and not dead, which only the kernel knows (A-6)."""
        if handle not in self.live:
            return False
        length = self.kernel.call("length", handle)
        assert length == len(self.live[handle]) or (length == 0 and handle in self.doubtful)
        return length != 0

    def free(self, handle: int) -> None:
        is_alive = self.is_alive(handle)
        self.kernel.call("free", handle)
        if is_alive:
            self.end_or_hold(handle)
            assert self.kernel.call("length", handle) == len(self.live.get(handle, b""))
        else:
            assert self.kernel.call("length", handle) == 0

    def end_or_hold(self, handle: int) -> None:
        """End a block unless a register holds it; then it ends when that changes (A-7)."""
        if handle == self.output[0]:
            self.held["output"] = handle
        elif handle == self.error:
            self.held["error"] = handle
        else:
            self.end(handle)

    def end(self, handle: int) -> None:
        del self.live[handle]
        self.order.remove(handle)
        self.ended.add(handle)
        if self.input[0] == handle:
            self.input = (0, 0)

    def alive_held(self, register: str) -> int:
        """Return the block that ends when this register changes, 0 for none."""
        handle = self.held.get(register, 0)
        return handle if self.is_alive(handle) else 0

    def let_go(self, register: str, handle: int) -> None:
        """End the block that a register held, unless the other holds it too."""
        self.held.pop(register, None)
        if handle:
            self.end_or_hold(handle)

    def set_input(self, start: int, length: int) -> None:
        self.kernel.call("input_set", start, length)
        if self.accepts(start, length):
            self.input = (start, length)

    def set_output(self, start: int, length: int) -> None:
        held = self.alive_held("output")
        self.kernel.call("output_set", start, length)
        if self.accepts(start, length):
            self.output = (start, length)
            self.let_go("output", held)

    def set_error(self, handle: int) -> None:
        held = self.alive_held("error")
        is_accepted = handle == 0 or self.is_alive(handle)
        self.kernel.call("error_set", handle)
        if is_accepted:
            self.error = handle
            self.let_go("error", held)

    def accepts(self, start: int, length: int) -> bool:
        if (start, length) == (0, 0):
            return True
        return self.handed_out > 0 and self.bottom <= start and start + length <= self.top

    def store_u8(self, address: int, value: int) -> None:
        self.kernel.call("store_u8", address, value)
        self.note(address, bytes([value & 0xFF]))

    def store_u64(self, address: int, value: int) -> None:
        self.kernel.call("store_u64", address, value)
        self.note(address, value.to_bytes(8, "little"))

    def note(self, address: int, data: bytes) -> None:
        if address < self.bottom or address >= self.top:
            return
        end = min(address + len(data), self.top)
        for handle, content in self.live.items():
            if address < handle and end > handle - HINT:
                self.doubtful.add(handle)
            start, stop = max(address, handle), min(end, handle + len(content))
            if start < stop:
                content[start - handle : stop - handle] = data[start - address : stop - address]

    def grow_foreign(self) -> None:
        before = self.kernel.pages()
        if before < self.limit:
            self.kernel.grow(1)
            self.foreign.append((before * PAGE, (before + 1) * PAGE))

    def reset(self) -> None:
        self.kernel.call("reset")
        self.ended |= self.live.keys()
        self.live.clear()
        self.order.clear()
        self.held.clear()
        self.doubtful.clear()
        self.input, self.output, self.error = (0, 0), (0, 0), 0
        self.top = self.handed_out = 0

    def check_registers(self) -> None:
        """Hold every register of the kernel against the model."""
        input_offset, input_length, *others = (self.kernel.call(name) for name in GETTERS)
        assert input_length == self.input[1]
        if input_length:
            assert input_offset == self.input[0]
        assert others == [*self.output, self.error]

    def check(self) -> None:
        """Hold every register, length and content of the kernel against the model."""
        self.check_registers()
        for handle, content in self.live.items():
            self.is_alive(handle)
            assert self.kernel.read(handle, len(content)) == content
        for handle in self.ended - self.live.keys():
            assert self.kernel.call("length", handle) == 0
        assert self.kernel.read(0, 8) == bytes(8)
        self.kernel.scan()

    def check_loads(self, address: int) -> None:
        """M-1, M-2, M-4: loads at an address give what lies there, or 0 outside."""
        inside = self.bottom <= address < self.top
        if not inside and address < self.bottom:
            return  # where the first possible block begins is the kernel's own affair
        whole = address + 8 <= self.top
        want_u8 = self.kernel.read(address, 1)[0] if inside else 0
        want_u64 = int.from_bytes(self.kernel.read(address, 8), "little") if inside and whole else 0
        assert self.kernel.call("load_u8", address) == want_u8
        assert self.kernel.call("load_u64", address) == want_u64
        start, length = self.input
        for offset in (0, length // 2, max(0, length - 8), length, (1 << 64) - 8):
            fits_u8, fits_u64 = offset < length, offset + 8 <= length
            want_u8 = self.kernel.read(start + offset, 1)[0] if fits_u8 else 0
            want_u64 = int.from_bytes(self.kernel.read(start + offset, 8), "little") if fits_u64 else 0
            assert self.kernel.call("input_load_u8", offset) == want_u8
            assert self.kernel.call("input_load_u64", offset) == want_u64
