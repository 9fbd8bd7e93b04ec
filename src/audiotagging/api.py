"""What `import audiotagging` offers: to tag sounds, to read what a run wrote, and to train and score on its clips.

Nothing here starts a process or imports kfp. A whole run, from a folder of sounds to a report, is a pipeline of stages
in processes of their own: `audiotagging run` starts it.
"""

import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from audiotagging.artifacts import predictions, spectrogram_shards
from audiotagging.artifacts.calibration import TARGET_PRECISIONS, calibrate
from audiotagging.artifacts.ensemble_folder import PREDICTIONS
from audiotagging.artifacts.spectrogram_shards import Spectrograms
from audiotagging.base.errors import UserError
from audiotagging.base.files import path_text, require
from audiotagging.base.progress import track
from audiotagging.evaluation import scores as stored_scores
from audiotagging.evaluation.scores import SCORES_FILE, Scores
from audiotagging.sounds.audio import decode_blocks
from audiotagging.sounds.recordings import ChannelOf, Source, examine
from audiotagging.sounds.samples import as_file
from audiotagging.sounds.spectrogram import clip_spectrogram
from audiotagging.sounds.streams import SoundError
from audiotagging.statistics import metrics
from audiotagging.tagging import tagger as tagging
from audiotagging.tagging.loading import load_tagger
from audiotagging.tagging.windows import check_windows, score_windows

logger = logging.getLogger(__name__)

AnyPath = str | os.PathLike[str]
SAMPLES = "samples"  # what messages call an array


def load(path: AnyPath, *, device: str | None = None, threads: int | None = None) -> "Tagger":
    """Load an ensemble to tag sounds with.

    Args:
        path: The output folder of a run, its folder `models`, a champions folder, or what `audiotagging export` wrote:
            its folder, or an ONNX file in it.
        device: "cpu", "cuda", or "cuda:1" for the second GPU. The default is the GPU if there is one. What was exported
            is computed on the CPU.
        threads: The number of threads for computations on the CPU. The default is `OMP_NUM_THREADS` if it is set, and
            otherwise all cores that this process may use. torch has one such number for the whole process.

    Raises:
        UserError: If the path holds no ensemble, or one that is incomplete or corrupt, or if there is no such device.

    Examples:
        >>> tagger = load("OUT", device="cpu")
        >>> tagger.classes
        ['Bark', 'Meow', 'Rain']
        >>> load("OUT", threads=0)
        Traceback (most recent call last):
        audiotagging.base.errors.UserError: threads: expected a number of at least 1, found 0
    """
    return Tagger(load_tagger(Path(path), device=device, threads=threads))


class Tagger:
    """An ensemble, ready to tag sounds. `load` makes one.

    Attributes:
        classes: The classes.
        members: Ids of the members.
        thresholds: For every class (the index), the lowest score that promises each precision (the columns). NaN where
            none does. There are thresholds if the ensemble was trained with folds.

    Examples:
        >>> tagger = load("OUT")
        >>> tagger.members
        ['linear']
        >>> tagger.thresholds.columns.tolist()
        [0.8, 0.9, 0.95]
    """

    def __init__(self, tagger: tagging.Tagger) -> None:
        self._tagger = tagger
        self.classes = tagger.classes
        self.members = tagger.networks.members
        lowest = {each: pd.Series(tagger.averaging.lowest_scores(each), dtype=float) for each in TARGET_PRECISIONS}
        self.thresholds = pd.DataFrame(lowest, index=pd.Index(self.classes, name="label"))

    def tag(
        self,
        sounds: AnyPath | Iterable[AnyPath] | np.ndarray,
        rate: int | None = None,
        *,
        precision: float = 0.9,
        channel: int | None = None,
        skip_unreadable: bool = False,
    ) -> pd.DataFrame:
        """Score every class for whole sounds, as `audiotagging tag` does.

        The score of a file longer than a minute is the maximum over its minutes. What was not used of a file is logged
        as a warning. A sound in which there is nothing but zeros has no rows, and a warning.

        Args:
            sounds: The path of a sound file, several of them, or samples: floating-point, full scale being 1, shape
                (samples,).
            rate: Samples per second, beside samples.
            precision: The promised precision whose thresholds are wanted: .8, .9 or .95.
            channel: The channel of files to use, from 1, or 0 for the mean of all. The default is the mean of those
                that are neither silent nor cancel each other.
            skip_unreadable: Whether to leave out files that cannot be read, with a warning.

        Returns:
            One row per sound and class, the sounds in their order, the classes with the best first:

            * `file`: the path as it was given, "" for samples
            * `label`: the class
            * `score`: the score, higher for likelier classes
            * `probability`: the calibrated score. NaN if the ensemble was trained without folds
            * `threshold`: the lowest score for which the precision is promised. NaN where it is for none

        Raises:
            UserError: If a file cannot be read, or if there are no such samples, rate, precision or channel.

        Examples:
            >>> tagger = load("OUT")
            >>> tags = tagger.tag(["sounds/bark.wav", "sounds/rain.wav"])
            >>> tags.columns.tolist()
            ['file', 'label', 'score', 'probability', 'threshold']
            >>> tags.groupby("file")["label"].first()
            file
            sounds/bark.wav    Bark
            sounds/rain.wav    Rain
            Name: label, dtype: str

            What `audiotagging tag --precision .9` prints:

            >>> promised = tags[tags["score"] >= tags["threshold"]]

            Samples:

            >>> noise = np.random.default_rng(1).normal(0, 0.1, 22_050)
            >>> tagger.tag(noise, 22_050)["label"][0]
            'Rain'
        """
        names, sources = _sources(sounds, rate)
        _check_options(precision, channel)
        steps = track(sources, label="tag", total=len(sources)) if len(sources) > 1 else iter(sources)
        files, scores = [], []
        for name, found in zip(names, self._tagger.tag(steps, channel=channel), strict=True):
            if found.scores is None:
                if not skip_unreadable:
                    raise UserError(f"{name or SAMPLES}: {found.reason}")
                _warn(name, [found.reason])
                continue
            _warn(name, found.notes)
            if not found.silent:
                files.append(name)
                scores.append(found.scores)
        return self._frame(scores, {"file": np.array(files, object)}, precision)

    def windows(
        self,
        sound: AnyPath | np.ndarray,
        rate: int | None = None,
        *,
        every: float,
        overlap: float = 0.0,
        precision: float = 0.9,
        channel: int | None = None,
    ) -> pd.DataFrame:
        """Score every class for every window of a sound, as `audiotagging tag --every` does.

        Windows of nothing but zeros have no rows.

        Args:
            sound: The path of a sound file, or samples, as for `tag`.
            rate: Samples per second, beside samples.
            every: Length of a window in seconds, .1 to 60. The last window ends with the sound, so it may overlap more.
            overlap: How many seconds of a window the next window covers too, at most nine tenths of it.
            precision: The promised precision whose thresholds are wanted: .8, .9 or .95.
            channel: The channel of the file to use, as for `tag`.

        Returns:
            One row per window and class, with the columns of `tag` and, behind `file`, `start` and `end` in seconds.

        Raises:
            UserError: If the file cannot be read, or if there are no such windows, samples, rate, precision or channel.

        Examples:
            >>> windows = load("OUT").windows("sounds/bark.wav", every=1)
            >>> windows.groupby("start")["score"].size()
            start
            0.0    3
            1.0    3
            2.0    3
            Name: score, dtype: int64
        """
        names, sources = _sources(sound if rate is not None else [sound], rate)  # type: ignore[list-item]
        _check_options(precision, channel)
        check_windows(every=every, overlap=overlap)
        ((name, file),) = zip(names, sources, strict=True)
        source: Source = ChannelOf(file, channel) if isinstance(file, Path) and channel is not None else file
        with _named(name or SAMPLES):
            _warn(name, examine(source).notes)
            label = Path(name).name or SAMPLES
            found = list(score_windows(self._tagger.score, source, every=every, overlap=overlap, label=label))
        places = {
            "file": np.full(len(found), name, object),
            "start": np.array([start for start, _, _ in found], float),
            "end": np.array([end for _, end, _ in found], float),
        }
        return self._frame([scores for _, _, scores in found], places, precision)

    def _frame(self, found: Sequence[np.ndarray], places: dict[str, np.ndarray], precision: float) -> pd.DataFrame:
        """Return one row per place and class, best first, from the scores of every place."""
        count = len(self.classes)
        scores = np.array(found, np.float32).reshape(-1, count)
        order = np.argsort(-scores, axis=1, kind="stable")
        calibration = self._tagger.averaging.calibration
        probabilities = np.full(scores.shape, np.nan)
        if calibration:
            probabilities = calibrate(scores, [calibration.curves[label] for label in self.classes])

        def ordered(values: np.ndarray) -> np.ndarray:
            return np.take_along_axis(values, order, axis=1).ravel().astype(np.float64)

        return pd.DataFrame(
            {name: np.repeat(values, count) for name, values in places.items()}
            | {
                "label": np.array(self.classes, object)[order].ravel(),
                "score": ordered(scores),
                "probability": ordered(probabilities),
                "threshold": self.thresholds[precision].to_numpy()[order].ravel(),
            }
        ).astype({"file": "str", "label": "str"})


def spectrogram(samples: np.ndarray, rate: int) -> np.ndarray:
    """Compute the log-mel spectrogram of a sound as the networks see it, and as `read_spectrograms` reads it.

    The samples are resampled to 44 100 Hz, trimmed and padded to at least two seconds. Their spectrogram has 128 mels
    from 20 to 22 050 Hz, with a hop of 694 samples, and is scaled to bytes by its own minimum and maximum, which is at
    most 80 dB lower.

    Args:
        samples: Floating-point, full scale being 1, shape (samples,).
        rate: Samples per second.

    Returns:
        uint8, time-major, shape (1 + samples at 44 100 Hz // 694, 128).

    Raises:
        UserError: If there are no such samples or no such rate.

    Examples:
        Three seconds of a 440 Hz tone:

        >>> tone = np.sin(2 * np.pi * 440 * np.arange(3 * 22_050) / 22_050)
        >>> spectrogram(tone, 22_050).shape
        (191, 128)
    """
    with _named(SAMPLES):
        return clip_spectrogram(np.concatenate(list(decode_blocks(as_file(samples, rate)))))


def read_spectrograms(
    path: AnyPath, *, parts: Sequence[str] | None = None, clips: Sequence[str] | None = None
) -> Spectrograms:
    """Read the spectrograms of a run.

    Args:
        path: The output folder of a run, or its folder `spectrograms`.
        parts: The parts to read: "curated", "noisy", "test" and "disturbance". The default is all of them.
        clips: Names of the clips to read. The default is all of them.

    Returns:
        The clips as a frame, `clips`, with their names and labels, and the spectrogram of row i by `[i]`.

    Raises:
        UserError: If there are no spectrograms of this version, or corrupt ones.

    Examples:
        >>> found = read_spectrograms("OUT", parts=["test"])
        >>> found.clips["labels"].tolist()[:2]
        [['Bark'], ['Meow']]
        >>> found[0].shape
        (191, 128)
    """
    folder = Path(path)
    inside = folder / "spectrograms"
    return spectrogram_shards.read_spectrograms(inside if inside.is_dir() else folder, parts=parts, clips=clips)


def read_predictions(path: AnyPath) -> pd.DataFrame:
    """Read the predictions of a run.

    Args:
        path: The output folder of a run, or a table of predictions, such as one in its folder `predictions`.

    Returns:
        The scores: one row per prediction, one column per class. The index has the levels `part` ("validation": curated
        clips by the models that were not trained on them, "test" or "disturbance"), `member` ("ensemble" for the
        ensemble itself), `fold` (-1 for none) and `clip`.

    Raises:
        UserError: If there is no such table of this version, or a corrupt one.

    Examples:
        >>> found = read_predictions("OUT")
        >>> found.columns.tolist()
        ['Bark', 'Meow', 'Rain']
        >>> len(found.loc["test", "ensemble"])
        6
    """
    read = predictions.read_predictions(_file_of(path, PREDICTIONS))
    index = pd.MultiIndex.from_frame(read.rows[["part", "member", "fold", "clip"]].astype({"part": str, "member": str}))
    found = pd.DataFrame(read.scores, index=index, columns=read.classes)
    return found.sort_index(level=["part", "member"], sort_remaining=False, kind="stable")


def read_scores(path: AnyPath) -> Scores:
    """Read how good a run is.

    Args:
        path: The output folder of a run, or its `scores.json`.

    Returns:
        What `audiotagging.evaluation.scores.Scores` describes, above all the lwlrap of the `ensemble` by set of clips,
        the `estimates` with their intervals, and `classes`.

    Raises:
        UserError: If there is no such file, or if it is corrupt.

    Examples:
        >>> scores = read_scores("OUT")
        >>> sorted(scores["ensemble"])
        ['all', 'out_of_fold', 'private', 'public']
    """
    return stored_scores.read_scores(_file_of(path, SCORES_FILE))


def label_table(labels: Iterable[Sequence[str]], classes: Sequence[str]) -> np.ndarray:
    """Convert lists of labels to a table.

    Args:
        labels: Labels of each clip.
        classes: The classes, in the order of the columns.

    Returns:
        True where the clip has the label, bool, shape (clips, classes).

    Raises:
        UserError: If a label is none of the classes.

    Examples:
        >>> label_table([["Bark"], ["Bark", "Meow"]], ["Bark", "Meow"])
        array([[ True, False],
               [ True,  True]])
    """
    rows = [list(names) for names in labels]
    if unknown := {name for names in rows for name in names}.difference(classes):
        raise UserError(f"labels: expected some of the {len(classes)} classes, found {min(unknown)!r}")
    return metrics.label_table(rows, classes)


def lwlrap(truth: ArrayLike, scores: ArrayLike) -> float:
    """Compute the label-weighted label-ranking average precision: the mean precision at the rank of every true label.

    It equals scikit-learn's `label_ranking_average_precision_score` with the number of labels of each clip as its
    `sample_weight`. Ties count against a label.

    Args:
        truth: True where the clip has the label, shape (clips, classes). Clips without labels are ignored.
        scores: Scores, higher for likelier labels, shape (clips, classes).

    Returns:
        A value in (0, 1]; 1 is perfect.

    Raises:
        UserError: If the two have other shapes, if scores are NaN, or if no clip has a label.

    Examples:
        The first clip's label ranks first, and the second clip's label ranks second.

        >>> lwlrap([[True, False], [False, True]], [[0.9, 0.1], [0.8, 0.2]])
        0.75
    """
    table, found = np.asarray(truth).astype(bool), np.asarray(scores, float)
    if table.ndim != 2 or table.shape != found.shape:
        raise UserError(f"expected truth and scores of shape (clips, classes), found {table.shape} and {found.shape}")
    if np.isnan(found).any():
        raise UserError("scores: expected numbers, found NaN")
    return metrics.lwlrap(table, found)


def train(member: str, *, run: AnyPath, out: AnyPath, fold: int = -1, seed: int = 534, **settings: Any) -> pd.DataFrame:
    """Train a member on the clips of a run, in this process, as the stage `train` does.

    Args:
        member: A member, such as "xresnet18ssa-focal", "demo-xresnet50-bce" or "linear": `audiotagging members` lists
            them.
        run: The output folder of a run, whose spectrograms, folds and noisy clips are used.
        out: A folder of models, which `load` takes. The model appears in its folder MEMBER-foldFOLD.
        fold: The fold that is held out, and scored after every few epochs. -1 trains on all clips.
        seed: Seed of every random choice.
        settings: Other values of fields of the member, such as `epochs=10`: `audiotagging members` explains them.

    Returns:
        One row per epoch: `epoch`, `cycle`, `loss`, `lr`, `lwlrap` (of the clips held out; NaN where it was not
        computed) and `seconds`.

    Raises:
        UserError: If there is no such member, field, run or fold, if the model is there already, or if the training
            diverges.

    Examples:
        >>> history = train("linear", run="OUT", out="models", fold=0)
        >>> history["epoch"].tolist()
        [1]
        >>> load("models").members
        ['linear']
    """
    # Here, because torch takes seconds to import, and tagging with an export does not need it.
    from audiotagging.artifacts.model_folder import read_history
    from audiotagging.members import override, rows, select
    from audiotagging.training.train import train_row

    require(Path(run), "spectrograms", "selection", what="the output of a run")
    chosen = override(select([member]), {name: str(value) for name, value in settings.items()})
    if len(chosen) > 1:
        raise UserError(f"member: expected one member, found the {len(chosen)} of {member!r}; name one of them")
    [row] = rows(chosen, [fold])
    folder = Path(out) / f"{row['id']}-fold{fold}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    train_row(
        row,
        spectrograms=Path(run) / "spectrograms",
        selection=Path(run) / "selection",
        init={},
        out=folder,
        seed=seed,
        checkpoints="",
        champions="",
        warm_start=0.0,
    )
    return read_history(folder)


def evaluate(run: AnyPath, *, baseline: AnyPath | None = None, before: AnyPath | None = None) -> Scores:
    """Score a finished run again, and write its `scores.json` and `report.html` again, as `audiotagging evaluate` does.

    Args:
        run: The output folder of the run.
        baseline: Another submission for the same test clips, to compare with.
        before: The output folder of the run before, to compare with. By default, an earlier comparison is kept.

    Returns:
        The scores, as `read_scores` returns them.

    Raises:
        UserError: If a folder is not the output of a run, or if what it is compared with is of other clips or classes.

    Examples:
        >>> evaluate("OUT")["ensemble"] == read_scores("OUT")["ensemble"]
        True
    """
    from audiotagging.report.evaluate_again import evaluate_again  # here, because tagging needs no plots

    out = Path(run)
    others = {"baseline": baseline, "before": before}
    evaluate_again(out, **{name: Path(path) for name, path in others.items() if path is not None})
    return read_scores(out)


def _sources(
    sounds: AnyPath | Iterable[AnyPath] | np.ndarray, rate: int | None
) -> tuple[list[str], list[Path | BinaryIO]]:
    """Return the names of sounds, "" for samples, and the files to decode.

    Raises:
        UserError: If they are neither paths nor samples.
    """
    if rate is not None:
        if isinstance(sounds, str | os.PathLike):
            raise UserError(f"rate: expected none beside a file, which has its own, found {rate}; omit it")
        return [""], [as_file(sounds, rate)]  # type: ignore[arg-type]
    if isinstance(sounds, str | os.PathLike):
        sounds = [sounds]
    paths = []
    for each in sounds:
        if not isinstance(each, str | os.PathLike):
            raise UserError(f"expected paths of sound files, or samples beside their rate, found {type(each).__name__}")
        paths.append(Path(each))
    return [path_text(path) for path in paths], [*paths]


@contextmanager
def _named(name: str) -> Iterator[None]:
    """Let an error of a sound say which sound it is."""
    try:
        yield
    except SoundError as error:
        raise UserError(f"{name}: {error}") from error


def _warn(name: str, notes: Iterable[str]) -> None:
    for note in notes:
        logger.warning("%s: %s", name or SAMPLES, note)


def _check_options(precision: float, channel: int | None) -> None:
    if precision not in TARGET_PRECISIONS:
        raise UserError(f"precision: expected one of {', '.join(map(str, TARGET_PRECISIONS))}, found {precision}")
    if channel is not None and channel < 0:
        raise UserError(f"channel: expected a number from 1, or 0 for the mean of all, found {channel}")


def _file_of(path: AnyPath, name: str) -> Path:
    """Return a file in the output of a run, or the file itself if that was given.

    Raises:
        UserError: If there is none.
    """
    found = Path(path)
    if found.is_dir():
        require(found, name, what="the output of a run")
        return found / name
    if not found.exists():
        raise UserError(f"{found}: expected the output of a run or its {name}, found no such file or folder")
    return found
