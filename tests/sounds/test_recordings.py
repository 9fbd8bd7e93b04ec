"""Every sound is read whole, or it is said what was not used of it."""

import io
import struct
import subprocess
import sys
import zlib
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from audiotagging.sounds import ffmpeg
from audiotagging.sounds.audio import CLIP, RATE, SoundError, decode, decode_blocks, duration
from audiotagging.sounds.file_part import FilePart
from audiotagging.sounds.formats import AUDIO_SUFFIXES, is_sound_name
from audiotagging.sounds.mpeg_frames import parse
from audiotagging.sounds.ogg_pages import has_last_page
from audiotagging.sounds.recordings import Bound, ChannelOf, examine, read_blocks

LOW = 16_000  # Hz, so that the sounds are small


def tone(seconds, rate=LOW, channels=1):
    """A swept tone over faint noise, shape (samples, channels)."""
    t = np.arange(round(seconds * rate))[:, None] / rate
    noise = np.random.default_rng(1).normal(0, 0.01, (len(t), channels))
    return 0.4 * np.sin(2 * np.pi * (300 + 100 * np.arange(1, channels + 1)) * t * (1 + t)) + noise


def sndfile(format, subtype, seconds=2.0, rate=LOW, channels=1, samples=None, **options):
    """The bytes of a file that libsndfile writes."""
    file = io.BytesIO()
    samples = tone(seconds, rate, channels) if samples is None else samples
    soundfile.write(file, samples, rate, format=format, subtype=subtype, **options)
    return file.getvalue()


def encoded(format, codec, rate=LOW, samples_as=None):
    """The bytes of a file of two seconds that FFmpeg writes."""
    file = io.BytesIO()
    with av.open(file, "w", format=format) as container:
        stream = container.add_stream(codec, rate=rate, layout="mono")
        stream.bit_rate = 96_000
        if samples_as:
            stream.codec_context.format = samples_as
        container.start_encoding()
        kind, size = stream.codec_context.format.name, stream.codec_context.frame_size or 4096
        scale, dtype = {"s16": (32767, np.int16), "s32": (2**31 - 1024, np.int32)}.get(kind[:3], (1, np.float32))
        samples = (tone(2, rate) * scale).astype(dtype).T
        for start in range(0, samples.shape[1], size):
            frame = av.AudioFrame.from_ndarray(samples[:, start : start + size], format=kind, layout="mono")
            frame.sample_rate, frame.pts = rate, start
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return file.getvalue()


def read(path):
    """Decode a file in all ways, which must agree, and return the sound."""
    sound, joined = decode(path), np.concatenate(list(decode_blocks(path, seconds=0.7)))
    seconds = sound.recording.frames / sound.recording.rate
    assert duration(path) == seconds and abs(len(sound.samples) - seconds * RATE) <= 1
    assert abs(len(joined) - len(sound.samples)) <= 1
    shorter = min(len(joined), len(sound.samples))
    np.testing.assert_allclose(joined[:shorter], sound.samples[:shorter], atol=1e-4)
    with path.open("rb") as file:
        np.testing.assert_array_equal(np.concatenate(list(decode_blocks(file, seconds=0.7))), joined)
    return sound


def size_of(content, name, size, *, order="<", width=4, skip=0):
    """The content with another size in the chunk of a name."""
    at = content.index(name) + len(name) + skip
    return content[:at] + size.to_bytes(width, "little" if order == "<" else "big") + content[at + width :]


WAV = sndfile("WAV", "PCM_16")
BYTES = len(WAV) - 44
LIST = b"LIST" + struct.pack("<I", 26) + b"INFOISFT" + bytes(18)
AIFF, AU, CAF, W64 = (sndfile(name, "PCM_16") for name in ("AIFF", "AU", "CAF", "W64"))
WRONG_SIZES = {
    "0": size_of(WAV, b"data", 0),
    "2^32 - 1": size_of(WAV, b"data", 2**32 - 1),
    "sox's in a pipe": size_of(WAV, b"data", 0x7FFFF000),
    "24 bits, 0": size_of(sndfile("WAV", "PCM_24"), b"data", 0),
    "float, 0": size_of(sndfile("WAV", "FLOAT"), b"data", 0),
    "stereo, 0": size_of(sndfile("WAV", "PCM_16", channels=2), b"data", 0),
    "GSM, 0": size_of(sndfile("WAV", "GSM610"), b"data", 0),
    "AIFF, 0": size_of(AIFF, b"SSND", 0, order=">"),
    "AIFF, 2^32 - 1": size_of(AIFF, b"SSND", 2**32 - 1, order=">"),
    "AU, 0": AU[:8] + bytes(4) + AU[12:],
    "AU, unknown": AU[:8] + b"\xff" * 4 + AU[12:],
    "CAF, unknown": size_of(CAF, b"data", 2**64 - 1, order=">", width=8),
    "W64, 0": size_of(W64, b"data", 0, width=8, skip=12),
}


@pytest.mark.parametrize("name", WRONG_SIZES)
def test_samples_whose_size_was_never_written_are_read_to_the_end(tmp_path, name):
    path = tmp_path / "clip.wav"
    path.write_bytes(WRONG_SIZES[name])
    sound = read(path)
    assert duration(path) == pytest.approx(2, abs=0.025) and sound.recording.notes == ()  # a block of GSM is 20 ms
    samples = np.concatenate(list(read_blocks(path, sound.recording, frames=1000)))
    expected = tone(2, channels=sound.recording.channels).mean(axis=1)
    if name != "GSM, 0":
        np.testing.assert_allclose(samples[: len(expected)], expected[: len(samples)], atol=1e-3)


def test_what_precedes_the_samples_of_an_aiff_is_no_sound(tmp_path):
    path, at = tmp_path / "clip.aiff", AIFF.index(b"SSND")
    size = int.from_bytes(AIFF[at + 4 : at + 8], "big") + 6
    path.write_bytes(AIFF[: at + 4] + struct.pack(">III", size, 6, 0) + b"\x7f" * 6 + AIFF[at + 16 :])
    sound = read(path)
    assert sound.recording.frames == 2 * LOW and sound.recording.notes == ()
    (tmp_path / "plain.aiff").write_bytes(AIFF)
    np.testing.assert_array_equal(sound.samples, decode(tmp_path / "plain.aiff").samples)


def test_a_size_that_wrapped_at_4_gib_is_read_to_the_end(tmp_path):
    path, size = tmp_path / "clip.wav", 2**32 + 2**20
    with path.open("wb") as file:  # with a hole, so that it takes no space
        file.write(size_of(WAV[:44], b"data", size % 2**32))
        file.seek(44 + size - BYTES)
        file.write(WAV[44:] + LIST)
    assert duration(path) == size / 2 / LOW and examine(path).notes == ()
    piece = decode(path, start=duration(path) - 1)
    assert np.abs(piece.samples).max() > 0.3 and len(piece.samples) == RATE


@pytest.mark.parametrize(
    ("tail", "unread"),
    [(LIST, False), (bytes(5000), False), (b"TAG" + bytes(125), False), (WAV, True), (b"\1x" * 9000, True)],
)
def test_what_follows_the_samples_is_no_sound_and_named_if_it_could_be(tmp_path, tail, unread):
    path = tmp_path / "clip.wav"
    path.write_bytes(WAV + tail)
    sound = read(path)
    assert sound.recording.frames == 2 * LOW
    assert [note.partition(":")[0] for note in sound.recording.notes] == ["not read"] * unread


def retold(content):
    """An MP3 without the frame that states its length."""
    at = content.index(b"Xing") if b"Xing" in content else content.index(b"Info")
    return content[content.index(content[:2], at) :]


def without_length(flac):
    return flac[:21] + bytes([flac[21] & 0xF0]) + bytes(4) + flac[26:]


MP3, MP3_STEREO = (sndfile("MP3", "MPEG_LAYER_III", channels=channels, rate=RATE) for channels in (1, 2))
VBR = sndfile(
    "MP3",
    "MPEG_LAYER_III",
    rate=RATE,
    bitrate_mode="VARIABLE",
    samples=tone(2, RATE) * [[1.0]] * np.repeat([[0.01], [1]], RATE, axis=0),
)
VORBIS, VORBIS_STEREO = (sndfile("OGG", "VORBIS", channels=channels) for channels in (1, 2))
OPUS = sndfile("OGG", "OPUS")
FLAC = sndfile("FLAC", "PCM_16")


def dsdiff(seconds=2, rate=8 * LOW):
    """The bytes of a DSDIFF file (Philips, "DSDIFF 1.5"): the bits of a first-order delta-sigma modulator."""
    level = 0.5 + tone(seconds, rate)[:, 0] / 2
    bits = np.diff(np.floor(np.cumsum(level)), prepend=0).astype(bool)

    def chunk(name, content):
        return name + struct.pack(">Q", len(content)) + content

    properties = chunk(b"FS  ", struct.pack(">I", rate)) + chunk(b"CHNL", b"\0\1C   ")
    properties += chunk(b"CMPR", b"DSD \x0enot compressed\0")
    content = b"DSD " + chunk(b"FVER", b"\1\5\0\0") + chunk(b"PROP", b"SND " + properties)
    return chunk(b"FRM8", content + chunk(b"DSD ", np.packbits(bits).tobytes()))


WHOLE = {  # seconds of what libsndfile reads in part, or not at all
    "MP3, VBR, without its length": (retold(VBR), 2),
    "MP3, joined": (MP3 + MP3, 4),
    "MP3, mono and then stereo": (MP3 + MP3_STEREO, 4),
    "MP3, other rate": (MP3 + sndfile("MP3", "MPEG_LAYER_III", rate=22_050), 4),
    "MP3, with tags": (b"ID3\4\0\0\0\0\0\x0a" + bytes(10) + MP3 + b"TAG" + bytes(125), 2),
    "Ogg, chained": (VORBIS + sndfile("OGG", "VORBIS", seconds=1), 3),
    "Ogg, chained, mono and then stereo": (VORBIS + VORBIS_STEREO, 4),
    "Opus, chained": (OPUS + OPUS, 4),
    "FLAC, of unknown length": (without_length(FLAC), 2),
    "FLAC, with a tag at its end": (FLAC + b"TAG" + bytes(125), 2),
    "Ogg FLAC": (encoded("ogg", "flac"), 2),
    "M4A": (encoded("ipod", "aac"), 2),
    "ALAC": (encoded("ipod", "alac"), 2),
    "AAC": (encoded("adts", "aac"), 2),
    "WMA": (encoded("asf", "wmav2", rate=RATE), 2),
    "WavPack": (encoded("wv", "wavpack", samples_as="s16p"), 2),
    "WebM": (encoded("webm", "libopus", rate=48_000), 2),
    "AVI": (encoded("avi", "pcm_s16le"), 2),
    "DSDIFF": (dsdiff(), 2),
    "BW64": (b"BW64" + sndfile("RF64", "PCM_16")[4:], 2),
}


@pytest.mark.parametrize("name", WHOLE)
def test_sounds_are_read_to_their_end(tmp_path, name):
    content, seconds = WHOLE[name]
    path = tmp_path / "clip.wav"  # any name
    path.write_bytes(content)
    sound = read(path)
    # An MP3 or AAC file without its length has the silence that its encoder added, for each of two files.
    assert duration(path) == pytest.approx(seconds, abs=0.16) and sound.recording.notes == ()
    assert np.abs(sound.samples[-RATE // 2 :]).max() > 0.1


@pytest.mark.parametrize(("codec", "layout"), [("alac", "7.1(wide)"), ("wavpack", "7.1"), ("wavpack", "hexadecagonal")])
def test_eight_channels_and_more_are_read_as_they_are(tmp_path, codec, layout):
    path, channels = tmp_path / "clip", av.AudioLayout(layout).nb_channels
    samples = (tone(1, 48_000, channels) * 20_000).astype(np.int16)
    with av.open(path, "w", format="wv" if codec == "wavpack" else "mp4") as container:
        stream = container.add_stream(codec, rate=48_000, layout=layout)
        stream.codec_context.format = "s16p"
        planar = av.AudioResampler("s16p", layout, 48_000, stream.codec_context.frame_size or 4096)
        frame = av.AudioFrame.from_ndarray(samples.reshape(1, -1), format="s16", layout=layout)
        frame.sample_rate, frame.pts = 48_000, 0
        for each in [*planar.resample(frame), *planar.resample(None)]:
            container.mux(stream.encode(each))
        container.mux(stream.encode(None))
    recording = examine(path)
    assert recording.channels == channels and recording.notes == ()
    found = np.concatenate(list(read_blocks(path, recording, frames=9000)))[: len(samples)]
    np.testing.assert_allclose(found, samples.mean(axis=1) / 2**15, atol=1e-4)


def test_the_links_of_a_chain_are_decoded_as_if_each_were_alone(tmp_path):
    for content in (VORBIS, VORBIS_STEREO, OPUS):
        alone, chain = tmp_path / "alone.ogg", tmp_path / "chain.ogg"
        alone.write_bytes(content)
        chain.write_bytes(content + content)
        expected = decode(alone)
        frames, samples = expected.recording.frames, decode(chain).samples
        assert duration(chain) == pytest.approx(2 * frames / expected.recording.rate)
        # Opus is decoded at 48 kHz here, and at the rate of its source alone: the ends are resampled in other ways.
        for place in (samples[: len(expected.samples)], samples[-len(expected.samples) :]):
            np.testing.assert_allclose(place[99:-99], expected.samples[99:-99], atol=1e-2)


def test_a_short_mp3_ends_before_its_tags(tmp_path):
    path, content = tmp_path / "clip.mp3", retold(MP3)
    second = parse(content[:4]).size
    end = second + parse(content[second : second + 4]).size
    for tag in (b"TAG" + bytes(125), b"APETAGEX" + struct.pack("<4I", 2000, 32, 0, 0) + bytes(8)):
        path.write_bytes(content[:end] + tag)
        recording = examine(path)
        assert 0 < recording.frames <= 2 * 1152 and recording.notes == ()


def later(packet):
    return 0.0006 * packet  # as in a recording of a browser, whose clock drifts


def late_at_times(packet):
    return 0.0102 * (packet % 10 == 5)  # as in an MP4 that was cut and joined


@pytest.mark.parametrize(
    ("content", "format", "seconds"),
    [(OPUS, "matroska", later), (encoded("ipod", "aac", rate=RATE), "mp4", late_at_times)],
    ids=["drift", "late"],
)
def test_times_that_are_not_exact_are_no_damage(tmp_path, content, format, seconds):
    path = tmp_path / "clip"
    with av.open(io.BytesIO(content)) as source, av.open(path, "w", format=format) as changed:
        track = changed.add_stream_from_template(source.streams.audio[0])
        for number, packet in enumerate(source.demux()):
            if packet.size:
                packet.pts += round(seconds(number) / packet.time_base)
                packet.dts, packet.stream = packet.pts, track
                changed.mux(packet)
    sound = read(path)
    assert sound.recording.notes == () and duration(path) == pytest.approx(2, abs=0.06)


CUT = {
    **{"WAV": WAV, "AIFF": AIFF, "W64": W64, "FLAC": FLAC, "MP3": MP3, "Vorbis": sndfile("OGG", "VORBIS", seconds=6)},
    "ADPCM": sndfile("WAV", "IMA_ADPCM"),
}


@pytest.mark.parametrize("name", CUT)
def test_less_than_the_header_states_is_said(tmp_path, name):
    path = tmp_path / "clip"
    path.write_bytes(CUT[name][: round(0.6 * len(CUT[name]))])
    sound = read(path)
    assert "cut short" in sound.repairs
    (note,) = [note for note in sound.recording.notes if note.startswith("cut short: ")]
    if name == "Vorbis":  # which states its length at its end
        assert note == f"cut short: its end is missing after {duration(path):.2f} s"
    else:
        seconds, stated = note.removeprefix("cut short: ").removesuffix(" s stated").split(" of ")
        assert float(seconds) == pytest.approx(duration(path), abs=0.006) and float(stated) == pytest.approx(2, abs=0.2)
        assert sound.recording.stated == pytest.approx(float(stated), abs=0.006)


def pages(ogg):
    """Where the pages of an Ogg file begin, and its end."""
    starts = [at for at in range(len(ogg)) if ogg.startswith(b"OggS", at)]
    return [*starts, len(ogg)]


def test_sounds_after_a_damaged_page_keep_their_times(tmp_path):
    content = sndfile("OGG", "VORBIS", seconds=6)
    whole, path = tmp_path / "whole.ogg", tmp_path / "damaged.ogg"
    whole.write_bytes(content)
    first, end = list(pairwise(pages(content)))[len(pages(content)) // 2]
    middle = (first + end) // 2
    path.write_bytes(content[:middle] + bytes([content[middle] ^ 4]) + content[middle + 1 :])
    expected, sound = decode(whole), read(path)
    (note,) = sound.recording.notes
    assert note.startswith("damaged: ") and sound.recording.frames == expected.recording.frames
    np.testing.assert_allclose(sound.samples[-RATE:], expected.samples[-RATE:], atol=1e-3)
    silent = (sound.samples == 0).mean() * 6
    assert silent == pytest.approx(float(note.split()[1]), abs=0.15)


PREDICTED = [("WAV", "IMA_ADPCM"), ("WAV", "MS_ADPCM"), ("WAV", "GSM610"), ("OGG", "OPUS"), ("OGG", "VORBIS")]


@pytest.mark.parametrize(
    ("format", "subtype"), [*PREDICTED, ("MP3", "MPEG_LAYER_III"), ("FLAC", "PCM_16"), ("WAV", "ULAW")]
)
def test_a_piece_is_a_slice_of_the_whole(tmp_path, format, subtype):
    path = tmp_path / "clip.wav"
    path.write_bytes(sndfile(format, subtype, rate=RATE if format == "MP3" else 8000, seconds=3))
    recording = examine(path)
    whole = np.concatenate(list(read_blocks(path, recording, frames=100_000)))
    for start, end in ((0.5, 1.5), (1.2, 2.9), (0.1, 0.2), (2.5, 9)):  # not only forwards
        expected = whole[round(start * recording.rate) : round(end * recording.rate)]
        piece = decode(path, start=start, end=end).samples
        assert duration(path, start=start, end=end) == len(expected) / recording.rate
        other = tmp_path / "piece.wav"
        soundfile.write(other, expected, recording.rate, subtype="FLOAT")
        np.testing.assert_array_equal(piece, decode(other).samples)


TEXT = b"plain text, and no sound at all; " * 700
NO_SOUNDS = {
    **dict.fromkeys(("x.au", "x.snd", "x.vox", "x.gsm", "x.raw", "x.mp3", "x.wav", "x.sds"), TEXT),
    "picture.wav": b"\x89PNG\r\n\x1a\n" + bytes(5000),
    "list.mp3": b"#EXTM3U\n#EXTINF:1\n/etc/passwd\n",
    "list.wav": b"ffconcat version 1.0\nfile /etc/passwd\n",
    "noise.mp3": np.random.default_rng(1).bytes(100_000),
    "ones.mp3": b"\xff" * 20_000,
    "._x.wav": b"\x00\x05\x16\x07" + bytes(4000),
}


@pytest.mark.parametrize("name", NO_SOUNDS)
def test_what_is_no_sound_is_refused_whatever_its_name_is(tmp_path, name, capfd):
    path = tmp_path / name
    path.write_bytes(NO_SOUNDS[name])
    with pytest.raises(SoundError, match=r"^cannot be decoded: it is no sound file of a known format$"):
        decode(path)
    assert capfd.readouterr() == ("", "")


def test_damaged_frames_of_an_mp3_are_not_told_by_libmpg123(tmp_path, capfd):
    """They are where only their decoder notices, which writes to the terminal when libsndfile reads the file itself."""
    path, content = tmp_path / "clip.mp3", bytearray(sndfile("MP3", "MPEG_LAYER_III", rate=RATE, seconds=5))
    at = parse(bytes(content[:4])).size
    while at < len(content):
        content[at + 6 : at + 30] = b"\xa5" * 24  # behind the header
        at += parse(bytes(content[at : at + 4])).size
    path.write_bytes(content)
    soundfile.read(io.BytesIO(content))
    assert "libmpg123" in capfd.readouterr().err
    assert examine(path).format is None
    assert len(read(path).samples) and capfd.readouterr().err == ""


def stereo(left, right):
    return np.stack([left, right], axis=1)


SOUND = tone(2, RATE)[:, 0] * 0.5
OTHER = np.random.default_rng(2).normal(0, 0.1, len(SOUND))
CHANNELS = {
    "healthy": (stereo(SOUND, OTHER), (SOUND + OTHER) / 2, ""),
    "cancelling": (stereo(SOUND, -SOUND), SOUND, "channels cancel: only the left one was used"),
    "nearly cancelling": (stereo(-SOUND, 1.1 * SOUND), 1.1 * SOUND, "channels cancel: only the right one was used"),
    "left dead": (stereo(0 * SOUND, SOUND), SOUND, "silent channels left out: the left one"),
    "constant": (stereo(SOUND, 0 * SOUND + 0.1), SOUND, "silent channels left out: the right one"),
    "two of three": (
        np.stack([SOUND, 0 * SOUND, OTHER], axis=1),
        (SOUND + OTHER) / 2,
        "silent channels left out: number 2 of 3",
    ),
    "all silent": (np.zeros((RATE, 2)), np.zeros(RATE), ""),
}


@pytest.mark.parametrize("name", CHANNELS)
def test_channels_that_say_nothing_are_left_out_and_named(tmp_path, name):
    samples, expected, note = CHANNELS[name]
    path = tmp_path / "clip.wav"
    soundfile.write(path, samples, RATE, subtype="PCM_16")
    sound = read(path)
    np.testing.assert_allclose(sound.samples, expected, atol=1e-4)
    assert sound.recording.notes == ((note,) if note else ())


def test_the_user_may_choose_a_channel(tmp_path):
    path = tmp_path / "clip.wav"
    soundfile.write(path, stereo(SOUND, -SOUND), RATE, subtype="FLOAT")
    for number, expected in ((1, SOUND), (2, -SOUND), (0, 0 * SOUND)):
        samples = np.concatenate(list(decode_blocks(ChannelOf(path, number))))
        np.testing.assert_allclose(samples, expected, atol=1e-6)
        assert examine(ChannelOf(path, number)).notes == ()
    with pytest.raises(SoundError, match="expected a channel 3, found 2 channels"):
        examine(ChannelOf(path, 3))


@pytest.mark.parametrize(("hertz", "heard"), [(5_000, True), (60_000, False)])
def test_a_recording_that_lies_above_22_khz_is_noted(tmp_path, hertz, heard):
    path = tmp_path / "bat.wav"
    soundfile.write(path, 0.5 * np.sin(2 * np.pi * hertz * np.arange(192_000) / 192_000) + 0.1, 192_000)
    assert [note.partition(":")[0] for note in read(path).recording.notes] == ([] if heard else ["ultrasound"])


def test_decoding_ends_where_it_is_too_much(tmp_path):
    path = tmp_path / "long.flac"
    path.write_bytes(without_length(sndfile("FLAC", "PCM_16", samples=np.zeros((600 * LOW, 1)))))
    with pytest.raises(SoundError, match=r"expected at most 100 seconds of sound, found 131\.072 or more"):
        examine(path, bound=Bound(seconds=100))
    with pytest.raises(SoundError, match="is too long"):
        examine(path, bound=CLIP._replace(samples=1e6))
    assert duration(path) == 600


def test_without_pyav_one_line_says_what_to_install(tmp_path, monkeypatch):
    (tmp_path / "a.m4a").write_bytes(WHOLE["M4A"][0])
    monkeypatch.setitem(sys.modules, "av", None)
    ffmpeg._library.cache_clear()
    with pytest.raises(SoundError, match=r"it needs FFmpeg's libraries; install them with `pip install av`"):
        decode(tmp_path / "a.m4a")
    ffmpeg._library.cache_clear()


def test_plain_sounds_are_decoded_without_ffmpeg(tmp_path):
    for name, content in {"a.wav": WAV, "a.flac": FLAC, "a.mp3": MP3, "a.ogg": VORBIS}.items():
        (tmp_path / name).write_bytes(content)
    code = (
        "import sys; from pathlib import Path; from audiotagging.sounds.audio import decode\n"
        "for path in Path(sys.argv[1]).iterdir(): decode(path)\n"
        "assert 'av' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code, tmp_path], check=True, cwd=Path(__file__).parents[2] / "src")


@pytest.mark.parametrize("suffix", AUDIO_SUFFIXES)
def test_names_of_sounds(suffix):
    assert is_sound_name(f"a{suffix}") and is_sound_name(f"a b{suffix.upper()}")
    assert (
        not is_sound_name(f"._a{suffix}") and not is_sound_name(f".a{suffix}") and not is_sound_name(f"a{suffix}.txt")
    )


def test_the_last_page_of_an_ogg_file_is_found(tmp_path):
    assert has_last_page(io.BytesIO(VORBIS)) and not has_last_page(io.BytesIO(VORBIS[:-1]))
    assert not has_last_page(io.BytesIO(VORBIS[: pages(VORBIS)[-2]])) and not has_last_page(io.BytesIO(b""))


DAMAGED = [*CUT.values(), OPUS, MP3 + MP3_STEREO, *(WHOLE[name][0] for name in ("M4A", "WavPack", "WebM", "WMA"))]


def test_behind_the_end_of_a_part_of_a_file_is_nothing(tmp_path):
    (tmp_path / "file").write_bytes(b"0123456789")
    with (tmp_path / "file").open("rb", buffering=0) as file:
        part = FilePart(file, 2, 5)
        assert (part.seek(-2, 2), part.read()) == (3, b"56")
        for place in (5, 6, 2**62, 2**63 - 2):  # an exception in a decoder would be written to the terminal
            assert (part.seek(place), part.read(2), part.read()) == (place, b"", b"")


@settings(max_examples=60, deadline=None)
@given(
    content=st.sampled_from(DAMAGED),
    kind=st.sampled_from(["cut", "zeros", "flip", "gone", "noise"]),
    place=st.floats(0, 1),
    size=st.integers(1, 3000),
)
def test_damage_is_whole_noted_or_refused_and_all_ways_to_decode_agree(tmp_path_factory, content, kind, place, size):
    at = round(place * len(content))
    rest = content[at + size :]
    damaged = {
        "cut": content[:at],
        "zeros": content[:at] + bytes(min(size, len(content) - at)) + rest,
        "flip": content[:at] + bytes(byte ^ 8 for byte in content[at : at + 1]) + content[at + 1 :],
        "gone": content[:at] + rest,
        "noise": content[:at] + np.random.default_rng(zlib.crc32(content[:at])).bytes(size) + rest,
    }[kind]
    path = tmp_path_factory.mktemp("damaged") / "clip"
    path.write_bytes(damaged)
    try:
        sound = read(path)
    except SoundError as error:
        assert "\n" not in str(error)
        with pytest.raises(SoundError):
            list(decode_blocks(path))
        return
    assert len(sound.samples) and all(": " in note and "\n" not in note for note in sound.recording.notes)
