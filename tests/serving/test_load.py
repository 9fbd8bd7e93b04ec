"""Honest clients beside hostile ones."""

import io
import statistics
import threading
import time
from concurrent.futures import ThreadPoolExecutor, wait

import httpx
import numpy as np
import pytest
import soundfile
from helpers.costly_sounds import costly
from helpers.tiny_ensemble import RATE, chirp

TIMES, FLOOR = 10, 2.0  # how much later an honest answer may be than alone; seconds, below which nobody minds
ENOUGH = 15  # seconds in which honest clients ask beside hostile ones


@pytest.fixture(scope="module")
def zeros():
    """A FLAC of zeros: 60 seconds of 8 channels at 655 350 Hz in 0.4 MB."""
    content = io.BytesIO()
    options = {"samplerate": 655_350, "channels": 8, "subtype": "PCM_16", "format": "FLAC"}
    with soundfile.SoundFile(content, "w", **options) as file:
        for _ in range(60):
            file.write(np.zeros((655_350, 8), np.int16))
    return content.getvalue()


def ask(served, **request):
    """Return how long an answer takes, and its status."""
    begin = time.monotonic()
    answer = httpx.post(f"{served.url}/tag", timeout=300, **request)
    return time.monotonic() - begin, answer.status_code


@pytest.mark.slow
@pytest.mark.parametrize("load", ["one form", "many requests", "cut short", "long", "clients that leave"])
def test_no_honest_answer_is_much_later_than_alone(run, serve, zeros, load):
    served, content = serve(run), io.BytesIO()
    soundfile.write(content, chirp(3), RATE, format="WAV")
    honest = {"content": content.getvalue()}
    alone = statistics.median(ask(served, **honest)[0] for _ in range(10))
    over, found = threading.Event(), []

    def behave():
        while not over.is_set():
            found.append(ask(served, **honest))
            time.sleep(0.05)

    def leave():
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(f"{served.url}/tag", timeout=0.3, content=zeros)

    hostile = {
        "one form": [lambda: ask(served, files=[("file", ("a", zeros))] * 8)],
        "many requests": [lambda: ask(served, content=zeros)] * 8,
        "cut short": [lambda: ask(served, content=zeros[: len(zeros) // 12])] * 8,
        "long": [lambda: ask(served, content=costly(599))] * 8,
        "clients that leave": [leave] * 16,
    }[load]
    with ThreadPoolExecutor(3) as clients, ThreadPoolExecutor(8) as attackers:
        works = [attackers.submit(attack) for attack in hostile]
        behaving = [clients.submit(behave) for _ in range(3)]
        wait(works, timeout=ENOUGH)
        over.set()
        for each in [*behaving, *works]:
            each.result()
    assert {status for _, status in found} == {200}
    assert max(seconds for seconds, _ in found) <= max(TIMES * alone, FLOOR)
