"""Exports cases as `.wast` scripts, for engines that have a runner of WebAssembly's own test scripts.

A script fixes the kernel and varies the engine: it holds the kernel's bytes, and asserts what a reference
engine answered when the case was played once, handles that were bound at run time included. What a host
does to memory is done by a small second module that imports the kernel's memory. Fuel has no counterpart in
such scripts, so cases that cut calls are left out, and so are cases the reference does not pass.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from extism_kernel_conformance.base.errors import SuiteError
from extism_kernel_conformance.base.files import write_whole
from extism_kernel_conformance.run.known_failures import KnownFailures
from extism_kernel_conformance.run.runner import (
    ConfigurationBrokenError,
    ConfigurationRun,
    ConfigurationSkippedError,
)
from extism_kernel_conformance.run.settings import Settings, select_cases

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from extism_kernel_conformance.adapter.connection import Fields
    from extism_kernel_conformance.adapter.find import Adapter
    from extism_kernel_conformance.cases.load import Case, CaseSet
    from extism_kernel_conformance.wasm.module import Kernel

MOST_COMMANDS = 50_000
"""A longer script is left out: spec-test runners read scripts whole."""

_TRAPS = {
    "unreachable": "unreachable",
    "out-of-bounds": "out of bounds memory access",
    "integer": "integer divide by zero",
    "stack": "call stack exhausted",
}
_HOST_MODULE = """(module ${name}_host
  (import "{name}" "memory" (memory 0))
  (func (export "size") (result i32) (memory.size))
  (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0)))
  (func (export "peek1") (param i32) (result i32) (i32.load8_u (local.get 0)))
  (func (export "peek8") (param i32) (result i64) (i64.load align=1 (local.get 0)))
  (func (export "poke1") (param i32 i32) (i32.store8 (local.get 0) (local.get 1)))
  (func (export "poke8") (param i32 i64) (i64.store align=1 (local.get 0) (local.get 1)))
  (func (export "fill") (param $at i32) (param $byte i32) (param $length i32)
    (block $done
      (loop $next
        (br_if $done (i32.eqz (local.get $length)))
        (i32.store8 (local.get $at) (local.get $byte))
        (local.set $at (i32.add (local.get $at) (i32.const 1)))
        (local.set $length (i32.sub (local.get $length) (i32.const 1)))
        (br $next))))
  (func (export "is_filled") (param $at i32) (param $byte i32) (param $length i32) (result i32)
    (block $differs
      (loop $next
        (if (i32.eqz (local.get $length)) (then (return (i32.const 1))))
        (br_if $differs (i32.ne (i32.load8_u (local.get $at)) (local.get $byte)))
        (local.set $at (i32.add (local.get $at) (i32.const 1)))
        (local.set $length (i32.sub (local.get $length) (i32.const 1)))
        (br $next)))
    (i32.const 0)))
"""


class _NotExpressibleError(Exception):
    """The case does something that a script cannot; the text says what."""


@dataclass(slots=True)
class Exported:
    """What an export wrote, and what it left out with the reason."""

    written: int = 0
    left_out: list[tuple[str, str]] = field(default_factory=list)


def export_wast(
    kernel: Kernel, case_set: CaseSet, adapter: Adapter, settings: Settings, out: Path
) -> Exported:
    """Play every case on the reference and write a script for each that passes.

    Raises SuiteError if the reference cannot be run on this machine.
    """
    exported, recording = Exported(), _Recording()
    try:
        run = ConfigurationRun(adapter, [kernel], settings, KnownFailures(), recording)
        run.open()
    except (ConfigurationSkippedError, ConfigurationBrokenError) as error:
        raise SuiteError(f"the reference `{adapter.name}` does not run: {error}") from error
    out.mkdir(parents=True, exist_ok=True)
    try:
        for case in select_cases(case_set, settings):
            try:
                script = _export_case(case, run, recording)
            except _NotExpressibleError as reason:
                exported.left_out.append((case.id, str(reason)))
                continue
            write_whole(out / f"{case.id.replace('/', '.')}.wast", script)
            exported.written += 1
    finally:
        run.close()
    return exported


class _Recording:
    """Keeps each request with its answer."""

    def __init__(self) -> None:
        self.requests: dict[int, Mapping[str, Any]] = {}
        self.answers: dict[int, Mapping[str, Any]] = {}

    def __call__(self, direction: str, message: Fields) -> None:
        identifier = message.get("id")
        assert isinstance(identifier, int)
        (self.requests if direction == "request" else self.answers)[identifier] = message

    def clear(self) -> None:
        self.requests.clear()
        self.answers.clear()


def _export_case(case: Case, run: ConfigurationRun, recording: _Recording) -> str:
    if "fuel" in case.needs:
        raise _NotExpressibleError("it counts fuel")
    recording.clear()
    (result,) = run.run([case])
    if result.outcome.verdict != "pass":
        raise _NotExpressibleError(f"the reference answers {result.outcome.verdict}")
    commands: list[str] = []
    for identifier, request in recording.requests.items():
        commands += _commands(request, recording.answers[identifier])
        if len(commands) > MOST_COMMANDS:
            raise _NotExpressibleError(f"more than {MOST_COMMANDS} commands")
    return f";; {case.id}: {case.title}\n" + "\n".join(commands) + "\n"


def _commands(request: Mapping[str, Any], answer: Mapping[str, Any]) -> Iterator[str]:
    name = request.get("instance", "")
    match request["op"]:
        case "instantiate":
            data = "".join(f"\\{request['module'][i : i + 2]}" for i in range(0, len(request["module"]), 2))
            yield f'(module ${name} binary "{data}")'
            yield f'(register "{name}" ${name})'
            yield _HOST_MODULE.format(name=name).rstrip()
        case "call":
            yield _call(name, request, answer)
        case "write":
            yield from _write(name, int(request["address"]), bytes.fromhex(request["bytes"]))
        case "read":
            yield from _read(name, int(request["address"]), bytes.fromhex(answer["bytes"]))
        case "size":
            yield f'(assert_return (invoke ${name}_host "size") (i32.const {answer["pages"]}))'
        case "grow":
            arguments = f'"grow" (i32.const {request["pages"]})'
            yield f"(assert_return (invoke ${name}_host {arguments}) (i32.const {answer['pages']}))"
        case "global_get":
            yield f'(assert_return (get ${name} "{request["name"]}") {_constant(answer["value"])})'


def _call(name: str, request: Mapping[str, Any], answer: Mapping[str, Any]) -> str:
    arguments = "".join(f" {_constant(value)}" for value in request["args"])
    invoke = f'(invoke ${name} "{request["name"]}"{arguments})'
    if answer["result"] == "trap":
        if answer["kind"] not in _TRAPS:
            raise _NotExpressibleError(f"it expects the trap {answer['kind']}")
        return f'(assert_trap {invoke} "{_TRAPS[answer["kind"]]}")'
    results = "".join(f" {_constant(value)}" for value in answer["values"])
    return f"(assert_return {invoke}{results})"


def _write(name: str, address: int, data: bytes) -> Iterator[str]:
    if len(data) > 16 and data == data[:1] * len(data):
        yield f'(invoke ${name}_host "fill" {_i32(address)} {_i32(data[0])} {_i32(len(data))})'
        return
    for place, chunk in _chunks(address, data):
        value = int.from_bytes(chunk, "little")
        constant = f"(i64.const {value})" if len(chunk) > 1 else _i32(value)
        yield f'(invoke ${name}_host "poke{len(chunk)}" {_i32(place)} {constant})'


def _read(name: str, address: int, data: bytes) -> Iterator[str]:
    if len(data) > 16 and data == data[:1] * len(data):
        arguments = f"{_i32(address)} {_i32(data[0])} {_i32(len(data))}"
        yield f'(assert_return (invoke ${name}_host "is_filled" {arguments}) (i32.const 1))'
        return
    for place, chunk in _chunks(address, data):
        value = int.from_bytes(chunk, "little")
        constant = f"(i64.const {value})" if len(chunk) > 1 else _i32(value)
        yield f'(assert_return (invoke ${name}_host "peek{len(chunk)}" {_i32(place)}) {constant})'


def _chunks(address: int, data: bytes) -> Iterator[tuple[int, bytes]]:
    whole = len(data) // 8 * 8
    for start in range(0, whole, 8):
        yield address + start, data[start : start + 8]
    for start in range(whole, len(data)):
        yield address + start, data[start : start + 1]


def _constant(value: str) -> str:
    if value == "externref:null":
        return "(ref.null extern)"
    kind, _, number = value.partition(":")
    return f"({kind}.const {number})"


def _i32(value: int) -> str:
    return f"(i32.const {value})"
