"""What is true of every request and every answer, whatever its path: names of the server, framing, headers.

Browsers send requests for any page that a person looks at. A page whose name its owner has pointed at this machine
(DNS rebinding) would be one with the server for a browser, and could read what it answers. Its requests are told by the
name in `Host`, which such a page cannot change. An address in place of a name is safe: it cannot point elsewhere.
"""

import ipaddress
import re
from collections.abc import Collection

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from audiotagging.base.errors import brief
from audiotagging.serving.limits import RETRY_AFTER

ANY = "*"
MISDIRECTED = 421
HOST = re.compile(r"(\[[0-9a-f:.]+\]|[^:\[\]]+)(:[0-9]*)?", re.ASCII)
# What OWASP's cheat sheets on REST Security and on HTTP Headers ask of a server that leaves TLS to a gateway.
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}


def error(status: int, message: str, headers: dict[str, str] | None = None) -> Response:
    """Return an answer that says what is wrong. One with the status 503 also says when to try again."""
    retry = {"Retry-After": str(RETRY_AFTER)} if status == 503 else {}
    return JSONResponse({"error": brief(message)}, status, headers={**(headers or {}), **retry})


def guarded(app: ASGIApp, *, hosts: Collection[str], loopback: bool) -> ASGIApp:
    """Return an application that refuses requests to others and ambiguous ones, with headers that restrict browsers.

    Args:
        app: The application. Headers of its answers take precedence.
        hosts: Further names of the server, or `ANY`.
        loopback: Whether the server listens at this machine alone, so that it has no other address either.
    """

    async def guard(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await (_refusal(Request(scope), hosts, loopback) or app)(scope, receive, send_with_headers)

    return guard


def _refusal(request: Request, hosts: Collection[str], loopback: bool) -> Response | None:
    """Return the answer to a request that is refused."""
    if (
        "transfer-encoding" in request.headers and "content-length" in request.headers
    ):  # others may see another request in it
        close = {"Connection": "close"}
        return error(400, "expected Content-Length or Transfer-Encoding, found both; send one of them", close)
    host = request.headers.get("host")  # HTTP/1.0 may do without, and no browser does
    if host is not None and not is_allowed(host, hosts=hosts, loopback=loopback):
        return error(
            MISDIRECTED,
            f"expected the address of this server, localhost or a name of --allowed-hosts in Host, found {host[:80]!r}",
        )
    return None


def is_allowed(host: str, *, hosts: Collection[str], loopback: bool) -> bool:
    """Return whether a server answers to the value of a header `Host`.

    Examples:
        >>> [is_allowed(host, hosts=["a.org"], loopback=True) for host in ("localhost:80", "[::1]", "A.org", "b.org")]
        [True, True, True, False]
        >>> [is_allowed("10.0.0.7:8080", hosts=[], loopback=loopback) for loopback in (True, False)]
        [False, True]
    """
    found = HOST.fullmatch(host.lower())
    name = found[1].rstrip(".") if found else ""
    if name == "localhost" or name in hosts or ANY in hosts:
        return True
    try:
        address = ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return False
    return address.is_loopback or not loopback
