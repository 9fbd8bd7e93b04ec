"""Fabricated runs: the folders that the stages before the ensemble would have written, made without training."""

import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from audiotagging.artifacts.champion import Comparison, Decision, Event, Measured, Promotion
from audiotagging.artifacts.excerpts import ExcerptWriter
from audiotagging.artifacts.model_folder import ModelFacts, read_facts, read_history, write_model
from audiotagging.artifacts.prediction_table import Predictions, read_predictions, write_predictions
from audiotagging.artifacts.selection import LINEAR_PREDICTIONS, write_selection
from audiotagging.artifacts.spectrogram_shards import NEGATIVE, ShardWriter, read_classes, read_clips
from audiotagging.artifacts.verified import Verified, write_verified
from audiotagging.costs import Meter
from audiotagging.data.audio import RATE
from audiotagging.data.opus import make_excerpt
from audiotagging.members import LINEAR, REFERENCE, Member
from audiotagging.metrics import label_table
from audiotagging.results.ensembling import ensemble
from audiotagging.results.evaluation import evaluate
from audiotagging.results.run_facts import Origin

DISTURBANCES = ("silence", "white-noise", "hum", "quiet-end")  # there are four of each
BLACK = np.zeros((128, 128), np.uint8)
LIBRARIES = {"librosa": "0.11.0", "numpy": "2.4.6"}
VERIFIED = Verified(
    checked=16, clips=4970, decoded_by_us=2, different=0.000031, processor="<Epyc>", libraries=LIBRARIES
)
PLAIN = {"mean": "arithmetic", "weights": "equal"}  # how the members are averaged unless told otherwise


def fabricate_run(
    folder: Path,
    *,
    classes: int = 8,
    clips: int = 40,
    members: Sequence[Member] = REFERENCE[:3],
    folds: Sequence[int] = (0, 1),
    test: bool = True,
    test_labels: bool = True,
    noisy: bool = True,
    negatives: int = 0,
    pictures: bool = True,
    sounds: bool = False,
    verified: bool = True,
    seed: int = 1,
) -> Path:
    """Write spectrograms, predictions and model folders of a run, and return its folder.

    Args:
        folder: Where to write.
        classes: How many classes there are.
        clips: How many clips each part has.
        members: The members that "were trained"; later ones are less skilful.
        folds: The folds that each was trained for; -1 is everything.
        test: Whether there are test clips.
        test_labels: Whether the labels and the usage of the test clips are known.
        noisy: Whether there are noisy clips.
        negatives: How many of the curated clips are negatives.
        pictures: Whether the spectrograms show something; black ones are faster to make.
        sounds: Whether there are excerpts of the curated and test clips, all with the same sound of six seconds.
        verified: Whether spectrograms were checked against librosa.
        seed: Seed of everything.
    """
    rng = np.random.default_rng(seed)
    _write_spectrograms(
        folder / "spectrograms", rng, classes, clips, folds, test, test_labels, noisy, negatives, pictures
    )
    if verified:
        write_verified(folder / "spectrograms", VERIFIED)
    clips_of = read_clips(folder / "spectrograms")
    if sounds:
        fabricate_excerpts(folder / "spectrograms", list(clips_of["clip"][clips_of["part"] != "noisy"]))
    (folder / "selection").mkdir()
    chosen = pd.DataFrame({"fname": clips_of["clip"][clips_of["part"] == "noisy"].iloc[::2]}).assign(margin=0.1)
    curated = clips_of[clips_of["part"] == "curated"]
    folds_of = dict(zip(curated["clip"], curated["fold"], strict=True))
    write_selection(folder / "selection", folds=folds_of, noisy_clips=chosen)
    truth_of = _truth(folder / "spectrograms", rng)
    _write_linear(folder / "selection", truth_of, seed=seed)
    for place, member in enumerate(members):
        for fold in folds:
            name = f"{member.id}-fold{fold}"
            _write_predictions(folder, name, rng, truth_of, member, fold, noise=1.6 + 0.1 * place)
            fabricate_model(
                folder / "models" / name, member, fold=fold, classes=read_classes(folder / "spectrograms"), seed=seed
            )
    return folder


def fabricate_excerpts(folder: Path, clips: Sequence[str]) -> None:
    """Write excerpts of clips, all with the same sound: six seconds of noise, from the fourth second on."""
    noise = np.random.default_rng(1).normal(0, 0.1, 6 * RATE).astype(np.float32)
    excerpt = replace(make_excerpt(noise), start=4.0)
    with ExcerptWriter(folder) as writer:
        for clip in clips:
            writer.add(clip, excerpt)


def fabricate_model(folder: Path, member: Member, *, fold: int, classes: Sequence[str], seed: int = 1) -> Path:
    """Write the folder of a model with a learning curve but without real weights, and return it."""
    rng = np.random.default_rng([seed, fold + 1])
    epochs = np.arange(1, member.epochs * member.cycles + 1)
    validated = (epochs % member.validate_every == 0) & (fold >= 0)
    skill = 0.86 * (1 - np.exp(-epochs / 15)) + rng.normal(0, 0.006, len(epochs))
    history = pd.DataFrame(
        {
            "epoch": epochs,
            "cycle": 1 + (epochs - 1) // member.epochs,
            "loss": 3 * np.exp(-epochs / 20) + 0.8 + rng.normal(0, 0.03, len(epochs)),
            "lr": 0.01 * np.sin(np.pi * epochs / len(epochs)),
            "lwlrap": np.where(validated, skill, np.nan),
            "seconds": 61.5,
        }
    )
    facts = ModelFacts(
        member=member,
        fold=fold,
        seed=534,
        classes=list(classes),
        fingerprint="5f1d7a0c9be34c2f",
        versions={"torch": "2.13.0", "audiotagging": "0.1.0", "python": "3.11.9"},
        seconds=61.5 * len(epochs),
        crops_per_second=1040.0,
        device="Epyc, 2 threads",
    )
    write_model(folder, facts=facts, history=history, weights=b"no weights")
    return folder


def replace_weights(folder: Path, weights: bytes) -> None:
    """Give a model other weights, as training would have written them."""
    facts, history = read_facts(folder), read_history(folder)
    shutil.rmtree(folder)
    write_model(folder, facts=facts, history=history, weights=weights)


def fabricate_origin() -> Origin:
    """Return where a run came from: a command line with a long name, and stages that took an hour each."""
    stages = ("ingest", "preprocess", "select", "train", "predict", "ensemble")
    cost = {"started": "2026-01-02T03:04:05+00:00", "seconds": 3600.0, "cpu_seconds": 7200.0, "peak_bytes": 3.5e9}
    command = f"audiotagging run --data 'my <sounds>' --out {'/a_long_name' * 20}"
    return Origin(command=command, costs=dict.fromkeys(stages, cost), meter=Meter())


def fabricate_event(
    verdict: str, *, promoted: bool = False, run: str = "run-1", when: str = "2026-01-01T03:04:05+00:00"
) -> Event:
    """Return a candidate in the history of the champions."""
    version, best = "0" * 16, "1" * 16
    comparison = Comparison(set="all", clips=40, score=0.8, champion=0.81, difference=-0.01, low=-0.03, high=0.01)
    decision = Decision(version=version, champion=best, promoted=promoted, reason=f"It is {verdict}.", verdict=verdict)
    return Event(
        when=when,
        action="candidate",
        version=version,
        before=best,
        after=version if promoted else best,
        best=best,
        decision=decision | {"comparison": comparison},
        run=run,
        fingerprint="5f1d7a0c9be34c2f",
        measured=Measured(set="all", clips=50, score=0.79, low=0.7, high=0.85),
    )


def predictions_of(run: Path) -> list[Path]:
    return sorted((run / "predictions").glob("*.parquet"))


def rescore(run: Path, clips: str, label: str, score: float) -> None:
    """Let every member give a label this score on all clips whose names begin like this."""
    for path in predictions_of(run):
        table = read_predictions(path)
        scores = table.scores.copy()
        scores[table.rows["clip"].str.startswith(clips), table.classes.index(label)] = score
        write_predictions(path, Predictions(table.classes, table.rows, scores))


def models_of(run: Path) -> list[Path]:
    return sorted((run / "models").iterdir())


def finish_run(
    run: Path,
    *,
    baseline: Path | None = None,
    promotion: Promotion | None = None,
    origin: Origin | None = None,
    **settings: str,
) -> dict:
    """Do the last two stages on a fabricated run, lay the results where `run` lays them, and return the scores."""
    ensemble(predictions_of(run), spectrograms=run / "spectrograms", out=run / "averaged", **PLAIN | settings)
    for file in (run / "averaged").iterdir():
        shutil.copy(file, run)
    return evaluate(
        run / "averaged",
        models=models_of(run),
        spectrograms=run / "spectrograms",
        selection=run / "selection",
        report=run / "report.html",
        scores=run / "scores.json",
        audit=run,
        baseline=baseline,
        promotion=promotion,
        origin=origin,
    )


def _write_spectrograms(folder, rng, classes, clips, folds, test, test_labels, noisy, negatives, pictures):
    labels = [f"Class_{number:03d}" if number else "Bass_drum, <b>&" for number in range(classes)]
    notes = ["train_curated.csv: 1 clip known to be bad, left out: curated-bad.wav (no signal)"]
    with ShardWriter(folder, classes=labels, metadata={"notes": json.dumps(notes)}) as writer:
        for part in ("curated", "noisy", "test"):
            if (part == "noisy" and not noisy) or (part == "test" and not test):
                continue
            if part == "test":
                writer.reject(clip="test-first.wav", part="test", reason="has no samples")
            if part == "curated" and not test:
                writer.reject(clip="broken.wav", part="curated", reason="not a sound file <script>")
            for number in range(clips):
                if part == "test" and number == clips // 2:
                    writer.reject(clip="test-broken.wav", part="test", reason="not a sound file <script>")
                count = min(classes, 1 + int(rng.random() < 0.2) + int(rng.random() < 0.05))
                chosen = sorted(rng.choice(classes, count, replace=False))
                is_negative = part == "curated" and number < negatives
                unlabelled = (part == "test" and not test_labels) or is_negative
                usage = ("Private" if number % 4 else "Public") if part == "test" and test_labels else ""
                seconds = float(rng.choice([0.35, 1.5, 3.0, 5.0, 12.0]))
                writer.add(
                    clip=f"{part}{rng.integers(16**6):06x}{number}.wav",
                    part=part,
                    labels=[] if unlabelled else [labels[c] for c in chosen],
                    fold=number % max(2, len(folds)) if part == "curated" else -1,
                    usage=NEGATIVE if is_negative else usage,
                    seconds=seconds,
                    spectrogram=_spectrogram(rng, chosen, classes, seconds) if pictures else BLACK,
                )
        for kind in DISTURBANCES:
            for number in range(1, 5):
                options = {"fold": -1, "usage": "", "seconds": 5.0, "spectrogram": BLACK}
                right = [labels[number % classes]] if kind == "quiet-end" else []
                writer.add(clip=f"{kind}-{number}", part="disturbance", labels=right, **options)


def _spectrogram(rng, chosen, classes, seconds):
    frames = 1 + int(max(seconds, 2.0) * 44_100) // 694
    time, mel = np.arange(frames)[:, None], np.arange(128)[None]
    picture = rng.gamma(2.0, 14.0, (frames, 128)) * np.linspace(1, 0.3, 128)
    for c in chosen:
        beat = np.maximum(0, np.sin(time / (3 + c % 7))) ** 4
        picture = picture + 190 * beat * np.exp(-((mel - 10 - 100 * c / classes) ** 2) / 40)
    sound = 1 + int(seconds * 44_100) // 694
    before = (frames - sound) // 2  # frames of padding
    picture[:before], picture[before + sound :] = 0, 0
    return np.clip(picture, 0, 255).astype(np.uint8)


def _truth(folder, rng):
    """What a member could know: the labels, or random ones where they are not given."""
    clips, classes = read_clips(folder).query("part != 'disturbance'"), read_classes(folder)
    truth = label_table(clips["labels"].tolist(), classes)
    unlabelled = ~truth.any(axis=1)
    truth[unlabelled, rng.integers(len(classes), size=unlabelled.sum())] = True
    # Clips and classes differ in how hard they are, the same for every member.
    evidence = 2.4 * truth + rng.normal(0, 0.9, truth.shape) - 1.2 * truth * rng.random(len(classes))
    return clips, classes, evidence


def _write_linear(selection, truth_of, *, seed):
    """Write the predictions of the linear model, which knows less than every member."""
    clips, classes, evidence = truth_of
    logits = evidence + np.random.default_rng(seed).normal(0, 1.6, evidence.shape) - 4
    chosen = (clips["part"] != "noisy").to_numpy()
    part = clips["part"][chosen].map({"curated": "validation", "test": "test"})
    rows = pd.DataFrame({"clip": clips["clip"][chosen], "part": part, "member": LINEAR, "fold": -1})
    scores = (1 / (1 + np.exp(-logits[chosen]))).astype(np.float32)
    write_predictions(selection / LINEAR_PREDICTIONS, Predictions(classes, rows, scores, [LINEAR]))


def _write_predictions(run, name, rng, truth_of, member, fold, noise):
    clips, classes, evidence = truth_of
    validated = ((clips["part"] == "curated") & (clips["fold"] == fold)).to_numpy()
    chosen = np.flatnonzero(validated | (clips["part"] == "test").to_numpy())
    logits = evidence[chosen] + rng.normal(0, noise * 0.5, (len(chosen), len(classes))) - 4
    rows = pd.DataFrame(
        {
            "clip": clips["clip"].to_numpy()[chosen],
            "part": np.where(validated[chosen], "validation", "test"),
            "member": member.id,
            "fold": fold,
        }
    )
    made = [f"{kind}-{number}" for kind in DISTURBANCES for number in range(1, 5)]
    others = pd.DataFrame({"clip": made, "part": "disturbance", "member": member.id, "fold": fold})
    rows = pd.concat([rows, others], ignore_index=True)
    # They score as clips without any label do, and digital silence always the same.
    noises = np.random.default_rng(fold + 1).normal(-1, 1, (len(made), len(classes)))
    noises[:4] = noises[0]
    logits = np.concatenate([logits, noises - 4])
    (run / "predictions").mkdir(exist_ok=True)
    scores = (1 / (1 + np.exp(-logits))).astype(np.float32)
    write_predictions(run / "predictions" / f"{name}.parquet", Predictions(classes, rows, scores, [member.id]))
