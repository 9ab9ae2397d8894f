// Reads and prints lines as the shells of SpiderMonkey and JavaScriptCore can; at the end of input one of them gives
// null, the other an empty line.
"use strict";

const answer = makeAdapter(shell.name, shell.runtime, shell.version);
for (let line = readline(); line; line = readline()) print(answer(line));
