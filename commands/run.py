"""Train, average and score an ensemble on this machine, with the same pipeline that runs on a cluster.

Examples:
    audiotagging run --data DIR --out OUT
    audiotagging run --data DIR --out OUT --budget 1h
    audiotagging run --data DIR --out OUT --folds 0,1,2,3,4 --weights fitted
    audiotagging run --data DIR --out OUT --members reference --set epochs=40
    audiotagging run --data DIR --out OUT --cache cache --cache-size 20g
"""

import argparse
import logging
import os
import shutil
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from kfp import local
from kfp.local.config import LocalRunnerType

from audiotagging.artifacts.champions_folder import Event, prepare_champions, read_events
from audiotagging.artifacts.initial_weights import initial_weights, whole
from audiotagging.artifacts.last_run import IMAGES
from audiotagging.base.errors import UserError
from audiotagging.base.gate import CODES, say
from audiotagging.base.typed_json import read_json
from audiotagging.data.dataset import Dataset, read_dataset
from audiotagging.data.digests import prepare_digests
from audiotagging.data.ingest import check_folds
from audiotagging.data.layouts.reading import Reading
from audiotagging.data.sources import resolve, resolve_init
from audiotagging.evaluation.scores import SCORES_FILE, StoredScores
from audiotagging.report.evaluate_again import evaluate_again
from audiotagging.runs.notification import describe_run, post
from commands import add_pipeline, check_counts
from commands.budget import rows_within, uses_budget
from commands.folders import check_folders
from commands.kfp_internals import Task, images_of
from commands.local.cache import CHECKPOINTS, cache_in_use, cache_size, check_cache
from commands.local.console import LOG, LOGS
from commands.local.containers import add_docker, check_docker, docker_runner
from commands.local.runner import StageError, run_pipeline
from commands.local.slots import divide, stored_bytes, usable_gpus
from commands.mlflow import send_results
from commands.outputs import REPLACED, layout, new_out, print_results, work_of, working_on
from commands.parameters import absolute_paths, add_mlflow, add_notify, add_parameters, parameters
from commands.reading import reading_of

logger = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    add_pipeline(parser)
    add_parameters(parser, budget=True)
    results = parser.add_argument_group("results")
    results.add_argument(
        "--out", type=Path, required=True, metavar="OUT", help="folder for the results; it appears when the run is done"
    )
    results.add_argument("--force", action="store_true", help="replace existing results in OUT")
    add_notify(results)
    add_mlflow(results)
    machine = parser.add_argument_group("this machine")
    machine.add_argument(
        "--parallel",
        type=int,
        metavar="N",
        help="number of members to train at once (default: one per GPU, or as many as cores and memory allow)",
    )
    machine.add_argument(
        "--cache", type=Path, metavar="DIR", help="keep the output of every stage here, and reuse it in later runs"
    )
    machine.add_argument(
        "--cache-size",
        type=cache_size,
        metavar="SIZE",
        help="after the run, remove from the cache what was not used for longest, down to this size, such as 20g",
    )
    add_docker(machine)


def run(args: argparse.Namespace) -> int:
    """Run the pipeline, and print a table of scores and the paths of the results."""
    _check_options(args)
    values = parameters(args) | {"command": args.command_line}
    out = args.out.resolve()
    paths = {"--downloads": args.downloads, "--cache": args.cache, "--champions": args.champions}
    folders = {option: Path(path).resolve() for option, path in paths.items() if path}
    init = resolve_init(args.init, downloads=Path(args.downloads).resolve())
    init = whole(init.resolve()) if init else None
    check_folders(out, work=work_of(out), data=Path(args.data).resolve(), init=init, others=folders)
    if args.cache:
        check_cache(folders["--cache"])
    if init:
        if init != folders.get("--champions"):
            initial_weights(init)  # a wrong path is found at once, not after the machine was measured
        values["init"] = str(init)
    before = read_events(folders["--champions"]) if args.champions else []
    try:
        with working_on(out, force=args.force) as work:
            news = _run_stages(args, values, folders, out=out, work=work)
            if (work / REPLACED).exists():
                _compare(out, work / REPLACED)
    except StageError as error:
        say(f"{error.kind}: {error}")
        if args.notify:
            post(args.notify, describe_run(args.out.name, None, failed=str(error)))
        return CODES[error.kind]
    if args.notify:
        post(args.notify, describe_run(args.out.name, _candidate(out, before) if news else None, news=news))
    if news:
        if args.mlflow:
            send_results(out, args.mlflow)
        print_results(args.out)
    else:
        say(f"nothing new since the last run that ended well: {args.out} stays as it is")
    return 0


def _candidate(out: Path, before: Collection[Event]) -> Event | None:
    """Return what the run added to the history of the champions, if it did."""
    events = read_json(out / SCORES_FILE, StoredScores).get("champions", [])
    added = [event for event in events if event["action"] == "candidate" and event not in before]
    return added[-1] if added else None


def _compare(out: Path, before: Path) -> None:
    """Compare the results with those that they replaced, if that is possible, in the report."""
    try:
        evaluate_again(out, before=before)
    except UserError as error:
        logger.info("The results that were replaced are not compared: %s", error)


def _run_stages(
    args: argparse.Namespace, values: dict[str, Any], folders: Mapping[str, Path], *, out: Path, work: Path
) -> bool:
    """Run the pipeline in its working folder, and collect its outputs in OUT. Return whether there was any news."""
    dataset, downloads = _prepare_data(args), folders["--downloads"]
    values |= {
        "data": str(dataset.folder),
        "downloads": str(downloads),
        "corrections": absolute_paths(args.corrections),
        "reading": reading_of(args, absolute=True),
    }
    champions = folders.get("--champions")
    if champions:
        prepare_champions(champions)
        values["champions"] = str(champions)
    runner: LocalRunnerType = local.SubprocessRunner(use_venv=False)
    if args.docker:
        weights = [Path(values["init"])] if values["init"] not in ("", str(champions)) else []
        sounds = [dataset.folder / values["reading"]["sounds"]] if "sounds" in values["reading"] else []
        runner = docker_runner(
            images=images_of(args.pipeline),
            data=[dataset.folder, *(dataset.folder / path for path in values["corrections"]), *sounds, *weights],
            work=work,
            writable=[*([champions] if champions else []), *prepare_digests(dataset.folder, downloads)],
            memory=args.memory,
        )
    gpus = usable_gpus(docker=args.docker)
    if uses_budget(args):
        values["rows"] = rows_within(args, dataset, gpus=gpus, work=work)
    if values["init"] not in ("", str(champions)):
        _check_weights(Path(values["init"]), values)
    files = [Path(path) for path in dataset.clips["path"][dataset.clips["part"] != "test"].unique()]
    slots = divide(values["rows"], stored=stored_bytes(files), parallel=args.parallel, gpus=gpus)
    logger.info("%s", slots)
    slots = slots.with_variables({IMAGES: " ".join(images_of(args.pipeline))})
    root = folders.get("--cache", work / "stages")
    values["checkpoints"] = str(root / CHECKPOINTS)
    with cache_in_use(root, size=args.cache_size):
        done = run_pipeline(args.pipeline, values, runner=runner, root=root, work=work, slots=slots)
        news = any(task.stage == "evaluate" for task, _ in done)
        if news:
            _gather(_outputs(done), out, work=work, cached=args.cache is not None)
    return news


def _outputs(done: Iterable[tuple[Task, dict[str, Any]]]) -> dict[str, Any]:
    """Return the outputs of the stages that are results, by the names that `layout` has for them."""
    found: dict[str, Any] = {"models": [], "predictions": []}
    for task, outputs in done:
        if task.stage == "train":
            found["models"].append(outputs["model"])
        elif task.stage == "predict":
            found["predictions"].append(outputs["predictions"])
        elif task.stage in ("preprocess", "select", "ensemble", "evaluate"):
            found |= outputs
    return found


def _check_options(args: argparse.Namespace) -> None:
    if args.cache_size is not None and not args.cache:
        raise UserError("--cache-size limits the cache: name its folder with --cache, or omit --cache-size")
    check_docker(args)
    check_counts(args, "parallel")
    uses_budget(args)


def _check_weights(init: Path, values: Mapping[str, Any]) -> None:
    """Check the weights to start with, and say which member starts with which, before any stage runs."""
    from audiotagging.training.starting_weights import check  # absolute_paths, because torch takes seconds to import

    check(init, values["rows"], seed=values["seed"])


def _prepare_data(args: argparse.Namespace) -> Dataset:
    """Return the data set, downloaded and unpacked if needed, after all checks that are quick."""
    folder = resolve(args.data, downloads=Path(args.downloads).resolve())
    dataset = read_dataset(
        folder.resolve(),
        noisy=args.noisy,
        corrections=absolute_paths(args.corrections),
        reading=Reading.from_dict(reading_of(args, absolute=True)),
        test_share=args.test_share,
        seed=args.seed,
    )
    check_folds(dataset, args.folds)
    return dataset


def _gather(outputs: dict[str, Any], out: Path, *, work: Path, cached: bool) -> None:
    """Collect the outputs of a run in the folder `out`, which appears when it is complete.

    If there is a cache, the outputs are copied, so that changes in `out` do not affect the cache. The spectrograms are
    always linked, because they are large and nobody edits them.
    """
    copy = shutil.copy2 if cached else _link
    in_loop = {
        name: [(each.metadata["member"], each.metadata["fold"], each) for each in outputs[name]]
        for name in ("models", "predictions")
    }
    with new_out(out, work=work) as partial:
        for name, artifact in layout(**(outputs | in_loop)).items():
            _put(Path(artifact.path), partial / name, copy=_link if name == "spectrograms" else copy)
        shutil.copy(work / LOG, partial / LOG)
        shutil.copytree(work / LOGS, partial / LOGS)


def _put(source: Path, target: Path, *, copy: Callable[[str, str], Any]) -> None:
    """Copy a file or a folder, with the given function for each file."""
    if source.is_dir():
        shutil.copytree(source, target, copy_function=copy)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    copy(str(source), str(target))


def _link(source: str, target: str) -> None:
    """Link a file, or copy it if the target is on another file system."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
