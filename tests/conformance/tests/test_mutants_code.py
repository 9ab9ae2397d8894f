"""The reader of code, the meter and the operators, on modules small enough to check by hand."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import wasmtime

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "mutants"))

from kernel_mutants.code import CodeError, read_code
from kernel_mutants.coverage import add_marks, place_marks
from kernel_mutants.leb128 import read_signed, read_unsigned, write_signed, write_unsigned
from kernel_mutants.meter import BYTES, METER, WEIGHT, add_meter
from kernel_mutants.names import NamesError, demangle, read_names
from kernel_mutants.operators import find_mutants
from kernel_mutants.replay import EndlessCallError, NodeNotFoundError, Replay

SMALL = """(module (memory (export "memory") 1)
  (func $twice (param i64) (result i64) local.get 0 i64.const 2 i64.mul)
  (func (export "alloc") (param i64) (result i64)
    local.get 0 i64.const 100 i64.lt_u
    if (result i64) local.get 0 call $twice else i64.const 0 end)
  (func (export "extism_reset") (export "reset") (local i32)
    loop local.get 0 i32.const 1 i32.add local.tee 0 i32.const 10 i32.lt_u br_if 0 end
    i32.const 0 i32.const 7 i32.store8 offset=16))"""


def assemble(text: str) -> bytes:
    return bytes(wasmtime.wat2wasm(text))


def run(module: bytes, name: str, *args: int, meter: int | None = None) -> tuple[object, int | None]:
    """Call one export; the second value is what the meter says afterwards, if there is one."""
    engine = wasmtime.Engine()
    store = wasmtime.Store(engine)
    exports = wasmtime.Instance(store, wasmtime.Module(engine, module), []).exports(store)
    gauge = exports.get(METER)
    if isinstance(gauge, wasmtime.Global) and meter is not None:
        gauge.set_value(store, meter)
    function = exports[name]
    assert isinstance(function, wasmtime.Func)
    result = function(store, *args)
    return result, gauge.value(store) if isinstance(gauge, wasmtime.Global) else None


@pytest.mark.parametrize("value", [0, 1, 63, 64, 127, 128, 300, 2**31, 2**32 - 1, 2**63])
def test_unsigned_numbers_survive_a_round_trip(value: int) -> None:
    assert read_unsigned(write_unsigned(value) + b"\xff", 0) == (value, len(write_unsigned(value)))


@pytest.mark.parametrize("value", [0, 1, -1, 63, 64, -64, -65, 2**31 - 1, -(2**31), 2**63 - 1, -(2**63)])
def test_signed_numbers_survive_a_round_trip(value: int) -> None:
    assert read_signed(write_signed(value) + b"\xff", 0) == (value, len(write_signed(value)))


def test_functions_are_named_after_their_shortest_export() -> None:
    assert [function.name for function in read_code(assemble(SMALL)).functions] == [
        "function-0",
        "alloc",
        "reset",
    ]


def test_code_put_together_again_is_the_same_code() -> None:
    code = read_code(assemble(SMALL))
    assert read_code(code.with_bodies({})).functions == code.functions


def test_import_is_refused() -> None:
    with pytest.raises(CodeError, match="a kernel imports nothing"):
        read_code(assemble('(module (import "env" "f" (func)) (func (export "reset")))'))


def test_unknown_instruction_is_refused_with_its_offset() -> None:
    with pytest.raises(CodeError, match=r"unknown instruction 0xfd at offset 0x"):
        read_code(assemble('(module (func (export "reset") (drop (i32x4.splat (i32.const 1)))))'))


def test_metered_module_computes_the_same() -> None:
    assert run(add_meter(assemble(SMALL)), "alloc", 21)[0] == 42


def test_meter_counts_what_wasmtime_counts() -> None:
    config = wasmtime.Config()
    config.consume_fuel = True
    engine = wasmtime.Engine(config)
    store = wasmtime.Store(engine)
    store.set_fuel(1000)
    exports = wasmtime.Instance(store, wasmtime.Module(engine, assemble(SMALL)), []).exports(store)
    reset = exports["reset"]
    assert isinstance(reset, wasmtime.Func)
    reset(store)
    left = run(add_meter(assemble(SMALL)), "reset", meter=1000)[1]
    assert left == store.get_fuel()


def test_meter_cuts_between_any_two_instructions() -> None:
    metered = add_meter(assemble(SMALL))
    left = run(metered, "alloc", 21, meter=100)[1]
    assert left is not None
    cost = 100 - left
    for fuel in range(cost):
        with pytest.raises(wasmtime.Trap, match="unreachable"):
            run(metered, "alloc", 21, meter=fuel)
    assert run(metered, "alloc", 21, meter=cost) == (42, 0)


FILL = """(module (memory (export "memory") 1)
  (func (export "reset") (param i32) i32.const 0 i32.const 7 local.get 0 memory.fill)
  (func (export "alloc") (param i32) i32.const 0 i32.const 8 local.get 0 memory.copy))"""


@pytest.mark.parametrize("name", ["reset", "alloc"])
@pytest.mark.parametrize("length", [0, 1, 1000])
def test_weighted_meter_counts_bytes_as_wasmtime_does(name: str, length: int) -> None:
    config = wasmtime.Config()
    config.consume_fuel = True
    engine = wasmtime.Engine(config)
    store = wasmtime.Store(engine)
    store.set_fuel(5000)
    fuelled = wasmtime.Instance(store, wasmtime.Module(engine, assemble(FILL)), []).exports(store)
    function = fuelled[name]
    assert isinstance(function, wasmtime.Func)
    function(store, length)
    assert weigh(name, length, 5000, weight=1) == store.get_fuel()
    assert weigh(name, length, 5000, weight=0) == 5000 - 5


def weigh(name: str, length: int, fuel: int, *, weight: int, most: int = 5000) -> int:
    """Call one export of `FILL` and return what the meter says afterwards; -1 for a trap."""
    store = wasmtime.Store()
    module = wasmtime.Module(store.engine, add_meter(assemble(FILL)))
    exports = wasmtime.Instance(store, module, []).exports(store)
    function, meter, heaviness, left = (exports[each] for each in (name, METER, WEIGHT, BYTES))
    assert isinstance(function, wasmtime.Func)
    assert isinstance(meter, wasmtime.Global)
    assert isinstance(heaviness, wasmtime.Global)
    assert isinstance(left, wasmtime.Global)
    meter.set_value(store, fuel)
    heaviness.set_value(store, weight)
    left.set_value(store, most)
    try:
        function(store, length)
    except wasmtime.Trap:
        return -1
    return int(meter.value(store))


def test_fill_of_more_bytes_than_are_left_ends_a_call_that_nothing_limits() -> None:
    assert weigh("reset", 100, 5000, weight=0, most=100) == 5000 - 5
    assert weigh("reset", 100, 5000, weight=0, most=99) == -1


def test_memory_that_grows_by_nothing_for_ever_ends_a_call() -> None:
    text = """(module (memory (export "memory") 1)
      (func (export "reset") loop i32.const 0 memory.grow drop br 0 end))"""
    with pytest.raises(wasmtime.Trap, match="unreachable"):
        run(add_meter(assemble(text)), "reset")


def test_fill_that_costs_more_than_is_left_is_cut() -> None:
    assert weigh("reset", 1000, 1004, weight=1) == -1
    assert weigh("reset", 1000, 1005, weight=1) == 0


def test_marks_tell_which_way_a_call_went() -> None:
    code = read_code(assemble(SMALL))
    marks = place_marks(code)
    module = add_marks(code, marks)
    alloc = next(each for each in code.functions if each.name == "alloc")
    place = {each.text: n for n, each in enumerate(alloc.instructions)}
    then, otherwise = (marks.numbers[alloc.index, place[each]] for each in ("call 0", "i64.const 0"))
    twice = marks.numbers[0, 0]
    small, large = (marks_after(module, argument) for argument in (21, 500))
    assert small >> then & 1
    assert small >> twice & 1
    assert not small >> otherwise & 1
    assert large >> otherwise & 1
    assert not large >> then & 1
    assert not large >> twice & 1


def marks_after(module: bytes, argument: int) -> int:
    """Call `alloc` of a marking module and return its marks."""
    store = wasmtime.Store()
    exports = wasmtime.Instance(store, wasmtime.Module(store.engine, module), []).exports(store)
    function, word = exports["alloc"], exports["mark-0"]
    assert isinstance(function, wasmtime.Func)
    assert isinstance(word, wasmtime.Global)
    function(store, argument)
    return int(word.value(store)) % 2**64


NAMED = SMALL.replace("(module", '(module $kernel (import "global" "get" (func $imported))', 1)


def test_names_come_from_the_linkers_module_shifted_by_its_imports() -> None:
    raw = bytes(wasmtime.wat2wasm(NAMED))
    assert read_names(raw, read_code(assemble(SMALL))) == {0: "twice"}


IMPL = "56_$LT$impl$u20$extism_kernel..kernel..Kernel$LT$M$GT$$GT$"
ONLY_CALLS = """(module (func (export "alloc") (param i64 i64) local.get 0 local.get 1 call $real)
  (func $inner (param i64) local.get 0 drop) (func $real (param i64 i64) local.get 0 call $inner))"""
DROPPED = """(module (func (param i64) local.get 0 drop)
  (func (export "alloc") (param i64 i64) local.get 0 call 0))"""


def test_exported_function_that_only_calls_is_passed_over() -> None:
    assert read_names(assemble(ONLY_CALLS), read_code(assemble(DROPPED))) == {0: "inner"}


def test_exported_function_that_calls_an_import_stays() -> None:
    placeholder = '(import "global" "get" (func $get (result i64)))'
    raw = f'(module {placeholder} (func (export "alloc") (result i64) call $get) (func $f))'
    kernel = '(module (func (export "alloc") (result i64) i64.const 0) (func))'
    assert read_names(assemble(raw), read_code(assemble(kernel))) == {1: "f"}


def test_function_that_swaps_its_parameters_does_more_than_call() -> None:
    swapped = ONLY_CALLS.replace("local.get 0 local.get 1 call", "local.get 1 local.get 0 call")
    with pytest.raises(NamesError, match="has 3 functions, the kernel 2"):
        read_names(assemble(swapped), read_code(assemble(DROPPED)))


SYMBOLS = {
    f"_ZN13extism_kernel4heap{IMPL}10make_place17hbc9c479f4c11e694E": [
        "extism_kernel",
        "heap",
        "make_place",
    ],
    "_ZN13extism_kernel6kernel15Kernel$LT$M$GT$5reset17h0b107bad557db02aE": [
        "extism_kernel",
        "kernel",
        "reset",
    ],
    "_RNvMs_NtCs1234_13extism_kernel4heapINtNtB4_6kernel6KernelpE10make_place": [
        "extism_kernel",
        "heap",
        "kernel",
        "Kernel",
        "make_place",
    ],
    "memcpy": ["memcpy"],
}


@pytest.mark.parametrize(("symbol", "path"), SYMBOLS.items(), ids=[path[-1] for path in SYMBOLS.values()])
def test_symbols_become_paths(symbol: str, path: list[str]) -> None:
    assert demangle(symbol) == path


def test_name_that_an_export_has_goes_with_its_module() -> None:
    symbol = "_ZN13extism_kernel6kernel15Kernel$LT$M$GT$5reset17h0b107bad557db02aE"
    code = read_code(assemble(SMALL))
    raw = bytes(wasmtime.wat2wasm(SMALL.replace("$twice", f"${symbol}")))
    assert read_names(raw, code) == {0: "kernel.reset"}


WRONG_NAMES = {
    "another-module": ('(module (func (export "reset")))', "has 1 functions, the kernel 3"),
    "no-functions": ("(module)", "has no functions"),
    "another-order": (
        '(module (func (export "alloc")) (func $a) (func (export "reset")))',
        "in another order",
    ),
    "no-name-section": (
        '(module (func) (func (export "alloc")) (func (export "reset")))',
        "no `name` section",
    ),
}


@pytest.mark.parametrize(("text", "message"), WRONG_NAMES.values(), ids=WRONG_NAMES)
def test_names_of_another_module_are_refused(text: str, message: str) -> None:
    with pytest.raises(NamesError, match=message):
        read_names(assemble(text), read_code(assemble(SMALL)))


def test_every_mutant_of_the_small_module_is_another_module() -> None:
    code = read_code(assemble(SMALL))
    mutants = list(find_mutants(code))
    built = [mutant.build(code) for mutant in mutants]
    assert len({*built, code.data}) == len(mutants) + 1


def test_mutant_keys_are_unique_and_outlive_a_shift() -> None:
    before = {mutant.key for mutant in find_mutants(read_code(assemble(SMALL)))}
    shifted = SMALL.replace("(func $twice", '(func (export "free") (param i64) nop nop) (func $twice')
    after = [mutant.key for mutant in find_mutants(read_code(assemble(shifted)))]
    assert len(set(after)) == len(after)
    assert {key for key in before if key.startswith(("alloc:", "reset:")) and "call" not in key} <= set(after)


OPERATORS = {
    "addition": ("i32.const 5 local.get 0 i32.add drop", "i32.sub"),
    "unsigned-comparison": ("local.get 0 i32.const 5 i32.lt_u drop", "i32.le_u"),
    "sign-of-a-comparison": ("local.get 0 i32.const 5 i32.lt_u drop", "i32.lt_s"),
    "equality": ("local.get 0 i32.const 5 i32.eq drop", "i32.ne"),
    "negation": ("local.get 0 i32.eqz drop", "i32.eqz twice"),
    "bits": ("local.get 0 i32.const 5 i32.and drop", "i32.or"),
    "shift": ("local.get 0 i32.const 5 i32.shr_u drop", "i32.shl"),
    "constant-above": ("i32.const 5 drop", "i32.const 6"),
    "constant-below": ("i32.const 5 drop", "i32.const 4"),
    "constant-zero": ("i32.const 5 drop", "i32.const 0"),
    "dropped-store": ("i32.const 0 i32.const 5 i32.store", "store dropped"),
    "offset": ("i32.const 0 i32.load offset=8 drop", "i32.load offset=12"),
    "sign-of-a-load": ("i32.const 0 i32.load8_u drop", "i32.load8_s"),
    "branch": ("block local.get 0 br_if 0 end", "branch if not"),
    "no-branch": ("block local.get 0 br_if 0 end", "never branch"),
    "condition": ("local.get 0 if nop end", "if not"),
    "select": ("i32.const 1 i32.const 2 local.get 0 select drop", "select the other"),
    "fill": ("i32.const 0 i32.const 0 i32.const 8 memory.fill", "call removed"),
    "copy": ("i32.const 0 i32.const 0 i32.const 8 memory.copy", "call removed"),
    "growth": ("i32.const 1 memory.grow drop", "growth refused"),
    "call": ("i64.const 1 call $other drop", "call removed"),
    "global-zero": ("global.get $left drop", "zero instead"),
    "global-neighbour": ("global.get $left drop", "global.get 1"),
    "last-global": ("global.get $right drop", "global.get 0"),
    "dropped-global": ("i32.const 1 global.set $left", "global.set dropped"),
    "set-neighbour": ("i32.const 1 global.set $left", "global.set 1"),
}


@pytest.mark.parametrize(("body", "after"), OPERATORS.values(), ids=OPERATORS)
def test_operator_makes_a_valid_module(body: str, after: str) -> None:
    other = "(func $other (param i64) (result i64) local.get 0)"
    globals_ = "(global $left (mut i32) (i32.const 1)) (global $right (mut i32) (i32.const 2))"
    code = read_code(
        assemble(f'(module (memory 1) {globals_} (func (export "reset") (param i32) {body}) {other})')
    )
    chosen = [mutant for mutant in find_mutants(code) if mutant.after == after]
    assert chosen, [mutant.after for mutant in find_mutants(code)]
    for mutant in chosen:
        wasmtime.Module.validate(wasmtime.Engine(), mutant.build(code))


@pytest.mark.parametrize(
    ("patience", "different"), [(60_000, []), (-1, ["toy/slow"])], ids=["in-time", "too-late"]
)
def test_replayed_case_that_takes_too_long_is_another(patience: int, different: list[str]) -> None:
    call: list[object] = ["call", "i", "reset", [], None, None]
    trace = {"id": "toy/slow", "pages": "1", "bytes": False, "ops": [["instantiate", "i"], call, call]}
    try:
        replay = Replay([trace])
    except NodeNotFoundError as reason:
        pytest.skip(str(reason))
    modules = {"1": add_meter(assemble(SMALL))}
    try:
        found = replay.find_different(modules, order=["toy/slow"], most=3, patience=patience)
    finally:
        replay.close()
    assert found == different


def test_call_that_keeps_node_busy_is_told_and_node_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    call: list[object] = ["call", "i", "reset", [], None, None]
    trace = {"id": "toy/endless", "pages": "1", "bytes": False, "ops": [["instantiate", "i"], call]}
    endless = """(module (memory (export "memory") 1)
      (global (export "meter") (mut i64) (i64.const 0)) (global (export "weight") (mut i64) (i64.const 0))
      (func (export "reset") loop br 0 end))"""
    monkeypatch.setattr("kernel_mutants.replay._NODE_PATIENCE", 2.0)
    try:
        replay = Replay([trace])
    except NodeNotFoundError as reason:
        pytest.skip(str(reason))
    try:
        with pytest.raises(EndlessCallError):
            replay.find_different({"1": assemble(endless)}, order=["toy/endless"], most=1)
        sound = {"1": add_meter(assemble(SMALL))}
        assert replay.find_different(sound, order=["toy/endless"], most=1) == []
    finally:
        replay.close()
