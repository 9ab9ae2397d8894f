"""Which of the kernel's functions a host lets its guests import: asked once for each, with a tiny plug-in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from extism_kernel_conformance.adapter.process import AdapterCrash
from extism_kernel_conformance.base.outcome import CaseSkipped
from extism_kernel_conformance.probe.module import make_importer

if TYPE_CHECKING:
    from collections.abc import Iterable

    from extism_kernel_conformance.adapter.answers import Answer
    from extism_kernel_conformance.adapter.connection import Connection
    from extism_kernel_conformance.adapter.session import AdapterSession
    from extism_kernel_conformance.wasm.module import Kernel

PLUGIN = "probe"
_SHARE_OF_TIMEOUT = 1 / 3
"""The host's own limit comes first: what it says is worth more than that nothing came."""


class OfferedImports:
    """Remembers, for one configuration, which imports its host has refused."""

    def __init__(self, session: AdapterSession, kernel: Kernel) -> None:
        self._session = session
        self._kernel = kernel
        self._offered: dict[tuple[str, str], bool] = {}

    def check(self, imports: Iterable[tuple[str, str]], timeout: float) -> None:
        """Raise CaseSkipped for the first import that the host refuses; AdapterFault if nothing comes."""
        for each in imports:
            if each not in self._offered:
                self._offered[each] = self._ask(*each, timeout)
            if not self._offered[each]:
                raise CaseSkipped(f"needs {'.'.join(each)}, which this host does not offer to guests")

    def _ask(self, module: str, name: str, timeout: float) -> bool:
        connection = self._session.connection(timeout)
        try:
            answer = load_probe(connection, self._kernel, make_importer(module, name))
        except AdapterCrash:  # that is a case of its own (H-1); here it is a way to refuse
            self._session.abandon()
            return False
        if answer["result"] == "reject":
            return False
        connection.ask("unload", plugin=PLUGIN)
        return True


def load_probe(connection: Connection, kernel: Kernel, module: bytes) -> Answer:
    """Load a plug-in with a time limit, or without one where the SDK has no words for it."""
    milliseconds = int(connection.timeout * 1000 * _SHARE_OF_TIMEOUT)
    manifests: tuple[dict[str, int], ...] = ({"timeout_ms": milliseconds}, {})
    for manifest in manifests:
        answer = connection.ask(
            "load",
            plugin=PLUGIN,
            modules=[{"name": "main", "bytes": module.hex()}],
            manifest=manifest,
            log_level="off",
            http_response_headers=False,
            kernel=kernel.data.hex(),
        )
        if answer["result"] != "unsupported":
            return answer
    raise CaseSkipped("needs to load a plug-in, which this adapter does not support")
