"""Who may ask: the names this server goes by, pages of its own alone, and whoever holds the token.

A page of any web site can make a browser send requests to this machine. What keeps it out: the host
must be an address or a name of this machine (a foreign name may be made to point here), the origin must
be that host, and beyond this machine a token is needed, which a foreign page does not have.
"""

from __future__ import annotations

import hmac
import ipaddress
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.cookies import CookieError, SimpleCookie
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from ..errors import HarnessError, UsageError

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

LEAST_TOKEN_LETTERS = 16

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": CONTENT_SECURITY_POLICY,
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "cache-control": "no-store",
}
"""Of every response."""


class RefusedError(HarnessError):
    """A request that is not answered, with the status of HTTP that says so."""

    def __init__(
        self, status: int, problem: str, *, found: str | None = None, fix: str | None = None
    ) -> None:
        super().__init__(problem, found=found, fix=fix)
        self.status = status


@dataclass(frozen=True)
class Access:
    """What `--host` and `--token` allow. UsageError for a host beyond this machine without a token."""

    host: str = "127.0.0.1"
    token: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.token is not None and not (len(self.token) >= LEAST_TOKEN_LETTERS and self.token.isascii()):
            raise UsageError(
                "the token can be guessed or cannot be sent",
                found=f"{len(self.token)} characters",
                fix=f"give {LEAST_TOKEN_LETTERS} ASCII characters or more, as `openssl rand -hex 16` prints",
            )
        if self.token is None and not self.is_local:
            raise UsageError(
                f"--host {self.host} lets other machines ask",
                found="no token",
                fix="give --token or $PINPOINT_SERVE_TOKEN, as `openssl rand -hex 16` prints; or stay on "
                "127.0.0.1 and reach it from elsewhere by `ssh -L 8017:127.0.0.1:8017 MACHINE`",
            )

    @property
    def is_local(self) -> bool:
        """Whether only this machine itself can ask."""
        return _is_loopback(self.host)

    def refusal(self, method: str, headers: Mapping[str, str]) -> RefusedError | None:
        """Why a request is not even looked at, by its host and origin; None where it may be."""
        host = headers.get("host", "")
        if not self._is_mine(host):
            return RefusedError(
                421,
                "this server does not go by that name",
                found=host,
                fix="open the address that `pinpoint serve` printed",
            )
        origin = headers.get("origin")
        site = headers.get("sec-fetch-site", "none")
        is_visit = method == "GET" and headers.get("sec-fetch-mode") == "navigate"
        if (origin is not None and origin != f"http://{host}") or (
            site not in ("none", "same-origin") and not is_visit
        ):
            return RefusedError(
                403,
                "a page of another site asked",
                found=origin or site,
                fix="use the page of this server; programs send no Origin",
            )
        return None

    def allows(self, token: str | None) -> bool:
        """Whether this is the token, in a time that does not tell how much of it is right."""
        if self.token is None:
            return True
        given = (token or "").encode("utf-8", "replace")
        return hmac.compare_digest(given, self.token.encode())

    def token_of(self, headers: Mapping[str, str], port: int) -> str | None:
        """The token that a request brings, as a cookie or as `Authorization: Bearer TOKEN`."""
        kind, _, value = headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer":
            return value.strip()
        try:
            morsel = SimpleCookie(headers.get("cookie", "")).get(cookie_name(port))
        except CookieError:
            return None
        return None if morsel is None else morsel.value

    def _is_mine(self, host: str) -> bool:
        """Whether a `Host` is an address of numbers, or a name this machine was given by its owner."""
        try:
            name = (urlsplit(f"//{host}").hostname or "").rstrip(".")
        except ValueError:
            return False
        if _is_loopback(name):
            return True
        if self.is_local:
            return False
        if _address(name):
            return True
        return name in {self.host.lower(), socket.gethostname().lower(), socket.getfqdn().lower()}


def cookie_name(port: int) -> str:
    """Browsers send cookies of a host to all its ports."""
    return f"pinpoint-{port}"


class Guard:
    """Lets through what `Access` allows, and gives every response its headers.

    `/?token=TOKEN` is answered with a cookie and sent on to `/`, so that the token stays in no address.
    """

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app, self._access = app, access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return  # no web sockets; uvicorn is told that there is no lifespan
        from starlette.datastructures import MutableHeaders
        from starlette.requests import Request

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        request = Request(scope, receive)
        port = (scope.get("server") or ("", 0))[1] or 0
        answer = self._answer(request, port)
        await (answer or self._app)(scope, receive, send_with_headers)

    def _answer(self, request: Request, port: int) -> ASGIApp | None:
        from starlette.responses import RedirectResponse

        from .answers import refused

        access = self._access
        if refusal := access.refusal(request.method, request.headers):
            return refused(request, refusal)
        given = request.query_params.get("token")
        if given is not None and request.url.path == "/" and access.token and access.allows(given):
            response = RedirectResponse("/", 303)
            response.set_cookie(cookie_name(port), given, httponly=True, samesite="lax")
            return response
        if not access.allows(access.token_of(request.headers, port)):
            fix = "open the address with the token that `pinpoint serve` printed"
            return refused(request, RefusedError(401, "this page needs its token", fix=fix))
        return None


def _is_loopback(name: str) -> bool:
    address = _address(name)
    return name == "localhost" if address is None else address.is_loopback


def _address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return None
