"""Find out what to record next: say for each class what more clips of it are expected to gain, with an interval.

One member is trained twelve times, on 25, 50, 75 and 100 % of the curated clips in three draws, with the spectrograms
of a finished run. The results go to OUT/learning-curve. An interrupted command resumes when it is given again, and
nothing is trained twice.

Examples:
    audiotagging learning-curve out/demo-demo
    audiotagging learning-curve OUT --clips 50 --set epochs=20 --parallel 2
"""

import argparse
import logging
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pandas as pd

from audiotagging.artifacts.mels import MELS
from audiotagging.artifacts.model_folder import ModelMetadata
from audiotagging.artifacts.selection import read_folds, read_noisy_clips, with_folds
from audiotagging.artifacts.spectrogram_shards import read_clips
from audiotagging.base.errors import UserError, in_one_line
from audiotagging.base.files import check_target, require
from audiotagging.base.removal import remove_leftovers
from audiotagging.base.wording import duration
from audiotagging.base.working_folder import working_folder
from audiotagging.members import Member, override
from audiotagging.report.report import signed
from audiotagging.studies.learning_curve import (
    LEARNING_CURVE_FILES,
    StudyMetadata,
    Trained,
    is_clear,
    summarise,
    write_gains,
)
from audiotagging.studies.subsets import SHARES, Training, deal_subsets, plan_trainings, train_all
from commands import check_counts
from commands.local.console import LOG
from commands.local.slots import divide, usable_gpus
from commands.outputs import LEARNING_CURVE, choose_model
from commands.parameters import add_set, assignments

logger = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    parser.add_argument("out", type=Path, metavar="OUT", help="output of a run, whose spectrograms are used")
    parser.add_argument(
        "--clips", type=int, default=20, metavar="N", help="number of clips to gain from (default: %(default)s)"
    )
    training = parser.add_argument_group("training")
    training.add_argument(
        "--member", metavar="ID", help="member of the run to train (default: the one that trained fastest)"
    )
    add_set(
        training,
        help="change fields of the member, such as epochs=10 to save time; too few epochs hide what clips gain",
    )
    training.add_argument(
        "--parallel",
        type=int,
        metavar="N",
        help="number of trainings at once (default: one per GPU, or as many as cores and memory allow)",
    )


def run(args: argparse.Namespace) -> int:
    """Train what is not trained yet, write the results, and print them."""
    check_counts(args, "clips", "parallel")
    require(args.out, "spectrograms", "selection", "models", what="the output of a run")
    trained = choose_model(args.out / "models", args.member)
    [member] = override([trained.member], assignments(args.set))
    member = replace(member, freeze_epochs=0)  # its trainings start with new weights
    spectrograms, folder = args.out / "spectrograms", args.out / LEARNING_CURVE
    folder.mkdir(exist_ok=True)
    for name in (f"{LEARNING_CURVE_FILES}.json", f"{LEARNING_CURVE_FILES}.csv", f"{LEARNING_CURVE_FILES}.html", LOG):
        check_target(folder / name)
    remove_leftovers(args.out, marker="scores.json")
    clips = with_folds(read_clips(spectrograms), read_folds(args.out / "selection"))
    part, scored, drawn = divide_clips(clips)
    noisy = list(read_noisy_clips(args.out / "selection", clips)["fname"])
    trainings = plan_trainings(
        deal_subsets(list(drawn["clip"]), list(drawn["labels"]), seed=trained.seed),
        member=member,
        noisy_clips=noisy,
        scored=(part, list(scored["clip"])),
        spectrograms=spectrograms,
        seed=trained.seed,
    )
    stored = float(MELS * clips["frames"].sum())
    _train(trainings, folder=folder, seconds=_seconds(trained, member), parallel=args.parallel, stored=stored)
    content = summarise(
        [
            Trained(
                share=each.draw.share,
                draw=each.draw.number,
                clips=len(each.draw.clips),
                predictions=each.path(folder / "predictions"),
            )
            for each in trainings
        ],
        StudyMetadata(member=member, seed=trained.seed, more=args.clips, noisy=len(noisy), part=part),
        spectrograms=spectrograms,
        drawn=list(drawn["clip"]),
    )
    write_gains(folder, content)
    _print(content)
    print(f"\n{folder / f'{LEARNING_CURVE_FILES}.html'}")
    return 0


def divide_clips(clips: pd.DataFrame) -> tuple[str, pd.DataFrame, pd.DataFrame]:
    """Divide clips into those to score and those to draw: the labelled test clips and all curated ones, or two folds.

    Args:
        clips: The clips of the run, with their folds.

    Returns:
        The part of the clips to score; these; and the curated clips to draw from, without a fold that is scored.

    Raises:
        UserError: If there are too few clips.
    """
    labelled = clips[clips["labels"].str.len() > 0]
    scored, drawn = labelled[labelled["part"] == "test"], labelled[labelled["part"] == "curated"]
    part = "test"
    if not len(scored) and len(drawn):
        held_out = drawn["fold"] == drawn["fold"].min()
        part, scored, drawn = "curated", drawn[held_out], drawn[~held_out]
    if len(drawn) < len(SHARES) * 2:
        raise UserError(
            f"expected at least {len(SHARES) * 2} curated clips to draw from, found {len(drawn)}; add clips, or labels "
            "of test clips, which are then scored instead of curated ones"
        )
    return part, scored, drawn


def _seconds(trained: ModelMetadata, member: Member) -> float:
    """Estimate the seconds of a training from those of the run."""
    crops = [
        each.cycles * each.epochs * each.epoch_size * each.batch_size * each.size**2
        for each in (member, trained.member)
    ]
    return trained.seconds * crops[0] / crops[1]


def _train(trainings: list[Training], *, folder: Path, seconds: float, parallel: int | None, stored: float) -> None:
    """Do the trainings without predictions, and say how many of them are left, and for how long."""
    predictions, log = folder / "predictions", folder / LOG
    predictions.mkdir(parents=True, exist_ok=True)
    left = [each for each in trainings if not each.path(predictions).exists()]
    if not left:
        return
    rows = [asdict(each.member) for each in left]
    slots = divide(rows, stored=stored, parallel=parallel, gpus=usable_gpus(docker=False)).rows
    logger.info(
        "%d of %d trainings are left, %d at once: about %s, and the time to score clips; epochs are in %s",
        *(len(left), len(trainings), len(slots), duration(seconds * len(left) / len(slots)), log),
    )
    started = time.monotonic()
    with working_folder(folder / "checkpoints") as checkpoints:
        trained = train_all(left, folder=predictions, checkpoints=checkpoints, log=log, slots=slots)
        for done, training in enumerate(trained, 1):
            remaining = (time.monotonic() - started) / max(done, len(slots)) * (len(left) - done)
            logger.info(
                "%d of %d: draw %d, %.0f %% of the clips%s",
                *(done + len(trainings) - len(left), len(trainings), training.draw.number, 100 * training.draw.share),
                f"; {duration(remaining)} left" if done < len(left) else "",
            )


def _print(content: dict[str, Any]) -> None:
    """Print the lwlrap of every share, and the gains, the largest first."""
    more = content["more"]
    classes = [row | {"label": in_one_line(row["label"])} for row in content["classes"]]
    width = max(len("all together"), *(len(row["label"]) for row in classes))
    print(f"\n{'lwlrap':<{width}}" + "".join(f"{share:>8.0%}" for share in SHARES) + f"   gain from {more} more clips")
    for label, row in [("all together", content | content["gains"][0]), *((row["label"], row) for row in classes)]:
        print(f"{label:<{width}}" + "".join(f"{score:>8.3f}" for score in row["scores"]) + f"   {_gain(row)}")
    print(f"\n{more} more clips of every class: {_gain(content['gains'][1])}")
    clear = [f"{row['label']} ({_gain(row)})" for row in classes if is_clear(row)]
    print("These are gains while all classes grow together; docs/recording.md says what a class gains alone.")
    print(f"record {more} more of: {', '.join(clear) or 'no class has a clear gain'}")


def _gain(row: dict[str, Any]) -> str:
    if row["expected"] is None:
        return "too few clips to say"
    unclear = "" if is_clear(row) else "; not clear"
    return f"{signed(row['expected'])}, {signed(row['low'])} to {signed(row['high'])}{unclear}"
