"""What a server does with clients that are slow, gone, too many or malicious, and when it is asked to end."""

import http.client
import signal
import socket
import threading
import time

import httpx
import pytest
from helpers.browser import wait_for
from helpers.costly_sounds import children, costly, needs_proc

from audiotagging.serving import server, uploads
from audiotagging.serving.scoring import _Batch


def answer_of(connection):
    """Return the status and the content of the answer on a connection."""
    answer = http.client.HTTPResponse(connection)
    answer.begin()
    return answer.status, answer.read().decode()


def nothing_is_left(served):
    wait_for(lambda: served.service.queue.taken == served.service.memory.taken == 0)


@pytest.fixture
def held(monkeypatch):
    """An event until which nothing is scored."""
    event, advance = threading.Event(), _Batch.advance
    monkeypatch.setattr(_Batch, "advance", lambda self, report: event.wait(60) and advance(self, report))
    yield event
    event.set()


@pytest.mark.parametrize("stated", [True, False])
def test_more_than_the_largest_upload_is_refused_and_the_next_request_is_answered(run, sounds, serve, stated):
    served = serve(run, upload=300_000)
    content = bytes(3_000_000)
    body = content if stated else (content[place : place + 1000] for place in range(0, len(content), 1000))
    for _ in range(2):
        answer = served.client.post("/tag", content=body)
        assert answer.status_code == 413 and answer.json() == {
            "error": "expected at most 0.3 MB, found more; send less at once"
        }
        body = content
    assert served.client.post("/tag", content=(sounds / "plain.wav").read_bytes()).status_code == 200
    nothing_is_left(served)


def test_forms_of_anything_but_files_are_refused(served):
    assert served.client.post("/tag", files=[("f", ("a", b"1"))] * 33).status_code == 400
    assert served.client.post("/tag", files={"f": ("a", b"1")}, data={"top": "3"}).status_code == 400
    headers = {"content-type": "multipart/form-data; boundary=b"}
    for content, status in ((b"no form", 400), (b"--b--\r\n", 422), (b"", 422)):
        assert served.client.post("/tag", content=content, headers=headers).status_code == status
    headers = {"content-type": "multipart/form-data"}
    assert "boundary" in served.client.post("/tag", content=b"a", headers=headers).json()["error"]


def test_a_client_that_is_gone_leaves_nothing_behind(served, sounds):
    content = (sounds / "plain.wav").read_bytes()
    for cut in (0, 1, 1000, len(content) - 1):
        served.send(content[:cut], length=len(content)).close()
    name = 'audiotagging_requests_total{path="/tag",status="499"}'
    wait_for(lambda: name in served.client.get("/metrics").text and served.metric(name) >= 4)
    nothing_is_left(served)


@needs_proc
def test_the_work_for_a_client_that_is_gone_ends(run, serve, monkeypatch):
    served = serve(run, seconds=1e5)
    decoders = served.service._decoders
    for _ in range(2):
        connection = served.send(costly(20_000))
        wait_for(lambda: children(decoders))
        connection.close()
        wait_for(lambda: not children(decoders))
    nothing_is_left(served)
    assert served.client.post("/tag", content=costly(1)).status_code == 200


def test_a_client_that_sends_too_slowly_is_refused(served, monkeypatch):
    monkeypatch.setattr(uploads, "PATIENCE", 0.3)
    connection = served.send(b"RIFF", length=100_000)
    for _ in range(3):
        time.sleep(0.05)
        connection.sendall(b"x")
    status, text = answer_of(connection)
    assert status == 408 and "expected 16000 bytes per second or more" in text
    nothing_is_left(served)


def test_a_client_that_never_asks_or_never_sends_the_rest_is_disconnected(served, monkeypatch):
    monkeypatch.setattr(server, "PATIENCE", 0.3)
    silent = socket.create_connection(("127.0.0.1", served.port), timeout=60)
    half = socket.create_connection(("127.0.0.1", served.port), timeout=60)
    half.sendall(b"POST /tag HTTP/1.1\r\nHost:")
    refused = served.send(length=10**12)  # too large; the rest of it never comes
    assert answer_of(refused)[0] == 413
    for connection in (silent, half, refused):
        assert connection.recv(1) == b""


def test_what_does_not_fit_in_the_queue_is_sent_away(run, sounds, serve, held):
    served = serve(run, queue=3)
    content = (sounds / "short.flac").read_bytes()
    waiting = [served.send(content) for _ in range(3)]
    wait_for(lambda: served.service.queue.taken == 3)
    answer = served.client.post("/tag", content=content)
    assert answer.status_code == 503 and answer.headers["retry-after"] == "5" and "error" in answer.json()
    assert served.client.get("/readyz").status_code == 200
    held.set()
    assert [answer_of(connection)[0] for connection in waiting] == [200] * 3
    nothing_is_left(served)
    assert served.client.post("/tag", content=content).status_code == 200


def test_uploads_that_do_not_fit_in_memory_are_sent_away(run, serve):
    served = serve(run, upload=200_000)
    parts = [served.send(bytes(190_000), length=200_000) for _ in range(4)]
    wait_for(lambda: served.service.memory.taken == 4 * 190_000)
    assert served.client.post("/tag", content=bytes(100_000)).status_code == 503
    for connection in parts:
        connection.sendall(bytes(10_000))
        assert answer_of(connection)[0] == 422
    nothing_is_left(served)


def test_more_connections_than_files_can_be_open_are_sent_away_if_all_are_at_work(
    run, serve, sounds, monkeypatch, held
):
    served = serve(run)
    content = (sounds / "short.flac").read_bytes()
    at_work = [served.send(content) for _ in range(2)]
    wait_for(lambda: served.service.queue.taken == 2)
    monkeypatch.setattr(server, "MOST_CONNECTIONS", 2)
    refused = served.send(b"x")
    status, text = answer_of(refused)
    assert status == 503 and "too many connections" in text
    held.set()
    assert [answer_of(connection)[0] for connection in at_work] == [200, 200]


def test_garbage_in_place_of_http_is_refused(served):
    connection = socket.create_connection(("127.0.0.1", served.port), timeout=60)
    connection.sendall(b"\x16\x03\x01\x02\x00\x01garbage\r\n\r\n")
    assert answer_of(connection)[0] == 400


def test_a_defect_is_answered_and_the_next_request_too(served, sounds, monkeypatch):
    content = (sounds / "short.flac").read_bytes()
    networks = served.service.models.current.tagger.networks

    def fail(_):
        raise RuntimeError("out of memory")

    with monkeypatch.context() as patch:
        patch.setattr(networks, "steps", fail)
        answer = served.client.post("/tag", content=content)
        assert answer.status_code == 500 and answer.json() == {"error": "the server failed; its log says why"}
    assert served.client.post("/tag", content=content).status_code == 200
    assert served.client.get("/healthz").json() == {"alive": True}


@pytest.mark.parametrize("part", ["scorer", "decoders"])
def test_a_server_that_cannot_score_or_decode_says_so(run, serve, part):
    served = serve(run)
    if part == "scorer":
        served.service._scorer.close()
    else:
        served.service._decoders.alive = False
    assert served.client.get("/healthz").status_code == served.client.get("/readyz").status_code == 503


def test_what_is_in_progress_is_finished_at_the_end(run, sounds, serve, held):
    served = serve(run, drain=60)
    content = (sounds / "short.flac").read_bytes()
    waiting = [served.send(content) for _ in range(2)]
    wait_for(lambda: served.service.queue.taken == 2)
    assert "connection" not in served.client.get("/readyz").headers
    served.server.handle_exit(signal.SIGTERM, None)
    answer = served.client.get("/readyz")  # still answered, so that load balancers notice
    assert answer.status_code == 503 and answer.json()["ready"] is False
    assert answer.headers["connection"] == "close"  # so that the client connects to another server next time
    assert served.client.get("/healthz").status_code == 200
    served.server._end = 0.0  # the time is over
    wait_for(lambda: served.server.should_exit or not served.server.servers[0].is_serving())
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{served.url}/readyz")
    held.set()
    assert [answer_of(connection)[0] for connection in waiting] == [200, 200]


def test_a_second_signal_ends_it_at_once(served):
    ending = server.Server(None, drain=60, ending=lambda: None)
    ending.handle_exit(signal.SIGTERM, None)
    assert not ending.should_exit
    ending.handle_exit(signal.SIGTERM, None)
    assert ending.should_exit
