// A plug-in whose function asserts what is not so.
import { Host } from "@extism/as-pdk";

function myAbort(message: string | null, fileName: string | null, lineNumber: u32, columnNumber: u32): void {}

function check(n: i32): void {
  assert(n > 3, "n must be more than 3");
}

export function explode(): i32 {
  check(Host.inputString().length);
  return 0;
}
