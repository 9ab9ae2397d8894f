"""A complete Extism host: `contract.py` says what any host must do, the rest does it with wasmtime."""

from __future__ import annotations

from importlib.util import find_spec as _find_spec

if _missing := [name for name in ("wasmtime", "urllib3", "idna") if _find_spec(name) is None]:
    # The last two are imported with the first HTTP request; that they are missing is told here.
    raise ModuleNotFoundError(
        f"the host needs `{_missing[0]}`; install it with `pip install 'extism-kernel[host]'`",
        name=_missing[0],
    )

from extism_kernel_pkg.host.env import TRACE
from extism_kernel_pkg.host.errors import (
    FunctionNotFoundError,
    GuestError,
    HostFunctionError,
    HttpDeniedError,
    KernelError,
    ManifestError,
    PluginBusyError,
    PluginCancelledError,
    PluginClosedError,
    PluginError,
    PluginExitError,
    PluginLoadError,
    PluginOutOfMemoryError,
    PluginTimeoutError,
    PluginTrapError,
)
from extism_kernel_pkg.host.functions import (
    F32,
    F64,
    I32,
    I64,
    U32,
    U64,
    CurrentPlugin,
    HostFunction,
    Json,
    host_function,
)
from extism_kernel_pkg.host.manifest import Manifest, MemoryLimits, WasmSource, parse_manifest
from extism_kernel_pkg.host.plugin import GUEST_LOGGER, CompiledPlugin, Plugin

__all__ = [
    "F32",
    "F64",
    "GUEST_LOGGER",
    "I32",
    "I64",
    "TRACE",
    "U32",
    "U64",
    "CompiledPlugin",
    "CurrentPlugin",
    "FunctionNotFoundError",
    "GuestError",
    "HostFunction",
    "HostFunctionError",
    "HttpDeniedError",
    "Json",
    "KernelError",
    "Manifest",
    "ManifestError",
    "MemoryLimits",
    "Plugin",
    "PluginBusyError",
    "PluginCancelledError",
    "PluginClosedError",
    "PluginError",
    "PluginExitError",
    "PluginLoadError",
    "PluginOutOfMemoryError",
    "PluginTimeoutError",
    "PluginTrapError",
    "WasmSource",
    "host_function",
    "parse_manifest",
]
