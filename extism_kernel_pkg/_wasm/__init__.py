"""The one strict reader of the structure of WebAssembly modules, and the encodings that a writer needs.

Standard library only. It reads sections, declarations and names, and code bodies as ranges; it reads no
instructions but those of constant expressions. What is not as the binary format of the core specification
(3.0) says raises `InvalidModuleError` with the place; whether a module is valid is a runtime's judgement.
Time and memory are bounded by the size of the module.
"""

from extism_kernel_pkg._wasm.cursor import Cursor, InvalidModuleError
from extism_kernel_pkg._wasm.declarations import (
    Body,
    Export,
    Global,
    Import,
    Limits,
    Segment,
    Table,
)
from extism_kernel_pkg._wasm.encode import (
    encode_custom,
    encode_export,
    encode_name,
    encode_section,
    encode_signed,
    encode_unsigned,
    encode_vector,
)
from extism_kernel_pkg._wasm.module import Module, read_module
from extism_kernel_pkg._wasm.sections import (
    HEADER,
    MAGIC,
    ORDER,
    Section,
    SectionId,
    check_header,
    is_module,
    read_sections,
)
from extism_kernel_pkg._wasm.types import FunctionType, function_type

__all__ = [
    "HEADER",
    "MAGIC",
    "ORDER",
    "Body",
    "Cursor",
    "Export",
    "FunctionType",
    "Global",
    "Import",
    "InvalidModuleError",
    "Limits",
    "Module",
    "Section",
    "SectionId",
    "Segment",
    "Table",
    "check_header",
    "encode_custom",
    "encode_export",
    "encode_name",
    "encode_section",
    "encode_signed",
    "encode_unsigned",
    "encode_vector",
    "function_type",
    "is_module",
    "read_module",
    "read_sections",
]
