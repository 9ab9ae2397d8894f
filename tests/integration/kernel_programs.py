"""Programs for the model: a vocabulary of calls, hostile ones too, and what plays them.

An operation names blocks and addresses by what they are at that moment (`("start", 7, -4)`: four bytes before
the seventh live block), so that a program keeps its meaning when operations are taken out of it.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Protocol, TypeVar

from hypothesis import strategies as st

from tests.integration.kernel_model import Model

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
    "free": (an_address,),
    "free_live": (one_of(PICKS),),
    "store_u8": (an_address, one_of(range(256))),
    "store_u64": (an_address, one_of(VALUES)),
    "store_address": (an_address, an_address),
    "load": (an_address,),
    "set_part": (one_of(RANGES), one_of(PICKS), one_of(range(3))),
    "set_hostile": (one_of(RANGES), an_address, one_of(VALUES)),
    "set_output": (one_of(RANGES[1:]), one_of(PICKS), one_of(range(3))),
    "clear": (one_of(RANGES),),
    "error": (an_address,),
    "grow_foreign": (),
    "reset": (),
}
"""What can be called, and with what."""
CHURN = ("alloc_small", "free_live", "alloc_good", "free_live", "set_output")
HOSTILE = ("alloc", *(name for name in VOCABULARY if name not in CHURN), "free_live")


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
    """Plays a program: turns picks into handles and addresses of the moment."""

    def __init__(self, model: Model) -> None:
        self.model = model

    def address(self, spec: object) -> int:
        assert isinstance(spec, tuple)
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
        return int(base + step) % (1 << 64)

    def handle(self, pick: object) -> int:
        """Return a live handle; there must be one."""
        live = self.model.live
        return list(live)[number(pick) % len(live)]

    def play(self, operation: Operation) -> None:
        name, *rest = operation
        model = self.model
        if name in {"alloc", "alloc_small", "alloc_good"}:
            model.alloc(number(rest[0]))
        elif name == "free":
            model.free(self.address(rest[0]))
        elif name == "free_live":
            if model.live:
                model.free(self.handle(rest[0]))
        elif name == "store_u8":
            model.store_u8(self.address(rest[0]), number(rest[1]))
        elif name in {"store_u64", "store_address"}:
            value = self.address(rest[1]) if isinstance(rest[1], tuple) else number(rest[1])
            self.store_u64(self.address(rest[0]), value)
        elif name == "load":
            model.check_loads(self.address(rest[0]))
        elif name == "error":
            model.set_error(self.address(rest[0]))
        elif name in {"grow_foreign", "reset"}:
            getattr(model, str(name))()
        else:
            self.set_register(str(name), rest)

    def store_u64(self, address: int, value: int) -> None:
        # Across the start of the first block: whether the bytes inside are written is nowhere said.
        if not self.model.bottom - 8 < address < self.model.bottom:
            self.model.store_u64(address, value)

    def set_register(self, name: str, rest: list[object]) -> None:
        set_it = self.model.set_input if rest[0] == "input" else self.model.set_output
        if name == "clear":
            set_it(0, 0)
        elif name == "set_hostile":
            start, length = self.address(rest[1]), number(rest[2])
            if length:  # an empty range elsewhere than at (0, 0) is nowhere described
                set_it(start, length)
        elif self.model.live:
            handle = self.handle(rest[1])
            length = len(self.model.live[handle])
            skip = number(rest[2]) * (length // 4)
            if rest[0] == "input" and skip and handle in self.model.held:
                return
            set_it(handle + skip, length - skip)


def number(value: object) -> int:
    assert isinstance(value, int)
    return value


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
