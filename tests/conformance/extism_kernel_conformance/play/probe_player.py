"""Plays a case of the kernel profile inside an SDK: as a plug-in that is made for it (see SDK.md)."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from extism_kernel_conformance.base.outcome import CaseFailed, CaseSkipped
from extism_kernel_conformance.probe.imports import PLUGIN, load_probe
from extism_kernel_conformance.probe.module import EXPORT, MARK, REPORT_LENGTH, imports_of, make_module
from extism_kernel_conformance.probe.translate import translate

if TYPE_CHECKING:
    from extism_kernel_conformance.adapter.answers import Answer
    from extism_kernel_conformance.cases.load import Case
    from extism_kernel_conformance.play.target import Target
    from extism_kernel_conformance.probe.program import Program, Site

_SHOWN = 160


def play_probe_case(case: Case, target: Target) -> None:
    """Play a kernel case in a probe. Raises CaseFailed, CaseSkipped or AdapterFault."""
    program = translate(case)
    target.offers.check(imports_of(program), target.timeout)
    connection = target.connection
    answer = load_probe(connection, target.kernel, make_module(program))
    if answer["result"] == "reject":
        raise _failed("load", "the probe loads", f"reject: {answer['message']}")
    try:
        answer = connection.ask("invoke", plugin=PLUGIN, function=EXPORT, input="")
        judge_answer(program, answer)
    finally:
        if connection.is_idle:  # else the adapter is at fault and will be ended
            connection.ask("unload", plugin=PLUGIN)


def judge_answer(program: Program, answer: Answer) -> None:
    """Compare what the call of a probe was answered with what its report should be. Raises CaseFailed."""
    if answer["result"] == "fail":
        raise _failed("probe", "the probe ends", f"error: {answer['message']}")
    if answer["result"] != "ok":
        raise CaseSkipped("needs to call a plug-in, which this adapter does not support")
    output = bytes.fromhex(answer["output"])
    number, got, operand = _read_report(output)
    if number == 0 and got == len(program.sites):
        return
    if not 0 < number <= len(program.sites):
        shown = repr(output[:REPORT_LENGTH])[1:]
        raise _failed("probe", "the probe's report as the output", f"output {shown} ({len(output)} bytes)")
    site = program.sites[number - 1]
    raise _failed(site.where, site.expected.format(operand), _show(site, got, operand))


def _read_report(output: bytes) -> tuple[int, int, int]:
    """Return the three words behind the mark; the first is -1 if it is no report."""
    if len(output) != REPORT_LENGTH or int.from_bytes(output[:8], "little") != MARK:
        return -1, 0, 0
    number, got, operand = struct.unpack("<3Q", output[8:])
    return number, got, operand


def _show(site: Site, got: int, offset: int) -> str:
    """Return what came as the kernel profile shows it: a number, or bytes."""
    if site.fill_length:
        width = 8 if offset + 8 <= site.fill_length else 1
        return f"{got.to_bytes(8, 'little')[:width].hex()} at +{offset}"
    return got.to_bytes(8, "little")[: site.width].hex() if site.width else str(got)


def _failed(where: str, expected: str, got: str) -> CaseFailed:
    """`got` goes into lists of known failures, so it is one short line."""
    return CaseFailed(where=where, expected=expected, got=" ".join(got.split())[:_SHOWN])
