// Adapter protocol 1 for a JavaScript engine without Node's modules: a shell or a browser that reads and prints lines.
"use strict";

globalThis.makeAdapter = (adapter, runtime, version) => {
  const modules = new Map();
  const instances = new Map();
  let results = []; // of the batch at hand
  const digits = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, "0"));
  const trap = (kind, message) => ({ result: "trap", kind, message });

  function unhex(text) {
    const bytes = new Uint8Array(text.length / 2);
    for (let i = 0; i < bytes.length; i++) bytes[i] = parseInt(text.substr(2 * i, 2), 16);
    return bytes;
  }

  // A number as it stands there, or one that refers to an earlier answer in the batch.
  function number(text) {
    if (text[0] !== "@") return BigInt(text);
    const [, place, factor = "1", offset = "0"] = /^@(\d+)(?:\*(\d+))?(?:\+(\d+))?$/.exec(text);
    const { values, pages } = results[place];
    const value = BigInt(values ? values[0].slice(4) : pages);
    return BigInt.asUintN(64, value * BigInt(factor) + BigInt(offset));
  }

  function parse(text) {
    if (text === "externref:null") return null;
    if (text.startsWith("i64:")) return number(text.slice(4));
    if (text.startsWith("i32:")) return Number(BigInt.asUintN(32, number(text.slice(4))));
    throw new TypeError(`${text} cannot be an argument here`);
  }

  function show(value) {
    if (value === null) return "externref:null";
    if (typeof value === "bigint") return `i64:${BigInt.asUintN(64, value)}`;
    return `i32:${value >>> 0}`;
  }

  function kindOf(error) {
    const text = error.message;
    // SpiderMonkey says InternalError where others say RangeError.
    if (!(error instanceof WebAssembly.RuntimeError)) return "stack";
    if (/unreachable/i.test(text)) return "unreachable";
    if (/out[ -]of[ -]bounds/i.test(text)) return "out-of-bounds";
    if (/divi|integer|overflow/i.test(text)) return "integer";
    return "other";
  }

  const isTrap = (error) => error instanceof WebAssembly.RuntimeError || error instanceof RangeError
    || error.name === "InternalError";

  // A new view each time: growth detaches the old buffer.
  function access(ask, length, act) {
    const memory = new Uint8Array(instances.get(ask.instance).memory.buffer);
    const start = number(ask.address);
    const end = start + BigInt(length);
    if (end > BigInt(memory.length)) return trap("out-of-bounds", `${end} is past ${memory.length}`);
    return act(memory, Number(start));
  }

  const operations = {
    hello: () => ({
      protocol: 1,
      adapter,
      runtime,
      version,
      capabilities: ["externref", "grow", "resume-after-trap", "batch", "modules"],
    }),
    batch(ask) {
      results = [];
      for (const operation of ask.operations) results.push(perform(operation));
      return { answers: results };
    },
    instantiate(ask) {
      let stage = "compile";
      const key = ask.digest ?? ask.module;
      try {
        if (!modules.has(key)) modules.set(key, new WebAssembly.Module(unhex(ask.module)));
        const module = modules.get(key);
        stage = WebAssembly.Module.imports(module).length > 0 ? "link" : "start";
        instances.set(ask.instance, new WebAssembly.Instance(module, {}).exports);
        return {};
      } catch (error) {
        return { result: "reject", stage, message: String(error) };
      }
    },
    call(ask) {
      try {
        const value = instances.get(ask.instance)[ask.name](...ask.args.map(parse));
        return { values: value === undefined ? [] : [show(value)] };
      } catch (error) {
        if (isTrap(error)) return trap(kindOf(error), String(error));
        throw error;
      }
    },
    read: (ask) => access(ask, ask.length, (memory, at) => {
      let bytes = "";
      for (let i = 0; i < ask.length; i++) bytes += digits[memory[at + i]];
      return { bytes };
    }),
    write: (ask) => access(ask, ask.bytes.length / 2, (memory, at) => {
      memory.set(unhex(ask.bytes), at);
      return {};
    }),
    size: (ask) => ({ pages: instances.get(ask.instance).memory.buffer.byteLength / 65536 }),
    grow(ask) {
      const { memory } = instances.get(ask.instance);
      try {
        return { pages: memory.grow(ask.pages) };
      } catch {
        return { pages: -1 };
      }
    },
    global_get: (ask) => ({ value: show(instances.get(ask.instance)[ask.name].value) }),
    drop(ask) {
      if (!instances.delete(ask.instance)) throw new Error(`no instance ${ask.instance}`);
      return {};
    },
  };

  function perform(ask) {
    if (!Object.prototype.hasOwnProperty.call(operations, ask.op)) return { result: "unsupported" };
    try {
      return { result: "ok", ...operations[ask.op](ask) };
    } catch (error) {
      return { result: "error", message: String(error) };
    }
  }

  return (line) => {
    const ask = JSON.parse(line);
    return JSON.stringify({ id: ask.id, ...perform(ask) });
  };
};
