from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import wasmtime

from build_tools.base.errors import ExitCode, ModuleMalformedError, NotAModuleError, PlaceholderError
from build_tools.kernel import layout
from build_tools.kernel.layout import Body, read_layout
from build_tools.kernel.lower import lower, lower_module
from build_tools.kernel.stamp import stamp_module
from build_tools.kernel.validate import Expectation, check_module
from build_tools.kernel.values import FLAVOURS, CompiledModule, Flavour, ValidatedModule
from build_tools.wasm.module import SECTION_CODE, find_invalidity, parse_module
from extism_kernel_pkg._wasm import (
    HEADER,
    Module,
    encode_custom,
    encode_section,
    encode_unsigned,
    encode_vector,
    read_sections,
)

from .conftest import PLACEHOLDERS, VERSION

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from build_tools.kernel.abi import Abi

TYPES = """(type (func (result i64))) (type (func (param i64)))
  (type (func (result i32))) (type (func (param i32)))"""
GET_SPAN = '(import "global" "get span" (func (type 0)))'
SET_SPAN = '(import "global" "set span" (func (type 1)))'
GET_COUNT = '(import "global" "get count" (func (type 2)))'
SET_COUNT = '(import "global" "set count" (func (type 3)))'
SPAN, COUNT = "(global (mut i64) (i64.const 0))", "(global (mut i32) (i32.const 0))"


def wasm(*parts: str) -> bytes:
    """Return a module without names: `lower` leaves none."""
    data = bytes(wasmtime.wat2wasm("\n".join(["(module", TYPES, *parts, ")"])))
    return HEADER + b"".join(
        encode_custom(entry.name, entry.content) if entry.id == 0 else encode_section(entry.id, entry.content)
        for entry in read_sections(data)
        if entry.name != "name"
    )


def counter(get: str, put: str, head: str) -> bytes:
    """Return a module that counts in a loop inside blocks, with calls or with instructions."""
    return wasm(
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
COUNTER = counter("call $get_{}", "call $set_{}", PLACEHOLDERS)


def test_lower_writes_what_a_person_would_have_written() -> None:
    assert lower(COUNTER) == counter("global.get ${}", "global.set ${}", OWN)


def run(data: bytes, make_imports: Callable[[wasmtime.Store], Sequence[wasmtime.Func]]) -> list[Any]:
    store = wasmtime.Store()
    instance = wasmtime.Instance(store, wasmtime.Module(store.engine, data), make_imports(store))
    exports: Any = instance.exports(store)
    return [value for n in (1, 2, 7, 0, 40) for value in (exports["add"](store, n), exports["count"](store))]


def keep_values(store: wasmtime.Store) -> list[wasmtime.Func]:
    """Return the placeholders as a host would provide them."""
    values = {"span": 0, "count": 0}
    functions = []
    for name, value in (("span", wasmtime.ValType.i64()), ("count", wasmtime.ValType.i32())):
        get: Callable[..., Any] = lambda name=name: values[name]  # noqa: E731
        put: Callable[..., Any] = lambda new, name=name: values.update({name: new})  # noqa: E731
        functions += [
            wasmtime.Func(store, wasmtime.FuncType([], [value]), get),
            wasmtime.Func(store, wasmtime.FuncType([value], []), put),
        ]
    return functions


def test_lowered_module_behaves_as_with_a_host_that_keeps_the_values() -> None:
    kept = run(COUNTER, keep_values)
    assert run(lower(COUNTER), lambda _: []) == kept
    assert kept[-1] == 50


def test_lower_of_a_lowered_module_changes_nothing() -> None:
    assert lower(lower(COUNTER)) == lower(COUNTER)


def test_globals_begin_as_zero_in_the_order_of_the_imports() -> None:
    lowered = lower(wasm(SET_COUNT, GET_SPAN, GET_COUNT, SET_SPAN))
    assert lowered == wasm(COUNT, SPAN)


def test_either_access_will_do_alone() -> None:
    assert lower(wasm(GET_SPAN, SET_COUNT)) == wasm(SPAN, COUNT)


def test_same_placeholder_twice_is_one_global() -> None:
    both = wasm(GET_SPAN, GET_SPAN, "(func (drop (call 0)) (drop (call 1)))")
    assert lower(both) == wasm(SPAN, "(func (drop (global.get 0)) (drop (global.get 0)))")


# What the linker adds: a stack pointer and its markers.
MARKERS = "(global (mut i32) (i32.const 4096)) (global i32 (i32.const 5000)) (global i32 (i32.const 131072))"
MARKER_EXPORTS = '(export "__data_end" (global 1)) (export "__heap_base" (global 2))'


def test_globals_that_the_linker_made_for_nobody_go() -> None:
    rest = '(memory 1) (func (drop ({}))) (export "memory" (memory 0))'
    old = wasm(GET_SPAN, MARKERS, MARKER_EXPORTS, rest.format("call 0"))
    assert lower(old) == wasm(SPAN, rest.format("global.get 0"))


def test_stack_pointer_that_is_moved_stays_first() -> None:
    body = '(func $f (global.set 0 (global.get 0)) (drop ({0}))) (export "f" (func $f))'
    stack = "(global (mut i32) (i32.const 4096))"
    old = wasm(GET_SPAN, MARKERS, MARKER_EXPORTS, body.format("call 0"))
    assert lower(old) == wasm(stack, SPAN, body.format("global.get 1"))


def test_global_that_is_exported_stays_for_the_validator() -> None:
    export = '(export "mine" (global 1))'
    old = wasm(GET_SPAN, MARKERS, MARKER_EXPORTS, export)
    kept = "(global (mut i32) (i32.const 4096)) (global i32 (i32.const 5000))"
    assert lower(old) == wasm(kept, SPAN, '(export "__data_end" (global 1))', export)


def test_module_without_placeholders_is_unchanged(raw: bytes, sound: bytes) -> None:
    imported = wasm('(import "env" "get span" (func (type 0)))', "(func (drop (call 0)))")
    for data in (raw, sound, imported, HEADER):
        assert lower(data) is data


def test_foreign_imports_stay_and_are_counted() -> None:
    foreign = [
        '(import "env" "log" (func $log (type 1)))',
        '(import "env" "base" (global $base i32))',
        '(import "env" "memory" (memory 1))',
        '(import "globals" "get span" (func $near (type 0)))',
    ]
    rest = '(func $f (call $log ({0})) (drop (call $near)) (drop (global.get $base))) (export "f" (func $f))'
    old = wasm(foreign[0], GET_SPAN, *foreign[1:], GET_COUNT, rest.format("call 1"))
    new = lower(old)
    assert new == wasm(*foreign, SPAN, COUNT, rest.format("global.get 1"))
    assert parse_module(new).imports == (
        "env.log (func)",
        "env.base (global)",
        "env.memory (memory)",
        "globals.get span (func)",
    )


def test_start_function_is_renumbered_for_the_validator() -> None:
    rest = "(func) (func $begin) (start $begin)"
    assert lower(wasm(GET_SPAN, SET_SPAN, rest)) == wasm(SPAN, rest)


def test_tail_call_of_a_function_is_renumbered() -> None:
    rest = "(func $f (result i64) (return_call $f))"
    assert lower(wasm(GET_SPAN, rest)) == wasm(SPAN, rest)


def test_tables_data_and_customs_stay_and_names_go() -> None:
    rest = """(table 0 funcref) (memory 1) (func (memory.init 0 (i32.const 0) (i32.const 0) (i32.const 1)))
      (export "memory" (memory 0)) (export "table" (table 0)) (data "x")
      (@custom "producers" (after last) "\\00")"""
    named = wasm(GET_SPAN, rest) + encode_custom("name", b"\1\4\1\0\1f")
    assert Module(named).custom("name")
    assert lower(named) == wasm(SPAN, rest)


@pytest.mark.parametrize("count", [1, 127, 128, 300])
def test_numbers_of_functions_may_be_of_any_length(count: int) -> None:
    functions = "".join(f'(func (call {{{at}}})) (export "f{at}" (func {{{at}}}))' for at in range(count))
    old = wasm(GET_SPAN, SET_SPAN, functions.format(*range(2, count + 2)))
    assert lower(old) == wasm(SPAN, functions.format(*range(count)))


@pytest.mark.parametrize("count", [1, 127, 128, 300])
def test_numbers_of_globals_may_be_of_any_length(count: int) -> None:
    imports = "".join(f'(import "global" "get g{at}" (func (type 2)))' for at in range(count))
    body = "(func {})"
    old = wasm(imports, body.format("".join(f"(drop (call {at}))" for at in range(count))))
    new = wasm(COUNT * count, body.format("".join(f"(drop (global.get {at}))" for at in range(count))))
    assert lower(old) == new


@pytest.mark.parametrize("number", [0, 1, 63, 64, 8191, 8192, 130_912, 999_999_999])
def test_global_begins_as_the_number_of_its_placeholder(number: int) -> None:
    rest = "(func (result i64) ({}))"
    old = wasm(f'(import "global" "get span={number}" (func (type 0)))', SET_SPAN, rest.format("call 0"))
    new = wasm(f"(global (mut i64) (i64.const {number}))", rest.format("global.get 0"))
    assert lower(old) == new


@pytest.mark.parametrize("order", ["get-first", "set-first"])
def test_number_counts_whichever_placeholder_comes_first(order: str) -> None:
    imports = ['(import "global" "get span=7" (func (type 0)))', SET_SPAN]
    if order == "set-first":
        imports.reverse()
    assert lower(wasm(*imports, "(func)")) == wasm("(global (mut i64) (i64.const 7))", "(func)")


FILL = '(import "instruction" "memory.fill" (func (param i32 i32 i32)))'
COPY = '(import "instruction" "memory.copy" (func (param i32 i32 i32)))'


@pytest.mark.parametrize("access", ["alone", "with-a-global"])
def test_call_of_an_instruction_is_that_instruction(access: str) -> None:
    rest = """(memory 1) (func (param i32 i32 i32)
      {0} ({{}} (local.get 0) (local.get 1) (local.get 2)) ({{}} (local.get 1) (local.get 0) (i32.const 7)))
      (export "memory" (memory 0))"""
    got = "(drop ({}))" if access == "with-a-global" else ""
    imports, globals_ = ([GET_SPAN], [SPAN]) if got else ([], [])
    calls = rest.format(got.format("call 0")).format(f"call {len(imports)}", f"call {len(imports) + 1}")
    instructions = rest.format(got.format("global.get 0")).format("memory.fill", "memory.copy")
    assert lower(wasm(*imports, FILL, COPY, calls)) == wasm(*globals_, instructions)


def test_export_that_only_calls_another_is_that_function() -> None:
    caller = "(func $caller (call $free (i64.const 1)))"
    free = "(func $free (type 1) (drop (local.get 0)))"
    door = '(func $door (type 1) (call $free (local.get 0))) (export "free" (func $door))'
    new = wasm(SPAN, caller, free, '(export "free" (func $free))')
    assert lower(wasm(GET_SPAN, caller, free, door)) == new


NO_DOORS = {
    "not-exported": "(func $f (type 1)) (func (type 1) (call $f (local.get 0)))",
    "another-type": '(func $f (type 1)) (func (export "e") (call $f (i64.const 0)))',
    "another-argument": '(func $f (type 1)) (func (export "e") (type 1) (call $f (i64.const 0)))',
    "other-order": """(func $f (param i64 i64))
      (func (export "e") (param i64 i64) (call $f (local.get 1) (local.get 0)))""",
    "more-than-a-call": '(func $f (type 1)) (func (export "e") (type 1) (call $f (local.get 0)) (nop))',
    "two-calls": """(func $f (type 1))
      (func (export "e") (type 1) (call $f (local.get 0)) (call $f (local.get 0)))""",
    "each-other": '(func $f (export "f") (call $g)) (func $g (export "g") (call $f))',
    "itself": '(func $f (export "f") (call $f))',
}


@pytest.mark.parametrize("rest", NO_DOORS.values(), ids=NO_DOORS)
def test_export_that_does_more_stays_a_function(rest: str) -> None:
    assert lower(wasm(GET_SPAN, rest)) == wasm(SPAN, rest)


def pad(data: bytes, mnemonics: frozenset[str]) -> bytes:
    """Return a module with five bytes for each of these operands, as linkers leave them."""
    found = read_layout(data)
    out = HEADER
    for section in read_sections(data):
        content = section.content
        if section.id == SECTION_CODE:
            content = encode_vector(pad_body(data, body, mnemonics) for body in found.bodies)
        out += encode_section(section.id, content)
    return out


def pad_body(data: bytes, body: Body, mnemonics: frozenset[str]) -> bytes:
    out, at = b"", body.start
    for item in body.instructions:
        if item.mnemonic in mnemonics:
            operand = bytes(item.index >> shift & 0x7F | 0x80 for shift in (0, 7, 14, 21))
            out += data[at : item.start + 1] + operand + b"\0"
            at = item.end
    out += data[at : body.end]
    return encode_unsigned(len(out)) + out


def test_padded_operands_of_calls_become_short() -> None:
    padded = pad(COUNTER, frozenset({"call"}))
    calls = [item for body in read_layout(padded).bodies for item in body.instructions]
    assert {item.end - item.start for item in calls} == {6}
    assert lower(padded) == lower(COUNTER)


def test_padded_operands_of_others_stay() -> None:
    text = "(func (drop (global.get 0)) (drop ({})) (call {}))"
    stack = "(global (mut i32) (i32.const 4096))"
    old = pad(wasm(GET_SPAN, stack, text.format("call 0", 1)), frozenset({"global.get"}))
    short = wasm(stack, SPAN, text.format("global.get 1", 0))
    (before,), (after,) = read_layout(lower(old)).bodies, read_layout(short).bodies
    assert [item.end - item.start for item in before.instructions] == [6, 2, 2]
    assert [item.index for item in before.instructions] == [item.index for item in after.instructions]


FAULTS = {
    "a-global": ('(import "global" "get x" (global i64))', "`get x` is a global, should be a function"),
    "a-memory": ('(import "global" "memory" (memory 1))', "`memory` is a memory, should be a function"),
    "no-access": (
        '(import "global" "span" (func (type 0)))',
        "`span` should be `get NAME`, `get NAME=NUMBER` or",
    ),
    "no-name": ('(import "global" "get " (func (type 0)))', "`get ` should be `get NAME`, `get NAME=NUMBER`"),
    "set-with-number": ('(import "global" "set x=1" (func (type 1)))', "`set x=1` should be `get NAME`"),
    "negative": ('(import "global" "get x=-1" (func (type 0)))', "`get x=-1` should be `get NAME`"),
    "two-names": ('(import "global" "get a b" (func (type 0)))', "`get a b` should be `get NAME`"),
    "get-takes": (
        '(import "global" "get x" (func (type 1)))',
        "`get x` is `(i64) -> ()`, should be `() -> i32` or `() -> i64`",
    ),
    "set-gives": (
        '(import "global" "set x" (func (type 0)))',
        "`set x` is `() -> i64`, should be `(i32) -> ()` or `(i64) -> ()`",
    ),
    "a-float": ('(import "global" "get x" (func (result f64)))', "`get x` is `() -> f64`, should be"),
    "types-disagree": (
        GET_SPAN + '(import "global" "set span" (func (type 3)))',
        "`set span` is of i32, the other of the two is of i64",
    ),
    "exported": (GET_SPAN + '(export "span" (func 0))', "`get span` is exported as `span`"),
    "reference": (
        GET_SPAN + "(global funcref (ref.func 0)) (func (drop (ref.func 0)))",
        "function 1 takes a reference to function 0",
    ),
    "reference-elsewhere": (
        GET_SPAN + '(func $f (drop (ref.func $f))) (export "f" (func $f))',
        "function 1 takes a reference to function 1",
    ),
    "reference-in-a-global": (
        GET_SPAN + "(global funcref (ref.func 0))",
        "global 0 begins as `ref.func=0`, should be a whole number",
    ),
    "instruction-of-another-name": (
        '(import "instruction" "memory.init" (func (param i32 i32 i32)))',
        "`memory.init` should be `memory.copy` or `memory.fill`",
    ),
    "instruction-of-another-type": (
        '(import "instruction" "memory.fill" (func (param i32 i64 i32)))',
        "`memory.fill` is `(i32, i64, i32) -> ()`, should be `(i32, i32, i32) -> ()`",
    ),
    "instruction-is-a-global": (
        '(import "instruction" "memory.fill" (global i32))',
        "`memory.fill` is `global`, should be `(i32, i32, i32) -> ()`",
    ),
    "instruction-exported": (FILL + '(export "f" (func 0))', "`memory.fill` is exported as `f`"),
    "instruction-as-reference": (
        FILL + "(global funcref (ref.func 0)) (func (drop (ref.func 0)))",
        "function 1 takes a reference to function 0",
    ),
    "instruction-as-tail-call": (
        COPY + "(func (param i32 i32 i32) (return_call 0 (local.get 0) (local.get 1) (local.get 2)))",
        "function 1 ends with a tail call of `memory.copy`",
    ),
    "tail-call": (
        GET_SPAN + "(func (result i64) (return_call 0))",
        "function 1 ends with a tail call of `get span`",
    ),
    "element": (
        GET_SPAN + "(table 1 funcref) (elem (i32.const 0) 0)",
        "an element segment holds functions",
    ),
}


@pytest.mark.parametrize(("text", "problem"), FAULTS.values(), ids=FAULTS)
def test_placeholder_that_cannot_become_a_global_is_named(text: str, problem: str) -> None:
    data = wasm(text)
    assert find_invalidity(data) is None
    with pytest.raises(PlaceholderError) as caught:
        lower(data)
    assert any(found.startswith(problem) for found in caught.value.problems), caught.value.problems
    assert caught.value.exit_code == ExitCode.MALFORMED_INPUT
    assert problem in caught.value.render()


def test_all_faults_of_placeholders_come_in_one_run() -> None:
    text = '(import "global" "x" (func (type 0)))' + FAULTS["types-disagree"][0] + '(export "s" (func 1))'
    with pytest.raises(PlaceholderError, match=r"3 fault\(s\)") as caught:
        lower(wasm(text))
    assert len(caught.value.problems) == 3


def test_invalid_module_is_left_to_the_validator(abi: Abi) -> None:
    data = wasm(GET_SPAN, "(func (call 0))")
    assert lower(data) is data
    assert [f.code for f in check_module(data, Expectation(abi=abi, flavour=None))] == ["module-invalid"]


def test_module_cut_anywhere_is_left_to_the_validator() -> None:
    for length in range(8, len(COUNTER)):
        data = COUNTER[:length]
        assert lower(data) == data or find_invalidity(lower(data)) is None


def test_bytes_of_another_kind_are_refused() -> None:
    with pytest.raises(NotAModuleError):
        lower(b"\x7fELF")


# Valid modules in which the reader would lose its way.
UNREADABLE = {
    "sum-as-a-constant": ("(global i32 (i32.add (i32.const 1) (i32.const 2)))", "global 0"),
    "typed-reference": ("(func (block (result (ref null 0)) (ref.null 0)) (drop))", "the type of `block`"),
}


@pytest.mark.parametrize(("text", "place"), UNREADABLE.values(), ids=UNREADABLE)
def test_module_that_the_reader_cannot_follow_is_refused(text: str, place: str) -> None:
    with pytest.raises(ModuleMalformedError, match=f"{place}.* cannot be followed"):
        lower(wasm(GET_SPAN, text))


def edit(number: int, change: Callable[[bytes], bytes]) -> bytes:
    sections = read_sections(COUNTER)
    return HEADER + b"".join(
        encode_section(entry.id, change(entry.content) if entry.id == number else entry.content)
        for entry in sections
    )


BROKEN = {
    "no-bodies": (edit(SECTION_CODE, lambda _: b"\0"), "code section"),
    "byte-after-the-last-body": (edit(SECTION_CODE, lambda content: content + b"\0"), "section 10"),
    "byte-after-the-last-import": (edit(2, lambda content: content + b"\0"), "section 2"),
    "code-after-the-end": (
        edit(SECTION_CODE, lambda _: b"\x03\x03\0\x0b\x01\x02\0\x0b\x02\0\x0b"),
        "function 4 cannot",
    ),
    "opcode-of-tomorrow": (
        edit(SECTION_CODE, lambda _: b"\x03\x05\0\xfc\x7f\0\x0b\x02\0\x0b\x02\0\x0b"),
        "`unknown_fc_7f`",
    ),
    "number-without-end": (HEADER + b"\x02\x06" + b"\xff" * 6, "takes more than 5 bytes"),
}


@pytest.mark.parametrize(("data", "fault"), BROKEN.values(), ids=BROKEN)
def test_layout_says_what_it_cannot_follow(data: bytes, fault: str) -> None:
    assert any(fault in found for found in read_layout(data).faults), read_layout(data).faults


def test_layout_holds_its_places_against_the_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    assert read_layout(COUNTER).faults == ()
    monkeypatch.setitem(layout.OPCODES, "call", 0x11)
    assert all(fault.startswith("`call` at offset") for fault in read_layout(COUNTER).faults)
    assert read_layout(COUNTER).faults != ()


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_lowered_kernel_keeps_the_contract_and_its_globals(
    unlowered: bytes, flavour: Flavour, abi: Abi
) -> None:
    lowered = lower_module(CompiledModule(data=unlowered, sha256="", version=VERSION, toolchain=None))
    assert check_module(lowered.data, Expectation(abi=abi, flavour=None)) == []
    stamped = stamp_module(ValidatedModule(lowered=lowered), abi, flavour)
    assert check_module(stamped.data, Expectation(abi=abi, flavour=flavour, version=VERSION)) == []
    context = ("mut externref",) if flavour == "context" else ()
    own = [entry.split(" = ")[0] for entry in abi.structure.globals or ()]
    assert parse_module(stamped.data).globals == (*own, *context)
