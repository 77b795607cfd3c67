"""Which hosts and web pages may use a service without keys: a browser sends requests that its user never asked for."""

import ipaddress
from collections.abc import Collection, Mapping
from functools import lru_cache
from urllib.parse import urlsplit

from fivefold.errors import Forbidden

READING = frozenset({"GET", "HEAD"})
OWN_SITE = frozenset({"", "same-origin", "none"})  # none: typed into the address bar


class SiteGuard:
    """Refuses a host name that is not the service's own (a rebound name), and requests of other sites' pages.

    Loopback names are its own always; `hosts` are further names. On a `public` address those of IP addresses are, too:
    only a name can be rebound. `origins` are the pages, such as https://app.example.org, that may send requests.
    """

    def __init__(self, hosts: Collection[str], origins: Collection[str], *, public: bool) -> None:
        self._hosts, self._origins = frozenset(map(str.lower, hosts)), frozenset(origins)
        self._public = public

    def check(self, method: str, headers: Mapping[str, str]) -> None:
        """Raises Forbidden."""
        host = headers.get("host")
        if host is not None and not self._is_own(host_name(host)):
            raise Forbidden(f"host {host[:80]!r} is not a name of this service: list it in FIVEFOLD_ALLOWED_HOSTS")
        if method not in READING:
            self._check_page(host or "", headers)

    def _is_own(self, name: str) -> bool:
        return is_loopback(name) or name in self._hosts or (self._public and _address(name) is not None)

    def _check_page(self, host: str, headers: Mapping[str, str]) -> None:
        origin = headers.get("origin")
        if origin in self._origins:
            return
        foreign = origin is not None and origin.partition("://")[2].lower() != host.lower()
        if foreign or (site := headers.get("sec-fetch-site", "").lower()) not in OWN_SITE:
            given = f"origin {origin[:80]!r}" if origin is not None else f"sec-fetch-site {site[:20]!r}"
            raise Forbidden(f"{given} is another site's page: list its origin in FIVEFOLD_CORS_ORIGINS")


@lru_cache(maxsize=256)
def host_name(host: str) -> str:
    """The name of a Host field, without its port, in lower case; empty where there is none."""
    try:
        parts = urlsplit(f"//{host}")
        valid = parts.netloc == host and "@" not in host and (parts.port is None or parts.port > 0)
    except ValueError:
        return ""
    return (parts.hostname or "").removesuffix(".") if valid else ""


@lru_cache(maxsize=256)
def is_loopback(name: str) -> bool:
    """Whether a name or an address is of this machine alone (RFC 6761: every name below localhost)."""
    address = _address(name)
    return name == "localhost" or name.endswith(".localhost") if address is None else address.is_loopback


def _address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(name)
    except ValueError:
        return None
