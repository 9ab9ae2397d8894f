"""An Extism host on wasm3, to show that `host/contract.py` is all that a port has to follow.

    python wasm3_host.py PLUGIN FUNCTION < INPUT > OUTPUT

wasm3 is an interpreter in C; `pip install pywasm3` gives it to Python. It has no reference types, so
it takes the core flavour of the kernel. A runtime of wasm3 has one memory, so kernel and guest have
one each, and every import of the guest is a Python function. Limits, WASI and HTTP are left out.
"""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import wasm3

from extism_kernel_pkg import kernel_bytes
from extism_kernel_pkg.host.contract import (
    ENV_MODULE,
    HOST_FUNCTIONS,
    KERNEL_FUNCTIONS,
    NOT_IN_OLD_ENV,
    OLD_ENV_MODULE,
    OLD_PREFIX,
    Exchange,
    Returned,
    Signature,
    Stopped,
)
from extism_kernel_pkg.host.errors import HostFunctionError, KernelError, PluginError, PluginTrapError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from extism_kernel_pkg.host.functions import HostFunction

STACK_BYTES = 256 * 1024
LETTERS = {"i32": "i", "i64": "I", "f32": "f", "f64": "F"}
LOG_LEVEL_OFF = 2**31 - 1


def to_unsigned(kind: str, value: Any) -> Any:  # noqa: ANN401 - a number of WebAssembly
    """Return what wasm3 gave, as the contract counts."""
    return value % 2 ** int(kind[1:]) if kind in {"i32", "i64"} else value


def to_signed(kind: str, value: Any) -> Any:  # noqa: ANN401
    """Return what the contract counts, as wasm3 takes it: it refuses 2**63 and more."""
    if kind not in {"i32", "i64"}:
        return value
    half = 2 ** (int(kind[1:]) - 1)
    return (value + half) % (2 * half) - half


class WasmThreeKernel:
    """`KernelAccess` on wasm3."""

    def __init__(self) -> None:
        environment = wasm3.Environment()
        self._runtime = environment.new_runtime(STACK_BYTES)
        self._runtime.load(environment.parse_module(kernel_bytes("core")))
        self._functions = {name: self._runtime.find_function(name) for name in KERNEL_FUNCTIONS}

    def call(self, name: str, *args: int) -> int:
        params, results = KERNEL_FUNCTIONS[name]
        try:
            result = self._functions[name](*map(to_signed, params, args))
        except RuntimeError as error:
            raise KernelError(f"the kernel's `{name}` trapped: {error}") from None
        return int(to_unsigned(results[0], result)) if results else 0

    def memory_size(self) -> int:
        return len(self._runtime.get_memory(0))

    def read(self, address: int, length: int) -> bytes:
        return bytes(self._runtime.get_memory(0)[address : address + length])

    def write(self, address: int, data: bytes) -> None:
        self._runtime.get_memory(0)[address : address + len(data)] = data


class WasmThreePlugin:
    """One guest with its kernel. `functions` are made with `host_function`, `log` receives (level, text)."""

    def __init__(
        self,
        wasm: bytes,
        *,
        config: Mapping[str, str] | None = None,
        functions: Iterable[HostFunction] = (),
        log: Callable[[str, str], None] | None = None,
    ) -> None:
        self.vars: dict[str, bytes] = {}
        self._config = config or {}
        self._log = log
        self._kernel = WasmThreeKernel()
        self._exchange = Exchange(self._kernel)
        environment = wasm3.Environment()
        self._runtime = environment.new_runtime(STACK_BYTES)
        self._module = environment.parse_module(wasm)
        self._runtime.load(self._module)
        for name, signature in KERNEL_FUNCTIONS.items():
            self._link_env(name, signature, lambda *args, name=name: self._kernel.call(name, *args))
        for name, signature in HOST_FUNCTIONS.items():
            self._link_env(name, signature, getattr(self, f"_{name}", self._refuse))
        for item in functions:
            kinds = tuple(codec.wasm for codec in item.params), (item.result.wasm,) if item.result else ()
            for namespace in item.namespaces:
                self._link(
                    namespace,
                    item.name,
                    kinds,
                    lambda *args, item=item: item.call(self._exchange, None, *args),
                )

    def call(self, name: str, data: bytes) -> bytes:
        """Call an export of type () -> i32 or () -> (). Raises `PluginError`."""
        function = self._runtime.find_function(name)
        self._exchange.open_call(data)
        outcome: Returned | Stopped
        try:
            outcome = Returned(status=function() or 0)
        except PluginError as error:  # from a host function, through wasm3
            outcome = Stopped(error=error)
        except RuntimeError as error:
            outcome = Stopped(error=PluginTrapError(name, str(error).removeprefix("[trap] ")))
        return self._exchange.close_call(name, outcome)

    def _link_env(self, name: str, signature: Signature, run: Callable[..., int | None]) -> None:
        self._link(ENV_MODULE, name, signature, run)
        if name not in NOT_IN_OLD_ENV:
            self._link(OLD_ENV_MODULE, OLD_PREFIX + name, signature, run)

    def _link(self, module: str, name: str, signature: Signature, run: Callable[..., Any]) -> None:
        params, results = signature

        def call(*args: Any) -> Any:  # noqa: ANN401
            result = run(*map(to_unsigned, params, args))
            return to_signed(results[0], result) if results else None

        letters = "".join(LETTERS[kind] for kind in results) or "v"
        form = f"{letters}({''.join(LETTERS[kind] for kind in params)})"
        with contextlib.suppress(RuntimeError):  # the guest does not import it
            self._module.link_function(module, name, form, call)

    def _config_get(self, key: int) -> int:
        return self._exchange.put(
            self._config.get(self._exchange.take_text(key, "the config key"), "").encode()
        )

    def _var_get(self, key: int) -> int:
        return self._exchange.put(self.vars.get(self._exchange.take_text(key, "the var's name"), b""))

    def _var_set(self, key: int, value: int) -> None:
        name, data = self._exchange.take_two(key, "the var's name", value)
        if data:
            self.vars[name] = data
        else:
            self.vars.pop(name, None)

    def _refuse(self, *args: int) -> int:
        for handle in args:
            self._exchange.free(handle)
        raise HostFunctionError("this host makes no HTTP requests")

    def _http_status_code(self) -> int:
        return 0

    def _http_headers(self) -> int:
        return 0

    def _get_log_level(self) -> int:
        return 0 if self._log else LOG_LEVEL_OFF

    def _write_log(self, level: str, message: int) -> None:
        text = self._exchange.take(message).decode(errors="replace")
        if self._log:
            self._log(level, text)

    def _log_trace(self, message: int) -> None:
        self._write_log("trace", message)

    def _log_debug(self, message: int) -> None:
        self._write_log("debug", message)

    def _log_info(self, message: int) -> None:
        self._write_log("info", message)

    def _log_warn(self, message: int) -> None:
        self._write_log("warn", message)

    def _log_error(self, message: int) -> None:
        self._write_log("error", message)


def main() -> int:
    """Run one call; 0 if it gave an answer, 1 if not."""
    try:
        wasm, function = Path(sys.argv[1]).read_bytes(), sys.argv[2]
        plugin = WasmThreePlugin(wasm, log=lambda level, text: print(f"{level}: {text}", file=sys.stderr))
        output = plugin.call(function, sys.stdin.buffer.read())
    except IndexError:
        print("usage: python wasm3_host.py PLUGIN FUNCTION < INPUT", file=sys.stderr)
        return 2
    except (OSError, RuntimeError, PluginError) as error:
        print(error.render() if isinstance(error, PluginError) else f"error: {error}", file=sys.stderr)
        return 1
    sys.stdout.buffer.write(output)
    return 0


if __name__ == "__main__":
    sys.exit(main())
