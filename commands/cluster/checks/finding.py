"""What a check finds, and the table of it."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

OK, WARNING, WRONG, UNSEEN = "ok", "warning", "wrong", "not seen"


@dataclass(frozen=True)
class Finding:
    """A row of the table.

    Attributes:
        what: What was looked at, such as "secret store".
        state: OK, WARNING (a run could suffer from it), WRONG (a run would fail or wait for ever), or UNSEEN (it cannot
            be known from here).
        said: What was found. If nothing could be seen, why.
        remedy: What to do about it. Empty if nothing has to be done.
    """

    what: str
    state: str
    said: str
    remedy: str = ""


def table(findings: Sequence[Finding], *, width: int) -> str:
    """Return the findings as a table for a terminal of this width, each remedy below what was found."""
    first = max(len(finding.what) for finding in findings) + 2
    second = max(map(len, (OK, WARNING, WRONG, UNSEEN))) + 2
    lines = []
    for finding in findings:
        start = f"{finding.what:<{first}}{finding.state:<{second}}"
        for text, mark in ((finding.said, ""), (finding.remedy, "-> ")):
            if text:
                lines += _wrapped(mark + text, start, first + second + len(mark), width)
                start = " " * len(start)
    return "\n".join(lines)


def _wrapped(text: str, start: str, indent: int, width: int) -> list[str]:
    return textwrap.wrap(
        text,
        max(width, indent + 40),
        initial_indent=start,
        subsequent_indent=" " * indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
