"""Compares recipes by their scores: trains candidates on the data of finished runs, and prints a table of differences.

    python -m benchmarks.recipe RESULTS OUT [OUT ...] [--candidates NAME ...] [--seeds N]

Every OUT is the output of a run whose test clips have labels: its spectrograms and its noisy clips are used. Each
candidate is trained once for every OUT and seed, and what RESULTS has already is not trained again. The intervals are
of a bootstrap over both clips and seeds. The rows of docs/recipe.md are from here.
"""

import argparse
import logging
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from audiotagging.artifacts.predictions import read_predictions
from audiotagging.artifacts.selection import read_noisy_clips
from audiotagging.artifacts.spectrogram_shards import read_classes, read_clips, read_spectrograms
from audiotagging.base.errors import UserError
from audiotagging.base.machine import threads
from audiotagging.base.progress import track
from audiotagging.members import REFERENCE, Member
from audiotagging.statistics.intervals import DRAWS, SEED, Estimate, estimate
from audiotagging.statistics.metrics import label_precisions, label_table, mean_average_precision
from audiotagging.studies import subsets
from audiotagging.training.devices import best_device
from audiotagging.training.loop import TrainingRun
from benchmarks.frame import race

# 12 800 crops of 32 pixels, in batches of 32: what a budget of a few minutes allows on two cores.
BASE = replace(REFERENCE[2], size=32, batch_size=32, epochs=10, epoch_size=40)
CANDIDATES = {
    "reference": [BASE],
    "no mixup": [replace(BASE, mixup=0.0)],
    "mixup of half": [replace(BASE, mixup=0.5)],
    "256 frames": [replace(BASE, frames=256)],
    "batches of 16": [replace(BASE, batch_size=16, epoch_size=80)],
    "three times the crops": [replace(BASE, epochs=30)],
    "three times the crops, no mixup": [replace(BASE, epochs=30, mixup=0.0)],
}
STEPS = 20  # of a race between two candidates


@dataclass(frozen=True)
class Tested:
    """The data that candidates are trained and scored on.

    Attributes:
        out: The output of a run.
        curated: Names of the curated clips, all of which are trained on.
        noisy: Names of the noisy clips that are trained on too.
        clips: Names of the test clips.
        truth: True where a test clip has the label, bool, shape (clips, classes).
    """

    out: Path
    curated: list[str]
    noisy: list[str]
    clips: list[str]
    truth: np.ndarray


def read_tested(out: Path) -> Tested:
    """Read the data of a finished run.

    Raises:
        UserError: If no test clip has a label.
    """
    spectrograms, selection = out / "spectrograms", out / "selection"
    clips = read_clips(spectrograms)
    tested = clips[(clips["part"] == "test") & (clips["labels"].str.len() > 0)]
    if tested.empty:
        raise UserError(f"{out}: expected a run with labelled test clips, found none; name another")
    return Tested(
        out,
        list(clips["clip"][clips["part"] == "curated"]),
        list(read_noisy_clips(selection, clips)["fname"]),
        list(tested["clip"]),
        label_table(tested["labels"].tolist(), read_classes(spectrograms)),
    )


def plan(members: Sequence[Member], tested: Tested, *, seed: int) -> list[subsets.Training]:
    """Return the trainings of a candidate's members on some data."""
    everything = subsets.Subset(1, 1.0, tested.curated)
    return [
        subsets.plan_training(
            everything,
            member=member,
            curated=set(tested.curated),
            noisy_clips=tested.noisy,
            scored=("test", tested.clips),
            spectrograms=tested.out / "spectrograms",
            seed=seed,
        )
        for member in members
    ]


def compare(
    candidate: Sequence[np.ndarray], reference: Sequence[np.ndarray], truths: Sequence[np.ndarray]
) -> tuple[float, Estimate]:
    """Compare a candidate with the reference, over clips and seeds.

    Args:
        candidate: Its scores on the clips of each data set, each of shape (seeds, clips, classes).
        reference: Those of the reference, which may have another number of seeds.
        truths: True where the clip has the label, each of shape (clips, classes).

    Returns:
        The lwlrap of the candidate, pooled over the data sets, and how much higher it is than that of the reference,
        with an interval: each draw takes clips and, of each system, seeds with replacement.
    """
    rng = np.random.default_rng(SEED)
    difference, draws, own = 0.0, np.zeros(DRAWS), 0.0
    labels, drawn_labels = 0.0, np.zeros(DRAWS)
    for first, second, truth in zip(candidate, reference, truths, strict=True):
        counts = rng.multinomial(len(truth), np.full(len(truth), 1 / len(truth)), size=DRAWS)  # (draws, clips)
        for sign, systems in ((1, first), (-1, second)):
            sums = np.stack([label_precisions(truth, scores).sum(axis=1) for scores in systems])  # (seeds, clips)
            chosen = rng.multinomial(len(systems), np.full(len(systems), 1 / len(systems)), size=DRAWS)
            draws += sign * (counts * (chosen / len(systems) @ sums)).sum(axis=1)
            difference += sign * sums.mean(axis=0).sum()
            own += sums.mean(axis=0).sum() if sign > 0 else 0.0
        labels += truth.sum()
        drawn_labels += counts @ truth.sum(axis=1)
    return own / labels, estimate(difference / labels, draws / drawn_labels)


def read_scores(members: Sequence[Member], tested: Tested, *, seeds: Sequence[int], results: Path) -> np.ndarray:
    """Return the mean scores of a candidate's members on the test clips, shape (seeds, clips, classes)."""
    found = []
    for seed in seeds:
        scores = []
        for training in plan(members, tested, seed=seed):
            predictions = read_predictions(training.path(results))
            assert list(predictions.rows["clip"]) == tested.clips, "predictions in another order"
            scores.append(predictions.scores)
        found.append(np.mean(scores, axis=0))
    return np.stack(found)


def relative_speed(member: Member, tested: Tested) -> float:
    """Return the crops per second of a member's training divided by those of the reference's, from the same run."""
    data = read_spectrograms(tested.out / "spectrograms", parts=["curated"])
    runs = [
        TrainingRun(replace(each, epochs=1, epoch_size=1000), data, fold=-1, device=best_device(), precision="auto")
        for each in (member, BASE)
    ]

    def steps(run: TrainingRun) -> None:
        for _ in range(STEPS):
            run.train_step()

    own, other = race(lambda: steps(runs[0]), lambda: steps(runs[1]), rounds=3)
    return (member.batch_size / own) / (BASE.batch_size / other)


def table(candidates: Mapping[str, Sequence[Member]], data: Sequence[Tested], *, seeds: int, results: Path) -> str:
    """Return the table of all candidates, in Markdown.

    Args:
        candidates: The members of every candidate by its name, the reference first.
        data: The data that they were trained on.
        seeds: Number of seeds.
        results: The folder of all predictions.
    """
    truths = [tested.truth for tested in data]
    lines = ["| candidate | lwlrap | difference | mAP | difference | crops a second |", "|---|---|---|---|---|---|"]
    systems = {
        name: [read_scores(members, tested, seeds=range(seeds), results=results) for tested in data]
        for name, members in candidates.items()
    }
    reference = next(iter(systems.values()))
    precision = {
        name: float(
            np.mean(
                [
                    mean_average_precision(truth, scores)
                    for truth, each in zip(truths, found, strict=True)
                    for scores in each
                ]
            )
        )
        for name, found in systems.items()
    }
    expected = next(iter(precision.values()))
    for name, found in systems.items():
        score, gain = compare(found, reference, truths)
        speed = relative_speed(candidates[name][0], data[0])
        lines.append(
            f"| {name} | {score:.3f} | {gain['score']:+.3f} ({gain['low']:+.3f} to {gain['high']:+.3f}) "
            f"| {precision[name]:.3f} | {precision[name] - expected:+.3f} | {speed:.2f} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Train what was not trained before, and print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.recipe", description="Compare recipes by their scores.")
    parser.add_argument("results", type=Path, metavar="RESULTS", help="folder for the predictions, which are kept")
    parser.add_argument("outs", nargs="+", type=Path, metavar="OUT", help="outputs of runs with labelled test clips")
    parser.add_argument("--candidates", nargs="+", choices=CANDIDATES, default=list(CANDIDATES), metavar="NAME")
    parser.add_argument("--seeds", type=int, default=1, help="number of seeds (default: %(default)s)")
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    torch.set_num_threads(1)
    names = dict.fromkeys(["reference", *args.candidates])
    candidates = {name: CANDIDATES[name] for name in names}
    data = [read_tested(out) for out in args.outs]
    args.results.mkdir(parents=True, exist_ok=True)
    trainings = {
        training.path(args.results): training
        for seed in range(args.seeds)
        for members in candidates.values()
        for tested in data
        for training in plan(members, tested, seed=seed)
    }
    missing = [training for path, training in trainings.items() if not path.exists()]
    with tempfile.TemporaryDirectory() as checkpoints:
        done = subsets.train_all(
            missing,
            folder=args.results,
            checkpoints=Path(checkpoints),
            log=args.results / "log.txt",
            slots=[{"OMP_NUM_THREADS": "1"}] * threads(),
        )
        for _ in track(done, label="train", total=len(missing)):
            pass
    print(table(candidates, data, seeds=args.seeds, results=args.results))


if __name__ == "__main__":
    main()
