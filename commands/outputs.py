"""The layout of OUT, the folder with the results of a run on this machine or on a cluster.

submission.csv, ensemble.json, predictions.parquet   from the stage `ensemble`
scores.json, report.html                             from the stage `evaluate`
suspicious.csv, audit.html                           from the stage `evaluate`, if folds were held out
models/MEMBER-foldK/, predictions/MEMBER-foldK.parquet
spectrograms/, selection/
learning-curve/, student/, onnx/                     from the commands `learning-curve`, `distil` and `export`
log.txt, logs/STAGE.txt                              what happened, and all output of every stage of a local run
"""

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path, PurePath
from typing import Any, TypeVar

from audiotagging.artifacts.model_folder import ModelMetadata, model_folders, model_name, read_metadata
from audiotagging.base.errors import UserError
from audiotagging.base.files import move, named, sync, walk
from audiotagging.base.removal import LEFTOVER, MARKER, is_marked, remove
from audiotagging.base.working_folder import working_folder
from audiotagging.ensemble.labelled_clips import SETS
from audiotagging.evaluation.findings import findings
from audiotagging.evaluation.scores import SCORES_FILE, read_scores
from audiotagging.members import LINEAR

AVERAGED, AUDIT = "averaged", "audit"  # folders whose files are moved to OUT itself
REPLACED = "replaced"  # earlier results, in the working folder
LEARNING_CURVE, STUDENT_FOLDER, EXPORT = "learning-curve", "student", "onnx"
MODEL = ("member.json", "weights.safetensors", "history.parquet")
# What a run, `learning-curve`, `distil` and `export` write, or earlier versions of them did, as patterns of paths below
# OUT, or below the student.
WRITTEN = (
    *("submission.csv", "ensemble.json", "predictions.parquet", "scores.json", "report.html", "student.json"),
    *("suspicious.csv", "audit.html", "log.txt", "logs/*.txt", "predictions/*.parquet"),
    *(f"models/*/{name}" for name in MODEL),
    *(f"selection/{name}" for name in ("folds.csv", "noisy.csv", "linear.parquet")),
    *(f"selection/judge/{name}" for name in MODEL),  # by an earlier version
    *(f"spectrograms/{name}.csv" for name in ("alike", "incomplete", "rejected")),
    *(f"spectrograms/{name}.parquet" for name in ("?????-of-?????", "acoustics", "excerpts", "sounds")),
    "spectrograms/verified.json",
    *(f"{LEARNING_CURVE}/learning_curve.{ending}" for ending in ("json", "csv", "html")),
    *(f"{LEARNING_CURVE}/{name}" for name in ("log.txt", "predictions/*.parquet")),
    *(f"{EXPORT}/{name}" for name in ("*.onnx", "*.onnx.data", "MODEL_CARD.md")),
)
OF_SYSTEMS = ".DS_Store"  # macOS adds it to folders

Artifact = TypeVar("Artifact")


def layout(
    *,
    spectrograms: Artifact,
    selection: Artifact,
    models: Iterable[tuple[str, int, Artifact]],
    predictions: Iterable[tuple[str, int, Artifact]],
    averaged: Artifact,
    scores: Artifact,
    report: Artifact,
    audit: Artifact | None,
) -> dict[str, Artifact]:
    """Return the outputs of a run by their paths in OUT.

    Args:
        spectrograms: A folder.
        selection: A folder.
        models: Member, fold and folder of each model.
        predictions: Member, fold and file of each prediction table.
        averaged: A folder.
        scores: A file.
        report: A file.
        audit: A folder, or None if no folds were held out.
    """
    return {
        "spectrograms": spectrograms,
        "selection": selection,
        **{f"models/{model_name(member, fold)}": model for member, fold, model in models},
        **{f"predictions/{model_name(member, fold)}.parquet": table for member, fold, table in predictions},
        AVERAGED: averaged,
        "scores.json": scores,
        "report.html": report,
        **({} if audit is None else {AUDIT: audit}),
    }


@contextmanager
def working_on(out: Path, *, force: bool) -> Iterator[Path]:
    """Provide the working folder of OUT, which no other command uses at the same time, after checking OUT.

    It is removed at the end. After an error it is kept if there is something in it.

    Args:
        out: The folder of the results, with links resolved.
        force: Whether results in OUT may be replaced.

    Raises:
        UserError: If OUT may not be written, or if the working folder is in use or was made by somebody else.
    """
    with named(out), working_folder(work_of(out)) as work:
        if not out.exists() and (work / REPLACED).exists():  # killed while it replaced them
            (work / REPLACED).rename(out)
        check_out(out, force=force)
        yield work


def work_of(out: Path) -> Path:
    """Return the working folder of OUT."""
    return out.parent / f"{out.name}.work"  # the root has no name


def check_out(out: Path, *, force: bool) -> None:
    """Check that OUT may be written: that it does not exist, or that it may be replaced and only a run wrote to it.

    Raises:
        UserError: If OUT may not be written.
    """
    if not out.exists():
        return
    if not force:
        raise UserError(f"{out} exists already; name another --out, or replace this one with --force")
    check_replaced(out, what="the output of a run", made="scores.json")


def check_replaced(out: Path, *, what: str, made: str) -> None:
    """Check that a folder that --force replaces has nothing in it or below it but what this program wrote.

    Args:
        out: The folder.
        what: What it should be, for the message.
        made: The file in it that says so.

    Raises:
        UserError: If there is something else in it, or if it is read-only.
    """
    if not (out / made).is_file():
        raise UserError(f"{out}: --force replaces only {what}, found something else; name another folder, or move it")
    if others := sorted(_others(out)):
        also = f" (and {len(others) - 1} more)" if len(others) > 1 else ""
        raise UserError(f"{out}: --force replaces only {what}, found {others[0]}{also} too; move it elsewhere")
    if not os.access(out, os.W_OK):
        raise UserError(f"{out}: expected a folder that can be replaced, found one that is read-only")


def _others(out: Path) -> Iterator[PurePath]:
    """Yield what this program did not write to a folder of results: files, and links to folders."""
    for above, folders, files in walk(out):
        links = [name for name in folders if (above / name).is_symlink()]
        folders[:] = [name for name in folders if not is_marked(above / name, MARKER)]  # of interrupted commands
        for name in [*files, *links]:
            path = (above / name).relative_to(out)
            if not _is_written(path) and name != OF_SYSTEMS and not LEFTOVER.fullmatch(name):
                yield path


def _is_written(path: PurePath) -> bool:
    path = path.relative_to(STUDENT_FOLDER) if path.is_relative_to(STUDENT_FOLDER) else path
    return any(path.match(pattern) for pattern in WRITTEN if pattern.count("/") == len(path.parts) - 1)


@contextmanager
def new_out(out: Path, *, work: Path) -> Iterator[Path]:
    """Provide an empty folder that becomes OUT, or replaces it, when the block ends without an error.

    Args:
        out: The folder of the results.
        work: Its working folder, where earlier results are moved to.
    """
    partial, replaced = work / "new", work / REPLACED
    for path in (partial, replaced):
        remove(work, path.name)  # may be left over from a run that was killed
    partial.mkdir()
    try:
        yield partial
        move_up(partial)
        sync(partial)
        if out.exists():
            out.rename(replaced)
        move(partial, out)
    except BaseException:
        if replaced.exists() and not out.exists():
            replaced.rename(out)
        with suppress(OSError):
            remove(work, partial.name)
        raise


def choose_model(models: Path, name: str | None) -> ModelMetadata:
    """Return the facts about the network of a member or, without a name, about the one that trained fastest.

    Raises:
        UserError: If there is no such model.
    """
    every = [read_metadata(folder) for folder in model_folders(models)]
    found = [facts for facts in every if facts.member.network != LINEAR]
    chosen = [facts for facts in found if name in (None, facts.member.id)]
    if not chosen:
        others = ", ".join(sorted({facts.member.id for facts in found})) or "none"
        raise UserError(f"{models}: expected a model of {name or 'a network'}, found {others}; choose with --member")
    return min(chosen, key=lambda facts: facts.seconds)


def move_up(out: Path) -> None:
    """Move the files of the ensemble and of the audit from their folders to OUT itself."""
    for folder in filter(Path.exists, (out / AVERAGED, out / AUDIT)):
        for file in folder.iterdir():
            file.rename(out / file.name)
        folder.rmdir()


def print_results(out: Path) -> None:
    """Print the scores of the ensemble and its members, and the paths of the results."""
    scores = read_scores(out / SCORES_FILE)
    yardstick = "linear" in scores and LINEAR not in scores["members"]
    linear = {"linear model": scores["linear"]} if yardstick else {}
    _print_table("lwlrap", scores["members"] | linear | {"ensemble": scores["ensemble"]})
    precisions = {
        system: scores["mean_average_precision"].get(system, {}) for system in (*scores["members"], "ensemble")
    }
    _print_table("mAP", precisions)
    print_findings(scores)
    print()
    for name in ("report.html", "audit.html", "submission.csv", "scores.json", "models", "predictions", "spectrograms"):
        if (out / name).exists():
            print(f"{name:<16}{out / name}")


def print_findings(scores: Mapping[str, Any]) -> None:
    """Print what the scores say, one line per finding."""
    print("\n" + "\n".join(findings(scores)))


def _print_table(measure: str, systems: Mapping[str, Mapping[str, float]]) -> None:
    """Print a measure of every system on every set of clips, if there are any that can be scored."""
    columns = [column for column in SETS if any(column in figures for figures in systems.values())]
    if not columns:
        return
    width = max(map(len, systems))
    print(f"\n{measure:<{width}}" + "".join(f"{column:>13}" for column in columns))
    for name, figures in systems.items():
        cells = (f"{figures[column]:>13.4f}" if column in figures else " " * 13 for column in columns)
        print(f"{name:<{width}}" + "".join(cells))
