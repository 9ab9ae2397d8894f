"""Proxies of the environment: `HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY`, as curl reads them."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import unquote
from urllib.request import getproxies_environment, proxy_bypass

from urllib3.exceptions import LocationParseError
from urllib3.util import Url, make_headers, parse_url

from extism_kernel_pkg.host.errors import HostFunctionError

if TYPE_CHECKING:
    from collections.abc import Mapping


def find_proxy(scheme: str, host: str, port: int) -> Url | None:
    """Return the proxy for a server, or None to connect directly.

    Raises `HostFunctionError` for a proxy that is reached by anything but http.
    """
    proxies = getproxies_environment()
    text = proxies.get(scheme) or proxies.get("all")
    if text is None or proxy_bypass(f"{host}:{port}"):
        return None
    try:
        proxy = parse_url(text if "://" in text else f"http://{text}")
    except LocationParseError:
        proxy = Url()
    if proxy.scheme != "http" or not proxy.host:
        raise HostFunctionError(
            f"the environment's proxy for {scheme} cannot be used", hint="give it as http://host:port"
        )
    return proxy


def proxy_login(proxy: Url) -> Mapping[str, str]:
    """Return the header that says a proxy's name and password, if its URL carries them."""
    return make_headers(proxy_basic_auth=unquote(proxy.auth)) if proxy.auth else {}
