"""Honest clients beside hostile ones: who is answered first, whatever time that takes."""

import io
from concurrent.futures import ThreadPoolExecutor

import httpx
import numpy as np
import pytest
import soundfile
from helpers.browser import wait_for
from helpers.costly_sounds import costly
from helpers.tiny_ensemble import RATE, chirp

HOSTILE = 8  # sounds that take seconds each
HONEST, CLIENTS = 9, 3  # sounds that take a tenth of a second each; clients that send them


@pytest.fixture(scope="module")
def zeros():
    """A FLAC of zeros: 60 seconds of 8 channels at 655 350 Hz in 0.4 MB."""
    content = io.BytesIO()
    options = {"samplerate": 655_350, "channels": 8, "subtype": "PCM_16", "format": "FLAC"}
    with soundfile.SoundFile(content, "w", **options) as file:
        for _ in range(60):
            file.write(np.zeros((655_350, 8), np.int16))
    return content.getvalue()


@pytest.fixture(scope="module")
def honest():
    """A WAV of three seconds."""
    content = io.BytesIO()
    soundfile.write(content, chirp(3), RATE, format="WAV")
    return content.getvalue()


def form(content):
    """Return a form with all hostile sounds, and its header."""
    built = httpx.Request("POST", "http://localhost", files=[("file", ("a", content))] * HOSTILE)
    return built.read(), [f"Content-Type: {built.headers['content-type']}"]


def ask(served, content):
    """Return the statuses of the answers to the honest clients."""
    with ThreadPoolExecutor(CLIENTS) as clients:
        works = [clients.submit(served.client.post, "/tag", content=content, timeout=600) for _ in range(HONEST)]
    return [work.result().status_code for work in works]


@pytest.mark.slow
@pytest.mark.parametrize("load", ["one form", "many requests", "cut short", "long"])
def test_those_that_had_least_are_answered_first(run, serve, zeros, honest, load):
    served = serve(run)
    if load == "one form":
        content, headers = form(zeros)
        hostile = [served.send(content, headers=headers)]
    else:
        content = {"many requests": zeros, "cut short": zeros[: len(zeros) // 12], "long": costly(599)}[load]
        hostile = [served.send(content) for _ in range(HOSTILE)]
    wait_for(lambda: served.service.queue.taken == HOSTILE)
    assert ask(served, honest) == [200] * HONEST
    left = served.service.queue.taken
    for connection in hostile:
        connection.close()
    assert left > HOSTILE // 2  # in the order of their arrival, the first honest one would wait for nearly all of them


@pytest.mark.slow
def test_nothing_is_done_for_those_that_leave(run, serve, honest):
    served = serve(run)
    hostile = [served.send(costly(599)) for _ in range(2 * HOSTILE)]
    wait_for(lambda: served.service.queue.taken == 2 * HOSTILE)
    for connection in hostile:
        connection.close()
    assert ask(served, honest) == [200] * HONEST
    wait_for(lambda: served.service.queue.taken == 0)
    assert served.metric("audiotagging_sound_seconds_count") == HONEST
