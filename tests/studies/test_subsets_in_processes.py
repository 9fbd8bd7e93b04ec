"""Trainings on parts of the clips in processes of their own, where the networks have their full size."""

import multiprocessing
import os
import signal
import threading
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers.draws import SHORT, plan
from helpers.noisy_spectrograms import write_spectrograms

from audiotagging.artifacts.predictions import read_predictions
from audiotagging.base.errors import UserError
from audiotagging.studies.subsets import train_all, train_and_score

pytestmark = pytest.mark.slow
SLOT = {"OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="module")
def spectrograms(tmp_path_factory):
    return write_spectrograms(tmp_path_factory.mktemp("draws") / "spectrograms")


def test_a_process_that_is_told_to_stop_keeps_a_checkpoint_and_starts_nothing_else(spectrograms, tmp_path, monkeypatch):
    """The next call resumes, and ends with the predictions of a training that was never interrupted."""
    [first, second, *_] = plan(spectrograms, member=replace(SHORT, epochs=300))
    checkpoints = tmp_path / "checkpoints"

    def interrupt():
        while not list(checkpoints.glob("*/*.checkpoint")):
            time.sleep(0.05)
        for child in multiprocessing.active_children():
            os.kill(child.pid, signal.SIGTERM)

    thread = threading.Thread(target=interrupt)
    thread.start()
    options = {"folder": tmp_path, "checkpoints": checkpoints, "log": tmp_path / "log.txt", "slots": [SLOT]}
    with pytest.raises(MemoryError, match="one of 1 trainings was killed"):
        list(train_all([first, second], **options))
    thread.join()
    assert not first.path(tmp_path).exists() and not second.path(tmp_path).exists()
    assert list(checkpoints.glob("*/*.checkpoint"))
    assert "training on" in (tmp_path / "log.txt").read_text()


@pytest.fixture
def one_thread():
    """Compute with one thread, as in `SLOT`: sums of another number of threads differ in the last bits."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.usefixtures("one_thread")
def test_trainings_run_in_processes_and_what_fails_there_is_raised_here(spectrograms, tmp_path):
    good, _, _, bad = plan(spectrograms)[:4]
    options = {"folder": tmp_path, "checkpoints": tmp_path / "c", "log": tmp_path / "log.txt", "slots": [SLOT, SLOT]}
    assert list(train_all([good], **options)) == [good] and good.path(tmp_path).is_file()
    alone = tmp_path / "alone"
    alone.mkdir()
    train_and_score(good, folder=alone, checkpoints="")
    assert np.array_equal(read_predictions(good.path(tmp_path)).scores, read_predictions(good.path(alone)).scores)
    diverging = replace(bad, member=replace(SHORT, lr=1.0, epochs=20), spectrograms=tmp_path / "none")
    with pytest.raises(UserError, match="none"):
        list(train_all([diverging], **options))
