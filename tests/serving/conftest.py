"""A server of the tiny ensemble, which runs in a thread of its own and is asked over real connections."""

import socket
import threading
import time
import warnings
from contextlib import ExitStack, contextmanager

import httpx
import pytest
from helpers.tagging_fixtures import calibrated, run, sounds, tagger  # noqa: F401

from audiotagging.serving.app import make_app
from audiotagging.serving.limits import Limits
from audiotagging.serving.server import Server, address_of, listen
from audiotagging.serving.service import Service


class Running:
    """A server that runs, and how to reach it."""

    def __init__(self, service, server, url):
        self.service, self.server, self.url = service, server, url
        self.port = int(url.rpartition(":")[2])
        self.client = httpx.Client(base_url=url, timeout=60)

    def send(self, content=b"", *, headers=(), length=None):
        """Return a connection that has sent the beginning of a request."""
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=60)
        lines = ["POST /tag HTTP/1.1", "Host: localhost", f"Content-Length: {length or len(content)}", *headers, "", ""]
        connection.sendall("\r\n".join(lines).encode() + content)
        return connection

    def metric(self, name):
        """Return the value of a metric."""
        (line,) = [line for line in self.client.get("/metrics").text.splitlines() if line.startswith(f"{name} ")]
        return float(line.split()[1])


@contextmanager
def running(models, *, drain=0.0, **limits):
    # Once, a server ended before it had started. The warning is for whoever sees it again, and finds the reason.
    for _ in range(3):
        service = Service(models, Limits(**limits))
        server = Server(make_app(service), drain=drain, ending=lambda service=service: setattr(service, "ending", True))
        with listen("127.0.0.1", 0) as listener:
            thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
            thread.start()
            found = Running(service, server, address_of(listener))
            while not server.started and thread.is_alive():
                time.sleep(0.01)
            if server.started:
                with found.client:
                    yield found
                server.should_exit = True
                thread.join()
                return
        service.close()
        warnings.warn(f"a server ended before it started: {vars(server)}", stacklevel=1)
    raise AssertionError("the server ended before it started, three times")


@pytest.fixture(scope="module")
def served(run):  # noqa: F811
    with running(run) as found:
        yield found


@pytest.fixture
def serve():
    """A function that starts a server of its own."""
    with ExitStack() as stack:
        yield lambda models, **options: stack.enter_context(running(models, **options))
