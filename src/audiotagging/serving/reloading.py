"""The models that answer, and the thread that replaces them when there is another champion."""

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from audiotagging.artifacts.champions_folder import champion_folder
from audiotagging.artifacts.mels import MELS
from audiotagging.base.gate import explain
from audiotagging.base.machine import give_back_memory
from audiotagging.tagging.loading import load_tagger
from audiotagging.tagging.tagger import Tagger

POLL = 10.0  # seconds
RETRY = 60.0  # seconds; it takes a while to find out what is wrong with a champion
PROBE = np.arange(256 * MELS, dtype=np.uint8).reshape(256, MELS)  # any spectrogram

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Loaded:
    """Models in memory.

    Attributes:
        folder: Where they were loaded from.
        version: Their version (`Networks.version`).
        tagger: The ensemble.
    """

    folder: Path
    version: str
    tagger: Tagger


class Models:
    """The models that answer.

    Attributes:
        current: The models.
        refused: Why the present champion does not answer, or "" if it does.
    """

    def __init__(self, folder: Path, *, changed: Callable[["Models"], object]) -> None:
        """Load the models, and look for another champion from time to time.

        Args:
            folder: The output of a run, its folder `models`, or a champions folder.
            changed: Called when the models, or the reason why others do not answer, have changed.

        Raises:
            UserError: If there are no models, or if they are corrupt.
        """
        self._folder = folder
        self._changed = changed
        self._closed = threading.Event()
        self.refused = ""
        self.current = _load(folder)
        changed(self)
        threading.Thread(target=self._watch, name="models", daemon=True).start()

    def close(self) -> None:
        """Look for no other champion any more."""
        self._closed.set()

    def _watch(self) -> None:
        while not self._closed.wait(RETRY if self.refused else POLL):
            self.refresh()
            give_back_memory()

    def refresh(self) -> None:
        """Replace the models if there is another champion and it can score. Otherwise they stay, and one line says why.

        The new models are loaded beside the old ones, which answer until then.
        """
        refused = ""
        try:
            if (champion_folder(self._folder) or self._folder) != self.current.folder:
                self.current = _load(self._folder)
                logger.info("version %s answers from now on", self.current.version)
        except Exception as error:
            refused = explain(error)[1]
            if refused != self.refused:
                logger.error(
                    "version %s still answers, because the present champion cannot: %s", self.current.version, refused
                )
        self.refused = refused
        self._changed(self)


def _load(folder: Path) -> Loaded:
    """Load the models that a folder holds at present, and score something with them."""
    folder = champion_folder(folder) or folder
    tagger = load_tagger(folder)
    tagger.score([PROBE])
    return Loaded(folder, tagger.networks.version(), tagger)
