"""`pinpoint serve` in a thread of the test, asked over a real socket."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from pinpoint_harness.serving import Access, Service, Worker, listen, server

LOCAL = Access()


@dataclass(frozen=True)
class Got:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Served:
    port: int
    service: Service
    worker: Worker

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    def get(self, path: str, **headers: str) -> Got:
        return self.request("GET", path, None, headers)

    def ask(self, data: Any, headers: Mapping[str, str] | None = None, **query: str) -> Got:
        """Send a photo; an iterable of bytes is sent in chunks, without saying how many."""
        kind = {"Content-Type": "application/octet-stream", **(headers or {})}
        return self.request("POST", f"/answers?{urlencode(query)}", data, kind)

    def request(self, method: str, path: str, body: Any, headers: Mapping[str, str]) -> Got:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            # Headers as given: http.client would add a Host of its own beside another.
            connection.putrequest(method, path, skip_host="Host" in headers)
            for name, value in headers.items():
                connection.putheader(name.replace("_", "-"), value)
            chunked = body is not None and not isinstance(body, bytes)
            if chunked:
                connection.putheader("Transfer-Encoding", "chunked")
            elif body is not None:
                connection.putheader("Content-Length", str(len(body)))
            # Refused before all of it was sent; the answer is there.
            with suppress(BrokenPipeError, ConnectionResetError):
                connection.endheaders(body, encode_chunked=chunked)
            answer = connection.getresponse()
            return Got(answer.status, dict(answer.getheaders()), answer.read())
        finally:
            connection.close()


@contextmanager
def served(
    worker: Worker, access: Access = LOCAL, *, candidates: int = 5, most_bytes: int = 2**20
) -> Iterator[Served]:
    service = Service(worker, candidates, most_bytes)
    with listen(access, 0) as listener:
        running = server(service, access)
        thread = threading.Thread(target=running.run, kwargs={"sockets": [listener.socket]})
        thread.start()
        try:
            while not running.started:
                time.sleep(0.01)
            yield Served(listener.socket.getsockname()[1], service, worker)
        finally:
            running.should_exit = True
            thread.join()
            service.close()
