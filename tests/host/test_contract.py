"""`Exchange`, held against a kernel that answers as a test wants: what it decides, in which order."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from extism_kernel_pkg.host import (
    GuestError,
    HostFunctionError,
    KernelError,
    PluginExitError,
    PluginOutOfMemoryError,
    PluginTrapError,
)
from extism_kernel_pkg.host.contract import KERNEL_FUNCTIONS, Exchange, KernelAccess, Returned, Stopped

if TYPE_CHECKING:
    from extism_kernel_pkg.host.errors import PluginError

HANDLE = 64


class Scripted:
    """`KernelAccess` of 128 bytes whose exports answer 0 unless a test says otherwise."""

    def __init__(self, **answers: int) -> None:
        self.answers = answers
        self.calls: list[tuple[object, ...]] = []
        self.memory = bytearray(range(128))

    def call(self, name: str, *args: int) -> int:
        assert len(args) == len(KERNEL_FUNCTIONS[name][0])
        self.calls.append((name, *args))
        return self.answers.get(name, 0)

    def memory_size(self) -> int:
        return len(self.memory)

    def read(self, address: int, length: int) -> bytes:
        return bytes(self.memory[address : address + length])

    def write(self, address: int, data: bytes) -> None:
        self.memory[address : address + len(data)] = data


def test_put_copies_into_the_block_that_alloc_gave() -> None:
    kernel: KernelAccess = Scripted(alloc=HANDLE)
    assert Exchange(kernel).put(b"abc") == HANDLE
    assert kernel.read(HANDLE, 4) == b"abc\x43"


def test_put_of_nothing_is_handle_0_without_a_call() -> None:
    kernel = Scripted(alloc=HANDLE)
    assert Exchange(kernel).put(b"") == 0
    assert kernel.calls == []


def test_put_decides_that_handle_0_is_out_of_memory_and_writes_nothing() -> None:
    kernel = Scripted(alloc=0)
    with pytest.raises(PluginOutOfMemoryError, match=r"oom: `alloc\(3\)` was refused"):
        Exchange(kernel).put(b"abc")
    assert kernel.memory == bytearray(range(128))


@pytest.mark.parametrize("handle", [126, 128, 129, 2**32, 2**64 - 1, 2**64 - 2])
def test_put_refuses_a_handle_beyond_memory(handle: int) -> None:
    kernel = Scripted(alloc=handle)
    with pytest.raises(KernelError, match=f"returned {handle}, the kernel's memory has 128 bytes"):
        Exchange(kernel).put(b"abc")
    assert kernel.memory == bytearray(range(128))


@pytest.mark.parametrize(
    ("address", "length"), [(0, 129), (128, 1), (129, 0), (2**64 - 1, 2), (1, 2**64 - 1)]
)
def test_slice_refuses_what_is_beyond_memory(address: int, length: int) -> None:
    with pytest.raises(KernelError, match=f"describes {length} bytes at address {address}"):
        Exchange(Scripted()).slice(address, length)


def test_peek_tells_the_empty_string_from_an_unknown_handle() -> None:
    assert Exchange(Scripted()).peek(0) == b""
    with pytest.raises(HostFunctionError, match="invalid handle 7"):
        Exchange(Scripted(length=0)).peek(7)
    assert Exchange(Scripted(length=2)).peek(7) == b"\x07\x08"


def test_take_frees_after_it_has_read() -> None:
    kernel = Scripted(length=1)
    assert Exchange(kernel).take_two(65, "a text", 66) == ("A", b"B")
    assert kernel.calls == [("length", 66), ("length", 65), ("free", 65), ("free", 66)]


def test_call_begins_as_the_contract_says() -> None:
    kernel = Scripted(alloc=HANDLE)
    Exchange(kernel).open_call(b"abc")
    assert kernel.calls == [("error_set", 0), ("reset",), ("alloc", 3), ("input_set", HANDLE, 3)]
    kernel = Scripted()
    Exchange(kernel).open_call(b"")
    assert kernel.calls == [("error_set", 0), ("reset",), ("input_set", 0, 0)]


TRAP = Stopped(error=PluginTrapError("f", "unreachable"))
ERROR = {"error_get": 65, "length": 2}
ENDS: dict[str, tuple[dict[str, int], Returned | Stopped, type[PluginError] | bytes]] = {
    "output": ({"output_offset": 65, "output_length": 3}, Returned(status=0), b"ABC"),
    "no-output": ({}, Returned(status=0), b""),
    "error-with-result-0": (ERROR, Returned(status=0), GuestError),
    "error-and-result": (ERROR, Returned(status=1), GuestError),
    "error-and-trap": (ERROR, TRAP, GuestError),
    "freed-error": ({"error_get": 65, "length": 0}, Returned(status=0), b""),
    "trap": ({"output_offset": 65, "output_length": 3}, TRAP, PluginTrapError),
    "result": ({"output_offset": 65, "output_length": 3}, Returned(status=1), PluginExitError),
    "output-beyond-memory": ({"output_offset": 127, "output_length": 2}, Returned(status=0), KernelError),
    "error-beyond-memory": ({"error_get": 127, "length": 2}, TRAP, KernelError),
}


@pytest.mark.parametrize("end", ENDS)
def test_call_ends_with_the_error_that_counts(end: str) -> None:
    answers, outcome, want = ENDS[end]
    exchange = Exchange(Scripted(**answers))
    if isinstance(want, bytes):
        assert exchange.close_call("f", outcome) == want
        return
    with pytest.raises(want) as caught:
        exchange.close_call("f", outcome)
    if want is GuestError:
        assert str(caught.value) == "AB"
        assert caught.value.__cause__ is (outcome.error if isinstance(outcome, Stopped) else None)
