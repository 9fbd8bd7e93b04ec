"""The processes that decode: what they do with sounds that crash them, or that take too long or too much memory."""

import asyncio
import io
import os
import signal
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from helpers.browser import wait_for
from helpers.costly_sounds import children, costly, needs_proc
from helpers.tiny_ensemble import RATE, chirp

from audiotagging.base.errors import UserError
from audiotagging.serving import decoding
from audiotagging.serving.decoder import Decoded, Task, TooCostlyError, decode
from audiotagging.serving.decoding import Decoders
from audiotagging.serving.limits import RefusedError, Room
from audiotagging.serving.turns import Account

TASK = Task(seconds=1e9, samples=1e9, windows=1000, every=None, overlap=0, processor=60, memory=500_000_000)


def wav(seconds):
    content = io.BytesIO()
    soundfile.write(content, chirp(seconds), RATE, format="WAV")
    return content.getvalue()


@pytest.fixture(scope="module")
def started():
    """Processes that all tests use, and how many of them were lost for which reason."""
    lost = Counter()
    decoders = Decoders(lost=lambda reason: lost.update([reason]))
    yield decoders, lost
    decoders.close()


@pytest.fixture
def decoders(started):
    started[1].clear()
    return started[0]


@pytest.fixture
def lost(started):
    return started[1]


def ask(decoders, content, task=TASK, *, account=None, room=10**9):
    """Return a coroutine that decodes."""

    async def run():
        with Room(room).share() as memory:
            return await decoders.decode(io.BytesIO(content), task, account=account or Account(), memory=memory)

    return run()


async def until(condition):
    async with asyncio.timeout(60):
        while not (found := condition()):
            await asyncio.sleep(0.01)
    return found


@pytest.mark.parametrize("every", [None, 0.7])
def test_another_process_finds_what_this_one_finds(decoders, every, lost):
    content, same = wav(3), replace(TASK, every=every, overlap=0.2 if every else 0)
    found, expected = asyncio.run(ask(decoders, content, same)), decode(content, same)
    assert isinstance(found, Decoded) and found[:3] == expected[:3]
    for one, other in zip(found.spectrograms, expected.spectrograms, strict=True):
        np.testing.assert_array_equal(one, other)
    assert not lost


@needs_proc
@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGABRT, signal.SIGKILL])
def test_a_crash_ends_only_the_sound_that_caused_it(decoders, number, lost):
    async def scenario():
        crashing = asyncio.create_task(ask(decoders, costly(2000)))
        (child,) = await until(lambda: children(decoders))
        await asyncio.sleep(0.5)  # it has begun
        os.kill(child, number)
        with pytest.raises(UserError, match="the decoder crashed"):
            await crashing
        return await ask(decoders, wav(1))

    assert asyncio.run(scenario()).seconds == 1
    assert decoders.alive and lost == {"crash": 1}


@needs_proc
@pytest.mark.parametrize(
    ("limit", "reason"), [({"memory": 20_000_000}, "20 MB of memory"), ({"processor": 1}, "1 s of processor")]
)
def test_a_sound_that_takes_too_much_is_refused(decoders, limit, reason, lost, monkeypatch):
    monkeypatch.setattr(decoding, "PATIENCE", 100)
    with pytest.raises(TooCostlyError, match=f"takes more than {reason}"):
        asyncio.run(ask(decoders, costly(4000), replace(TASK, **limit)))
    assert lost == {"cost": 1}
    wait_for(lambda: not children(decoders))
    assert asyncio.run(ask(decoders, wav(1))).seconds == 1


@needs_proc
def test_a_process_that_hangs_is_given_up(decoders, monkeypatch, lost):
    monkeypatch.setattr(decoding, "PATIENCE", 0.03)

    async def scenario():
        hanging = asyncio.create_task(ask(decoders, costly(2000)))
        (child,) = await until(lambda: children(decoders))
        os.kill(child, signal.SIGSTOP)
        with pytest.raises(TooCostlyError, match="s to decode"):
            await hanging
        os.kill(child, signal.SIGCONT)

    asyncio.run(scenario())
    wait_for(lambda: not children(decoders))
    assert lost == {"cost": 1}


@needs_proc
def test_decoding_ends_when_nobody_waits_for_it(decoders):
    async def scenario():
        work = asyncio.create_task(ask(decoders, costly(20_000)))
        await until(lambda: children(decoders))
        work.cancel()
        await asyncio.wait([work])
        await until(lambda: not children(decoders))

    asyncio.run(scenario())


@needs_proc
def test_all_processes_end_with_the_first_one_at_the_end():
    decoders = Decoders(lost=lambda _: None)
    first = decoders._process.pid

    async def scenario():
        work = asyncio.create_task(ask(decoders, costly(20_000)))
        (child,) = await until(lambda: children(decoders))
        return work, child

    _, child = asyncio.run(scenario())  # whose end cancels the work
    decoders.close()
    wait_for(lambda: not any(Path(f"/proc/{process}").exists() for process in (first, child)))


def test_what_does_not_fit_in_memory_is_sent_away(decoders):
    with pytest.raises(RefusedError) as refusal:
        asyncio.run(ask(decoders, wav(3), room=1000))
    assert refusal.value.status == 503


def test_short_sounds_are_decoded_while_long_ones_wait(decoders, lost):
    async def scenario():
        form = Account()
        long = [asyncio.create_task(ask(decoders, costly(20_000), account=form)) for _ in range(8)]
        await asyncio.sleep(0.1)
        for _ in range(3):
            assert (await ask(decoders, wav(1))).seconds == 1
        assert not any(work.done() for work in long)
        for work in long:
            work.cancel()
        await asyncio.wait(long)

    asyncio.run(scenario())
    assert lost["turn"] >= 1


@needs_proc
def test_the_first_process_is_replaced_and_meanwhile_the_server_says_so(decoders, lost, monkeypatch):
    monkeypatch.setattr(decoding, "REPLACING", 0.5)
    os.kill(decoders._process.pid, signal.SIGKILL)
    wait_for(lambda: not decoders.alive)
    with pytest.raises(RefusedError, match="being replaced") as refusal:
        asyncio.run(ask(decoders, wav(1)))
    assert refusal.value.status == 503
    wait_for(lambda: decoders.alive)
    assert asyncio.run(ask(decoders, wav(1))).seconds == 1
    assert lost == {"start": 1}
