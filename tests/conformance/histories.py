"""Writes cases/churn.json: long random histories that a kernel may answer in one way only.

`python tests/conformance/histories.py` writes the same bytes each time. A history is played on a model of the
contract while it is written, so that each step says what has to come. The cases are data like all others; who
runs them needs nothing of this.
"""

from __future__ import annotations

import json
import random
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

CASES = Path(__file__).resolve().parent / "cases" / "churn.json"
Step = dict[str, object]

LENGTHS = (24, 56, 88, 120, 184, 248, 376, 504, 760, 1016)
"""Lengths of the blocks of a full memory. They differ by more than a kernel may round up."""
SLACK = 7
"""A request this much shorter still needs all of a range."""
FILL = [65536, 32768, 16384, 8192, 4096, 2048, 1024, 512, 256, 128, 64, 32, 16, 8, 4, 2, 1]


@dataclass
class Slot:
    """Space between two blocks that are never freed: one block, live, held by a register, or free."""

    name: str
    capacity: int
    length: int
    fill: int
    state: str = "live"


@dataclass
class FullMemory:
    """Memory without an unused byte: a request takes the oldest slot that is long enough (A-5)."""

    random: random.Random
    fuel: int | None
    slots: list[Slot] = field(default_factory=list)
    free: list[Slot] = field(default_factory=list)
    """The oldest first."""
    held: dict[str, Slot] = field(default_factory=dict)
    """The block whose handle a register has."""

    def steps(self, count: int) -> Iterator[Step]:
        """Yield the steps of a history."""
        for number in range(4 * len(LENGTHS)):
            capacity = LENGTHS[number % len(LENGTHS)]
            slot = Slot(f"s{number}", capacity, capacity, number % 200 + 1)
            self.slots.append(slot)
            yield {"call": "alloc", "args": [capacity], "bind": slot.name, "expect": {"ne": 0}}
            yield write(slot)
            yield {"call": "alloc", "args": [8], "expect": {"ne": 0}}
        yield {"for": "n", "in": FILL, "steps": [{"repeat": 4, "steps": [{"call": "alloc", "args": ["$n"]}]}]}
        actions = (self._free, self._free, self._alloc, self._alloc, self._look, self._hold, self._let_go)
        for _ in range(count):
            yield from self.random.choice(actions)()
        for slot in self.slots:
            yield from self._check(slot)

    def _call(self, name: str, *args: object, **more: object) -> Step:
        return {
            "call": name,
            "args": list(args),
            **({} if self.fuel is None else {"fuel": self.fuel}),
            **more,
        }

    def _free(self) -> Iterator[Step]:
        slot = self.random.choice(self.slots)
        if slot.state == "live":
            yield from self._check(slot)
        yield self._call("free", f"${slot.name}")
        if slot.state == "live" and slot in self.held.values():
            slot.state = "held"
        elif slot.state == "live":
            slot.state = "free"
            self.free.append(slot)

    def _alloc(self) -> Iterator[Step]:
        fitting = [slot for at, slot in enumerate(self.free) if self._is_first(at)]
        if not fitting:
            return
        slot = self.random.choice(fitting)
        self.free.remove(slot)
        slot.state, slot.length = "live", slot.capacity - self.random.randint(0, SLACK)
        slot.fill = self.random.randint(1, 255)
        yield self._call("alloc", slot.length, expect=f"${slot.name}")
        yield write(slot)

    def _is_first(self, at: int) -> bool:
        """Whether no older slot can serve a request that needs all of this one."""
        return all(older.capacity < self.free[at].capacity for older in self.free[:at])

    def _look(self) -> Iterator[Step]:
        slot = self.random.choice(self.slots)
        yield from self._check(slot)
        yield self._call("length", f"${slot.name}+8", expect=0)
        yield self._call("free", f"${slot.name}+8")

    def _hold(self) -> Iterator[Step]:
        live = [slot for slot in self.slots if slot.state == "live"]
        if live:
            slot = self.random.choice(live)
            if self.random.random() < 0.5:
                yield from self._change("error", slot, "error_set", f"${slot.name}")
            else:
                yield from self._change("output", slot, "output_set", f"${slot.name}", slot.length)

    def _let_go(self) -> Iterator[Step]:
        register = self.random.choice(("error", "output"))
        yield from self._change(register, None, f"{register}_set", *([0] if register == "error" else [0, 0]))

    def _change(self, register: str, slot: Slot | None, name: str, *args: object) -> Iterator[Step]:
        yield self._call(name, *args)
        before = self.held.pop(register, None)
        if slot is not None:
            self.held[register] = slot
        if before is not None and before.state == "held" and before not in self.held.values():
            before.state = "free"
            self.free.append(before)

    def _check(self, slot: Slot) -> Iterator[Step]:
        is_there = slot.state in {"live", "held"}
        yield self._call("length", f"${slot.name}", expect=slot.length if is_there else 0)
        if is_there:
            yield {"read": f"${slot.name}", "len": slot.length, "expect_fill": f"{slot.fill:02x}"}


def write(slot: Slot) -> Step:
    """Fill a slot's block."""
    return {"write": f"${slot.name}", "fill": f"{slot.fill:02x}", "len": slot.length}


@dataclass
class Lives:
    """Calls that grow memory, beside foreign pages: blocks keep their bytes and show no older ones."""

    random: random.Random
    longest: int
    blocks: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Name to length and fill."""
    made: int = 0
    has_freed: bool = False

    def steps(self, lives: int, count: int) -> Iterator[Step]:
        """Yield the steps of a history."""
        foreign = 0
        for life in range(lives):
            for _ in range(count):
                yield from self.random.choice(
                    (self._alloc, self._alloc, self._free, self._look, self._stale)
                )()
            if life % 3 == 1:
                yield {"pages": {"any": True}, "bind": "p"}
                yield {"grow": 1, "expect": "$p"}
                yield {"let": f"f{foreign}", "be": "$p*65536"}
                yield {"write": f"$f{foreign}", "fill": "f7", "len": 65536}
                foreign += 1
            for name in list(self.blocks):
                yield from self._check(name)
            yield {"call": "reset"}
            for name in list(self.blocks)[:3]:
                yield {"call": "length", "args": [f"${name}"], "expect": 0}
            self.blocks.clear()
            self.has_freed = False
            for number in range(foreign):
                yield {"read": f"$f{number}", "len": 65536, "expect_fill": "f7"}

    def _alloc(self) -> Iterator[Step]:
        name = f"b{self.made}"
        length = self.random.choice((self.random.randint(1, 60), self.random.randint(1, self.longest)))
        self.made += 1
        first = {"eq": "$b0"} if self.made > 1 and not self.blocks and not self.has_freed else {"ne": 0}
        yield {"call": "alloc", "args": [length], "bind": name, "expect": first}
        if not self.has_freed:
            yield {"read": f"${name}", "len": length, "expect_fill": "00"}
        self.blocks[name] = (length, self.random.randint(1, 255))
        yield {"write": f"${name}", "fill": f"{self.blocks[name][1]:02x}", "len": length}

    def _free(self) -> Iterator[Step]:
        if len(self.blocks) > 1:
            name = self.random.choice(list(self.blocks))
            yield from self._check(name)
            yield {"call": "free", "args": [f"${name}"]}
            yield {"call": "length", "args": [f"${name}"], "expect": 0}
            del self.blocks[name]
            self.has_freed = True

    def _look(self) -> Iterator[Step]:
        if self.blocks:
            yield from self._check(self.random.choice(list(self.blocks)))

    def _stale(self) -> Iterator[Step]:
        """Set a register to a live block, through the kernel, and look at it."""
        if self.blocks:
            name = self.random.choice(list(self.blocks))
            length, fill = self.blocks[name]
            yield {"call": "input_set", "args": [f"${name}", length]}
            yield {"call": "input_load_u8", "args": [length - 1], "expect": fill}
            yield {"call": "input_load_u8", "args": [length], "expect": 0}
            yield {"call": "error_set", "args": [f"${name}"]}
            yield {"call": "error_get", "expect": f"${name}"}
            yield {"call": "error_set", "args": [0]}

    def _check(self, name: str) -> Iterator[Step]:
        length, fill = self.blocks[name]
        yield {"call": "length", "args": [f"${name}"], "expect": length}
        yield {"read": f"${name}", "len": length, "expect_fill": f"{fill:02x}"}


def make_cases() -> list[dict[str, object]]:
    """Return the cases, the same each time."""
    seeds = {name: random.Random(name) for name in ("one", "two", "cost", "short", "long")}  # noqa: S311 - no secret
    clauses = ["A-1", "A-5", "A-6", "A-7", "R-3"]
    lives = ["A-1", "A-2", "A-3", "A-6", "A-7", "L-2"]
    return [
        {
            **_head("oldest-first-in-full-memory", clauses, 3),
            "title": "in full memory 40 blocks come and go; a request takes the oldest range that is enough",
            "why": "one wrong link shows only many steps later",
            "steps": list(FullMemory(seeds["one"], None).steps(400)),
        },
        {
            **_head("oldest-first-in-full-memory-again", clauses, 3),
            "title": "the same with another history of 40 blocks",
            "why": "what one history does not touch another may",
            "steps": list(FullMemory(seeds["two"], None).steps(400)),
        },
        {
            **_head("every-call-is-bounded", ["C-1", "A-5"], 3),
            "title": "no call of a history of 40 blocks in full memory costs more than 2,000 instructions",
            "why": "the worst call of a long history counts",
            "needs": ["fuel"],
            "steps": list(FullMemory(seeds["cost"], 2000).steps(300)),
        },
        {
            **_head("lives-of-short-blocks", lives),
            "title": "twelve calls with short blocks, beside foreign pages, show no byte of before",
            "why": "each call begins where others left bytes and pages",
            "steps": list(Lives(seeds["short"], 2000).steps(12, 30)),
        },
        {
            **_head("lives-of-long-blocks", lives),
            "title": "nine calls with blocks of up to 60 KiB, beside foreign pages, show no byte of before",
            "why": "growth, foreign pages and resets meet in every order",
            "steps": list(Lives(seeds["long"], 60000).steps(9, 24)),
        },
    ]


def _head(promise: str, clauses: list[str], pages: int | None = None) -> dict[str, object]:
    head: dict[str, object] = {"id": f"churn/{promise}", "since": "1.0.0", "spec": clauses, "level": "must"}
    return head if pages is None else {**head, "kernel": {"max_pages": pages}}


def render() -> str:
    """Return the file: a line for each step."""
    cases = []
    for case in make_cases():
        steps = case.pop("steps")
        assert isinstance(steps, list)
        head = ", ".join(f"{json.dumps(key)}: {json.dumps(value)}" for key, value in case.items())
        lines = ",\n".join(f"      {json.dumps(step)}" for step in steps)
        cases.append(f'    {{{head},\n     "steps": [\n{lines}\n     ]}}')
    return '{\n  "cases": [\n' + ",\n".join(cases) + "\n  ]\n}\n"


if __name__ == "__main__":
    CASES.write_text(render(), encoding="utf-8")
