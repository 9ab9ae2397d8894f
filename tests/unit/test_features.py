from __future__ import annotations

import pytest

from build_tools.wasm.features import OPCODE_FEATURES, UNKNOWN, feature_of

OPCODES = {
    "i64.add": "mvp",
    "br_table": "mvp",
    "i32.extend8_s": "sign-extension",
    "memory.copy": "bulk-memory",
    "memory.fill": "bulk-memory",
    "table.grow": "reference-types",
    "ref.null": "reference-types",
    "i32.trunc_sat_f32_s": "nontrapping-fptoint",
    "v128.const": "simd",
    "return_call": "tail-call",
    "try_table": "exception-handling",
    "i64.add128": "wide-arithmetic",
    "memory.atomic.notify": "threads",
    "struct.new": "gc",
    "an.opcode.of.tomorrow": UNKNOWN,
}


@pytest.mark.parametrize(("name", "feature"), OPCODES.items(), ids=OPCODES)
def test_opcode_belongs_to_its_feature(name: str, feature: str) -> None:
    assert feature_of(name) == feature


def test_every_opcode_that_the_reader_knows_has_a_feature() -> None:
    assert [name for name, feature in OPCODE_FEATURES.items() if feature == UNKNOWN] == []
