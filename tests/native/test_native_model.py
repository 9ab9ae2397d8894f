"""The contract's model on the native twin: a hundred times the calls that a runtime makes in that time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.integration.kernel_programs import CHURN, HOSTILE, LIVES
from tests.native.search import LIMITS, judge, make_program, shrink

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.native.twin import NativeMachine, Twin

    Limits = tuple[int, ...]

FEW_PAGES = (2, 3, 5)


@pytest.fixture
def make(twin: Twin) -> Callable[[int], NativeMachine]:
    return lambda pages: twin.instantiate(pages=pages)


@pytest.mark.parametrize("names", [HOSTILE, CHURN], ids=["hostile", "churn"])
def test_short_search_never_leaves_the_contract(
    make: Callable[[int], NativeMachine], names: tuple[str, ...]
) -> None:
    """M-1 to M-4, A-1, A-2, A-5 to A-7, R-1 to R-4: the kernel's own scan agrees too."""
    assert judge(make, range(400), names, length=100) == 40_000


def test_short_search_through_full_lives_never_leaves_the_contract(
    make: Callable[[int], NativeMachine],
) -> None:
    """A-2, A-4, L-2, R-3: hundreds of blocks, the last bytes of memory, and then the next life."""
    assert judge(make, range(200), LIVES, length=30, limits=FEW_PAGES) == 6_000


@pytest.mark.slow
@pytest.mark.parametrize(
    ("names", "seeds", "length", "limits"),
    [
        (HOSTILE, 10_000, 100, LIMITS),
        (CHURN, 4_000, 100, LIMITS),
        (HOSTILE, 20, 4_000, LIMITS),
        (LIVES, 2_000, 30, FEW_PAGES),
    ],
    ids=["hostile", "churn", "hostile-long", "lives"],
)
def test_long_search_never_leaves_the_contract(
    make: Callable[[int], NativeMachine], names: tuple[str, ...], seeds: int, length: int, limits: Limits
) -> None:
    """M-1 to M-4, A-1, A-2, A-4 to A-7, L-2, R-1 to R-4: in a million calls and more."""
    places = range(1_000_000, 1_000_000 + seeds)
    assert judge(make, places, names, length=length, limits=limits) == seeds * length


def test_bytes_before_pages_of_others_are_not_seen_in_the_next_life(twin: Twin) -> None:
    """L-2: a load must not show what a block held before `reset`, also where blocks are passed over."""
    kernel = twin.instantiate(pages=64)
    before = kernel.call("alloc", 60_000)
    kernel.call("store_u64", before + 50_000, 0x5EC2E7)
    kernel.grow(1)
    assert kernel.call("alloc", 150_000) > 2 * 65_536
    kernel.call("reset")
    kernel.call("alloc", 8)
    assert kernel.call("alloc", 150_000) > 2 * 65_536
    assert kernel.call("load_u64", before + 50_000) == 0


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
    assert what.startswith("AssertionError:  (is_alive: `assert length == len(self.live[handle])")
    assert where.startswith("seed ")
    assert program in (["  ('alloc_small', 63),"], ["  ('alloc_good', 63),"])
