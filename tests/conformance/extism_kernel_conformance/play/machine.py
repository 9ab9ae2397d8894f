"""Plays the steps of one case against one adapter.

Operations are sent ahead; an answer is awaited only where a later step needs its value and no reference can
say it, or the window is full. A failed expectation therefore shows when its answer is settled, and names the
step that sent the operation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from extism_kernel_conformance.adapter.typed_values import parameters_of, write_value
from extism_kernel_conformance.base.outcome import CaseFailed
from extism_kernel_conformance.cases import steps as s
from extism_kernel_conformance.play import static_steps
from extism_kernel_conformance.play.calls import Budget, CallJudge, CallPlan
from extism_kernel_conformance.play.draft import FUEL, Draft, NeedsAnswerError, play_rounds
from extism_kernel_conformance.play.judges import (
    ReadJudge,
    judge_trap,
    module_bytes,
    require_supported,
    show_trap,
)
from extism_kernel_conformance.play.variables import Variables, number_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from extism_kernel_conformance.adapter.answers import Answer
    from extism_kernel_conformance.adapter.connection import Connection
    from extism_kernel_conformance.cases.expressions import Expression
    from extism_kernel_conformance.cases.relations import ResolvedExpectation
    from extism_kernel_conformance.play.variables import PromisedExpectation, Sum
    from extism_kernel_conformance.wasm.module import Kernel

CHUNK = 1 << 20
"""Most bytes in one read or write request; longer steps travel as several."""


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
        self._variables = Variables(connection)
        self._setup: tuple[s.Step, ...] = ()
        self._budgets: list[Budget] = []
        self._plans: dict[int, CallPlan] = {}

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
            self._drop_all()
            self._connection.discard()  # what was made in answers that nobody looked at is not known
            raise
        self._drop_all()
        self._connection.settle()

    def _drop_all(self) -> None:
        for name in list(self._instances):
            self._drop(name)

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
                static_steps.check_module(step, self._kernel, self._variables.lookup)
            case s.Let():
                value = self._variables.promise(step.value)
                self._variables.set(step.target.key(self._variables.lookup), value)
            case s.Instantiate():
                self._instantiate(step.instance, step.where)
            case s.Drop():
                self._drop(step.instance)
            case s.Repeat():
                self._repeat(step)
            case s.For():
                for expression in step.values:
                    self._variables.set(step.name, self._variables.promise(expression))
                    self._run(step.steps)
            case s.Cut():
                self._cut(step)
            case _:
                raise TypeError(f"no such step: {step!r}")

    def _repeat(self, step: s.Repeat) -> None:
        if step.fuel is not None:
            if isinstance(self._connection, Draft):
                raise NeedsAnswerError  # a budget belongs to one round
            self._budgets.append(Budget(step.where, step.fuel.evaluate(self._variables.lookup)))
        for index in range(step.times.evaluate(self._variables.lookup)):
            if step.index is not None:
                self._variables.set(step.index, index)
            self._run(step.steps)
        if step.fuel is not None:
            self._budgets.pop()

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
        if not self._connection.has_batches:  # answers in a batch that fails before are not looked at
            self._connection.settle()

    def _drop(self, name: str) -> None:
        self._connection.send("drop", {"instance": self._instances.pop(name)}, lambda _: None)

    def _plan(self, step: s.Call) -> CallPlan:
        plan = self._plans.get(id(step))
        if plan is None:
            signature = static_steps.check_function(step.name, step.where, self._kernel)
            types = tuple(parameters_of(signature))
            values = tuple(arg.constant for arg in step.args if arg.constant is not None)
            args = tuple(map(write_value, types, values)) if len(values) == len(types) else None
            expectation = None if step.expect is None else step.expect.constant()
            plan = CallPlan(signature, types, args, values, expectation)
            self._plans[id(step)] = plan
        return plan

    def _args(
        self, plan: CallPlan, args: tuple[Expression, ...]
    ) -> tuple[Sequence[str], Sequence[int | Sum]]:
        """Return the arguments of a call that is sent next, as it has them and as values."""
        if plan.args is not None:
            return plan.args, plan.values
        variables = self._variables
        values = [variables.promise(arg) for arg in args]
        while True:
            batch = self._connection.batch
            texts = [
                f"{value_type}:{variables.write(value, value_type)}"
                for value_type, value in zip(plan.types, values, strict=True)
            ]
            if self._connection.batch == batch:  # else one waited for an answer, and others refer to the past
                return texts, values
            values = [variables.promise(arg) for arg in args]

    def _call(self, step: s.Call) -> None:
        plan, variables, fuel = self._plan(step), self._variables, None
        budgets = tuple(self._budgets)
        if step.fuel is not None:
            fuel = str(step.fuel.evaluate(variables.lookup))
        elif budgets:
            fuel = str(budgets[-1].limit)
        expectation: ResolvedExpectation | PromisedExpectation | None = plan.expectation
        if expectation is None and step.expect is not None:
            expectation = variables.expect(step.expect)
        key = variables.key(step.bind)
        instance = self._wire(step.instance, step.where)
        texts, values = self._args(plan, step.args)
        fields: dict[str, object] = {"instance": instance, "name": step.name, "args": texts}
        if fuel is not None:
            fields["fuel"] = fuel
        cell = variables.bind(key)
        cell.reference = self._connection.send(
            "call", fields, CallJudge(step, plan.signature, values, cell, expectation, budgets)
        )

    def _cut(self, step: s.Cut) -> None:
        fuels = range(0, step.most + 1, step.every)
        self._drop_all()
        draft = self._draft(step) if self._connection.has_batches else None
        first = 0 if draft is None else play_rounds(self._connection, draft, fuels)
        for fuel in fuels[fuels.index(first) :]:
            self._drop_all()
            try:
                if self._cut_once(step, str(fuel)):
                    return
            except CaseFailed as failure:
                failure.where = f"{failure.where}, after a cut at fuel {fuel}"
                raise

    def _cut_once(self, step: s.Cut, fuel: str) -> bool:
        """Play one round, and return whether the call that is cut returned."""
        ended: list[bool] = []
        self._start_round(step, fuel, ended.append)
        self._run(step.then)
        self._connection.settle()
        return ended[-1]

    def _start_round(self, step: s.Cut, fuel: str, on_end: Callable[[bool], None]) -> None:
        self._instantiate(s.DEFAULT_INSTANCE, step.where)
        self._run(self._setup)
        plan = self._plan(step.call)
        fields = {"instance": self._wire(step.call.instance, step.call.where), "name": step.call.name}

        def settled(answer: Answer) -> None:
            require_supported(answer, "call")
            if answer["result"] == "ok" or answer["kind"] == "fuel":
                on_end(answer["result"] == "ok")
            else:
                judge_trap(answer, step.call, values)

        texts, values = self._args(plan, step.call.args)
        self._connection.send("call", {**fields, "args": texts, "fuel": fuel}, settled)

    def _draft(self, step: s.Cut) -> Draft | None:
        """Return a round of a cut as one batch, None if what it sends depends on what is answered."""
        connection, cells = self._connection, dict(self._variables.cells)
        draft = Draft()
        self._connection = self._variables.connection = draft
        try:
            self._start_round(step, FUEL, lambda _: None)
            self._run(step.then)
            self._drop_all()
        except NeedsAnswerError:
            self._instances.clear()
            return None
        finally:
            self._connection = self._variables.connection = connection
            self._variables.cells = cells
        return draft

    def _write(self, step: s.Write) -> None:
        repeated = None if step.length is None else step.length.evaluate(self._variables.lookup)
        length = len(step.data) if repeated is None else repeated
        instance = self._wire(step.instance, step.where)
        address = self._variables.promise(step.address)

        def settled(answer: Answer) -> None:
            require_supported(answer, "write")
            if answer["result"] != "ok":
                raise CaseFailed(
                    where=step.where,
                    expected=f"{length} bytes written at {number_of(address)}",
                    got=show_trap(answer),
                )

        for start in range(0, length, CHUNK):
            count = min(CHUNK, length - start)
            data = step.data[start : start + count] if repeated is None else step.data * count
            place = self._variables.write(self._variables.promise(step.address), offset=start)
            fields = {"instance": instance, "address": place, "bytes": data.hex()}
            self._connection.send("write", fields, settled)

    def _read(self, step: s.Read) -> None:
        length = step.length.evaluate(self._variables.lookup)
        instance = self._wire(step.instance, step.where)
        address = self._variables.promise(step.address)
        for start in range(0, length, CHUNK):
            count = min(CHUNK, length - start)
            wanted = None if step.expect_fill is None else bytes((step.expect_fill,)) * count
            if step.expect is not None:
                wanted = step.expect[start : start + count]
            fields = {
                "instance": instance,
                "address": self._variables.write(self._variables.promise(step.address), offset=start),
                "length": count,
            }
            self._connection.send("read", fields, ReadJudge(step, address, start, count, wanted))

    def _pages(self, step: s.Pages) -> None:
        promised = self._variables.expect(step.expect)
        cell = self._variables.bind(self._variables.key(step.bind))

        def settled(answer: Answer) -> None:
            require_supported(answer, "size")
            cell.value = answer["pages"]
            expectation = promised.resolve()
            if not expectation.holds(answer["pages"]):
                got = f"{answer['pages']} pages"
                raise CaseFailed(where=step.where, expected=f"{expectation.describe()} pages", got=got)

        fields = {"instance": self._wire(step.instance, step.where)}
        cell.reference = self._connection.send("size", fields, settled)

    def _grow(self, step: s.Grow) -> None:
        pages = step.pages.evaluate(self._variables.lookup)
        promised = None if step.expect is None else self._variables.expect(step.expect)
        cell = self._variables.bind(self._variables.key(step.bind))

        def settled(answer: Answer) -> None:
            require_supported(answer, "grow")
            old = answer["pages"] % (1 << 32) if answer["result"] == "ok" else s.REFUSED
            cell.value = old
            expectation = None if promised is None else promised.resolve()
            if expectation is not None and not expectation.holds(old):
                raise CaseFailed(where=step.where, expected=expectation.describe(), got=str(old))

        fields: dict[str, object] = {"instance": self._wire(step.instance, step.where), "pages": pages}
        self._connection.send("grow", fields, settled)

    def _global(self, step: s.Global) -> None:
        static_steps.check_global(step.name, step.where, self._kernel)

        def settled(answer: Answer) -> None:
            require_supported(answer, "global_get")
            if answer["value"] != step.expect:
                raise CaseFailed(where=step.where, expected=step.expect, got=answer["value"])

        self._connection.send(
            "global_get", {"instance": self._wire(step.instance, step.where), "name": step.name}, settled
        )
