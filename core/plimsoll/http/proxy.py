"""Which proxy the environment names for a URL."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping


def proxy_for(url: str, environ: Mapping[str, str]) -> str | None:
    """The proxy's URL, or ``None`` to connect directly.

    Reads ``http_proxy``, ``https_proxy``, ``all_proxy`` and ``no_proxy`` (lower case wins).
    ``no_proxy`` takes host names (they cover their subdomains), ``host:port``, addresses, networks
    (``10.0.0.0/8``) and ``*``. This machine is always reached directly.
    """
    parts = urlsplit(url)
    host = (parts.hostname or "").lower()
    proxy = _variable(environ, f"{parts.scheme}_proxy") or _variable(environ, "all_proxy")
    if not proxy or _is_local(host) or _excluded(host, parts.port, _variable(environ, "no_proxy")):
        return None
    return proxy if "://" in proxy else f"http://{proxy}"


def proxy_hosts(environ: Mapping[str, str]) -> frozenset[str]:
    """The hosts of all proxies that the environment names."""
    found = (_variable(environ, name) for name in ("http_proxy", "https_proxy", "all_proxy"))
    hosts = (urlsplit(item if "://" in item else f"//{item}").hostname for item in found if item)
    return frozenset(host for host in hosts if host)


def _variable(environ: Mapping[str, str], name: str) -> str:
    value = environ.get(name)
    if value is None and name == "http_proxy" and environ.get("REQUEST_METHOD"):
        return ""  # in a CGI program HTTP_PROXY is a header of the visitor (CVE-2016-5385)
    return (environ.get(name.upper(), "") if value is None else value).strip()


def _is_local(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _excluded(host: str, port: int | None, rules: str) -> bool:
    return any(_matches(host, port, rule.strip().lower()) for rule in rules.split(","))


def _matches(host: str, port: int | None, rule: str) -> bool:
    if not rule:
        return False
    if rule == "*":
        return True
    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(rule, strict=False)
    except ValueError:
        pass
    name, colon, wanted = rule.rpartition(":")
    if colon and wanted.isdigit() and "]" not in wanted:
        if str(port) != wanted:
            return False
        rule = name
    rule = rule.removeprefix("*").lstrip(".").strip("[]")
    return bool(rule) and (host == rule or host.endswith(f".{rule}"))
