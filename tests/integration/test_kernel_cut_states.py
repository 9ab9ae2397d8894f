"""L-3: the states in which the crate's tests cut calls take every branch of the finished module.

`kernel-src/tests/cuts/states.txt` has the states and the calls. Here they are played on the module, which
notes of each `if` and `br_if` whether it saw a zero and whether it saw anything else.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
import wasmtime

from build_tools.base.project import find_project
from build_tools.bench.metered import NamedModule, Workshop
from tests.integration.kernel_support import write

if TYPE_CHECKING:
    from collections.abc import Iterator

    from build_tools.bench.metered import Instance

BRANCHES = ("if", "br_if")
CHANGES = ("global.set", "memory.fill", "memory.copy")
PLENTY = 1 << 62
ASKED_TWICE = [
    "alloc 203 br_if: other",  # whether there is an output, of the second range of a bin
    "alloc 211 br_if: zero",  # whether a range was found, where one was
    "alloc 351 br_if: other",  # whether there is a place, after growth was granted
    "alloc 432 br_if: other",  # whether there is a record for the rest, after one was taken from the table
]


@dataclass(slots=True)
class Branches:
    """A module that notes its branches, and where they are."""

    data: bytes
    places: list[tuple[str, int, str]] = field(default_factory=list)
    """Function, instruction and kind; two bits each."""
    changes: str = ""
    """The global that says how often the state may still change."""


def note_branches(data: bytes) -> Branches:
    """Return a metered module that notes in the globals `mark-N` which way its branches went."""
    meter: Any = importlib.import_module("mutants.kernel_mutants.meter")
    code: Any = importlib.import_module("mutants.kernel_mutants.code").read_code(data)
    leb: Any = importlib.import_module("mutants.kernel_mutants.leb128")
    codes: Any = importlib.import_module("mutants.kernel_mutants.opcodes").CODES
    numbers: dict[tuple[int, int], int] = {}
    noted = Branches(b"")
    for function in code.functions:
        for place, instruction in enumerate(function.instructions):
            if instruction.name in BRANCHES:
                numbers[function.index, place] = len(noted.places)
                noted.places.append((function.name, place, instruction.name))
    words = (len(noted.places) + 31) // 32
    condition = leb.write_unsigned(len(code.globals) + words)
    changes = leb.write_unsigned(len(code.globals) + words + 1)
    noted.changes = f"mark-{words + 1}"

    def constant(value: int) -> bytes:
        signed = value - (1 << 64) if value >> 63 else value
        return bytes(codes["i64.const"] + leb.write_signed(signed))

    def spend(count: int) -> bytes:
        """End the call at `count` changes that are left, and take one."""
        get, put = codes["global.get"] + changes, codes["global.set"] + changes
        stop = get + codes["i64.eqz"] + codes["if"] + b"\x40" + codes["unreachable"] + codes["end"]
        return bytes((stop + get + constant(1) + codes["i64.sub"] + put) * count)

    def mark(function: Any, place: int) -> bytes:  # noqa: ANN401 - the suite's
        number = numbers.get((function.index, place))
        if number is None:
            name = function.instructions[place].name
            count = 2 if name == "memory.grow" else int("store" in name or name in CHANGES)
            return spend(count)
        word, bit = divmod(number, 32)
        index = leb.write_unsigned(len(code.globals) + word)
        get, put = codes["global.get"], codes["global.set"]
        test = get + condition + codes["i32.wrap_i64"]
        choose = constant(2 << 2 * bit) + constant(1 << 2 * bit) + test + codes["select"]
        keep = codes["i64.extend_i32_u"] + put + condition
        return bytes(keep + get + index + choose + codes["i64.or"] + put + index + test)

    noted.data = meter.add_meter(data, mark, words + 2)
    return noted


class Scene:
    """An instance in one of the states, and the names of its blocks."""

    def __init__(self, instance: Instance, changes: str, steps: list[list[str]]) -> None:
        self.instance = instance
        self.changes = changes
        self.names = {"-": 0}
        self.set_changes(PLENTY)
        for step in steps:
            self.make(step)

    def set_changes(self, count: int) -> None:
        """Let calls change the state so often."""
        changes = self.instance.exports[self.changes]
        assert isinstance(changes, wasmtime.Global)
        changes.set_value(self.instance.store, count)

    def make(self, step: list[str]) -> None:
        """Take one step of a state."""
        call = self.instance.call
        match step:
            case ["alloc", name, length]:
                self.names[name] = call("alloc", int(length))
            case ["many", count, length]:
                for _ in range(int(count)):
                    assert call("alloc", int(length))
            case ["fill"]:
                for bit in reversed(range(17)):
                    while call("alloc", 1 << bit):
                        pass
            case ["forge", name, link]:
                write(self.instance, self.names[name] - 4, int(link).to_bytes(4, "little"))
            case ["others", count]:
                self.instance.memory.grow(self.instance.store, int(count))
            case ["cut", changes, length]:
                self.set_changes(int(changes))
                with pytest.raises(wasmtime.Trap, match="unreachable"):
                    self.instance.exports["alloc"](self.instance.store, int(length))  # type: ignore[operator]
                self.set_changes(PLENTY)
            case _:
                assert self.call(step), step

    def call(self, words: list[str]) -> bool:
        """Make a call; return whether the state has the name that it uses."""
        name, *rest = words
        if name in {"alloc", "reset"}:
            self.instance.call(name, *map(int, rest))
            return True
        if rest[0] not in self.names:
            return False
        handle = self.names[rest[0]]
        numbers = list(map(int, rest[1:]))
        match name:
            case "input" | "output":
                self.instance.call(f"{name}_set", handle + numbers[0], numbers[1])
            case "free":
                self.instance.call("free", handle)
            case "error":
                self.instance.call("error_set", handle)
            case _:
                self.instance.call(name, handle + numbers[0], 0xA0)
        return True


def read_states() -> tuple[list[list[str]], dict[str, tuple[int, list[list[str]]]]]:
    """Return the calls, and for each state its pages and its steps."""
    calls, states = [], {}
    for line in (find_project().kernel_src / "tests/cuts/states.txt").read_text("utf-8").splitlines():
        if not line or line.startswith("#"):
            continue
        first, *steps = (part.split() for part in line.split(" | "))
        if first[0] == "call":
            calls.append(first[1:])
        else:
            states[first[1]] = (int(first[2]), steps)
    return calls, states


def play(noted: Branches, states: list[str]) -> Iterator[Instance]:
    """Yield an instance after every call in every state."""
    workshop = Workshop(NamedModule(name="noted", data=noted.data))
    calls, all_states = read_states()
    for name in states:
        limit, steps = all_states[name]
        for call in calls:
            instance = workshop.instantiate(pages=limit)
            if Scene(instance, noted.changes, steps).call(call):
                yield instance


def find_unseen(data: bytes, states: list[str]) -> list[str]:
    """Return the ways of branches that no call takes."""
    noted = note_branches(data)
    seen = [0] * ((len(noted.places) + 31) // 32)
    for instance in play(noted, states):
        for word in range(len(seen)):
            mark = instance.exports[f"mark-{word}"]
            assert isinstance(mark, wasmtime.Global)
            seen[word] |= int(mark.value(instance.store)) & (1 << 64) - 1
    return [
        f"{function} {place} {kind}: {way}"
        for number, (function, place, kind) in enumerate(noted.places)
        for bit, way in enumerate(("zero", "other"))
        if not seen[number // 32] >> (2 * (number % 32) + bit) & 1
    ]


def test_cut_states_take_every_branch(kernel: NamedModule) -> None:
    """L-3: both ways of each, but for what the compiler asks twice.

    A kernel with other code has other numbers: what is named then is a missing state or such a question.
    """
    assert find_unseen(kernel.data, list(read_states()[1])) == ASKED_TWICE


def test_branches_that_no_state_takes_are_named(kernel: NamedModule) -> None:
    unseen = find_unseen(kernel.data, ["fresh"])
    assert any(line.startswith("free ") for line in unseen)
