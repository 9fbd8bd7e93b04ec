"""Makes short excerpts of clips, as Ogg files with Opus (RFC 6716 and RFC 7845), for the players of the report."""

import io
import zlib

import numpy as np
import soundfile
import soxr

from audiotagging.artifacts.excerpts import Excerpt
from audiotagging.sounds.audio import RATE

OPUS_RATE = 48_000  # Hz
BITRATE = 24_000  # bits per second: 18 kB for the longest excerpt
COMPRESSION_LEVEL = 1 - (BITRATE - 6_000) / 250_000  # libsndfile maps levels of 1 to 0 to 6 to 256 kbit/s per channel
STEP = RATE // 10  # samples
LONGEST = 60  # steps
PEAK = 0.9  # times full scale

REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def make_excerpt(samples: np.ndarray) -> Excerpt:
    """Make an excerpt of a clip: all of it, or its loudest six seconds if it is longer.

    Its peak is raised or lowered to 0.9, because the members do not hear either how loud a clip is, and a clip that was
    recorded quietly should be heard. The bytes depend on the samples alone.

    Args:
        samples: Mono samples at 44 100 Hz without silence at both ends, float32, shape (samples,). Not empty.
    """
    start = _loudest(samples)
    heard = samples[start : start + LONGEST * STEP]
    peak = np.abs(heard).max()
    scaled = heard * (PEAK / peak) if peak > 0 else heard
    file = io.BytesIO()
    soundfile.write(
        file,
        soxr.resample(scaled, RATE, OPUS_RATE),
        OPUS_RATE,
        format="OGG",
        subtype="OPUS",
        compression_level=COMPRESSION_LEVEL,
    )
    return Excerpt(start / RATE, len(heard) / RATE, _without_serial_number(file.getvalue()))


def _loudest(samples: np.ndarray) -> int:
    """Return the first sample of the piece of `LONGEST` steps that has the most energy. A shorter clip starts at 0."""
    steps = len(samples) // STEP
    if steps <= LONGEST:
        return 0
    blocks = samples[: steps * STEP].reshape(steps, STEP)
    energies = np.lib.stride_tricks.sliding_window_view(np.vecdot(blocks, blocks), LONGEST).sum(axis=1)
    return int(energies.argmax()) * STEP


def _without_serial_number(ogg: bytes) -> bytes:
    """Set the serial number of an Ogg stream, which libsndfile draws from the clock, to 0 in all its pages.

    The header of a page (RFC 3533) holds the serial number from byte 14 on, the checksum from byte 22 on, and the sizes
    of its segments from byte 27 on, after their number.
    """
    pages = []
    while ogg:
        header = 27 + ogg[26]
        page = bytearray(ogg[: header + sum(ogg[27:header])])
        ogg = ogg[len(page) :]
        page[14:18] = page[22:26] = bytes(4)
        page[22:26] = _checksum(bytes(page))
        pages.append(page)
    return b"".join(pages)


def _checksum(page: bytes) -> bytes:
    """Return the checksum of an Ogg page.

    It is zlib's CRC-32 without its inversions, and of bits in the opposite order.
    """
    reflected = zlib.crc32(page.translate(REVERSED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return reflected.to_bytes(4, "big").translate(REVERSED)
