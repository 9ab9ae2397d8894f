"""What a program is made of: operations whose addresses name the blocks they are near.

So a program keeps its meaning when operations are taken out of it, or when another kernel gives other
handles.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

Step = dict[str, object]
"""A step of a case, as it stands in a case file."""

Fault = tuple[str, str]
"""A clause and how it is broken."""

U64 = (1 << 64) - 1
LARGEST_JSON = 1 << 53


class Place(NamedTuple):
    """An address: so many bytes from the handle that the `alloc` with this label gave, or from 0."""

    label: int | None
    offset: int = 0

    def expression(self) -> int | str:
        """Return the address as cases write it."""
        if self.label is None:
            return number(self.offset)
        if self.offset == 0:
            return f"$b{self.label}"
        return f"$b{self.label}{'-' if self.offset < 0 else '+'}{abs(self.offset)}"


class Operation(NamedTuple):
    """One call of an export, or one thing that a host does (`write`, `grow`)."""

    name: str
    args: tuple[Place | int, ...] = ()
    label: int | None = None
    """For `alloc`, what later places call its block."""

    @property
    def labels(self) -> set[int]:
        """The blocks that the operation names."""
        return {arg.label for arg in self.args if isinstance(arg, Place) and arg.label is not None}

    def step(self) -> Step:
        """Return the step of a case that does the same, without what is expected of it."""
        args = [arg.expression() if isinstance(arg, Place) else number(arg) for arg in self.args]
        if self.name == "grow":
            return {"grow": args[0]}
        if self.name == "write":
            fill = self.args[2]
            assert isinstance(fill, int)
            return {"write": args[0], "fill": f"{fill:02x}", "len": args[1]}
        step: Step = {"call": self.name}
        if args:
            step["args"] = args
        if self.label is not None:
            step["bind"] = f"b{self.label}"
        return step


class BrokenPromiseError(Exception):
    """A kernel did what the contract forbids, in the operation just played.

    `clause` is the contract's, `kind` names the fault: programs that end in the same two show the same fault.
    `expect` is what the operation's own step must see, `steps` show the fault after it.
    """

    def __init__(self, clause: str, kind: str, *, expect: object = None, steps: Sequence[Step] = ()) -> None:
        super().__init__(f"{clause}: {kind}")
        self.clause = clause
        self.kind = kind
        self.expect = expect
        self.steps = tuple(steps)

    @property
    def fault(self) -> Fault:
        """What two programs have in common that show the same."""
        return self.clause, self.kind


class ForgivenError(Exception):
    """A fault that is known already; the program cannot go on."""


def number(value: int) -> int | str:
    """Return a number as JSON can hold it without losing bits."""
    return value if 0 <= value <= LARGEST_JSON else str(value & U64)
