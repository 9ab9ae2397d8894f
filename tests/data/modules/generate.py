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


MEMORY = "(memory 1)"
CONTEXT = "(global (mut externref) (ref.null extern))"
LAST = '(@custom "extism_abi" "{abi}")'
FAULTS: dict[str, Fault] = {
    "module-invalid": Fault("(i64.const 0) ;; alloc", "(i32.const 0) ;; alloc"),
    "import-present": Fault(MEMORY, '(import "env" "surprise" (table 0 funcref))\n  (memory 1)'),
    "start-present": Fault(";; start", "(start {reset})"),
    "export-missing": Fault('(export "length" (func {length}))', ""),
    "export-extra": Fault(";; start", '(export "log_info" (func {free}))'),
    "export-extra--global": Fault(";; start", '(global (mut i64) (i64.const 0)) (export "span" (global 1))'),
    "export-type": Fault(CONTEXT, "(global (mut i64) (i64.const 0))"),
    "alias-differs": Fault(
        '(export "extism_free" (func {free}))', '(export "extism_free" (func {error_set}))'
    ),
    "memory-initial": Fault(MEMORY, "(memory 3)"),
    "memory-maximum": Fault(MEMORY, "(memory 1 100)"),
    "feature-forbidden": Fault("(i64.const 0) ;; alloc", "(i64.trunc_sat_f64_u (f64.const 0)) ;; alloc"),
    "feature-forbidden--core-with-externref": Fault('(export "extism_context" (global 0))', "", "core"),
    "feature-forbidden--second-memory": Fault(MEMORY, "(memory 1)\n  (memory 1)"),
    "feature-forbidden--multi-value": Fault(
        ";; start", "(func (result i64 i64) (i64.const 0) (i64.const 0))"
    ),
    "feature-forbidden--simd": Fault(";; start", "(func (param v128))"),
    "size-budget": Fault(";; start", '(data (i32.const 0) "' + "x" * 3000 + '")'),
    "build-path": Fault(";; start", '(data (i32.const 0) "\\2fhome/ci/kernel-src/src/heap.rs")'),
    "section-unexpected": Fault(";; start", '(@custom ".debug_info" "\\00")'),
    "stamp-missing": Fault(LAST, ""),
    "stamp-repeated": Fault(LAST, LAST + "\n  " + LAST),
    "stamp-differs": Fault(f'"{VERSION}"', '"0.9.9"'),
}


def skeleton(abi: Abi) -> str:
    """Return the text of a module that keeps the contract's surface, and does nothing."""
    lines = ["(module", "  (memory 1)", f"  {CONTEXT}", '  (export "memory" (memory 0))']
    exports = []
    for index, function in enumerate(abi.functions):
        params, result = function.type.split(" -> ")
        words = params.strip("()").replace(",", "")
        signature = (f"(param {words}) " if words else "") + ("" if result == "()" else f"(result {result}) ")
        body = "" if result == "()" else f"({result}.const 0) "
        lines.append(f"  (func {signature}{body};; {function.name}\n  )")
        names = [function.name, *([function.alias] if function.alias else [])]
        exports += [f'  (export "{name}" (func {index}))' for name in names]
    lines += [*exports, '  (export "extism_context" (global 0))', "  ;; start"]
    lines += [f"  {line.replace('{abi}', str(abi.version))}" for line in STAMPS]
    return "\n".join([*lines, ")", ""])


def make(abi: Abi) -> dict[str, str]:
    """Return file name -> text of every faulty module."""
    numbers = {function.name: str(index) for index, function in enumerate(abi.functions)} | {
        "abi": str(abi.version)
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
