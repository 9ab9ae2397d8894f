"""How a case of each profile is played on a connected adapter."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from .cases import Case
from .connection import Connection
from .machine import Machine
from .probe_player import play_probe_case
from .sdk_player import play_sdk_case
from .wasm import Kernel

Player = Callable[[Case, Connection, Kernel], None]
"""Plays one case; raises CaseFailed, CaseSkipped or AdapterFault."""


def play_kernel_case(case: Case, connection: Connection, kernel: Kernel) -> None:
    """Play a case of the kernel profile: the adapter calls the kernel's exports."""
    Machine(connection, kernel, max_pages=case.max_pages).play(case.setup, case.steps)


PLAYERS: Mapping[str, Player] = {"kernel": play_kernel_case, "sdk": play_sdk_case, "probe": play_probe_case}
"""The player of each profile in `profiles.PROFILES`, and of kernel cases in an SDK (`probe_cases`)."""
