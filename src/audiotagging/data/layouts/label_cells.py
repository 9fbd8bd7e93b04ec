r"""Reads the labels in a field of a table or of a label file.

Several labels are separated by commas, semicolons or bars, or are a list as Python, JSON or NumPy print it. Names in
the two Unicode forms, or with other spaces, are one name. Fields such as `nan` are empty.
"""

import re
import shlex
import unicodedata
from collections import defaultdict
from collections.abc import Collection, Iterable

from audiotagging.data.layouts.contents import SEPARATORS, shorten

MISSING = {"nan", "NaN", "NAN", "NaT", "None", "NULL", "null", "<NA>", "NA", "N/A", "n/a", "#N/A"}
NO_LABELS = {"none", "unknown", "unlabelled", "unlabeled", "no label", "nothing"}
BRACKETS = {"[": "]", "(": ")", "{": "}"}
QUOTED = re.compile(r"'((?:\\.|[^'\\])*)'|\"((?:\\.|[^\"\\])*)\"")


def split_labels(field: str) -> list[str]:
    """Return the labels of a field without duplicates.

    Examples:
        >>> split_labels("Bark, Meow,Bark"), split_labels("Bark;Meow"), split_labels("nan")
        (['Bark', 'Meow'], ['Bark', 'Meow'], [])
        >>> split_labels("['Bark', 'Meow']"), split_labels("['Bark' 'Meow']"), split_labels("[]")
        (['Bark', 'Meow'], ['Bark', 'Meow'], [])
    """
    field = field.strip()
    if field in MISSING:
        return []
    found = _listed(field)
    if found is None:
        found = re.split(f"[{re.escape(SEPARATORS)}]", _unquoted(field))
    return list(dict.fromkeys(name for name in map(clean, found) if name and name not in MISSING))


def is_list(field: str) -> bool:
    """Return whether a field is a list as a program prints it."""
    return _listed(field.strip()) is not None


def is_vector(field: str) -> bool:
    """Return whether a field has a number for each class, such as `[0.0, 1.0, 0.0]`, instead of names.

    Labels are listed once, so that three zeros and ones are no labels.
    """
    found = re.split(r"[,;|\s]+", field.strip("[](){} \n"))
    return len(found) > 2 and all(re.fullmatch(r"[01](\.0*)?", number) for number in found)


def is_part(label: str) -> bool:
    """Return whether a label is part of something else than a list of names, such as `{'dog': .3` or `dog:.3`."""
    is_open = any(label.count(opening) != label.count(closing) for opening, closing in BRACKETS.items())
    return is_open or re.fullmatch(r".*[:=]\s*\d*\.\d+", label) is not None


def clean(label: str) -> str:
    """Return a label in the composed Unicode form, without quotes around it, and with single spaces."""
    return " ".join(_unquoted(unicodedata.normalize("NFC", label).strip()).split())


def check_separators(fields: Iterable[tuple[str, str]], *, problems: list[str]) -> str:
    """Check that one separator is used in all fields, because another one may be part of a name.

    Args:
        fields: Where each field is, such as "clips.csv line 2", and the field.
        problems: The list to which problems are added, one string each.

    Returns:
        The separator, or "" if no field has several labels.
    """
    first: dict[str, str] = {}
    for where, field in fields:
        if field.strip()[:1] not in BRACKETS:
            for separator in set(SEPARATORS).intersection(field):
                first.setdefault(separator, where)
    if len(first) > 1:
        (one, there), (other, here) = list(first.items())[:2]
        problems.append(
            f"{here}: {other!r} separates labels here, and {one!r} in {there}; separate all of them by one character, "
            "and use no other one in names"
        )
    return next(iter(first), "")


def spelling_notes(classes: Collection[str]) -> list[str]:
    """Return notes about classes that may be one class, that may be two, and that may be none.

    Examples:
        >>> spelling_notes(["Dog", "cat", "dog"])[0].partition(";")[0]
        "the classes 'Dog' and 'dog' differ only in spelling"
        >>> spelling_notes(["cat", "dog", "dog/cat"])[0].partition(";")[0]
        "the class 'dog/cat' is named after the classes dog and cat"
    """
    alike = defaultdict(list)
    for name in classes:
        alike[_key(name)].append(name)
    notes = [
        f"the classes {' and '.join(map(repr, names))} differ only in spelling; if they are one class, write it in one "
        "way everywhere"
        for names in alike.values()
        if len(names) > 1
    ]
    known = set(classes)
    for name in classes:
        parts = [part for part in re.split(r"\s*[/+&]\s*|\s+and\s+|\s+", name) if part]
        if len(parts) > 1 and known.issuperset(parts):
            both = f"{shorten(parts[:-1])} and {parts[-1]}"
            notes.append(
                f"the class {name!r} is named after the classes {both}; if it means all of them, write commas between"
            )
    notes += [
        f"the class {name!r} may mean that there is no label: --negatives {shlex.quote(name)} takes its clips as clips "
        "without labels"
        for name in classes
        if _key(name) in NO_LABELS or not re.search(r"[^\W_]", name)
    ]
    return notes


def _key(name: str) -> str:
    """Return what names have in common that differ only in capitals, width, spaces, signs or the form of a number."""
    plain = re.sub(r"^(\d+)\.0+$", r"\1", unicodedata.normalize("NFKC", name).casefold())
    return re.sub(r"[\W_]+", " ", plain).strip() or name


def _unquoted(text: str) -> str:
    """Return a text without the quotes around it, if these are its only ones."""
    quote = text[:1]
    is_quoted = quote in ("'", '"') and len(text) > 1 and text.endswith(quote) and text.count(quote) == 2
    return text[1:-1] if is_quoted else text


def _listed(field: str) -> list[str] | None:
    """Return the elements of a list, or None if the field is no list."""
    if not field or BRACKETS.get(field[0]) != field[-1]:
        return None
    inner = field[1:-1]
    if not QUOTED.sub("", inner).strip(" ,;\t\r\n"):
        return [re.sub(r"\\(.)", r"\1", one or other) for one, other in QUOTED.findall(inner)]
    if field[0] != "[" or QUOTED.search(inner):
        return None
    return re.split(f"[{re.escape(SEPARATORS)}]", inner)
