"""Numbers, plurals, lists and durations in messages."""

from collections.abc import Sequence


def number(value: float) -> str:
    """Format a number without decimals, with a space between thousands.

    Examples:
        >>> number(1840.2)
        '1 840'
    """
    return f"{value:,.0f}".replace(",", " ")


def pluralize(count: int, noun: str) -> str:
    """Return a number with its noun, in the plural if needed.

    Examples:
        >>> pluralize(1, "clip"), pluralize(1840, "clip"), pluralize(2, "batch"), pluralize(3, "epoch")
        ('1 clip', '1 840 clips', '2 batches', '3 epochs')
    """
    plural = noun + ("es" if noun.endswith(("s", "tch")) else "s")
    return f"{number(count)} {noun if count == 1 else plural}"


def listed(words: Sequence[str]) -> str:
    """Return words with commas and "and" between them.

    Examples:
        >>> listed(["0"]), listed(["0", "2"]), listed(["0", "2", "4"])
        ('0', '0 and 2', '0, 2 and 4')
    """
    return " and ".join(filter(None, [", ".join(words[:-1]), *words[-1:]]))


def duration(seconds: float) -> str:
    """Format a duration.

    Examples:
        >>> duration(43), duration(720), duration(4800)
        ('43 s', '12 min', '1 h 20 min')
    """
    if round(seconds) < 60:
        return f"{round(seconds)} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"
