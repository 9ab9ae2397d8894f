"""Plays the steps of one case against one adapter.

Requests are sent ahead; an answer is awaited only where a later step needs its value, or the window is
full. A failed expectation therefore shows when its answer is settled, and names the step that sent the
request.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from extism_kernel_conformance.adapter.process import AdapterFault
from extism_kernel_conformance.adapter.typed_values import parameters_of, read_result, write_value
from extism_kernel_conformance.base.outcome import CaseFailed
from extism_kernel_conformance.cases import steps as s
from extism_kernel_conformance.play import static_steps
from extism_kernel_conformance.play.judges import (
    ReadJudge,
    judge_trap,
    module_bytes,
    require_supported,
    show_trap,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from extism_kernel_conformance.adapter.connection import Answer, Connection
    from extism_kernel_conformance.cases.expressions import Variable
    from extism_kernel_conformance.wasm.module import Kernel

CHUNK = 1 << 20
"""Most bytes in one read or write request; longer steps travel as several."""


@dataclass(slots=True)
class _Budget:
    """What the calls of a `repeat` may use together, and what they used so far."""

    where: str
    limit: int
    used: int = 0

    def spend(self, answer: Answer) -> None:
        if "used" not in answer:
            raise AdapterFault(
                "adapter-answer", "a call with `fuel` was answered without `used`, but it worked before"
            )
        self.used += int(answer["used"])
        if self.used > self.limit:
            raise CaseFailed(
                where=self.where,
                expected=f"all calls together to use at most {self.limit} fuel",
                got=f"more than {self.limit} fuel",
            )


@dataclass(slots=True)
class _Cell:
    """A variable's value, or the promise of one whose answer is still under way."""

    value: int | None = None


class Machine:
    """The state of one case: its instances and its variables."""

    def __init__(
        self, connection: Connection, kernel: Kernel, *, max_pages: int | None, prefix: str = ""
    ) -> None:
        self._connection = connection
        self._kernel = kernel
        self._module = module_bytes(kernel, max_pages).hex()
        self._prefix = prefix
        self._made = 0
        self._instances: dict[str, str] = {}
        self._cells: dict[str, _Cell] = {}
        self._setup: tuple[s.Step, ...] = ()
        self._budgets: list[_Budget] = []

    def play(self, setup: tuple[s.Step, ...], steps: tuple[s.Step, ...]) -> None:
        """Make the first instance, run the steps, settle every answer, drop the instances.

        Raises CaseFailed for the first promise not kept, AdapterFault if the adapter is at fault.
        """
        self._setup = setup
        try:
            self._instantiate(s.DEFAULT_INSTANCE)
            self._run(setup)
            self._run(steps)
            self._connection.settle()
        except CaseFailed:
            self._connection.discard()
            raise
        finally:
            if self._connection.is_idle:  # else the adapter is at fault and will be ended
                for name in list(self._instances):
                    self._drop(name)
        self._connection.settle()

    def _run(self, steps: tuple[s.Step, ...]) -> None:
        for step in steps:
            self._step(step)

    def _step(self, step: s.Step) -> None:  # noqa: C901, PLR0912 - one line for each kind of step
        match step:
            case s.Call():
                self._call(step)
            case s.Write():
                self._write(step)
            case s.Read():
                self._read(step)
            case s.Pages():
                self._pages(step)
            case s.Grow():
                self._grow(step)
            case s.Global():
                self._global(step)
            case s.Exports():
                static_steps.check_exports(step, self._kernel)
            case s.ModuleFacts():
                static_steps.check_module(step, self._kernel, self._lookup)
            case s.Let():
                value = step.value.evaluate(self._lookup)
                self._cells[step.target.key(self._lookup)] = _Cell(value)
            case s.Instantiate():
                self._instantiate(step.instance, step.where)
            case s.Drop():
                self._drop(step.instance)
            case s.Repeat():
                self._repeat(step)
            case s.For():
                for expression in step.values:
                    self._cells[step.name] = _Cell(expression.evaluate(self._lookup))
                    self._run(step.steps)
            case s.Cut():
                self._cut(step)
            case _:
                raise TypeError(f"no such step: {step!r}")

    def _repeat(self, step: s.Repeat) -> None:
        if step.fuel is not None:
            self._budgets.append(_Budget(step.where, step.fuel.evaluate(self._lookup)))
        for index in range(step.times.evaluate(self._lookup)):
            if step.index is not None:
                self._cells[step.index] = _Cell(index)
            self._run(step.steps)
        if step.fuel is not None:
            self._budgets.pop()

    def _lookup(self, key: str) -> int:
        cell = self._cells.get(key)
        if cell is None:
            raise CaseFailed(
                where=key, expected=f"`${key}` to be bound", got="it is not; the case is at fault"
            )
        while cell.value is None:
            self._connection.settle_next()
        return cell.value

    def _bind(self, target: Variable | None) -> _Cell:
        cell = _Cell()
        if target is not None:
            self._cells[target.key(self._lookup)] = cell
        return cell

    def _wire(self, instance: str, where: str) -> str:
        if instance not in self._instances:
            raise CaseFailed(where=where, expected=f"instance `{instance}` to be there", got="it was dropped")
        return self._instances[instance]

    def _instantiate(self, name: str, where: str = "instantiate") -> None:
        if name in self._instances:
            self._drop(name)
        self._made += 1
        wire = f"{self._prefix}{name}{self._made}"
        self._instances[name] = wire

        def settled(answer: Answer) -> None:
            require_supported(answer, "instantiate")
            if answer["result"] != "ok":
                self._instances.pop(name, None)
                got = f"reject at {answer['stage']}: {answer['message']}"
                raise CaseFailed(where=where, expected="the module instantiates", got=got)

        self._connection.send("instantiate", {"instance": wire, "module": self._module}, settled)
        self._connection.settle()

    def _drop(self, name: str) -> None:
        self._connection.send("drop", {"instance": self._instances.pop(name)}, lambda _: None)

    def _call(
        self, step: s.Call, *, fuel: int | None = None, on_end: Callable[[bool], None] | None = None
    ) -> None:
        signature = static_steps.check_function(step.name, step.where, self._kernel)
        args = [
            write_value(value_type, arg.evaluate(self._lookup))
            for value_type, arg in zip(parameters_of(signature), step.args, strict=True)
        ]
        fields: dict[str, object] = {
            "instance": self._wire(step.instance, step.where),
            "name": step.name,
            "args": args,
        }
        budgets = tuple(self._budgets)
        if step.fuel is not None:
            fuel = step.fuel.evaluate(self._lookup)
        elif budgets:
            fuel = budgets[-1].limit
        if fuel is not None:
            fields["fuel"] = str(fuel)
        expectation = None if step.expect is None else step.expect.resolve(self._lookup)
        cell = self._bind(step.bind)

        def settled(answer: Answer) -> None:
            require_supported(answer, "call")
            if on_end is not None and (answer["result"] == "ok" or answer["kind"] == "fuel"):
                on_end(answer["result"] == "ok")
                return
            judge_trap(answer, step)
            if answer["result"] != "ok":
                return
            for budget in budgets:
                budget.spend(answer)
            value = read_result(answer["values"], signature, step.name)
            cell.value = value
            if expectation is not None and (value is None or not expectation.holds(value)):
                raise CaseFailed(where=step.where, expected=expectation.describe(), got=str(value))

        self._connection.send("call", fields, settled)

    def _cut(self, step: s.Cut) -> None:
        ended: list[bool] = []
        for fuel in range(0, step.most + 1, step.every):
            for name in list(self._instances):
                self._drop(name)
            self._instantiate(s.DEFAULT_INSTANCE, step.where)
            self._run(self._setup)
            self._call(step.call, fuel=fuel, on_end=ended.append)
            try:
                self._run(step.then)
                self._connection.settle()
            except CaseFailed as failure:
                failure.where = f"{failure.where}, after a cut at fuel {fuel}"
                raise
            if ended[-1]:
                return

    def _write(self, step: s.Write) -> None:
        address = step.address.evaluate(self._lookup)
        repeated = None if step.length is None else step.length.evaluate(self._lookup)
        length = len(step.data) if repeated is None else repeated
        instance = self._wire(step.instance, step.where)

        def settled(answer: Answer) -> None:
            require_supported(answer, "write")
            if answer["result"] != "ok":
                raise CaseFailed(
                    where=step.where, expected=f"{length} bytes written at {address}", got=show_trap(answer)
                )

        for start in range(0, length, CHUNK):
            count = min(CHUNK, length - start)
            data = step.data[start : start + count] if repeated is None else step.data * count
            fields = {
                "instance": instance,
                "address": str((address + start) % (1 << 64)),
                "bytes": data.hex(),
            }
            self._connection.send("write", fields, settled)

    def _read(self, step: s.Read) -> None:
        address, length = step.address.evaluate(self._lookup), step.length.evaluate(self._lookup)
        instance = self._wire(step.instance, step.where)
        for start in range(0, length, CHUNK):
            count = min(CHUNK, length - start)
            wanted = None if step.expect_fill is None else bytes((step.expect_fill,)) * count
            if step.expect is not None:
                wanted = step.expect[start : start + count]
            fields = {"instance": instance, "address": str((address + start) % (1 << 64)), "length": count}
            self._connection.send("read", fields, ReadJudge(step, address + start, count, wanted))

    def _pages(self, step: s.Pages) -> None:
        expectation = step.expect.resolve(self._lookup)
        cell = self._bind(step.bind)

        def settled(answer: Answer) -> None:
            require_supported(answer, "size")
            cell.value = answer["pages"]
            if not expectation.holds(answer["pages"]):
                got = f"{answer['pages']} pages"
                raise CaseFailed(where=step.where, expected=f"{expectation.describe()} pages", got=got)

        self._connection.send("size", {"instance": self._wire(step.instance, step.where)}, settled)

    def _grow(self, step: s.Grow) -> None:
        pages = step.pages.evaluate(self._lookup)
        expectation = None if step.expect is None else step.expect.resolve(self._lookup)
        cell = self._bind(step.bind)

        def settled(answer: Answer) -> None:
            require_supported(answer, "grow")
            old = answer["pages"] % (1 << 32) if answer["result"] == "ok" else s.REFUSED
            cell.value = old
            if expectation is not None and not expectation.holds(old):
                raise CaseFailed(where=step.where, expected=expectation.describe(), got=str(old))

        self._connection.send(
            "grow", {"instance": self._wire(step.instance, step.where), "pages": pages}, settled
        )

    def _global(self, step: s.Global) -> None:
        static_steps.check_global(step.name, step.where, self._kernel)

        def settled(answer: Answer) -> None:
            require_supported(answer, "global_get")
            if answer["value"] != step.expect:
                raise CaseFailed(where=step.where, expected=step.expect, got=answer["value"])

        self._connection.send(
            "global_get", {"instance": self._wire(step.instance, step.where), "name": step.name}, settled
        )
