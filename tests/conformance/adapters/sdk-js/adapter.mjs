// Adapter protocol 1, sdk profile, for the JavaScript SDK; see SDK.md.
import { createRequire } from "node:module";
import { createInterface } from "node:readline";
import { createPlugin } from "@extism/extism";

const { version } = createRequire(import.meta.url)("./node_modules/@extism/extism/package.json");
const plugins = new Map();
const loaded = new Map();
let logs = [];
const keep = (level) => (...words) => logs.push({ level, message: words.join(" ") });
const logger = { trace: keep("trace"), debug: keep("debug"), info: keep("info"), log: keep("info"), warn: keep("warn"), error: keep("error") };

const said = (error) => error?.message ?? (error instanceof Error ? String(error) : JSON.stringify(error)); // a worker's errors are plain objects

async function make(r) {
  const { memory = {}, config, allowed_hosts, allowed_paths, timeout_ms } = r.manifest;
  const wasm = r.modules.map(({ name, bytes }) => ({ name, data: Buffer.from(bytes, "hex") }));
  const options = {
    runInWorker: true, // without a worker there are neither timeouts nor HTTP
    config,
    allowedHosts: allowed_hosts ?? [],
    allowedPaths: Object.fromEntries(Object.entries(allowed_paths ?? {}).map(([host, guest]) => [guest, host])),
    useWasi: true,
    timeoutMs: timeout_ms,
    memory: { maxPages: memory.max_pages, maxHttpResponseBytes: memory.max_http_response_bytes, maxVarBytes: memory.max_var_bytes },
    allowHttpResponseHeaders: r.http_response_headers,
    logLevel: r.log_level === "off" ? "silent" : r.log_level,
    logger,
  };
  return createPlugin({ wasm }, options);
}

async function call(r) {
  try {
    const output = await plugins.get(r.plugin).call(r.function, Buffer.from(r.input, "hex"));
    return { result: "ok", output: output === null ? "" : Buffer.from(output.bytes()).toString("hex") };
  } catch (error) {
    return { result: "fail", message: said(error) };
  }
}

async function repeat(r) {
  const outcomes = new Map();
  for (let n = 0; n < r.times; n++) {
    const outcome = JSON.stringify(await call(r));
    outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
  }
  return [...outcomes].map(([outcome, times]) => ({ ...JSON.parse(outcome), times }));
}

const operations = {
  hello: () => ({ protocol: 1, adapter: "sdk-js", runtime: "extism-js", version, capabilities: ["logs", "http-headers", "together"], kernel: "none" }),

  async load(r) {
    if (Object.keys(r.manifest.allowed_paths ?? {}).some((path) => path.startsWith("ro:"))) return { result: "unsupported" }; // in Node
    try {
      plugins.set(r.plugin, await make(r));
    } catch (error) {
      return { result: "reject", message: said(error) };
    }
    loaded.set(r.plugin, r);
    return {};
  },

  async time(r) {
    const data = Buffer.alloc(r.length ?? 0, "a");
    const before = process.cpuUsage();
    try {
      for (let n = 0; n < r.times; n++) {
        if (r.function) await plugins.get(r.plugin).call(r.function, data);
        else await (await make(loaded.get(r.plugin))).close();
      }
    } catch (error) {
      return { result: "fail", message: said(error) };
    }
    const { user, system } = process.cpuUsage(before);
    return { cpu_us: user + system };
  },

  async invoke(r) {
    logs = [];
    const answer = await call(r);
    return { ...answer, logs };
  },

  // Each plug-in has a worker, so that these calls do run at the same time.
  together: async (r) => ({ answers: await Promise.all(r.calls.map(repeat)) }),

  async unload(r) {
    await plugins.get(r.plugin).close();
    plugins.delete(r.plugin);
    return {};
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const request = JSON.parse(line);
  const operation = operations[request.op] ?? (() => ({ result: "unsupported" }));
  const answer = await Promise.resolve(operation(request)).catch((error) => ({ result: "error", message: said(error) }));
  process.stdout.write(JSON.stringify({ id: request.id, result: "ok", ...answer }) + "\n");
}
process.exit(0); // a worker that a guest holds would keep the process alive
