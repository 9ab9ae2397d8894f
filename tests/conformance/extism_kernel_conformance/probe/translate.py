"""From a case of the kernel profile to the program of a probe.

Loops are unrolled and known values worked out here, so that what is left for the guest is a list of calls.
What a host does to memory, a guest can do by loads and stores as long as it stays inside of what was handed
out since the last `reset` (M-1); the translation follows the blocks to see that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from extism_kernel_conformance.base.outcome import CaseSkipped
from extism_kernel_conformance.base.resources import first_prefix
from extism_kernel_conformance.cases import steps as s
from extism_kernel_conformance.cases.expressions import U64
from extism_kernel_conformance.cases.relations import describe_relation
from extism_kernel_conformance.probe.needs import count_steps, find_unmet, walk_steps
from extism_kernel_conformance.probe.program import CallOp, Check, FilledOp, FillOp, Op, Program, Site
from extism_kernel_conformance.probe.values import Value, evaluate, evaluate_now, key_of

if TYPE_CHECKING:
    from extism_kernel_conformance.cases.expressions import Variable
    from extism_kernel_conformance.cases.load import Case
    from extism_kernel_conformance.cases.relations import Expectation

MOST_STEPS = 20_000
"""A longer case is skipped: its module would not fit into one line of the protocol."""

_TOO_LONG = f"needs more than {MOST_STEPS:,} steps in one call, more than a probe plays"
_WORD = 8
_LARGEST_BLOCK = 1 << 32
"""No memory holds a block of that size: the call that asks for it gives none."""


def translate(case: Case) -> Program:
    """Return what a guest has to do to play the case. Raises CaseSkipped with the need it does not meet."""
    unmet = find_unmet(case)
    if unmet is not None:
        raise CaseSkipped(unmet)
    steps = (*case.setup, *case.steps)
    if count_steps(steps) > MOST_STEPS:
        raise CaseSkipped(_TOO_LONG)
    names = [step.name for step in walk_steps(steps) if isinstance(step, s.Call)]
    is_first = bool(names) and all(name.startswith(first_prefix()) for name in names)
    translation = _Translation(first_prefix() if is_first else "")
    translation.run(steps)
    return Program(
        ops=tuple(translation.ops),
        sites=tuple(translation.sites),
        slots=translation.slots,
        prefix=translation.prefix,
    )


class _Blocks:
    """What was handed out since the last reset, as far as it is known before the guest runs."""

    def __init__(self) -> None:
        self._blocks: dict[tuple[tuple[int, int], ...], list[tuple[int, int]]] = {}

    def add(self, handle: Value, length: Value) -> None:
        if handle != Value() and length.is_known and 0 < length.number < _LARGEST_BLOCK:
            self._blocks.setdefault(handle.terms, []).append((handle.number, length.number))

    def clear(self) -> None:
        self._blocks.clear()

    def hold(self, address: Value, length: int) -> bool:
        """Return whether all bytes lie between the beginning of a block and the end of one."""
        known, end = self._blocks.get(address.terms, ()), address.number + length
        begins = any((address.number - start) % U64 < size for start, size in known)
        return begins and any(0 < (end - start) % U64 <= size for start, size in known)


class _Translation:
    """The state of one translation: the variables, the blocks, and the program so far."""

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self.ops: list[Op] = []
        self.sites: list[Site] = []
        self.slots = 0
        self._steps = 0
        self._variables: dict[str, Value] = {}
        self._blocks = _Blocks()
        self._rounds: list[str] = []

    def run(self, steps: tuple[s.Step, ...]) -> None:
        for step in steps:
            self._step(step)

    def _step(self, step: s.Step) -> None:
        self._steps += 1
        if self._steps > MOST_STEPS:
            raise CaseSkipped(_TOO_LONG)
        match step:
            case s.Call():
                self._call(step)
            case s.Write():
                self._write(step)
            case s.Read():
                self._read(step)
            case s.Let():
                self._bind(step.target, evaluate(step.value, self._variables))
            case s.Repeat():
                for index in range(evaluate_now(step.times, self._variables)):
                    self._round(step.index, Value(index), f"round {index}", step.steps)
            case s.For():
                for expression in step.values:
                    value = evaluate(expression, self._variables)
                    self._round(step.name, value, f"{step.name} = {expression.text}", step.steps)
            case _:
                raise TypeError(f"no such step: {step!r}")

    def _round(self, name: str | None, value: Value, words: str, steps: tuple[s.Step, ...]) -> None:
        if name is not None:
            self._variables[name] = value
        self._rounds.append(words)
        self.run(steps)
        self._rounds.pop()

    def _call(self, step: s.Call) -> None:
        args = tuple(evaluate(each, self._variables) for each in step.args)
        checks, result = self._checks(step.where, step.expect)
        name = step.name.removeprefix(first_prefix())
        slot = None
        if result is None and step.bind is not None:
            slot, result = self.slots, Value(0, ((self.slots, 1),))
            self.slots += 1
        self.ops.append(CallOp(name=step.name, args=args, checks=checks, slot=slot))
        if step.bind is not None and result is not None:
            self._bind(step.bind, result)
        if name == "reset":
            self._blocks.clear()
        elif name == "alloc" and result is not None:
            self._blocks.add(result, args[0])

    def _checks(self, where: str, expect: Expectation | None) -> tuple[tuple[Check, ...], Value | None]:
        """Return the checks of a result, and its value if only one passes."""
        checks: list[Check] = []
        result: Value | None = None
        for relation, expressions in expect.relations if expect is not None else ():
            operands = tuple(evaluate(each, self._variables) for each in expressions)
            if relation == "any":
                continue
            if relation == "eq":
                result = operands[0]
            shown = [each.text for each in expressions] if relation == "in" else ["{}"]
            site = self._site(where, describe_relation(relation, shown))
            checks.append(Check(relation=relation, operands=operands, site=site))
        return tuple(checks), result

    def _write(self, step: s.Write) -> None:
        address = evaluate(step.address, self._variables)
        if step.length is not None:
            length = evaluate_now(step.length, self._variables)
            self._stay_inside(step.where, address, length)
            self.ops.append(FillOp(address=address, length=length, byte=step.data[0]))
            return
        self._stay_inside(step.where, address, len(step.data))
        for at, width in _cut(len(step.data)):
            value = Value(int.from_bytes(step.data[at : at + width], "little"))
            name = f"{self.prefix}store_u{width * 8}"
            self.ops.append(CallOp(name=name, args=(address + Value(at), value)))

    def _read(self, step: s.Read) -> None:
        address = evaluate(step.address, self._variables)
        length = evaluate_now(step.length, self._variables)
        self._stay_inside(step.where, address, length)
        if step.expect_fill is not None:
            expected = f"{step.expect_fill:02x} at +{{}}"
            site = self._site(step.where, expected, fill_length=length)
            self.ops.append(FilledOp(address=address, length=length, byte=step.expect_fill, site=site))
            return
        if step.expect is None:
            raise CaseSkipped(f"needs a read of memory without a comparison ({step.where})")
        for at, width in _cut(length):
            data = step.expect[at : at + width]
            site = self._site(step.where, f"{data.hex()} at +{at}", width=width)
            wanted = Value(int.from_bytes(data, "little"))
            check = Check(relation="eq", operands=(wanted,), site=site)
            name = f"{self.prefix}load_u{width * 8}"
            self.ops.append(CallOp(name=name, args=(address + Value(at),), checks=(check,)))

    def _stay_inside(self, where: str, address: Value, length: int) -> None:
        if length and not self._blocks.hold(address, length):
            raise CaseSkipped(f"needs a host's access to memory outside of blocks ({where})")

    def _bind(self, target: Variable, value: Value) -> None:
        self._variables[key_of(target, self._variables)] = value

    def _site(self, where: str, expected: str, *, width: int = 0, fill_length: int = 0) -> int:
        place = f"{where}, {', '.join(self._rounds)}" if self._rounds else where
        self.sites.append(Site(where=place, expected=expected, width=width, fill_length=fill_length))
        return len(self.sites)


def _cut(length: int) -> list[tuple[int, int]]:
    """Return (offset, width) of the words of so many bytes, and of the bytes that are left."""
    whole = length // _WORD * _WORD
    return [(at, _WORD) for at in range(0, whole, _WORD)] + [(at, 1) for at in range(whole, length)]
