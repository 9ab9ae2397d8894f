// A plug-in with the AssemblyScript PDK: input, output, config, vars and logs.
import { Config, Host, LogLevel, Var } from "@extism/as-pdk";

export function myAbort(message: string | null, file: string | null, line: u32, column: u32): void {}

export function reverse(): i32 {
  const text = Host.inputString();
  let out = Config.get("prefix");
  if (out === null) out = "";
  for (let i = text.length - 1; i >= 0; i--) out += text.charAt(i);
  Host.outputString(out);
  return 0;
}

export function remember(): i32 {
  const old = Var.getString("last");
  const text = Host.inputString();
  if (text.length == 0) Var.remove("last");
  else Var.set("last", Uint8Array.wrap(String.UTF8.encode(text)));
  Host.log(LogLevel.Info, "remembered");
  Host.outputString(old === null ? "nothing" : old);
  return 0;
}

export function bytes(): i32 {
  Host.output(Host.input());
  return 0;
}
