"""Label files beside long recordings, from Audacity or Raven. Each label becomes a clip.

Audacity exports `REC.txt` beside `REC.wav`, and Raven writes selection tables such as `REC.Table.1.selections.txt`
(`timed_labels`). Those of URBAN-SED and of DCASE's challenges may be in a folder of their own, such as
`annotations/train/` beside `audio/train/`.

A clip reaches from `MARGIN` before the label to `MARGIN` after it, and has all labels that overlap this time. Several
labels in one text are separated by commas. A label of which less than half lies in its recording is no clip. The clips
of a recording are a group. Recordings in a folder `test/` are for test clips.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

from audiotagging.base.progress import track
from audiotagging.base.wording import pluralize
from audiotagging.data.layouts.contents import Clip, Contents, check_classes, shorten
from audiotagging.data.layouts.label_cells import check_separators, split_labels
from audiotagging.data.layouts.reading import Reading
from audiotagging.data.layouts.sound_names import SoundNames
from audiotagging.data.layouts.splits import TEST, VALIDATION, VALIDATION_FOLD, split_of_folders, validation_note
from audiotagging.data.layouts.suspects import texts_beside
from audiotagging.data.layouts.timed_labels import Label, Reader, is_label_file, uncertain
from audiotagging.data.layouts.tree import Tree, name_of
from audiotagging.sounds.audio import SoundError, duration

SOURCE = "the label files"
MARGIN = 0.5  # seconds
NOTES = 20  # labels that are named
SUFFIXES = (".txt", ".tsv", ".csv", ".tab")


def label_files_of(tree: Tree, sounds: SoundNames) -> list[PurePosixPath]:
    """Return the text files that are label files, going by their first lines. Tables that name sounds are none.

    Args:
        tree: The files of the data folder.
        sounds: Its sounds.
    """
    texts = [file for file in tree.others if file.suffix.lower() in SUFFIXES]
    return [file for file in texts if is_label_file(tree.folder / file, sounds)]


def read_label_files(tree: Tree, files: Sequence[PurePosixPath], *, reading: Reading, problems: list[str]) -> Contents:
    """Read a data folder.

    Args:
        tree: Its files.
        files: The label files in it.
        reading: The user's wishes.
        problems: The list to which problems are added, one string each.
    """
    reader, known = Reader(reading, problems), set(files)
    everywhere = SoundNames(tree.sounds)
    labels_of: dict[PurePosixPath, list[Label]] = defaultdict(list)
    notes: list[str] = []
    sounds_in: dict[PurePosixPath, list[PurePosixPath]] = defaultdict(list)
    for sound in tree.sounds:
        sounds_in[sound.parent].append(sound)
    for file in track(files, label="read labels and recordings", total=len(files)):
        about: dict[str, list[Label]] = defaultdict(list)
        for label in reader.read(tree.folder / file, name=name_of(file)):
            about[label.sound].append(label)
        for name, labels in sorted(about.items()) or [("", [])]:
            recording = _recording(file, name, beside=sounds_in[file.parent], alone=len(about) <= 1)
            if not recording:
                elsewhere = everywhere.find(name or file.name.partition(".")[0], near=file.parts)
                recording = elsewhere[0] if len(elsewhere) == 1 else None
            if recording:
                labels_of[recording] += inside(labels, tree.folder / recording, name_of(file), notes)
            else:
                wanted = f"the sound {name}" if name else "a sound of this name"
                problems.append(f"{name_of(file)}: expected {wanted} beside the labels, found none")
    unlabelled = [sound for sound in tree.sounds if sound not in labels_of]
    problems += [
        f"{name_of(file)}: expected a start, an end and a label between tabs in each line, or a selection table of "
        "Raven, found neither; write it so, or move it away"
        for file in texts_beside(tree, unlabelled)
        if file not in known
    ]
    _check_mixture(tree, files[0], labels_of, problems)

    clips = [clip for sound in sorted(labels_of) for clip in _clips(tree, sound, labels_of[sound])]
    clips.sort(key=lambda clip: clip.part == "test")
    classes = sorted({label for clip in clips if clip.part == "curated" for label in clip.labels})
    if reader.uncertain:
        problems.append(uncertain(reader.uncertain[0], count=len(reader.uncertain)))
    else:
        check_classes(classes, source=SOURCE, problems=problems)
    untrained = sorted({label for clip in clips for label in clip.labels} - set(classes))
    problems += [f"{SOURCE}: the label {label!r} is only in recordings of test/" for label in untrained]
    check_separators(reader.texts, problems=problems)
    notes = outside(notes) + tree.notes(used=known) + reader.notes
    if reader.unsure:
        left = pluralize(reader.unsure, "label")
        notes.append(f"{SOURCE}: {left} less sure than {reading.min_confidence:g}, left out")
    if unlabelled:
        names = shorten([name_of(sound) for sound in unlabelled])
        notes.append(f"{pluralize(len(unlabelled), 'sound')} without a label file, left out: {names}")
    validation = sum(split_of_folders(sound.parts[:-1]) == VALIDATION for sound in labels_of)
    notes += validation_note(validation)
    notes.append(
        f"{pluralize(len(clips), 'clip')} cut from {pluralize(len(labels_of), 'recording')}; each recording is a group"
    )
    return Contents(SOURCE, classes, clips, notes)


def _recording(file: PurePosixPath, name: str, *, beside: list[PurePosixPath], alone: bool) -> PurePosixPath | None:
    """Return the sound that a label file names, or that it is named after if all of its labels are about one sound."""
    found = [path for path in beside if path.name == name]
    if alone and not found:
        found = [path for path in beside if file.name.startswith(f"{path.stem}.")]
    return max(found, key=lambda path: len(path.stem), default=None)


def _check_mixture(tree: Tree, file: PurePosixPath, labelled: Iterable[PurePosixPath], problems: list[str]) -> None:
    """Check that all folders of sounds have labelled ones. The others may be folders of classes."""
    without = sorted({sound.parts[:-1][:1] for sound in tree.sounds} - {sound.parts[:-1][:1] for sound in labelled})
    if without:
        problems.append(
            f"expected label files beside the sounds or a folder per class, found both: {name_of(file)}, but "
            f"none in {name_of('/'.join(without[0]) or '.')}/; move what is not meant out of the folder"
        )


def inside(labels: list[Label], recording: Path, file: str, notes: list[str]) -> list[Label]:
    """Return the labels of which at least half lies in their recording, and note the others.

    Args:
        labels: Labels in one recording.
        recording: The recording.
        file: The name of the file that they are in, for the notes.
        notes: The list to which a note on every other label is added.
    """
    try:
        length = duration(recording)
    except SoundError:  # which is reported of its clips
        return labels
    used = []
    for label in labels:
        heard = min(label.end, length) - label.start
        if label.start >= length:
            what = f"begins at {label.start:g} s, after the end of {name_of(recording.name)} ({length:.2f} s)"
            notes.append(f"{file} line {label.line}: the label {label.text!r} {what}; left out")
        elif heard < (label.end - label.start) / 2:
            what = f"{heard:.2f} of {label.end - label.start:.2f} s of the label {label.text!r} lie in"
            notes.append(f"{file} line {label.line}: only {what} {name_of(recording.name)} ({length:.2f} s); left out")
        else:
            used.append(label)
    return used


def outside(notes: list[str]) -> list[str]:
    """Return notes on labels outside of their recordings, of which only some are named if there are many."""
    if len(notes) <= NOTES:
        return notes
    more = pluralize(len(notes) - NOTES, "more label")
    return [*notes[:NOTES], f"and {more} outside of the recordings, left out"]


def _clips(tree: Tree, sound: PurePosixPath, labels: list[Label]) -> list[Clip]:
    """Return the clips of a recording in the split that its folders name."""
    split = split_of_folders(sound.parts[:-1])
    clips = cut_clips(tree, sound, labels, part="test" if split == TEST else "curated")
    return [replace(clip, fold=VALIDATION_FOLD if split == VALIDATION else -1) for clip in clips]


def cut_clips(tree: Tree, sound: PurePosixPath, labels: list[Label], *, part: str) -> list[Clip]:
    """Return the clips that are cut from a recording. Labels of the same time are one clip.

    Args:
        tree: The files of the data folder.
        sound: The recording.
        labels: All labels in it.
        part: The part of the clips.
    """
    spans = {(round(max(0.0, label.start - MARGIN), 3), round(label.end + MARGIN, 3)) for label in labels}
    return [
        Clip(
            f"{name_of(sound)}@{start:.3f}-{end:.3f}",
            part=part,
            path=str(tree.folder / sound),
            labels=_heard(labels, start, end),
            group=name_of(sound),
            start=start,
            end=end,
        )
        for start, end in sorted(spans)
    ]


def _heard(labels: list[Label], start: float, end: float) -> list[str]:
    """Return the labels that overlap a time, in the order of their starts."""
    heard = [label for label in sorted(labels) if label.start < end and label.end > start]
    return list(dict.fromkeys(each for label in heard for each in split_labels(label.text)))
