"""What is true of every request and every answer: names of the server, framing, headers, and connections that wait."""

import http.client
import socket

import httpx
import pytest
from helpers.browser import wait_for

from audiotagging.serving import server
from audiotagging.serving.edge import HEADERS, is_allowed
from audiotagging.serving.server import is_loopback, listen

NAMES = ("localhost", "127.0.0.1", "[::1]")
OTHERS = ("evil.example", "127.0.0.1.evil.example", "localhost.evil.example", "localhost@evil.example", "10.0.0.7", "")


def ask(served, text):
    """Send bytes as they are, and return the answer: its status, headers and content."""
    with socket.create_connection(("127.0.0.1", served.port), timeout=30) as connection:
        connection.sendall(text)
        answer = http.client.HTTPResponse(connection)
        answer.begin()
        return answer.status, answer.headers, answer.read()


@pytest.mark.parametrize("port", ["", ":80", ":8080"])
@pytest.mark.parametrize("name", [*NAMES, "LocalHost", "localhost."])
def test_a_server_of_this_machine_answers_to_its_names(served, name, port):
    assert served.client.get("/healthz", headers={"Host": name + port}).status_code == 200


@pytest.mark.parametrize("path", ["/", "/docs", "/readyz", "/healthz", "/metrics", "/openapi.json", "/tag", "/any"])
@pytest.mark.parametrize("name", OTHERS)
def test_requests_for_another_name_are_refused_whatever_they_ask_for(served, name, path):
    answer = served.client.request("POST" if path == "/tag" else "GET", path, headers={"Host": name})
    assert answer.status_code == 421 and "--allowed-hosts" in answer.json()["error"]


def test_a_server_of_the_network_answers_to_any_address_and_to_the_names_that_are_given():
    for name in (*NAMES, "10.0.0.7:8080", "[2001:db8::1]:80"):
        assert is_allowed(name, hosts=[], loopback=False)
    for name in ("evil.example", "10.0.0.7.evil.example", "1"):
        assert not is_allowed(name, hosts=["sounds.example"], loopback=False)
        assert is_allowed(name, hosts=["*"], loopback=False)
    assert is_allowed("Sounds.Example:443", hosts=["sounds.example"], loopback=True)


@pytest.mark.parametrize(("host", "expected"), [("127.0.0.1", True), ("localhost", True), ("0.0.0.0", False)])
def test_who_can_reach_a_server_is_seen_from_where_it_listens(host, expected):
    with listen(host, 0) as listener:
        assert is_loopback(listener) is expected


AMBIGUOUS = {
    "both": "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n",
    "the other order": "Transfer-Encoding: chunked\r\nContent-Length: 0\r\n",
    "two lengths": "Content-Length: 4\r\nContent-Length: 5\r\n",
    "a list of lengths": "Content-Length: 4, 5\r\n",
    "a signed length": "Content-Length: +4\r\n",
    "a space before the colon": "Content-Length : 4\r\n",
    "two encodings": "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
    "an unknown encoding": "Transfer-Encoding: xchunked\r\n",
    "two hosts": "Host: localhost\r\nContent-Length: 0\r\n",
}


@pytest.mark.parametrize("headers", AMBIGUOUS.values(), ids=AMBIGUOUS)
def test_a_request_whose_end_is_ambiguous_is_refused_and_its_connection_closed(served, headers):
    hidden = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
    text = f"POST /tag HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n0\r\n\r\n{hidden}"
    status, found, content = ask(served, text.encode())
    assert status in (400, 501) and content.startswith(b'{"error":')
    assert found["connection"] == "close"


def test_every_answer_restricts_what_a_browser_does_with_it(served):
    answers = [served.client.get(path) for path in ("/", "/docs", "/healthz", "/metrics", "/any")]
    answers += [served.client.post("/tag", content=b"no sound"), served.client.get("/", headers={"Host": "a.example"})]
    answers += [served.client.put("/tag")]
    _, garbage, _ = ask(served, b"garbage\r\n\r\n")
    for headers in (*(answer.headers for answer in answers), garbage):
        for name in HEADERS:
            assert headers[name] == HEADERS[name] or (name, headers["content-type"]) == (
                "Content-Security-Policy",
                "text/html; charset=utf-8",
            )
        assert "frame-ancestors 'none'" in headers["Content-Security-Policy"] and "server" not in headers


def test_connections_that_wait_for_their_clients_shut_out_nobody(served, sounds, monkeypatch):
    connections = served.server.server_state.connections
    content = (sounds / "short.flac").read_bytes()
    monkeypatch.setattr(server, "MOST_CONNECTIONS", 8)
    beginnings = [b"", b"GET /heal", b"POST /tag HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\nRIFF"]
    waiting = []
    for number in range(24):
        waiting.append(socket.create_connection(("127.0.0.1", served.port), timeout=30))
        waiting[-1].sendall(beginnings[number % 3])
    for _ in range(3):
        answer = httpx.post(f"{served.url}/tag", content=content)
        assert answer.status_code == 200
    wait_for(lambda: len(connections) <= server.MOST_CONNECTIONS)
    assert waiting[0].recv(1) == b""  # the one that has been silent for longest was closed
    for connection in waiting:
        connection.close()
