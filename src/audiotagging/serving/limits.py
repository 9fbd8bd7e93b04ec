"""What a server takes on, and how it refuses the rest."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from audiotagging.base.errors import UserError
from audiotagging.serving.decoder import Task

LARGEST_UPLOADS = 4  # how many of the largest uploads fit in memory at once
MOST_FILES = 32  # in one request
SAMPLES_PER_SECOND = 400_000  # of all channels: 48 kHz in 8 channels, or 192 kHz in 2
WINDOWS_PER_SECOND = 2  # of the longest sound: how many windows a sound may be cut into
# Processor time for decoding one second of sound. 600 s of FLAC in 8 channels at 48 kHz took 12 of 50 s.
PROCESSOR_SECONDS = 1 / 15
LEAST_PROCESSOR_SECONDS = 10  # of any sound
DECODING_MEMORY = 512_000_000  # bytes, beside the largest upload; the same sound took 275 MB with its 82 MB
RETRY_AFTER = 5  # seconds


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a server takes on.

    Attributes:
        upload: Largest body of a request, in bytes.
        seconds: Duration of the longest sound.
        queue: Largest number of sounds in progress, those that wait included.
    """

    upload: int = 100_000_000
    seconds: float = 600
    queue: int = 64

    @property
    def memory(self) -> int:
        """Largest size of all uploads together, in bytes."""
        return LARGEST_UPLOADS * self.upload

    @property
    def files(self) -> int:
        """Largest number of files in a request."""
        return min(MOST_FILES, self.queue)

    def task(self, *, every: float | None, overlap: float) -> Task:
        """Return what to do with a sound, and what is too much to be done, whatever its header states.

        Args:
            every: Length of windows in seconds. None for the whole sound.
            overlap: How much of a window the next one covers too, in seconds.
        """
        return Task(
            seconds=self.seconds,
            samples=SAMPLES_PER_SECOND * self.seconds,
            windows=self.windows,
            every=every,
            overlap=overlap,
            processor=LEAST_PROCESSOR_SECONDS + round(PROCESSOR_SECONDS * self.seconds),
            memory=DECODING_MEMORY + self.upload,
        )

    @property
    def windows(self) -> int:
        """Largest number of windows of a sound."""
        return max(1, round(WINDOWS_PER_SECOND * self.seconds))


class RefusedError(UserError):
    """A request that is refused.

    Attributes:
        status: The status of the answer.
    """

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class Room:
    """An amount that requests share. What does not fit is refused, to be sent again later.

    Attributes:
        size: The whole amount.
        taken: How much of it is taken.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.taken = 0

    def check(self, amount: int) -> None:
        """Check that an amount is left.

        Raises:
            RefusedError: If it is not.
        """
        if self.taken + amount > self.size:
            raise RefusedError(503, f"too much is in progress; try again in {RETRY_AFTER} seconds")

    @contextmanager
    def share(self) -> Iterator["Share"]:
        """Provide a share, and give back what it has taken at the end of the block."""
        share = Share(self)
        try:
            yield share
        finally:
            self.taken -= share.taken


class Share:
    """What one request takes of a room."""

    def __init__(self, room: Room) -> None:
        self.room = room
        self.taken = 0

    def take(self, amount: int) -> None:
        """Take more.

        Raises:
            RefusedError: If that is not left.
        """
        self.room.check(amount)
        self.room.taken += amount
        self.taken += amount
