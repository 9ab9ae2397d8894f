"""How WebAssembly ended that did not come back by itself, as the C API tells it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from wasmtime import TrapCode

from extism_kernel_pkg.host.capi import BYTE, BYTES, INT, lib
from extism_kernel_pkg.host.capi_table import ffi

if TYPE_CHECKING:
    from collections.abc import Callable


class CallEndedError(Exception):
    """WebAssembly did not come back by itself; the message is the runtime's, with the frames.

    `code` is the kind of a trap, `exit_status` what was given to `proc_exit`; `failure` is what a callback
    of this store raised. At most one is not None.
    """

    def __init__(
        self,
        message: str,
        *,
        code: TrapCode | None = None,
        exit_status: int | None = None,
        failure: BaseException | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.exit_status = exit_status
        self.failure = failure


def read_ending(trap: Any, error: Any, failure: BaseException | None) -> CallEndedError:  # noqa: ANN401 - cffi's
    """Return what a trap or an error says, and free it; at most one of them is there."""
    if trap:
        trap = ffi.gc(trap, lib.wasm_trap_delete)
        return CallEndedError(_text(lib.wasm_trap_message, trap), code=_code(trap), failure=failure)
    if error:
        error = ffi.gc(error, lib.wasmtime_error_delete)
        status = ffi.new(INT)
        has_status = failure is None and lib.wasmtime_error_exit_status(error, status)
        return CallEndedError(
            _text(lib.wasmtime_error_message, error),
            exit_status=status[0] if has_status else None,
            failure=failure,
        )
    return CallEndedError("came back before it could be stopped", failure=failure)


def _text(read: Callable[[Any, Any], None], source: Any) -> str:  # noqa: ANN401 - cffi's
    """Return the message of a trap or an error; that of a trap ends with a zero."""
    message = ffi.new(BYTES)
    read(source, message)
    try:
        return ffi.unpack(message.data, message.size).rstrip(b"\0").decode(errors="replace")  # type: ignore[no-any-return]
    finally:
        lib.wasm_byte_vec_delete(message)


def _code(trap: Any) -> TrapCode | None:  # noqa: ANN401 - cffi's
    code = ffi.new(BYTE)
    if not lib.wasmtime_trap_code(trap, code):
        return None
    return TrapCode(code[0]) if code[0] in TrapCode._value2member_map_ else None
