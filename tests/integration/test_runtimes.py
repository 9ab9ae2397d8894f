"""The staged kernel in other runtimes: a message goes in and comes out by the call order of a host."""

from __future__ import annotations

import json
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest
import wasmtime

from build_tools.kernel.values import FILENAMES, FLAVOURS

if TYPE_CHECKING:
    from build_tools.kernel.values import Flavour, StagedKernel

MESSAGE = "grüße, guest"

NODE = """
const [path, message, prefix] = process.argv.slice(1);
const bytes = require("node:fs").readFileSync(path);
const kernel = new WebAssembly.Instance(new WebAssembly.Module(bytes), {}).exports;
const call = (name, ...values) => kernel[prefix + name](...values.map(BigInt));
const input = new TextEncoder().encode(message);
call("error_set", 0); call("reset");
const block = call("alloc", input.length);
new Uint8Array(kernel.memory.buffer, Number(block), input.length).set(input);
call("input_set", block, input.length);
const size = call("input_length"), answer = call("alloc", size);
const store = kernel[prefix + "store_u8"];
for (let at = 0n; at < size; at++) store(answer + at, call("input_load_u8", at));
call("output_set", answer, size);
const start = Number(call("output_offset")), length = Number(call("output_length"));
const bytesOut = new Uint8Array(kernel.memory.buffer, start, length);
const output = new TextDecoder().decode(bytesOut);
const context = "extism_context" in kernel;
console.log(JSON.stringify({ output, error: String(call("error_get")), context }));
"""


@pytest.mark.parametrize("prefix", ["", "extism_"], ids=["current", "first"])
@pytest.mark.parametrize("flavour", FLAVOURS)
def test_message_passes_in_and_out_in_wasmtime(flavour: Flavour, prefix: str, built: StagedKernel) -> None:
    store = wasmtime.Store()
    module = wasmtime.Module.from_file(store.engine, str(built.folder / FILENAMES[flavour]))
    exports = wasmtime.Instance(store, module, []).exports(store)

    def call(name: str, *values: int) -> int:
        function = exports[prefix + name]
        assert isinstance(function, wasmtime.Func)
        value: int = function(store, *values)
        return value

    memory = exports["memory"]
    assert isinstance(memory, wasmtime.Memory)
    message = MESSAGE.encode()
    call("error_set", 0)
    call("reset")
    block = call("alloc", len(message))
    memory.write(store, message, block)
    call("input_set", block, len(message))
    answer = call("alloc", call("input_length"))
    for at in range(len(message)):
        call("store_u8", answer + at, call("input_load_u8", at))
    call("output_set", answer, len(message))
    start, length = call("output_offset"), call("output_length")
    assert bytes(memory.read(store, start, start + length)) == message
    assert call("error_get") == 0
    assert call("length", call("error_get")) == 0


@pytest.mark.parametrize("prefix", ["", "extism_"], ids=["current", "first"])
@pytest.mark.parametrize("flavour", FLAVOURS)
def test_message_passes_in_and_out_in_node(flavour: Flavour, prefix: str, built: StagedKernel) -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("no `node` on PATH; install it with `apt-get install nodejs`")
    path = str(built.folder / FILENAMES[flavour])
    done = subprocess.run(
        [node, "-e", NODE, path, MESSAGE, prefix], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "output": MESSAGE,
        "error": "0",
        "context": flavour == "context",
    }


def test_message_passes_in_and_out_in_wasm3(built: StagedKernel) -> None:
    """S-4: the core flavour is for runtimes without reference types."""
    wasm3 = pytest.importorskip(
        "wasm3",
        reason="pywasm3 did not build here; install a C compiler with `apt-get install gcc libc6-dev`, then "
        "`rm -r .venv/.build_tools/optional-*` and run the tests again",
    )
    environment = wasm3.Environment()
    runtime = environment.new_runtime(64 * 1024)
    runtime.load(environment.parse_module((built.folder / FILENAMES["core"]).read_bytes()))

    def call(name: str, *values: int) -> int:
        value: int = runtime.find_function(name)(*values)
        return value

    message = MESSAGE.encode()
    call("error_set", 0)
    call("reset")
    block = call("alloc", len(message))
    runtime.get_memory(0)[block : block + len(message)] = message
    call("input_set", block, len(message))
    answer = call("alloc", call("input_length"))
    for at in range(len(message)):
        call("store_u8", answer + at, call("input_load_u8", at))
    call("output_set", answer, len(message))
    start, length = call("output_offset"), call("output_length")
    assert bytes(runtime.get_memory(0)[start : start + length]) == message
