"""Adapter protocol 1 for runtimes that Python can load: lines of JSON in, lines of JSON out."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable

    Answer: TypeAlias = dict[str, Any]

OPERATIONS = {"instantiate", "call", "read", "write", "size", "grow", "global_get", "drop"}
PAGE = 65536
IMPORTS, EXPORTS, START = 2, 7, 8


class TrapError(Exception):
    """The module trapped; the arguments are the kind and the runtime's words."""


class RejectError(Exception):
    """The module was refused; the arguments are the stage and the runtime's words."""


class Instance(Protocol):
    """One module in one runtime."""

    def call(self, name: str, args: list[str]) -> list[str]:
        """Call an exported function with values as the protocol writes them."""

    def memory(self) -> bytearray | memoryview:
        """Return the exported memory as it is now; nobody keeps it beyond one request."""

    def grow(self, pages: int) -> int:
        """Return the old size in pages, or -1; NotImplementedError where the runtime has no such call."""

    def global_get(self, name: str) -> str:
        """Return the value of an exported global."""


def serve(hello: Answer, make: Callable[[bytes], Instance]) -> None:
    """Answer each line of the standard input until it ends."""
    instances: dict[str, Instance] = {}
    for line in sys.stdin:
        answer: Answer = {"id": None, "result": "ok"}
        try:
            ask = json.loads(line)
            answer["id"] = ask["id"]
            if ask["op"] == "hello":
                answer |= {"protocol": 1, **hello}
            elif ask["op"] in OPERATIONS:
                answer |= perform(ask, instances, make)
            else:
                answer["result"] = "unsupported"
        except TrapError as trap:
            answer |= {"result": "trap", "kind": trap.args[0], "message": trap.args[1]}
        except RejectError as reject:
            answer |= {"result": "reject", "stage": reject.args[0], "message": reject.args[1]}
        except NotImplementedError:
            answer["result"] = "unsupported"
        except Exception as error:  # noqa: BLE001 - whatever went wrong, the request gets its answer
            answer |= {"result": "error", "message": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)


def perform(ask: Answer, instances: dict[str, Instance], make: Callable[[bytes], Instance]) -> Answer:
    """Do one operation and return what its answer says beyond `ok`."""
    name = ask["instance"]
    if ask["op"] == "instantiate":
        instances[name] = make(bytes.fromhex(ask["module"]))
        return {}
    if ask["op"] == "drop":
        del instances[name]
        return {}
    instance = instances[name]
    match ask["op"]:
        case "call":
            answer: Answer = {"values": instance.call(ask["name"], ask["args"])}
        case "global_get":
            answer = {"value": instance.global_get(ask["name"])}
        case "grow":
            answer = {"pages": instance.grow(ask["pages"])}
        case "size":
            answer = {"pages": len(instance.memory()) // PAGE}
        case _:
            answer = access(ask, instance.memory())
    return answer


def access(ask: Answer, memory: bytearray | memoryview) -> Answer:
    """Read or write; integers of Python never wrap, so one comparison bounds every address."""
    address = int(ask["address"])
    data = bytes.fromhex(ask.get("bytes", ""))
    end = address + (ask["length"] if ask["op"] == "read" else len(data))
    if end > len(memory):
        raise TrapError("out-of-bounds", f"{end} is past {len(memory)}")
    if ask["op"] == "read":
        return {"bytes": memory[address:end].hex()}
    memory[address:end] = data
    return {}


def read_interface(binary: bytes) -> tuple[int, bool, list[str]]:
    """Return the count of imports, if there is a start function, and the names of the exported functions."""
    imports, has_start, functions, at = 0, False, [], 8
    while at < len(binary):
        section = binary[at]
        size, at = read_leb(binary, at + 1)
        if section == IMPORTS:
            imports, _ = read_leb(binary, at)
        elif section == START:
            has_start = True
        elif section == EXPORTS:
            count, place = read_leb(binary, at)
            for _ in range(count):
                length, place = read_leb(binary, place)
                if binary[place + length] == 0:
                    functions.append(binary[place : place + length].decode())
                _, place = read_leb(binary, place + length + 1)
        at += size
    return imports, has_start, functions


def read_leb(binary: bytes, at: int) -> tuple[int, int]:
    """Return an unsigned LEB128 number and the offset after it."""
    value = shift = 0
    while True:
        value |= (binary[at] & 0x7F) << shift
        shift, at = shift + 7, at + 1
        if not binary[at - 1] & 0x80:
            return value, at
