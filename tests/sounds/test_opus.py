import io
import re
import time

import numpy as np
import pytest
import soundfile
import soxr

from audiotagging.sounds.audio import RATE, trim
from audiotagging.sounds.opus import OPUS_RATE, make_excerpt


def sweep(seconds):
    """A sound of rising pitch, with harmonics, which a codec keeps well."""
    at = np.arange(round(seconds * RATE)) / RATE
    phase = 2 * np.pi * (200 * at + 150 * at**2 / max(seconds, 1))
    return (0.2 * sum(np.sin(harmonic * phase) / harmonic for harmonic in (1, 2, 3))).astype(np.float32)


def decoded(excerpt):
    samples, rate = soundfile.read(io.BytesIO(excerpt.sound), dtype="float32")
    assert rate == OPUS_RATE
    return samples


def pages(ogg):
    """The pages of an Ogg file: each begins with its capture pattern (RFC 3533)."""
    starts = [found.start() for found in re.finditer(b"OggS\0", ogg)]
    return [ogg[start:end] for start, end in zip(starts, [*starts[1:], len(ogg)], strict=True)]


def checksum(page):
    """The checksum of RFC 3533 bit by bit: the polynomial 0x04c11db7, without any inversion or reflection."""
    value = 0
    for byte in page[:22] + bytes(4) + page[26:]:
        value ^= byte << 24
        for _ in range(8):
            value = (value << 1 ^ (0x04C11DB7 if value & 0x80000000 else 0)) & 0xFFFFFFFF
    return value.to_bytes(4, "little")


@pytest.mark.parametrize("seconds", [0.35, 2.0, 5.9])
def test_a_short_clip_is_heard_whole(seconds):
    samples = sweep(seconds)
    excerpt = make_excerpt(samples)
    assert (excerpt.start, excerpt.seconds) == (0, pytest.approx(seconds, abs=1e-4))
    heard, expected = decoded(excerpt), soxr.resample(samples, RATE, OPUS_RATE)
    assert abs(len(heard) - len(expected)) <= 1
    length = min(len(heard), len(expected))
    assert np.corrcoef(heard[:length], expected[:length])[0, 1] > 0.95
    assert np.abs(heard).max() == pytest.approx(0.9, abs=0.1)


@pytest.mark.parametrize("start", [0.0, 3.3, 14.0])
def test_a_long_clip_is_heard_where_it_is_loudest(start):
    samples = 0.001 * np.random.default_rng(1).normal(size=20 * RATE).astype(np.float32)
    samples[round(start * RATE) :][: 6 * RATE] += sweep(6)
    excerpt = make_excerpt(samples)
    assert (excerpt.start, excerpt.seconds) == (pytest.approx(start, abs=0.05), 6)
    expected = soxr.resample(samples[round(start * RATE) :][: 6 * RATE], RATE, OPUS_RATE)
    assert np.corrcoef(decoded(excerpt), expected)[0, 1] > 0.95


@pytest.mark.parametrize("gain", [1e-4, 1e5])
def test_quiet_and_overdriven_clips_are_heard_alike(gain):
    quiet, plain = decoded(make_excerpt(gain * sweep(2))), decoded(make_excerpt(sweep(2)))
    assert np.corrcoef(quiet, plain)[0, 1] > 0.999
    assert np.abs(quiet).max() == pytest.approx(np.abs(plain).max(), rel=0.03)  # the encoder's losses


@pytest.mark.parametrize(
    "samples", [np.zeros(RATE, np.float32), np.ones(1, np.float32), np.zeros(20 * RATE, np.float32)]
)
def test_silence_and_single_samples_are_sounds_too(samples):
    excerpt = make_excerpt(trim(samples))
    assert excerpt.start == 0 and excerpt.seconds <= 6
    assert np.isfinite(decoded(excerpt)).all()


def test_the_bytes_depend_on_the_samples_alone():
    samples = sweep(6)
    first = make_excerpt(samples)
    time.sleep(0.01)  # libsndfile draws a serial number from the clock
    assert make_excerpt(samples) == first
    assert len(first.sound) < 6 * 4_000


def test_the_pages_are_sound():
    found = pages(make_excerpt(sweep(3)).sound)
    assert len(found) > 3 and found[0][28:36] == b"OpusHead"
    for number, page in enumerate(found):
        assert page[14:18] == bytes(4) and page[18:22] == number.to_bytes(4, "little")
        assert page[22:26] == checksum(page)
