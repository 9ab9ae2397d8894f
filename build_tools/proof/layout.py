"""The numbers of the kernel's layout, as `kernel-src/src/layout.rs` and `record.rs` have them.

A kernel with others fails the proof: its accesses then lie where no record and no bin is.
"""

from __future__ import annotations

BASE = 2032
FIRST_HANDLE = 2048
HEADER = 16
RECORD = 20
"""Bytes of a record, and the distance between the links of two neighbours in the table."""
PLACE, NEXT, PREV, OLDER, YOUNGER = FIELDS = (0, 4, 8, 12, 16)
"""A record's words, by their offset. `OLDER` is the length of a block."""
MARK = 3
"""The bits of a place that say that a range is free."""
BITMAPS = (28, 20)
"""Where the words of the bitmap lie, from the anchor: bins 0 to 63, and the others."""
BIN_COUNT = 108
BIN_BYTES = 8
FIRST_BIN = -24
"""The link of the first bin; those of the others are less by 8 each."""
LEAST_SIZE = 32
"""Bytes of the smallest range that a bin takes: a header and 16 more."""
CLEARED = 36
"""Bytes from the anchor on that `reset` clears: the anchor and the bitmap."""
TAIL = CLEARED + BIN_COUNT * BIN_BYTES
"""Bytes from the anchor to the end of the kernel's pages."""
