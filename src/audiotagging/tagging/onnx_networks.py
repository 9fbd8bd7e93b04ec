"""The networks of an exported ensemble, computed by ONNX Runtime on the CPU. It needs neither torch nor Parquet."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from audiotagging.artifacts.onnx_metadata import INPUT, MEMBER_SCORES, from_metadata
from audiotagging.base import machine
from audiotagging.base.errors import UserError
from audiotagging.base.files import digest, regular, sha256
from audiotagging.tagging.tagger import Steps, finish

# Its builds send events to their maker unless this is set before they are imported (Privacy.md in the package).
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

from onnxruntime import InferenceSession, SessionOptions
from onnxruntime.capi import onnxruntime_pybind11_state as state

# What ONNX Runtime raises for a file that is missing or not a model.
CORRUPT = (state.Fail, state.InvalidArgument, state.InvalidGraph, state.InvalidProtobuf, state.NoSuchFile)
SEVERE = 3  # errors, without warnings


class OnnxNetworks:
    """The networks of an exported ensemble or model. The attributes are those of `tagger.Networks`."""

    def __init__(self, path: Path, *, threads: int | None = None) -> None:
        """Load a file that `audiotagging export` wrote.

        Args:
            path: The file.
            threads: The number of threads. The default is `machine.threads`.

        Raises:
            UserError: If it is missing, corrupt or another file, or if its weights are not those that it was written
                with.
        """
        options = SessionOptions()
        options.intra_op_num_threads = threads or machine.threads()
        options.log_severity_level = SEVERE
        try:
            self._session = InferenceSession(regular(path), options, providers=["CPUExecutionProvider"])
        except (*CORRUPT, state.RuntimeException, OSError) as error:
            machine.check_machine(error)
            found = "no such file" if not path.exists() else str(error).partition("\n")[0][:200]
            raise UserError(
                f"{path}: expected an exported model with its weights beside it, found {found}; copy the folder again"
            ) from error
        given = self._session.get_inputs()[0]
        if given.name != INPUT:
            raise UserError(
                f"{path}: expected a model that takes a {INPUT}, found one that takes {given.name}; name the folder"
            )
        facts = from_metadata(self._session.get_modelmeta().custom_metadata_map, path=path)
        self.classes = facts.classes
        self.members = list(facts.averaging.weights)
        self.averaging = facts.averaging
        self._files = [path, *(path.parent / name for name in facts.weights)]
        for name, expected in facts.weights.items():
            if sha256(path.parent / name) != expected:
                raise UserError(
                    f"{path.parent / name}: expected the weights that {path.name} was written with, found others; copy "
                    "the folder again"
                )

    def version(self) -> str:
        """Return the version of the exported model, which differs from that of the ensemble: so do its scores."""
        return digest(self._files)[:16]

    def score(self, spectrograms: Sequence[np.ndarray]) -> np.ndarray:
        """Score spectrograms, as `tagger.Networks` explains."""
        return finish(self.steps(spectrograms))

    def steps(self, spectrograms: Sequence[np.ndarray]) -> Steps:
        """Do the same, one spectrogram per step."""
        scores = []
        for each in spectrograms:
            scores += self._session.run([MEMBER_SCORES], {INPUT: each})
            yield
        return np.stack(scores, axis=1)
