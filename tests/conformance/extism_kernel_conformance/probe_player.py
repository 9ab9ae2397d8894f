"""Plays a case of the kernel profile inside an SDK: as a plug-in that is made for it (see SDK.md)."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from .outcome import CaseFailed, CaseSkipped
from .probe_module import EXPORT, MARK, REPORT_LENGTH, imports_of, make_importer, make_module
from .probe_translate import translate

if TYPE_CHECKING:
    from .cases import Case
    from .connection import Answer, Connection
    from .probe_program import Program, Site
    from .wasm import Kernel

_PLUGIN = "probe"
_SHOWN = 160


def play_probe_case(case: Case, connection: Connection, kernel: Kernel) -> None:
    """Play a kernel case in a probe. Raises CaseFailed, CaseSkipped or AdapterFault."""
    program = translate(case)
    answer = _load(connection, kernel, make_module(program), milliseconds=_limit(connection))
    if answer["result"] == "reject":
        refused = [".".join(each) for each in imports_of(program) if _is_refused(connection, kernel, *each)]
        if refused:
            raise CaseSkipped(f"needs {', '.join(refused)}, which this host does not offer to guests")
        raise _failed("load", "the probe loads", f"reject: {answer['message']}")
    try:
        answer = connection.ask("invoke", plugin=_PLUGIN, function=EXPORT, input="")
        _judge(program, answer)
    finally:
        if connection.is_idle:  # else the adapter is at fault and will be ended
            connection.ask("unload", plugin=_PLUGIN)


def _limit(connection: Connection) -> int:
    """Return how long the host may let a probe run: less than the runner waits for the answer."""
    return int(connection.timeout * 1000 / 2)


def _load(connection: Connection, kernel: Kernel, module: bytes, *, milliseconds: int) -> Answer:
    """Load a probe with a time limit, or without one where the SDK has no words for it."""
    answer: Answer = {}
    for manifest in ({"timeout_ms": milliseconds}, {}):
        answer = connection.ask(
            "load",
            plugin=_PLUGIN,
            modules=[{"name": "main", "bytes": module.hex()}],
            manifest=manifest,
            log_level="off",
            http_response_headers=False,
            kernel=kernel.data.hex(),
        )
        if answer["result"] != "unsupported":
            return answer
    raise CaseSkipped("needs to load a plug-in without options, which this adapter does not support")


def _is_refused(connection: Connection, kernel: Kernel, module: str, name: str) -> bool:
    answer = _load(connection, kernel, make_importer(module, name), milliseconds=_limit(connection))
    if answer["result"] == "reject":
        return True
    connection.ask("unload", plugin=_PLUGIN)
    return False


def _judge(program: Program, answer: Answer) -> None:
    if answer["result"] == "fail":
        raise _failed("probe", "the probe ends", f"error: {answer['message']}")
    if answer["result"] != "ok":
        raise CaseSkipped("needs to call a plug-in, which this adapter does not support")
    output = bytes.fromhex(answer["output"])
    if len(output) != REPORT_LENGTH or int.from_bytes(output[:8], "little") != MARK:
        shown = output[:REPORT_LENGTH].hex() or "nothing"
        raise _failed("probe", "the probe's report as the output", f"output {shown} ({len(output)} bytes)")
    number, got, operand = struct.unpack("<3Q", output[8:])
    if number == 0 and got == len(program.sites):
        return
    if not 0 < number <= len(program.sites):
        raise _failed("probe", "the probe's report as the output", f"output {output.hex()}")
    site = program.sites[number - 1]
    raise _failed(site.where, site.expected.format(operand), _show(site, got, operand))


def _show(site: Site, got: int, offset: int) -> str:
    """Return what came as the kernel profile shows it: a number, or bytes."""
    if site.fill_length:
        width = 8 if offset + 8 <= site.fill_length else 1
        return f"{got.to_bytes(8, 'little')[:width].hex()} at +{offset}"
    return got.to_bytes(8, "little")[: site.width].hex() if site.width else str(got)


def _failed(where: str, expected: str, got: str) -> CaseFailed:
    """`got` goes into lists of known failures, so it is one short line."""
    return CaseFailed(where=where, expected=expected, got=" ".join(got.split())[:_SHOWN])
