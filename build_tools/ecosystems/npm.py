"""The npm package `extism-kernel`: a tarball that `npm publish` and `npm install` take."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

from build_tools.base.archive import Member, make_tar_gz
from build_tools.ecosystems.kernel import fill_templates

if TYPE_CHECKING:
    from collections.abc import Iterator

    from build_tools.ecosystems.kernel import Kernel

__all__ = ["make_files"]

ROOT = "package/"
"""The folder that npm expects everything in."""
NUMBERS = {"i32": "number", "i64": "bigint", "f32": "number", "f64": "number", "externref": "any"}


def make_files(kernel: Kernel) -> list[Member]:
    """Return `extism-kernel-VERSION.tgz`."""
    members = [
        *kernel.members(ROOT),
        *(
            Member(name=f"{ROOT}{each.name}", data=each.data)
            for each in fill_templates(
                "npm",
                kernel,
                # npm refuses to make a pre-release what a plain `npm install` gets.
                TAG="next" if "-" in kernel.version else "latest",
                CONTEXT_BASE64=base64.b64encode(kernel.module("context")).decode(),
                CORE_BASE64=base64.b64encode(kernel.module("core")).decode(),
                CORE_TYPES=_interface(kernel, "core"),
                CONTEXT_TYPES=_interface(kernel, "context"),
            )
        ),
        *_module_types(kernel),
    ]
    members.sort(key=lambda member: member.name)
    tarball = make_tar_gz(members, epoch=kernel.epoch)
    return [Member(name=f"extism-kernel-{kernel.version}.tgz", data=tarball)]


def _module_types(kernel: Kernel) -> Iterator[Member]:
    """Yield the types of each module as the WebAssembly integration of ECMAScript modules sees it.

    TypeScript looks for those of `x.wasm` in `x.d.wasm.ts` and, with a condition `types`, where that says.
    """
    for flavour, entry in kernel.info["flavours"].items():
        lines = [f"export declare const {name}: {kind};\n" for name, kind in _types(kernel, flavour)]
        stem = entry["file"].removesuffix(".wasm")
        yield Member(name=f"{ROOT}{stem}.d.wasm.ts", data="".join(lines).encode())


def _interface(kernel: Kernel, flavour: str) -> str:
    return "\n".join(f"  readonly {name}: {kind};" for name, kind in _types(kernel, flavour))


def _types(kernel: Kernel, flavour: str) -> Iterator[tuple[str, str]]:
    """Yield each export's name and its type in TypeScript."""
    for export in kernel.info["exports"]:
        if flavour not in export.get("flavours", [flavour]):
            continue
        if export["kind"] != "func":
            yield export["name"], f"WebAssembly.{export['kind'].capitalize()}"
            continue
        for name in filter(None, (export["name"], export.get("alias"))):
            yield name, _function(export["type"])


def _function(type_: str) -> str:
    """Return a function type of the ABI in TypeScript: `(i64) -> ()` is `(p0: bigint) => void`."""
    params, result = (part.strip(" ()") for part in type_.split("->"))
    names = [NUMBERS[name.strip()] for name in params.split(",") if name.strip()]
    listed = ", ".join(f"p{at}: {name}" for at, name in enumerate(names))
    return f"({listed}) => {NUMBERS[result] if result else 'void'}"
