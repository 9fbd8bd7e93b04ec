"""What the last run that ended well was of, in the champions folder, so that a later one can see if nothing is new."""

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypedDict

from audiotagging.artifacts.champions_folder import HISTORY, POINTER
from audiotagging.base.errors import UserError
from audiotagging.base.files import atomic_file, digest
from audiotagging.base.typed_json import read_json, write_json
from audiotagging.base.wording import listed

NAME = "last_run.json"
IMAGES = "AUDIOTAGGING_IMAGES"  # the images of all stages, in the environment of `ingest`: nobody can change them there

logger = logging.getLogger(__name__)


class LastRun(TypedDict):
    """The content of `last_run.json`.

    Attributes:
        run: Id of the run.
        champions: Digest of the champion and of the history of the champions, as the run left them.
        inputs: Everything else that its results depend on, by name.
    """

    run: str
    champions: str
    inputs: dict[str, str]


def as_inputs(values: Mapping[str, Any]) -> dict[str, str]:
    """Return values that are JSON as texts that can be compared."""
    return {name: json.dumps(value, sort_keys=True) for name, value in values.items()}


def find_news(champions: Path, inputs: Mapping[str, str]) -> bool:
    """Return whether something differs from the last run that ended well, or there is none, and log what.

    Args:
        champions: The champions folder.
        inputs: What the results of this run depend on, as `as_inputs` returns it.
    """
    if not (champions / NAME).exists():
        logger.info("everything is new: no earlier run with these champions is known to have ended well")
        return True
    try:
        last = read_json(champions / NAME, LastRun)
    except UserError as error:
        logger.warning("everything counts as new: %s", error)
        return True
    before = last["inputs"]
    news = [name for name in {**inputs, **before} if inputs.get(name) != before.get(name)]
    news += ["the champions"] if last["champions"] != _digest(champions) else []
    if news:
        logger.info("new since run %s, which ended well: %s", last["run"], listed(news))
    else:
        logger.info("nothing new since run %s, which ended well", last["run"])
    return bool(news)


def remember(champions: Path, *, run: str, inputs: Mapping[str, str]) -> None:
    """Write down what a run was of, which has ended well.

    Args:
        champions: The champions folder, as the run has left it.
        run: Id of the run.
        inputs: What its results depend on, as `as_inputs` returns it.
    """
    with atomic_file(champions / NAME) as partial:
        write_json(partial, LastRun(run=run, champions=_digest(champions), inputs=dict(inputs)))


def _digest(champions: Path) -> str:
    return digest(path for name in (POINTER, HISTORY) if (path := champions / name).exists())
