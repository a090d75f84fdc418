"""The addresses of the server: the page, its files, answers to photos, pictures of galleries."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from ..errors import HarnessError
from ..images.loose import printable_name
from .access import Access, Guard, RefusedError
from .answers import Answers, refused
from .page import main_page, style, text_file
from .pictures import GalleryPictures
from .worker import Question, Worker

if TYPE_CHECKING:
    from starlette.exceptions import HTTPException
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.types import ASGIApp

MOST_BYTES = 64 * 2**20
"""Of one photo; those of 200 megapixels have about 50 MiB."""

MOST_SECONDS = 120.0
"""That a photo may take to arrive."""

QUERY_FIELDS = ("method", "author", "name")
"""What may be said of a photo in the address that it is sent to."""

LONGEST_NAME = 255
"""Letters of a file's name or a photographer's; file systems allow no more."""


class Service:
    """What the addresses do. `candidates` is the most that are shown of each photo."""

    def __init__(self, worker: Worker, candidates: int, most_bytes: int = MOST_BYTES) -> None:
        self._worker, self._most_bytes = worker, most_bytes
        self._pictures = GalleryPictures(worker.methods.registry)
        self._answers = Answers(self._pictures, candidates)
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="pinpoint-pictures")

    async def page(self, request: Request) -> Response:
        from starlette.responses import HTMLResponse

        page = main_page(self._worker.offers.values(), self._worker.notes(), self._most_bytes)
        return HTMLResponse(page)

    async def style(self, request: Request) -> Response:
        from starlette.responses import Response

        return Response(style(), media_type="text/css")

    async def script(self, request: Request) -> Response:
        from starlette.responses import Response

        return Response(text_file("page.js"), media_type="text/javascript")

    async def answer(self, request: Request) -> Response:
        """The photo in the body, each of `QUERY_FIELDS` at most once in the query."""
        from starlette.responses import JSONResponse

        _check_fields(request)
        if request.headers.get("content-type") != "application/octet-stream":
            fix = "send the photo's bytes as they are, with Content-Type: application/octet-stream"
            raise RefusedError(415, "this is no photo alone", fix=fix)
        with self._worker.place():
            query = request.query_params
            question = Question(
                method=query.get("method", next(iter(self._worker.offers))),
                author=query.get("author", "")[:LONGEST_NAME] or None,
                name=printable_name(query.get("name", "photo")[:LONGEST_NAME]),
                data=await self._body(request),
            )
            reply = await self._worker.ask(question)
            told = await asyncio.get_running_loop().run_in_executor(
                self._reader, self._answers.told, question, reply
            )
        return JSONResponse(told)

    async def picture(self, request: Request) -> Response:
        from starlette.responses import Response

        gallery, row = request.path_params["gallery"], request.path_params["row"]
        try:
            found = await asyncio.get_running_loop().run_in_executor(
                self._reader, self._pictures.jpeg, gallery, row
            )
        except IndexError:
            raise RefusedError(
                404, "no gallery has such a picture", fix="ask about the photo again"
            ) from None
        if isinstance(found, str):
            raise RefusedError(404, found)
        return Response(found, media_type="image/jpeg")

    async def _body(self, request: Request) -> bytes:
        """The bytes that are sent, refused as soon as they are, or say that they will be, too many."""
        declared = request.headers.get("content-length", "")
        if declared.isdecimal() and int(declared) > self._most_bytes:
            raise self._too_big(int(declared))
        body = bytearray()
        try:
            async with asyncio.timeout(MOST_SECONDS):
                async for chunk in request.stream():
                    body += chunk
                    if len(body) > self._most_bytes:
                        raise self._too_big(len(body))
        except TimeoutError:
            fix = "send it again over a faster network"
            raise RefusedError(408, f"the photo did not arrive within {MOST_SECONDS:g} s", fix=fix) from None
        return bytes(body)

    def _too_big(self, size: int) -> RefusedError:
        return RefusedError(
            413,
            f"the photo has more than {self._most_bytes:,} bytes",
            found=f"{size:,} so far",
            fix="make it smaller, or ask `pinpoint locate`, which reads files of any size up to 256 MiB",
        )

    def close(self) -> None:
        self._worker.close()
        self._reader.shutdown(wait=True, cancel_futures=True)
        self._pictures.close()


def _check_fields(request: Request) -> None:
    """Refuse what would have no effect: a filter that is misspelled would go unnoticed."""
    given = [name for name, _ in request.query_params.multi_items()]
    unknown = next((name for name in given if name not in QUERY_FIELDS), None)
    repeated = next((name for name in QUERY_FIELDS if given.count(name) > 1), None)
    if unknown is None and repeated is None:
        return
    problem = f"a photo has no field '{unknown}'" if unknown is not None else f"'{repeated}' is said twice"
    fix = f"one each, at most, of: {', '.join(QUERY_FIELDS)}"
    raise RefusedError(400, problem, found=", ".join(given), fix=fix)


def build_app(service: Service, access: Access) -> ASGIApp:
    """The whole application, guarded."""
    from starlette.applications import Starlette
    from starlette.exceptions import HTTPException
    from starlette.requests import ClientDisconnect
    from starlette.routing import Route

    app = Starlette(
        routes=[
            Route("/", service.page),
            Route("/page.css", service.style),
            Route("/page.js", service.script),
            Route("/answers", service.answer, methods=["POST"]),
            Route("/pictures/{gallery:int}/{row:int}", service.picture),
        ],
        exception_handlers=dict.fromkeys((HarnessError, ClientDisconnect, HTTPException), _failed),
    )
    return Guard(app, access)


async def _failed(request: Request, error: Exception) -> Response:
    from starlette.exceptions import HTTPException

    if isinstance(error, HTTPException):
        error = _http_refusal(request.method, error)
    elif not isinstance(error, HarnessError):
        error = RefusedError(400, "the sender went away")
    return refused(request, error)


def _http_refusal(method: str, error: HTTPException) -> RefusedError:
    allowed = (error.headers or {}).get("Allow")
    if error.status_code == 405 and allowed:
        return RefusedError(405, f"this address is not for {method}", fix=f"ask it by {allowed}")
    return RefusedError(error.status_code, "there is nothing at this address", fix="open /")
