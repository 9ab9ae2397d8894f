"""What hostile plug-ins get, beside PyPI's `extism`: `python -m build_tools campaign host-attacks`.

Each runs in a process of its own, which is ended after 20 seconds. CPU time and peak memory are those of the
call, the compilation left out, so far as the process tells them.
"""

from __future__ import annotations

import argparse
import importlib
import json
import resource
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

from . import registries
from .test_limits import ATTACKS, Attack

if TYPE_CHECKING:
    from collections.abc import Iterator

SECONDS = 20
OURS_ONLY = {
    "memory64-without-limit": "not run: it would take all memory",
    "fuel": "has no such option here",
    "fuel-in-a-start-function": "has no such option here",
}


def peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def attack_here(which: str, name: str) -> dict[str, Any]:
    """Run one attack in this process; return how it ended and what it got."""
    attack = ATTACKS[name]
    manifest: dict[str, Any] = {"wasm": [{"data": module_of(attack)}], **attack.manifest}
    if which == "ours":
        from extism_kernel_pkg.host import Plugin  # noqa: PLC0415 - one host in a process

        plugin: Any = Plugin(manifest, fuel_limit=attack.fuel_limit)
    else:
        plugin = importlib.import_module("extism").Plugin(manifest)
    memory, began = peak_mib(), time.process_time()
    try:
        plugin.call("f", b"")
        end = "came back"
    except Exception as error:  # noqa: BLE001 - whatever it is, it is the answer
        end = str(error).strip().splitlines()[-1][:60]
    return {"end": end, "seconds": time.process_time() - began, "mib": peak_mib() - memory}


def module_of(attack: Attack) -> bytes:
    from wasmtime import wat2wasm  # noqa: PLC0415 - their process has another

    return bytes(wat2wasm(f"(module {attack.module})"))


def attack_apart(which: str, name: str) -> str:
    """Run one attack in another process; return a line about it."""
    if which == "theirs" and name in OURS_ONLY:
        return OURS_ONLY[name]
    path = [str(registries.python_sdk())] if which == "theirs" else []
    code = (
        f"import json, sys; sys.path[:0] = {path!r}; from tests.host.attacks import attack_here;"
        f"print(json.dumps(attack_here({which!r}, {name!r})))"
    )
    try:
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, timeout=SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return f"still running after {SECONDS} s"
    if done.returncode != 0:
        return f"the process ended with {done.returncode}"
    got = json.loads(done.stdout)
    return f"{got['end']} ({got['seconds']:.2f} s CPU, {got['mib']:.0f} MiB)"


def report(name: str) -> Iterator[str]:
    """Run one attack on both hosts; return lines about it."""
    yield name
    for which in ("ours", "theirs"):
        yield f"  {which + ':':8}{attack_apart(which, name)}"


def main() -> int:
    """Print what each attack gets on both hosts."""
    parser = argparse.ArgumentParser(prog="python -m build_tools campaign host-attacks", description=__doc__)
    parser.add_argument("attacks", nargs="*", metavar="ATTACK", help=f"of {', '.join(ATTACKS)}; default: all")
    names = parser.parse_args().attacks
    unknown = sorted(set(names) - ATTACKS.keys())
    if unknown:
        parser.error(f"there is no attack {', '.join(unknown)}")
    for name in names or ATTACKS:
        for line in report(name):
            print(line, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
