// Replays recorded cases on one broken kernel after the other, and names those whose answers differ.
// Reads JSON lines: first {"traces": [...]}, then {"modules": {"20": base64, ...}, "order": [ids], "most": n, "patience": ms}
// or {"modules": {...}, "cover": true}, which asks for the marks that each case leaves, and its time.
import { createInterface } from "node:readline";

const UNLIMITED = 4_000_000n; // Instructions of a call to which the case sets no limit: MOST_FUEL in subject.py.
const traces = new Map();

const typed = ([kind, digits]) => (kind === "i64" ? BigInt.asIntN(64, BigInt(digits)) : Number(digits) | 0);

// Turns what JSON can hold into what WebAssembly answers, once, so that a comparison is all that is left to do.
function prepare(trace) {
  for (const op of trace.ops) {
    if (op[0] === "call") {
      op[3] = op[3].map(typed);
      op.splice(6, 1, op[4] !== null && trace.bytes ? 1n : 0n, op[6] === undefined ? null : BigInt(op[6]));
      op[4] = op[4] === null ? UNLIMITED : BigInt(op[4]);
      op[5] = Array.isArray(op[5]) ? typed(op[5]) : (op[5] ?? undefined);
    }
    if (op[0] === "write" || op[0] === "read") op[3] = Buffer.from(op[3], "hex");
    if (op[0] === "fill" || op[0] === "all") op.splice(3, 2, Buffer.alloc(op[4], op[3]));
  }
  traces.set(trace.id, trace);
}

// Instances of one module. One whose memory did not grow is made as good as new and used again: cases that cut
// a call at every instruction take thousands.
class Pool {
  constructor(module) {
    this.module = module;
    this.idle = [];
  }

  take() {
    return this.idle.pop() ?? this.make();
  }

  make() {
    const { exports } = new WebAssembly.Instance(this.module);
    const globals = Object.entries(exports).filter(([, each]) => each instanceof WebAssembly.Global);
    const state = globals.filter(([name]) => name !== "extism_context").map(([, each]) => [each, each.value]);
    this.fresh ??= new Uint8Array(exports.memory.buffer).slice();
    return { exports, state };
  }

  give({ exports, state }) {
    const bytes = new Uint8Array(exports.memory.buffer);
    if (bytes.length !== this.fresh.length) return;
    bytes.set(this.fresh);
    for (const [global, value] of state) global.value = value;
    this.idle.push({ exports, state });
  }
}

function answer(exports, name, args, fuel, weight) {
  exports.meter.value = fuel;
  exports.weight.value = weight;
  try {
    return exports[name](...args);
  } catch {
    return "trap";
  }
}

function isSame(instances, pool, [kind, name, first, second, fuel, wanted, weight, used]) {
  if (kind === "instantiate") {
    instances.set(name, pool.take());
    return true;
  }
  const instance = instances.get(name);
  if (kind === "drop") {
    pool.give(instance);
    return instances.delete(name);
  }
  const { exports } = instance;
  if (kind === "call") {
    if (answer(exports, first, second, fuel, weight) !== wanted) return false;
    return used === null || fuel - exports.meter.value === used;
  }
  const { buffer } = exports.memory;
  if (kind === "size") return buffer.byteLength / 65536 === first;
  if (kind === "grow") {
    let old = -1;
    try {
      old = exports.memory.grow(first);
    } catch {}
    return old === second;
  }
  if (first + second.length > buffer.byteLength) return false;
  const bytes = Buffer.from(buffer, first, second.length);
  if (kind === "read" || kind === "all") return bytes.equals(second);
  bytes.set(second);
  return true;
}

function compile(modules) {
  const entries = Object.entries(modules);
  return Object.fromEntries(
    entries.map(([pages, text]) => [pages, new Pool(new WebAssembly.Module(Buffer.from(text, "base64")))]),
  );
}

function cpuMilliseconds() {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}

// Says whether the patience is over. CPU time counts, so that a busy machine kills no mutant; the clock is cheaper
// to ask, and first shows that so much may have passed.
function makeTimer(patience) {
  const [end, cpuEnd] = [performance.now() + patience, cpuMilliseconds() + patience];
  return () => performance.now() > end && cpuMilliseconds() > cpuEnd;
}

// A case that takes long is as good as one with another answer: a broken kernel may fill gigabytes at every call.
function findDifferent({ modules, order, most, patience }) {
  const pools = compile(modules);
  const different = [];
  for (const id of order) {
    const { ops, pages } = traces.get(id);
    const instances = new Map();
    const isOver = makeTimer(patience);
    const isLikeRecorded = ops.every((op) => isSame(instances, pools[pages], op) && !isOver());
    for (const instance of instances.values()) pools[pages].give(instance);
    if (isLikeRecorded) continue;
    different.push(id);
    if (different.length >= most || isOver()) break;
  }
  return different;
}

function collectMarks(exports, marks) {
  for (let word = 0; exports[`mark-${word}`]; word++) {
    marks[word] = (marks[word] ?? 0n) | BigInt.asUintN(64, exports[`mark-${word}`].value);
  }
}

function findMarks({ modules }) {
  const pools = compile(modules);
  const found = {};
  for (const { id, ops, pages } of traces.values()) {
    const [instances, marks, start] = [new Map(), [], performance.now()];
    for (const op of ops) {
      if (op[0] === "drop") collectMarks(instances.get(op[1]).exports, marks);
      if (!isSame(instances, pools[pages], op)) throw new Error(`${id} differs on the unbroken kernel`);
    }
    for (const instance of instances.values()) collectMarks(instance.exports, marks);
    found[id] = { seconds: (performance.now() - start) / 1000, marks: marks.map(String) };
  }
  return found;
}

for await (const line of createInterface({ input: process.stdin })) {
  const request = JSON.parse(line);
  if (request.traces) request.traces.forEach(prepare);
  const reply = request.traces ? traces.size : request.cover ? findMarks(request) : findDifferent(request);
  console.log(JSON.stringify(reply));
}
