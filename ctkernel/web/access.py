"""Who may see a page: only this computer, only with the token, and nothing from other pages.

A page shows a patient's scan. The server listens on the loopback address, every request needs a random token that only the
person who started it was told, and the browser is told to load nothing from elsewhere.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

LOOPBACK = "127.0.0.1"
TOKEN_KEY = "token"
# Names under which a browser on this computer reaches the loopback address. Any other name in a request means that a page
# elsewhere made its own name point to this computer (DNS rebinding).
LOOPBACK_NAMES = frozenset({"127.0.0.1", "localhost", "::1"})

# Nothing from elsewhere, no scripts in the page itself. Some browsers do not count a web socket as 'self'.
STRICT_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; font-src 'self'; "
    "connect-src 'self' ws://127.0.0.1:* ws://localhost:*; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)


@dataclass(frozen=True)
class Access:
    """Rules of one server.

    Attributes:
        token: what a request must know.
        policy: Content-Security-Policy of every answer.
        largest_request: most bytes that a request may announce.
    """

    policy: str = STRICT_POLICY
    largest_request: int = 1 << 20
    token: str = field(default_factory=lambda: secrets.token_urlsafe(32), repr=False)

    @property
    def cookie(self) -> str:
        """Name of the cookie; cookies do not tell ports apart, so each server has a name of its own."""
        return "ctkernel-" + hashlib.sha256(self.token.encode()).hexdigest()[:12]

    def address(self, port: int, path: str = "/") -> str:
        """What to open in the browser."""
        return f"http://{LOOPBACK}:{port}{path}?{TOKEN_KEY}={self.token}"

    def knows(self, given: str) -> bool:
        """Whether ``given`` is the token, in constant time, so that the time reveals nothing."""
        return hmac.compare_digest(given.encode("utf-8", "replace"), self.token.encode())


def protect(app: web.Application, access: Access) -> None:
    """Put ``access`` before every route and web socket of ``app``, those added later too; call before it starts.

    Without the token the answer is 401, with a wrong one, or from another page, 403. The token comes once in the address;
    the answer puts it into a cookie that scripts cannot read, and leads to the address without it.
    """
    app.middlewares.insert(0, _guard(access))
    app.on_response_prepare.append(_headers(access))


def _guard(access: Access) -> Middleware:
    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        if _from_elsewhere(request):
            return _refusal(403, "This page is only for the computer it runs on.")
        given = request.query.get(TOKEN_KEY)
        if given is None:
            given = request.cookies.get(access.cookie)
            if given is None:
                return _refusal(401, "Open the whole address that was printed when the page was started.")
            if access.knows(given):
                return await _limited(access, request, handler)
        elif access.knows(given):
            if request.method == "GET" and "upgrade" not in request.headers:
                return _with_cookie(access, request)
            return await _limited(access, request, handler)
        return _refusal(403, "The token in this address is not that of this page; it changes with every start.")

    return guard


async def _limited(access: Access, request: web.Request, handler: Handler) -> web.StreamResponse:
    if (request.content_length or 0) > access.largest_request:
        return _refusal(413, f"More than {access.largest_request / 1e6:.0f} MB cannot be sent.")
    return await handler(request)


def _from_elsewhere(request: web.Request) -> bool:
    """Whether the request reached this computer under a foreign name, or was sent by a page of another address."""
    if _host_name(f"//{request.host}") not in LOOPBACK_NAMES:
        return True
    origin = request.headers.get("Origin")
    return origin is not None and urlsplit(origin).netloc != request.host


def _host_name(address: str) -> str | None:
    try:
        return urlsplit(address).hostname
    except ValueError:
        return None


def _with_cookie(access: Access, request: web.Request) -> web.Response:
    rest = request.rel_url.without_query_params(TOKEN_KEY)
    # the path only: an address that begins with two strokes would lead to another server
    response = web.Response(status=302, headers={"Location": "/" + str(rest).lstrip("/\\")})
    response.set_cookie(access.cookie, access.token, httponly=True, samesite="Strict", path="/")
    return response


def _refusal(status: int, text: str) -> web.Response:
    return web.Response(status=status, text=text + "\n")


def _headers(access: Access) -> Callable[[web.Request, web.StreamResponse], Awaitable[None]]:
    async def add_headers(request: web.Request, response: web.StreamResponse) -> None:
        response.headers["Content-Security-Policy"] = access.policy
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["X-Frame-Options"] = "DENY"
        response.headers["Referrer-Policy"] = "no-referrer"
        response.headers["Cross-Origin-Resource-Policy"] = "same-origin"
        response.headers["Cross-Origin-Opener-Policy"] = "same-origin"
        # a scan stays in no browser cache; the program's own scripts may
        response.headers.setdefault("Cache-Control", "no-store")
        response.headers.pop("Server", None)

    return add_headers
