"""Finds kernels in one file: in its bytes, in text that stands for them, in archives inside archives."""

from __future__ import annotations

import bisect
from array import array
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from extism_kernel_pkg._wasm import HEADER, InvalidModuleError, is_module, read_sections
from extism_kernel_pkg.vendored import streams, tars, zips
from extism_kernel_pkg.vendored.blob import Blob, spool
from extism_kernel_pkg.vendored.budget import (
    DEPTH,
    KERNELS_PER_FILE,
    SKIPPED_PER_FILE,
    BudgetError,
    UnreadableError,
)
from extism_kernel_pkg.vendored.embedded import find_archives, find_candidates, find_streams
from extism_kernel_pkg.vendored.identify import Identified, identify
from extism_kernel_pkg.vendored.texts import KERNEL_MAX

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator

    from extism_kernel_pkg.vendored.budget import Budget
    from extism_kernel_pkg.vendored.known import KnownKernels

SMALLEST = 64
"""Bytes under which nothing can be a kernel, in any form."""
HEAD = 1024
UNSUPPORTED = {
    b"7z\xbc\xaf\x27\x1c": "a 7z archive",
    b"Rar!\x1a\x07": "a RAR archive",
    b"MSCF\0\0\0\0": "a cabinet",
    b"\x04\x22\x4d\x18": "compressed with lz4",
    b"LZIP": "compressed with lzip",
    b"\x1f\x9d": "compressed with compress",
    b"hsqs": "a squashfs image",
    b"\xed\xab\xee\xdb": "an RPM package",
    b"xar!": "a xar archive",
}
EXECUTABLES = (b"\x7fELF", b"MZ", b"\xcf\xfa\xed\xfe", b"\xca\xfe\xba\xbe")
PACKED = b"UPX!"


@dataclass(frozen=True, slots=True, kw_only=True)
class Skipped:
    """Something that could not be looked into, and why."""

    where: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """Bytes that are looked into: a file, or what is in one. `is_ours` says that its file is temporary."""

    where: str
    blob: Blob
    is_ours: bool = False

    def close(self) -> None:
        """Remove the temporary file."""
        if self.is_ours:
            self.blob.file.close()


@dataclass(slots=True)
class _Covered:
    """Ranges of an archive that are looked at as its members, so that nothing is found twice."""

    starts: array[int] = field(default_factory=lambda: array("Q"))
    ends: array[int] = field(default_factory=lambda: array("Q"))

    def add(self, offset: int, size: int) -> None:
        if not self.starts or offset >= self.starts[-1]:
            self.starts.append(offset)
            self.ends.append(offset + size)

    def has(self, offset: int) -> bool:
        at = bisect.bisect_right(self.starts, offset) - 1
        return at >= 0 and offset < self.ends[at]


def scan(item: Item, known: KnownKernels, budget: Budget) -> Iterator[Identified | Skipped]:
    """Yield every kernel in a file and everything in it that could not be looked into; never raises."""
    stack = [_guarded(item, known, budget)]
    counter = _Counter()
    try:
        while stack:
            found = next(stack[-1], None)
            if found is None:
                stack.pop()
            elif isinstance(found, Item):
                counter.check_depth(len(stack), found)
                stack.append(_guarded(found, known, budget))
            else:
                yield from counter.count(found)
    except BudgetError as error:
        yield Skipped(where=item.where, reason=str(error))
    for each in reversed(stack):
        each.close()


class _Counter:
    """Keeps what one file adds to the answers within bounds."""

    def __init__(self) -> None:
        self.kernels = 0
        self.skipped = 0

    def check_depth(self, depth: int, item: Item) -> None:
        if depth == DEPTH:
            item.close()
            raise BudgetError(f"archives are nested deeper than {DEPTH}")

    def count(self, found: Identified | Skipped) -> Iterator[Identified | Skipped]:
        if isinstance(found, Identified):
            self.kernels += 1
            if self.kernels > KERNELS_PER_FILE:
                raise BudgetError(f"there are more than {KERNELS_PER_FILE} kernels inside")
            yield found
        else:
            self.skipped += 1
            if self.skipped < SKIPPED_PER_FILE:
                yield found
            elif self.skipped == SKIPPED_PER_FILE:
                yield Skipped(where=found.where, reason="this and more that follows could not be looked into")


def _guarded(
    item: Item, known: KnownKernels, budget: Budget
) -> Generator[Identified | Skipped | Item, None, None]:
    """Look into one item; what it cannot read costs that item only."""
    try:
        yield from _look_into(item, known, budget)
    except BudgetError:
        raise
    except UnreadableError as error:
        yield Skipped(where=item.where, reason=str(error))
    except OSError as error:
        yield Skipped(where=item.where, reason=f"cannot be read ({error.strerror or error})")
    finally:
        item.close()


def _look_into(item: Item, known: KnownKernels, budget: Budget) -> Iterator[Identified | Skipped | Item]:
    blob = item.blob
    budget.check()
    if blob.size < SMALLEST:
        return
    head = blob.read(0, HEAD)
    begin = 0
    if is_module(head) and blob.size <= KERNEL_MAX:
        kernel, fault = _identify_whole(item, known)
        if kernel is not None:
            yield kernel
            return
        if fault is not None:
            yield Skipped(where=item.where, reason=f"a WebAssembly module that is damaged: {fault}")
        begin = len(HEADER)
    kind = streams.find_kind(head, item.where)
    if kind is not None:
        has_content = False
        for inside in _unpack_stream(item, kind, budget):
            has_content = True
            yield inside
        if has_content or kind != "zlib":
            return
    covered = _Covered()
    try:
        yield from _members(item, head, covered, budget)
    except BudgetError:
        raise
    except UnreadableError as error:
        yield Skipped(where=item.where, reason=str(error))
    yield from _embedded(item, begin, covered, known, budget)


def _identify_whole(item: Item, known: KnownKernels) -> tuple[Identified | None, InvalidModuleError | None]:
    data = item.blob.read(0, item.blob.size)
    found = identify(data, known, is_whole=True)
    if found is not None:
        size, sha256, facts = found
        return (
            Identified(where=item.where, offset=0, form="module", size=size, sha256=sha256, facts=facts),
            None,
        )
    try:
        for _ in read_sections(data):
            pass
    except InvalidModuleError as error:
        return None, error
    return None, None


def _unpack_stream(item: Item, kind: str, budget: Budget) -> Iterator[Skipped | Item]:
    """Yield what a compressed stream holds, also of a broken one what comes before the fault."""
    faults: list[UnreadableError] = []
    blob = spool(_collect(streams.decompress(kind, item.blob.pieces()), faults), budget)
    if kind == "zlib" and faults:
        blob.file.close()  # two bytes are a weak sign: it was none
        return
    yield Item(where=_inner_name(item.where), blob=blob, is_ours=True)
    for error in faults:
        yield Skipped(where=item.where, reason=str(error))


def _collect(pieces: Iterable[bytes], faults: list[UnreadableError]) -> Iterator[bytes]:
    try:
        yield from pieces
    except UnreadableError as error:
        faults.append(error)


def _inner_name(where: str) -> str:
    """Return the name of what is in a compressed file: `a.tar.gz!/a.tar`."""
    name = where.replace("\\", "/").rpartition("/")[2]
    stem, dot, suffix = name.rpartition(".")
    if suffix.lower() in {"tgz", "tbz", "tbz2", "txz", "crate", "apk"}:
        return f"{where}!/{stem}.tar"
    return f"{where}!/{stem if dot and stem else name}"


def _members(item: Item, head: bytes, covered: _Covered, budget: Budget) -> Iterator[Skipped | Item]:
    blob = item.blob
    for magic, what in UNSUPPORTED.items():
        if head.startswith(magic):
            raise UnreadableError(f"it is {what}, which is not supported; unpack it and verify the folder")
    if head.startswith(EXECUTABLES) and PACKED in head:
        yield Skipped(where=item.where, reason="it is packed with UPX; `upx -d` unpacks it")
    if tars.is_tar(head) or head.startswith(tars.AR_MAGIC):
        read = tars.read_tar if tars.is_tar(head) else tars.read_ar
        for member in read(blob):
            budget.check()
            covered.add(member.offset, member.size)
            yield Item(where=f"{item.where}!/{member.name}", blob=blob.part(member.offset, member.size))
        return
    directory = zips.find_directory(blob)
    if directory is None:
        if head.startswith(zips.LOCAL):
            raise UnreadableError("it is a zip without its directory: cut short, or a part of one")
        return
    for entry in zips.read_members(blob, directory):
        budget.check()
        covered.add(entry.offset, entry.size)
        yield from _zip_member(item, entry, budget)


def _zip_member(item: Item, entry: zips.ZipMember, budget: Budget) -> Iterator[Skipped | Item]:
    where = f"{item.where}!/{entry.name}"
    if entry.method == zips.STORED and not entry.is_encrypted:
        if entry.offset + entry.size > item.blob.size:
            yield Skipped(where=where, reason="the zip does not hold it, or not whole")
        yield Item(where=where, blob=item.blob.part(entry.offset, entry.size))
        return
    faults: list[UnreadableError] = []
    try:
        blob = spool(_collect(zips.unpack(item.blob, entry), faults), budget)
    except BudgetError:
        raise
    except UnreadableError as error:
        yield Skipped(where=where, reason=str(error))
        return
    yield Item(where=where, blob=blob, is_ours=True)
    for fault in faults:
        yield Skipped(where=where, reason=str(fault))


def _embedded(
    item: Item, begin: int, covered: _Covered, known: KnownKernels, budget: Budget
) -> Iterator[Identified | Skipped | Item]:
    for candidate in find_candidates(item.blob, begin, budget):
        if not covered.has(candidate.offset):
            found = identify(candidate.data, known, is_whole=False)
            if found is not None:
                size, sha256, facts = found
                yield Identified(
                    where=item.where,
                    offset=candidate.offset,
                    form=candidate.form,
                    size=size,
                    sha256=sha256,
                    facts=facts,
                )
    for offset, pieces in find_archives(item.blob, budget):
        if not covered.has(offset):
            blob = spool(_collect(pieces, []), budget)
            yield Item(where=f"{item.where}!/base64 at byte {offset:#x}", blob=blob, is_ours=True)
    for offset, kind in find_streams(item.blob, begin, covered.has, budget):
        yield from _embedded_stream(item, offset, kind, budget)


def _embedded_stream(item: Item, offset: int, kind: str, budget: Budget) -> Iterator[Skipped | Item]:
    where = f"{item.where}!/{kind} at byte {offset:#x}"
    faults: list[UnreadableError] = []
    blob = spool(_collect(streams.decompress(kind, item.blob.pieces(offset)), faults), budget)
    yield Item(where=where, blob=blob, is_ours=True)
    for error in faults:
        yield Skipped(where=where, reason=str(error))
