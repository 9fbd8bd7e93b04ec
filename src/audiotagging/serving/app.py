"""The paths of the server, and what they answer. Errors are JSON with one line: `{"error": "..."}`."""

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator, Collection, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from audiotagging.base.errors import UserError
from audiotagging.serving.edge import error, guarded
from audiotagging.serving.limits import RefusedError
from audiotagging.serving.metrics import Metrics
from audiotagging.serving.openapi import document
from audiotagging.serving.options import read_options
from audiotagging.serving.pages import index, reference
from audiotagging.serving.service import Service
from audiotagging.serving.uploads import receive

logger = logging.getLogger(__name__)

VERSION_HEADER, NOTES_HEADER = "Model-Version", "Notes"
Result = TypeVar("Result")
REFUSED = "the present champion cannot be loaded; the log of the server says why"
DISCONNECTED = 499  # the status that nginx logs if the client is gone; nobody receives it


def make_app(service: Service, *, hosts: Collection[str] = (), loopback: bool = True) -> ASGIApp:
    """Return the application of a service. It closes the service at its end.

    Args:
        service: The service.
        hosts: Further names of the server, as in `edge.guarded`.
        loopback: Whether it listens at this machine alone.
    """
    description = document(service.limits)

    async def tag(request: Request) -> Response:
        loaded, options = service.models.current, read_options(request.query_params)
        service.queue.check(1)  # before anything is received
        with service.memory.share() as memory, service.queue.share() as queue:
            sounds = await receive(request, limits=service.limits, memory=memory)
            queue.take(len(sounds))
            try:
                answer = await _while_connected(request, service.tag(sounds, options, loaded, memory))
            except (UserError, ClientDisconnect):
                raise
            except Exception as reason:  # answered here, because uvicorn closes a connection whose request raised
                logger.exception("a request failed")
                return await _failed(request, reason)
        notes = {NOTES_HEADER: json.dumps(answer.notes)} if answer.notes else {}
        return JSONResponse(answer.rows, headers={VERSION_HEADER: loaded.version, **notes})

    async def healthz(_: Request) -> Response:
        return JSONResponse({"alive": service.alive}, 200 if service.alive else 503)

    async def readyz(_: Request) -> Response:
        ready = service.alive and not service.ending
        models = service.models
        refused = REFUSED if models.refused else ""  # the reason names files of this machine
        answer = {"ready": ready, "version": models.current.version, "refused": refused}
        return JSONResponse(answer, 200 if ready else 503)

    async def metrics(_: Request) -> Response:
        return Response(service.metrics.text(), media_type="text/plain; version=0.0.4")

    async def openapi(_: Request) -> Response:
        return JSONResponse(description)

    async def index_page(_: Request) -> Response:
        return index()

    async def reference_page(_: Request) -> Response:
        return reference(description)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        yield
        service.close()

    routes = [
        Route("/tag", tag, methods=["POST"]),
        Route("/healthz", healthz),
        Route("/readyz", readyz),
        Route("/metrics", metrics),
        Route("/openapi.json", openapi),
        Route("/docs", reference_page),
        Route("/", index_page),
    ]
    handlers: dict[Any, Any] = {
        UserError: _refused,
        HTTPException: _not_found,
        ClientDisconnect: _disconnected,
        Exception: _failed,
    }
    app = Starlette(routes=routes, exception_handlers=handlers, lifespan=lifespan)
    guard = guarded(app, hosts=hosts, loopback=loopback)
    return _measured(guard, service.metrics, paths={route.path for route in routes})


async def _while_connected(request: Request, work: Coroutine[Any, Any, Result]) -> Result:
    """Do the work of a request that was received, and stop as soon as its client is gone.

    Raises:
        ClientDisconnect: If it is.
    """
    task = asyncio.create_task(work)
    gone = asyncio.ensure_future(request.receive())  # after the body, there is nothing else to receive
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientDisconnect
        return task.result()
    finally:
        gone.cancel()
        task.cancel()


async def _refused(_: Request, reason: UserError) -> Response:
    return error(reason.status if isinstance(reason, RefusedError) else 422, str(reason))


async def _not_found(_: Request, reason: HTTPException) -> Response:
    return error(reason.status_code, reason.detail, dict(reason.headers or {}))


async def _disconnected(_: Request, __: ClientDisconnect) -> Response:
    return Response(status_code=DISCONNECTED)


async def _failed(_: Request, __: Exception) -> Response:
    return error(500, "the server failed; its log says why")


def _measured(app: ASGIApp, metrics: Metrics, *, paths: set[str]) -> ASGIApp:
    """Return an application that counts its answers and measures how long they take."""

    async def measured(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        path = scope["path"] if scope["path"] in paths else "other"
        begin = time.perf_counter()

        async def count_and_send(message: Message) -> None:
            if message["type"] == "http.response.start":
                metrics.requests.labels(path, str(message["status"])).inc()
                metrics.latency.labels(path).observe(time.perf_counter() - begin)
            await send(message)

        await app(scope, receive, count_and_send)

    return measured
