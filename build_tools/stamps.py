"""The custom sections that a finished kernel carries (S-7)."""

VERSION_SECTION = "extism_kernel_version"
ABI_SECTION = "extism_abi_version"
PRODUCERS_SECTION = "producers"
STAMPS = (VERSION_SECTION, ABI_SECTION, PRODUCERS_SECTION)
