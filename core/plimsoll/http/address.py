"""Which addresses a stranger's server may send us to.

A registry may redirect a download and name the server that gives out its tokens. In a cluster that
is a way to make us ask the cloud's metadata service, the node or a neighbour (SSRF). What is
checked is the address that the connection will be made to, not the name, so a name that changes
its address in between gains nothing.
"""

from __future__ import annotations

import ipaddress
import socket
from enum import IntEnum
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from plimsoll.http.errors import AddressRefusedError

if TYPE_CHECKING:
    from aiohttp.abc import AbstractResolver, ResolveResult

    IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

#: Metadata services that no general rule covers (Azure, Alibaba, Oracle, AWS over IPv6).
_METADATA = frozenset(
    map(
        ipaddress.ip_address,
        ("168.63.129.16", "100.100.100.200", "192.0.0.192", "fd00:ec2::254", "fd20:ce::254"),
    )
)
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_CARRIER = ipaddress.IPv4Network("100.64.0.0/10")
_PRIVATE4 = tuple(map(ipaddress.IPv4Network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")))
_PRIVATE6 = ipaddress.IPv6Network("fc00::/7")


class Reach(IntEnum):
    """How far away an address is; greater is nearer."""

    PUBLIC = 0
    PRIVATE = 1
    """RFC 1918, RFC 6598, unique local: a company's own network."""
    FORBIDDEN = 2
    """This machine, the link, metadata services, and everything that is no host."""


def reach(address: str) -> Reach:
    """Classify an IP address (text, a zone is ignored)."""
    ip = _inner(ipaddress.ip_address(address.partition("%")[0]))
    if ip in _METADATA:
        return Reach.FORBIDDEN
    if isinstance(ip, ipaddress.IPv4Address):
        if ip in _CARRIER or any(ip in network for network in _PRIVATE4):
            return Reach.PRIVATE
    elif ip in _PRIVATE6:
        return Reach.PRIVATE
    return Reach.PUBLIC if ip.is_global and not ip.is_multicast else Reach.FORBIDDEN


def literal(host: str) -> str | None:
    """``host`` without brackets if it is an IP address, else ``None``."""
    bare = host.strip("[]")
    try:
        ipaddress.ip_address(bare.partition("%")[0])
    except ValueError:
        return None
    return bare


def is_protected(url: str) -> bool:
    """Whether what is read from a URL can be trusted: TLS, or this very machine."""
    parts = urlsplit(url)
    if parts.scheme == "https":
        return True
    try:
        return parts.scheme == "http" and ipaddress.ip_address(parts.hostname or "").is_loopback
    except ValueError:
        return parts.scheme == "http" and parts.hostname == "localhost"


class Guard:
    """Decides for one client which addresses are open.

    Args:
        trusted: host names or addresses that the user configured; always open.
    """

    def __init__(self, trusted: frozenset[str]) -> None:
        self._trusted = frozenset(host_only(host) for host in trusted)
        self._nearest: dict[str, Reach] = {}

    def is_trusted(self, host: str) -> bool:
        """Whether the user configured this host."""
        return host_only(host) in self._trusted

    def check(self, host: str, addresses: list[str], limit: Reach) -> None:
        """Refuse if any address of ``host`` is nearer than ``limit``.

        Raises:
            AddressRefusedError: naming host and address.
        """
        found = max(map(reach, addresses), default=Reach.PUBLIC)
        if len(self._nearest) > 4096:
            self._nearest.clear()
        self._nearest[host_only(host)] = found
        if found > limit and not self.is_trusted(host):
            worst = max(addresses, key=reach)
            raise AddressRefusedError(
                f"refused to connect to {host} ({worst}): "
                + (
                    "a loopback, link-local or metadata address"
                    if found is Reach.FORBIDDEN
                    else "a public server sent us to a private address"
                ),
                hint="if this host is meant, add it to the trusted registry hosts",
            )

    def reach_of(self, host: str) -> Reach:
        """The nearest address that ``host`` had when it was last connected to."""
        address = literal(host)
        if address is not None:
            return reach(address)
        return self._nearest.get(host_only(host), Reach.PUBLIC)


def host_only(host: str) -> str:
    """``host[:port]`` without port and brackets, lower case."""
    if host.startswith("["):
        return host[1:].partition("]")[0].lower()
    return host.lower() if host.count(":") > 1 else host.partition(":")[0].lower()


def guarded_resolver(guard: Guard, limit: Reach) -> AbstractResolver:
    """A resolver for aiohttp that gives out only addresses within ``limit``."""
    from aiohttp.abc import AbstractResolver  # noqa: PLC0415  keeps aiohttp out of start-up
    from aiohttp.resolver import ThreadedResolver  # noqa: PLC0415

    class GuardedResolver(AbstractResolver):
        def __init__(self) -> None:
            self._resolver = ThreadedResolver()

        async def resolve(
            self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
        ) -> list[ResolveResult]:
            found = await self._resolver.resolve(host, port, family)
            guard.check(host, [item["host"] for item in found], limit)
            return found

        async def close(self) -> None:
            await self._resolver.close()

    return GuardedResolver()


def _inner(ip: IPAddress) -> IPAddress:
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)
        if inner is not None:
            return inner
        if ip in _NAT64:
            return ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
    return ip
