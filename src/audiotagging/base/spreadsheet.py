"""Text in CSV tables that people open in a spreadsheet, which would run some names as formulas.

An apostrophe comes before such text, and before text that looks as if it had one. Whoever reads the table removes it.
"""

from typing import IO

from audiotagging.base.errors import in_one_line

FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")  # how it may begin: the page "CSV Injection" of OWASP
QUOTED = tuple(f"'{first}" for first in (*FORMULA, "'"))  # how a field with an apostrophe begins


def to_field(text: str) -> str:
    """Return text as it is written to a table.

    Examples:
        >>> to_field("=1+1.wav"), to_field("bird.wav")
        ("'=1+1.wav", 'bird.wav')
    """
    return f"'{text}" if text.startswith(FORMULA + QUOTED) else text


def from_field(field: str) -> str:
    """Return the text of a field that `to_field` has written, or that somebody has typed.

    Examples:
        >>> from_field("'=1+1.wav"), from_field("'tis.wav")
        ('=1+1.wav', "'tis.wav")
    """
    return field[1:] if field.startswith(QUOTED) else field


def shown_field(text: str, out: IO[str]) -> str:
    """Return text as it is written to a table that is printed: on a terminal, what would control that is escaped."""
    return to_field(in_one_line(text) if out.isatty() else text)
