"""The twelve functions that the host gives every guest, one method each.

Handles come and go as unsigned integers. Arguments are freed, by `Exchange.take` and its kin, also where
they go unused; results belong to the guest. 0 is absent and empty alike, everywhere.
"""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from extism_kernel_pkg.host.errors import HostFunctionError
from extism_kernel_pkg.host.text import printable
from extism_kernel_pkg.host.vars import Vars

if TYPE_CHECKING:
    from extism_kernel_pkg.host.contract import Exchange
    from extism_kernel_pkg.host.http import HttpClient, HttpRequest
    from extism_kernel_pkg.host.interrupt import Interrupter
    from extism_kernel_pkg.host.manifest import Manifest

TRACE: Final = 5
"""The `logging` level of `log_trace`, below `logging.DEBUG`."""

LOG_LEVEL_OFF: Final = 2**31 - 1

_LEVELS: Final = (TRACE, logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR)

logging.addLevelName(TRACE, "TRACE")


@dataclass(slots=True)
class HostContext:
    """What belongs to the running call, where callbacks find it without holding the plug-in.

    `value` is what the application gave to it.
    """

    interrupter: Interrupter
    value: object = None


class HostEnv:
    """What a plug-in sees of its host. Vars and the last HTTP answer live here, outside every instance."""

    def __init__(
        self,
        manifest: Manifest,
        *,
        http: HttpClient,
        logger: logging.Logger,
        with_response_headers: bool = False,
    ) -> None:
        self.vars = Vars()
        self._config = manifest.config
        self._max_var_bytes = manifest.memory.max_var_bytes
        self._http = http
        self._logger = logger
        self._with_response_headers = with_response_headers
        self._status = 0
        self._headers: dict[str, str] = {}

    def forget(self) -> None:
        """Begin anew, for another user: with no vars, also for who kept the old ones, and no HTTP answer."""
        self.vars = Vars()
        self._status, self._headers = 0, {}

    def config_get(self, exchange: Exchange, key: int) -> int:
        """Return the value of a config key; 0 if there is none."""
        value = self._config.get(exchange.take_text(key, "the config key"))
        return exchange.put(value.encode()) if value else 0

    def var_get(self, exchange: Exchange, key: int) -> int:
        """Return the value of a var; 0 if there is none."""
        return exchange.put(self.vars.get(exchange.take_text(key, "the var's name"), b""))

    def var_set(self, exchange: Exchange, key: int, value: int) -> None:
        """Set a var; value 0 deletes it. Names and values together stay within `max_var_bytes`."""
        name, data = exchange.take_two(key, "the var's name", value)
        if self._max_var_bytes == 0:
            raise HostFunctionError("vars are disabled by this host", hint="`memory.max_var_bytes` is 0")
        if not data:
            self.vars.pop(name, None)
        elif self.vars.size_with(name, data) > self._max_var_bytes:
            raise HostFunctionError(
                f"variable store is full: `{name}` with {len(data)} bytes does not fit",
                hint=f"`memory.max_var_bytes` is {self._max_var_bytes}",
            )
        else:
            self.vars[name] = data

    def http_request(self, exchange: Exchange, request: int, body: int) -> int:
        """Make an HTTP request and return the body of the answer; an HTTP error status is no error."""
        text, data = exchange.take_two(request, "the HTTP request", body)
        self._status, self._headers = 0, {}
        response = self._http.send(parse_http_request(text, data or None))
        self._status, self._headers = response.status, response.headers
        return exchange.put(response.body)

    def http_status_code(self, _exchange: Exchange) -> int:
        """Return the status of the last request, 0 before any."""
        return self._status

    def http_headers(self, exchange: Exchange) -> int:
        """Return the last answer's headers as a JSON object with lower-case names; 0 unless enabled."""
        if not self._with_response_headers:
            return 0
        text = json.dumps(self._headers, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
        return exchange.put(text.encode())

    def log_trace(self, exchange: Exchange, message: int) -> None:
        """Log at level `TRACE`."""
        self._log(TRACE, exchange, message)

    def log_debug(self, exchange: Exchange, message: int) -> None:
        """Log at level `DEBUG`."""
        self._log(logging.DEBUG, exchange, message)

    def log_info(self, exchange: Exchange, message: int) -> None:
        """Log at level `INFO`."""
        self._log(logging.INFO, exchange, message)

    def log_warn(self, exchange: Exchange, message: int) -> None:
        """Log at level `WARNING`."""
        self._log(logging.WARNING, exchange, message)

    def log_error(self, exchange: Exchange, message: int) -> None:
        """Log at level `ERROR`."""
        self._log(logging.ERROR, exchange, message)

    def get_log_level(self, _exchange: Exchange) -> int:
        """Return the lowest level that is logged, as 0 (trace) to 4 (error), or 2147483647 for none."""
        for number, level in enumerate(_LEVELS):
            if self._logger.isEnabledFor(level):
                return number
        return LOG_LEVEL_OFF

    def _log(self, level: int, exchange: Exchange, message: int) -> None:
        if self._logger.isEnabledFor(level):
            self._logger.log(level, "%s", printable(exchange.take(message).decode(errors="replace")))
        else:
            exchange.free(message)


def parse_http_request(text: str, body: bytes | None) -> HttpRequest:
    """Check the JSON of `http_request`: `url`, and optionally `method` and `headers`."""
    from extism_kernel_pkg.host.http import HttpRequest  # noqa: PLC0415 - see `host/__init__.py`

    try:
        value: Any = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise HostFunctionError(f"the HTTP request is not JSON: {error}") from None
    if not isinstance(value, dict) or not isinstance(value.get("url"), str):
        raise HostFunctionError("the HTTP request is not an object with the string `url`")
    method, headers = value.get("method"), value.get("headers")
    if not isinstance(method or "", str):
        raise HostFunctionError("`method` of the HTTP request is not a string")
    if not isinstance(headers or {}, dict) or not all(isinstance(v, str) for v in (headers or {}).values()):
        raise HostFunctionError("`headers` of the HTTP request is not an object of strings")
    return HttpRequest(url=value["url"], method=method or "GET", headers=headers or {}, body=body)
