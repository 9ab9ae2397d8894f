"""WASI preview 1 for plug-ins that import it: the runtime's, and ours where that would wait.

The runtime's own `poll_oneoff` sleeps where nothing can wake it, so a guest could hold its host as
long as it likes. Ours sleeps no longer than the call may last; with it comes `clock_time_get`, for
both must read the same clock.
"""

from __future__ import annotations

import functools
import struct
import threading
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from wasmtime import Engine, Linker, WasiConfig, WasmtimeError

from extism_kernel_pkg.host.capi import BYTES, address_of, lib
from extism_kernel_pkg.host.capi_table import ffi
from extism_kernel_pkg.host.errors import HostFunctionError, ManifestError
from extism_kernel_pkg.host.wasi_files import EFAULT, FILE_FUNCTIONS, SUCCESS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from extism_kernel_pkg.host.calls import Extern
    from extism_kernel_pkg.host.contract import Signature
    from extism_kernel_pkg.host.store import GuestStore
    from extism_kernel_pkg.host.store_memory import StoreMemory
    from extism_kernel_pkg.host.wasi_options import WasiOptions

WASI_MODULE: Final = "wasi_snapshot_preview1"

_READ_ONLY: Final = "ro:"
_EINVAL: Final = 28
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


def wasi_config(allowed_paths: Mapping[str, str], options: WasiOptions) -> WasiConfig:
    """Return what the guest sees of the system: the allowed folders, and what the options say.

    The runtime resolves every path inside these folders; neither `..` nor a symbolic link leads out.
    Raises `ManifestError` for a folder that does not exist any more.
    """
    config = WasiConfig()
    config.argv = list(options.args)
    config.env = list(options.env.items())
    if options.stdin:
        _set_stdin(config, options.stdin)
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


def _set_stdin(config: WasiConfig, data: bytes) -> None:
    """Let a guest read these bytes from its standard input."""
    given = ffi.new(BYTES)
    lib.wasm_byte_vec_new(given, len(data), data)
    lib.wasi_config_set_stdin_bytes(address_of(config), given)


def find_wasi(guest: GuestStore, name: str) -> Extern | None:
    """Return one function of WASI, the runtime's or ours where that would wait; None if there is none."""
    if name in FILE_FUNCTIONS:
        signature, act = FILE_FUNCTIONS[name]

        def run(caller: object, *arguments: int) -> int:
            return act(guest.files, _memory(guest, caller), *arguments)

        return guest.calls.define(signature, run, wants_caller=True)
    if name in _OURS:
        signature, act = _OURS[name]
        return guest.calls.define(signature, partial(act, guest), wants_caller=True)
    return find_real_wasi(guest, name)


def find_real_wasi(guest: GuestStore, name: str) -> Extern | None:
    """Return one function of the runtime's WASI; None if there is none."""
    return guest.calls.linked(_linker_of(guest.engine), WASI_MODULE, name)


@functools.lru_cache(maxsize=4)
def _linker_of(engine: Engine) -> Linker:
    linker = Linker(engine)
    linker.define_wasi()
    return linker


def _clock_time_get(guest: GuestStore, caller: int, clock: int, _precision: int, address: int) -> int:
    read = _CLOCKS.get(clock)
    if read is None:
        return _EINVAL
    return _write(_memory(guest, caller), address, struct.pack("<Q", read()))


def _poll_oneoff(  # noqa: PLR0913, PLR0917 - as WASI has them
    guest: GuestStore, caller: int, subscriptions: int, events: int, count: int, written: int
) -> int:
    if not 0 < count <= _MAX_SUBSCRIPTIONS:
        return _EINVAL
    memory = _memory(guest, caller)
    data = _read(memory, subscriptions, count * _SUBSCRIPTION.size)
    if data is None:
        return EFAULT
    ready = _wait_for_first(guest, data)
    out = b"".join(_EVENT.pack(userdata, SUCCESS, tag, 0, 0) for userdata, tag in ready)
    return _write(memory, events, out) or _write(memory, written, struct.pack("<I", len(ready)))


_OURS: Final[dict[str, tuple[Signature, Callable[..., int]]]] = {
    "clock_time_get": ((("i32", "i64", "i32"), ("i32",)), _clock_time_get),
    "poll_oneoff": ((("i32", "i32", "i32", "i32"), ("i32",)), _poll_oneoff),
}


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


def _memory(guest: GuestStore, caller: object) -> StoreMemory:
    memory = guest.calls.caller_memory(caller)
    if memory is None:
        raise HostFunctionError("a module that imports WASI exports no `memory`")
    return memory


def _read(memory: StoreMemory, address: int, length: int) -> bytes | None:
    return memory.read(address, length) if address + length <= memory.size() else None


def _write(memory: StoreMemory, address: int, data: bytes) -> int:
    if address + len(data) > memory.size():
        return EFAULT
    memory.write(address, data)
    return SUCCESS
