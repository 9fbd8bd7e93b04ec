"""Distil an ensemble into one network: a student learns the ensemble's scores of all clips, noisy ones too.

The student has the size of one member, and learns four times as long. It goes to OUT/student, which `tag`, `serve` and
`export` take in place of OUT. An interrupted command resumes when it is given again.

Examples:
    audiotagging distil out/demo-demo
    audiotagging distil OUT --member xresnet34ssa-bce --set epochs=120
"""

import argparse
import logging
import time
from pathlib import Path

import numpy as np

from audiotagging.artifacts.averaging import AVERAGING
from audiotagging.artifacts.ensemble_folder import ENSEMBLE, PREDICTIONS, read_ensemble
from audiotagging.artifacts.model_folder import model_name
from audiotagging.artifacts.predictions import Predictions, read_predictions
from audiotagging.artifacts.spectrogram_shards import Spectrograms, read_clips, read_spectrograms
from audiotagging.base.errors import UserError
from audiotagging.base.files import atomic_file, named, require
from audiotagging.base.progress import track
from audiotagging.base.typed_json import write_json
from audiotagging.base.wording import pluralize
from audiotagging.base.working_folder import working_folder
from audiotagging.ensemble.ensembling import ensemble
from audiotagging.ensemble.labelled_clips import labelled_sets
from audiotagging.members import override
from audiotagging.statistics.intervals import Estimate
from audiotagging.studies.distillation import LABELS, STUDENT, mix_targets, student_of
from audiotagging.studies.student import STUDENT_METADATA, StudentMetadata, StudentScores, compare_student
from audiotagging.tagging.loading import load_tagger
from audiotagging.tagging.tagger import Tagger
from audiotagging.training.batches import Targets
from audiotagging.training.prediction import predict
from audiotagging.training.train import train
from commands.outputs import AVERAGED, STUDENT_FOLDER, check_replaced, choose_model, move_up, new_out, work_of
from commands.parameters import add_set, assignments

NEEDED = ("spectrograms", "selection", "models", "predictions", PREDICTIONS, AVERAGING)
BATCH = 64  # clips scored at once
TIMED = 32  # clips that both are timed on
TURNS = 3  # of each

logger = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    parser.add_argument("out", type=Path, metavar="OUT", help="output of a run, whose ensemble teaches")
    training = parser.add_argument_group("training")
    training.add_argument(
        "--member", metavar="ID", help="member of the run that the student is like (default: the fastest to train)"
    )
    add_set(training, help="change fields of the student; epochs are four times those of the member by default")
    training.add_argument("--force", action="store_true", help="replace an earlier student")


def run(args: argparse.Namespace) -> int:
    """Train the student, score it, write its folder, and print its scores."""
    out, folder = args.out, args.out / STUDENT_FOLDER
    require(out, *NEEDED, what="the output of a run")
    if folder.exists() and not args.force:
        raise UserError(f"{folder} exists already; replace it with --force")
    if folder.exists():
        check_replaced(folder, what="a student", made=STUDENT_METADATA)
    predictions, averaging = read_ensemble(out)
    if averaging.mean == "rank":
        raise UserError(
            f"{out}: expected an ensemble whose scores are probabilities, found the mean of ranks; average the members "
            "in another way, with `audiotagging run --mean arithmetic`"
        )
    like = choose_model(out / "models", args.member)
    [member] = override([student_of(like.member)], assignments(args.set))
    with named(folder), working_folder(work_of(folder)) as work, new_out(folder, work=work) as partial:
        teacher = load_tagger(out)
        taught = _teach(out, predictions, teacher, kept=work)
        model, table = partial / "models" / model_name(STUDENT, -1), work / "predictions.parquet"
        train(
            member,
            fold=-1,
            spectrograms=out / "spectrograms",
            out=model,
            seed=like.seed,
            checkpoints=str(work / "checkpoints"),
            targets=taught,
        )
        predict(model, spectrograms=out / "spectrograms", selection=out / "selection", out=table)
        ensemble([table], spectrograms=out / "spectrograms", out=partial / AVERAGED, mean="arithmetic", weights="equal")
        move_up(partial)
        content = StudentMetadata(
            like=like.member.id,
            learned={"clips": len(taught.clips), "labels": LABELS},
            times_as_fast=_times_as_fast(teacher, load_tagger(partial), out / "spectrograms"),
            scores=_score(out, partial, predictions, member=like.member.id),
        )
        write_json(partial / STUDENT_METADATA, content)
    _print(content)
    print(f"\n{folder}")
    return 0


def _teach(out: Path, predictions: Predictions, teacher: Tagger, *, kept: Path) -> Targets:
    """Return what the student learns. The scores of clips that nothing has scored yet are kept in a file."""
    clips = read_clips(out / "spectrograms")
    clips = clips[clips["part"].isin(["curated", "noisy"])]
    # Models that were not trained on any clip with a label would teach that no clip has it.
    unheard = clips["clip"][[not set(labels).isdisjoint(predictions.unheard) for labels in clips["labels"]]]
    rows = predictions.rows
    own = (rows["member"] == ENSEMBLE) & (rows["part"] == "validation") & ~rows["clip"].isin(unheard)
    scores = dict(zip(rows["clip"][own], predictions.scores[own.to_numpy()], strict=True))
    rest = read_spectrograms(out / "spectrograms", clips=[clip for clip in clips["clip"] if clip not in scores])
    logger.info(
        "%s taught by the models that were not trained on them, %s by all models",
        *(pluralize(len(scores), "clip"), len(rest.clips)),
    )
    path = kept / f"taught-{teacher.networks.version()}.npy"
    if not path.exists():
        with atomic_file(path) as partial, partial.open("wb") as file:
            np.save(file, _score_all(teacher, rest))
    scores |= dict(zip(rest.clips["clip"], np.load(path), strict=True))
    return mix_targets(clips, scores, classes=predictions.classes)


def _score_all(teacher: Tagger, data: Spectrograms) -> np.ndarray:
    pictures = np.split(data.frames, data.offsets[1:-1])
    starts = range(0, len(data.clips), BATCH)
    found = (teacher.score(pictures[start : start + BATCH]) for start in starts)
    nothing = np.empty((0, len(teacher.classes)), np.float32)
    return np.concatenate([nothing, *track(found, label="score clips", total=len(starts))])


def _score(out: Path, averaged: Path, predictions: Predictions, *, member: str) -> StudentScores | None:
    """Compare the student with its ensemble on the labelled test clips. Return None if there are none."""
    clips = read_clips(out / "spectrograms")
    teacher = labelled_sets(predictions, clips).get("all")
    student = labelled_sets(read_ensemble(averaged)[0], clips).get("all")
    if teacher is None or student is None:
        return None
    tables = [read_predictions(path) for path in sorted((out / "predictions").glob(f"{member}-fold*.parquet"))]
    alone = [labelled_sets(table, clips)["all"].select(student.clips).systems[member] for table in tables]
    return compare_student(
        student.truth,
        student=student.systems[ENSEMBLE],
        ensemble=teacher.select(student.clips).systems[ENSEMBLE],
        alone=alone,
    )


def _times_as_fast(teacher: Tagger, student: Tagger, spectrograms: Path) -> float:
    """Return how many times as fast as the ensemble the student scores clips, from the fastest of three turns each."""
    clips = read_clips(spectrograms)
    names = list(clips["clip"][clips["part"] != "disturbance"])[:TIMED]
    data = read_spectrograms(spectrograms, clips=names)
    pictures = np.split(data.frames, data.offsets[1:-1])
    seconds: dict[int, list[float]] = {0: [], 1: []}
    for turn in range(2 * TURNS):
        started = time.perf_counter()
        (teacher, student)[turn % 2].score(pictures)
        seconds[turn % 2].append(time.perf_counter() - started)
    return min(seconds[0]) / min(seconds[1])


def _print(content: StudentMetadata) -> None:
    """Print what the student learned, and how it compares with the ensemble."""
    scores = content["scores"]
    print(f"\n{content['times_as_fast']:.1f} times as fast as the ensemble")
    if scores is None:
        print("not scored: there are no labelled test clips")
        return
    rows = {
        "ensemble": scores["ensemble"],
        "student": scores["student"],
        f"{content['like']} alone": scores["alone"],
    }
    width = max(map(len, rows))
    print(f"\n{'lwlrap':<{width}}{'':>8}  95 % interval, {pluralize(scores['clips'], 'test clip')}")
    for name, values in rows.items():
        print(f"{name:<{width}}{_estimate(values, '.4f')}")
    print(f"\nstudent - ensemble{_estimate(scores['student_minus_ensemble'], '+.4f')}")
    print(f"student - alone   {_estimate(scores['student_minus_alone'], '+.4f')}")
    if scores["kept"]:
        print(f"the student keeps {_estimate(scores['kept'], '.0%').strip()} of what the ensemble gains")
    else:
        print("what the ensemble gains is too small to say which share of it the student keeps")


def _estimate(values: Estimate, style: str) -> str:
    score, low, high = (format(value, style) for value in (values["score"], values["low"], values["high"]))
    return f"{score:>8}  {low} to {high}"
