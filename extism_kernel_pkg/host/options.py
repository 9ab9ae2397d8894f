"""What can be chosen for each plug-in, also where many share one `CompiledPlugin`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypedDict

if TYPE_CHECKING:
    import logging
    from collections.abc import Mapping, Sequence

    from extism_kernel_pkg.host.functions import HostFunction
    from extism_kernel_pkg.host.manifest import MemoryLimits
    from extism_kernel_pkg.host.wasi_options import WasiOptions


class PluginOptions(TypedDict, total=False):
    """The options of `Plugin`, for those who make one for somebody else, such as `PluginPool`."""

    config: Mapping[str, str] | None
    memory: MemoryLimits | Mapping[str, Any] | None
    allowed_hosts: Sequence[str] | None
    allowed_paths: Mapping[str, str] | None
    timeout_ms: int | None
    functions: Sequence[HostFunction]
    http_response_headers: bool
    http_environment_proxies: bool
    wasi: WasiOptions | None
    fuel_limit: int | None
    logger: logging.Logger | None
