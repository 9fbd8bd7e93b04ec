"""Who is served next: the request that had least of the server so far.

A short sound is then answered within seconds while long ones are in progress, whatever their number, and a form of many
files has no more than any other request. Nobody states how long a sound takes to decode, so it is found out: a sound
keeps its place until it is decoded, unless others wait for longer than its turn. Then it gives way, and begins again
later with a longer turn. (Nuyens and Wierman, "The foreground-background queue: a survey", 2008.)
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field


@dataclass(eq=False)
class Account:
    """What a request has had of the server.

    Attributes:
        seconds: Time in which its sounds were decoded.
        frames: Frames of spectrograms that were scored, and what each of the others had before it came.
    """

    seconds: float = 0.0
    frames: float = 0.0


class TurnOverError(Exception):
    """Raised in a turn that is over while others wait."""


@dataclass(eq=False)
class _Turn:
    account: Account
    begin: float  # seconds, by the clock of the loop
    end: float
    timeout: asyncio.Timeout = field(default_factory=lambda: asyncio.timeout(None))


@dataclass(eq=False)
class _Waiting:
    account: Account
    called: "asyncio.Future[None]" = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class Turns:
    """Places in which sounds take turns. All methods are called in one loop."""

    def __init__(self, places: int) -> None:
        self._free = places
        self._turns: list[_Turn] = []
        self._waiting: list[_Waiting] = []  # in the order of their arrival

    @asynccontextmanager
    async def take(self, account: Account, *, seconds: float) -> AsyncIterator[None]:
        """Wait for a place, and keep it during the block.

        Args:
            account: The request that waits.
            seconds: How long it keeps the place even if others wait.

        Raises:
            TurnOverError: In the block, if that time is over, and other requests wait.
        """
        await self._wait(account)
        begin = asyncio.get_running_loop().time()
        turn = _Turn(account, begin, begin + seconds)
        self._turns.append(turn)
        try:
            async with turn.timeout:
                self._hurry()
                yield
        except TimeoutError:
            if turn.timeout.expired():
                raise TurnOverError from None
            raise
        finally:
            self._turns.remove(turn)
            account.seconds += asyncio.get_running_loop().time() - begin
            self._leave()

    async def _wait(self, account: Account) -> None:
        if self._free:
            self._free -= 1
            return
        waiting = _Waiting(account)
        self._waiting.append(waiting)
        self._hurry()
        try:
            await waiting.called
        except asyncio.CancelledError:
            if waiting in self._waiting:
                self._waiting.remove(waiting)
                self._hurry()
            else:  # it was called at the same moment
                self._leave()
            raise

    def _leave(self) -> None:
        """Give a place to the request that had least."""
        waiting = [each for each in self._waiting if not each.called.cancelled()]
        if not waiting:
            self._free += 1
            return
        first = min(waiting, key=lambda each: self._had(each.account))
        self._waiting.remove(first)
        first.called.set_result(None)
        self._hurry()

    def _had(self, account: Account) -> float:
        """Return the seconds that a request had, those of its present turns included."""
        now = asyncio.get_running_loop().time()
        return account.seconds + sum(now - turn.begin for turn in self._turns if turn.account is account)

    def _hurry(self) -> None:
        """End as many turns when their time is over as other requests wait."""
        now = asyncio.get_running_loop().time()
        running = [turn for turn in self._turns if not turn.timeout.expired()]
        places = len(self._turns) - len(running)  # that are about to be free
        for turn in sorted(running, key=lambda turn: turn.end):
            others = sum(waiting.account is not turn.account for waiting in self._waiting)
            places += 1
            turn.timeout.reschedule(max(turn.end, now) if places <= others else None)
