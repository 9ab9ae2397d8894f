// Replays recorded cases on one broken kernel after the other, and names those whose answers differ.
// Reads JSON lines: first {"traces": [...]}, then {"modules": {"": base64, "20": base64}, "order": [ids], "most": n}.
import { createInterface } from "node:readline";

const traces = new Map();

function prepare(trace) {
  for (const op of trace.ops) {
    if (op[0] === "call") op[3] = op[3].map(([kind, digits]) => (kind === "i64" ? BigInt(digits) : Number(digits) | 0));
    if (op[0] === "write" || op[0] === "read") op[3] = Buffer.from(op[3], "hex");
  }
  traces.set(trace.id, trace);
}

function answer(instance, name, args, fuel) {
  instance.meter.value = BigInt(fuel);
  try {
    const value = instance[name](...args);
    if (value === undefined) return null;
    return typeof value === "bigint" ? BigInt.asUintN(64, value).toString() : String(value >>> 0);
  } catch {
    return "trap";
  }
}

function isSame(instances, module, op) {
  const [kind, name, address, data, length, wanted] = op;
  if (kind === "instantiate") {
    instances[name] = new WebAssembly.Instance(module).exports;
    return true;
  }
  if (kind === "drop") return delete instances[name];
  const instance = instances[name];
  if (kind === "call") return answer(instance, address, data, length) === wanted;
  const size = instance.memory.buffer.byteLength;
  if (kind === "size") return size / 65536 === address;
  if (kind === "grow") {
    let old = -1;
    try {
      old = instance.memory.grow(address);
    } catch {}
    return old === data;
  }
  const count = kind === "write" || kind === "read" ? data.length : length;
  if (address + count > size) return false;
  const bytes = new Uint8Array(instance.memory.buffer, address, count);
  if (kind === "write") bytes.set(data);
  if (kind === "fill") bytes.fill(data);
  if (kind === "read") return Buffer.compare(bytes, data) === 0;
  if (kind === "all") return bytes.every((byte) => byte === data);
  return true;
}

function findDifferent({ modules, order, most }) {
  const compiled = {};
  for (const [pages, text] of Object.entries(modules)) compiled[pages] = new WebAssembly.Module(Buffer.from(text, "base64"));
  const different = [];
  for (const id of order) {
    const trace = traces.get(id);
    const instances = {};
    if (trace.ops.every((op) => isSame(instances, compiled[trace.pages], op))) continue;
    different.push(id);
    if (different.length >= most) break;
  }
  return different;
}

for await (const line of createInterface({ input: process.stdin })) {
  const request = JSON.parse(line);
  if (request.traces) request.traces.forEach(prepare);
  console.log(JSON.stringify(request.traces ? traces.size : findDifferent(request)));
}
