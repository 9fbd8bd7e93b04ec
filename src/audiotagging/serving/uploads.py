"""Receives sounds: the body of a request, or the files of a form. All of it stays in memory.

What arrives is counted as it arrives, whatever the request's headers state. A client may pause, but on average it must
be faster than `SLOWEST` after the first seconds, so that nobody can occupy the server by sending a byte now and then.
"""

import asyncio
import time
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from io import BytesIO
from typing import BinaryIO

from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from audiotagging.serving.limits import Limits, RefusedError, Share

FORM = "multipart/form-data"
BODY = "body"  # the name of a sound that is not in a form
PATIENCE = 20.0  # seconds
SLOWEST = 16_000  # bytes per second


@dataclass(frozen=True)
class Upload:
    """A sound that was sent.

    Attributes:
        name: Its name: that of the file in the form, or `BODY`.
        file: Its content.
    """

    name: str
    file: BinaryIO


class _Parser(MultiPartParser):
    spool_max_size = 0  # nothing is written to disk, however large it is


async def receive(request: Request, *, limits: Limits, memory: Share) -> list[Upload]:
    """Receive the sounds of a request.

    Args:
        request: The request.
        limits: What the server takes on.
        memory: What the request takes of the server's memory.

    Raises:
        RefusedError: If there is no sound, too much of it, or something else, or if the client is too slow.
        ClientDisconnect: If the client disconnects.
    """
    chunks = _chunks(request, limits=limits, memory=memory)
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() == FORM:
        return await _files(request, chunks, most=limits.files)
    file = BytesIO()
    async for chunk in chunks:
        file.write(chunk)
    if not file.tell():
        raise RefusedError(422, "expected a sound in the body of the request, found nothing")
    return [Upload(BODY, file)]


async def _files(request: Request, chunks: AsyncGenerator[bytes, None], *, most: int) -> list[Upload]:
    try:
        form = await _Parser(request.headers, chunks, max_files=most, max_fields=0).parse()
    except MultiPartException as error:
        raise RefusedError(
            400, f"expected a form of at most {most} files and nothing else, found another: {error.message}"
        ) from None
    files = [value for _, value in form.multi_items() if isinstance(value, UploadFile)]
    if not files:
        raise RefusedError(422, "expected a form with a sound file, found none in it")
    return [Upload(file.filename or "", file.file) for file in files]


async def _chunks(request: Request, *, limits: Limits, memory: Share) -> AsyncGenerator[bytes, None]:
    """Yield the body in pieces as they arrive."""
    stated = request.headers.get("content-length", "")
    if stated.isdecimal() and int(stated[:20]) > limits.upload:
        raise _too_large(limits)
    begin, received = time.monotonic(), 0
    stream = request.stream()
    while True:
        try:
            async with asyncio.timeout(begin + PATIENCE + received / SLOWEST - time.monotonic()):
                chunk = await anext(stream, None)
        except TimeoutError:
            raise RefusedError(
                408, f"expected {SLOWEST} bytes per second or more, found fewer; send it again"
            ) from None
        if chunk is None:
            return
        received += len(chunk)
        if received > limits.upload:
            raise _too_large(limits)
        memory.take(len(chunk))
        yield chunk


def _too_large(limits: Limits) -> RefusedError:
    return RefusedError(413, f"expected at most {limits.upload / 1e6:g} MB, found more; send less at once")
