"""Adapter for a headless browser: a bridge between standard input and a page that runs core.js in a worker.

The worker asks for requests with `POST /turn`, whose body is the answers to the ones before; the bridge lets
it wait until there are some. The server listens on the loopback only, under a path that nobody can guess.
"""

from __future__ import annotations

import contextlib
import os
import queue
import re
import secrets
import signal
import subprocess
import sys
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import quote

HERE = Path(__file__).parent
PAGE = "<!doctype html><title>adapter</title><script>new Worker('worker.js' + location.search)</script>"
WORKER = """
importScripts("core.js");
const about = new URLSearchParams(location.search);
const answer = makeAdapter(about.get("name"), about.get("name"), about.get("version"));
(async () => {
  for (let body = ""; ;) {
    const turn = await fetch("turn", { method: "POST", body });
    if (turn.status !== 200) break;
    body = (await turn.text()).split("\\n").map(answer).join("\\n");
  }
})();
"""
CHROMIUM = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--user-data-dir={profile}",
    "{url}",
]
FIREFOX = ["--headless", "--no-remote", "--profile", "{profile}", "{url}"]
ARGUMENTS = {"chromium": CHROMIUM, "firefox": FIREFOX}
QUIET_FIREFOX = {
    "app.update.enabled": "false",
    "browser.aboutwelcome.enabled": "false",
    "datareporting.policy.dataSubmissionEnabled": "false",
    "network.captive-portal-service.enabled": "false",
    "network.connectivity-service.enabled": "false",
    "toolkit.telemetry.enabled": "false",
}


class Bridge(ThreadingHTTPServer):
    """Hands lines to the page and prints what comes back."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.path = f"/{secrets.token_urlsafe(16)}/"
        self.lines: queue.Queue[str | None] = queue.Queue()
        self.over = threading.Event()

    def read_input(self) -> None:
        """Queue the requests, and None after the last."""
        for line in sys.stdin:
            self.lines.put(line.rstrip("\n"))
        self.lines.put(None)

    def turn(self, answers: str) -> str | None:
        """Print answers and return the requests that wait, at least one; None at the end of input."""
        if answers:
            print(answers, flush=True)
        requests = []
        line = self.lines.get()
        while line is not None:
            requests.append(line)
            if self.lines.empty():
                return "\n".join(requests)
            line = self.lines.get()
        if requests:
            self.lines.put(None)
            return "\n".join(requests)
        self.over.set()
        return None


class Handler(BaseHTTPRequestHandler):
    """Serves the page, the worker and its turns."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Bridge

    def do_GET(self) -> None:
        """Serve one of three files."""
        name = self.path.partition("?")[0].removeprefix(self.server.path)
        files = {"": PAGE, "worker.js": WORKER, "core.js": (HERE / "core.js").read_text(encoding="utf-8")}
        self.reply(files.get(name), "text/html" if name == "" else "text/javascript")

    def do_POST(self) -> None:
        """Take answers and give requests."""
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        is_turn = self.path == f"{self.server.path}turn"
        self.reply(self.server.turn(body) if is_turn else None, "text/plain")

    def reply(self, text: str | None, kind: str) -> None:
        """Send a text, or status 404 for none."""
        body = (text or "").encode()
        self.send_response(200 if text is not None else 404)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Print nothing."""


def main(name: str, program: str) -> int:
    """Run one browser until the end of input; 1 if it ends by itself."""
    told = subprocess.run([program, "--version"], capture_output=True, text=True, check=False).stdout
    found = re.search(r"\d+(\.\d+)+", told)
    bridge = Bridge()
    threading.Thread(target=bridge.serve_forever, daemon=True).start()
    threading.Thread(target=bridge.read_input, daemon=True).start()
    query = f"?name={name}&version={quote(found[0] if found else 'unknown')}"
    url = f"http://127.0.0.1:{bridge.server_address[1]}{bridge.path}{query}"
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        prefs = "".join(f'user_pref("{key}", {value});\n' for key, value in QUIET_FIREFOX.items())
        (Path(profile) / "user.js").write_text(prefs, encoding="utf-8")
        arguments = [word.format(profile=profile, url=url) for word in ARGUMENTS[name]]
        quiet = subprocess.DEVNULL
        with subprocess.Popen(
            [program, *arguments], stdin=quiet, stdout=quiet, stderr=quiet, start_new_session=True
        ) as browser:
            while not bridge.over.wait(0.05) and browser.poll() is None:
                pass
            with contextlib.suppress(ProcessLookupError):  # its helpers are in the session that it leads
                os.killpg(browser.pid, signal.SIGKILL)
    if not bridge.over.is_set():
        print(f"{program} ended by itself with {browser.returncode}", file=sys.stderr)
    return 0 if bridge.over.is_set() else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
