"""WASI preview 1 for plug-ins that import it: clocks, random numbers, and the folders of `allowed_paths`.

The runtime's own `poll_oneoff` sleeps where nothing can wake it, so a guest could hold its host as
long as it likes. Ours sleeps no longer than the call may last; with it comes `clock_time_get`, for
both must read the same clock.
"""

from __future__ import annotations

import struct
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from wasmtime import Caller, FuncType, Linker, Memory, ValType, WasiConfig, WasmtimeError

from extism_kernel_pkg.host.errors import HostFunctionError, ManifestError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from extism_kernel_pkg.host.store import GuestStore

WASI_MODULE: Final = "wasi_snapshot_preview1"

_READ_ONLY: Final = "ro:"
_SUCCESS, _EFAULT, _EINVAL = 0, 21, 28
_SUBSCRIPTION: Final = struct.Struct("<QB7xI4xQQH6x")  # userdata, tag, clock, timeout, precision, flags
_EVENT: Final = struct.Struct("<QHB5xQH6x")  # userdata, errno, type, bytes ready, flags
_CLOCK_TAG: Final = 0
_ABSOLUTE: Final = 1
_MAX_SUBSCRIPTIONS: Final = 1024
_CLOCKS: Final = {0: time.time_ns, 1: time.monotonic_ns}


def check_paths(allowed_paths: Mapping[str, str]) -> None:
    """Raise `ManifestError` for a folder that does not exist."""
    for key in allowed_paths:
        host_path = Path(key.removeprefix(_READ_ONLY))
        if not host_path.is_dir():
            raise ManifestError(
                f"`{host_path}` is not a folder",
                where="manifest, allowed_paths",
                hint="make it first; keys are folders of this machine, after an optional `ro:`",
            )


def wasi_config(allowed_paths: Mapping[str, str]) -> WasiConfig:
    """Return what the guest sees of the system: the allowed folders, no input, output to nowhere.

    The runtime resolves every path inside these folders; neither `..` nor a symbolic link leads out.
    Raises `ManifestError` for a folder that does not exist any more.
    """
    config = WasiConfig()
    check_paths(allowed_paths)
    for key, guest_path in allowed_paths.items():
        is_read_only = key.startswith(_READ_ONLY)
        host_path = Path(key.removeprefix(_READ_ONLY))
        try:
            config.preopen_dir(str(host_path), guest_path, not is_read_only)
        except WasmtimeError as error:
            raise ManifestError(
                f"`{host_path}` cannot be opened: {error}", where="manifest, allowed_paths"
            ) from None
    return config


def define_wasi(linker: Linker, guest: GuestStore) -> None:
    """Add WASI to a linker that allows shadowing, with the functions that wait replaced by ours."""
    linker.define_wasi()
    i32, i64 = ValType.i32(), ValType.i64()

    def clock_time_get(caller: Caller, clock: int, _precision: int, address: int) -> int:
        read = _CLOCKS.get(clock)
        if read is None:
            return _EINVAL
        return _write(caller, address, struct.pack("<Q", read()))

    def poll_oneoff(caller: Caller, subscriptions: int, events: int, count: int, written: int) -> int:
        count &= 0xFFFFFFFF
        if not 0 < count <= _MAX_SUBSCRIPTIONS:
            return _EINVAL
        data = _read(caller, subscriptions, count * _SUBSCRIPTION.size)
        if data is None:
            return _EFAULT
        ready = _wait_for_first(guest, data)
        out = b"".join(_EVENT.pack(userdata, _SUCCESS, tag, 0, 0) for userdata, tag in ready)
        return _write(caller, events, out) or _write(caller, written, struct.pack("<I", len(ready)))

    for name, params, function in (
        ("clock_time_get", [i32, i64, i32], clock_time_get),
        ("poll_oneoff", [i32, i32, i32, i32], poll_oneoff),
    ):
        linker.define_func(
            WASI_MODULE, name, FuncType(params, [i32]), guest.guard(function), access_caller=True
        )


def _wait_for_first(guest: GuestStore, data: bytes) -> list[tuple[int, int]]:
    """Sleep until the first clock is due; return (userdata, tag) of all that are ready.

    Files are always ready. A sleep that the call has no time for ends the call.
    """
    ready, clocks = [], []
    for userdata, tag, clock, timeout, _, flags in _SUBSCRIPTION.iter_unpack(data):
        if tag == _CLOCK_TAG:
            now = _CLOCKS.get(clock, time.monotonic_ns)()
            clocks.append((max(0, timeout - now) if flags & _ABSOLUTE else timeout, userdata))
        else:
            ready.append((userdata, tag))
    if not ready and clocks:
        due = min(clocks)[0]
        guest.interrupter.wait(threading.Event(), min(due / 1e9, threading.TIMEOUT_MAX))
        ready = [(userdata, _CLOCK_TAG) for nanoseconds, userdata in clocks if nanoseconds == due]
    return ready


def _memory(caller: Caller) -> Memory:
    memory = caller.get("memory")
    if not isinstance(memory, Memory):
        raise HostFunctionError("a module that imports WASI exports no `memory`")
    return memory


def _read(caller: Caller, address: int, length: int) -> bytes | None:
    memory, address = _memory(caller), address & 0xFFFFFFFF
    if address + length > memory.data_len(caller):
        return None
    return bytes(memory.read(caller, address, address + length))


def _write(caller: Caller, address: int, data: bytes) -> int:
    memory, address = _memory(caller), address & 0xFFFFFFFF
    if address + len(data) > memory.data_len(caller):
        return _EFAULT
    memory.write(caller, data, address)
    return _SUCCESS
