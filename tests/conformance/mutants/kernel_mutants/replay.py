"""A quick first look at each mutant: recorded answers of the unbroken kernel, compared in Node.

A mutant that answers every request of every case as the unbroken kernel does survives for certain. One that
answers differently may still keep the contract (another handle, say), so the cases judge it afterwards.
"""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from extism_kernel_conformance.adapter.answers import Answer
    from extism_kernel_conformance.adapter.connection import Fields

SCRIPT = Path(__file__).with_name("replay.mjs")
PATIENCE = 10_000
"""Milliseconds of CPU time that a case may take here: several times what any takes on the unbroken kernel."""
_NODE_PATIENCE = 60.0
"""Seconds of CPU time for all cases of one mutant together; of the clock where that is all there is."""
_LOOK = 2.0
"""Seconds between two looks at the CPU time."""
_SHORT = 16
"""Bytes; longer reads and writes of one byte repeated travel as that byte and a length."""


class NodeNotFoundError(ValueError):
    """Node is what makes thousands of mutants affordable."""

    def __init__(self) -> None:
        super().__init__(
            "`node` is not on PATH; install it with `apt-get install nodejs`, or give --no-replay"
        )


def find_node() -> str:
    """Return the path of Node. Raises NodeNotFoundError."""
    node = shutil.which("node")
    if node is None:
        raise NodeNotFoundError
    return node


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """What one case runs."""

    marks: int
    """The marks that are set afterwards, as bits."""
    seconds: float


class Recorder:
    """Collects one case's requests with the answers of the unbroken kernel."""

    def __init__(self, *, with_cost: bool) -> None:
        self.operations: list[list[object]] = []
        self._with_cost = with_cost
        """Whether a call with a limit that costs something else counts as another answer."""

    def note(self, op: str, fields: Fields, answer: Answer) -> None:
        """Add one request."""
        record = _record(op, dict(fields), answer)
        if record is not None and self._with_cost and "fuel" in fields and "used" in answer:
            record.append(str(answer["used"]))
        if record is not None:
            self.operations.append(record)


class EndlessCallError(Exception):
    """A broken kernel kept Node busy with one call: it fills or grows memory again and again, say."""


class Replay:
    """One Node process that holds all recorded cases."""

    def __init__(self, traces: Sequence[Mapping[str, object]]) -> None:
        self._traces = list(traces)
        self._start()

    def _start(self) -> None:
        command = [find_node(), "--liftoff-only", str(SCRIPT)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._ask({"traces": self._traces})

    def find_different(
        self, modules: Mapping[str, bytes], *, order: Sequence[str], most: int, patience: int = PATIENCE
    ) -> list[str]:
        """Return the first `most` cases of `order` whose answers differ, or take more than `patience` ms.

        One that takes so long is the last. `modules` holds the kernel with each maximum of memory that a case
        asks for, the maximum as the key. Raises EndlessCallError; Node is started again then.
        """
        request = {"modules": _encode(modules), "order": list(order), "most": most, "patience": patience}
        different: list[str] = self._ask(request, _NODE_PATIENCE)
        return different

    def find_marks(self, modules: Mapping[str, bytes]) -> dict[str, Reach]:
        """Return for each case the marks that a marking kernel set, and the time it took."""
        answer: dict[str, Any] = self._ask({"modules": _encode(modules), "cover": True})
        return {
            case: Reach(
                marks=sum(int(word) << 64 * n for n, word in enumerate(found["marks"])),
                seconds=found["seconds"],
            )
            for case, found in answer.items()
        }

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()

    def _ask(self, request: Mapping[str, object], patience: float | None = None) -> Any:  # noqa: ANN401 - JSON
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(request).encode() + b"\n")
        self._process.stdin.flush()
        if patience is not None and not self._wait(patience):
            self._process.kill()
            self.close()
            self._start()
            raise EndlessCallError
        return json.loads(self._process.stdout.readline())

    def _wait(self, patience: float) -> bool:
        """Whether an answer came before the process used so many seconds."""
        assert self._process.stdout is not None
        end = _read_cpu_time(self._process.pid) + patience
        while not select.select([self._process.stdout], [], [], _LOOK)[0]:
            if _read_cpu_time(self._process.pid) > end:
                return False
        return True


def _read_cpu_time(pid: int) -> float:
    """Return the seconds of CPU time that a process used, or those of the clock: their difference counts."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError, AttributeError):
        return time.monotonic()


def _encode(modules: Mapping[str, bytes]) -> dict[str, str]:
    return {pages: base64.b64encode(data).decode() for pages, data in modules.items()}


def _record(op: str, fields: Any, answer: Answer) -> list[object] | None:  # noqa: ANN401 - a JSON object
    instance = fields["instance"]
    if op == "call":
        args = [arg.partition(":")[::2] for arg in fields["args"]]
        if answer["result"] == "trap":
            wanted: object = "trap"
        else:
            wanted = answer["values"][0].partition(":")[::2] if answer["values"] else None
        return [op, instance, fields["name"], args, fields.get("fuel"), wanted]
    if op in {"read", "write"}:
        data = bytes.fromhex(fields["bytes"] if op == "write" else answer["bytes"])
        address = int(fields["address"])
        if len(data) > _SHORT and data == data[:1] * len(data):
            return ["fill" if op == "write" else "all", instance, address, data[0], len(data)]
        return [op, instance, address, data.hex()]
    if op == "size":
        return [op, instance, answer["pages"]]
    if op == "grow":
        return [op, instance, fields["pages"], answer["pages"]]
    return [op, instance] if op in {"instantiate", "drop"} else None
