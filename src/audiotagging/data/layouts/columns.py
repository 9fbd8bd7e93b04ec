"""Finds out what the columns of a table are, by the names in use, by the user's wishes, and by what is in them."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from audiotagging.data.layouts.contents import shorten
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
        *("species", "species_code", "ebird_code", "common_name", "scientific_name", "instrument", "genre", "event"),
        *("target", "class_id", "classid"),
    ),
    "start": (
        *("start", "onset", "begin", "start_time", "begin_time", "onset_time", "starttime", "start_timestamp"),
        *("t_start", "t_min", "tmin"),
    ),
    "end": (
        *("end", "offset", "stop", "end_time", "stop_time", "offset_time", "endtime", "end_timestamp"),
        *("stop_timestamp", "t_end", "t_max", "tmax"),
    ),
    "duration": ("duration", "delta_time"),
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
    "confidence": ("confidence", "probability", "certainty", "soft_label", "likelihood", "relevance", "score"),
    "usage": ("usage",),
}
KNOWN = {name for names in NAMES.values() for name in names}
LIKE_TIMES = re.compile(r"(.+_)?(start|onset|begin|end|offset|stop)(_time.*)?")
OTHER_UNITS = re.compile(r"(start|onset|begin|end|offset|stop)(_time)?_\(?(ms|msec|milliseconds|samples?|frames?)\)?")
MORE_LABELS = {"primary_label": "secondary_labels"}  # columns that add to the labels of another one
FLAGS = re.compile(r"(is_|in_)?(test|train|val|valid|validation|holdout)(_set)?")  # names of splits as columns
YES, NO = ("1", "1.0", "True", "TRUE", "true"), ("0", "0.0", "False", "FALSE", "false")  # in a column per class
# Columns whose files were cut from longer ones: times beside them are those in the longer ones.
OF_PIECES = ("slice_file_name",)


@dataclass(frozen=True)
class Columns:
    """The columns of a table.

    Attributes:
        header: The names of all columns.
        used: The places of the columns in the header, by what they are used as. Only labels may have several.
        named: What the user, or a column of exactly this name, decided.
        is_one_hot: Whether each column of labels is a class, and has a one where it is heard and else a zero.
    """

    header: list[str]
    used: dict[str, list[int]]
    named: set[str]
    is_one_hot: bool = False

    def get(self, fields: Sequence[str], role: str) -> str:
        """Return the field of a record that is used as something, "" if there is none."""
        places = self.used.get(role)
        return fields[places[0]].strip() if places else ""

    def describe(self) -> str:
        """Return which column is used as what, and which are not used."""
        used = ", ".join(
            f"column {self.header[place]!r} is used as {role}"
            for role, places in self.used.items()
            for place in places
            if role != "labels" or not self.is_one_hot
        )
        if self.is_one_hot:
            classes = [self.header[place] for place in self.used["labels"]]
            used += f", columns of zeros and ones are used as labels: {shorten(classes)}"
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
    _settle_times(plain, used, reading)
    is_one_hot = "submission" not in where.casefold() and _find_classes(plain, records, used)  # those have zeros only
    return Columns(list(header), {role: used[role] for role in NAMES if used.get(role)}, named, is_one_hot)


def _settle_times(plain: Sequence[str], used: dict[str, list[int]], reading: Reading) -> None:
    """Use durations where there are starts and no ends, where `offset` is the start, and no times of pieces."""
    if any(plain[place] in OF_PIECES for place in used.get("path", ())):
        for role in {"start", "end", "duration"} - reading.columns.keys():
            used.pop(role, None)
    if "duration" in used and "start" not in used and [plain[place] for place in used.get("end", ())] == ["offset"]:
        used["start"] = used.pop("end")
    if "start" not in used or "end" in used:
        used.pop("duration", None)


def _find_classes(plain: Sequence[str], records: Sequence[Sequence[str]], used: dict[str, list[int]]) -> bool:
    """Return whether labels are columns of zeros and ones, and use all of these if no other columns are left.

    Several columns that the user named are such, too.
    """
    binary = [p for p in range(len(plain)) if records and all(record[p].strip() in (*YES, *NO) for record in records)]
    if "labels" in used:
        return len(used["labels"]) > 1 and set(used["labels"]) <= set(binary)
    taken = {place for places in used.values() for place in places}
    left = [place for place in range(len(plain)) if place not in taken and plain[place] not in ("", *NAMES["path"])]
    if len(left) < 2 or "path" not in used or not set(left) <= set(binary) or any(map(FLAGS.fullmatch, plain)):
        return False
    used["labels"] = left
    return True


def near_misses(columns: Columns) -> list[str]:
    """Return which columns that are not used have nearly the name of an optional one, or times in other units."""
    taken = {place for places in columns.used.values() for place in places}
    unused = [column for place, column in enumerate(columns.header) if place not in taken]
    optional = [role for role in ("fold", "split", "group") if role not in columns.used and role not in columns.named]
    times = {"start", "end", "duration"}
    whole = not times & (columns.used.keys() | columns.named) and not any(map(_is_of_pieces, columns.header))
    wrong = [
        f"the column {column!r} is not in seconds: convert it, and call it start or end, or, if labels are of whole "
        "sounds, remove it"
        for column in unused
        if whole and OTHER_UNITS.fullmatch(plain_name(column))
    ]
    wrong += [
        f"the column {column!r} is not used; if labels begin or end there, name it with --start-column or "
        "--end-column, or, if they are of whole sounds, say --start-column none"
        for column in unused
        if whole and LIKE_TIMES.fullmatch(plain_name(column))
    ]
    wrong += [
        f"the column {column!r} is not used: write test, validation or train into a column split instead, or say "
        "--split-column none"
        for column in unused
        if FLAGS.fullmatch(plain_name(column)) and not {"split", "fold"} & (columns.used.keys() | columns.named)
    ]
    return wrong + [
        f"the column {column!r} is not used; if it is meant to be {meant[0]!r}, rename it, or name it with "
        f"--{meant[0]}-column"
        for column in unused
        if (meant := get_close_matches(plain_name(column), optional, n=1, cutoff=0.85))
    ]


def is_header(fields: Sequence[str]) -> bool:
    """Return whether the first record of a table has a name of a column that is known."""
    return not KNOWN.isdisjoint(map(plain_name, fields))


def plain_name(column: str) -> str:
    """Return the name of a column in small letters, with underscores, and without the unit of times.

    Examples:
        >>> plain_name("Begin Time (s)"), plain_name("# fsID"), plain_name("onset_seconds")
        ('begin_time', 'fsid', 'onset')
    """
    plain = re.sub(r"[\s-]+", "_", re.sub(r"[(\[]s(ec|econds)?[)\]]", "", column.casefold()).strip(" #"))
    return re.sub(r"_(s|secs?|seconds)$", "", plain)


def _is_of_pieces(column: str) -> bool:
    return plain_name(column) in OF_PIECES


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
