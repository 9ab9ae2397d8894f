"""`memory.max_pages`: one limit for the memories of kernel and guest together.

The runtime limits each memory by itself, with one number for all memories of a store. That is
enough, because kernel and guest never grow theirs at the same moment: the kernel grows only inside
`alloc`. So the number is set before and after an `alloc` that may not fit: for the kernel, to what the
guests have left over; for the guests, to what the kernel has left over. Several guest memories share
what is left evenly. The heap of garbage-collected objects, if a guest has one, is held to the guests'
number by itself, outside the sum.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol

from extism_kernel_pkg.host.errors import PluginOutOfMemoryError
from extism_kernel_pkg.host.manifest import MAX_PAGES

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from extism_kernel_pkg.host.compiling import GuestModule

PAGE: Final = 65536
MAX_OBJECT_PAGES: Final = 4096
_MEMORIES: Final = 4
"""Without `max_pages` a memory has at most 4 GiB, also with addresses of 64 bits; more than four memories of
guests share 16 GiB evenly. In a plug-in with garbage-collected objects a memory and the heap of these have at
most 256 MiB each: one `array.new` may fill it all, and nothing can stop it meanwhile."""

MAX_TABLE_ELEMENTS: Final = 1_000_000
"""Tables are host memory that no limit of the manifest counts; real plug-ins have some thousand elements."""


class LimitedStore(Protocol):
    """The part of a runtime's store that sets limits; -1 is none."""

    def set_limits(self, memory_size: int = -1, table_elements: int = -1) -> None:
        """Set the largest size of each memory in bytes, and of each table in elements."""
        ...


@dataclass(frozen=True, slots=True)
class GuestMemory:
    """One memory of a guest: its size now, and the most it may ever be, in pages."""

    size: Callable[[], int]
    maximum: int


class PageBudget:
    """Keeps the pages of all memories of one store within `max_pages`, or `MAX_PAGES` each if that is None.

    Tables are held to `MAX_TABLE_ELEMENTS` together in any case: each to an equal share.
    """

    def __init__(
        self,
        store: LimitedStore,
        max_pages: int | None,
        kernel_size: Callable[[], int],
        guests: Sequence[GuestModule],
    ) -> None:
        self.max_pages = max_pages
        self._store = store
        self._kernel_size = kernel_size
        self._table_elements = MAX_TABLE_ELEMENTS // max(1, sum(guest.tables for guest in guests))
        self.guests = [
            GuestMemory(size=partial(int, defined.minimum), maximum=defined.maximum)
            for guest in guests
            for defined in guest.memories
        ]
        share = MAX_PAGES * _MEMORIES // max(_MEMORIES, len(self.guests))
        self._limit(min(share, MAX_OBJECT_PAGES) if any(guest.has_objects for guest in guests) else share)

    @property
    def used(self) -> int:
        """Return the pages in use now."""
        return self._kernel_size() + sum(guest.size() for guest in self.guests)

    def open_for_kernel(self) -> None:
        """Let the kernel grow into all that the guests have left."""
        if self.max_pages is not None:
            others = sum(guest.size() for guest in self.guests)
            self._limit(self.max_pages - others)

    def open_for_guest(self) -> None:
        """Let the guests grow into what the kernel has left."""
        if self.max_pages is not None:
            self._share(self.max_pages - self._kernel_size(), [guest.size() for guest in self.guests])

    def settle(self) -> None:
        """`open_for_guest`, after anything may have grown.

        Raises `PluginOutOfMemoryError` if more is in use than allowed, as when modules start large.
        """
        if self.max_pages is not None:
            left, sizes = self.max_pages - self._kernel_size(), [guest.size() for guest in self.guests]
            self._share(left, sizes)
            if sum(sizes) > left:
                raise PluginOutOfMemoryError(f"the plug-in has {self.used} pages", max_pages=self.max_pages)

    def _share(self, left: int, sizes: Sequence[int]) -> None:
        """Let guests of these sizes have together what is left beside the kernel."""
        maxima = [guest.maximum for guest in self.guests]
        self._limit(_common_limit(list(zip(sizes, maxima, strict=True)), max(0, left - sum(sizes))))

    def _limit(self, pages: int) -> None:
        self._store.set_limits(memory_size=max(0, pages) * PAGE, table_elements=self._table_elements)


def _common_limit(memories: Sequence[tuple[int, int]], room: int) -> int:
    """Return the largest limit for each memory under which all together grow by at most `room`."""

    def growth(limit: int) -> int:
        return sum(max(0, min(limit, most) - size) for size, most in memories)

    if len(memories) <= 1:
        return room + sum(size for size, _ in memories)
    low, high = 0, max(size for size, _ in memories) + room
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if growth(middle) <= room else (low, middle - 1)
    return low
