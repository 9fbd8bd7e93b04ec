"""Tags the new sounds of a folder in batches: the three stages of the pipeline `tagging`."""

import logging
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow as pa

from audiotagging.artifacts.champions_folder import champion_folder
from audiotagging.artifacts.ensemble_folder import read_version
from audiotagging.artifacts.model_folder import model_folders, models_folder
from audiotagging.base.errors import UserError
from audiotagging.base.files import path_text
from audiotagging.base.processes import TERMINATED
from audiotagging.base.progress import track
from audiotagging.base.tables import read_parquet, write_parquet
from audiotagging.base.wording import pluralize
from audiotagging.sounds.audio import SoundError
from audiotagging.sounds.formats import is_sound_path
from audiotagging.sounds.recordings import examine
from audiotagging.tagging.batch_results import (
    BATCH,
    BATCH_TIME,
    BATCHES,
    Options,
    TaggedFile,
    check_settings,
    complete_batch,
    has_parts,
    known_files,
    write_part,
)
from audiotagging.tagging.drift import Drift, NoTestClipsError, Sounds, compare, read_test_clips
from audiotagging.tagging.loading import load_tagger
from audiotagging.tagging.storage import Storage, open_storage
from audiotagging.tagging.tagger import Tagger
from audiotagging.tagging.windows import Choose, check_windows, choice, tag_windows

SHARD_BYTES = 10_000_000  # of sound, two minutes at 44.1 kHz: fewer are not worth a further process with all models
COMPARED = 500  # files of a batch that are also scored as a whole, for a comparison with other sounds
PART_SECONDS = 60.0  # between two parts: what is lost if a process is killed

NEW = pa.schema(
    [
        pa.field("path", pa.binary(), nullable=False),  # because names need not be UTF-8
        pa.field("shard", pa.int32(), nullable=False),
        pa.field("compared", pa.bool_(), nullable=False),
    ]
)

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Batch:
    """What the stages of a batch have in common.

    Attributes:
        name: Name of the batch: when it began, in UTC.
        data: Folder or URL of the sounds.
        out: Folder or URL of the results.
        models: Folder of the ensemble. Of a champion, this is its version, so a new champion does not change it.
        champion: The version of the champion, or a digest of the ensemble.
        options: What determines the tags.
    """

    name: str
    data: str
    out: str
    models: str
    champion: str
    options: Options


def find(data: str, *, out: str, models: Path, options: Options, shards: int, new: Path) -> tuple[Batch, list[int]]:
    """Find the sounds that are new or have changed since they were tagged, or whose champion has changed.

    Args:
        data: Folder or URL of the sounds.
        out: Folder or URL of the results.
        models: A champions folder, the output of a run, or its folder `models`.
        options: What determines the tags.
        shards: The largest number of shards to divide the sounds into.
        new: The table of these sounds to write.

    Returns:
        The batch, and the numbers of its shards: none if there is nothing to do.

    Raises:
        UserError: If there are no sounds or no models, or if `out` holds anything but results of the same options.
    """
    check_windows(every=options.window, overlap=options.overlap, every_is="--window", overlap_is="--overlap")
    folder, champion = _identify(models)
    sounds = {name: state for name, state in open_storage(data).list().items() if is_sound_path(PurePosixPath(name))}
    if not sounds:
        raise UserError(f"--data: expected a folder with sound files, found none in {data}; name another")
    results = open_storage(out)
    check_settings(results, options, where=out)
    known = known_files(results)
    found = {
        name: state
        for name, state in sorted(sounds.items(), key=lambda item: PurePosixPath(item[0]))
        if not ((before := known.get(path_text(name))) and before.is_up_to_date(state, champion))
    }
    numbers = _divide([state.size for state in found.values()], shards)
    compared = set(range(0, len(found), max(1, len(found) // COMPARED)))
    rows = [
        {"path": os.fsencode(name), "shard": shard, "compared": place in compared}
        for place, (name, shard) in enumerate(zip(found, numbers, strict=True))
    ]
    write_parquet(new, pa.Table.from_pylist(rows, NEW))
    batch = Batch(name=_new_name(results), data=data, out=out, models=str(folder), champion=champion, options=options)
    logger.info("%s of %s to tag with %s", len(found), pluralize(len(sounds), "sound"), champion)
    interrupted = [0] if has_parts(results) else []  # so that they become a batch even if nothing is new
    return batch, sorted(set(numbers)) or interrupted


def tag(batch: Batch, *, new: Path, shard: int) -> None:
    """Tag the sounds of a shard, and write them to parts. What is there already is not tagged again.

    Args:
        batch: The batch.
        new: The table that `find` wrote.
        shard: Number of the shard.

    Raises:
        UserError: If the models are not those that `find` saw, or if a place cannot be read or written.
        SystemExit: On SIGTERM, with code 143, after writing a part.
    """
    rows = [row for row in read_parquet(new).to_pylist() if row["shard"] == shard]
    data, out = open_storage(batch.data), open_storage(batch.out)
    known = known_files(out)
    if not rows:
        return
    if _identify(Path(batch.models))[1] != batch.champion:
        raise UserError(f"{batch.models}: expected the models that the batch began with, found others; start it again")
    tagger, options = load_tagger(Path(batch.models)), batch.options
    choose = choice(tagger.classes, tagger.averaging, top=options.top, precision=options.precision or None)
    with _parts(out, batch=batch.name, shard=shard) as add:
        for row in track(rows, label="tag", total=len(rows)):
            name = os.fsdecode(row["path"])
            state, before = data.state(name), known.get(path_text(name))
            if state is None:
                logger.info("%s is gone", path_text(name))
            elif not (before and before.is_up_to_date(state, batch.champion)):
                with data.local(name) as path:
                    content = _tag_file(path, tagger, choose, options, compared=row["compared"])
                if said := content.get("reason") or content.get("note"):
                    logger.info("%s: %s", path_text(name), said)
                add(TaggedFile(file=path_text(name), state=state, champion=batch.champion, **content))


def collect(batch: Batch) -> dict[str, Any]:
    """Make a batch of everything that the shards have written.

    Returns:
        Name of the `batch`, its number of `files`, `unreadable` files and `tags`, and the verdict on its `drift`, or ""
        if there was nothing to compare.
    """

    def compare_with_test_clips(sounds: Sounds) -> Drift | None:
        try:
            test, classes = read_test_clips(Path(batch.models))
        except NoTestClipsError as error:
            logger.info("drift is not looked for: %s", error)
            return None
        return compare(sounds, test, classes=classes)

    counts, drift = complete_batch(
        open_storage(batch.out), batch=batch.name, champion=batch.champion, compare=compare_with_test_clips
    )
    unreadable = f" ({counts.unreadable} unreadable)" if counts.unreadable else ""
    where = f"{batch.out.rstrip('/')}/{BATCHES}/{batch.name}"
    for line in drift.lines() if drift else []:
        logger.info("%s", line.strip())
    logger.info("%s%s, %s: %s", pluralize(counts.files, "file"), unreadable, pluralize(counts.tags, "tag"), where)
    return {"batch": batch.name, **asdict(counts), "drift": drift.verdict if drift else ""}


def _tag_file(path: Path, tagger: Tagger, choose: Choose, options: Options, *, compared: bool) -> dict[str, Any]:
    """Return the fields of a `TaggedFile` that depend on its content."""
    every, overlap, merged = options.window, options.overlap, options.merge
    try:
        tags = list(tag_windows(tagger.score, choose, path, every=every, overlap=overlap, merged=merged))
        whole = next(tagger.tag([path])) if compared else None
        recording = examine(path)
        seconds, note = recording.frames / recording.rate, "; ".join(recording.notes) or None
        return {"tags": tags, "whole": whole, "seconds": seconds, "note": note}
    except SoundError as error:
        return {"reason": str(error)}


@contextmanager
def _parts(out: Storage, *, batch: str, shard: int) -> Iterator[Callable[[TaggedFile], None]]:
    """Provide a function that takes files. They are written every minute, and at the end, also after an error."""
    waiting: list[TaggedFile] = []
    last = time.monotonic()

    def write() -> None:
        nonlocal last
        if waiting:
            write_part(out, waiting, batch=batch, shard=shard)
            waiting.clear()
        last = time.monotonic()

    def add(file: TaggedFile) -> None:
        waiting.append(file)
        if time.monotonic() - last >= PART_SECONDS:
            write()

    def end(*_: Any) -> None:
        raise SystemExit(TERMINATED)

    previous = signal.signal(signal.SIGTERM, end)
    try:
        yield add
    finally:
        write()
        signal.signal(signal.SIGTERM, previous)


def _identify(models: Path) -> tuple[Path, str]:
    """Return the folder of an ensemble, and its version."""
    folder = champion_folder(models) or models
    if not model_folders(models_folder(folder)):
        raise UserError(
            f"--models: expected a champions folder or the output of a run, found no models in {models}; name another"
        )
    return folder, read_version(folder)


def _divide(sizes: list[int], shards: int) -> list[int]:
    """Return the number of the shard of every sound, so that all shards have about the same number of bytes."""
    total = sum(sizes)
    shards = max(1, min(shards, total // SHARD_BYTES))
    before, numbers = 0, []
    for size in sizes:
        numbers.append(before * shards // max(total, 1))
        before += size
    return numbers


def _new_name(out: Storage) -> str:
    """Return the time as the name of a new batch: now, or a second after the newest one if clocks went backwards.

    What a later batch says of a sound counts.
    """
    moment = datetime.now(UTC)
    names = {PurePosixPath(file).parts[1] for file in out.list(BATCHES)}
    if earlier := sorted(filter(BATCH.fullmatch, names)):
        newest = datetime.strptime(earlier[-1].partition("-")[0], BATCH_TIME).replace(tzinfo=UTC)
        moment = max(moment, newest + timedelta(seconds=1))
    return f"{moment:{BATCH_TIME}}"
