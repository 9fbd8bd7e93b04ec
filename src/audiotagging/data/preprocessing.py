"""The preprocess stage: computes the spectrograms of all clips in worker processes and writes them to shards.

Workers decode the clips and compute their spectrograms; this process writes them in the order of the data set's tables.
The output is therefore the same, byte for byte, for any number of workers. Only a few batches are in progress at a
time, so memory use does not grow with the data set.
"""

import json
import logging
from collections import Counter, deque
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from audiotagging.artifacts.acoustics import Acoustics
from audiotagging.artifacts.acoustics_table import write_acoustics
from audiotagging.artifacts.excerpts import Excerpt, ExcerptWriter
from audiotagging.artifacts.incomplete import write_incomplete
from audiotagging.artifacts.near_duplicates import write_alike
from audiotagging.artifacts.sounds_table import write_sounds
from audiotagging.artifacts.spectrogram_shards import ShardWriter
from audiotagging.artifacts.verified import Verified, describe_verified, write_verified
from audiotagging.base.errors import UserError
from audiotagging.base.machine import threads
from audiotagging.base.processes import CONTEXT, end_with_parent
from audiotagging.base.progress import track
from audiotagging.base.wording import pluralize
from audiotagging.data.dataset import Dataset, read_dataset, take_digests
from audiotagging.data.dataset import fingerprint as take_fingerprint
from audiotagging.data.layouts.reading import AS_FOUND, Reading
from audiotagging.data.near_duplicates import AcousticFingerprint, acoustic_fingerprint, find_alike
from audiotagging.data.synthetic_negatives import make_disturbances
from audiotagging.data.verification import verifying
from audiotagging.sounds.acoustics import measure
from audiotagging.sounds.audio import RATE, SoundError, decode, trim
from audiotagging.sounds.opus import make_excerpt
from audiotagging.sounds.spectrogram import SETTINGS, SHORTEST, trimmed_spectrogram

BATCH_CLIPS = 16
SILENT = 1e-4  # times full scale, -80 dB
FULL_SCALE, CLIPPED = 0.999, 1e-3
BATCHES_AHEAD = 3  # per worker: enough to keep the workers busy while this process writes

logger = logging.getLogger(__name__)


class Piece(NamedTuple):
    """A sound file or a piece of one, from `start` to `end` in seconds, and whether to make an excerpt of it."""

    path: str
    start: float
    end: float
    keep_audio: bool


@dataclass(frozen=True)
class Processed:
    """The result of processing a clip.

    Attributes:
        spectrogram: uint8, shape (frames, 128). None if the clip cannot be used.
        seconds: Length of the clip without the silence at both ends.
        reason: Why the clip cannot be used.
        repairs: What was done to use the clip, as in `audio.Sound`, and "padded" for a short clip.
        excerpt: An excerpt to listen to, if one was asked for.
        silent: Whether no sample is louder than `SILENT`.
        clipped: Whether a share of more than `CLIPPED` of the samples has full scale.
        texture: What it sounds like (`near_duplicates.acoustic_fingerprint`).
        acoustics: Its level, band and hum, without the silence at both ends.
        read: Seconds of its file that can be heard.
        stated: Seconds that the header of its file states, if the file was cut short.
        notes: What was not used of its file, as in `recordings.Recording`.
    """

    spectrogram: np.ndarray | None
    seconds: float = 0.0
    reason: str = ""
    repairs: tuple[str, ...] = ()
    excerpt: Excerpt | None = None
    silent: bool = False
    clipped: bool = False
    texture: AcousticFingerprint | None = None
    acoustics: Acoustics | None = None
    read: float = 0.0
    stated: float | None = None
    notes: tuple[str, ...] = ()


def preprocess_folder(
    folder: Path,
    *,
    fingerprint: str,
    noisy_part: bool,
    max_rejected: float,
    keep_audio: bool,
    out: Path,
    downloads: Path | None = None,
    corrections: Sequence[str] = (),
    reading: Reading = AS_FOUND,
    test_share: float = 0.0,
    seed: int = 0,
    verify: int = 0,
) -> None:
    """Write the spectrograms of a data folder, unless it has changed since `ingest` read it.

    Args:
        folder: The data folder.
        fingerprint: The fingerprint that the folder had then.
        noisy_part: Whether to read the noisy part.
        max_rejected: Share of a part's clips that may be unusable.
        keep_audio: Whether to keep excerpts, as in `preprocess`.
        out: The folder of shards to create.
        downloads: The folder for downloads, in which the digests of the sounds are kept. None keeps none.
        corrections: Paths of tables of corrected labels, relative to the data folder.
        reading: How the user wants the data folder to be read.
        test_share: Share of the clips of every class to make test clips, as in `read_dataset`.
        seed: Seed of the draw of test clips, and of the folds of groups.
        verify: Number of clips to check against librosa, as in `preprocess`.

    Raises:
        UserError: If the folder has changed, or if `preprocess` raises it.
        WrongSpectrogramError: If `preprocess` raises it.
    """
    dataset = read_dataset(
        folder,
        noisy="all" if noisy_part else "none",
        corrections=corrections,
        reading=reading,
        test_share=test_share,
        seed=seed,
    )
    digests = take_digests(dataset, downloads=downloads)
    if (
        take_fingerprint(dataset, digests) != fingerprint
    ):  # otherwise the cache would have other data under this fingerprint
        raise UserError(f"{folder} has changed since ingest read it; run the pipeline again")
    preprocess(
        dataset,
        out,
        fingerprint=fingerprint,
        digests=digests,
        max_rejected=max_rejected,
        keep_audio=keep_audio,
        verify=verify,
    )


def preprocess(
    dataset: Dataset,
    out: Path,
    *,
    fingerprint: str,
    digests: Mapping[str, str] | None = None,
    max_rejected: float,
    keep_audio: bool = False,
    verify: int = 0,
    workers: int | None = None,
) -> None:
    """Write the spectrograms of a data set to a folder of shards, with the acoustics of the clips.

    Unusable clips are listed in its `rejected.csv`, those of which something was not used in `incomplete.csv`, the
    digests of the sounds in `sounds.parquet`, and the check against librosa is described in its `verified.json`.

    Args:
        dataset: The clips.
        out: The folder to create.
        fingerprint: Fingerprint of the data set, which the shards record. It is also the seed of the draw for `verify`.
        digests: The digests of the sounds by path, from `dataset.take_digests`, to record them in `sounds.parquet`.
        max_rejected: Share of a part's clips that may be unusable.
        keep_audio: Whether to keep an excerpt of every curated and labelled test clip, which the report can then play
            (`audiotagging.artifacts.excerpts`). The shards are the same with and without.
        verify: Number of random clips whose spectrograms are computed by librosa too, to compare them
            (`audiotagging.data.verification`). 0 for none.
        workers: Number of worker processes. With 1, this process does the work itself. The default is
            `machine.threads()`.

    Raises:
        UserError: If too many clips of a part are unusable, if a file has changed meanwhile, if `out` is not empty, or
            if librosa is needed and not installed.
        MemoryError: If a worker is killed, most likely because memory ran out.
        WrongSpectrogramError: If a spectrogram is not that of librosa.
    """
    clips, before = dataset.clips, _states(dataset.clips)
    repairs: Counter[str] = Counter()
    fingerprints: list[AcousticFingerprint | None] = []
    measured: list[tuple[str, str, Acoustics]] = []
    incomplete: list[tuple[str, str, float, float | None, str]] = []
    metadata = {"mel": json.dumps(SETTINGS), "fingerprint": fingerprint, "notes": json.dumps(dataset.notes)}
    with (
        verifying(clips, count=verify, fingerprint=fingerprint) as check,
        ShardWriter(out, classes=dataset.classes, metadata=metadata) as writer,
        ExcerptWriter(writer.working) as excerpts,
    ):
        results = _process_all(_pieces(clips, keep_audio=keep_audio), workers or threads())
        for place, (clip, result) in enumerate(
            zip(clips.itertuples(), track(results, label="spectrograms", total=len(clips)), strict=True)
        ):
            repairs.update(result.repairs)
            if result.spectrogram is None:
                writer.reject(clip=clip.clip, part=clip.part, reason=result.reason)
            else:
                check.take(place, result.spectrogram)
                writer.add(
                    clip=clip.clip,
                    part=clip.part,
                    labels=clip.labels,
                    fold=clip.fold,
                    usage=clip.usage,
                    seconds=result.seconds,
                    spectrogram=result.spectrogram,
                )
            if result.excerpt:
                excerpts.add(clip.clip, result.excerpt)
            if result.acoustics:
                measured.append((clip.clip, clip.part, result.acoustics))
            fingerprints.append(result.texture)
            incomplete += [(clip.clip, clip.part, result.read, result.stated, note) for note in result.notes]
        if _states(clips) != before:
            raise UserError(f"{dataset.folder} has changed while it was read; wait until it is complete, and try again")
        _check_rejected(writer.rejected, Counter(clips["part"]), max_rejected)
        _add_disturbances(writer, dataset)
        if digests is not None:
            write_sounds(writer.working, clips.assign(digest=clips["path"].map(digests)))
        write_alike(writer.working, _alike(clips, fingerprints))
        write_acoustics(writer.working, measured)
        write_incomplete(writer.working, incomplete)
        verified = check.finish(clips=len(clips) - len(writer.rejected))
        if verified:
            write_verified(writer.working, verified)
            logger.info(describe_verified(verified))
    counts = [f"{count} {what}" for what, count in sorted(repairs.items())]
    logger.info("%s: %s", pluralize(len(clips), "clip"), ", ".join([f"{len(writer.rejected)} rejected", *counts]))


class Heard(NamedTuple):
    """What `listen` finds.

    Attributes:
        clips: One row per clip: `seconds` without the silence at both ends, whether it is `unreadable`, `silent` or
            `clipped`, and the `notes` on its file.
        alike: The names of the clips that sound alike, group by group.
        verified: The check against librosa. None if no clips were checked.
    """

    clips: pd.DataFrame
    alike: list[list[str]]
    verified: Verified | None


def listen(dataset: Dataset, *, max_rejected: float, fingerprint: str = "", verify: int = 0) -> Heard:
    """Do the work of `preprocess` without keeping the spectrograms, to tell what it would find.

    Args:
        dataset: The clips.
        max_rejected: Share of a part's clips that may be unusable.
        fingerprint: Fingerprint of the data set.
        verify: Number of clips to check against librosa, as in `preprocess`.

    Raises:
        UserError: If too many clips of a part are unusable, or if librosa is needed and not installed.
        MemoryError: If a worker is killed, most likely because memory ran out.
        WrongSpectrogramError: If a spectrogram is not that of librosa.
    """
    clips = dataset.clips
    fingerprints: list[AcousticFingerprint | None] = []
    rows, rejected = [], []
    with verifying(clips, count=verify, fingerprint=fingerprint) as check:
        results = _process_all(_pieces(clips, keep_audio=False), threads())
        for place, (clip, result) in enumerate(
            zip(clips.itertuples(), track(results, label="listen", total=len(clips)), strict=True)
        ):
            if result.spectrogram is None:
                rejected.append({"clip": clip.clip, "part": clip.part, "reason": result.reason})
            else:
                check.take(place, result.spectrogram)
            fingerprints.append(result.texture)
            rows.append((result.seconds, result.spectrogram is None, result.silent, result.clipped, result.notes))
        _check_rejected(rejected, Counter(clips["part"]), max_rejected)
        verified = check.finish(clips=len(clips) - len(rejected))
    heard = pd.DataFrame(rows, columns=["seconds", "unreadable", "silent", "clipped", "notes"])
    return Heard(heard, _alike(clips, fingerprints), verified)


def _alike(clips: pd.DataFrame, fingerprints: Sequence[AcousticFingerprint | None]) -> list[list[str]]:
    """Return the names of the clips that sound alike, group by group."""
    names = clips["clip"].tolist()
    return [[names[place] for place in places] for places in find_alike(fingerprints, clips["group"].tolist())]


def excerpts_of(folder: Path, clips: Collection[str], *, reading: Reading = AS_FOUND) -> dict[str, Excerpt]:
    """Make the excerpts that `preprocess` would have kept.

    Args:
        folder: The data folder.
        clips: Names of curated and test clips.
        reading: How the folder was read.

    Returns:
        Excerpts by clip, without the clips that cannot be decoded any more.

    Raises:
        UserError: If a clip is not in the data folder, or if `read_dataset` raises it.
    """
    dataset = read_dataset(folder, noisy="none", reading=reading)
    pieces = dict(zip(dataset.clips["clip"], _pieces(dataset.clips, keep_audio=True), strict=True))
    if missing := sorted(set(clips) - set(pieces)):
        raise UserError(f"{folder}: expected the data of this run, found no clip {missing[0]}; name another folder")
    results = _process_all([pieces[clip]._replace(keep_audio=True) for clip in clips], threads())
    excerpts = {}
    for clip, result in zip(clips, track(results, label="excerpts", total=len(clips)), strict=True):
        if result.excerpt:
            excerpts[clip] = result.excerpt
        else:
            logger.warning("%s cannot be heard: it %s", clip, result.reason)
    return excerpts


def _states(clips: pd.DataFrame) -> list[tuple[int, int] | None]:
    """Return the size and the time of the file of every clip, or None where there is none."""
    found: list[tuple[int, int] | None] = []
    for path in clips["path"]:
        try:
            state = Path(path).stat()
            found.append((state.st_size, state.st_mtime_ns))
        except OSError:
            found.append(None)
    return found


def _add_disturbances(writer: ShardWriter, dataset: Dataset) -> None:
    for sound in make_disturbances(dataset.classes, dataset.clips[dataset.clips["part"] == "curated"]):
        writer.add(
            clip=sound.name,
            part="disturbance",
            labels=sound.labels,
            fold=-1,
            usage="",
            seconds=len(sound.samples) / RATE,
            spectrogram=trimmed_spectrogram(sound.samples),
        )


def _check_rejected(rejected: list[dict[str, Any]], totals: Counter[str], max_rejected: float) -> None:
    for part, total in totals.items():
        lost = [row for row in rejected if row["part"] == part]
        if len(lost) > max_rejected * total:
            first = ", ".join(f"{row['clip']} ({row['reason']})" for row in lost[:3])
            raise UserError(
                f"{len(lost)} of {total} {part} clips cannot be used, more than the {max_rejected:.1%} allowed: {first}"
                f"{', ...' if len(lost) > 3 else ''}; fix or remove them, or allow more with --max-rejected"
            )


def _pieces(clips: pd.DataFrame, *, keep_audio: bool) -> list[Piece]:
    """Return the piece of every clip."""
    kept = (clips["part"] != "noisy") & (clips["labels"].str.len() > 0) & keep_audio
    return [Piece(*fields) for fields in zip(clips["path"], clips["start"], clips["end"], kept, strict=True)]


def _process_all(pieces: Sequence[Piece], workers: int) -> Iterator[Processed]:
    """Yield the result of every piece, in order."""
    batches = [pieces[start : start + BATCH_CLIPS] for start in range(0, len(pieces), BATCH_CLIPS)]
    workers = min(workers, max(1, len(batches)))
    with threadpool_limits(1):  # one thread per process; workers inherit this limit
        if workers == 1:
            for batch in batches:
                yield from _process_batch(batch)
            return
        try:
            yield from _process_in_pool(batches, workers)
        except BrokenProcessPool:
            raise MemoryError(
                f"one of {workers} worker processes was killed, most likely because memory ran out; "
                "use fewer workers with --workers, or a machine with more memory"
            ) from None


def _process_in_pool(batches: Sequence[Sequence[Piece]], workers: int) -> Iterator[Processed]:
    with ProcessPoolExecutor(workers, mp_context=CONTEXT, initializer=end_with_parent) as pool:
        running: deque[Future[list[Processed]]] = deque()
        for batch in batches:
            running.append(pool.submit(_process_batch, batch))
            if len(running) > BATCHES_AHEAD * workers:
                yield from running.popleft().result()
        while running:
            yield from running.popleft().result()


def _process_batch(pieces: Sequence[Piece]) -> list[Processed]:
    return [_process(piece) for piece in pieces]


def _process(piece: Piece) -> Processed:
    try:
        sound = decode(Path(piece.path), start=piece.start, end=piece.end)
    except SoundError as error:
        return Processed(None, reason=str(error))
    loudness = np.abs(sound.samples)
    samples = trim(sound.samples)
    padded = ("padded",) if len(samples) < SHORTEST else ()
    spectrogram = trimmed_spectrogram(samples)
    return Processed(
        spectrogram,
        len(samples) / RATE,
        repairs=sound.repairs + padded,
        excerpt=make_excerpt(samples) if piece.keep_audio else None,
        silent=bool(loudness.max() <= SILENT),
        clipped=bool((loudness >= FULL_SCALE).mean() > CLIPPED),
        texture=acoustic_fingerprint(spectrogram, samples=len(samples)),
        acoustics=measure(samples),
        read=sound.recording.frames / sound.recording.rate,
        stated=sound.recording.stated,
        notes=sound.recording.notes,
    )
