"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const dialog = document.querySelector("dialog");
const RED = new Set(["fail", "xpass", "error", "timeout", "crash"]);
const WORST = ["fail", "xpass", "error", "timeout", "crash", "xfail", "pass", "skip"];
const state = (verdict) => RED.has(verdict) ? "red" : verdict;

function make(tag, text, className) {
  const element = document.createElement(tag);
  if (text !== undefined) element.textContent = text;
  if (className) element.className = className;
  return element;
}

function resultOf(line, section) {
  const box = make("article", undefined, "result");
  const title = make("h3");
  title.append(make("span", line.verdict, `badge ${state(line.verdict)}`), make("code", line.id));
  box.append(title, make("p", line.title ?? ""));
  const facts = make("dl");
  const words = { case_why: "why", why: "known because" };
  for (const key of ["step", "call", "expected", "got", "fault", "message", "case_why", "why"]) {
    if (line[key]) facts.append(make("dt", words[key] ?? key), make("dd", line[key]));
  }
  if (line.link) {
    const place = make("dd");
    const anchor = make("a", line.link);
    if (/^https?:/.test(line.link)) anchor.href = line.link;
    place.append(anchor);
    facts.append(make("dt", "link"), place);
  }
  if (facts.children.length) box.append(facts);
  if (line.verdict !== "pass" && line.verdict !== "skip" && section.replay) {
    const command = section.replay.replace("CASE", line.id);
    const row = make("div", undefined, "replay");
    const copy = make("button", "Copy", "plain");
    copy.type = "button";
    copy.addEventListener("click", async () => {
      await navigator.clipboard.writeText(command);
      copy.textContent = "Copied";
    });
    row.append(make("code", command), copy);
    box.append(make("p", "Replay:", "none"), row);
  }
  return box;
}

function openCell(configuration, row) {
  const section = data.sections.find((each) => each.configuration === configuration);
  if (!section) return;
  const lines = section.lines.filter((line) => row === "lint" ? line.type === "lint"
    : line.type === "case" && (row === "all" || line.id === row || line.spec.includes(row)));
  lines.sort((a, b) => WORST.indexOf(a.verdict) - WORST.indexOf(b.verdict) || a.id.localeCompare(b.id));
  dialog.querySelector("h2").textContent = `${row} on ${configuration}`;
  const body = dialog.querySelector(".body");
  body.replaceChildren(...lines.map((line) => resultOf(line, section)));
  if (!lines.length) body.append(make("p", "No case here.", "none"));
  if (!dialog.open) dialog.showModal();
  history.replaceState(null, "", `#${encodeURIComponent(configuration)}/${encodeURIComponent(row)}`);
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("button[data-row]");
  if (button) openCell(button.dataset.configuration, button.dataset.row);
  if (event.target === dialog || event.target.closest("[data-close]")) dialog.close();
});
dialog.addEventListener("close", () => history.replaceState(null, "", location.pathname + location.search));

const search = document.getElementById("search");
const verdicts = [...document.querySelectorAll("input[name=verdict]")];
const columns = [...document.querySelectorAll("input[name=column]")];

function applyFilters() {
  const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
  const wanted = new Set(verdicts.filter((box) => box.checked).map((box) => box.value));
  const hidden = new Set(columns.filter((box) => !box.checked).map((box) => box.value));
  for (const cell of document.querySelectorAll("[data-column]")) cell.hidden = hidden.has(cell.dataset.column);
  let shown = 0;
  for (const row of document.querySelectorAll("tr[data-text]")) {
    const states = [...row.querySelectorAll("button[data-state]")]
      .filter((button) => !hidden.has(button.dataset.configuration))
      .map((button) => button.dataset.state);
    const fits = words.every((word) => row.dataset.text.includes(word)) && states.some((each) => wanted.has(each));
    row.hidden = !fits;
    shown += fits;
  }
  document.getElementById("shown").textContent = `${shown} rows`;
}
for (const input of [search, ...verdicts, ...columns]) input.addEventListener("input", applyFilters);
applyFilters();

function openFromHash() {
  const [configuration, ...row] = location.hash.slice(1).split("/").map(decodeURIComponent);
  if (row.length) openCell(configuration, row.join("/"));
}
addEventListener("hashchange", openFromHash);
openFromHash();
