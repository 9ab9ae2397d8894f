"""Finds kernels in whatever surrounds them and says what each is; the code behind `extism-kernel verify`."""

from extism_kernel_pkg.vendored.identify import Answer, Identified, identify
from extism_kernel_pkg.vendored.known import KnownKernels, read_known
from extism_kernel_pkg.vendored.report import render_text, to_data, to_sarif
from extism_kernel_pkg.vendored.verify import ALLOWANCES, Verification, verify

__all__ = [
    "ALLOWANCES",
    "Answer",
    "Identified",
    "KnownKernels",
    "Verification",
    "identify",
    "read_known",
    "render_text",
    "to_data",
    "to_sarif",
    "verify",
]
