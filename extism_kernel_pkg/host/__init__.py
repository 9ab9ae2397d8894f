"""A complete Extism host: `contract.py` says what any host must do, the rest does it with wasmtime.

wasmtime and urllib3, and what needs them, are imported with the first plug-in: they take most of the time.
"""

from __future__ import annotations

from extism_kernel_pkg.host.compiled_plugin import CompiledPlugin
from extism_kernel_pkg.host.env import TRACE
from extism_kernel_pkg.host.errors import (
    CacheFolderError,
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
    PluginFuelError,
    PluginLoadError,
    PluginOutOfMemoryError,
    PluginTimeoutError,
    PluginTrapError,
    PoolTimeoutError,
    StackTooSmallError,
)
from extism_kernel_pkg.host.evidence import Frame, KernelUse, LimitUse
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
from extism_kernel_pkg.host.options import PluginOptions
from extism_kernel_pkg.host.plugin import GUEST_LOGGER, Plugin
from extism_kernel_pkg.host.pool import PluginPool, PoolCounters
from extism_kernel_pkg.host.pooled import PooledPlugin
from extism_kernel_pkg.host.versions import check_dependencies
from extism_kernel_pkg.host.wasi_options import WasiOptions

check_dependencies()

__all__ = [
    "F32",
    "F64",
    "GUEST_LOGGER",
    "I32",
    "I64",
    "TRACE",
    "U32",
    "U64",
    "CacheFolderError",
    "CompiledPlugin",
    "CurrentPlugin",
    "Frame",
    "FunctionNotFoundError",
    "GuestError",
    "HostFunction",
    "HostFunctionError",
    "HttpDeniedError",
    "Json",
    "KernelError",
    "KernelUse",
    "LimitUse",
    "Manifest",
    "ManifestError",
    "MemoryLimits",
    "Plugin",
    "PluginBusyError",
    "PluginCancelledError",
    "PluginClosedError",
    "PluginError",
    "PluginExitError",
    "PluginFuelError",
    "PluginLoadError",
    "PluginOptions",
    "PluginOutOfMemoryError",
    "PluginPool",
    "PluginTimeoutError",
    "PluginTrapError",
    "PoolCounters",
    "PoolTimeoutError",
    "PooledPlugin",
    "StackTooSmallError",
    "WasiOptions",
    "WasmSource",
    "host_function",
    "parse_manifest",
]
