import contextlib
import math
import os
import socket
import struct
from functools import partial
from pathlib import Path

import librosa
import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from audiotagging.sounds import recordings
from audiotagging.sounds.acoustics import measure
from audiotagging.sounds.audio import CLIP, RATE, SoundError, decode, decode_blocks, duration, trim
from audiotagging.sounds.spectrogram import trimmed_spectrogram


@st.composite
def loud_and_quiet(draw):
    """Samples in stretches of very different levels, many of them exactly at trim's threshold or floor."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    stretches = []
    for _ in range(draw(st.integers(1, 6))):
        n = draw(st.sampled_from([1, 511, 512, 513, 2048, 5000, 20_000]) | st.integers(1, 30_000))
        level = draw(st.sampled_from([0, 1e-5, 1e-4, 1e-3, 0.01, 0.1, 1]) | st.floats(-6, 0).map(lambda x: 10**x))
        signal = draw(st.sampled_from([np.ones, rng.standard_normal]))(n)
        stretches.append(level * signal)
    return np.concatenate(stretches).astype(np.float32)


@settings(max_examples=100, deadline=None)
@given(loud_and_quiet())
def test_trim_equals_librosas(samples):
    _, (start, end) = librosa.effects.trim(samples, top_db=60)
    trimmed = trim(samples)
    offset = (trimmed.ctypes.data - samples.ctypes.data) // samples.itemsize
    assert (offset, offset + len(trimmed)) == (start, end)


def test_trim_of_nothing():
    assert len(trim(np.empty(0, np.float32))) == 0


def tone(n, rate=RATE, channels=1):
    """A swept tone that differs between channels, shape (n, channels)."""
    t = np.arange(n)[:, None] / rate
    return 0.5 * np.sin(2 * np.pi * (300 + 200 * np.arange(1, channels + 1)) * t * (1 + t))


FORMATS = [
    ("wav", "PCM_16"),
    ("wav", "PCM_U8"),
    ("wav", "PCM_24"),
    ("wav", "FLOAT"),
    ("flac", "PCM_16"),
    ("ogg", "VORBIS"),
    ("mp3", "MPEG_LAYER_III"),
]


@pytest.mark.parametrize(("suffix", "subtype"), FORMATS)
@pytest.mark.parametrize("rate", [8_000, 44_100, 48_000])
@pytest.mark.parametrize("channels", [1, 2])
def test_decode_equals_librosas_load(tmp_path, suffix, subtype, rate, channels):
    path = tmp_path / f"tone.{suffix}"
    soundfile.write(path, tone(30_000, rate, channels), rate, subtype=subtype)
    expected, _ = librosa.load(path, sr=RATE, mono=True)
    sound = decode(path)
    assert sound.samples.dtype == np.float32 and sound.samples.shape == expected.shape
    np.testing.assert_allclose(sound.samples, expected, atol=1e-6)
    assert ("mixed to mono" in sound.repairs) == (channels > 1)
    assert ("resampled" in sound.repairs) == (rate != RATE)
    assert "cut short" not in sound.repairs


@settings(max_examples=30, deadline=None)
@given(
    n=st.integers(1, 5 * RATE),
    rate=st.sampled_from([8_000, 22_050, 44_100, 48_000, 96_000]),
    channels=st.integers(1, 6),
    seconds=st.floats(0.05, 3),
)
def test_blocks_together_are_the_whole(tmp_path_factory, n, rate, channels, seconds):
    path = tmp_path_factory.mktemp("blocks") / "tone.wav"
    soundfile.write(path, tone(n, rate, channels), rate)
    whole = decode(path).samples
    blocks = list(decode_blocks(path, seconds=seconds))
    joined = np.concatenate(blocks)
    assert abs(len(joined) - n * RATE / rate) <= 1 and abs(len(whole) - n * RATE / rate) <= 1
    shorter = min(len(joined), len(whole))
    np.testing.assert_allclose(joined[:shorter], whole[:shorter], atol=1e-4)
    assert max(map(len, blocks)) <= 1.5 * seconds * RATE + 5000


def write_text(path):
    path.write_text("fname,labels\n")


def write_nothing(path):
    path.touch()


def write_no_samples(path):
    soundfile.write(path, np.empty(0), RATE)


def write_nan(path):
    soundfile.write(path, np.where(np.arange(1000) == 500, np.nan, 0.1), RATE, subtype="FLOAT")


def write_infinity(path):
    soundfile.write(path, np.where(np.arange(1000) == 500, np.inf, 0.1), RATE, subtype="DOUBLE")


def write_absurd(path):
    soundfile.write(path, np.where(np.arange(1000) == 500, -1e20, 0.1), RATE, subtype="FLOAT")


def write_header_only(path):
    soundfile.write(path, tone(1000), RATE)
    path.write_bytes(path.read_bytes()[:44])


def write_folder(path):
    path.mkdir()


def write_slow(path):
    """An hour at 1 kHz is 635 MB at 44 100 Hz."""
    soundfile.write(path, np.zeros(3_600_000, np.int16), 1000)


def write_rate(path, rate):
    """A header that claims another rate."""
    soundfile.write(path, tone(1000), RATE)
    content = bytearray(path.read_bytes())
    content[24:28] = struct.pack("<I", rate)
    path.write_bytes(content)


def write_pipe(path):
    os.mkfifo(path)


def write_socket(path):
    with contextlib.chdir(path.parent), socket.socket(socket.AF_UNIX) as server:  # its path must be short
        server.bind(path.name)


def write_circle(path):
    path.symlink_to(path.name)


UNUSABLE = {
    write_text: "cannot be decoded",
    write_nothing: "cannot be decoded",
    write_folder: "cannot be read: Is a directory",
    lambda path: None: "cannot be read: No such file",
    write_no_samples: "has no samples",
    write_nan: "not sound",
    write_infinity: "not sound",
    write_absurd: "not sound",
    write_header_only: "has no samples",
    partial(write_rate, rate=1): "expected a rate of 1000 to 1000000 Hz, found 1 Hz",
    partial(write_rate, rate=2**31 - 1): "expected a rate of 1000 to 1000000 Hz, found 2147483647 Hz",
    partial(write_rate, rate=2**32 - 1): "cannot be decoded",
    write_pipe: "cannot be read: expected a regular file, found a pipe",
    write_socket: "cannot be read: expected a regular file, found a socket",
    lambda path: path.symlink_to("/dev/zero"): "cannot be read: expected a regular file, found a device",
    write_circle: "cannot be read: Too many levels of symbolic links",
}


@pytest.mark.parametrize(("write", "reason"), UNUSABLE.items())
def test_unusable_files(tmp_path, write, reason):
    path = tmp_path / "clip.wav"
    write(path)
    with pytest.raises(SoundError, match=reason):
        decode(path)
    with pytest.raises(SoundError, match=reason):
        list(decode_blocks(path))


def test_many_channels_take_no_more_memory_than_one(tmp_path, monkeypatch):
    monkeypatch.setattr(recordings, "BLOCK_SAMPLES", 6400)
    samples = np.random.default_rng(1).uniform(-0.1, 0.1, (1000, 64))
    soundfile.write(tmp_path / "clip.wav", samples, RATE)
    blocks = list(decode_blocks(tmp_path / "clip.wav"))
    assert [len(block) for block in blocks] == [100] * 10
    assert np.array_equal(np.concatenate(blocks), decode(tmp_path / "clip.wav").samples)


def test_a_name_need_not_be_utf_8(tmp_path):
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff\xfe.wav"))
    soundfile.write(os.fsencode(path), tone(1000), RATE)
    assert len(decode(path).samples) == len(np.concatenate(list(decode_blocks(path)))) == 1000


@pytest.mark.parametrize("read", [decode, duration])
def test_a_raw_file_is_unusable(tmp_path, read):
    (tmp_path / "clip.raw").write_bytes(bytes(1000))
    with pytest.raises(SoundError, match="no sound file of a known format"):
        read(tmp_path / "clip.raw")


@pytest.mark.parametrize("read", [decode, partial(duration, bound=CLIP)])
def test_a_head_that_asks_for_much_memory_gets_none(tmp_path, read):
    write_slow(tmp_path / "clip.wav")
    with pytest.raises(SoundError, match="is too long for a clip, or its header is wrong"):
        read(tmp_path / "clip.wav")
    assert duration(tmp_path / "clip.wav") * RATE > CLIP.samples


@pytest.mark.parametrize(("suffix", "subtype"), FORMATS)
@pytest.mark.parametrize("kept", [0.5, 0.95])
def test_what_is_there_of_a_cut_file_is_used(tmp_path, suffix, subtype, kept):
    path = tmp_path / f"cut.{suffix}"
    soundfile.write(path, tone(100_000), RATE, subtype=subtype)
    whole = decode(path).samples
    path.write_bytes(path.read_bytes()[: int(kept * path.stat().st_size)])
    if suffix == "ogg":  # a page may hold more than is left
        with contextlib.suppress(SoundError):
            assert decode(path).repairs == ("cut short",)
        return
    sound = decode(path)
    assert sound.repairs == ("cut short",)
    # FLAC loses a part of a block, and MP3 a frame and what its encoder adds; its last frame also lacks the next one.
    lost = {"wav": 50, "flac": 3 * 4096, "mp3": 4 * 1152}[suffix]
    assert kept * len(whole) - lost <= len(sound.samples) < len(whole)
    safe = len(sound.samples) - (2 * 1152 if suffix == "mp3" else 0)
    np.testing.assert_allclose(sound.samples[:safe], whole[:safe], atol=1e-5)


def test_a_wrong_riff_length_alone_is_not_a_cut(tmp_path):
    path = tmp_path / "clip.wav"
    soundfile.write(path, tone(1000), RATE)
    data = path.read_bytes()
    path.write_bytes(data[:4] + (len(data) + 992).to_bytes(4, "little") + data[8:])
    sound = decode(path)
    assert sound.repairs == () and len(sound.samples) == 1000


@pytest.mark.parametrize("rate", [8_000, 48_000, 96_000, 384_000, 655_350])
@pytest.mark.parametrize("frames", [1, 2, 3, 7, 20])
def test_a_few_samples_of_any_rate_are_a_sound(tmp_path, rate, frames):
    """Blocks have as many samples as the whole, at least one, and all that is done with a sound takes them."""
    soundfile.write(tmp_path / "few.wav", 0.5 * np.ones(frames), rate)
    whole, blocks = decode(tmp_path / "few.wav").samples, np.concatenate([*decode_blocks(tmp_path / "few.wav")])
    assert len(whole) == len(blocks) == math.ceil(frames * RATE / rate) >= 1
    for samples in (whole, blocks):
        heard = trim(samples)
        assert len(heard) and np.isfinite(measure(heard).level)
        assert trimmed_spectrogram(heard).shape == (128, 128)
