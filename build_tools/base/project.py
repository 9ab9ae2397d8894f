"""Where things are: the checkout, the user's cache, and the data files."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

from build_tools.base.errors import ContractError
from build_tools.base.files import guard_reading

# The packages that decide what is staged; those after them in the order of the layers only use it.
KERNEL_PACKAGES = ("base", "env", "wasm", "toolchain", "kernel")


@dataclass(frozen=True, slots=True)
class Project:
    """The folders of one checkout (or of an unpacked sdist)."""

    root: Path

    @property
    def kernel_src(self) -> Path:
        """The crate."""
        return self.root / "kernel-src"

    @property
    def abi_toml(self) -> Path:
        """The hand-written list of exports."""
        return self.kernel_src / "abi.toml"

    @property
    def canonical_json(self) -> Path:
        """The digests that the sources give with the pinned compiler."""
        return self.kernel_src / "canonical.json"

    @property
    def cargo_toml(self) -> Path:
        """The one place of the version."""
        return self.kernel_src / "Cargo.toml"

    @property
    def tools(self) -> Path:
        """This package."""
        return self.root / "build_tools"

    @property
    def toolchain_toml(self) -> Path:
        """The pinned toolchains."""
        return self.tools / "toolchain.toml"

    @property
    def package(self) -> Path:
        """The package that carries the staged kernel."""
        return self.root / "extism_kernel_pkg"

    def kernel_inputs(self) -> list[Path]:
        """Return every source that can change a byte of the kernel; kernel info has one digest over them."""
        src = self.kernel_src
        named = [self.abi_toml, self.cargo_toml, src / ".cargo" / "config.toml", src / "rust-toolchain.toml"]
        return [path for path in (*named, *sorted((src / "src").rglob("*"))) if path.is_file()]

    def tool_inputs(self) -> list[Path]:
        """Return every other file that can change how the kernel is made, judged or described."""
        src = self.kernel_src
        named = [
            src / "Cargo.lock",
            src / "build.rs",  # there must be none
            self.toolchain_toml,
            self.tools / "requirements" / "build.txt",  # the libraries that judge it
            self.tools / "__init__.py",
        ]
        modules = (path for name in KERNEL_PACKAGES for path in sorted((self.tools / name).rglob("*.py")))
        # The reader of modules, which the tools share, and what importing its package imports.
        reader = (*sorted(self.package.glob("*.py")), *sorted((self.package / "_wasm").rglob("*.py")))
        return [path for path in (*named, *modules, *reader) if path.is_file()]


def find_project() -> Project:
    """Return the checkout that this package lies in."""
    return Project(Path(__file__).resolve().parents[2])


def read_toml(path: Path) -> dict[str, Any]:
    """Return a TOML file's content. Raises `ContractError` with line and column if it is malformed."""
    with guard_reading(path):
        text = path.read_bytes()
    try:
        table: dict[str, Any] = tomllib.loads(text.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise ContractError(
            [f"byte {error.start} is not UTF-8"], where=path, hint="save it as UTF-8"
        ) from None
    except tomllib.TOMLDecodeError as error:
        raise ContractError([str(error)], where=path, hint="fix the TOML at that line") from None
    except RecursionError:
        raise ContractError(["is nested too deeply"], where=path, hint="write it flatter") from None
    return table
