"""Tag the new sounds of a folder on this machine, with the same pipeline that runs on a cluster.

Examples:
    audiotagging run --pipeline tagging --data recordings --models champions --out tags
    audiotagging run --pipeline tagging --data s3://bucket/new --models OUT --out s3://bucket/tags --precision 0.9
"""

import argparse
import logging
from pathlib import Path, PurePosixPath

from kfp import local
from kfp.local.config import LocalRunnerType

from audiotagging.base.errors import UserError
from audiotagging.base.gate import CODES, say
from audiotagging.base.object_store import check_url
from audiotagging.base.wording import pluralize
from audiotagging.base.working_folder import working_folder
from commands import add_pipeline, check_counts
from commands.kfp_internals import images_of
from commands.local.containers import add_docker, check_docker, docker_runner
from commands.local.runner import StageError, run_pipeline
from commands.local.slots import divide, usable_gpus
from commands.outputs import work_of
from commands.tagging.parameters import add_parameters, parameters

logger = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    add_pipeline(parser)
    add_parameters(parser)
    machine = parser.add_argument_group("this machine")
    machine.add_argument(
        "--parallel", type=int, metavar="N", help="number of shards to tag at once (default: one per GPU, or one)"
    )
    add_docker(machine)


def run(args: argparse.Namespace) -> int:
    """Run the pipeline. Its stages say what they found, and where the new batch is."""
    check_docker(args)
    check_counts(args, "parallel")
    gpus = usable_gpus(docker=args.docker)
    values = parameters(args, shards=args.parallel if args.parallel is not None else max(1, len(gpus)))
    folders = {name: _folder(values[name]) for name in ("data", "out")} | {"models": Path(args.models).resolve()}
    values |= {name: str(folder) for name, folder in folders.items() if folder}
    slots = divide([{}] * values["shards"], stored=0, parallel=values["shards"], gpus=gpus)
    logger.info("tagging at most %s at once", pluralize(values["shards"], "shard"))
    try:
        with working_folder(work_of(folders["out"] or Path(PurePosixPath(values["out"]).name).resolve())) as work:
            runner = _docker(args, folders, work) if args.docker else local.SubprocessRunner(use_venv=False)
            run_pipeline(args.pipeline, values, runner=runner, root=work / "stages", work=work, slots=slots)
    except StageError as error:
        say(f"{error.kind}: {error}")
        return CODES[error.kind]
    return 0


def _folder(place: str) -> Path | None:
    """Return the path of a folder on this machine, or None if it is in an object store."""
    if "://" not in place:
        return Path(place).resolve()
    check_url(place)
    return None


def _docker(args: argparse.Namespace, folders: dict[str, Path | None], work: Path) -> LocalRunnerType:
    data, out, models = folders["data"], folders["out"], folders["models"]
    if not (data and out and models):
        raise UserError("--docker: expected folders on this machine, because containers have no network, found a URL")
    for option, folder in (("--data", data), ("--models", models)):
        if not folder.is_dir():
            raise UserError(f"{option}: expected a folder, found none at {folder}")
    out.mkdir(parents=True, exist_ok=True)
    return docker_runner(
        images=images_of(args.pipeline), data=[data, models], writable=[out], work=work, memory=args.memory
    )
