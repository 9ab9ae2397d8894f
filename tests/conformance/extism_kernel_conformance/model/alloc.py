"""What the model knows of one instance, and how it judges `alloc`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from extism_kernel_conformance.model.machine import PAGE, KernelTrapError
from extism_kernel_conformance.model.memory import GRAIN, Blocks
from extism_kernel_conformance.model.operations import U64, BrokenPromiseError, ForgivenError, Place
from extism_kernel_conformance.model.ranges import HEADER, KEPT, RECORD, SMALL, TAIL, Ranges, size_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from collections.abc import Set as AbstractSet

    from extism_kernel_conformance.model.machine import Machine
    from extism_kernel_conformance.model.operations import Fault, Operation, Step

TRAP_CLAUSES = {
    "alloc": "A-1",
    "free": "A-7",
    "length": "A-6",
    "reset": "L-2",
    "input_set": "R-1",
    "input_offset": "R-1",
    "input_length": "R-1",
    "output_set": "R-1",
    "output_offset": "R-1",
    "output_length": "R-1",
    "error_set": "R-2",
    "error_get": "R-2",
    "memory_bytes": "A-8",
    "input_load_u8": "M-4",
    "input_load_u64": "M-4",
}
"""The clause that a trap of an export breaks; for those not named it is M-1."""
AMPLE_FROM = 64
"""Pages from which on growth may ask for an eighth more (A-3)."""
SLACK = 8192
"""Bytes that any kernel may need beside its blocks."""
PER_BLOCK = 64
"""The same for each block."""
LEAST_TAIL = 840
"""What lies behind the table, at least."""
TOUCHED = 256
"""Most bytes that a case fills to show that two blocks meet."""


class AllocRules:
    """The state of one instance as the contract knows it.

    `bottom` is the first handle of a fresh instance, `first` the first of this life. `owned` counts the
    pages up to the last one that the kernel owns. `pinned` are the bytes of blocks that the output
    describes. `ranges` is None where the contract leaves the choice of handles open.
    """

    def __init__(
        self,
        machine: Machine,
        limit: int,
        *,
        bottom: int,
        is_exact: bool,
        forgiven: AbstractSet[Fault] = frozenset(),
    ) -> None:
        self.machine = machine
        self._forgiven = forgiven
        self.limit = limit
        self.is_exact = is_exact
        self.blocks = Blocks(limit * PAGE)
        self.handles: dict[int, int] = {}
        self.ended: set[int] = set()
        self.held: dict[str, int] = {}
        self.dead_when_held: set[int] = set()
        self.foreign: list[tuple[int, int]] = []
        self.noticed: list[tuple[int, int]] = []
        self.pinned: list[tuple[int, int]] = []
        self.input = self.output = (0, 0)
        self.error = self.first = 0
        self.bottom = bottom
        self.input_name: Place | int = 0
        self.output_name: Place | int = 0
        self.error_name: Place | int = 0
        self.owned = machine.pages()
        self.seen_pages = self.owned
        self.ranges: Ranges | None = None
        self.count = 0
        self.splits = 0
        self.start_life()

    def start_life(self) -> None:
        """Forget which bytes are handed out."""
        self.ranges = Ranges(self.bottom) if self.is_exact else None
        self.count = self.splits = 0

    def fail(
        self,
        clause: str,
        kind: str,
        *,
        expect: object = None,
        steps: Sequence[Step] = (),
        is_final: bool = False,
    ) -> None:
        """Raise BrokenPromiseError, or ForgivenError if the fault is known and nothing can follow it.

        Returns if the fault is known and the program can go on with what the kernel did.
        """
        error = BrokenPromiseError(clause, kind, expect=expect, steps=steps)
        if error.fault not in self._forgiven:
            raise error
        if is_final:
            raise ForgivenError

    def look(self, name: str, *args: int) -> int:
        """Return what an export says, where only the model asks."""
        try:
            return self.machine.call(name, *args)
        except KernelTrapError as trap:
            self.fail_trap(name, trap, [self.call_step(name, *args)])
            raise

    def call_step(self, name: str, *args: int) -> Step:
        """Return a step that calls an export with addresses."""
        step: Step = {"call": name}
        return {**step, "args": [self.name(each).expression() for each in args]} if args else step

    def fail_trap(self, name: str, trap: KernelTrapError, steps: Sequence[Step] = ()) -> None:
        """Judge a call that trapped."""
        kind = f"{name} {'does not end' if trap.is_endless else 'traps'}"
        self.fail(TRAP_CLAUSES.get(name, "M-1"), kind, steps=steps, is_final=True)

    def address(self, argument: Place | int) -> int:
        """Return what an argument is at this moment. Raises KeyError for a block that was never asked for."""
        if isinstance(argument, int):
            return argument
        base = 0 if argument.label is None else self.handles[argument.label]
        return base + argument.offset & U64

    def name(self, address: int) -> Place:
        """Return an address by the nearest handle at or below it."""
        near = [(handle, label) for label, handle in self.handles.items() if 0 < handle <= address]
        if not near:
            return Place(None, address)
        handle, label = max(near)
        return Place(label, address - handle)

    def write(self, operation: Operation) -> int | str:
        """Return an operation's address as cases write it."""
        place = operation.args[0]
        return place.expression() if isinstance(place, Place) else place

    def is_handed_out(self, address: int) -> bool:
        """Return whether an address was handed out in this life."""
        return self.blocks.top > 0 and self.bottom <= address < self.blocks.top

    def _alloc(self, operation: Operation) -> None:
        (length,), label = operation.args, operation.label
        assert isinstance(length, int)
        assert label is not None
        before, chosen = self.machine.pages(), None
        may_use_unused = True
        if self.ranges is not None and 0 < length < self.limit * PAGE:
            chosen = self.ranges.find(length, self.output)
            chosen, may_use_unused = self._choose(length, chosen)
        handle = self.machine.call("alloc", length)
        after = self.machine.pages()
        self.handles[label] = handle
        if handle == 0 or length == 0:
            self._judge_refusal(length, handle, before, chosen)
            return
        own = Place(label).expression()
        if handle % 8:
            self.fail("A-1", "a handle is no multiple of 8", expect={"multiple_of": 8})
        if handle + length > after * PAGE:
            steps: list[Step] = [{"read": own, "len": length}]
            self.fail("A-1", "a block reaches past the end of memory", steps=steps, is_final=True)
        self._judge_first(handle, length)
        self._judge_neighbours(handle, length, own)
        self._judge_range(handle, length, chosen, may_use_unused=may_use_unused)
        if after > before:
            self._judge_growth(handle, length, after)
        self._judge_content(handle, length, label)
        self.ended.discard(handle)
        self.count += 1

    def _choose(self, length: int, found: int | None) -> tuple[int | None, bool]:
        """Return the free range that must be taken, if one must, and whether unused bytes may be (A-5)."""
        ranges = self.ranges
        assert ranges is not None
        if found is None:
            return None, True
        if length > SMALL and not ranges.is_small(found):
            return found, False
        start = ranges.last
        if self.noticed and start < self.noticed[-1][1] and start + size_of(length) > self.noticed[0][0]:
            start = self.noticed[-1][1] + HEADER
        end, room = start + size_of(length), self.owned * PAGE - RECORD * ranges.records
        if self.noticed:
            end = max(end, self.noticed[-1][1])
        if end + KEPT + TAIL + PER_BLOCK <= room:
            return None, True
        return found, end + KEPT + LEAST_TAIL <= room

    def _judge_refusal(self, length: int, handle: int, before: int, chosen: int | None) -> None:
        if handle:
            self.fail("A-1", "alloc(0) is not 0", expect=0, is_final=True)
        if length and (chosen is not None or self._must_fit(length)):
            self.fail("A-4", "alloc refuses what fits", expect={"ne": 0})
        if self.machine.pages() != before:
            step: Step = {"pages": before}
            self.fail("A-1", "a refusal grows memory", steps=[step])

    def _must_fit(self, length: int) -> bool:
        if self.foreign:
            return False
        top = max(self.blocks.top, self.bottom)
        if self.ranges is not None:
            records = (self.ranges.records + 3) * RECORD
            return max(top, self.ranges.last) + size_of(length) + records + KEPT + TAIL <= self.limit * PAGE
        room = self.limit * PAGE - top - SLACK - self.limit * PAGE // 256
        return length <= room - PER_BLOCK * self.count

    def _judge_first(self, handle: int, length: int) -> None:
        if self.first:
            return
        if handle != self.bottom and not self.foreign and length <= PAGE:
            expect = self.name(self.bottom).expression()
            self.fail("L-2", "the first handle does not come again", expect={"eq": expect})
        self.first = handle

    def _judge_neighbours(self, handle: int, length: int, own: int | str) -> None:
        end = handle + length
        met = [("A-1", "two live blocks meet", part) for part in self.blocks.meeting(handle, end)]
        start, stop = self.output[0], sum(self.output)
        if start and start < end and handle < stop:
            met.append(("R-3", "a block meets the output", (max(start, handle), min(stop, end))))
        for low, high in self.foreign:
            if low < end and handle < high:
                met.append(("A-3", "a block meets pages of others", (max(low, handle), min(high, end))))
        for clause, kind, (low, high) in met:
            count = min(high - low, TOUCHED)
            others = [place for place in self.handles.items() if 0 < place[1] <= low and place[1] != handle]
            base, name = max(((at, label) for label, at in others), default=(0, None))
            there = Place(name, low - base).expression()
            here = f"{own}+{low - handle}"
            steps: list[Step] = [
                {"write": there, "fill": "aa", "len": count},
                {"write": here, "fill": "55", "len": count},
                {"read": there, "len": count, "expect_fill": "aa"},
            ]
            self.fail(clause, kind, steps=steps, is_final=True)

    def _judge_range(self, handle: int, length: int, chosen: int | None, *, may_use_unused: bool) -> None:
        ranges = self.ranges
        if ranges is None:
            return
        if handle == chosen:
            room = self.owned * PAGE - RECORD * ranges.records - ranges.last
            is_tight = room < KEPT + TAIL
            self.splits += is_tight
            if self.splits > KEPT // RECORD // 2:  # how many records are left is not told
                self.ranges = None
            ranges.reuse(handle, length, has_record=True)
            return
        if chosen is not None and not may_use_unused:
            expect = self.name(chosen).expression()
            self.fail("A-5", "another range is taken", expect={"eq": expect})
            self.ranges = None
            return
        if handle < ranges.last:
            expect = self.name(self.blocks.top).expression()
            self.fail("A-5", "a range is taken too soon", expect={"ge": expect})
            self.ranges = None
            return
        ranges.take_unused(handle, length)

    def _judge_growth(self, handle: int, length: int, after: int) -> None:
        records = ((self.count + 8) * RECORD) if self.is_exact else self.count * PER_BLOCK + SLACK
        need = -(-(handle + length + GRAIN + records + KEPT + TAIL) // PAGE)
        most = max(need, self.seen_pages + 1 if not self.is_exact else need)
        owned = self.owned
        if owned >= AMPLE_FROM or not self.is_exact:
            most += max(owned // 8, 1)
        if after > most:
            step: Step = {"pages": {"le": most}}
            self.fail("A-3", "alloc grows memory by more than is needed", steps=[step])
        self.owned = after
        self.noticed = list(self.foreign)

    def _judge_content(self, handle: int, length: int, label: int) -> None:
        data = self.machine.read(handle, length)
        at = self.blocks.find_dirt(handle, data)
        if at is not None:
            count = min(PER_BLOCK, handle + length - at)
            step: Step = {"read": Place(label, at - handle).expression(), "len": count, "expect_fill": "00"}
            self.fail("A-2", "a new block shows what an earlier life left", steps=[step])
        self._judge_passed(handle)
        self.blocks.add(handle, data)

    def _judge_passed(self, handle: int) -> None:
        """What is passed over can be loaded, so it shows nothing; pages of others show what is there."""
        top = self.blocks.top or self.bottom
        stop = handle - 2 * GRAIN
        parts = [(top, stop)]
        if self.foreign:
            parts = [(top, min(stop, self.foreign[0][0])), (max(top, self.foreign[-1][1]), stop)]
        for low, high in parts:
            if low < high:
                data = self.machine.read(low, high - low)
                at = self.blocks.find_dirt(low, data)
                if at is not None:
                    step: Step = {"call": "load_u8", "args": [self.name(at).expression()], "expect": 0}
                    self.fail("L-2", "bytes that are passed over show something", steps=[step])
