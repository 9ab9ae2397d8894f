"""Executes code symbolically: all arguments and all states at once.

Without loops every function is a finite tree. Where ways join, their states are merged into one whose values
depend on the conditions, so that the work grows with the code and not with the number of paths. Each access
to memory becomes an obligation: a formula that must hold whenever the access is reached.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol, TypeAlias

import z3

from build_tools.proof.numbers import WIDTHS, compute

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from build_tools.proof.code import Function, Instruction, Program

PAGE_BITS = 16
ADDRESS_BITS = 64
"""Addresses are computed with 64 bits, so that base and offset cannot wrap."""
PAIR = 2
CONTROL = frozenset({"block", "if", "call", "br", "br_if", "return", "unreachable"})

Value: TypeAlias = "z3.BitVecRef"
Formula: TypeAlias = "z3.BoolRef"
Contents: TypeAlias = "z3.ArrayRef"


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """One access to memory, and when it is reached.

    `kind` is `load`, `store` or `unreachable`; `start` and `size` are in bytes, as values; `offset` is the
    constant part of `start`, and `value` what a store writes.
    """

    kind: str
    function: int
    at: int
    reached: Formula
    start: Value
    size: Value
    offset: int = 0
    value: Value | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """What code can change, and the condition under which execution is here."""

    reached: Formula
    globals: tuple[Value, ...]
    locals: tuple[Value, ...]
    stack: tuple[Value, ...]
    pages: Value
    memory: Contents


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """The state after the global with this number was set; `time` counts the accesses to memory before."""

    number: int
    time: int
    state: State


class MemoryModel(Protocol):
    """What is known of the contents of memory."""

    def new(self) -> Contents:
        """Return contents about which nothing is known."""
        ...

    def load(self, machine: Machine, state: State, access: Access, count: int) -> Value:
        """Return `count` bytes as a number, little-endian."""
        ...

    def store(self, machine: Machine, state: State, access: Access, count: int) -> Contents:
        """Return the contents after `access.value` was written."""
        ...

    def fill(self, machine: Machine, state: State, access: Access) -> Contents:
        """Return the contents after `access.value` was written to every byte of a range."""
        ...

    def copy(self, machine: Machine, state: State, access: Access, source: Value) -> Contents:
        """Return the contents after a range was copied from `source`."""
        ...


Summary: TypeAlias = "Callable[[Machine, State, tuple[Value, ...]], tuple[Value, ...]]"


@dataclass(slots=True)
class Machine:
    """One symbolic run over a program; obligations and assumptions are collected in it.

    `summaries` replace functions that change nothing by what was proved of their results. `changes` has the
    state after each change of a global, where a call can be cut.
    """

    program: Program
    model: MemoryModel
    summaries: dict[int, Summary] = field(default_factory=dict)
    accesses: list[Access] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)
    assumptions: list[Formula] = field(default_factory=list)
    fresh_count: int = 0

    def fresh(self, name: str, bits: int) -> Value:
        """Return a new value about which nothing is known."""
        self.fresh_count += 1
        return z3.BitVec(f"{name}!{self.fresh_count}", bits)

    def note_change(self, number: int, after: State) -> None:
        """Note that a global was set: a call can be cut there."""
        self.changes.append(Change(number=number, time=len(self.accesses), state=after))

    def call(
        self, index: int, arguments: Sequence[Value], state: State
    ) -> tuple[State | None, tuple[Value, ...]]:
        """Execute a function; return the state after it, or `None` if it cannot return, and its results."""
        if index in self.summaries:
            return state, self.summaries[index](self, state, tuple(arguments))
        function = self.program.functions[index]
        zeros = tuple(z3.BitVecVal(0, WIDTHS[kind]) for kind in function.locals)
        inside = replace(state, locals=(*arguments, *zeros), stack=())
        frame = _Frame(self, function)
        ended = frame.run(inside)
        if ended is None:
            return None, ()
        count = len(function.results)
        results = ended.stack[len(ended.stack) - count :] if count else ()
        return replace(ended, locals=state.locals, stack=state.stack), results


def merge(states: Sequence[State]) -> State:
    """Return one state for several ways that join; their conditions exclude each other."""
    first, *others = states
    if not others:
        return first
    merged = first
    for other in others:
        merged = State(
            reached=z3.Or(merged.reached, other.reached),
            globals=_merge_values(other.reached, other.globals, merged.globals),
            locals=_merge_values(other.reached, other.locals, merged.locals),
            stack=_merge_values(other.reached, other.stack, merged.stack),
            pages=_pick(other.reached, other.pages, merged.pages),
            memory=_pick(other.reached, other.memory, merged.memory),
        )
    return merged


def _merge_values(when: Formula, one: Sequence[Value], two: Sequence[Value]) -> tuple[Value, ...]:
    return tuple(_pick(when, a, b) for a, b in zip(one, two, strict=True))


def _pick(when: Formula, one: Value, two: Value) -> Value:
    return one if one.eq(two) else z3.If(when, one, two)


class _Frame:
    """The execution of one call: its labels, innermost first, each with the states that branched to it."""

    def __init__(self, machine: Machine, function: Function) -> None:
        self.machine = machine
        self.function = function
        self.labels: list[tuple[list[State], int, int]] = []

    def run(self, state: State) -> State | None:
        return self._block(self.function.body, state, len(self.function.results))

    def _block(self, body: Sequence[Instruction], state: State, results: int) -> State | None:
        incoming: list[State] = []
        self.labels.insert(0, (incoming, len(state.stack), results))
        after = self._sequence(body, state)
        self.labels.pop(0)
        if after is not None:
            incoming.append(after)
        return merge(incoming) if incoming else None

    def _sequence(self, body: Sequence[Instruction], state: State | None) -> State | None:
        for each in body:
            if state is None:
                return None
            state = self._step(each, state)
        return state

    def _step(self, each: Instruction, state: State) -> State | None:
        name = each.name
        if name in CONTROL:
            return self._control(each, state)
        if name.startswith(("local.", "global.")):
            after = _variable(name, each.immediates[0], state)
            if name == "global.set":
                self.machine.note_change(each.immediates[0], after)
            return after
        if name.startswith("memory."):
            return self._memory(each, state)
        if ".load" in name or ".store" in name:
            return self._access(each, state)
        return replace(state, stack=compute(each, state.stack))

    def _control(self, each: Instruction, state: State) -> State | None:
        after: State | None = None  # where execution does not go on behind the instruction
        if each.name == "block":
            after = self._block(each.body, state, each.results)
        elif each.name == "if":
            after = self._if(each, state)
        elif each.name == "call":
            after = self._call(each.immediates[0], state)
        elif each.name == "br_if":
            condition, state = _pop(state)
            taken = _is_true(condition)
            self._branch(each.immediates[0], _when(state, taken))
            after = _when(state, z3.Not(taken))
        elif each.name == "unreachable":
            zero = z3.BitVecVal(0, ADDRESS_BITS)
            self._note(each, state, zero, zero, None)
        else:
            self._branch(each.immediates[0] if each.name == "br" else len(self.labels) - 1, state)
        return after

    def _if(self, each: Instruction, state: State) -> State | None:
        condition, state = _pop(state)
        taken = _is_true(condition)
        ends = [
            self._block(way, _when(state, reached), each.results)
            for way, reached in ((each.body, taken), (each.orelse, z3.Not(taken)))
        ]
        reached_ends = [end for end in ends if end is not None]
        return merge(reached_ends) if reached_ends else None

    def _branch(self, depth: int, state: State) -> None:
        incoming, height, results = self.labels[depth]
        kept = state.stack[len(state.stack) - results :] if results else ()
        incoming.append(replace(state, stack=(*state.stack[:height], *kept)))

    def _call(self, index: int, state: State) -> State | None:
        count = len(self.machine.program.functions[index].params)
        arguments = state.stack[len(state.stack) - count :] if count else ()
        rest = replace(state, stack=state.stack[: len(state.stack) - count])
        after, results = self.machine.call(index, arguments, rest)
        return None if after is None else replace(after, stack=(*after.stack, *results))

    def _note(
        self, each: Instruction, state: State, start: Value, size: Value, value: Value | None
    ) -> Access:
        """Note an access: a load, or a store of `value`."""
        access = Access(
            kind="unreachable" if each.name == "unreachable" else "load" if value is None else "store",
            function=self.function.index,
            at=each.at,
            reached=state.reached,
            start=start,
            size=size,
            offset=each.immediates[1] if "." in each.name and len(each.immediates) == PAIR else 0,
            value=value,
        )
        self.machine.accesses.append(access)
        return access

    def _access(self, each: Instruction, state: State) -> State:
        kind, _, operation = each.name.partition(".")
        width = WIDTHS[kind]
        count = _byte_count(operation, width)
        value = None
        if operation.startswith("store"):
            value, state = _pop(state)
        base, state = _pop(state)
        start = z3.ZeroExt(ADDRESS_BITS - 32, base) + each.immediates[1]
        size = z3.BitVecVal(count, ADDRESS_BITS)
        kept = None if value is None else z3.Extract(8 * count - 1, 0, value)
        access = self._note(each, state, start, size, kept)
        if value is not None:
            return replace(state, memory=self.machine.model.store(self.machine, state, access, count))
        found = self.machine.model.load(self.machine, state, access, count)
        if 8 * count < width:
            extend = z3.SignExt if operation.endswith("_s") else z3.ZeroExt
            found = extend(width - 8 * count, found)
        return _push(state, found)

    def _memory(self, each: Instruction, state: State) -> State:
        if each.name == "memory.size":
            return _push(state, state.pages)
        if each.name == "memory.grow":
            delta, state = _pop(state)
            return _grow(self.machine, state, delta)
        count, state = _pop(state)
        second, state = _pop(state)
        target, state = _pop(state)
        start, size = (z3.ZeroExt(ADDRESS_BITS - 32, each) for each in (target, count))
        model = self.machine.model
        if each.name == "memory.fill":
            access = self._note(each, state, start, size, z3.Extract(7, 0, second))
            return replace(state, memory=model.fill(self.machine, state, access))
        source = z3.ZeroExt(ADDRESS_BITS - 32, second)
        self._note(each, state, source, size, None)
        access = self._note(each, state, start, size, z3.BitVecVal(0, 8))
        return replace(state, memory=model.copy(self.machine, state, access, source))


def _grow(machine: Machine, state: State, delta: Value) -> State:
    """Grow by `delta` pages or refuse: a host may do either, but never beyond 65,536 pages."""
    granted = machine.fresh("granted", 1) == 1
    most = z3.BitVecVal(1 << PAGE_BITS, 32)
    fits = z3.And(z3.ULE(delta, most), z3.ULE(state.pages, most - delta))
    happens = z3.And(granted, fits)
    pages = z3.If(happens, state.pages + delta, state.pages)
    answer = z3.If(happens, state.pages, z3.BitVecVal(-1, 32))
    return _push(replace(state, pages=pages), answer)


def _byte_count(operation: str, width: int) -> int:
    for bits in (8, 16, 32):
        if operation.removeprefix("load").removeprefix("store").startswith(str(bits)):
            return bits // 8
    return width // 8


def _when(state: State, condition: Formula) -> State:
    return replace(state, reached=z3.And(state.reached, condition))


def _push(state: State, value: Value) -> State:
    return replace(state, stack=(*state.stack, value))


def _pop(state: State) -> tuple[Value, State]:
    return state.stack[-1], replace(state, stack=state.stack[:-1])


def _is_true(value: Value) -> Formula:
    """Return the condition that a number stands for, without the detour over 0 and 1 where there is one."""
    if z3.is_app_of(value, z3.Z3_OP_ITE) and z3.is_bv_value(value.arg(1)) and z3.is_bv_value(value.arg(2)):
        one, two = value.arg(1).as_long(), value.arg(2).as_long()
        if one and not two:
            return value.arg(0)
        if two and not one:
            return z3.Not(value.arg(0))
    return value != 0


def _variable(name: str, index: int, state: State) -> State:
    space = state.locals if name.startswith("local.") else state.globals
    if name.endswith(".get"):
        return _push(state, space[index])
    value = state.stack[-1]
    changed = (*space[:index], value, *space[index + 1 :])
    if name == "global.set":
        return replace(state, globals=changed, stack=state.stack[:-1])
    return replace(state, locals=changed, stack=state.stack if name == "local.tee" else state.stack[:-1])
