// Adapter protocol 1 for engines that offer the WebAssembly JavaScript interface: Node, Bun and Deno run this file unchanged.
import { Buffer } from "node:buffer";
import process from "node:process";
import { createInterface } from "node:readline";

const v = globalThis.Deno?.version.deno ?? globalThis.Bun?.version ?? process.version.slice(1);
const runtime = globalThis.Deno ? "deno" : globalThis.Bun ? "bun" : "node";
const modules = new Map(), instances = new Map();
let results = []; // of the batch at hand
const PAGE = 65536, unhex = (text) => Uint8Array.from(Buffer.from(text, "hex"));
const number = (text) => { // as it stands there, or from an earlier answer in the batch
  if (text[0] !== "@") return BigInt(text);
  const [, place, factor = 1, offset = 0] = /^@(\d+)(?:\*(\d+))?(?:\+(\d+))?$/.exec(text);
  const { values, pages } = results[place];
  return BigInt.asUintN(64, BigInt(values ? values[0].slice(4) : pages) * BigInt(factor) + BigInt(offset));
};
const toJs = (text) => text === "externref:null" ? null
  : text[1] === "6" ? BigInt.asIntN(64, number(text.slice(4))) : Number(BigInt.asIntN(32, number(text.slice(4))));
const fromJs = (x) => typeof x === "bigint" ? `i64:${BigInt.asUintN(64, x)}` : x === null ? "externref:null" : `i32:${x >>> 0}`;
const trap = (kind, message) => ({ result: "trap", kind, message });
const kindOf = (e) => e instanceof RangeError ? "stack" : /unreachable/i.test(e.message) ? "unreachable"
  : /out[ -]of[ -]bounds/i.test(e.message) ? "out-of-bounds" : /divi|integer|overflow|remainder|float/i.test(e.message) ? "integer" : "other";
const bytesOf = (r) => new Uint8Array(instances.get(r.instance).memory.buffer); // anew each time: growth detaches the old buffer

function access(r, length, act) {
  const memory = bytesOf(r), start = number(r.address);
  return start + BigInt(length) > memory.length ? trap("out-of-bounds", "past the end of memory") : act(memory, Number(start));
}
const operations = {
  hello: () => ({ protocol: 1, adapter: "javascript", runtime, version: v, capabilities: ["externref", "grow", "resume-after-trap", "batch", "modules"] }),
  batch(r) { results = []; for (const each of r.operations) results.push(perform(each)); return { answers: results }; },
  instantiate(r) {
    let stage = "compile";
    const key = r.digest ?? r.module;
    try {
      if (!modules.has(key)) modules.set(key, new WebAssembly.Module(unhex(r.module)));
      stage = WebAssembly.Module.imports(modules.get(key)).length ? "link" : "start";
      instances.set(r.instance, new WebAssembly.Instance(modules.get(key), {}).exports);
      return {};
    } catch (e) { return { result: "reject", stage, message: String(e.message) }; }
  },
  call(r) {
    try {
      const value = instances.get(r.instance)[r.name](...r.args.map(toJs));
      return { values: value === undefined ? [] : [fromJs(value)] };
    } catch (e) {
      if (e instanceof WebAssembly.RuntimeError || e instanceof RangeError) return trap(kindOf(e), String(e.message));
      throw e;
    }
  },
  read: (r) => access(r, r.length, (m, at) => ({ bytes: Buffer.from(m.buffer, at, r.length).toString("hex") })),
  write: (r) => access(r, r.bytes.length / 2, (m, at) => (m.set(unhex(r.bytes), at), {})),
  size: (r) => ({ pages: bytesOf(r).length / PAGE }),
  grow(r) { try { return { pages: instances.get(r.instance).memory.grow(r.pages) }; } catch { return { pages: -1 }; } },
  global_get: (r) => ({ value: fromJs(instances.get(r.instance)[r.name].value) }),
  drop: (r) => (instances.delete(r.instance), {}),
};
function perform(r) {
  if (!Object.hasOwn(operations, r.op)) return { result: "unsupported" };
  try { return { result: "ok", ...operations[r.op](r) }; } catch (e) { return { result: "error", message: String(e) }; }
}
for await (const line of createInterface({ input: process.stdin })) {
  const r = JSON.parse(line);
  process.stdout.write(JSON.stringify({ id: r.id, ...perform(r) }) + "\n");
}
