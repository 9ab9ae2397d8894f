"""The same kernel for other ecosystems: npm, Maven, crates, Go, NuGet and C.

Each package holds both modules byte for byte, `kernel_info.json` and the licence. The archives are written by
`build_tools.base.archive`, so that their bytes do not depend on the version of npm, jar or cargo at hand.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from build_tools.ecosystems import c, crate, go, maven, npm, nuget

if TYPE_CHECKING:
    from collections.abc import Callable

    from build_tools.base.archive import Member
    from build_tools.ecosystems.kernel import Kernel

__all__ = ["ECOSYSTEMS"]

ECOSYSTEMS: dict[str, Callable[[Kernel], list[Member]]] = {
    "npm": npm.make_files,
    "maven": maven.make_files,
    "crate": crate.make_files,
    "go": go.make_files,
    "nuget": nuget.make_files,
    "c": c.make_files,
}
"""Name -> a function from the kernel to the files to write, by path inside the output folder."""
