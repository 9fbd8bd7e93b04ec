"""Walks over the frames of an MP3 file without decoding them, to tell whether it is what libsndfile expects.

libsndfile's decoder, libmpg123, takes the length from the first frame, and stops there or where the frames change, and
says so to nobody but the terminal. A file whose frames follow each other to its end, with the number of them that the
first one states, is read whole.

Frames are described in ISO/IEC 11172-3, section 2.4.1, the first frame of Xing and LAME in
gabriel.mp3-tech.org/mp3infotag.html.
"""

from functools import lru_cache
from typing import BinaryIO, NamedTuple

KBPS = {  # by version (1, or 2 and 2.5) and layer
    (1, 1): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (1, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (1, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (2, 1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (2, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (2, 3): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
RATES = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8_000)}  # Hz, by version bits
SEARCHED = 1 << 17  # bytes at the start in which the first frame is looked for
READ = 1 << 18  # bytes at once
CHAIN = 4  # frames that must follow each other: two bytes alone are a frame's in any large file
ID3V1, APE = 128, 32  # bytes of the tags at the end


class Frame(NamedTuple):
    """The header of a frame: its size in bytes, and what must be the same in all frames of a file."""

    size: int
    rate: int
    layer: int
    mono: bool
    samples: int  # in each channel
    kbps: int


class Walk(NamedTuple):
    """What is known of a file from the headers of its frames.

    Attributes:
        clean: Whether equal frames follow each other to the end, as many as the first one states if it states any.
        stated: Seconds that the first frame states. None if it states nothing.
        cut: Whether the file ends in the middle of a frame.
    """

    clean: bool
    stated: float | None = None
    cut: bool = False


@lru_cache(4096)
def parse(header: bytes) -> Frame | None:
    """Parse the four bytes of a header. None if they are none."""
    if len(header) < 4 or header[0] != 0xFF or header[1] & 0xE0 != 0xE0:
        return None
    version, layer = header[1] >> 3 & 3, 4 - (header[1] >> 1 & 3)
    kbps, rate, padding = header[2] >> 4, header[2] >> 2 & 3, header[2] >> 1 & 1
    if version == 1 or layer == 4 or kbps in (0, 15) or rate == 3:
        return None
    generation = 1 if version == 3 else 2
    hertz, bits = RATES[version][rate], 1000 * KBPS[generation, layer][kbps - 1]
    samples = 384 if layer == 1 else 1152 if layer == 2 or generation == 1 else 576
    slot = 4 if layer == 1 else 1
    size = (samples // 8 // slot * bits // hertz + padding) * slot
    return Frame(size, hertz, layer, header[3] >> 6 == 3, samples, bits // 1000)


def first_frame(file: BinaryIO, start: int) -> int | None:
    """Return where the first frame is that others follow, at `start` or soon after it. None if there is none."""
    size = min(SEARCHED, _end(file) - start)
    file.seek(start)
    data = file.read(max(0, size))
    at = data.find(b"\xff")
    while at >= 0:
        if _chain(data, at):
            return start + at
        at = data.find(b"\xff", at + 1)
    return None


def _chain(data: bytes, at: int) -> bool:
    first = parse(data[at : at + 4])
    frame = first
    for number in range(CHAIN):
        if first is None or frame is None or frame[1:4] != first[1:4]:
            return False
        at += frame.size
        if at >= len(data):
            return number > 0  # the end of a short file, or of what was searched
        frame = parse(data[at : at + 4])
    return True


def walk(file: BinaryIO, start: int) -> Walk:
    """Walk over the frames of a file.

    Args:
        file: The file, which is left anywhere.
        start: Where its first frame is, after the tags at the start.
    """
    end = _end(file)
    file.seek(start)
    first = parse(file.read(4))
    if first is None:
        return Walk(False)
    stated = _stated_frames(file, start, first)
    # The first frame has no sound if it states the number of the others.
    at, count = (start, 0) if stated is None else (start + first.size, 0)
    constant, data, base = True, b"", at
    while at + 4 <= end:
        if not base <= at <= base + len(data) - 4:
            file.seek(at)
            data, base = file.read(READ), at
        frame = parse(data[at - base : at - base + 4])
        if frame is None or frame[1:5] != first[1:5]:
            break
        constant = constant and frame.kbps == first.kbps
        at += frame.size
        count += 1
    complete = at == end and count > 0
    seconds = None if stated is None else stated * first.samples / first.rate
    return Walk(complete and (constant if stated is None else stated == count), seconds, cut=at > end)


def _stated_frames(file: BinaryIO, start: int, first: Frame) -> int | None:
    """Return the number of frames that the first frame of Xing, LAME or Fraunhofer (VBRI) states, without itself."""
    file.seek(start)
    data = file.read(min(first.size, 200))
    side = {(True, True): 17, (True, False): 32, (False, True): 9, (False, False): 17}[
        first.samples == 1152, first.mono
    ]
    at = 4 + side
    if data[at : at + 4] in (b"Xing", b"Info") and len(data) >= at + 12:
        return int.from_bytes(data[at + 8 : at + 12], "big") if data[at + 7] & 1 else None
    if data[36:40] == b"VBRI" and len(data) >= 54:
        return int.from_bytes(data[50:54], "big")
    return None


def _end(file: BinaryIO) -> int:
    """Return where the sound ends, before the tags at the end: ID3v1, and APE's (wiki.hydrogenaud.io, "APEv2")."""
    end = file.seek(0, 2)
    while True:
        file.seek(max(0, end - ID3V1))
        tail = file.read(end - max(0, end - ID3V1))
        if len(tail) == ID3V1 and tail.startswith(b"TAG"):
            end -= ID3V1
        elif tail[-APE:].startswith(b"APETAGEX"):
            size = int.from_bytes(tail[-APE + 12 : -APE + 16], "little")  # with the footer, without the header
            end -= min(end, size + (APE if tail[-9] & 0x80 else 0))
        else:
            return end
