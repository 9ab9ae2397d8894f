"""The custom sections that a finished kernel carries (S-7).

The names are short because every byte counts against the size budget (C-4).
"""

VERSION_SECTION = "extism"
ABI_SECTION = "extism_abi"
PRODUCERS_SECTION = "producers"
STAMPS = (VERSION_SECTION, ABI_SECTION, PRODUCERS_SECTION)
