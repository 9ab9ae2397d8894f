"""What a package index holds: the Simple repository API as JSON (PEP 691), or as HTML (PEP 503)."""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from html.parser import HTMLParser
from http.client import HTTPException

from build_tools.base.errors import IndexUnreachableError, UsageError

__all__ = ["IndexFile", "check_index_url", "find_files", "parse_page", "simple_url"]

PROJECT = "extism-kernel"
ACCEPT = "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.1"
TIMEOUT_SECONDS = 30.0
ANSWER_LIMIT = 16 * 1024 * 1024
NOT_FOUND = 404
LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexFile:
    """A file on an index; `sha256` is None where the index does not say."""

    name: str
    sha256: str | None


def check_index_url(url: str, option: str) -> str:
    """Return a URL without a trailing slash.

    Raises UsageError if it is not https (or http on this machine), or carries credentials: those would end
    up in logs.
    """
    parts = urllib.parse.urlsplit(url)
    if parts.username is not None or parts.password is not None:
        raise UsageError(
            "the URL carries credentials",
            where=option,
            hint="set TWINE_USERNAME and TWINE_PASSWORD, or use keyring, and leave them out of the URL",
        )
    if parts.scheme not in {"https", "http"} or not parts.hostname:
        raise UsageError(f"`{url}` is not an http or https URL", where=option)
    if parts.scheme == "http" and parts.hostname not in LOOPBACK:
        raise UsageError(
            "passwords and answers would travel in the clear",
            where=option,
            hint="use an https URL; http is for an index on this machine",
        )
    return url.rstrip("/")


def simple_url(index: str) -> str:
    """Return where an index that takes uploads at this URL is usually read: `.../legacy` at `.../simple`."""
    base = index.removesuffix("/legacy")
    return f"{base}/simple"


def find_files(simple: str) -> list[IndexFile] | None:
    """Return the files that an index has of our project, or None if it does not know the project.

    Raises IndexUnreachableError if it does not answer as an index does: not knowing is no approval.
    """
    url = f"{simple}/{PROJECT}/"
    request = urllib.request.Request(url, headers={"Accept": ACCEPT})  # noqa: S310 - http(s), see check_index_url
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as answer:  # noqa: S310 - the same
            kind = answer.headers.get_content_type()
            text = answer.read(ANSWER_LIMIT).decode("utf-8", "replace")
    except urllib.error.HTTPError as error:
        with error:
            if error.code == NOT_FOUND:
                return None
            raise _unreachable(url, f"answered {error.code} {error.reason}") from None
    except (OSError, HTTPException) as error:
        raise _unreachable(url, str(getattr(error, "reason", error))) from None
    return parse_page(text, kind, url)


def parse_page(text: str, kind: str, url: str) -> list[IndexFile]:
    """Return the files on a project page; `kind` is its media type.

    Raises IndexUnreachableError, naming `url`, if the page is JSON and not a project page.
    """
    if kind.endswith("+json") or kind == "application/json":
        return _parse_json(text, url)
    return _parse_html(text)


def _unreachable(url: str, problem: str) -> IndexUnreachableError:
    return IndexUnreachableError(
        f"the index cannot be asked what it holds: {problem}",
        where=url,
        hint="check --index and, if the index is read at another URL than it is written, --simple",
    )


def _parse_json(text: str, url: str) -> list[IndexFile]:
    try:
        files = json.loads(text)["files"]
        return [IndexFile(name=str(file["filename"]), sha256=file["hashes"].get("sha256")) for file in files]
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise _unreachable(url, f"its JSON is not a project page ({error!r})") from None


def _parse_html(text: str) -> list[IndexFile]:
    parser = _Anchors()
    parser.feed(text)
    files = []
    for href in parser.hrefs:
        parts = urllib.parse.urlsplit(href)
        digest = dict(urllib.parse.parse_qsl(parts.fragment)).get("sha256")
        files.append(IndexFile(name=os.path.basename(urllib.parse.unquote(parts.path)), sha256=digest))  # noqa: PTH119 - a URL's path
    return files


class _Anchors(HTMLParser):
    """Collects where the links of a project page lead."""

    def __init__(self) -> None:
        super().__init__()
        self.hrefs: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.hrefs += [value for name, value in attrs if tag == "a" and name == "href" and value]
