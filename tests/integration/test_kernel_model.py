"""Random programs, hostile ones too, on the staged module and on a model of the contract side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.integration.kernel_model import Model

if TYPE_CHECKING:
    from build_tools.costs import Workshop

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
SMALL = st.sampled_from((1, 7, 8, 16, 24, 63, 64, 200, 500, 1000, 1024))
LARGE = st.sampled_from((1025, 3000, 20_000, 65_535, 65_536, 150_000))
REFUSED = st.sampled_from((0, 1 << 31, 1 << 32, (1 << 64) - 12, (1 << 64) - 1))
LENGTHS = st.one_of(SMALL, SMALL, SMALL, LARGE, REFUSED)
PICK = st.integers(0, 1000)
STEP = st.sampled_from((-24, -16, -12, -8, -4, -1, 0, 0, 0, 1, 4, 8, 15))
ADDRESS = st.one_of(
    st.tuples(st.just("start"), PICK, STEP),
    st.tuples(st.just("end"), PICK, STEP),
    st.tuples(st.just("ended"), PICK, STEP),
    st.tuples(st.just("top"), PICK, STEP),
    st.tuples(st.just("far"), PICK, STEP),
)
PROGRAM = st.lists(
    st.one_of(
        st.tuples(st.just("alloc"), LENGTHS),
        st.tuples(st.just("alloc"), LENGTHS),
        st.tuples(st.just("free"), ADDRESS),
        st.tuples(st.just("free_live"), PICK),
        st.tuples(st.just("store_u8"), ADDRESS, st.integers(0, 255)),
        st.tuples(st.just("store_u64"), ADDRESS, st.sampled_from(VALUES)),
        st.tuples(st.just("store_u64"), ADDRESS, ADDRESS),
        st.tuples(st.just("load"), ADDRESS),
        st.tuples(st.just("set_part"), st.sampled_from(("input", "output")), PICK, PICK),
        st.tuples(
            st.just("set_hostile"), st.sampled_from(("input", "output")), ADDRESS, st.sampled_from(VALUES)
        ),
        st.tuples(st.just("clear"), st.sampled_from(("input", "output"))),
        st.tuples(st.just("error"), ADDRESS),
        st.tuples(st.just("grow_foreign")),
        st.tuples(st.just("reset")),
    ),
    min_size=15,
    max_size=80,
)
Operation = tuple[object, ...]


class Player:
    """Plays a program: turns picks into handles and addresses of the moment."""

    def __init__(self, model: Model) -> None:
        self.model = model

    def address(self, spec: object) -> int:
        assert isinstance(spec, tuple)
        kind, pick, step = spec
        model = self.model
        handles = list(model.live)
        base = FAR[pick % len(FAR)]
        if kind == "top":
            base = model.top
        elif kind == "ended" and model.ended:
            base = sorted(model.ended)[pick % len(model.ended)]
        elif kind in {"start", "end"} and handles:
            base = handles[pick % len(handles)]
            if kind == "end":
                base += len(model.live[base])
        return int(base + step) % (1 << 64)

    def play(self, operation: Operation) -> None:
        name, *rest = operation
        model = self.model
        if name == "alloc":
            model.alloc(number(rest[0]))
        elif name == "free":
            model.free(self.address(rest[0]))
        elif name == "free_live" and model.live:
            model.free(list(model.live)[number(rest[0]) % len(model.live)])
        elif name == "store_u8":
            model.store_u8(self.address(rest[0]), number(rest[1]))
        elif name == "store_u64":
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
        set_it = self.model.set_input if rest and rest[0] == "input" else self.model.set_output
        if name == "clear":
            set_it(0, 0)
        elif name == "set_hostile":
            start, length = self.address(rest[1]), number(rest[2])
            if length:  # an empty range elsewhere than at (0, 0) is nowhere described
                set_it(start, length)
        elif name == "set_part" and self.model.live:
            handles = list(self.model.live)
            handle = handles[number(rest[1]) % len(handles)]
            length = len(self.model.live[handle])
            skip = number(rest[2]) % 3 * (length // 4)
            if rest[0] == "input" and skip and handle in self.model.held:
                return
            set_it(handle + skip, length - skip)


def number(value: object) -> int:
    assert isinstance(value, int)
    return value


def run_program(workshop: Workshop, program: list[Operation], limit: int) -> None:
    kernel = workshop.instantiate(pages=limit)
    bottom = workshop.instantiate().call("alloc", 8)
    model = Model(kernel=kernel, limit=limit, bottom=bottom)
    player = Player(model)
    for operation in program:
        player.play(operation)
        model.check()
    model.reset()
    model.check()
    model.alloc(1000)
    model.check()


COMMON = settings(
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@settings(COMMON, max_examples=200)
@given(program=PROGRAM, limit=st.sampled_from((2, 3, 5, 64)))
def test_hostile_program_never_leaves_the_contract(
    program: list[Operation], limit: int, workshop: Workshop
) -> None:
    """M-1 to M-4, A-1, A-2, A-6, A-7, R-1 to R-4: the whole state after every call."""
    run_program(workshop, program, limit)


CHURN = st.lists(
    st.one_of(
        st.tuples(st.just("alloc"), SMALL),
        st.tuples(st.just("free_live"), PICK),
        st.tuples(st.just("alloc"), st.one_of(SMALL, LARGE)),
        st.tuples(st.just("free_live"), PICK),
        st.tuples(st.just("set_part"), st.just("output"), PICK, PICK),
    ),
    min_size=50,
    max_size=150,
)


@settings(COMMON, max_examples=40)
@given(program=CHURN)
def test_churn_in_little_memory_keeps_blocks_apart(program: list[Operation], workshop: Workshop) -> None:
    """A-1, A-5, R-3: frees and reuse in two pages."""
    run_program(workshop, program, 2)


FAULTS = {
    "a-length-that-changed": lambda model: model.live[model.bottom].extend(b"\0"),
    "a-byte-that-changed": lambda model: model.live[model.bottom].__setitem__(0, 9),
    "a-block-that-did-not-end": lambda model: model.end(model.bottom),
    "a-register-that-moved": lambda model: setattr(model, "error", 64),
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_model_trips_on(fault: object, workshop: Workshop) -> None:
    bottom = workshop.instantiate().call("alloc", 8)
    model = Model(kernel=workshop.instantiate(), limit=64, bottom=bottom)
    model.alloc(64)
    model.check()
    assert callable(fault)
    fault(model)
    with pytest.raises(AssertionError):
        model.check()
