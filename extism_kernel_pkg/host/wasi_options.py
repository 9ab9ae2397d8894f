"""What a plug-in sees through WASI beside its folders: nothing, unless the application says so."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class Stream(Protocol):
    """Where the output of a guest may go: a file opened for bytes, `io.BytesIO`, `sys.stdout.buffer`."""

    def write(self, data: bytes, /) -> object:
        """Take bytes."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class WasiOptions:
    """Arguments, environment and input of a guest, and where its output goes beside the guest's logger."""

    args: Sequence[str] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    stdin: bytes = b""
    stdout: Stream | None = None
    stderr: Stream | None = None

    def __post_init__(self) -> None:
        """Refuse what WASI cannot pass on. Raises `TypeError` or `ValueError`."""
        if isinstance(self.args, str):
            raise TypeError("`args` is a list of strings")
        if not isinstance(self.stdin, bytes):
            raise TypeError(f"`stdin` is bytes, not `{type(self.stdin).__name__}`")
        for text in (*self.args, *self.env, *self.env.values()):
            if not isinstance(text, str):
                raise TypeError(f"`args` and `env` hold strings, not `{type(text).__name__}`")
            if "\0" in text:
                raise ValueError(f"{text!r} has a zero byte, which ends a string of WASI")
        if any(not name or "=" in name for name in self.env):
            raise ValueError("a name in `env` is empty or has `=` in it")
