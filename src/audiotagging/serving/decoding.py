"""Lets processes decode what was sent, and replaces those that end before they have answered."""

import asyncio
import json
import logging
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import asdict, replace
from itertools import count
from pathlib import Path
from typing import BinaryIO

from audiotagging.base.machine import threads
from audiotagging.serving.decoder import HEAD, READY, Decoded, Task, TooCostlyError, answer_of, message
from audiotagging.serving.limits import RETRY_AFTER, RefusedError, Share
from audiotagging.serving.turns import Account, TurnOverError, Turns
from audiotagging.sounds.streams import SoundError

TURN = 0.2  # seconds, in which most clips are decoded
LEVELS = 5  # lengths of turns that have places of their own: the last one is that of all that are longer
LONGER = 4  # times the turn before, so that at most a third of the time is spent in vain
NICER = 5  # how much nicer a turn is than the one before, so that first turns are not slowed down by later ones
CHUNK = 1 << 20  # bytes
REPLACING = 1.0  # seconds until a first process that has ended is replaced
PATIENCE = 10  # seconds for each second of processor time, if others use the machine too

logger = logging.getLogger(__name__)


class Decoders:
    """The processes that decode.

    There are as many places as cores for the first turns of sounds, and one for each length of later turns, so that
    none waits for a longer one.

    Attributes:
        alive: Whether they can.
    """

    def __init__(self, *, lost: Callable[[str], object]) -> None:
        """Start the first process, and wait until it can decode.

        Args:
            lost: Called if a process ends before it has decoded its sound, with the reason: "crash", "cost", "turn" or,
                for the first process, "start".

        Raises:
            RuntimeError: If it cannot.
        """
        self._lost = lost
        self._turns = [Turns(threads()), *(Turns(1) for _ in range(LEVELS - 1))]
        self._closed = threading.Event()
        self._start()
        if not self.alive:
            raise RuntimeError("the process that decodes did not start")
        threading.Thread(target=self._watch, name="decoders", daemon=True).start()

    def close(self) -> None:
        """End all processes."""
        self._closed.set()
        self._control.close()
        self._process.wait()

    async def decode(self, sound: BinaryIO, task: Task, *, account: Account, memory: Share) -> Decoded:
        """Decode a sound.

        Args:
            sound: The sound.
            task: What to do with it.
            account: Who pays for it.
            memory: Where the memory for the spectrograms is taken from.

        Raises:
            UserError: If it cannot be decoded, or if that takes too much.
            RefusedError: If there is no memory left, or if the first process is being replaced.
        """
        for turn in count():
            try:
                async with self._turns[min(turn, LEVELS - 1)].take(account, seconds=TURN * LONGER**turn):
                    return await self._try(sound, replace(task, niceness=NICER * turn), memory)
            except TurnOverError:
                self._lost("turn")
        raise AssertionError("there is always another turn")

    async def _try(self, sound: BinaryIO, task: Task, memory: Share) -> Decoded:
        """Decode a sound in a process of its own, which ends when the connection to it is closed."""
        reader, writer = await self._connect()
        begun = b""
        try:
            async with asyncio.timeout(PATIENCE * task.processor):
                await _send(writer, sound, task)
                begun = await reader.readexactly(len(READY))
                return await _receive(reader, memory)
        except TooCostlyError:
            self._lost("cost")
            raise
        except TimeoutError:
            self._lost("cost")
            raise TooCostlyError(f"takes more than {PATIENCE * task.processor} s to decode") from None
        except (asyncio.IncompleteReadError, ConnectionError):
            if not begun:
                raise RefusedError(503, f"decoders are being replaced; try again in {RETRY_AFTER} seconds") from None
            self._lost("crash")
            raise SoundError("cannot be decoded: the decoder crashed") from None
        finally:
            writer.transport.abort()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                socket.send_fds(self._control, [READY], [theirs.fileno()])
            except OSError:  # there is nobody; what follows finds that out
                logger.debug("nobody takes the sound")
        return await asyncio.open_unix_connection(sock=ours)

    def _start(self) -> None:
        """Start the first process, and wait until it is ready."""
        self._control, theirs = socket.socketpair()
        # It divides, which a process of several threads should not do.
        environment = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        environment["PYTHONPATH"] = str(Path(__file__).parents[2])
        command = [sys.executable, "-P", "-m", "audiotagging.serving.decoder"]
        with theirs:
            self._process = subprocess.Popen(command, stdin=theirs.fileno(), env=os.environ | environment)
        self.alive = self._control.recv(len(READY)) == READY

    def _watch(self) -> None:
        """Replace the first process whenever it ends."""
        while True:
            code = self._process.wait()
            if self._closed.is_set():
                return
            self.alive = False
            self._lost("start")
            logger.error("the process that decodes ended with code %s; another one starts", code)
            self._control.close()
            if self._closed.wait(REPLACING):
                return
            self._start()


async def _send(writer: asyncio.StreamWriter, sound: BinaryIO, task: Task) -> None:
    size = sound.seek(0, os.SEEK_END)
    sound.seek(0)
    writer.writelines(message(asdict(task), size=size))
    while chunk := sound.read(CHUNK):
        writer.write(chunk)
        await writer.drain()


async def _receive(reader: asyncio.StreamReader, memory: Share) -> Decoded:
    head, size = [int.from_bytes(await reader.readexactly(HEAD)) for _ in range(2)]
    header = json.loads(await reader.readexactly(head))
    memory.take(size)
    return answer_of(header, await reader.readexactly(size))
