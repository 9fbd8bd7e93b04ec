"""Finds the samples in a file whose header states how many bytes they take, and tells whether that can be true.

Recorders that are interrupted, programs that write to a pipe, and files of more than 4 GiB leave sizes that are wrong.
What follows the samples tells: the end of the file, or chunks with a name and a size, are as they should be.

WAV: Microsoft, "Multiple channel audio data and WAVE files". RF64, BW64: ITU-R BS.2088. W64: Sony, "Sonic Foundry Wave
64". AIFF: Apple, "Audio Interchange File Format 1.3". AU: Oracle's man page au(4). CAF: Apple, "Core Audio Format
Specification 1.0". NIST SPHERE: the file sphere.doc of NIST's SPHERE 2.6.
"""

import re
from collections.abc import Iterator
from typing import BinaryIO, Literal, NamedTuple

WRAP = 1 << 32
# Sizes that are written before the size is known: 2^32 - 1 and 2^31 - 1, or less by a header or a page.
UNKNOWN = (range(WRAP - 256, WRAP), range((1 << 31) - 4096 - 256, 1 << 31))
MOST_CHUNKS = 10_000  # no recording has as many
ID3V1 = 128  # bytes
NIST_HEADER = 1024  # bytes
FILES = (b"RIFF", b"RIFX", b"FORM")  # no chunk in a file, but another file that was joined to it


class Samples(NamedTuple):
    """Where the samples of a file are.

    Attributes:
        offset: Their first byte.
        size: Number of bytes that are there.
        stated: Number of bytes that the header states. None if it states none, or one that cannot be meant.
        unread: Number of bytes behind them that are neither chunks nor tags nor zeros, whatever they may be.
    """

    offset: int
    size: int
    stated: int | None
    unread: int = 0


class _Layout(NamedTuple):
    """How a format arranges its chunks, in bytes."""

    first: int  # where the first chunk begins
    order: Literal["little", "big"]
    name: bytes  # of the chunk with the samples
    sizes: slice  # where the header of a chunk has its size
    header: int
    counted: int = 0  # how much of the header counts in the size
    fields: int = 0  # before the samples, in their chunk
    align: int = 2


_WAV = _Layout(12, "little", b"data", slice(4, 8), 8)
_LAYOUTS = {
    (b"RIFF", b"WAVE"): _WAV,
    (b"RF64", b"WAVE"): _WAV,
    (b"BW64", b"WAVE"): _WAV,
    (b"RIFX", b"WAVE"): _WAV._replace(order="big"),
    (b"FORM", b"AIFF"): _Layout(12, "big", b"SSND", slice(4, 8), 8, fields=8),
    (b"FORM", b"AIFC"): _Layout(12, "big", b"SSND", slice(4, 8), 8, fields=8),
    (b"caff", b"desc"): _Layout(8, "big", b"data", slice(4, 12), 12, fields=4, align=1),
    (b"riff", bytes.fromhex("a5d628db")): _Layout(40, "little", b"data", slice(16, 24), 24, counted=24, align=8),
}


def find_samples(file: BinaryIO) -> Samples | None:
    """Find the samples of a WAV, RF64, BW64, W64, AIFF, AU, CAF or NIST SPHERE file.

    Args:
        file: The file, which is left anywhere.

    Returns:
        Where they are, or None if the file has another format or no samples.
    """
    length = file.seek(0, 2)
    file.seek(0)
    head = file.read(16)
    if head.startswith(b".snd"):
        offset, stated = int.from_bytes(head[4:8], "big"), int.from_bytes(head[8:12], "big")
        return _judge(file, offset, stated, length, layout=None) if offset <= length else None
    if head.startswith(b"NIST_1A"):
        return _nist(file, length)
    layout = _LAYOUTS.get((head[:4], head[8:12])) or _LAYOUTS.get((head[:4], head[12:16]))
    if layout is None:
        return None
    stated = 0
    for name, at, size in _chunks(file, layout.first, length, layout):
        if name == b"ds64":  # the sizes of RF64 and BW64: of the file, then of the samples
            file.seek(at + 8)
            stated = int.from_bytes(file.read(8), "little")
        if name == layout.name:
            fields = layout.fields
            if name == b"SSND":  # whose first field says how many bytes precede the samples
                file.seek(at)
                fields += int.from_bytes(file.read(4), "big")
            if not (stated and size == WRAP - 1):
                stated = size - fields
            return _judge(file, at + fields, stated, length, layout=layout)
    return None


def _nist(file: BinaryIO, length: int) -> Samples | None:
    """Find the samples of a NIST SPHERE file, whose header is text."""
    file.seek(0)
    fields = re.findall(rb"^(\w+) -i (\d+)$", file.read(NIST_HEADER), re.MULTILINE)
    values = {name: int(value) for name, value in fields}
    try:
        size = values[b"sample_count"] * values[b"sample_n_bytes"] * values[b"channel_count"]
    except KeyError:
        return None
    return _judge(file, NIST_HEADER, size, length, layout=None)


def _judge(file: BinaryIO, offset: int, stated: int, length: int, *, layout: _Layout | None) -> Samples:
    """Return how many bytes of samples there are.

    Args:
        file: The file.
        offset: Where the samples begin.
        stated: How many bytes of them the header states. Less than 0 if it does not know, or is broken.
        length: The size of the file.
        layout: How chunks may follow. None if none may.
    """
    there = max(0, length - offset)
    if stated < 0 or any(stated in sizes for sizes in UNKNOWN):
        return Samples(offset, there, None)
    if stated >= there:
        return Samples(offset, there, stated)
    behind = offset + stated
    if layout and _only_chunks(file, behind + -behind % layout.align, length, layout):
        return Samples(offset, stated, stated)
    if stated == 0:  # a recorder that was interrupted
        return Samples(offset, there, None)
    if wraps := (there - stated) // WRAP:  # more than a size of 32 bits can state
        stated += wraps * WRAP
        behind = offset + stated
        if layout and _only_chunks(file, behind + -behind % layout.align, length, layout):
            return Samples(offset, stated, stated)
    return Samples(offset, stated, stated, unread=_unexplained(file, behind, length))


def _chunks(file: BinaryIO, at: int, length: int, layout: _Layout) -> Iterator[tuple[bytes, int, int]]:
    """Yield the name, the offset and the size of the chunks from a place on, up to what is no chunk."""
    for _ in range(MOST_CHUNKS):
        file.seek(at)
        header = file.read(layout.header)
        name, size = header[:4], int.from_bytes(header[layout.sizes], layout.order, signed=layout.header > 8)
        size -= layout.counted
        if len(header) < layout.header or not (name.isascii() and name.decode().isprintable()):
            return
        yield name, at + layout.header, size
        at += layout.header + size
        at += -at % layout.align
        if size < 0 or at >= length:
            return


def _only_chunks(file: BinaryIO, at: int, length: int, layout: _Layout) -> bool:
    """Return whether a file ends here, or has nothing but chunks from here on."""
    end = at
    for name, offset, size in _chunks(file, at, length, layout):
        if name in FILES:
            return False
        end = offset + max(0, size)
        end += -end % layout.align
    return length <= end <= length + layout.align


def _unexplained(file: BinaryIO, at: int, length: int) -> int:
    """Return how many bytes from a place on are neither zeros nor a tag of music players."""
    file.seek(at)
    if length - at == ID3V1 and file.read(3) == b"TAG":
        return 0
    file.seek(at)
    while block := file.read(1 << 20):
        if block.count(0) < len(block):
            return length - at
    return 0
