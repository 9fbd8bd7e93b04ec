"""Members that are trained on parts of the clips."""

import multiprocessing
import os
import signal
import threading
import time
from collections import Counter
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from helpers.noisy_spectrograms import CLASSES, MEMBER, write_spectrograms

from audiotagging.artifacts.prediction_table import read_predictions
from audiotagging.artifacts.spectrogram_shards import read_clips
from audiotagging.errors import UserError
from audiotagging.metrics import label_table, lwlrap
from audiotagging.training.draws import DRAWS, SHARES, deal_draws, plan_trainings, train_all, train_and_score

pytestmark = pytest.mark.usefixtures("narrow_networks")

SHORT = replace(MEMBER, epochs=2, epoch_size=2)
SCORED = ("noisy", ["noisy00.wav", "noisy01.wav"])
SLOT = {"OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="module")
def spectrograms(tmp_path_factory):
    return write_spectrograms(tmp_path_factory.mktemp("draws") / "spectrograms")


def clips_of(spectrograms, part="curated"):
    clips = read_clips(spectrograms)
    return clips[clips["part"] == part]


def plan(spectrograms, *, member=SHORT, seed=1, noisy_clips=(), scored=SCORED):
    curated = clips_of(spectrograms)
    return plan_trainings(
        deal_draws(list(curated["clip"]), list(curated["labels"]), seed=seed),
        member=member,
        noisy_clips=list(noisy_clips),
        scored=scored,
        spectrograms=spectrograms,
        seed=seed,
    )


def test_draws_are_nested_stratified_and_different():
    names = [f"{number:03}.wav" for number in range(200)]
    labels = [["Dog"] if number % 5 else ["Bird", "Rain"] for number in range(200)]
    found = deal_draws(names, labels, seed=1)
    assert [(draw.number, draw.share) for draw in found] == [
        (number, share) for number in range(1, DRAWS + 1) for share in SHARES
    ]
    for draw in found:
        assert len(draw.clips) == len(set(draw.clips)) == 200 * draw.share
        counts = Counter(label for name, has in zip(names, labels, strict=True) if name in draw.clips for label in has)
        assert counts == {"Dog": 160 * draw.share, "Bird": 40 * draw.share, "Rain": 40 * draw.share}
    for smaller, larger in pairwise(found):
        assert set(smaller.clips) < set(larger.clips) or larger.share == SHARES[0]
    quarters = [frozenset(draw.clips) for draw in found if draw.share == SHARES[0]]
    assert len(set(quarters)) == DRAWS
    assert found == deal_draws(names, labels, seed=1) != deal_draws(names, labels, seed=2)


@pytest.mark.slow
def test_more_clips_score_higher(spectrograms, tmp_path):
    """The scored clips are the noisy ones whose labels are right."""
    names = [f"noisy{number:02}.wav" for number in range(48) if number % 9 >= 3]
    trainings = plan(spectrograms, member=replace(MEMBER, epochs=3), scored=("noisy", names))[:4]
    for training in (trainings[0], trainings[3]):
        train_and_score(training, folder=tmp_path, checkpoints=str(tmp_path / "checkpoints"))
    truth = label_table(clips_of(spectrograms, "noisy").set_index("clip")["labels"][names].tolist(), CLASSES)
    tables = [read_predictions(training.path(tmp_path)) for training in (trainings[0], trainings[3])]
    assert all(list(table.rows["clip"]) == names for table in tables)
    few, every = (lwlrap(truth, table.scores) for table in tables)
    assert few <= every and every > 0.8


@pytest.mark.parametrize(
    "changed",
    [
        {"seed": 2},
        {"member": replace(SHORT, lr=0.004)},
        {"noisy_clips": ["noisy05.wav"]},
        {"scored": ("noisy", ["noisy00.wav"])},
        {"scored": ("test", ["noisy00.wav", "noisy01.wav"])},
    ],
)
def test_a_training_of_other_data_or_options_has_another_file(spectrograms, tmp_path, changed):
    paths = [training.path(tmp_path) for training in plan(spectrograms)]
    assert len(set(paths)) == DRAWS * len(SHARES)
    assert paths == [training.path(tmp_path) for training in plan(spectrograms)]
    assert not set(paths) & {training.path(tmp_path) for training in plan(spectrograms, **changed)}


def test_all_clips_are_trained_on_with_another_seed_in_every_draw(spectrograms, tmp_path):
    scores = []
    for training in plan(spectrograms):
        if training.draw.share == 1:
            train_and_score(training, folder=tmp_path, checkpoints="")
            scores.append(read_predictions(training.path(tmp_path)).scores)
    assert len(scores) == DRAWS and not np.array_equal(scores[0], scores[1])


@pytest.mark.slow
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


@pytest.mark.slow
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
