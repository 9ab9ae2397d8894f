// Replays recorded cases on one broken kernel after the other, and names those whose answers differ.
// Reads JSON lines: first {"traces": [...]}, then {"modules": {"": base64, "20": base64}, "order": [ids], "most": n}.
import { createInterface } from "node:readline";

const traces = new Map();

const typed = ([kind, digits]) => (kind === "i64" ? BigInt.asIntN(64, BigInt(digits)) : Number(digits) | 0);

// Turns what JSON can hold into what WebAssembly answers, once, so that a comparison is all that is left to do.
function prepare(trace) {
  for (const op of trace.ops) {
    if (op[0] === "call") {
      op[3] = op[3].map(typed);
      op[4] = BigInt(op[4]);
      op[5] = Array.isArray(op[5]) ? typed(op[5]) : (op[5] ?? undefined);
    }
    if (op[0] === "write" || op[0] === "read") op[3] = Buffer.from(op[3], "hex");
    if (op[0] === "fill" || op[0] === "all") op.splice(3, 2, Buffer.alloc(op[4], op[3]));
  }
  traces.set(trace.id, trace);
}

function answer(instance, name, args, fuel) {
  instance.meter.value = fuel;
  try {
    return instance[name](...args);
  } catch {
    return "trap";
  }
}

function isSame(instances, module, [kind, name, first, second, fuel, wanted]) {
  if (kind === "instantiate") {
    instances[name] = new WebAssembly.Instance(module).exports;
    return true;
  }
  if (kind === "drop") return delete instances[name];
  const instance = instances[name];
  if (kind === "call") return answer(instance, first, second, fuel) === wanted;
  const { buffer } = instance.memory;
  if (kind === "size") return buffer.byteLength / 65536 === first;
  if (kind === "grow") {
    let old = -1;
    try {
      old = instance.memory.grow(first);
    } catch {}
    return old === second;
  }
  if (first + second.length > buffer.byteLength) return false;
  const bytes = Buffer.from(buffer, first, second.length);
  if (kind === "read" || kind === "all") return bytes.equals(second);
  bytes.set(second);
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
