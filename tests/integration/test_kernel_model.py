"""Random programs, hostile ones too, on the staged module and on a model of the contract side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.integration.kernel_model import Model
from tests.integration.kernel_programs import CHURN, HOSTILE, programs, run_program
from tests.integration.kernel_support import ModuleMachine

if TYPE_CHECKING:
    from build_tools.bench.metered import Workshop
    from tests.integration.kernel_programs import Program


def run_on_module(workshop: Workshop, program: Program, limit: int) -> None:
    bottom = workshop.instantiate().call("alloc", 8)
    run_program(ModuleMachine(workshop.instantiate(pages=limit)), program, limit=limit, bottom=bottom)


COMMON = settings(
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@settings(COMMON, max_examples=200)
@given(program=programs(HOSTILE, least=15, most=80), limit=st.sampled_from((2, 3, 5, 64)))
def test_hostile_program_never_leaves_the_contract(program: Program, limit: int, workshop: Workshop) -> None:
    """M-1 to M-4, A-1, A-2, A-6, A-7, R-1 to R-4: the whole state after every call."""
    run_on_module(workshop, program, limit)


@pytest.mark.slow
@settings(COMMON, max_examples=40)
@given(program=programs(CHURN, least=50, most=150))
def test_churn_in_little_memory_keeps_blocks_apart(program: Program, workshop: Workshop) -> None:
    """A-1, A-5, R-3: frees and reuse in two pages."""
    run_on_module(workshop, program, 2)


FAULTS = {
    "a-length-that-changed": lambda model: model.live[model.bottom].extend(b"\0"),
    "a-byte-that-changed": lambda model: model.live[model.bottom].__setitem__(0, 9),
    "a-block-that-did-not-end": lambda model: model.end(model.bottom),
    "a-register-that-moved": lambda model: setattr(model, "error", 64),
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_model_trips_on(fault: object, workshop: Workshop) -> None:
    bottom = workshop.instantiate().call("alloc", 8)
    model = Model(kernel=ModuleMachine(workshop.instantiate()), limit=64, bottom=bottom)
    model.alloc(64)
    model.check()
    assert callable(fault)
    fault(model)
    with pytest.raises(AssertionError):
        model.check()
