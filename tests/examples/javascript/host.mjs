// A host for the kernel in one file, on the engine of Node, Bun or Deno: what a port has to do.
//
//     node host.mjs KERNEL PLUGIN FUNCTION < INPUTS
//
// Each line of standard input is the input of one call; an empty line is an empty input. Answers go to
// standard output, one a line, errors to standard error. The exit code is 0 if every call answered,
// 1 if one failed, 2 for a wrong command line or a module that cannot be loaded.

import { Buffer } from "node:buffer";
import { readFileSync } from "node:fs";
import process from "node:process";

// A call that gave no answer; the message says why.
class CallError extends Error {}

class Host {
  constructor(kernel, plugin, name) {
    this.kernel = new WebAssembly.Instance(new WebAssembly.Module(kernel), {}).exports;
    // Guests get the kernel's functions, not its memory: what they store goes through its checks.
    const functions = Object.entries(this.kernel).filter(([, value]) => typeof value === "function");
    const imports = { "extism:host/env": Object.fromEntries(functions) };
    const guest = new WebAssembly.Instance(new WebAssembly.Module(plugin), imports).exports;
    if (typeof guest[name] !== "function" || guest[name].length !== 0) {
      throw new Error(`no export \`${name}\` of type () -> i32`);
    }
    this.entry = guest[name];
  }

  // Calls an export of the kernel. An i64 is a BigInt; results are unsigned, and JavaScript shows them as signed.
  ask(name, ...numbers) {
    const result = this.kernel[name](...numbers.map(BigInt));
    return typeof result === "bigint" ? BigInt.asUintN(64, result) : 0n;
  }

  // The bytes of a range of the kernel's memory. Growth detaches the buffer, so it is asked for each time.
  view(address, length) {
    const size = BigInt(this.kernel.memory.buffer.byteLength);
    if (address > size || length > size - address) {
      // Whoever wrote the kernel may be wrong.
      throw new CallError(`the kernel describes ${length} bytes at ${address}, its memory has ${size}`);
    }
    return new Uint8Array(this.kernel.memory.buffer, Number(address), Number(length));
  }

  // Copies bytes into a new block and returns its handle.
  put(data) {
    const handle = this.ask("alloc", data.length);
    if (handle === 0n) throw new CallError("out of memory"); // address 0 is not ours
    this.view(handle, BigInt(data.length)).set(data);
    return handle;
  }

  // Calls the plug-in's function. Throws CallError; the next call works all the same.
  call(data) {
    // 1. Open the call. `error_set` comes first, also on an instance that was never reset.
    this.ask("error_set", 0);
    this.ask("reset"); // ends all blocks of the call before
    this.ask("input_set", data.length ? this.put(data) : 0, data.length); // (0, 0) clears the input
    // 2. The guest's function. A trap is kept, for the guest may have set its error before. (A stack
    //    that is exhausted is a RangeError.)
    let trap = null;
    let status = 0;
    try {
      status = this.entry() ?? 0;
    } catch (error) {
      if (!(error instanceof WebAssembly.RuntimeError || error instanceof RangeError)) throw error;
      trap = error;
    }
    // 3. Close the call: read the registers in every case. An error that the guest set counts first,
    //    also with result 0; then a trap; then a result other than 0.
    const address = this.ask("output_offset");
    const length = this.ask("output_length");
    const errorHandle = this.ask("error_get");
    const errorLength = this.ask("length", errorHandle); // of handle 0 it is 0
    if (errorHandle && errorLength) {
      throw new CallError(new TextDecoder().decode(this.view(errorHandle, errorLength)), { cause: trap });
    }
    if (trap) throw new CallError(`the plug-in trapped: ${trap.message}`, { cause: trap });
    if (status !== 0) throw new CallError(`the plug-in returned ${status}`);
    return this.view(address, length).slice(); // a copy: the next call writes over it
  }
}

async function main() {
  const [kernel, plugin, name, ...rest] = process.argv.slice(2);
  if (name === undefined || rest.length) {
    console.error("usage: node host.mjs KERNEL PLUGIN FUNCTION < INPUTS");
    return 2;
  }
  let host;
  try {
    host = new Host(readFileSync(kernel), readFileSync(plugin), name);
  } catch (error) {
    console.error(`error: ${error.message}`);
    return 2;
  }
  let code = 0;
  const chunks = [];
  for await (const chunk of process.stdin) chunks.push(chunk);
  const inputs = Buffer.concat(chunks);
  for (let from = 0; from < inputs.length; ) {
    const end = inputs.indexOf("\n", from);
    const to = end < 0 ? inputs.length : end;
    try {
      process.stdout.write(Buffer.concat([host.call(inputs.subarray(from, to)), Buffer.from("\n")]));
    } catch (error) {
      if (!(error instanceof CallError)) throw error;
      console.error(`error: ${error.message}`);
      code = 1;
    }
    from = to + 1;
  }
  return code;
}

process.exitCode = await main(); // not exit(), which would cut what is still being written
