"""The contract's model on the native twin: a hundred times the calls that a runtime makes in that time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.integration.kernel_programs import CHURN, HOSTILE
from tests.native.search import judge, make_program, shrink

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.native.twin import NativeMachine, Twin


@pytest.fixture
def make(twin: Twin) -> Callable[[int], NativeMachine]:
    return lambda pages: twin.instantiate(pages=pages)


@pytest.mark.parametrize("names", [HOSTILE, CHURN], ids=["hostile", "churn"])
def test_short_search_never_leaves_the_contract(
    make: Callable[[int], NativeMachine], names: tuple[str, ...]
) -> None:
    """M-1 to M-4, A-1, A-2, A-5 to A-7, R-1 to R-4: the kernel's own scan agrees too."""
    assert judge(make, range(400), names, length=100) == 40_000


@pytest.mark.slow
@pytest.mark.parametrize(
    ("names", "seeds", "length"),
    [(HOSTILE, 10_000, 100), (CHURN, 4_000, 100), (HOSTILE, 20, 4_000)],
    ids=["hostile", "churn", "hostile-long"],
)
def test_long_search_never_leaves_the_contract(
    make: Callable[[int], NativeMachine], names: tuple[str, ...], seeds: int, length: int
) -> None:
    """M-1 to M-4, A-1, A-2, A-5 to A-7, R-1 to R-4: in a million calls and more."""
    assert judge(make, range(1_000_000, 1_000_000 + seeds), names, length=length) == seeds * length


def test_program_of_a_seed_is_always_the_same() -> None:
    assert make_program(7, HOSTILE, 50) == make_program(7, HOSTILE, 50) != make_program(8, HOSTILE, 50)


def test_shrink_keeps_only_what_fails() -> None:
    program = make_program(7, HOSTILE, 97)
    first, second = program[13], program[80]
    smallest = shrink(program, lambda part: first in part and second in part)
    assert smallest == [first, second]


def test_kernel_that_forgets_a_length_is_found_with_a_small_program(
    make: Callable[[int], NativeMachine],
) -> None:
    """The search trips: one length among many is told wrong."""

    class Forgetful:
        def __init__(self, kernel: NativeMachine) -> None:
            self.read, self.pages = kernel.read, kernel.pages
            self.grow, self.scan = kernel.grow, kernel.scan
            self.kernel = kernel

        def call(self, name: str, *args: int) -> int:
            answer = self.kernel.call(name, *args)
            return 64 if name == "length" and answer == 63 else answer

    with pytest.raises(AssertionError) as caught:
        judge(lambda pages: Forgetful(make(pages)), range(100), CHURN, length=100)
    what, where, *program = str(caught.value).splitlines()
    assert what == 'AssertionError:  (check: `assert self.kernel.call("length", handle) == len(content)`)'
    assert where.startswith("seed ")
    assert program in (["  ('alloc_small', 63),"], ["  ('alloc_good', 63),"])
