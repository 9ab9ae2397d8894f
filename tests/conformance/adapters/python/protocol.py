"""Adapter protocol 1 for runtimes that Python can load: lines of JSON in, lines of JSON out."""

from __future__ import annotations

import json
import re
import sys
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable

    Answer: TypeAlias = dict[str, Any]

OPERATIONS = {"instantiate", "call", "read", "write", "size", "grow", "global_get", "drop"}
REFERENCE = re.compile(r"@(\d+)(?:\*(\d+))?(?:\+(\d+))?")
PAGE = 65536
IMPORTS, EXPORTS, START = 2, 7, 8
TRANSPORT = ["batch", "modules"]


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


class Server:
    """The instances and modules of one adapter, and the answers of the batch at hand."""

    def __init__(self, hello: Answer, make: Callable[[bytes], Instance]) -> None:
        self.hello = {"protocol": 1, **hello, "capabilities": [*hello["capabilities"], *TRANSPORT]}
        self.make = make
        self.instances: dict[str, Instance] = {}
        self.modules: dict[str, bytes] = {}
        self.results: list[Answer] = []

    def answer(self, ask: Answer) -> Answer:
        """Return the answer to one request, all but its id."""
        answer: Answer = {"result": "ok"}
        try:
            if ask["op"] == "hello":
                answer |= self.hello
            elif ask["op"] == "batch":
                answer["answers"] = self.results = []
                for operation in ask["operations"]:
                    self.results.append(self.answer(operation))  # in turn: later ones refer to it
            elif ask["op"] in OPERATIONS:
                answer |= self.perform(ask)
            else:
                answer["result"] = "unsupported"
        except TrapError as trap:
            answer = {"result": "trap", "kind": trap.args[0], "message": trap.args[1]}
        except RejectError as reject:
            answer = {"result": "reject", "stage": reject.args[0], "message": reject.args[1]}
        except NotImplementedError:
            answer = {"result": "unsupported"}
        except Exception as error:  # noqa: BLE001 - whatever went wrong, the request gets its answer
            answer = {"result": "error", "message": f"{type(error).__name__}: {error}"}
        return answer

    def perform(self, ask: Answer) -> Answer:
        """Do one operation and return what its answer says beyond `ok`."""
        name = ask["instance"]
        if ask["op"] == "instantiate":
            self.instances[name] = self.make(self.module(ask))
            return {}
        if ask["op"] == "drop":
            del self.instances[name]
            return {}
        instance = self.instances[name]
        match ask["op"]:
            case "call":
                answer: Answer = {
                    "values": instance.call(ask["name"], [self.value(arg) for arg in ask["args"]])
                }
            case "global_get":
                answer = {"value": instance.global_get(ask["name"])}
            case "grow":
                answer = {"pages": instance.grow(ask["pages"])}
            case "size":
                answer = {"pages": len(instance.memory()) // PAGE}
            case _:
                answer = access(ask, self.number(ask["address"]), instance.memory())
        return answer

    def module(self, ask: Answer) -> bytes:
        """Return the bytes of a module that is given, or named by its digest."""
        if "module" not in ask:
            return self.modules[ask["digest"]]
        binary = bytes.fromhex(ask["module"])
        if "digest" in ask:
            self.modules[ask["digest"]] = binary
        return binary

    def value(self, text: str) -> str:
        """Return an argument without a reference."""
        kind, _, digits = text.partition(":")
        if not digits.startswith("@"):
            return text
        return f"{kind}:{self.number(digits) % (1 << int(kind[1:]))}"

    def number(self, text: str) -> int:
        """Return a number as it stands there, or one that refers to an earlier answer in the batch."""
        if not text.startswith("@"):
            return int(text)
        place, factor, offset = REFERENCE.findall(text)[0]
        answer = self.results[int(place)]
        value = int(answer["values"][0].partition(":")[2]) if "values" in answer else answer["pages"]
        return int((value * int(factor or 1) + int(offset or 0)) % (1 << 64))


def serve(hello: Answer, make: Callable[[bytes], Instance]) -> None:
    """Answer each line of the standard input until it ends."""
    server = Server(hello, make)
    for line in sys.stdin:
        ask = json.loads(line)
        print(json.dumps({"id": ask["id"], **server.answer(ask)}), flush=True)


def access(ask: Answer, address: int, memory: bytearray | memoryview) -> Answer:
    """Read or write; integers of Python never wrap, so one comparison bounds every address."""
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
