"""The SDKs that consume the kernel: the suite's configurations of them, and how each takes a kernel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from build_tools.base.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True, kw_only=True)
class Sdk:
    """One SDK. `shipped` and `given` name configurations of the suite, or none."""

    name: str
    package: str
    shipped: str
    given: str = ""
    profile: str = "sdk"
    way: str
    """How another kernel gets in, as a sentence."""
    unavailable: str = ""
    """Why the SDK itself cannot be taken from a registry, and what stands in for it, as a sentence."""

    @property
    def configurations(self) -> tuple[str, ...]:
        """The configurations of the suite, as shipped first."""
        return tuple(filter(None, (self.shipped, self.given)))


SDKS = (
    Sdk(
        name="rust",
        package="PyPI extism 1.1.1, extism-sys 1.41.0",
        shipped="sdk-python",
        given="sdk-python-given",
        way="its library, in a private copy, gets a kernel padded to the length of the embedded one",
    ),
    Sdk(
        name="go",
        package="Go module github.com/extism/go-sdk v1.7.1",
        shipped="sdk-go",
        given="sdk-go-given",
        way="a private copy of the module gets the file, and `replace` points to the copy",
    ),
    Sdk(
        name="java",
        package="Maven org.extism.sdk:chicory-sdk-core 0.2.0",
        shipped="sdk-java",
        given="sdk-java-given",
        way="a folder with `extism-runtime.wasm` stands first on the class path",
    ),
    Sdk(
        name="javascript",
        package="npm @extism/extism 2.0.0-rc13",
        shipped="sdk-js",
        way="it carries no kernel: its own TypeScript has that part",
    ),
    Sdk(
        name="wamr",
        package="crate wamrx",
        shipped="",
        given="wamr",
        profile="kernel",
        way="a C array made of the file (`xxd -i`) is compiled in",
        unavailable="wamr-sdk is in no registry: the kernel is judged on WAMR itself, in the kernel profile; "
        "tests/examples/c is a host in C",
    ),
)


def select(names: Sequence[str]) -> list[Sdk]:
    """Return the SDKs of these names, in the order of the table; all without any. Raises UsageError."""
    known = {sdk.name: sdk for sdk in SDKS}
    for name in names:
        if name not in known:
            raise UsageError(f"there is no SDK `{name}`", hint=f"known are: {', '.join(known)}")
    return [sdk for sdk in SDKS if not names or sdk.name in names]
