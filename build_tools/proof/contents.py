"""Memory byte by byte: what is stored is what is loaded."""

from __future__ import annotations

from typing import TYPE_CHECKING

import z3

from build_tools.proof.machine import ADDRESS_BITS

if TYPE_CHECKING:
    from build_tools.proof.machine import Access, Contents, Machine, State, Value


class Bytes:
    """The exact contents of memory, as an array from addresses to bytes."""

    def new(self) -> Contents:
        """Return contents about which nothing is known."""
        return z3.Const("memory", z3.ArraySort(z3.BitVecSort(ADDRESS_BITS), z3.BitVecSort(8)))

    def load(self, machine: Machine, state: State, access: Access, count: int) -> Value:
        """Return `count` bytes as a number, little-endian."""
        del machine
        found = [z3.Select(state.memory, access.start + at) for at in range(count)]
        return z3.Concat(*reversed(found)) if count > 1 else found[0]

    def store(self, machine: Machine, state: State, access: Access, count: int) -> Contents:
        """Return the contents after `access.value` was written."""
        del machine
        memory = state.memory
        for at in range(count):
            memory = z3.Store(memory, access.start + at, z3.Extract(8 * at + 7, 8 * at, access.value))
        return memory

    def fill(self, machine: Machine, state: State, access: Access) -> Contents:
        """Return the contents after `access.value` was written to every byte of a range."""
        del machine
        place = z3.BitVec("filled", ADDRESS_BITS)
        inside = z3.ULT(place - access.start, access.size)
        return z3.Lambda([place], z3.If(inside, access.value, z3.Select(state.memory, place)))

    def copy(self, machine: Machine, state: State, access: Access, source: Value) -> Contents:
        """Return the contents after a range was copied from `source`."""
        del machine
        place = z3.BitVec("copied", ADDRESS_BITS)
        inside = z3.ULT(place - access.start, access.size)
        from_there = z3.Select(state.memory, place - access.start + source)
        return z3.Lambda([place], z3.If(inside, from_there, z3.Select(state.memory, place)))
