"""Reads the steps of a case strictly, and collects every fault instead of stopping at the first."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from extism_kernel_conformance.cases import steps as s
from extism_kernel_conformance.cases.expressions import (
    Expression,
    ExpressionError,
    Variable,
    parse_expression,
    parse_target,
)
from extism_kernel_conformance.cases.relations import Expectation, parse_expectation

T = TypeVar("T")
Json = Mapping[str, object]

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass
class StepParser:
    """Parses steps; faults go to `findings` as (place, message); `bound` holds names bound so far."""

    makers: Mapping[str, Callable[[StepParser, Json, str], s.Step]]
    """One function for each kind of step, by its first key; a profile may bring its own."""
    keys: Mapping[str, tuple[str, ...]]
    """For each kind of step, the keys that may stand beside the first; `why` may stand anywhere."""
    findings: list[tuple[str, str]] = field(default_factory=list)
    bound: set[str] = field(default_factory=set)
    instances: set[str] = field(default_factory=lambda: {s.DEFAULT_INSTANCE})
    needs: set[str] = field(default_factory=set)
    """Capabilities that the steps parsed so far cannot do without."""

    def parse(self, value: object, where: str, *, in_loop: bool = False) -> tuple[s.Step, ...]:
        """Read a list of steps."""
        if not isinstance(value, list) or not value:
            self.fault(where, "expected a list of at least one step")
            return ()
        parsed: list[s.Step] = []
        for number, each in enumerate(value):
            step = self.step(each, f"{where}[{number}]", in_loop=in_loop)
            if step is not None:
                parsed.append(step)
        return tuple(parsed)

    def step(self, value: object, where: str, *, in_loop: bool) -> s.Step | None:
        """Read one step; None after a fault that left nothing to build."""
        if not isinstance(value, dict):
            self.fault(where, f"a step is an object, got {value!r}")
            return None
        kinds = [key for key in value if key in self.keys]
        if len(kinds) != 1:
            close = [guess for key in value for guess in difflib.get_close_matches(str(key), self.keys, 1)]
            hint = f"; did you mean `{close[0]}`?" if close else ""
            found = f"found {', '.join(f'`{kind}`' for kind in kinds)}" if kinds else f"found {sorted(value)}"
            self.fault(where, f"a step has exactly one of the keys {', '.join(self.keys)}; {found}{hint}")
            return None
        kind = kinds[0]
        self.check_keys(value, {kind, "why", *self.keys[kind]}, where)
        if not isinstance(value.get("why", ""), str):
            self.fault(f"{where}.why", f"`why` is a sentence, got {value['why']!r}")
        if in_loop and kind == "cut":
            self.fault(where, "`cut` may not stand inside `repeat`, `for` or another `cut`")
            return None
        before = len(self.findings)
        made = self.makers[kind](self, value, where)
        return made if len(self.findings) == before else None

    def fault(self, where: str, message: str) -> None:
        """Record one finding."""
        self.findings.append((where, message))

    def check_keys(self, value: Json, allowed: Iterable[str], where: str) -> None:
        """Record a finding for each key that has no meaning here."""
        allowed = set(allowed)
        for key in value:
            if key not in allowed:
                close = difflib.get_close_matches(str(key), allowed, 1)
                hint = f"did you mean `{close[0]}`?" if close else f"allowed are {', '.join(sorted(allowed))}"
                self.fault(where, f"`{key}` has no meaning here; {hint}")

    def guard(self, parse: Callable[[object], T], value: object, where: str, default: T) -> T:
        """Run one small parser, turning its error into a finding."""
        try:
            return parse(value)
        except ExpressionError as error:
            self.fault(where, str(error))
            return default

    def expression(self, value: object, where: str) -> Expression:
        """Read an expression whose variables are bound already."""
        parsed = self.guard(parse_expression, value, where, Expression("0", ()))
        self.check_bound(parsed.variables(), where)
        return parsed

    def expectation(self, value: object, where: str) -> Expectation:
        """Read the relations that a number must meet."""
        parsed = self.guard(parse_expectation, value, where, Expectation(()))
        self.check_bound(parsed.variables(), where)
        return parsed

    def check_bound(self, names: set[str], where: str) -> None:
        """Record a finding for each variable that no earlier step binds."""
        for name in sorted(names - self.bound):
            close = difflib.get_close_matches(name, self.bound, 1)
            hint = f"; did you mean `${close[0]}`?" if close else ""
            self.fault(where, f"`${name}` is not bound by an earlier step{hint}")

    def target(self, value: object, where: str) -> Variable:
        """Read the name a step binds, and remember it."""
        parsed = self.guard(parse_target, value, where, Variable("_"))
        if parsed.index is not None:
            self.check_bound(parsed.index.variables(), where)
        self.bound.add(parsed.name)
        return parsed

    def word(self, value: object, where: str, what: str) -> str:
        """Read a plain name: of an instance, a loop variable, a global."""
        if not isinstance(value, str) or not _NAME.fullmatch(value):
            self.fault(where, f"{what} is a name like `b`, got {value!r}")
            return "_"
        return value

    def instance(self, value: Json, where: str) -> str:
        """Read the optional `instance` of a step; an earlier step must have made it."""
        name = self.word(value.get("instance", s.DEFAULT_INSTANCE), f"{where}.instance", "an instance")
        if name not in self.instances:
            self.fault(f"{where}.instance", f"no earlier step makes instance `{name}`")
        return name

    def hexadecimal(self, value: object, where: str, *, length: int | None = None) -> bytes:
        """Read bytes in hex."""
        wanted = "an even number of hex digits" if length is None else f"{length * 2} hex digits"
        if not isinstance(value, str) or not re.fullmatch(r"([0-9a-fA-F]{2})*", value):
            self.fault(where, f"expected {wanted}, got {value!r}")
            return b"\0" * (length or 1)
        data = bytes.fromhex(value)
        if length is not None and len(data) != length:
            self.fault(where, f"expected {wanted}, got {value!r}")
        return data
