from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import wasmtime

from build_tools.base.errors import ExitCode, PlaceholderError
from build_tools.kernel import lower as lowering
from build_tools.kernel.lower import lower_module
from build_tools.kernel.stamp import stamp_module
from build_tools.kernel.validate import Expectation, check_module
from build_tools.kernel.values import FLAVOURS, CompiledModule, Flavour, ValidatedModule
from build_tools.wasm.module import find_invalidity, parse_module
from extism_kernel_pkg._wasm import (
    HEADER,
    encode_custom,
    encode_section,
    encode_unsigned,
    encode_vector,
    read_module,
    read_sections,
)

from .conftest import PLACEHOLDERS, VERSION, add_relocations

if TYPE_CHECKING:
    from build_tools.kernel.abi import Abi

GET_SPAN = '(import "global" "get span" (func (result i64)))'
SET_SPAN = '(import "global" "set span" (func (param i64)))'
GET_COUNT = '(import "global" "get count" (func (result i32)))'
SET_COUNT = '(import "global" "set count" (func (param i32)))'
SPAN, COUNT = "(global (mut i64) (i64.const 0))", "(global (mut i32) (i32.const 0))"
FILL = '(import "instruction" "memory.fill" (func (param i32 i32 i32)))'
COPY = '(import "instruction" "memory.copy" (func (param i32 i32 i32)))'


def wasm(*parts: str) -> bytes:
    """Return a module without names: `lower` leaves none."""
    data = bytes(wasmtime.wat2wasm("\n".join(["(module", *parts, ")"])))
    return HEADER + b"".join(
        encode_custom(entry.name, entry.content) if entry.id == 0 else encode_section(entry.id, entry.content)
        for entry in read_sections(data)
        if entry.name != "name"
    )


def linked(*parts: str) -> bytes:
    """Return a module as the linker leaves it: it says where its calls are."""
    return add_relocations(wasm(*parts))


def lower(data: bytes) -> bytes:
    """Return the bytes of the lowered module: the same object where nothing was changed."""
    return lowering.lower(parse_module(data)).data


def answers(data: bytes) -> list[tuple[int, ...]]:
    """Return what a module without imports answers, call by call."""
    store = wasmtime.Store()
    exports: Any = wasmtime.Instance(store, wasmtime.Module(store.engine, data), []).exports(store)
    return [(exports["add"](store, n), exports["count"](store)) for n in (1, 2, 7, 0, 40)]


def counter(get: str, put: str, head: str) -> tuple[str, str]:
    """Return a module that counts in a loop inside blocks, with calls or with instructions."""
    return (
        head,
        f"""(func $add (param i64) (result i64)
          (block (loop
            (br_if 1 (i64.eqz (local.get 0)))
            ({put.format("count")} (i32.add ({get.format("count")}) (i32.const 1)))
            (if (i32.and ({get.format("count")}) (i32.const 1))
              (then ({put.format("span")} (i64.add ({get.format("span")}) (local.get 0))))
              (else (call $touch)))
            (local.set 0 (i64.sub (local.get 0) (i64.const 1)))
            (br 0)))
          ({get.format("span")}))
        (func $touch ({put.format("span")} (i64.mul ({get.format("span")}) (i64.const 3))))
        (func $count (result i32) ({get.format("count")}))
        (export "add" (func $add)) (export "count" (func $count))""",
    )


OWN = "(global $span (mut i64) (i64.const 0)) (global $count (mut i32) (i32.const 0))"
COUNTER = linked(*counter("call $get_{}", "call $set_{}", PLACEHOLDERS))
COUNTED = wasm(*counter("global.get ${}", "global.set ${}", OWN))


def test_lowered_module_answers_as_one_that_a_person_wrote() -> None:
    found = answers(lower(COUNTER))
    assert found == answers(COUNTED)
    assert found[-1][1] == 50


def test_lower_of_a_lowered_module_changes_nothing() -> None:
    once = lower(COUNTER)
    assert lower(once) is once


def test_globals_begin_as_zero_in_the_order_of_the_imports() -> None:
    body = "(func (export {}) (result i64) ({}))"
    old = linked(SET_COUNT, GET_SPAN, GET_COUNT, SET_SPAN, body.format('"f"', "call 1"))
    assert lower(old) == wasm(COUNT, SPAN, body.format('"f"', "global.get 1"))


def test_same_placeholder_twice_is_one_global() -> None:
    body = "(func (drop ({})) (drop ({})))"
    both = linked(GET_SPAN, GET_SPAN, body.format("call 0", "call 1"))
    assert lower(both) == wasm(SPAN, body.format("global.get 0", "global.get 0"))


def test_what_the_linker_adds_for_nobody_goes() -> None:
    markers = """(table 1 1 funcref) (global (mut i32) (i32.const 4096)) (global i32 (i32.const 5000))
      (export "__data_end" (global 1))"""
    rest = '(memory 1) (func (drop ({}))) (export "memory" (memory 0))'
    old = linked(GET_SPAN, markers, rest.format("call 0")) + encode_custom("linking", b"\2")
    assert lower(old) == wasm(SPAN, rest.format("global.get 0"))


def test_producers_stay_for_the_stamp() -> None:
    old = linked(GET_SPAN, "(func (drop (call 0)))") + encode_custom("producers", b"\0")
    assert read_module(lower(old)).custom("producers") == [b"\0"]


def test_module_without_placeholders_is_unchanged(raw: bytes, sound: bytes) -> None:
    imported = wasm('(import "env" "get span" (func (result i64)))', "(func (drop (call 0)))")
    for data in (raw, sound, imported, HEADER):
        assert lower(data) is data


@pytest.mark.parametrize("count", [1, 127, 128, 300])
def test_numbers_of_functions_may_be_of_any_length(count: int) -> None:
    functions = "".join(f'(func (call {{{at}}})) (export "f{at}" (func {{{at}}}))' for at in range(count))
    touch = "(func ({} (i64.const 0)))"
    old = linked(GET_SPAN, SET_SPAN, functions.format(*range(2, count + 2)), touch.format("call 1"))
    assert lower(old) == wasm(SPAN, functions.format(*range(count)), touch.format("global.set 0"))


@pytest.mark.parametrize("count", [1, 127, 128, 300])
def test_numbers_of_globals_may_be_of_any_length(count: int) -> None:
    imports = "".join(f'(import "global" "get g{at}" (func (result i32)))' for at in range(count))
    body = "(func {})"
    old = linked(imports, body.format("".join(f"(drop (call {at}))" for at in range(count))))
    new = wasm(COUNT * count, body.format("".join(f"(drop (global.get {at}))" for at in range(count))))
    assert lower(old) == new


@pytest.mark.parametrize("number", [0, 1, 63, 64, 8191, 8192, 130_912, 999_999_999])
@pytest.mark.parametrize("order", ["get-first", "set-first"])
def test_global_begins_as_the_number_of_its_placeholder(number: int, order: str) -> None:
    imports = [f'(import "global" "get span={number}" (func $get (result i64)))', SET_SPAN]
    if order == "set-first":
        imports.reverse()
    body = "(func (drop ({})))"
    old = linked(*imports, body.format("call $get"))
    assert lower(old) == wasm(f"(global (mut i64) (i64.const {number}))", body.format("global.get 0"))


def test_call_of_an_instruction_is_that_instruction() -> None:
    rest = """(memory 1) (func (param i32 i32 i32) (drop ({}))
      ({} (local.get 0) (local.get 1) (local.get 2)) ({} (local.get 1) (local.get 0) (i32.const 7)))
      (export "memory" (memory 0))"""
    old = linked(GET_SPAN, FILL, COPY, rest.format("call 0", "call 1", "call 2"))
    assert lower(old) == wasm(SPAN, rest.format("global.get 0", "memory.fill", "memory.copy"))


USE = "(func (drop ({})))"


def test_export_that_only_calls_another_is_that_function() -> None:
    free = '(func $free (param i64) (drop (local.get 0)) (drop ({}))) (export "free" (func $free))'
    alias = '(func $alias (param i64) (call $free (local.get 0))) (export "end" (func $alias))'
    new = wasm(SPAN, free.format("global.get 0"), '(export "end" (func $free))')
    assert lower(linked(GET_SPAN, free.format("call 0"), alias)) == new


NO_ALIASES = {
    "not-exported": "(func $f (param i64)) (func (param i64) (call $f (local.get 0)))",
    "another-type": '(func $f (param i64)) (func (export "e") (call $f (i64.const 0)))',
    "another-argument": '(func $f (param i64)) (func (export "e") (param i64) (call $f (i64.const 0)))',
    "other-order": """(func $f (param i64 i64))
      (func (export "e") (param i64 i64) (call $f (local.get 1) (local.get 0)))""",
    "more-than-a-call": '(func $f (param i64)) (func (export "e") (param i64) (call $f (local.get 0)) (nop))',
    "each-other": '(func $f (export "f") (call $g)) (func $g (export "g") (call $f))',
    "itself": '(func $f (export "f") (call $f))',
    "two-calls": """(func $f (param i64))
      (func (export "e") (param i64) (call $f (local.get 0)) (call $f (local.get 0)))""",
}


@pytest.mark.parametrize("rest", NO_ALIASES.values(), ids=NO_ALIASES)
def test_export_that_does_more_stays_a_function(rest: str) -> None:
    old = linked(GET_SPAN, rest, USE.format("call 0"))
    assert lower(old) == wasm(SPAN, rest, USE.format("global.get 0"))


def test_padded_operands_of_calls_become_short() -> None:
    short = bytes.fromhex("1a 10 80 80 80 80 00 1a 0b")
    body = b"\0\x10" + b"\x80\x80\x80\x80\x00" + short
    old = wasm(GET_SPAN, "(func (drop (call 0)) (drop (call 0)))")
    code = encode_vector([encode_unsigned(len(body)) + body])
    relocations = encode_vector([b"\0\4\0", b"\0\x0b\0"])
    data = b"".join(encode_section(s.id, code if s.id == 10 else s.content) for s in read_sections(old))
    padded = HEADER + data + encode_custom("reloc.CODE", b"\3" + relocations)
    assert lower(padded) == lower(add_relocations(old))


CALLED = "(func (drop (call 0)))"
FAULTS = {
    "no-access": ('(import "global" "span" (func (result i64)))', "`span` should be `get NAME`"),
    "no-name": ('(import "global" "get " (func (result i64)))', "`get ` should be `get NAME`"),
    "set-with-number": ('(import "global" "set x=1" (func (param i64)))', "`set x=1` should be `get NAME`"),
    "negative": ('(import "global" "get x=-1" (func (result i64)))', "`get x=-1` should be `get NAME`"),
    "two-names": ('(import "global" "get a b" (func (result i64)))', "`get a b` should be `get NAME`"),
    "a-global": (
        '(import "global" "get x" (global i64))',
        "`get x` is `global`, should be `() -> i32` or `() -> i64`",
    ),
    "get-takes": (
        '(import "global" "get x" (func (param i64)))',
        "`get x` is `(i64) -> ()`, should be `() -> i32` or `() -> i64`",
    ),
    "set-gives": (
        '(import "global" "set x" (func (result i64)))',
        "`set x` is `() -> i64`, should be `(i32) -> ()` or `(i64) -> ()`",
    ),
    "a-float": ('(import "global" "get x" (func (result f64)))', "`get x` is `() -> f64`, should be"),
    "types-disagree": (
        GET_SPAN + '(import "global" "set span" (func (param i32)))',
        "`set span` is of i32, the other of the two is of i64",
    ),
    "exported": (GET_SPAN + '(export "span" (func 0))', "`get span` is exported as `span`"),
    "instruction-exported": (FILL + '(export "f" (func 0))', "`memory.fill` is exported as `f`"),
    "instruction-of-another-name": (
        '(import "instruction" "memory.init" (func (param i32 i32 i32)))',
        "`memory.init` should be `memory.copy` or `memory.fill`",
    ),
    "instruction-of-another-type": (
        '(import "instruction" "memory.fill" (func (param i32 i64 i32)))',
        "`memory.fill` is `(i32, i64, i32) -> ()`, should be `(i32, i32, i32) -> ()`",
    ),
    "another-import": (
        GET_SPAN + '(import "env" "log" (func (param i64)))',
        "`log` of `env` is imported, and nobody will provide it",
    ),
    "another-memory": (
        GET_SPAN + '(import "env" "memory" (memory 1))',
        "`memory` of `env` is imported, and nobody will provide it",
    ),
    "start-function": (GET_SPAN + "(func $begin) (start $begin)", "there is a start section"),
    "element": (
        GET_SPAN + "(table 1 funcref) (func) (elem (i32.const 0) 1)",
        "there is a element section",
    ),
    "data": (GET_SPAN + '(memory 1) (func) (data (i32.const 0) "x")', "there is a data section"),
    "a-stack": (
        GET_SPAN + "(global (mut i32) (i32.const 4096)) (func (drop (call 0)) (drop (global.get 0)))",
        "relocation 7 at byte",
    ),
    "reference": (
        GET_SPAN + '(func $f (drop (ref.func $f))) (export "f" (func $f))',
        "relocation 0 at byte",
    ),
    "tail-call": (
        GET_SPAN + "(func (result i64) (return_call 0))",
        "relocation 0 at byte",
    ),
}


@pytest.mark.parametrize(("text", "problem"), FAULTS.values(), ids=FAULTS)
def test_placeholder_that_cannot_become_a_global_is_named(text: str, problem: str) -> None:
    data = linked(text)
    assert find_invalidity(data) is None
    with pytest.raises(PlaceholderError) as caught:
        lower(data)
    assert any(found.startswith(problem) for found in caught.value.problems), caught.value.problems
    assert caught.value.exit_code == ExitCode.MALFORMED_INPUT
    assert problem in caught.value.render()


def test_module_whose_linker_says_nothing_of_calls_is_refused() -> None:
    with pytest.raises(PlaceholderError, match=r"the linker left no `reloc\.CODE`"):
        lower(wasm(GET_SPAN, CALLED))


def test_all_faults_of_placeholders_come_in_one_run() -> None:
    text = '(import "global" "x" (func (result i64)))' + FAULTS["types-disagree"][0] + '(export "s" (func 1))'
    with pytest.raises(PlaceholderError, match=r"3 fault\(s\)") as caught:
        lower(linked(text))
    assert len(caught.value.problems) == 3


def test_invalid_module_is_left_to_the_validator(abi: Abi) -> None:
    data = wasm(GET_SPAN, "(func (call 0))")
    assert lower(data) is data
    assert [f.code for f in check_module(parse_module(data), Expectation(abi=abi, flavour=None))] == [
        "module-invalid"
    ]


def test_module_cut_anywhere_is_left_to_the_validator_or_refused() -> None:
    for length in range(8, len(COUNTER)):
        data = COUNTER[:length]
        if find_invalidity(data) is not None or not read_module(data).imports:
            assert lower(data) is data
        else:
            with pytest.raises(PlaceholderError, match=r"reloc\.CODE"):
                lower(data)


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_lowered_module_is_stamped_and_keeps_the_contract(
    flavour: Flavour, unlowered: bytes, abi: Abi
) -> None:
    compiled = CompiledModule(data=unlowered, sha256="", version=VERSION, toolchain=None)
    stamped = stamp_module(ValidatedModule(lowered=lower_module(compiled)), abi, flavour)
    assert (
        check_module(parse_module(stamped.data), Expectation(abi=abi, flavour=flavour, version=VERSION)) == []
    )
