"""Writes the folder of an exported ensemble: ONNX files and a model card."""

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np

from audiotagging.artifacts.mels import MELS
from audiotagging.artifacts.model_folder import model_folders, models_folder, read_metadata
from audiotagging.artifacts.onnx_metadata import ENSEMBLE
from audiotagging.base.files import atomic_folder, sha256
from audiotagging.export.model_card import MODEL_CARD, model_card, read_scores
from audiotagging.export.onnx_files import OPSET, write_onnx
from audiotagging.studies.student import read_student_metadata
from audiotagging.tagging.onnx_networks import OnnxNetworks
from audiotagging.tagging.torch_networks import TorchNetworks

TOLERANCE = 1e-4  # between a score of ONNX Runtime and one of torch
LENGTHS = (128, 300, 1000)  # frames of the spectrograms that both score

logger = logging.getLogger(__name__)


def export(run: Path, out: Path) -> None:
    """Export the ensemble of a run, and check that it gives the same scores. The folder appears when it is complete.

    Args:
        run: The output folder of a run, or its folder `models`.
        out: The folder to create. If it exists, it must be empty.

    Raises:
        UserError: If there is no such run, or if it is incomplete or corrupt.
    """
    networks = TorchNetworks(run, precision="float32")
    scores, student = read_scores(run), read_student_metadata(run)
    facts = {(each.member.id, each.fold): each for each in map(read_metadata, model_folders(models_folder(run)))}
    models = [(model, facts[name, model.fold]) for name, folds in networks.models.items() for model in folds]
    weights = {name: networks.averaging.weights[name] for name in networks.members}
    with atomic_folder(out) as partial:
        averaging = replace(networks.averaging, weights=weights)
        write_onnx(partial, models=models, averaging=averaging)
        difference = _difference(networks, OnnxNetworks(partial / ENSEMBLE))
        if difference > TOLERANCE:
            raise RuntimeError(f"the scores of ONNX Runtime and torch differ by {difference:.1e}")
        logger.info("the scores of ONNX Runtime and torch differ by %.1e at most", difference)
        card = model_card(
            [facts for _, facts in models],
            averaging=averaging,
            scores=scores,
            student=student,
            files={path.name: sha256(path) for path in sorted(partial.iterdir())},
            opset=OPSET,
            difference=difference,
        )
        (partial / MODEL_CARD).write_text(card, encoding="utf-8")


def _difference(networks: TorchNetworks, exported: OnnxNetworks) -> float:
    """Return the largest difference between the scores of noise."""
    random = np.random.default_rng(0)
    noise = [random.integers(0, 256, (length, MELS), np.uint8) for length in LENGTHS]
    return float(np.abs(networks.score(noise) - exported.score(noise)).max())
