"""Programs for the model: a vocabulary of calls, hostile ones too, and what plays them.

An operation names blocks and addresses by what they are at that moment (`("start", 7, -4)`: four bytes before
the seventh live block), so that a program keeps its meaning when operations are taken out of it.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Protocol, TypeVar

from hypothesis import strategies as st

from tests.integration.kernel_model import Model
from tests.integration.kernel_support import PAGE

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tests.integration.kernel_model import Machine

    Column = Callable[["Choose"], object]

T = TypeVar("T")
Address = tuple[str, int, int]
Operation = tuple[object, ...]
Program = list[Operation]

FAR = (
    0,
    7,
    8,
    16,
    57,
    256,
    1 << 16,
    1 << 31,
    (1 << 32) - 4,
    1 << 32,
    (1 << 32) + 1024,
    1 << 63,
    (1 << 64) - 8,
)
VALUES = (0, 1, (1 << 64) - 1, (1 << 64) - 12, 1 << 31, 1 << 32, 0x0101_0101_0101_0101)
SMALL = (1, 7, 8, 16, 24, 63, 64, 200, 500, 1000, 1024)
LARGE = (1025, 3000, 20_000, 65_535, 65_536, 150_000)
REFUSED = (0, 1 << 31, 1 << 32, (1 << 64) - 12, (1 << 64) - 1)
LENGTHS = (SMALL, SMALL, SMALL, LARGE, REFUSED)
PICKS = range(1001)
STEPS = (-24, -16, -12, -8, -4, -1, 0, 0, 0, 1, 4, 8, 15)
BASES = ("start", "end", "ended", "top", "far")
RANGES = ("input", "output")


class Choose(Protocol):
    """Takes one of several: at random, or as hypothesis likes."""

    def __call__(self, several: Sequence[T], /) -> T: ...


def one_of(*several: Sequence[object]) -> Column:
    """Return a column whose values are in one of these."""
    return lambda choose: choose(choose(several))


def an_address(choose: Choose) -> Address:
    """Return a base, which one of those, and a step from it."""
    return choose(BASES), choose(PICKS), choose(STEPS)


VOCABULARY: dict[str, tuple[Column, ...]] = {
    "alloc": (one_of(*LENGTHS),),
    "alloc_small": (one_of(SMALL),),
    "alloc_good": (one_of(SMALL, LARGE),),
    "alloc_many": (one_of((20, 80, 250)), one_of(SMALL[:6])),
    "alloc_rest": (one_of((0, 300, 1100, 2100, 2200, 2300, 3000, 5000, 10_000, 20_000)),),
    "free": (an_address,),
    "free_live": (one_of(PICKS),),
    "store_u8": (an_address, one_of(range(256))),
    "store_u64": (an_address, one_of(VALUES)),
    "store_address": (an_address, an_address),
    "load": (an_address,),
    "set_part": (one_of(RANGES), one_of(PICKS), one_of(range(3))),
    "set_hostile": (one_of(RANGES), an_address, one_of(VALUES)),
    "set_output": (one_of(RANGES[1:]), one_of(PICKS), one_of(range(3))),
    "set_across": (one_of(PICKS), one_of(PICKS), one_of((0, 8))),
    "clear": (one_of(RANGES),),
    "error": (an_address,),
    "grow_foreign": (),
    "reset": (),
}
"""What can be called, and with what."""
CHURN = ("alloc_small", "free_live", "alloc_good", "free_live", "set_output")
LIVES = (
    "alloc",
    "alloc_many",
    "alloc_rest",
    "alloc_rest",
    "free_live",
    "set_across",
    "grow_foreign",
    "reset",
)
HOSTILE = ("alloc", *(name for name in VOCABULARY if name not in {*CHURN, *LIVES[1:6]}), "free_live")


def make_operation(choose: Choose, names: Sequence[str]) -> Operation:
    """Return an operation with one of those names."""
    name = choose(names)
    return (name, *(column(choose) for column in VOCABULARY[name]))


def programs(names: Sequence[str], *, least: int, most: int) -> st.SearchStrategy[Program]:
    """Return programs as hypothesis makes them."""
    sample = lru_cache(st.sampled_from)

    @st.composite
    def operations(draw: st.DrawFn) -> Operation:
        return make_operation(lambda several: draw(sample(several)), names)

    return st.lists(operations(), min_size=least, max_size=most)


class Player:
    """Plays a program: turns picks into handles and addresses of the moment.

    Its methods are the words of the vocabulary; `play` calls the one that an operation names.
    """

    def __init__(self, model: Model) -> None:
        self.model = model

    def play(self, operation: Operation) -> None:
        name, *arguments = operation
        getattr(self, str(name))(*arguments)

    def address(self, spec: Address) -> int:
        kind, pick, step = spec
        model = self.model
        base = FAR[pick % len(FAR)]
        if kind == "top":
            base = model.top
        elif kind == "ended" and model.ended:
            base = sorted(model.ended)[pick % len(model.ended)]
        elif kind in {"start", "end"} and model.live:
            base = self.handle(pick)
            if kind == "end":
                base += len(model.live[base])
        return (base + step) % (1 << 64)

    def handle(self, pick: int) -> int:
        """Return a live handle; there must be one."""
        live = self.model.live
        return list(live)[pick % len(live)]

    def alloc(self, length: int) -> None:
        self.model.alloc(length)

    alloc_small = alloc_good = alloc

    def alloc_many(self, count: int, length: int) -> None:
        for _ in range(count):
            self.model.alloc(length)

    def alloc_rest(self, spared: int) -> None:
        model = self.model
        self.model.alloc(max(1, model.limit * PAGE - max(model.top, model.bottom) - spared))

    def free(self, address: Address) -> None:
        self.model.free(self.address(address))

    def free_live(self, pick: int) -> None:
        if self.model.live:
            self.model.free(self.handle(pick))

    def store_u8(self, address: Address, value: int) -> None:
        self.model.store_u8(self.address(address), value)

    def store_u64(self, address: Address, value: int) -> None:
        start = self.address(address)
        # Across the start of the first block: whether the bytes inside are written is nowhere said.
        if not self.model.bottom - 8 < start < self.model.bottom:
            self.model.store_u64(start, value)

    def store_address(self, address: Address, value: Address) -> None:
        self.store_u64(address, self.address(value))

    def load(self, address: Address) -> None:
        self.model.check_loads(self.address(address))

    def set_part(self, register: str, pick: int, part: int) -> None:
        if not self.model.live:
            return
        handle = self.handle(pick)
        length = len(self.model.live[handle])
        skip = part * (length // 4)
        if register == "output" or not (skip and handle in self.model.held.values()):
            self.set_range(register, handle + skip, length - skip)

    set_output = set_part

    def set_across(self, one: int, other: int, skip: int) -> None:
        if self.model.live:
            first, last = sorted((self.handle(one), self.handle(other)))
            length = last + len(self.model.live[last]) - first - skip
            if length > 0:
                self.model.set_output(first + skip, length)

    def set_hostile(self, register: str, address: Address, length: int) -> None:
        self.set_range(register, self.address(address), length)

    def clear(self, register: str) -> None:
        self.set_range(register, 0, 0)

    def set_range(self, register: str, start: int, length: int) -> None:
        set_it = self.model.set_input if register == "input" else self.model.set_output
        set_it(start, length)

    def error(self, address: Address) -> None:
        self.model.set_error(self.address(address))

    def grow_foreign(self) -> None:
        self.model.grow_foreign()

    def reset(self) -> None:
        self.model.reset()


def run_program(kernel: Machine, program: Program, *, limit: int, bottom: int, scan_every: int = 1) -> None:
    """Play a program on a fresh kernel, and judge the registers after every call, the rest after so many."""
    model = Model(kernel=kernel, limit=limit, bottom=bottom)
    player = Player(model)
    for count, operation in enumerate(program, 1):
        player.play(operation)
        if count % scan_every:
            model.check_registers()
        else:
            model.check()
    model.check()
    model.reset()
    model.check()
    model.alloc(1000)
    model.check()
