"""Where the suite's data lies: beside the package in a checkout, inside it in a wheel."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from extism_kernel_conformance.base.errors import SuiteError

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True, kw_only=True)
class SuiteInfo:
    """The numbers of `suite.json`: the suite's version and the versions of its two documents."""

    version: str
    protocol: int
    rules: int


@cache
def suite_root() -> Path:
    """Return the folder that holds suite.json, cases/, schema/, lint/ and adapters/.

    Raises SuiteError if the package was installed without its data.
    """
    here = Path(__file__).resolve().parents[1]
    for folder in (here / "suite", here.parent):
        if (folder / "suite.json").is_file():
            return folder
    raise SuiteError(
        "the suite's data (suite.json, cases/, schema/) is not beside its code",
        where=str(here),
        hint="install extism-kernel-conformance again, or keep run.py in the folder it was unpacked to",
    )


def cache_folder() -> Path:
    """Return where built adapters and what they need are kept: in the user's cache."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "extism-kernel-conformance"


@cache
def suite_info() -> SuiteInfo:
    """Return what suite.json says."""
    data = json.loads((suite_root() / "suite.json").read_text(encoding="utf-8"))
    return SuiteInfo(version=data["version"], protocol=data["protocol"], rules=data["rules"])


@cache
def contract_types() -> dict[str, str]:
    """Return the type that the kernel contract gives to each exported function, both generations."""
    data = _surface()
    functions: dict[str, str] = data["functions"]
    prefix = first_prefix()
    # `extism_length_unsafe` did not exist, but exporting it does no harm, so it has a type too (S-3).
    return functions | {prefix + name: signature for name, signature in functions.items()}


def first_prefix() -> str:
    """Return what stands before the name of a function in the first generation, `extism_`."""
    return str(_surface()["first_generation_prefix"])


@cache
def _surface() -> Mapping[str, Any]:
    surface: Mapping[str, Any] = json.loads((suite_root() / "surface.json").read_text(encoding="utf-8"))
    return surface
