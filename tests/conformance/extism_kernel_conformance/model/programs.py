"""Random programs: what a hostile guest, a busy one, and a careless host do."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from extism_kernel_conformance.model.machine import PAGE
from extism_kernel_conformance.model.operations import U64, Operation, Place
from extism_kernel_conformance.model.ranges import KEPT, RECORD

if TYPE_CHECKING:
    from random import Random

    from extism_kernel_conformance.model.contract import Model

FAR = (0, 7, 8, 16, 57, 256, 1 << 16, 1 << 31, (1 << 32) - 4, 1 << 32, (1 << 32) + 2048, 1 << 63, U64 - 7)
VALUES = (0, 1, U64, U64 - 11, 1 << 31, 1 << 32, 0x0101_0101_0101_0101, 0x0102_0304_0506_0708)
SMALL = (1, 7, 8, 16, 17, 24, 33, 48, 63, 64, 100, 200, 345, 500, 1000, 1024)
LARGE = (1025, 1500, 2000, 3000, 4000, 5000, 9000, 20_000, 65_535, 65_536, 150_000)
REFUSED = (0, 1 << 31, (1 << 32) - 2048, (1 << 32) - 16, 1 << 32, (1 << 32) + 64, U64 - 11, U64)
STEPS = (-24, -16, -12, -9, -8, -4, -1, 0, 0, 0, 0, 1, 3, 4, 8, 15)
SPARED = (0, 300, 1100, 2100, 2200, 2300, 3000, 5000, 10_000, 20_000)
OVERHEAD = (-64, -48, -32, -24, -20, -16, -4, 0, 0, 4, 16, 20, 24, 32, 48, 64, 128)
"""Lengths that leave about no byte beside a block that takes all the rest."""
HALF = 0.5
TAIL = 904
"""What our kernel has behind its table, with its last record."""


class Theme(NamedTuple):
    """How often each word comes, and the memory that the program can have."""

    weights: dict[str, int]
    pages: tuple[int, ...]
    length: int


CHURN = Theme(
    {
        "small": 6,
        "large": 8,
        "split": 4,
        "free": 12,
        "output": 2,
        "part": 2,
        "clear": 1,
        "fill": 3,
        "rest": 1,
    },
    (3, 4, 8, 20),
    120,
)
FULL = Theme(
    {
        "small": 12,
        "large": 2,
        "many": 2,
        "rest": 4,
        "exact": 3,
        "free": 10,
        "split": 2,
        "fill": 2,
        "reset": 1,
    },
    (2, 3, 4, 6),
    120,
)
HOSTILE = Theme(
    {
        "small": 5, "large": 2, "refused": 2, "free": 3, "free_any": 4, "store": 8, "load": 8, "input": 4,
        "fill": 4, "output": 3, "part": 3, "across": 2, "hostile": 5, "error": 4, "clear": 2, "reset": 1,
        "input_load": 5,
    },
    (3, 8),
    80,
)  # fmt: skip
LIVES = Theme(
    {
        "small": 6, "large": 4, "many": 1, "rest": 2, "exact": 1, "free": 4, "fill": 8, "reset": 4, "grow": 2,
        "output": 1, "across": 2, "store": 2, "load": 1, "refused": 1,
    },
    (4, 8, 12, 20),
    80,
)  # fmt: skip
GROWTH = Theme(
    {"large": 6, "rest": 2, "exact": 2, "free": 3, "fill": 3, "grow": 1, "reset": 1, "huge": 4, "many": 1},
    (100, 300),
    60,
)
TINY = Theme(
    {"small": 6, "large": 3, "free": 6, "output": 1, "error": 1, "input": 1, "reset": 1, "load": 2},
    (2, 3, 4),
    25,
)
THEMES = (CHURN, CHURN, FULL, FULL, HOSTILE, HOSTILE, LIVES, LIVES, GROWTH, TINY)


class Inventor:
    """Chooses one operation after the other, knowing what the model knows."""

    def __init__(self, random: Random, theme: Theme) -> None:
        self._random = random
        self._words = list(theme.weights)
        self._weights = list(theme.weights.values())
        self._next = 0
        self._tags: dict[int, int] = {}

    def invent(self, model: Model) -> list[Operation]:
        """Return the next operations, mostly one."""
        (word,) = self._random.choices(self._words, self._weights)
        return getattr(self, f"_{word}")(model) or []

    def _new(self, length: int) -> Operation:
        self._next += 1
        return Operation("alloc", (max(0, length) & U64,), self._next)

    def _filled(self, length: int) -> list[Operation]:
        """Ask for a block, and often write something into it: what is read is then not 0 anyhow."""
        made = self._new(length)
        if not length or self._random.random() < HALF:
            return [made]
        return [made, Operation("write", (Place(made.label), length, self._random.randint(1, 255)))]

    def _label(self, model: Model) -> int | None:
        """Return the label of a live block, mostly of any, at times of the last."""
        order = model.blocks.order
        if not order:
            return None
        handle = self._random.choice(order)
        return model.name(handle).label

    def _place(self, model: Model) -> Place:
        """Return an address near something."""
        choose, label = self._random.choice, self._label(model)
        step = choose(STEPS)
        base = choose(("start", "start", "end", "ended", "bottom", "top", "far"))
        if base == "far" or label is None:
            return Place(None, choose(FAR) + step & U64)
        if base == "ended" and model.ended:
            return self._near(model, choose(sorted(model.ended)), step)
        if base in {"bottom", "top"}:
            return self._near(model, model.bottom if base == "bottom" else model.blocks.top, step)
        return Place(label, step + (model.blocks.lengths[model.handles[label]] if base == "end" else 0))

    def _near(self, model: Model, address: int, step: int) -> Place:
        place = model.name(address)
        return Place(place.label, place.offset + step)

    def _small(self, _: Model) -> list[Operation]:
        random = self._random
        return self._filled(random.choice(SMALL) if random.random() < 0.7 else random.randint(1, 1100))

    def _large(self, _: Model) -> list[Operation]:
        random = self._random
        some = int(1024 * 2 ** random.uniform(0, 6))
        return self._filled(random.choice(LARGE) if random.random() < HALF else some)

    def _huge(self, model: Model) -> list[Operation]:
        return [self._new(self._random.randint(1, max(2, model.limit // 3)) * PAGE)]

    def _refused(self, _: Model) -> list[Operation]:
        return [self._new(self._random.choice(REFUSED))]

    def _many(self, _: Model) -> list[Operation]:
        length = self._random.choice(SMALL[:8])
        return [self._new(length) for _ in range(self._random.choice((10, 20, 70)))]

    def _rest(self, model: Model) -> list[Operation]:
        pages = self._random.choice((model.limit, model.owned))
        top = model.blocks.top or model.bottom
        return [self._new(max(1, pages * PAGE - top - self._random.choice(SPARED)))]

    def _exact(self, model: Model) -> list[Operation]:
        """Ask for about all that is left, so that a byte more or less decides."""
        pages = self._random.choice((model.limit, model.owned))
        top = model.ranges.last if model.ranges is not None else model.blocks.top
        used = (
            top + KEPT + TAIL + RECORD * (model.ranges.records if model.ranges is not None else model.count)
        )
        return [self._new(max(1, pages * PAGE - used + self._random.choice(OVERHEAD)))]

    def _split(self, model: Model) -> list[Operation]:
        """Ask for nearly what a block that ended, or a range, has."""
        ranges = model.ranges
        if ranges is None or not (
            free := [place for members in ranges.classes.values() for place in members]
        ):
            return self._large(model)
        size = ranges.ranges[self._random.choice(free)].size
        return [
            self._new(
                max(1, size + self._random.choice((-80, -64, -48, -47, -33, -32, -31, -17, -16, -15, 0)))
            )
        ]

    def _free(self, model: Model) -> list[Operation] | None:
        label = self._label(model)
        return None if label is None else [Operation("free", (Place(label),))]

    def _free_any(self, model: Model) -> list[Operation]:
        return [Operation("free", (self._place(model),))]

    def _fill(self, model: Model) -> list[Operation] | None:
        label = self._label(model)
        if label is None:
            return None
        length = model.blocks.lengths[model.handles[label]]
        return [Operation("write", (Place(label), length, self._random.randint(1, 255)))]

    def _store(self, model: Model) -> list[Operation] | None:
        random, place = self._random, self._place(model)
        value = random.choice(VALUES)
        if model.bottom - 8 < model.address(place) < model.bottom:
            return None  # across the first handle: what becomes of the bytes inside is nowhere said
        if random.random() < 0.5:
            return [Operation("store_u8", (place, value & 0xFF))]
        return [Operation("store_u64", (place, value))]

    def _load(self, model: Model) -> list[Operation]:
        return [Operation(self._random.choice(("load_u8", "load_u64")), (self._place(model),))]

    def _input_load(self, model: Model) -> list[Operation]:
        length = model.input[1]
        near = self._random.choice((0, length // 2, length)) + self._random.choice((-9, -8, -7, -1, 0, 1))
        offset = near if self._random.random() < 0.8 else self._random.choice(FAR)
        return [Operation(self._random.choice(("input_load_u8", "input_load_u64")), (offset & U64,))]

    def _range(self, register: str, model: Model) -> list[Operation] | None:
        label = self._label(model)
        if label is None:
            return None
        length = model.blocks.lengths[model.handles[label]]
        skip = self._random.choice((0, 0, 0, length // 4, length // 2, length - 1, length))
        rest = length - skip
        return [
            Operation(
                register, (Place(label, skip), self._random.choice((rest, rest, rest, min(4, rest), 0)))
            )
        ]

    def _input(self, model: Model) -> list[Operation] | None:
        return self._range("input_set", model)

    def _output(self, model: Model) -> list[Operation] | None:
        return self._range("output_set", model)

    _part = _output

    def _across(self, model: Model) -> list[Operation] | None:
        one, other = self._label(model), self._label(model)
        if one is None or other is None:
            return None
        first, last = sorted((model.handles[one], model.handles[other]))
        length = last + model.blocks.lengths[last] - first
        return [Operation("output_set", (model.name(first), length))]

    def _hostile(self, model: Model) -> list[Operation]:
        length = self._random.choice((*VALUES, 0, 4, 8, 16, max(model.blocks.top - model.bottom, 0)))
        return [Operation(self._random.choice(("input_set", "output_set")), (self._place(model), length))]

    def _clear(self, _: Model) -> list[Operation]:
        return [Operation(self._random.choice(("input_set", "output_set")), (0, 0))]

    def _error(self, model: Model) -> list[Operation]:
        label = self._label(model)
        if self._random.random() < 0.2:
            return [Operation("error_set", (0,))]
        if label is not None and self._random.random() < 0.7:
            return [Operation("error_set", (Place(label),))]
        return [Operation("error_set", (self._place(model),))]

    def _grow(self, _: Model) -> list[Operation]:
        return [Operation("grow", (1,))]

    def _reset(self, _: Model) -> list[Operation]:
        return [Operation("reset")]
