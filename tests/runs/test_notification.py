"""What is posted, to a real server."""

import itertools
import logging
import shlex
import socket
import threading
import time
from contextlib import ExitStack, contextmanager, nullcontext, suppress

import pytest
from helpers.fabricated import fabricate_event
from helpers.hook_server import receiver
from kfp.dsl import PipelineTaskFinalStatus

from audiotagging.base.errors import without_secrets
from audiotagging.base.typed_json import write_json
from audiotagging.runs import notification
from audiotagging.runs.notification import VARIABLE, describe_failures, describe_run, post
from audiotagging.runs.stage_failure import Reason
from components.notify import notify


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(notification, "PAUSES", (0.01, 0.01))


@pytest.fixture
def serve():
    """A function that starts a server with these statuses."""
    with ExitStack() as stack:
        yield lambda *statuses: stack.enter_context(receiver(*statuses))


NOTICE = describe_run("run-1", fabricate_event("undecided"))


@pytest.mark.parametrize(
    ("candidate", "failed", "outcome", "text"),
    [
        (fabricate_event("better", promoted=True), None, "promoted", "audiotagging, run run-1: It is better."),
        (fabricate_event("undecided"), None, "candidate", "audiotagging, run run-1: It is undecided."),
        (fabricate_event("worse"), None, "not promoted", "audiotagging, run run-1: It is worse."),
        (None, None, "ended", "audiotagging, run run-1: it ended"),
        (None, "no disk", "failed", "audiotagging, run run-1: failed: no disk"),
        (fabricate_event("better", promoted=True), "no disk", "failed", "audiotagging, run run-1: failed: no disk"),
    ],
)
def test_a_notice_says_what_happened_to_which_version(candidate, failed, outcome, text):
    notice = describe_run("run-1", candidate, failed=failed)
    assert (notice["outcome"], notice["text"], notice["run"]) == (outcome, text, "run-1")
    if candidate:
        assert notice["version"] == candidate["version"] and notice["verdict"] == candidate["decision"]["verdict"]
        assert notice["comparison"] == candidate["decision"]["comparison"]
        assert notice["measured"] == candidate["measured"]
    else:
        assert set(notice) == {"outcome", "text", "run"}


@pytest.mark.parametrize(
    ("reasons", "text"),
    [
        ([], "a stage failed. `audiotagging retry run-1 --wait` runs again what failed, and resumes trainings"),
        (
            [("train a, fold 0", "out of memory", False)] * 5,
            "train a, fold 0: out of memory; train a, fold 0: out of memory; train a, fold 0: out of memory; 2 more. "
            "`audiotagging retry run-1 --wait` runs again what failed, and resumes trainings",
        ),
        (
            [("ingest", "error: no data", True)],
            "ingest: error: no data. Fix that, and submit it again. `audiotagging follow run-1` shows more",
        ),
    ],
)
def test_a_failure_is_told_with_its_reasons_and_what_to_do(reasons, text):
    failures = [(stage, Reason(reason, users=users, log=[])) for stage, reason, users in reasons]
    assert describe_failures("run-1", failures) == text


def test_a_run_without_news_says_so():
    notice = describe_run("run-1", None, news=False)
    assert (notice["outcome"], notice["text"].partition(": ")[2]) == (
        "nothing new",
        "nothing new since the last run that ended well",
    )


def test_a_run_that_recovered_says_so():
    notice = describe_run("run-1", fabricate_event("better", promoted=True), recovered=True)
    assert notice["recovered"] and notice["outcome"] == "promoted"
    assert notice["text"] == "audiotagging, run run-1: recovered by a retry: It is better."


@pytest.mark.parametrize("statuses", [(200,), (204,), (500, 200), (429, 503, 200), (None, 200)])
def test_a_notice_is_posted_until_it_arrives(serve, statuses):
    server = serve(*statuses)
    assert post(server.url, NOTICE)
    assert server.posted == [("/hooks/a-secret?token=b-secret", "application/json", NOTICE)] * len(statuses)


@pytest.mark.parametrize(("status", "attempts"), [(500, 3), (None, 3), (404, 1), (400, 1)])
def test_what_does_not_arrive_is_logged_without_the_url(serve, caplog, status, attempts):
    server = serve(status)
    with caplog.at_level(logging.INFO):
        assert not post(server.url, NOTICE)
    assert len(server.posted) == attempts == len(caplog.records)
    assert all("did not take the message" in record.getMessage() for record in caplog.records)
    assert "secret" not in caplog.text and server.url not in caplog.text


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/x", "http://no-such-host.invalid/x"])
def test_nobody_who_listens_is_only_logged(caplog, url):
    assert not post(url, NOTICE)
    assert "did not take the message" in caplog.text and url not in caplog.text


@contextmanager
def answering(*pieces):
    """Provide the URL of a server that answers a connection with these bytes, one piece in a tenth of a second."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer():
            with suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    with connection, suppress(OSError):
                        for piece in pieces:
                            connection.sendall(piece)
                            time.sleep(0.1)

        threading.Thread(target=answer, daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/a-secret"


@pytest.mark.parametrize(
    "pieces",
    [
        itertools.repeat(b"H"),
        itertools.chain([b"HTTP/1.1 200 OK\r\n"], itertools.repeat(b"X: y\r\n")),
        [b"HTTP/1.1 200 OK\r\nX: " + bytes(100_000)],
        [b"\xff\xfe\x00"],
        [b"HTTP/1.1 999999 \xff\r\n\r\n"],
        [b"HTTP/1.1 302 Found\r\nLocation: file:///etc/passwd\r\n\r\n"],
        [b"HTTP/1.1 302 Found\r\nLocation: http://[::1\r\n\r\n"],
        [b"HTTP/1.1 307 Found\r\nLocation: /elsewhere\r\n\r\n"],
        [],
    ],
)
def test_no_answer_fails_or_takes_long(caplog, monkeypatch, pieces):
    monkeypatch.setattr(notification, "TIMEOUT", 0.3)
    monkeypatch.setattr(notification, "PAUSES", ())
    with answering(*itertools.islice(pieces, 30)) as url:
        assert not post(url, NOTICE)
    assert "did not take the message" in caplog.text and "secret" not in caplog.text


@pytest.mark.parametrize(
    "url",
    [
        *(
            "http://127.0.0.1:1/a-secret b-secret",
            "http://127.0.0.1:1/ä-secret?b-secret=\ud800",
            "http://[::1/a-secret",
        ),
        *(
            "http:///a-secret",
            "http://127.0.0.1:x/a-secret",
            f"http://{'x' * 70}.invalid/a-secret",
            "http://ä..ö/a-secret",
        ),
        "http://127.0.0.1:1/it's a-secret",
    ],
)
def test_no_address_fails_or_is_logged(caplog, url):
    assert not post(url, NOTICE)
    assert "did not take the message" in caplog.text and "secret" not in caplog.text
    assert "secret" not in without_secrets(shlex.join(["--notify", url]))


def test_letters_that_http_does_not_send_are_encoded(serve):
    server = serve(200)
    assert post(server.url.replace("hooks", "hooks of ä"), NOTICE)
    assert server.posted[0][0] == "/hooks%20of%20%C3%A4/a-secret?token=b-secret"


@pytest.mark.parametrize("url", ["", "chat.example.org/a-secret", "file:///a-secret"])
def test_without_a_url_nobody_is_told(caplog, url):
    assert not post(url, NOTICE)
    assert "expected a URL that begins with http:// or https:// in AUDIOTAGGING_NOTIFY" in caplog.text
    assert "a-secret" not in caplog.text


@pytest.mark.parametrize(
    ("state", "run", "outcome"),
    [
        *[("COMPLETE", "run-1", "candidate"), ("COMPLETE", "run-2", "ended"), ("FAILED", "run-2", "failed")],
        *[("RUNNING", "run-1", "candidate"), ("RUNNING", "run-2", "ended")],
    ],
)
def test_the_stage_tells_what_its_own_run_did(serve, tmp_path, monkeypatch, state, run, outcome):
    server = serve(200)
    monkeypatch.setenv(VARIABLE, server.url)
    write_json(
        tmp_path / "history.json", {"events": [fabricate_event("undecided"), fabricate_event("worse", run="run-0")]}
    )
    status = PipelineTaskFinalStatus(
        state=state, pipeline_job_resource_name="r", pipeline_task_name="exit-handler-1", error_code=0, error_message=""
    )

    def tell(champions):
        with pytest.raises(SystemExit) if state == "FAILED" else nullcontext():
            notify.python_func(run=run, champions=champions, rows=[], status=status)

    tell(str(tmp_path))
    ((_, _, notice),) = server.posted
    assert (notice["outcome"], notice["run"]) == (outcome, run)
    assert ("calls its stages RUNNING, so look at it" in notice["text"]) == ((state, run) == ("RUNNING", "run-2"))
    tell("")
    (tmp_path / "history.json").write_text("[")
    tell(str(tmp_path))
    assert server.posted.pop()[2]["outcome"] == ("failed" if state == "FAILED" else "ended")
    assert server.posted[1][2]["outcome"] == ("failed" if state == "FAILED" else "ended")
