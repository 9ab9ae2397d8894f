"""A small package index on loopback, run as a program: `python package_index.py FOLDER`.

It takes uploads as PyPI's legacy API does (multipart form, basic authentication, a file name is taken once),
and is read through the Simple API: JSON (PEP 691) or HTML (PEP 503), with the attestations that came with an
upload served as PEP 740 provenance. Its first line on stdout is its URL. A file `refuse-after` in FOLDER
holds the number of uploads after which it answers 503 to further ones; every request is appended to `log`.
"""

from __future__ import annotations

import base64
import hashlib
import json
import sys
from email.parser import BytesParser
from email.policy import HTTP
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

USER = "__token__"
PASSWORD = "correct-horse-battery-staple"  # noqa: S105 - of an index that lives for one test
JSON_TYPE = "application/vnd.pypi.simple.v1+json"


class Index(BaseHTTPRequestHandler):
    folder: Path
    wants_html = False

    def log_message(self, *arguments: object) -> None:
        with (self.folder / "log").open("a") as log:
            log.write(" ".join(map(str, arguments[1:])) + "\n")

    def answer(self, code: int, body: bytes, kind: str = "text/plain", **headers: str) -> None:
        self.send_response(code)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        expected = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        if self.headers.get("Authorization") != f"Basic {expected}":
            self.answer(401, b"who are you?", WWW_Authenticate='Basic realm="index"')
            return
        fields = self.parse_form(body)
        files = self.folder / "files"
        limit = self.folder / "refuse-after"
        if limit.exists() and len(list(files.iterdir())) >= int(limit.read_text()):
            self.answer(503, b"the index is out of order")
            return
        name, content = fields["content"]
        if fields["sha256_digest"][1] != hashlib.sha256(content).hexdigest().encode():
            self.answer(400, b"the digest is not that of the file")
        elif (files / name).exists():
            self.answer(400, b"File already exists")
        else:
            (files / name).write_bytes(content)
            if "attestations" in fields:
                (self.folder / f"{name}.attestations").write_bytes(fields["attestations"][1])
            self.answer(200, b"OK")

    def parse_form(self, body: bytes) -> dict[str, tuple[str, bytes]]:
        head = f"Content-Type: {self.headers['Content-Type']}\r\n\r\n".encode()
        message = BytesParser(policy=HTTP).parsebytes(head + body)
        fields = {}
        for part in message.iter_parts():
            name = part.get_param("name", header="content-disposition")
            content = part.get_payload(decode=True)
            fields[str(name)] = (part.get_filename() or "", content if isinstance(content, bytes) else b"")
        return fields

    def do_GET(self) -> None:
        parts = self.path.strip("/").split("/")
        files = self.folder / "files"
        if parts == ["simple", "extism-kernel"] and any(files.iterdir()):
            self.project_page(sorted(files.iterdir()))
        elif parts[0] == "files" and (files / parts[-1]).is_file():
            self.answer(200, (files / parts[-1]).read_bytes(), "application/octet-stream")
        elif parts[0] == "integrity" and (self.folder / f"{parts[1]}.attestations").is_file():
            attestations = json.loads((self.folder / f"{parts[1]}.attestations").read_bytes())
            bundle = {"publisher": {"kind": "test"}, "attestations": attestations}
            document = {"version": 1, "attestation_bundles": [bundle]}
            self.answer(200, json.dumps(document).encode(), "application/json")
        else:
            self.answer(404, b"no such thing")

    def project_page(self, files: list[Path]) -> None:
        digests = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
        if JSON_TYPE in self.headers.get("Accept", "") and not (self.folder / "html-only").exists():
            page = {
                "meta": {"api-version": "1.3"},
                "name": "extism-kernel",
                "files": [
                    {"filename": name, "url": f"/files/{name}", "hashes": {"sha256": digest}}
                    | self.provenance(name)
                    for name, digest in digests.items()
                ],
            }
            self.answer(200, json.dumps(page).encode(), JSON_TYPE)
            return
        links = [f'<a href="/files/{name}#sha256={digest}">{name}</a>' for name, digest in digests.items()]
        self.answer(200, f"<!DOCTYPE html><html><body>{''.join(links)}</body></html>".encode(), "text/html")

    def provenance(self, name: str) -> dict[str, str]:
        known = (self.folder / f"{name}.attestations").exists()
        return {"provenance": f"/integrity/{name}"} if known else {}


def main() -> None:
    Index.folder = Path(sys.argv[1])
    (Index.folder / "files").mkdir(exist_ok=True)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Index)
    print(f"http://127.0.0.1:{server.server_address[1]}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
