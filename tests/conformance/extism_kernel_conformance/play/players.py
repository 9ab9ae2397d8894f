"""Who plays the cases of each profile."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from extism_kernel_conformance.cases.load import Case
from extism_kernel_conformance.play.machine import Machine
from extism_kernel_conformance.play.probe_player import play_probe_case
from extism_kernel_conformance.play.sdk_player import play_sdk_case
from extism_kernel_conformance.play.target import Target

Player = Callable[[Case, Target], None]
"""Plays one case; raises CaseFailed, CaseSkipped or AdapterFault."""


def play_kernel_case(case: Case, target: Target) -> None:
    """Play a case of the kernel profile: the adapter calls the kernel's exports."""
    Machine(target.connection, target.kernel, max_pages=case.max_pages).play(case.setup, case.steps)


PLAYERS: Mapping[str, Player] = {
    "kernel": play_kernel_case,
    "sdk": lambda case, target: play_sdk_case(case, target.connection, target.kernel),
    "probe": play_probe_case,
}
"""The player of each profile in `profiles.PROFILES`, and of kernel cases in an SDK (`probe_cases`)."""
