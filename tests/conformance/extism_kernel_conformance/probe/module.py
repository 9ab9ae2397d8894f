"""From a probe's program to the plug-in that plays it.

The plug-in imports just what its case calls and exports one function. It stops at the first check that does
not hold, and answers with four words: a mark, the number of that check (0 if all hold), what came, and what
was expected. It has no memory of its own; results are kept in globals.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from extism_kernel_conformance.adapter.typed_values import parameters_of, result_of
from extism_kernel_conformance.base.resources import contract_types, first_prefix
from extism_kernel_conformance.probe import code as wasm
from extism_kernel_conformance.probe.program import CallOp, FilledOp, FillOp

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from extism_kernel_conformance.probe.program import Check, Op, Program
    from extism_kernel_conformance.probe.values import Value

EXPORT = "probe"
MARK = int.from_bytes(b"probe/1\n", "little")
REPORT_LENGTH = 32

_SITE, _GOT, _OPERAND = 0, 1, 2
_FIRST_SLOT = 3
_OPS_IN_FUNCTION = 100
"""Compilers dislike functions without end."""
_ENV = {True: "env", False: "extism:host/env"}
_USES: Mapping[type[Op] | None, tuple[str, ...]] = {
    None: ("alloc", "output_set", "store_u64"),
    FillOp: ("store_u64", "store_u8"),
    FilledOp: ("load_u64", "load_u8"),
}
"""What the probe's own code calls: always, and for each kind of run."""
_COMPARE = {
    "eq": wasm.I64_EQ,
    "ne": wasm.I64_NE,
    "lt": wasm.I64_LT_U,
    "le": wasm.I64_LE_U,
    "gt": wasm.I64_GT_U,
    "ge": wasm.I64_GE_U,
    "multiple_of": wasm.I64_REM_U + wasm.I64_EQZ,
}


def imports_of(program: Program) -> list[tuple[str, str]]:
    """Return (module, name) of every function that the probe of a program imports, sorted."""
    names = {op.name for op in program.ops if isinstance(op, CallOp)}
    names |= {
        program.prefix + name for kind in {None, *map(type, program.ops)} for name in _USES.get(kind, ())
    }
    return [(_ENV[name.startswith(first_prefix())], name) for name in sorted(names)]


def make_module(program: Program) -> bytes:
    """Return the plug-in's bytes."""
    return _Assembler(program).assemble()


def make_importer(module: str, name: str) -> bytes:
    """Return a plug-in that imports one function and does not call it; who refuses it refuses the name."""
    builder = wasm.ModuleBuilder()
    builder.add_import(module, name, contract_types()[name])
    builder.export(EXPORT, builder.add_function("() -> i32", wasm.i32(0)))
    return builder.build()


class _Assembler:
    def __init__(self, program: Program) -> None:
        self._program = program
        self._builder = wasm.ModuleBuilder(globals=_FIRST_SLOT + program.slots)
        self._functions = {
            name: self._builder.add_import(module, name, contract_types()[name])
            for module, name in imports_of(program)
        }
        self._judge = self._add_judge()
        kinds = set(map(type, program.ops))
        self._fill = self._add_fill() if FillOp in kinds else 0
        self._filled = self._add_filled() if FilledOp in kinds else 0

    def assemble(self) -> bytes:
        ops = self._program.ops
        chunks = [
            self._add_chunk(ops[start : start + _OPS_IN_FUNCTION])
            for start in range(0, len(ops), _OPS_IN_FUNCTION)
        ]
        code = wasm.BLOCK
        for chunk in chunks:
            code += wasm.call(chunk) + wasm.branch_if(0)
        code += wasm.i64(len(self._program.sites)) + wasm.put_global(_GOT) + wasm.END + self._report()
        self._builder.export(EXPORT, self._builder.add_function("() -> i32", code, i64_locals=1))
        return self._builder.build()

    def _kernel(self, name: str) -> bytes:
        return wasm.call(self._functions[self._program.prefix + name])

    def _report(self) -> bytes:
        """Leave the four words as the output, and no error if the case may have set one."""
        handle = 0
        clear = [index for name, index in self._functions.items() if name.endswith("error_set")]
        code = wasm.i64(0) + wasm.call(clear[0]) if clear else b""
        code += wasm.i64(REPORT_LENGTH) + self._kernel("alloc") + wasm.put(handle)
        words = (wasm.i64(MARK), *map(wasm.get_global, (_SITE, _GOT, _OPERAND)))
        for number, word in enumerate(words):
            code += wasm.get(handle) + wasm.i64(number * 8) + wasm.I64_ADD + word + self._kernel("store_u64")
        return code + wasm.get(handle) + wasm.i64(REPORT_LENGTH) + self._kernel("output_set") + wasm.i32(0)

    def _add_judge(self) -> int:
        """(holds, got, operand, site) -> whether the check failed; then it is remembered."""
        holds, got, operand, site = range(4)
        code = wasm.BLOCK + wasm.get(holds) + wasm.I32_EQZ + wasm.branch_if(0)
        code += wasm.i32(0) + wasm.RETURN + wasm.END
        for index, local in ((_SITE, site), (_GOT, got), (_OPERAND, operand)):
            code += wasm.get(local) + wasm.put_global(index)
        return self._builder.add_function("(i32, i64, i64, i64) -> i32", code + wasm.i32(1))

    def _add_fill(self) -> int:
        """(address, length, word of one byte): store it all over."""
        address, length, word, at = range(4)
        place = wasm.get(address) + wasm.get(at) + wasm.I64_ADD
        whole = place + wasm.get(word) + self._kernel("store_u64")
        single = place + wasm.get(word) + wasm.I32_WRAP_I64 + self._kernel("store_u8")
        code = _each_word(length, at, whole) + _each_byte(length, at, single)
        return self._builder.add_function("(i64, i64, i64) -> ()", code, i64_locals=1)

    def _add_filled(self) -> int:
        """(address, length, word of one byte, site) -> whether another byte was found."""
        address, length, word, site, at, got = range(6)
        place = wasm.get(address) + wasm.get(at) + wasm.I64_ADD

        def check(load: bytes, wanted: bytes) -> bytes:
            holds = place + load + wasm.tee(got) + wanted + wasm.I64_EQ
            judged = holds + wasm.get(got) + wasm.get(at) + wasm.get(site) + wasm.call(self._judge)
            return (
                wasm.BLOCK + judged + wasm.I32_EQZ + wasm.branch_if(0) + wasm.i32(1) + wasm.RETURN + wasm.END
            )

        byte = wasm.get(word) + wasm.i64(256) + wasm.I64_REM_U
        code = _each_word(length, at, check(self._kernel("load_u64"), wasm.get(word)))
        code += _each_byte(length, at, check(self._kernel("load_u8") + wasm.I64_EXTEND_I32_U, byte))
        signature = "(i64, i64, i64, i64) -> i32"
        return self._builder.add_function(signature, code + wasm.i32(0), i64_locals=2)

    def _add_chunk(self, ops: Iterable[Op]) -> int:
        """Add a function that plays some steps and says whether one of them failed."""
        code = wasm.BLOCK + b"".join(map(self._op, ops)) + wasm.i32(0) + wasm.RETURN + wasm.END + wasm.i32(1)
        return self._builder.add_function("() -> i32", code, i64_locals=2)

    def _op(self, op: Op) -> bytes:
        if isinstance(op, CallOp):
            return self._call(op)
        word = op.byte * 0x0101_0101_0101_0101
        code = _push(op.address) + wasm.i64(op.length) + wasm.i64(word)
        if isinstance(op, FillOp):
            return code + wasm.call(self._fill)
        return code + wasm.i64(op.site) + wasm.call(self._filled) + wasm.branch_if(0)

    def _call(self, op: CallOp) -> bytes:
        got = 0
        signature = contract_types()[op.name]
        code = b""
        for kind, arg in zip(parameters_of(signature), op.args, strict=True):
            code += _push(arg) + (wasm.I32_WRAP_I64 if kind == "i32" else b"")
        code += wasm.call(self._functions[op.name])
        result = result_of(signature)
        if result is not None:
            code += (wasm.I64_EXTEND_I32_U if result == "i32" else b"") + wasm.put(got)
        code += b"".join(self._check(check, got) for check in op.checks)
        return code if op.slot is None else code + wasm.get(got) + wasm.put_global(_FIRST_SLOT + op.slot)

    def _check(self, check: Check, got: int) -> bytes:
        operand = got + 1
        if check.relation == "in":
            holds = b"".join(wasm.get(got) + _push(each) + wasm.I64_EQ for each in check.operands)
            holds += wasm.I32_OR * (len(check.operands) - 1)
        else:
            holds = wasm.get(got) + _push(check.operands[0]) + wasm.tee(operand) + _COMPARE[check.relation]
        judged = wasm.get(got) + wasm.get(operand) + wasm.i64(check.site) + wasm.call(self._judge)
        return holds + judged + wasm.branch_if(0)


def _push(value: Value) -> bytes:
    code = wasm.i64(value.number) if value.number or not value.terms else b""
    for slot, factor in value.terms:
        has_sum = bool(code)
        code += wasm.get_global(_FIRST_SLOT + slot)
        if factor != 1:
            code += wasm.i64(factor) + wasm.I64_MUL
        code += wasm.I64_ADD if has_sum else b""
    return code


def _each_word(length: int, at: int, code: bytes) -> bytes:
    """Run code for each whole word of `length` bytes; the local `at` counts them."""
    return _loop(wasm.get(at) + wasm.i64(8) + wasm.I64_ADD + wasm.get(length) + wasm.I64_GT_U, at, 8, code)


def _each_byte(length: int, at: int, code: bytes) -> bytes:
    """Run code for each byte from `at` on."""
    return _loop(wasm.get(at) + wasm.get(length) + wasm.I64_GE_U, at, 1, code)


def _loop(is_done: bytes, at: int, step: int, code: bytes) -> bytes:
    head = wasm.BLOCK + wasm.LOOP + is_done + wasm.branch_if(1)
    count = wasm.get(at) + wasm.i64(step) + wasm.I64_ADD + wasm.put(at)
    return head + code + count + wasm.branch(0) + wasm.END + wasm.END
