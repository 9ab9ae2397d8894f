"""Writes the faulty modules: a sound kernel's skeleton with one fault each, named after the finding.

Run `python tests/data/modules/generate.py` from the checkout after a change of kernel-src/abi.toml. The files
are text format, so that a reader sees the fault; a test holds that they are what this script writes.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[2]))

from build_tools.kernel.abi import Abi, read_abi  # noqa: E402 - the checkout is not installed

VERSION = "1.0.0"
STAMPS = (
    '(@custom "producers" "\\00")',
    f'(@custom "extism" "{VERSION}")',
    '(@custom "extism_abi" "{abi}")',
)


class Fault(NamedTuple):
    """One edit of the skeleton: `old` becomes `new`; `flavour` is what the module is held against."""

    old: str
    new: str
    flavour: str = "context"


MEMORY = "(memory 2)"
CONTEXT = "(global (mut externref) (ref.null extern))"
OWN = "{own}"
LAST = '(@custom "extism_abi" "{abi}")'
FAULTS: dict[str, Fault] = {
    "module-invalid": Fault("(i64.const 0) ;; alloc", "(i32.const 0) ;; alloc"),
    "import-present": Fault(MEMORY, '(import "env" "surprise" (table 0 funcref))\n  (memory 2)'),
    "start-present": Fault(";; start", "(start {reset})"),
    "export-missing": Fault('(export "length" (func {length}))', ""),
    "export-extra": Fault(";; start", '(export "log_info" (func {free}))'),
    "export-extra--global": Fault(
        ";; start", '(global (mut i64) (i64.const 0)) (export "span" (global {last}))'
    ),
    "export-type": Fault(CONTEXT, "(global (mut i64) (i64.const 0))"),
    "alias-differs": Fault(
        '(export "extism_free" (func {free}))', '(export "extism_free" (func {error_set}))'
    ),
    "alias-differs--length-unsafe": Fault(
        '(export "length_unsafe" (func {length}))', '(export "length_unsafe" (func {alloc}))'
    ),
    "memory-initial": Fault(MEMORY, "(memory 3)"),
    "memory-initial--one-page": Fault(MEMORY, "(memory 1)"),
    "memory-initial--no-page": Fault(MEMORY, "(memory 0)"),
    "memory-maximum": Fault(MEMORY, "(memory 2 100)"),
    "section-extra": Fault(";; start", "(table 1 funcref)"),
    "data-present": Fault(";; start", '(data (i32.const 0) "x")'),
    "data-present--outside": Fault(";; start", '(data (i32.const 999999) "x")'),
    "data-present--passive": Fault(";; start", '(data "x")'),
    "element-present": Fault(";; start", "(elem declare func {free})"),
    "globals-differ": Fault(OWN, "(global (mut i32) (i32.const 7)) ;; own 0"),
    "globals-differ--type": Fault(OWN, "(global (mut i64) (i64.const 0)) ;; own 0"),
    "globals-differ--constant": Fault(OWN, "(global i32 (i32.const 0)) ;; own 0"),
    "globals-differ--one-more": Fault(";; start", "(global (mut i64) (i64.const 0))"),
    "globals-differ--hidden-reference": Fault(";; start", "(global (mut externref) (ref.null extern))"),
    "loop-present": Fault("(i64.const 0) ;; alloc", "(loop) (i64.const 0) ;; alloc"),
    "recursion-present": Fault("(i64.const 0) ;; alloc", "(call {alloc} (i64.const 0)) ;; alloc"),
    "recursion-present--through-another": Fault(";; start", "(func (call {next2})) (func (call {next}))"),
    "indirect-call-present": Fault(";; start", "(table 1 funcref) (func (call_indirect (i32.const 0)))"),
    "feature-forbidden": Fault("(i64.const 0) ;; alloc", "(i64.trunc_sat_f64_u (f64.const 0)) ;; alloc"),
    "feature-forbidden--core-with-externref": Fault(
        '(export "extism_context" (global {context}))', "", "core"
    ),
    "feature-forbidden--second-memory": Fault(MEMORY, "(memory 2)\n  (memory 2)"),
    "feature-forbidden--multi-value": Fault(
        ";; start", "(func (result i64 i64) (i64.const 0) (i64.const 0))"
    ),
    "feature-forbidden--simd": Fault(";; start", "(func (param v128))"),
    "size-budget": Fault(";; start", "(func " + "(nop)" * 3000 + ")"),
    "build-path": Fault('"producers" "\\00"', '"producers" "\\00\\2fhome/ci/kernel-src/src/heap.rs"'),
    "section-unexpected": Fault(";; start", '(@custom ".debug_info" "\\00")'),
    "stamp-missing": Fault(LAST, ""),
    "stamp-repeated": Fault(LAST, LAST + "\n  " + LAST),
    "stamp-differs": Fault(f'"{VERSION}"', '"0.9.9"'),
}


def own_globals(abi: Abi) -> list[str]:
    """Return the kernel's own globals as text."""
    lines = []
    for index, entry in enumerate(abi.structure.globals or ()):
        kind, value = entry.split(" = ")
        text = f"(mut {kind.removeprefix('mut ')})" if kind.startswith("mut ") else kind
        lines.append(f"(global {text} ({value})) ;; own {index}")
    return lines


def function_numbers(abi: Abi) -> dict[str, int]:
    """Return the index of each function; one that is another's second name has that one's."""
    names = [function.name for function in abi.functions if function.same_as is None]
    return {function.name: names.index(function.same_as or function.name) for function in abi.functions}


def skeleton(abi: Abi) -> str:
    """Return the text of a module that keeps the contract's surface, and does nothing."""
    own = own_globals(abi)
    numbers = function_numbers(abi)
    lines = ["(module", f"  {MEMORY}", *(f"  {line}" for line in own), f"  {CONTEXT}"]
    lines.append('  (export "memory" (memory 0))')
    exports = []
    for function in abi.functions:
        params, result = function.type.split(" -> ")
        words = params.strip("()").replace(",", "")
        signature = (f"(param {words}) " if words else "") + ("" if result == "()" else f"(result {result}) ")
        body = "" if result == "()" else f"({result}.const 0) "
        if function.name == "reset":  # a stamp leaves out globals at the end that nothing uses
            body = f"(drop (global.get {len(own) - 1})) "
        if function.same_as is None:
            lines.append(f"  (func {signature}{body};; {function.name}\n  )")
        names = [function.name, *([function.alias] if function.alias else [])]
        exports += [f'  (export "{name}" (func {numbers[function.name]}))' for name in names]
    lines += [*exports, f'  (export "extism_context" (global {len(own)}))', "  ;; start"]
    lines += [f"  {line.replace('{abi}', str(abi.version))}" for line in STAMPS]
    return "\n".join([*lines, ")", ""])


def make(abi: Abi) -> dict[str, str]:
    """Return file name -> text of every faulty module."""
    functions, own = function_numbers(abi), own_globals(abi)
    last = max(functions.values())
    numbers = {name: str(index) for name, index in functions.items()} | {
        "abi": str(abi.version),
        "context": str(len(own)),
        "last": str(len(own) + 1),
        "next": str(last + 1),
        "next2": str(last + 2),
        "own": own[0],
    }
    sound = skeleton(abi)
    texts = {}
    for name, fault in FAULTS.items():
        old, new = (_fill(text, numbers) for text in (fault.old, fault.new))
        if sound.count(old) != 1:
            message = f"{name}: `{old}` is there {sound.count(old)} times"
            raise ValueError(message)
        heading = f";; fault: {name}; held against the {fault.flavour} flavour\n"
        texts[f"{name}.wat"] = heading + sound.replace(old, new)
    return texts


def _fill(text: str, numbers: dict[str, str]) -> str:
    for name, number in numbers.items():
        text = text.replace(f"{{{name}}}", number)
    return text


if __name__ == "__main__":
    for file, content in make(read_abi(HERE.parents[2] / "kernel-src" / "abi.toml")).items():
        (HERE / file).write_text(content, encoding="utf-8")
