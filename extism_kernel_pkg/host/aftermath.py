"""Gathers what an error tells about the call that it ended."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from extism_kernel_pkg.host.errors import PluginError
from extism_kernel_pkg.host.evidence import LimitUse
from extism_kernel_pkg.host.output import STDERR, STDOUT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from extism_kernel_pkg.host.manifest import Manifest
    from extism_kernel_pkg.host.output import GuestOutput
    from extism_kernel_pkg.host.store import GuestStore
    from extism_kernel_pkg.host.vars import Vars


def measure_limits(
    manifest: Manifest, began: float, guest: GuestStore | None, variables: Vars
) -> Iterator[LimitUse]:
    """Yield each limit that is set, and how much of it was used since `began` (of `time.monotonic`)."""
    if manifest.timeout_ms is not None:
        elapsed = round((time.monotonic() - began) * 1000)
        yield LimitUse(name="time", used=elapsed, limit=manifest.timeout_ms, unit="ms")
    budget = None if guest is None else guest.budget
    if budget is not None and budget.max_pages is not None:
        yield LimitUse(name="memory", used=budget.used, limit=budget.max_pages, unit="pages")
    if guest is not None and guest.fuel_limit is not None:
        yield LimitUse(name="fuel", used=guest.fuel_used, limit=guest.fuel_limit, unit="units")
    limit = manifest.memory.max_var_bytes
    yield LimitUse(name="vars", used=variables.size, limit=limit, unit="bytes")


def describe_call(error: PluginError, limits: Iterator[LimitUse], output: GuestOutput) -> None:
    """Add to an error what its call used and wrote, and the frames of what it was raised from."""
    error.limits = tuple(limits)
    error.stdout, error.stderr = map(output.last_lines, (STDOUT, STDERR))
    if not error.frames and isinstance(error.__cause__, PluginError):
        error.frames = error.__cause__.frames
