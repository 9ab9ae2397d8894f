"""Clauses of kernel-src/CONTRACT.md that show from outside, on the built module."""

from __future__ import annotations

import ctypes
import re
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import pytest
import wasmtime

from build_tools.wasm import parse_module

if TYPE_CHECKING:
    from collections.abc import Callable

    from build_tools.model import StagedKernel

ROOT = Path(__file__).resolve().parents[2]
PAGE = 65_536
U64 = (1 << 64) - 1
FUEL = 1 << 40
HOSTILE_VALUES = (0, U64, U64 - 11, 1 << 32, 0x0101010101010101)


def _signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value


class MeteredKernel:
    """One instance whose calls are counted; `limit` is the most pages its memory may have."""

    def __init__(self, data: bytes, *, limit: int | None = None) -> None:
        config = wasmtime.Config()
        config.consume_fuel = True
        engine = wasmtime.Engine(config)
        self.store = wasmtime.Store(engine)
        if limit is not None:
            self.store.set_limits(memory_size=limit * PAGE)
        self.store.set_fuel(FUEL)
        instance = wasmtime.Instance(self.store, wasmtime.Module(engine, data), [])
        self._exports = instance.exports(self.store)
        memory = self._exports["memory"]
        assert isinstance(memory, wasmtime.Memory)
        self.memory = memory
        self.fuel = 0

    def call(self, name: str, *arguments: int, fuel: int = FUEL) -> int:
        """Call an export with u64 arguments; the result as u64, or 0. `fuel` cuts the call with a trap."""
        function = self._exports[name]
        assert isinstance(function, wasmtime.Func)
        self.store.set_fuel(fuel)
        try:
            result = function(
                self.store, *(value - (1 << 64) if value >> 63 else value for value in arguments)
            )
        finally:
            self.fuel = fuel - self.store.get_fuel()
            self.store.set_fuel(FUEL)
        return 0 if result is None else result & U64

    def write(self, address: int, data: bytes) -> None:
        assert address + len(data) <= self.memory.data_len(self.store)
        ctypes.memmove(self._base() + address, data, len(data))

    def read(self, address: int, count: int) -> bytes:
        assert address + count <= self.memory.data_len(self.store)
        return ctypes.string_at(self._base() + address, count)

    def _base(self) -> int:
        return ctypes.addressof(self.memory.data_ptr(self.store).contents)

    def pages(self) -> int:
        return self.memory.size(self.store)

    def grow_by_others(self, pages: int) -> None:
        self.memory.grow(self.store, pages)


@pytest.fixture(scope="session")
def kernel_path(built: StagedKernel) -> Path:
    return built.folder / "extism-runtime.wasm"


@pytest.fixture(scope="session")
def data(kernel_path: Path) -> bytes:
    return kernel_path.read_bytes()


@pytest.fixture
def kernel(data: bytes) -> MeteredKernel:
    return MeteredKernel(data)


def test_s1_surface_is_one_memory_and_no_import(data: bytes) -> None:
    module = parse_module(data)
    assert not module.imports
    assert MeteredKernel(data).pages() <= 2


def test_s3_both_generations_of_names_share_state(kernel: MeteredKernel) -> None:
    handle = kernel.call("extism_alloc", 5)
    assert kernel.call("length", handle) == 5
    assert kernel.call("extism_length", handle) == 5
    kernel.call("extism_store_u8", handle, 7)
    assert kernel.call("load_u8", handle) == 7


def test_s6_u8_is_zero_extended_and_cut_to_8_bits(kernel: MeteredKernel) -> None:
    handle = kernel.call("alloc", 1)
    kernel.call("store_u8", handle, 0x1FF)
    assert kernel.call("load_u8", handle) == 0xFF
    kernel.call("input_set", handle, 1)
    assert kernel.call("input_load_u8", 0) == 0xFF


def test_a1_a6_handles_are_aligned_disjoint_and_exact(kernel: MeteredKernel) -> None:
    assert kernel.call("alloc", 0) == 0
    end = 0
    for length in (1, 7, 8, 9, 100, 1024, 1025, 70_000):
        handle = kernel.call("alloc", length)
        assert handle % 8 == 0
        assert handle >= end
        end = handle + length
        assert kernel.call("length", handle) == length
        assert all(kernel.call("length", handle + near) == 0 for near in (1, 2, 3, 4, 8, 16, U64 - handle))


@pytest.mark.parametrize("length", [U64, U64 - 12, 1 << 48, 1 << 63, 1 << 32, (1 << 32) - 1, 4_294_897_296])
def test_a1_absurd_lengths_are_refused(data: bytes, length: int) -> None:
    kernel = MeteredKernel(data, limit=100)
    handle = kernel.call("alloc", 3)
    assert kernel.call("alloc", length) == 0
    assert kernel.call("length", handle) == 3


def test_a3_growth_asks_for_what_is_needed(kernel: MeteredKernel) -> None:
    for length in (PAGE, 10 * PAGE, 100 * PAGE + 1, 3):
        before = kernel.pages()
        assert kernel.call("alloc", length)
        assert kernel.pages() - before <= -(-length // PAGE) + 1
    assert kernel.call("memory_bytes") == kernel.pages() * PAGE


def test_a3_pages_of_others_stay_theirs(kernel: MeteredKernel) -> None:
    for _ in range(3):
        start = kernel.pages() * PAGE
        kernel.grow_by_others(1)
        kernel.write(start, b"\xee" * PAGE)
        handle = kernel.call("alloc", 70_000)
        assert handle
        assert handle >= start + PAGE or handle + 70_000 <= start
        assert kernel.read(start, PAGE) == b"\xee" * PAGE
    kernel.call("reset")
    assert kernel.call("alloc", 70_000)


def test_a4_a_refusal_changes_nothing(data: bytes) -> None:
    kernel = MeteredKernel(data, limit=17)
    handle = kernel.call("alloc", 128 * 1024)
    assert handle
    assert kernel.call("alloc", 17 * PAGE) == 0
    assert kernel.call("length", handle) == 128 * 1024
    assert kernel.call("alloc", 13 * PAGE)


def test_a5_reuse_is_late_for_small_blocks_and_at_once_for_large(kernel: MeteredKernel) -> None:
    large = kernel.call("alloc", 65_535)
    kernel.call("free", large)
    assert kernel.call("alloc", 65_535) == large
    small = kernel.call("alloc", 1)
    kernel.call("free", small)
    assert kernel.call("alloc", 2) != small


def test_a5_neighbours_coalesce_and_memory_stays(data: bytes) -> None:
    kernel = MeteredKernel(data, limit=2)
    handles: list[int] = []
    while handle := kernel.call("alloc", 1000):
        handles.append(handle)
    for handle in [*handles[1::2], *handles[::2]]:
        kernel.call("free", handle)
    assert kernel.call("alloc", 1000 * len(handles)) == handles[0]


def test_a7_r3_a_held_block_lives_until_its_register_changes(kernel: MeteredKernel) -> None:
    output, error = kernel.call("alloc", 10), kernel.call("alloc", 20)
    kernel.call("output_set", output, 10)
    kernel.call("error_set", error)
    for handle in (output, error, output, error):
        kernel.call("free", handle)
    assert (kernel.call("length", output), kernel.call("length", error)) == (10, 20)
    kernel.call("output_set", 0, 0)
    kernel.call("error_set", 0)
    assert (kernel.call("length", output), kernel.call("length", error)) == (0, 0)


def test_a7_freeing_the_input_clears_it(kernel: MeteredKernel) -> None:
    handle = kernel.call("alloc", 10)
    kernel.call("input_set", handle, 10)
    kernel.call("free", handle)
    assert kernel.call("input_length") == 0
    assert kernel.call("input_load_u8", 0) == 0


def test_m1_m2_loads_and_stores_end_where_the_blocks_do(kernel: MeteredKernel) -> None:
    handle = kernel.call("alloc", 20)
    kernel.call("store_u64", handle + 16, U64)
    assert kernel.call("load_u64", handle + 12) == U64 << 32 & U64
    assert kernel.call("load_u64", handle + 13) == 0
    assert kernel.call("load_u8", handle + 20) == 0
    for address in (0, 7, handle - 1, handle + 20, 1 << 32, (1 << 32) + handle, U64, U64 - 7):
        kernel.call("store_u8", address, 255)
        kernel.call("store_u64", address, U64)
        assert kernel.call("load_u8", address) == 0
        assert kernel.call("load_u64", address) == 0
    assert kernel.read(0, 8) == bytes(8)


def test_m3_no_store_reaches_the_state(kernel: MeteredKernel) -> None:
    handles = [kernel.call("alloc", 100) for _ in range(60)]
    for handle in handles[5:50:3]:
        kernel.call("free", handle)
    kernel.call("output_set", handles[0], 100)
    kernel.call("error_set", handles[1])
    kernel.call("input_set", handles[2] + 4, 40)
    end = kernel.pages() * PAGE

    def state() -> list[int]:
        registers = ("input_offset", "input_length", "output_offset", "output_length", "error_get")
        lengths = [kernel.call("length", handle) for handle in handles]
        return [*(kernel.call(name) for name in registers), *lengths]

    want = state()
    for value in HOSTILE_VALUES:
        for address in [*range(0, handles[-1] + 120, 4), *range(end - 4096, end + 16, 4), 1 << 32, U64 - 3]:
            kernel.call("store_u64", address, value)
        assert state() == want
    for handle in handles:
        kernel.call("free", handle)
    assert kernel.call("length", handles[0]) == 100
    assert kernel.call("length", handles[2]) == 0


def test_m4_input_loads_stay_inside_the_input(kernel: MeteredKernel) -> None:
    assert kernel.call("input_load_u64", U64 - 7) == 0
    handle = kernel.call("alloc", 30)
    kernel.write(handle, bytes(range(1, 31)))
    kernel.call("input_set", handle + 2, 10)
    assert kernel.call("input_load_u8", 9) == 12
    assert kernel.call("input_load_u8", 10) == 0
    assert kernel.call("input_load_u64", 2) == int.from_bytes(bytes(range(5, 13)), "little")
    assert kernel.call("input_load_u64", 3) == 0


def test_r1_r2_r4_registers_take_only_what_was_handed_out(kernel: MeteredKernel) -> None:
    handle = kernel.call("alloc", 100)
    kernel.call("input_set", handle, 100)
    kernel.call("output_set", handle + 10, 20)
    assert kernel.call("length", kernel.call("input_offset")) == kernel.call("input_length") == 100
    for offset, length in ((handle, 101), (handle, U64 - 9), (0, 1), (U64, 1), (handle + 101, 0)):
        kernel.call("output_set", offset, length)
        kernel.call("input_set", offset, length)
    assert (kernel.call("output_offset"), kernel.call("output_length")) == (handle + 10, 20)
    kernel.call("error_set", handle + 8)
    assert kernel.call("error_get") == 0
    kernel.call("error_set", handle)
    assert kernel.call("error_get") == handle


@pytest.mark.parametrize("name", ["length", "free", "load_u8", "load_u64", "error_set", "input_load_u8"])
def test_l1_any_export_can_be_the_first_call(data: bytes, name: str) -> None:
    kernel = MeteredKernel(data)
    for argument in (0, 1, 8, 400, 416, 131_071, 1 << 32, U64):
        kernel.call(name, argument)
    assert kernel.call("error_get") == kernel.call("output_length") == kernel.call("input_offset") == 0
    assert kernel.call("memory_bytes") == kernel.pages() * PAGE
    assert kernel.call("alloc", 10)


def test_l2_reset_gives_the_first_handle_again_and_hides_what_was_written(kernel: MeteredKernel) -> None:
    first = kernel.call("alloc", 100_000)
    kernel.write(first, b"\xab" * 100_000)
    kernel.call("reset")
    assert kernel.call("length", first) == 0
    assert kernel.call("alloc", 50) == first
    assert not any(kernel.read(first, 50))
    assert not any(kernel.read(kernel.call("alloc", 99_000), 99_000))


def test_l4_two_instances_share_nothing(data: bytes) -> None:
    one, two = MeteredKernel(data), MeteredKernel(data)
    assert one.call("alloc", 10) == two.call("alloc", 20)
    assert one.call("length", one.call("alloc", 3)) == 3
    two.call("reset")
    assert one.call("length", one.call("alloc", 4)) == 4


def test_l5_many_calls_use_no_more_memory_than_one(kernel: MeteredKernel) -> None:
    for size in (300_000, *([1, 5000, 300_000] * 2000)):
        kernel.call("reset")
        kernel.call("input_set", kernel.call("alloc", size), size)
    assert kernel.pages() <= 2 + -(-300_000 // PAGE)


class Cut(Protocol):
    """A call that is cut when its fuel is used up."""

    def __call__(self, *, fuel: int) -> int: ...


def _grow(kernel: MeteredKernel) -> Cut:
    return partial(kernel.call, "alloc", kernel.pages() * PAGE)


def _first(kernel: MeteredKernel) -> Cut:
    return partial(kernel.call, "alloc", 64)


def _split(kernel: MeteredKernel) -> Cut:
    big = kernel.call("alloc", 40_000)
    kernel.call("alloc", 10)
    kernel.call("free", big)
    return partial(kernel.call, "alloc", 2000)


def _merge(kernel: MeteredKernel) -> Cut:
    handles = [kernel.call("alloc", 50) for _ in range(4)]
    kernel.call("free", handles[0])
    kernel.call("free", handles[2])
    return partial(kernel.call, "free", handles[1])


def _let_go(kernel: MeteredKernel) -> Cut:
    handles = [kernel.call("alloc", 50) for _ in range(3)]
    kernel.call("free", handles[0])
    kernel.call("error_set", handles[1])
    kernel.call("free", handles[1])
    return partial(kernel.call, "error_set", 0)


def _reset(kernel: MeteredKernel) -> Cut:
    for _ in range(4):
        kernel.call("alloc", 50)
    return partial(kernel.call, "reset")


@pytest.mark.parametrize("prepare", [_first, _grow, _split, _merge, _let_go, _reset])
@pytest.mark.parametrize("life", ["first", "second"])
def test_l3_reset_mends_a_call_that_was_cut_anywhere(
    data: bytes, prepare: Callable[[MeteredKernel], Cut], life: str
) -> None:
    first = MeteredKernel(data).call("alloc", 1)
    for fuel in (*range(1, 3000), FUEL):
        kernel = MeteredKernel(data)
        if life == "second":
            handle = kernel.call("alloc", 100_000)
            kernel.write(handle, b"\xcd" * 100_000)
            kernel.call("reset")
        action = prepare(kernel)
        try:
            action(fuel=fuel)
            is_cut = False
        except wasmtime.Trap:
            is_cut = True
        for name in ("error_get", "output_offset", "output_length", "input_length"):
            kernel.call(name)
        kernel.call("length", kernel.call("error_get"))
        kernel.call("error_set", 0)
        kernel.call("reset")
        _check_fresh(kernel, first)
        if not is_cut:
            return
    pytest.fail("the call never ended")


def _check_fresh(kernel: MeteredKernel, first: int) -> None:
    assert kernel.call("length", first) == 0
    assert [kernel.call(name) for name in ("error_get", "output_offset", "input_offset")] == [0, 0, 0]
    handles = [kernel.call("alloc", length) for length in (64, 5000, 90_000)]
    assert handles[0] == first
    assert [kernel.call("length", handle) for handle in handles] == [64, 5000, 90_000]
    for handle, length in zip(handles, (64, 5000, 90_000), strict=True):
        assert not any(kernel.read(handle, length))
        kernel.call("free", handle)
    assert kernel.call("alloc", 94_000)


def test_c1_no_call_depends_on_the_number_of_blocks(data: bytes) -> None:
    kernel = MeteredKernel(data)
    handles = [kernel.call("alloc", 1 + at % 40) for at in range(20_000)]
    end = handles[-1]
    for address in range(handles[0] - 16, end, 8):
        kernel.call("store_u64", address, U64)
    most = 0
    for at in range(0, 20_000, 7):
        for name, argument in (
            ("length", handles[at]),
            ("length", handles[at] + 8),
            ("error_set", handles[at]),
            ("free", handles[at]),
            ("free", handles[at]),
            ("free", handles[at] + 16),
        ):
            kernel.call(name, argument)
            most = max(most, kernel.fuel)
    for argument in (U64, 1 << 32, end + 1000, 5):
        for name in ("length", "free", "error_set", "load_u8", "load_u64"):
            kernel.call(name, argument)
            most = max(most, kernel.fuel)
    assert most <= 2000


def test_c1_alloc_is_bounded_under_pressure(data: bytes) -> None:
    kernel = MeteredKernel(data, limit=20)
    handles: list[int] = []
    while handle := kernel.call("alloc", 1000 if len(handles) % 2 else 300):
        handles.append(handle)
    for handle in handles[::2]:
        kernel.call("free", handle)
    most = 0
    for length in (200, 900, 1000, 310, 5000, 16) * 50:
        kernel.call("alloc", length)
        most = max(most, kernel.fuel)
    assert most <= 2000


def test_c2_calls_cost_at_most_what_the_contract_says(kernel: MeteredKernel) -> None:
    handles: list[int] = []
    total = 0
    for _ in range(1000):
        handles.append(kernel.call("alloc", 64))
        total += kernel.fuel
    block = handles[500]
    kernel.call("input_set", block, 64)
    costs: dict[str, float] = {"alloc": total / 1000}
    calls: dict[str, tuple[int, ...]]
    calls = {"load_u8": (block,), "load_u64": (block,), "store_u8": (block, 1), "store_u64": (block, 1)}
    calls |= {"input_load_u8": (3,), "input_load_u64": (3,), "length": (block,), "length_unsafe": (block,)}
    calls |= dict.fromkeys(
        ("input_offset", "input_length", "output_offset", "output_length", "error_get"), ()
    )
    for name, arguments in calls.items():
        kernel.call(name, *arguments)
        costs[name] = kernel.fuel
    most = {"alloc": 82, "load_u8": 21, "load_u64": 24, "store_u8": 18, "store_u64": 21, "input_load_u8": 26}
    most |= {"input_load_u64": 28, "length": 40, "length_unsafe": 40}
    assert {name: cost for name, cost in costs.items() if cost > most.get(name, 13)} == {}


def test_c3_reset_costs_the_same_after_any_use(data: bytes) -> None:
    kernel = MeteredKernel(data)
    assert kernel.call("alloc", 300 << 20)
    kernel.call("reset")
    assert kernel.fuel <= 5000


def test_c4_size_is_at_most_upstreams(data: bytes) -> None:
    assert len(data) <= 3474


def test_contract_clauses_each_have_a_test() -> None:
    contract = (ROOT / "kernel-src" / "CONTRACT.md").read_text("utf-8")
    clauses = set(re.findall(r"\*\*([SAMRLC]-\d+)\*\*", contract))
    assert {"S-1", "A-1", "M-1", "R-1", "L-1", "C-1"} <= clauses
    sources = [*(ROOT / "tests").rglob("*.py"), *(ROOT / "tests").rglob("*.json")]
    sources += (ROOT / "kernel-src" / "tests").rglob("*.rs")
    text = "\n".join(path.read_text("utf-8") for path in sources)
    named = set(re.findall(r"\b([SAMRLC]-\d+)\b", text))
    named |= {f"{a.upper()}-{n}" for a, n in re.findall(r"(?<=_)([samrlc])(\d+)(?=_)", text)}
    assert clauses - named == set()
