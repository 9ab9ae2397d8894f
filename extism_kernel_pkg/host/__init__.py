"""A complete Extism host: `contract.py` says what any host must do, the rest does it with wasmtime."""

from __future__ import annotations

try:
    import urllib3 as _urllib3  # noqa: F401 - the check is the import
    import wasmtime as _wasmtime  # noqa: F401 - the check is the import
except ModuleNotFoundError as _error:
    raise ModuleNotFoundError(
        f"the host needs `{_error.name}`; install it with `pip install 'extism-kernel[host]'`",
        name=_error.name,
    ) from None

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
