"""What the tests of the kernel's behaviour share: metered modules, trapping growth, and reading memory."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, cast

import wasmtime

from build_tools.bench.metered import U64, Instance, NamedModule, Workshop

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PAGE = 65_536
GETTERS = ("input_offset", "input_length", "output_offset", "output_length", "error_get")
GROW = b"\x40\x00"
UNREACHABLE_TWICE = b"\x00\x00"


def read(instance: Instance, address: int, length: int) -> bytes:
    """Return bytes of memory, as a host reads them."""
    return bytes(instance.memory.read(instance.store, address, address + length))


def write(instance: Instance, address: int, data: bytes) -> None:
    """Write bytes of memory, as a host does."""
    instance.memory.write(instance.store, data, address)


def pages(instance: Instance) -> int:
    """Return the size of memory."""
    return instance.memory.size(instance.store)


def registers(instance: Instance) -> tuple[int, ...]:
    """Return what the five getters say."""
    return tuple(instance.call(name) for name in GETTERS)


class ModuleMachine:
    """An instance of the module, for the model."""

    def __init__(self, instance: Instance) -> None:
        self.instance = instance
        self.call = instance.call

    def read(self, address: int, length: int) -> bytes:
        """Return bytes of memory, as a host reads them."""
        return read(self.instance, address, length)

    def pages(self) -> int:
        """Return the size of memory."""
        return pages(self.instance)

    def grow(self, delta: int) -> None:
        """Grow memory, as a host does."""
        self.instance.memory.grow(self.instance.store, delta)

    def scan(self) -> None:
        """Judge nothing: a module shows no more than its exports do."""


def with_trapping_growth(data: bytes) -> bytes:
    """Return a module whose every `memory.grow` traps, as under a limiter that traps."""
    code = _suite("mutants.kernel_mutants.code").read_code(data)
    patched = bytearray(data)
    places = [
        instruction.start
        for function in code.functions
        for instruction in function.instructions
        if instruction.name == "memory.grow"
    ]
    assert places, "the kernel grows its memory somewhere"
    for at in places:
        assert data[at : at + 2] == GROW
        patched[at : at + 2] = UNREACHABLE_TWICE
    return bytes(patched)


class Metered:
    """A kernel whose calls can be cut before any instruction, which wasmtime's own fuel cannot do."""

    def __init__(self, data: bytes) -> None:
        add_meter = cast("Callable[[bytes], bytes]", _suite("mutants.kernel_mutants.meter").add_meter)
        self.workshop = Workshop(NamedModule(name="metered", data=add_meter(data)))

    def instantiate(self) -> Cuttable:
        """Return a fresh instance."""
        return Cuttable(self.workshop.engine, self.workshop.module)


class Cuttable(Instance):
    """An instance with a meter."""

    PLENTY = 1 << 62

    def cut(self, fuel: int, name: str, *args: int) -> bool:
        """Call an export with so much fuel; say whether it was cut."""
        meter = self.exports["meter"]
        function = self.exports[name]
        assert isinstance(meter, wasmtime.Global)
        assert isinstance(function, wasmtime.Func)
        self.store.set_fuel(1_000_000_000)
        meter.set_value(self.store, fuel)
        try:
            function(self.store, *args)
        except wasmtime.Trap as trap:
            if trap.trap_code != wasmtime.TrapCode.UNREACHABLE or meter.value(self.store):
                raise  # the kernel trapped by itself
            return True
        else:
            return False
        finally:
            meter.set_value(self.store, self.PLENTY)

    def fuel_of(self, name: str, *args: int) -> int:
        """Return the instructions of one whole call."""
        meter = self.exports["meter"]
        assert isinstance(meter, wasmtime.Global)
        meter.set_value(self.store, self.PLENTY)
        self.call(name, *args)
        left = meter.value(self.store)
        assert isinstance(left, int)
        return self.PLENTY - left


def hostile_values(*near: int) -> Iterator[int]:
    """Yield handles and addresses of every magnitude, and those around what is `near`."""
    for bit in range(64):
        yield from ((1 << bit) - 1, 1 << bit, (1 << bit) + 8)
    yield from (U64 - 7, U64 - 8, U64 - 15, U64 - 16)
    for value in near:
        yield from (value + step for step in (-16, -8, -4, -1, 1, 4, 8, 16, 63, 64, 72))


def _suite(name: str) -> Any:  # noqa: ANN401 - a module found by its name
    """Return a module of the suite's tools, which no distribution carries."""
    return importlib.import_module(name)
