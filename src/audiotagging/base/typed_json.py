"""JSON files whose content has a declared type, such as a dataclass.

Whoever reads a file declares what it needs. Any other content raises an error that says which key of which file is
wrong, what was expected and what was found. Keys that are not declared are ignored, because a later version of the
program may have written them.
"""

import json
import re
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from types import UnionType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from audiotagging.base.errors import UserError
from audiotagging.base.files import open_file

RESTORE = "restore the original file"
LONGEST = 80  # characters of a value or a key in a message
SURROGATE = re.compile("[\ud800-\udfff]")  # JSON can hold them, UTF-8 cannot

T = TypeVar("T")


def write_json(path: Path, content: Any) -> None:
    """Write a JSON file that is indented for readers."""
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def read_json(path: Path, kind: type[T]) -> T:
    """Read a JSON file.

    Args:
        path: The file.
        kind: The type of its content, as for `convert`.

    Raises:
        UserError: If the content is not of this type.
        OSError: If the file cannot be read, or is no regular file.
    """
    with open_file(path) as file:
        return parse_json(file.read(), kind, source=path)


def parse_json(text: str | bytes, kind: type[T], *, source: object, advice: str = RESTORE) -> T:
    """Parse JSON, and convert it to a declared type.

    Args:
        text: The JSON.
        kind: The type, as for `convert`.
        source: Where the text is from, for the message.
        advice: What to do about an error.

    Raises:
        UserError: If the text is not JSON, or not of this type.
    """
    try:
        return convert(json.loads(text, object_pairs_hook=_object), kind)
    except UserError as error:
        raise UserError(f"{source}: {error}; {advice}") from error
    except (ValueError, RecursionError) as error:
        found = str(error)[:LONGEST]
        raise UserError(f"{source}: expected JSON, found something else ({found}); {advice}") from error


def convert(value: Any, kind: Any, *, key: str = "") -> Any:
    """Convert a value that was parsed from JSON to a declared type.

    Args:
        value: The value.
        kind: `str`, `bool`, `int`, `float`, `list[...]`, `dict[str, ...]`, `... | None`, a dataclass or a TypedDict.
            A whole number may be written as a float, because KFP turns all numbers into floats. All must be finite.
        key: Where the value is, for the message.

    Raises:
        UserError: If the value is not of this type.

    Examples:
        >>> convert({"loss": [3, 1.5]}, dict[str, list[float]])
        {'loss': [3.0, 1.5]}
        >>> convert({"loss": [3, None]}, dict[str, list[float]])
        Traceback (most recent call last):
        audiotagging.base.errors.UserError: expected loss[1] to be a number, found null
    """
    if isinstance(kind, UnionType):
        return None if value is None else convert(value, get_args(kind)[0], key=key)
    if kind in PLAIN:
        is_right, expected = PLAIN[kind]
        _expect(is_right(value), expected, value, key)
        return kind(value)
    if get_origin(kind) is list:
        _expect(isinstance(value, list), "a list", value, key)
        return [convert(each, get_args(kind)[0], key=f"{key}[{place}]") for place, each in enumerate(value)]
    _expect(isinstance(value, dict), "an object", value, key)
    prefix = f"{key}." if key else ""
    if get_origin(kind) is dict:
        return {
            convert(name, str, key=key): convert(each, get_args(kind)[1], key=prefix + name)
            for name, each in value.items()
        }
    types = get_type_hints(kind)
    for name in types:
        if name in _required(kind) and name not in value:
            raise UserError(f"expected the key {prefix}{name}, found no such key")
    return kind(**{name: convert(value[name], types[name], key=prefix + name) for name in types if name in value})


def _required(kind: Any) -> set[str]:
    """Return the keys without which an object is not of this dataclass or TypedDict."""
    if not is_dataclass(kind):
        return set(kind.__required_keys__)
    return {field.name for field in fields(kind) if field.default is field.default_factory is MISSING}


def _expect(is_right: bool, expected: str, value: Any, key: str) -> None:
    if not is_right:
        kinds: dict[type, str] = {list: "a list", dict: "an object"}
        found = kinds.get(type(value)) or json.dumps(value)[:LONGEST]
        raise UserError(f"expected {key[:LONGEST] or 'the content'} to be {expected}, found {found}")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Make a dictionary of the keys and values of an object, in which no key may be there twice."""
    content = dict(pairs)
    if len(content) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the key {next(name for name in names if names.count(name) > 1)!r} is there twice")
    return content


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and not SURROGATE.search(value)


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) < 2**63  # false for NaN


def _is_whole(value: Any) -> bool:
    return _is_number(value) and value == int(value)


PLAIN: dict[type, tuple[Any, str]] = {
    str: (_is_text, "text"),
    bool: (lambda value: isinstance(value, bool), "true or false"),
    int: (_is_whole, "a whole number"),
    float: (_is_number, "a number"),
}
