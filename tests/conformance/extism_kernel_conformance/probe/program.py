"""What a probe does, step by step: calls with their checks, and runs of one byte."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from extism_kernel_conformance.probe.values import Value


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One relation of a result. `site` is the number under which the guest reports that it does not hold."""

    relation: str
    operands: tuple[Value, ...]
    site: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CallOp:
    """Call one function of the kernel; the result may be kept in a slot."""

    name: str
    args: tuple[Value, ...]
    checks: tuple[Check, ...] = ()
    slot: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FillOp:
    """Store one byte again and again."""

    address: Value
    length: int
    byte: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FilledOp:
    """Load bytes that must all be the same one."""

    address: Value
    length: int
    byte: int
    site: int


Op = CallOp | FillOp | FilledOp


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """A place at which a probe can fail, in the words of a report."""

    where: str
    expected: str
    """`{}` stands for the operand, which the guest sends."""
    width: int = 0
    """What came is shown as that many bytes, little-endian; 0 for a number."""
    fill_length: int = 0
    """For a run of one byte its length: the guest sends the offset, and a word except in the tail."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """A case as one guest plays it."""

    ops: tuple[Op, ...]
    sites: tuple[Site, ...]
    slots: int
    prefix: str
    """`extism_` if the case calls nothing but functions of the first generation."""
