"""The steps of a case as values: parsed, but not yet run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from extism_kernel_conformance.cases.expressions import Expression, Variable
    from extism_kernel_conformance.cases.relations import Expectation

DEFAULT_INSTANCE = "a"
TRAP_KINDS = ("unreachable", "out-of-bounds", "integer", "stack", "fuel", "interrupted", "other")
REFUSED = 0xFFFF_FFFF
"""What a refused growth is compared as: memory.grow's -1, unsigned."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What every step has: its place in the case, as `steps[3].steps[0]`."""

    where: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Call(Step):
    """Call one export. Without `expect_trap` a trap fails the case."""

    name: str
    args: tuple[Expression, ...]
    instance: str = DEFAULT_INSTANCE
    bind: Variable | None = None
    expect: Expectation | None = None
    fuel: Expression | None = None
    expect_trap: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Write(Step):
    """Write bytes into memory as a host does, given as hex or as one byte repeated."""

    address: Expression
    data: bytes
    length: Expression | None = None
    """How often `data` is repeated, in bytes; None writes `data` once."""
    instance: str = DEFAULT_INSTANCE


@dataclass(frozen=True, slots=True, kw_only=True)
class Read(Step):
    """Read memory as a host does, and compare; without an expectation the bytes only have to be there."""

    address: Expression
    length: Expression
    expect: bytes | None = None
    expect_fill: int | None = None
    instance: str = DEFAULT_INSTANCE


@dataclass(frozen=True, slots=True, kw_only=True)
class Pages(Step):
    """Ask for the memory's size in pages."""

    expect: Expectation
    instance: str = DEFAULT_INSTANCE
    bind: Variable | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Grow(Step):
    """Grow the memory from outside, as a host or another allocator may."""

    pages: Expression
    instance: str = DEFAULT_INSTANCE
    bind: Variable | None = None
    expect: Expectation | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Global(Step):
    """Read an exported global and compare it, for instance with `externref:null`."""

    name: str
    expect: str
    instance: str = DEFAULT_INSTANCE


@dataclass(frozen=True, slots=True, kw_only=True)
class Exports(Step):
    """Look at the module's export section; the runner answers, not the adapter."""

    has: tuple[tuple[str, str], ...] = ()
    has_not: tuple[str, ...] = ()
    only: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModuleFacts(Step):
    """Look at the module's other declarations; the runner answers, not the adapter."""

    numbers: tuple[tuple[str, Expectation], ...] = ()
    """Expectations of `imports`, `pages` and `memories`."""
    start: bool | None = None
    maximum: bool | None = None
    custom: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Let(Step):
    """Name a value."""

    target: Variable
    value: Expression


@dataclass(frozen=True, slots=True, kw_only=True)
class Instantiate(Step):
    """Make another instance of the same module beside the first."""

    instance: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Drop(Step):
    """Let go of an instance."""

    instance: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Repeat(Step):
    """Run steps a number of times; `index` names the round, from 0."""

    times: Expression
    steps: tuple[Step, ...]
    index: str | None = None
    fuel: Expression | None = None
    """What all calls of all rounds may use together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class For(Step):
    """Run steps once for each value."""

    name: str
    values: tuple[Expression, ...]
    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut(Step):
    """Cut one call at many places: each time a fresh instance, a little more fuel, then `then`."""

    call: Call
    every: int
    most: int
    then: tuple[Step, ...]
