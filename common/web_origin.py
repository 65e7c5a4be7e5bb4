"""Which HTTP requests come from a page that a browser of this machine shows (pure).

A server on the loopback interface can be reached by every such page. A page whose name was rebound
to 127.0.0.1 sends its own name as `Host`; a page that asks across sites sends its `Origin`.
"""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_address
from urllib.parse import urlsplit


def host_name(host: str) -> str:
    """Return the name in a `Host` header, in lower case; empty when there is none."""
    try:
        return (urlsplit(f"//{host}").hostname or "").lower()
    except ValueError:
        return ""


def is_rebound(host: str) -> bool:
    """Return whether a `Host` header may be the name of a foreign page.

    An address and a name without a dot (`localhost`, a service of Compose) cannot be: no page is
    served from them but our own.
    """
    name = host_name(host)
    if not name:
        return True
    try:
        ip_address(name)
    except ValueError:
        return "." in name.rstrip(".") or name.endswith(".")
    return False


def is_foreign(headers: Mapping[str, str], host: str) -> bool:
    """Return whether a page of another origin makes a request.

    Args:
        headers: With names in lower case, or without regard to case.
        host: The `Host` header.
    """
    origin = headers.get("origin")
    # Browsers set this header; a page cannot. Opening a page from a link is a navigation.
    is_fetch = headers.get("sec-fetch-site") == "cross-site" and headers.get("sec-fetch-mode") != "navigate"
    return is_fetch or (origin is not None and _netloc(origin) != host.lower())


def _netloc(origin: str) -> str:
    """Return host and port of an origin; empty when it is not one, such as `null`."""
    try:
        parts = urlsplit(origin)
    except ValueError:
        return ""
    return parts.netloc.lower() if parts.scheme in ("http", "https") else ""
