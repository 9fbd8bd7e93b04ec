"""The layout of OUT, the folder with the results of a run on this machine or on a cluster.

submission.csv, ensemble.json, predictions.parquet   from the stage `ensemble`
scores.json, report.html                             from the stage `evaluate`
models/MEMBER-foldK/, predictions/MEMBER-foldK.parquet
spectrograms/, selection/
"""

import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from audiotagging.artifacts.model_folder import model_name
from audiotagging.errors import UserError
from audiotagging.files import atomic_folder, read_json
from audiotagging.results.labelled_clips import SETS

AVERAGED = "averaged"  # a folder whose files are moved to OUT itself

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
    """
    return {
        "spectrograms": spectrograms,
        "selection": selection,
        **{f"models/{model_name(member, fold)}": model for member, fold, model in models},
        **{f"predictions/{model_name(member, fold)}.parquet": table for member, fold, table in predictions},
        AVERAGED: averaged,
        "scores.json": scores,
        "report.html": report,
    }


def check_out(out: Path, *, force: bool) -> None:
    """Check that OUT may be written.

    Raises:
        UserError: If OUT exists and `force` is false, or if OUT is not the output of a run.
    """
    if out.exists() and not force:
        raise UserError(f"{out} exists already; name another --out, or replace this one with --force")
    if out.exists() and not (out / "scores.json").exists():
        raise UserError(f"{out}: --force replaces only the output of a run, found something else; name another --out")


@contextmanager
def new_out(out: Path) -> Iterator[Path]:
    """Provide an empty folder that becomes OUT, or replaces it, when the block ends without an error."""
    replaced = out.with_name(out.name + ".replaced")
    shutil.rmtree(replaced, ignore_errors=True)  # may be left over from a run that was killed
    with atomic_folder(out) as partial:
        yield partial
        for file in (partial / AVERAGED).iterdir():
            file.rename(partial / file.name)
        (partial / AVERAGED).rmdir()
        if out.exists():
            out.rename(replaced)
    shutil.rmtree(replaced, ignore_errors=True)


def print_results(out: Path) -> None:
    """Print the scores of the ensemble and its members, and the paths of the results."""
    scores = read_json(out / "scores.json")
    systems = scores["members"] | {"ensemble": scores["ensemble"]}
    columns = [column for column in SETS if any(column in figures for figures in systems.values())]
    width = max(map(len, systems))
    print(f"\nlwlrap{' ' * (width - 6)}" + "".join(f"{column:>13}" for column in columns))
    for name, figures in systems.items():
        cells = (f"{figures[column]:>13.4f}" if column in figures else " " * 13 for column in columns)
        print(f"{name:<{width}}" + "".join(cells))
    print()
    for name in ("report.html", "submission.csv", "scores.json", "models", "predictions", "spectrograms"):
        if (out / name).exists():
            print(f"{name:<16}{out / name}")
