"""Runs an application with uvicorn, which knows no limits to how many clients there are or how slow they are."""

import asyncio
import ipaddress
import json
import logging
import signal
import socket
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

import h11
import uvicorn
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from audiotagging.serving.edge import HEADERS, error

MOST_CONNECTIONS = 400  # a process has 1024 open files by default
BACKLOG = 256  # connections that wait to be accepted, and may be open beside these for a moment
PATIENCE = 30.0  # seconds
LAST_ANSWERS = 60  # seconds

logger = logging.getLogger(__name__)


async def _busy(scope: Scope, receive: Receive, send: Send) -> None:
    await error(503, "too many connections are open; try again later")(scope, receive, send)


class Connection(H11Protocol):
    """A connection that is closed if its client is too slow, or if there are too many that wait for their clients.

    Between requests the application does not see the client, which has `PATIENCE` seconds to take the answer, to send
    what is left of a body that was refused, and to send the headers of its next request. A new connection that would be
    one too many takes the place of the one whose client has sent nothing for longest, however many there are of these.
    """

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a request."""
        super().connection_made(transport)
        self._heard = self.loop.time()  # the last time
        self._timer = self.loop.call_later(PATIENCE, self._give_up)
        if len(self.connections) > MOST_CONNECTIONS:
            waiting = [each for each in self.connections if isinstance(each, Connection) and each.waits]
            oldest = min(waiting, key=lambda each: each._heard)  # perhaps this one
            if oldest is self:
                self.app = _busy
            else:
                self.connections.remove(oldest)
                oldest.transport.abort()

    def data_received(self, data: bytes) -> None:
        """Take what the client has sent."""
        self._heard = self.loop.time()
        super().data_received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing any more."""
        self._timer.cancel()
        super().connection_lost(exc)

    @property
    def waits(self) -> bool:
        """Whether it waits for its client: there is no request that has arrived and is not answered."""
        return self.cycle is None or self.cycle.response_complete or self.cycle.more_body

    def on_response_complete(self) -> None:
        """Begin to wait for the next request."""
        super().on_response_complete()
        self._timer.cancel()
        self._timer = self.loop.call_later(PATIENCE, self._give_up)

    def send_400_response(self, msg: str) -> None:
        """Answer what is no request of HTTP, as other errors are answered."""
        headers = {"content-type": "application/json", "connection": "close", **HEADERS}
        events = [
            h11.Response(status_code=400, headers=list(headers.items()), reason=b"Bad Request"),
            h11.Data(data=json.dumps({"error": "expected a request of HTTP, found something else"}).encode()),
            h11.EndOfMessage(),
        ]
        for event in events:
            self.transport.write(self.conn.send(event) or b"")
        self.transport.close()

    def _give_up(self) -> None:
        if self.cycle is None or self.cycle.response_complete:
            self.transport.abort()


class Server(uvicorn.Server):
    """A server that still answers for some seconds after SIGTERM, while load balancers learn that it ends.

    These answers close their connection, because a request on a connection that the end closes would be lost.
    """

    def __init__(self, app: ASGIApp, *, drain: float, ending: Callable[[], object]) -> None:
        """Configure the server.

        Args:
            app: The application.
            drain: For how many seconds it still answers after SIGTERM.
            ending: Called when SIGTERM arrives.
        """
        config = uvicorn.Config(
            self._closing(app),
            http=Connection,
            ws="none",
            log_config=None,
            log_level="error",
            access_log=False,
            server_header=False,
            backlog=BACKLOG,
            timeout_keep_alive=round(PATIENCE),
            timeout_graceful_shutdown=LAST_ANSWERS,
        )
        super().__init__(config)
        self._drain, self._ending, self._end = drain, ending, float("inf")

    def _closing(self, app: ASGIApp) -> ASGIApp:
        """Return the application with answers that close their connection after SIGTERM."""

        async def closing(scope: Scope, receive: Receive, send: Send) -> None:
            async def send_last(message: Message) -> None:
                if message["type"] == "http.response.start" and self._end != float("inf"):
                    message = {**message, "headers": [*message["headers"], (b"connection", b"close")]}
                await send(message)

            await app(scope, receive, send_last)

        return closing

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """End later after SIGTERM, and at once after SIGINT or a second SIGTERM."""
        if sig == signal.SIGTERM and self._end == float("inf"):
            self._end = time.monotonic() + self._drain
            self._ending()
        else:
            super().handle_exit(sig, frame)

    async def on_tick(self, counter: int) -> bool:
        """Return whether to end."""
        return await super().on_tick(counter) or time.monotonic() >= self._end


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens.

    Raises:
        OSError: If that cannot be, such as for a port that is in use.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=BACKLOG)


def address_of(listener: socket.socket) -> str:
    """Return the address of a server as in a browser."""
    host, port, *_ = listener.getsockname()
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def is_loopback(listener: socket.socket) -> bool:
    """Return whether a socket listens at this machine alone."""
    return ipaddress.ip_address(listener.getsockname()[0].partition("%")[0]).is_loopback


def serve(app: ASGIApp, listener: socket.socket, **options: Any) -> None:
    """Run an application until SIGTERM or SIGINT, and then finish what is in progress. The options are `Server`'s."""
    Server(app, **options).run(sockets=[listener])
