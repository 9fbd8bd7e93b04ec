"""A part of a file, as a file."""

import os
from typing import BinaryIO


class FilePart:
    """A part of an open file, which can be read and sought. It has no name from which a format could be guessed."""

    def __init__(self, file: BinaryIO, offset: int = 0, size: int | None = None) -> None:
        """Take a part.

        Args:
            file: The file.
            offset: The first byte.
            size: Number of bytes. None for all to the end.
        """
        self._file, self._offset, self._at = file, offset, 0
        self._size = file.seek(0, os.SEEK_END) - offset if size is None else size

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to a byte of the part, or to any place behind its end."""
        self._at = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        return self._at

    def tell(self) -> int:
        """Return the present byte."""
        return self._at

    def read(self, size: int = -1) -> bytes:
        """Read some bytes, or all that are left."""
        left = self._size - self._at
        if left <= 0:
            return b""  # a damaged file can send a decoder further than a system can seek
        self._file.seek(self._offset + self._at)
        data = self._file.read(left if size < 0 else min(size, left))
        self._at += len(data)
        return data
