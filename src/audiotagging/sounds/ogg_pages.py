"""Walks over the pages of an Ogg file (RFC 3533, section 6), without decoding them."""

from typing import BinaryIO

HEADER = 27  # bytes of a page before the sizes of its segments
LARGEST_PAGE = HEADER + 255 + 255 * 255  # bytes
FIRST, LAST = 2, 4  # flags of a stream's first and last page


def has_last_page(file: BinaryIO) -> bool:
    """Return whether the last page of a file is complete and marked as the last one.

    Args:
        file: The file, which is left anywhere.
    """
    length = file.seek(0, 2)
    file.seek(max(0, length - 2 * LARGEST_PAGE))
    tail = file.read()
    at = tail.rfind(b"OggS")
    size = _page_size(tail[at : at + HEADER + 255]) if at >= 0 else None
    return size is not None and at + size <= len(tail) and bool(tail[at + 5] & LAST)


def links(file: BinaryIO) -> list[tuple[int, int]]:
    """Return the offset and the size of the links of a chained file. A plain file is one link.

    Args:
        file: The file, which is left anywhere.
    """
    length = file.seek(0, 2)
    starts: list[int] = []
    at, began = 0, False  # whether the page before is the first one of a stream: a link may have several streams
    while at < length:
        file.seek(at)
        header = file.read(HEADER + 255)
        size = _page_size(header) if header.startswith(b"OggS") else None
        if size is None:  # damaged: look for the next page
            file.seek(at + 1)
            found = file.read(LARGEST_PAGE).find(b"OggS")
            at += 1 + (found if found >= 0 else LARGEST_PAGE)
            continue
        begins = bool(header[5] & FIRST)
        if begins and not began:
            starts.append(at)
        at, began = at + size, begins
    starts[:1] = [0]
    return [(start, end - start) for start, end in zip(starts, [*starts[1:], length], strict=True)]


def _page_size(header: bytes) -> int | None:
    """Return the size of a page in bytes, or None if its header is cut off."""
    if len(header) < HEADER or len(header) < HEADER + header[26]:
        return None
    return HEADER + header[26] + sum(header[HEADER : HEADER + header[26]])
