"""A host for the kernel in one file, on wasmtime: what a port to another runtime has to do.

    python host.py KERNEL PLUGIN FUNCTION < INPUTS

Each line of standard input is the input of one call; an empty line is an empty input. Answers go to
standard output, one a line, errors to standard error. The exit code is 0 if every call answered,
1 if one failed, 2 for a wrong command line or a module that cannot be loaded.
"""

from __future__ import annotations

import sys
from pathlib import Path

import wasmtime

NAMESPACE = "extism:host/env"
EXPORTS = (
    *("alloc", "free", "length", "length_unsafe", "load_u8", "load_u64", "store_u8", "store_u64"),
    *("input_set", "input_offset", "input_length", "input_load_u8", "input_load_u64"),
    *("output_set", "output_offset", "output_length"),
    *("error_set", "error_get", "reset", "memory_bytes"),
)
"""What every guest may import."""


class LoadError(Exception):
    """A module is not what it should be."""


class CallError(Exception):
    """A call that gave no answer; the text says why."""


class Host:
    """One kernel and one plug-in, linked."""

    def __init__(self, kernel: bytes, plugin: bytes, function: str) -> None:
        engine = wasmtime.Engine()
        self.store = wasmtime.Store(engine)
        linker = wasmtime.Linker(engine)
        self.kernel = linker.instantiate(self.store, wasmtime.Module(engine, kernel)).exports(self.store)
        # Guests get the kernel's functions, not its memory: what they store goes through its checks.
        for name in EXPORTS:
            export = self.kernel.get(name)
            if export is None:
                raise LoadError(f"the kernel exports no `{name}`")
            linker.define(self.store, NAMESPACE, name, export)
        guest = linker.instantiate(self.store, wasmtime.Module(engine, plugin)).exports(self.store)
        entry = guest.get(function)
        if not isinstance(entry, wasmtime.Func) or entry.type(self.store).params:
            raise LoadError(f"no export `{function}` of type () -> i32")
        self.entry = entry
        memory = self.kernel.get("memory")
        if not isinstance(memory, wasmtime.Memory):
            raise LoadError("the kernel exports no memory `memory`")
        self.memory = memory

    def ask(self, name: str, *numbers: int) -> int:
        """Call an export of the kernel. Results are unsigned; wasmtime shows them as signed."""
        export = self.kernel[name]
        assert isinstance(export, wasmtime.Func)  # seen when the plug-in was linked
        result: int | None = export(self.store, *numbers)
        return (result or 0) % 2**64

    def put(self, data: bytes) -> int:
        """Copy bytes into a new block and return its handle."""
        handle = self.ask("alloc", len(data))
        if handle == 0:  # address 0 is not ours: nothing may be written there
            raise CallError("out of memory")
        self.check(handle, len(data))
        self.memory.write(self.store, data, handle)
        return handle

    def take(self, address: int, length: int) -> bytes:
        """Copy bytes out of the kernel's memory."""
        self.check(address, length)
        return bytes(self.memory.read(self.store, address, address + length))

    def check(self, address: int, length: int) -> None:
        """Raise `CallError` if the range is not inside memory: whoever wrote the kernel may be wrong."""
        size = self.memory.data_len(self.store)
        if address > size or length > size - address:
            raise CallError(f"the kernel describes {length} bytes at {address}, its memory has {size}")

    def call(self, data: bytes) -> bytes:
        """Call the plug-in's function. Raises `CallError`; the next call works all the same."""
        # 1. Open the call. `error_set` comes first, also on an instance that was never reset.
        self.ask("error_set", 0)
        self.ask("reset")  # ends all blocks of the call before
        self.ask("input_set", self.put(data) if data else 0, len(data))  # (0, 0) clears the input
        # 2. The guest's function. A trap is kept, for the guest may have set its error before.
        trap = None
        status = 0
        try:
            status = self.entry(self.store) or 0
        except (wasmtime.Trap, wasmtime.WasmtimeError) as error:
            trap = error
        # 3. Close the call: read the registers in every case. An error that the guest set counts first,
        #    also with result 0; then a trap; then a result other than 0.
        address, length = self.ask("output_offset"), self.ask("output_length")
        error_handle = self.ask("error_get")
        error_length = self.ask("length", error_handle)  # of handle 0 it is 0
        if error_handle and error_length:
            raise CallError(self.take(error_handle, error_length).decode(errors="replace")) from trap
        if trap is not None:
            words = str(trap).strip().splitlines()  # the stack, and last what happened
            raise CallError(f"the plug-in trapped: {words[-1].strip()}") from trap
        if status != 0:
            raise CallError(f"the plug-in returned {status}")
        return self.take(address, length)


def main() -> int:
    """Run the command line and return its exit code."""
    if len(sys.argv) != 4:
        print("usage: python host.py KERNEL PLUGIN FUNCTION < INPUTS", file=sys.stderr)
        return 2
    _, kernel, plugin, function = sys.argv
    try:
        host = Host(Path(kernel).read_bytes(), Path(plugin).read_bytes(), function)
    except (OSError, LoadError, wasmtime.Trap, wasmtime.WasmtimeError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    answered = [answer(host, line.removesuffix(b"\n")) for line in sys.stdin.buffer]
    return 0 if all(answered) else 1


def answer(host: Host, data: bytes) -> bool:
    """Make one call, print what came of it, and say whether it was an answer."""
    try:
        output = host.call(data)
    except CallError as error:
        print(f"error: {error}", file=sys.stderr)
        return False
    sys.stdout.buffer.write(output + b"\n")
    sys.stdout.flush()
    return True


if __name__ == "__main__":
    sys.exit(main())
