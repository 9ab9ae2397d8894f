"""What a player needs besides the case: the adapter, the kernel, and what is known of them so far."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from extism_kernel_conformance.adapter.connection import Connection
    from extism_kernel_conformance.adapter.session import AdapterSession
    from extism_kernel_conformance.probe.imports import OfferedImports
    from extism_kernel_conformance.wasm.module import Kernel


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One configuration as one case finds it."""

    session: AdapterSession
    kernel: Kernel
    timeout: float
    """Seconds that an answer may take in this case."""
    offers: OfferedImports
    """What the host of the sdk profile offers to guests."""
    transport: frozenset[str] = frozenset()
    """The capabilities to use that change how operations travel, `batch` and `modules`."""

    @property
    def connection(self) -> Connection:
        """The live connection. Raises AdapterFault if the adapter does not start."""
        connection = self.session.connection(self.timeout)
        connection.enable(self.transport)
        return connection
