"""The base class of errors that the user can fix, and the error of a machine that failed. Others are defects.

A message is one line that says where something is wrong, what was expected, what was found, and what to do. The command
line prints it without a traceback and exits with code 2. The exceptions of this library derive from `UserError`.
"""

import re
import shlex

LONGEST = 500  # characters of a message
TAIL = 150  # of them, how many are the end of a message that is too long: it says what to do
HIDDEN = "[hidden]"

# What comes after these is a secret, up to the next space, quote or separator. The names are those of URLs, headers,
# JSON and environment variables.
_NAME = r"[\w-]{0,40}(?:token|passw|secret|signature|credential|cookie|session|api_?key|accesskeyid)[\w-]{0,40}|sig"
SECRETS = (
    re.compile(r"(?P<before>\bauthorization['\"]?: ?['\"]?)[^'\"\n]+", re.IGNORECASE),
    re.compile(r"(?P<before>\bBearer )[^\s'\"]+"),
    re.compile(r"(?P<before>\b(?:set-)?cookie['\"]?: ?['\"]?)[^'\"\n]+", re.IGNORECASE),
    re.compile(r"(?P<before>://[^/\s:@]*:)[^/\s@]+(?=@)"),
    re.compile(rf"(?P<before>\b(?:{_NAME})(?:=|['\"]: ?)['\"]?)[^\s'\"&;,]+", re.IGNORECASE),
)
_hidden: set[str] = set()


class UserError(Exception):
    """Raised for what the user can fix, such as an option, a file, a data set or a service that does not answer."""

    def __str__(self) -> str:
        """Return the message, in one line without secrets."""
        return brief(super().__str__())


class MachineError(Exception):
    """Raised if the machine failed, such as a GPU or its driver. It is neither the user's error nor a defect."""


def hide(secret: str) -> None:
    """Remove a secret from all later messages of this process, wherever it is quoted."""
    _hidden.update(part for part in (secret, shlex.quote(secret), *secret.split()) if len(part) > 3)


def hide_address(url: str) -> None:
    """Remove a URL that is a secret, such as the webhook of a chat, and also its path where that is quoted alone."""
    hide(url)
    _, slash, path = url.partition("://")[2].partition("/")
    _hidden.update(part for part in (f"{slash}{path}", *path.split()) if len(part) > 3)


def without_secrets(text: str) -> str:
    """Return a text without the secrets that are known, and without what looks like one.

    Examples:
        >>> without_secrets("GET https://store/clips.csv?X-Amz-Signature=0f3a&list=1")
        'GET https://store/clips.csv?X-Amz-Signature=[hidden]&list=1'
    """
    for secret in sorted(_hidden, key=len, reverse=True):
        text = text.replace(secret, HIDDEN)
    for pattern in SECRETS:
        text = pattern.sub(rf"\g<before>{HIDDEN}", text)
    return text


def in_one_line(text: str) -> str:
    r"""Return text with the characters that would control a terminal as in `\n`."""
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)


def brief(text: str) -> str:
    r"""Return a message as it may be shown: in one line of at most `LONGEST` characters, and without secrets.

    Characters that would control a terminal are escaped.

    Examples:
        >>> brief("one line,\n  another, and \x1b[31mred.wav")
        'one line, another, and \\x1b[31mred.wav'
    """
    line = in_one_line(" ".join(part.strip() for part in without_secrets(text).splitlines()))
    if len(line) <= LONGEST:
        return line
    return f"{line[: LONGEST - TAIL - 5]} ... {line[-TAIL:]}"
