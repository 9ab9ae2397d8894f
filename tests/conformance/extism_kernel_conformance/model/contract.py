"""The contract as a model: what a kernel must answer, without how it does so.

Where the contract fixes a handle, the model predicts it; where it leaves a choice, the model looks at what is
promised of any choice, and goes on with the kernel's. So it judges kernels with another layout, too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from extism_kernel_conformance.model.alloc import AllocRules
from extism_kernel_conformance.model.machine import PAGE, KernelTrapError
from extism_kernel_conformance.model.memory import Blocks
from extism_kernel_conformance.model.operations import Place, number

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

    from extism_kernel_conformance.model.machine import Machine
    from extism_kernel_conformance.model.operations import Fault, Operation, Step

PIECE = 64
"""Most bytes that one step of a case compares."""
CHANGE_REGISTERS = frozenset(("input_set", "output_set", "error_set", "free", "reset"))
GETTERS = ("input_offset", "input_length", "output_offset", "output_length", "error_get")


class Model(AllocRules):
    """What is known of one instance. `play` makes one operation and judges it."""

    def __init__(
        self,
        machine: Machine,
        limit: int,
        *,
        bottom: int,
        is_exact: bool,
        forgiven: AbstractSet[Fault] = frozenset(),
    ) -> None:
        super().__init__(machine, limit, bottom=bottom, is_exact=is_exact, forgiven=forgiven)
        self._dispatch = {
            "alloc": self._alloc,
            "free": self._free,
            "length": self._length,
            "store_u8": self._store,
            "store_u64": self._store,
            "load_u8": self._load,
            "load_u64": self._load,
            "input_load_u8": self._input_load,
            "input_load_u64": self._input_load,
            "input_set": self._set_range,
            "output_set": self._set_range,
            "error_set": self._set_error,
            "reset": self._reset,
            "write": self._write,
            "grow": self._grow,
        }

    def play(self, operation: Operation) -> None:
        """Play one operation and judge what it did. Raises BrokenPromiseError, or ForgivenError."""
        self.machine.refuel()
        try:
            self._dispatch[operation.name](operation)
        except KernelTrapError as trap:
            self.fail_trap(operation.name, trap)
        if operation.name in CHANGE_REGISTERS:
            self._check_registers()

    def applies(self, operation: Operation) -> bool:
        """Return whether an operation can be played: its blocks are known, and a write is in a live one."""
        if not operation.labels <= self.handles.keys():
            return False
        if operation.name != "write":
            return True
        address, length, _ = map(self.address, operation.args)
        return next(self.blocks.meeting(address, address + length), None) == (address, address + length)

    def check(self) -> None:
        """Judge all that can be seen: registers, blocks, their bytes, and the lengths of those that ended."""
        self.machine.refuel()
        self._check_registers()
        blocks = self.blocks
        for handle, length in blocks.lengths.items():
            self.is_alive(handle)
            seen = self.machine.read(handle, length)
            wanted = blocks.content[handle : handle + length]
            if seen != wanted:
                at = next(n for n in range(length) if n >= len(seen) or seen[n] != wanted[n])
                self._show_content("A-1", "the bytes of a live block change", handle + at, handle + length)
        for start, end in self.pinned:
            if self.machine.read(start, end - start) != blocks.content[start:end]:
                self._show_content("R-3", "the bytes of the output change", start, end)
        for handle in self.ended - blocks.lengths.keys():
            if self.look("length", handle):
                self._show_length("an ended block has a length", handle, 0)
        if self.machine.read(0, 8) != bytes(8):
            self.fail("M-3", "bytes 0 to 7 change", steps=[_read(0, bytes(8))])
        owned = self.look("memory_bytes")
        if owned != self.owned * PAGE:
            step: Step = {"call": "memory_bytes", "expect": self.owned * PAGE}
            self.fail("A-8", "memory_bytes is not the end of the last own page", steps=[step])

    def _show_content(self, clause: str, kind: str, start: int, end: int) -> None:
        wanted = bytes(self.blocks.content[start : min(end, start + PIECE)])
        self.fail(clause, kind, steps=[_read(self.name(start).expression(), wanted)])

    def _show_length(self, kind: str, handle: int, wanted: int) -> None:
        step: Step = {"call": "length", "args": [self.name(handle).expression()], "expect": wanted}
        self.fail("A-6", kind, steps=[step])

    def is_alive(self, handle: int) -> bool:
        """Return whether a handle is a live block's; whether it is dead only the kernel knows (A-6)."""
        length = self.look("length", handle)
        wanted = self.blocks.lengths.get(handle, 0)
        if length == wanted:
            return length != 0
        if length != 0 or handle not in self.blocks.doubtful:
            self._show_length("a length is wrong", handle, wanted)
            return wanted != 0
        return False

    def _length(self, operation: Operation) -> None:
        self.is_alive(self.address(operation.args[0]))

    def _free(self, operation: Operation) -> None:
        handle = self.address(operation.args[0])
        is_alive = self.is_alive(handle)
        self.machine.call("free", handle)
        if is_alive:
            self._end_or_hold(handle)
        self.is_alive(handle)

    def _end_or_hold(self, handle: int) -> None:
        """End a block unless a register holds it; then it ends when that changes (A-7)."""
        if handle == self.output[0]:
            self.held["output"] = handle
        elif handle == self.error:
            self.held["error"] = handle
        else:
            if self.ranges is not None:
                self.ranges.free(handle, self.blocks.lengths[handle])
            self.blocks.remove(handle)
            self.ended.add(handle)
            if self.input[0] == handle:
                self.input = (0, 0)

    def _let_go(self, register: str) -> None:
        """End the block that a register held before it changed, unless the other holds it too."""
        handle = self.held.pop(register, 0)
        if handle in self.blocks.lengths and handle not in self.dead_when_held:
            self._end_or_hold(handle)

    def _note_dead(self, register: str) -> None:
        handle = self.held.get(register, 0)
        self.dead_when_held = set()
        if handle in self.blocks.doubtful and not self.is_alive(handle):
            self.dead_when_held.add(handle)

    def _set_range(self, operation: Operation) -> None:
        start, length = self.address(operation.args[0]), self.address(operation.args[1])
        register = operation.name.partition("_")[0]
        if register == "output":
            self._note_dead(register)
        self.machine.call(operation.name, start, length)
        top, is_inside = self.blocks.top, self.is_handed_out(start) or start == self.blocks.top
        if (start, length) != (0, 0) and not (top and is_inside and start + length <= top):
            return
        if register == "input":
            self.input, self.input_name = (start, length), operation.args[0]
            return
        self.output, self.output_name = (start, length), operation.args[0]
        self._let_go("output")
        self.pinned = list(self.blocks.meeting(start, start + length))

    def _set_error(self, operation: Operation) -> None:
        handle = self.address(operation.args[0])
        self._note_dead("error")
        is_accepted = handle == 0 or self.is_alive(handle)
        self.machine.call("error_set", handle)
        if is_accepted:
            self.error, self.error_name = handle, operation.args[0]
            self._let_go("error")

    def _check_registers(self) -> None:
        seen = [self.look(name) for name in GETTERS]
        wanted = [*self.input, *self.output, self.error]
        if not self.input[1]:
            wanted[0] = seen[0]  # where an empty input lies, no one needs to know
        if seen == wanted:
            return
        names = (self.input_name, 0, self.output_name, 0, self.error_name)
        for getter, place, found, value in zip(GETTERS, names, seen, wanted, strict=True):
            if found != value:
                expected = place.expression() if isinstance(place, Place) and value else number(value)
                step: Step = {"call": getter, "expect": expected}
                clause = "R-2" if getter == "error_get" else "R-1"
                self.fail(clause, f"{getter} is wrong", steps=[step])
        self.input, self.output, self.error = (seen[0], seen[1]), (seen[2], seen[3]), seen[4]

    def _store(self, operation: Operation) -> None:
        address, value = self.address(operation.args[0]), self.address(operation.args[1])
        data = value.to_bytes(8, "little")[: 1 if operation.name == "store_u8" else 8]
        is_inside = self.is_handed_out(address)
        before = self.machine.read(address, 8) if address < self.limit * PAGE else b""
        self.machine.call(operation.name, address, value)
        count = min(len(data), self.blocks.top - address) if is_inside else 0
        wanted = data[:count] + before[count:]
        if self.machine.read(address, 8) != wanted and before:
            kind = "a store does not write what it should" if is_inside else "a store writes outside"
            self.fail(
                "M-2" if is_inside and len(data) > 1 else "M-1",
                kind,
                steps=[_read(self.write(operation), wanted)],
            )
        if is_inside:
            self.blocks.store(address, data)

    def _load(self, operation: Operation) -> None:
        address = self.address(operation.args[0])
        width = 1 if operation.name == "load_u8" else 8
        value = self.machine.call(operation.name, address)
        top = self.blocks.top
        if self.foreign and self.bottom <= address < self.first:
            return  # where the first block of this life begins is the kernel's own affair
        wanted = 0
        if self.is_handed_out(address) and address + width <= top:
            wanted = int.from_bytes(self.machine.read(address, width), "little")
        if value != wanted:
            clause = "M-2" if self.is_handed_out(address) and address + width > top else "M-1"
            self.fail(clause, f"{operation.name} is wrong", expect=number(wanted))

    def _input_load(self, operation: Operation) -> None:
        offset = self.address(operation.args[0])
        width = 1 if operation.name.endswith("u8") else 8
        start, length = self.input
        wanted = 0
        if offset + width <= length:
            wanted = int.from_bytes(self.machine.read(start + offset, width), "little")
        if self.machine.call(operation.name, offset) != wanted:
            self.fail("M-4", f"{operation.name} is wrong", expect=number(wanted))

    def _write(self, operation: Operation) -> None:
        address, length, fill = map(self.address, operation.args)
        data = bytes((fill,)) * length
        self.machine.write(address, data)
        self.blocks.content[address : address + length] = data

    def _grow(self, operation: Operation) -> None:
        before = self.machine.pages()
        self.machine.grow(self.address(operation.args[0]))
        if self.machine.pages() > before:
            self.foreign.append((before * PAGE, self.machine.pages() * PAGE))

    def _reset(self, _: Operation) -> None:
        self.machine.call("reset")
        self.ended |= self.blocks.lengths.keys()
        self.blocks = Blocks(self.limit * PAGE)
        self.held.clear()
        self.pinned.clear()
        self.input = self.output = (0, 0)
        self.error = self.first = 0
        self.start_life()


def _read(address: int | str, wanted: bytes) -> Step:
    return {"read": address, "len": len(wanted), "expect": wanted.hex()}
