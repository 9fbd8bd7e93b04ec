"""Whose spectrograms are scored next. The networks note what they score, and wait until the test lets them."""

import threading

import numpy as np
import pytest

from audiotagging.serving.scoring import ALIKE, MOST_FRAMES, Scorer
from audiotagging.serving.turns import Account

MEMBERS = 3


class Networks:
    """Networks whose scores are the lengths of the spectrograms, and which take a step when the test says so."""

    def __init__(self):
        self.log, self.go_on, self.waits = [], threading.Semaphore(0), threading.Semaphore(0)

    def steps(self, spectrograms):
        lengths = [len(each) for each in spectrograms]
        for _ in range(MEMBERS):
            self.log.append(lengths)
            self.waits.release()
            assert self.go_on.acquire(timeout=30)
            yield
        return np.tile(np.float32(lengths)[None, :, None], (MEMBERS, 1, 1))


class Tagger:
    def __init__(self):
        self.networks = Networks()


@pytest.fixture
def tagger():
    return Tagger()


@pytest.fixture
def scorer():
    scorer = Scorer(report=lambda count: None)
    yield scorer
    scorer.close()


def black(*lengths):
    return [np.zeros((length, 128), np.uint8) for length in lengths]


def finish(tagger, *futures):
    """Let the networks go on to the end, and return the lengths that the futures found."""
    tagger.networks.go_on.release(1000)
    return [future.result(30)[0, :, 0].tolist() for future in futures]


def test_what_is_about_as_long_is_scored_at_once(scorer, tagger, monkeypatch):
    monkeypatch.setattr("audiotagging.serving.scoring.WAIT", 0.5)
    futures = [scorer.score(tagger, black(*lengths), Account()) for lengths in ([100], [200, 50], [100 * ALIKE + 1])]
    assert finish(tagger, *futures) == [[100], [200, 50], [100 * ALIKE + 1]]
    assert tagger.networks.log == [[100, 200, 50]] * MEMBERS + [[100 * ALIKE + 1]] * MEMBERS


def test_no_more_is_scored_at_once_than_that_others_can_wait(scorer, tagger, monkeypatch):
    monkeypatch.setattr("audiotagging.serving.scoring.WAIT", 0.5)
    futures = [scorer.score(tagger, black(MOST_FRAMES // 2), Account()) for _ in range(3)]
    finish(tagger, *futures)
    assert [len(lengths) for lengths in tagger.networks.log] == [2] * MEMBERS + [1] * MEMBERS


def test_a_long_batch_is_put_off_when_something_much_shorter_comes(scorer, tagger):
    long = scorer.score(tagger, black(2000), Account())
    assert tagger.networks.waits.acquire(timeout=30)  # the first member scores it
    short = scorer.score(tagger, black(100), Account())
    assert finish(tagger, short, long) == [[100], [2000]]
    assert tagger.networks.log == [[2000]] + [[100]] * MEMBERS + [[2000]] * (MEMBERS - 1)


def test_the_request_that_had_least_is_next(scorer, tagger):
    much, little = Account(frames=10_000), Account(frames=10)
    first = scorer.score(tagger, black(1), Account())
    assert tagger.networks.waits.acquire(timeout=30)
    futures = [scorer.score(tagger, black(3000 + number), account) for number, account in enumerate((much, little))]
    finish(tagger, first, *futures)
    assert tagger.networks.log[MEMBERS:] == [[3001]] * MEMBERS + [[3000]] * MEMBERS
    assert (much.frames, little.frames) == (13_000, 3011)


def test_a_long_sound_is_scored_after_as_many_short_ones_as_are_equal_to_it(scorer, tagger):
    log, futures = tagger.networks.log, [scorer.score(tagger, black(100), Account())]
    assert tagger.networks.waits.acquire(timeout=30)
    futures.append(scorer.score(tagger, black(1000), Account()))
    for _ in range(50):  # there is always a short one
        futures.append(scorer.score(tagger, black(100), Account()))
        for _ in range(MEMBERS):
            tagger.networks.go_on.release()
            assert tagger.networks.waits.acquire(timeout=30)
    finish(tagger, *futures)
    (first, *_) = [number for number, lengths in enumerate(log) if 1000 in lengths]
    assert 5 * MEMBERS < first < 31 * MEMBERS  # two short ones wait with it, so it has a third of the time


def test_what_nobody_waits_for_is_not_scored_to_its_end(scorer, tagger):
    gone = scorer.score(tagger, black(100), Account())
    assert tagger.networks.waits.acquire(timeout=30)
    also_gone = scorer.score(tagger, black(200), Account())
    assert gone.cancel() and also_gone.cancel()
    last = scorer.score(tagger, black(300), Account())
    assert finish(tagger, last) == [[300]]
    assert tagger.networks.log == [[100]] + [[300]] * MEMBERS
