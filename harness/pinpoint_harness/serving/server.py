"""Listening, until somebody presses Ctrl-C."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import UsageError
from .access import Access
from .app import Service, build_app

if TYPE_CHECKING:
    import uvicorn

_MOST_CONNECTIONS = 64
_SECONDS_TO_FINISH = 5
"""That requests may take to end when the server does."""


@dataclass(frozen=True)
class Listener:
    """A socket that listens, and what `Access` lets in there."""

    socket: socket.socket
    access: Access

    @property
    def address(self) -> str:
        """What to open in a browser, with the token where there is one."""
        host, port = self.socket.getsockname()[:2]
        host = {"0.0.0.0": socket.gethostname(), "::": socket.gethostname()}.get(host, host)
        token = "" if self.access.token is None else f"?token={self.access.token}"
        return f"http://{f'[{host}]' if ':' in host else host}:{port}/{token}"


@contextmanager
def listen(access: Access, port: int) -> Iterator[Listener]:
    """Take a port, 0 for any; UsageError for one that cannot be had."""
    try:
        family = socket.getaddrinfo(access.host, port, type=socket.SOCK_STREAM)[0][0]
        taken = socket.create_server((access.host, port), family=family)
    except OSError as error:
        raise UsageError(
            f"cannot listen on {access.host}, port {port}",
            found=error.strerror or str(error),
            fix="give another --port, 0 for any that is free, or an address of this machine as --host",
        ) from error
    with taken:
        yield Listener(taken, access)


def serve(service: Service, listener: Listener) -> None:
    """Answer until SIGINT or SIGTERM, which are raised again when the server has ended."""
    try:
        server(service, listener.access).run(sockets=[listener.socket])
    finally:
        service.close()


def server(service: Service, access: Access) -> uvicorn.Server:
    """A server that writes no log: there names of photos and the token would stand."""
    import uvicorn

    config = uvicorn.Config(
        build_app(service, access),
        loop="asyncio",
        http="h11",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=_MOST_CONNECTIONS,
        timeout_graceful_shutdown=_SECONDS_TO_FINISH,
    )
    return uvicorn.Server(config)
