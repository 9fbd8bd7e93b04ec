"""Finds out what the columns of a table are, by the names in use, by the user's wishes, and by what is in them."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from audiotagging.data.layouts.reading import NO_COLUMN, Reading
from audiotagging.data.layouts.sound_names import SoundNames

VAGUE = ("clip", "clip_id", "audio_id", "file_id", "id", "name")  # names of paths, but of much else too
# The names of columns in public data sets and in tables that programs write, by what they are used as, the likeliest
# first: in small letters, with underscores, and without units.
NAMES = {
    "path": (
        *("path", "file_path", "filepath", "filename", "file_name", "fname", "file", "slice_file_name", "audio_path"),
        *("audio_file", "audio_filename", "audio", "wav_file", "wav_filename", "wav", "sound", "recording"),
        *("begin_path", "begin_file", "itemid", *VAGUE),
    ),
    "labels": (
        *("labels", "label", "primary_label", "category", "categories", "class", "classes", "class_name", "classname"),
        *("scene_label", "event_label", "event_labels", "sound_class", "annotation", "annotations", "tags", "tag"),
        *("species", "species_code", "ebird_code", "common_name", "scientific_name", "target", "class_id", "classid"),
    ),
    "start": ("start", "onset", "begin", "start_time", "begin_time", "start_seconds", "start_s", "onset_s", "begin_s"),
    "end": ("end", "offset", "stop", "end_time", "stop_time", "end_seconds", "end_s", "offset_s", "stop_s"),
    "fold": ("fold", "folds", "fold_id", "cv_fold"),
    "split": ("split", "subset", "partition", "set"),
    "group": (
        "group",
        "freesound_id",
        "fsid",
        "src_file",
        "recording_id",
        "identifier",
        "recorder",
        "site",
        "location",
    ),
    "confidence": ("confidence", "probability", "certainty", "soft_label"),
    "usage": ("usage",),
}
OTHER_UNITS = re.compile(r"(start|onset|begin|end|offset|stop)(_time)?_\(?(ms|msec|milliseconds|samples?|frames?)\)?")
MORE_LABELS = {"primary_label": "secondary_labels"}  # columns that add to the labels of another one
# Columns whose files were cut from longer ones: times beside them are those in the longer ones.
OF_PIECES = ("slice_file_name",)


@dataclass(frozen=True)
class Columns:
    """The columns of a table.

    Attributes:
        header: The names of all columns.
        used: The places of the columns in the header, by what they are used as. Only labels may have several.
        named: What the user, or a column of exactly this name, decided.
    """

    header: list[str]
    used: dict[str, list[int]]
    named: set[str]

    def get(self, fields: Sequence[str], role: str) -> str:
        """Return the field of a record that is used as something, "" if there is none."""
        places = self.used.get(role)
        return fields[places[0]].strip() if places else ""

    def describe(self) -> str:
        """Return which column is used as what, and which are not used."""
        used = ", ".join(
            f"column {self.header[place]!r} is used as {role}" for role, places in self.used.items() for place in places
        )
        taken = {place for places in self.used.values() for place in places}
        left = [column for place, column in enumerate(self.header) if column and place not in taken]
        return used + (f"; not used: {', '.join(left)}" if left else "")


def find_columns(
    header: Sequence[str],
    records: Sequence[Sequence[str]],
    sounds: SoundNames,
    *,
    reading: Reading,
    where: str,
    problems: list[str],
) -> Columns:
    """Find out what the columns of a table are.

    Args:
        header: The names of its columns.
        records: Its first records, with as many fields.
        sounds: The sounds of the data folder.
        reading: The user's wishes.
        where: The table, for messages.
        problems: The list to which problems are added, one string each.

    Returns:
        The columns. Without paths or labels, the table is none of clips.
    """
    plain = [plain_name(column) for column in header]
    used: dict[str, list[int]] = {}
    named = set()
    for role, wanted in reading.columns.items():
        named.add(role)
        if wanted != [NO_COLUMN]:
            used[role] = _named(header, wanted, role=role, where=where, problems=problems)
    if "path" not in used and (place := _paths(plain, records, sounds)) is not None:
        used["path"] = [place]
        named |= {"path"} & {plain[place]}
    for role, names in NAMES.items():
        taken = {place for places in used.values() for place in places}
        free = [name for name in names if name in plain and plain.index(name) not in taken]
        if role not in used and role not in named and free:
            filled = [name for name in free if any(record[plain.index(name)].strip() for record in records)]
            name = (filled or free)[0]
            used[role] = [plain.index(name)]
            if role == "labels" and MORE_LABELS.get(name) in plain:
                used[role].append(plain.index(MORE_LABELS[name]))
            if name == role:
                named.add(role)
    if any(plain[place] in OF_PIECES for place in used.get("path", ())):
        times = {"start", "end"} - reading.columns.keys()
        used = {role: places for role, places in used.items() if role not in times}
    return Columns(list(header), {role: used[role] for role in NAMES if used.get(role)}, named)


def near_misses(columns: Columns) -> list[str]:
    """Return which columns that are not used have nearly the name of an optional one, or times in other units."""
    taken = {place for places in columns.used.values() for place in places}
    unused = [column for place, column in enumerate(columns.header) if place not in taken]
    optional = [role for role in ("fold", "split", "group") if role not in columns.used and role not in columns.named]
    in_other_units = [column for column in unused if OTHER_UNITS.fullmatch(plain_name(column))]
    wrong = [
        f"the column {column!r} is not in seconds: convert it, and call it start or end, or, if labels are of whole "
        "sounds, remove it"
        for column in in_other_units
    ]
    return wrong + [
        f"the column {column!r} is not used; if it is meant to be {meant[0]!r}, rename it, or name it with "
        f"--{meant[0]}-column"
        for column in unused
        if (meant := get_close_matches(plain_name(column), optional, n=1, cutoff=0.85))
    ]


def is_header(fields: Sequence[str]) -> bool:
    """Return whether the first record of a table has a name of a column that is known."""
    known = {name for names in NAMES.values() for name in names}
    return not known.isdisjoint(map(plain_name, fields))


def plain_name(column: str) -> str:
    """Return the name of a column in small letters, with underscores, and without the unit of times.

    Examples:
        >>> plain_name("Begin Time (s)"), plain_name("# fsID")
        ('begin_time', 'fsid')
    """
    return re.sub(r"[\s-]+", "_", re.sub(r"[(\[]s(ec|econds)?[)\]]", "", column.casefold()).strip(" #"))


def _named(header: Sequence[str], wanted: list[str], *, role: str, where: str, problems: list[str]) -> list[int]:
    """Return the places of columns that the user named."""
    lower = [column.casefold() for column in header]
    places = []
    for name in wanted:
        if name in header:
            places.append(list(header).index(name))
        elif lower.count(name.casefold()) == 1:
            places.append(lower.index(name.casefold()))
        else:
            option = "label" if role == "labels" else role
            problems.append(f"{where}: --{option}-column: expected one of {', '.join(header)}, found {name!r}")
    return places


def _paths(plain: Sequence[str], records: Sequence[Sequence[str]], sounds: SoundNames) -> int | None:
    """Return the place of the column that names most sounds, of those with a name in use if there are some."""
    hits = [sum(bool(sounds.find(record[place].strip())) for record in records) for place in range(len(plain))]
    known = [place for name in NAMES["path"] for place, column in enumerate(plain) if column == name]
    best = max(known, key=hits.__getitem__, default=None)
    if best is not None and (hits[best] or not any(hits)):
        return best
    likeliest = max(range(len(plain)), key=hits.__getitem__)
    return likeliest if 2 * hits[likeliest] >= len(records) > 0 else best
