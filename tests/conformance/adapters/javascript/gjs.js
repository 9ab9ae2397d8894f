// Reads and writes lines through GLib, which is what GNOME's JavaScript has for it.
"use strict";

const { Gio } = imports.gi;
imports.searchPath.unshift(ARGV[0]);
imports.core; // defines makeAdapter

const { version } = imports.system; // 17402 is 1.74.2
const numbers = [Math.floor(version / 10000), Math.floor(version / 100) % 100, version % 100];
const answer = makeAdapter("gjs", "gjs", numbers.join("."));
const input = new Gio.DataInputStream({ base_stream: new Gio.UnixInputStream({ fd: 0 }) });
const output = new Gio.UnixOutputStream({ fd: 1 });
const encoder = new TextEncoder();
for (let [line] = input.read_line_utf8(null); line !== null; [line] = input.read_line_utf8(null)) {
  output.write_all(encoder.encode(`${answer(line)}\n`), null);
}
