"""The networks of a finished run, computed by torch."""

import logging
from collections.abc import Sequence
from functools import partial
from itertools import groupby
from pathlib import Path

import numpy as np
import torch

from audiotagging.artifacts.averaging import AVERAGING, Averaging, read_averaging
from audiotagging.artifacts.ensemble_folder import read_version
from audiotagging.artifacts.model_folder import model_folders, models_folder
from audiotagging.base import machine
from audiotagging.base.errors import UserError
from audiotagging.tagging.tagger import Steps, finish
from audiotagging.training.devices import best_device, named_device
from audiotagging.training.prediction import load_model, score_clips

logger = logging.getLogger(__name__)


class TorchNetworks:
    """The networks of a run. The other attributes are those of `tagger.Networks`.

    Attributes:
        models: The models of every member, one per fold.
    """

    def __init__(
        self, run: Path, *, precision: str = "auto", device: str | None = None, threads: int | None = None
    ) -> None:
        """Load the models of a run and the settings of its average.

        Args:
            run: The output folder of a run, or its folder `models`.
            precision: "auto" or "float32", as in `devices.autocast`.
            device: The device, as for `devices.named_device`. The default is the GPU if there is one.
            threads: The number of threads of the process's computations on the CPU. The default is `machine.threads`.

        Raises:
            UserError: If there is no such folder or no model in it, or no such device, if the classes of the models
                differ, or if `ensemble.json` averages other models.
        """
        if not run.is_dir():
            raise UserError(
                f"{run}: expected the output of a run, found no folder there; `audiotagging run --out OUT` makes one"
            )
        folder = models_folder(run)
        chosen = best_device() if device is None else named_device(device)
        models = [load_model(path, device=chosen) for path in model_folders(folder)]
        if not models:
            raise UserError(
                f"{folder}: expected the output of a run or its folder `models`, found no model in it; name another"
            )
        self._run, self._precision = run, precision
        self.classes = models[0].classes
        for model in models:
            if model.classes != self.classes:
                raise UserError(
                    f"{folder}: expected models with the same classes, found different classes in "
                    f"{models[0].member.id} and {model.member.id}; keep only the models of one run in this folder"
                )
        models.sort(key=lambda model: model.member.id)
        self.models = {name: list(folds) for name, folds in groupby(models, key=lambda model: model.member.id)}
        self.members = list(self.models)
        self.averaging = _averaging(folder, self.members, self.classes, may_be_missing=folder == run)
        torch.set_num_threads(threads or machine.threads())

    def version(self) -> str:
        """Return the version of the ensemble: that which it has as a champion, or would have."""
        return read_version(self._run)

    def score(self, spectrograms: Sequence[np.ndarray]) -> np.ndarray:
        """Score spectrograms, as `tagger.Networks` explains."""
        return finish(self.steps(spectrograms))

    def steps(self, spectrograms: Sequence[np.ndarray]) -> Steps:
        """Do the same, one member per step."""
        frames = np.concatenate(spectrograms)
        offsets = np.concatenate([[0], np.cumsum([len(each) for each in spectrograms])])
        score = partial(score_clips, frames=frames, offsets=offsets, precision=self._precision, label=None)
        scores = []
        for folds in self.models.values():
            scores.append(np.mean([score(model) for model in folds], axis=0))
            yield
        return np.stack(scores)


def _averaging(folder: Path, members: list[str], classes: list[str], *, may_be_missing: bool) -> Averaging:
    """Return how the members are averaged: as in the `ensemble.json` beside the folder.

    The folder of the models may have been copied without it. Then all members weigh the same.
    """
    try:
        averaging = read_averaging(folder.parent, classes=classes)
    except FileNotFoundError:
        if not may_be_missing:
            raise
        logger.info("%s: there is no %s beside it, so all members weigh the same", folder, AVERAGING)
        return Averaging("arithmetic", dict.fromkeys(members, 1 / len(members)))
    if set(averaging.weights) != set(members):
        raise UserError(
            f"{folder}: expected models of {', '.join(averaging.weights)}, which {folder.parent / AVERAGING} averages, "
            f"found models of {', '.join(members)}; restore the models of that run"
        )
    return averaging
