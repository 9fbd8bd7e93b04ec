"""Members that are trained on parts of the clips."""

from collections import Counter
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from helpers.draws import SHORT, clips_of, plan
from helpers.noisy_spectrograms import CLASSES, MEMBER, write_spectrograms

from audiotagging.artifacts.predictions import read_predictions
from audiotagging.statistics.metrics import label_table, lwlrap
from audiotagging.studies.subsets import DRAWS, SHARES, deal_subsets, train_and_score

pytestmark = pytest.mark.usefixtures("narrow_networks")


@pytest.fixture(scope="module")
def spectrograms(tmp_path_factory):
    return write_spectrograms(tmp_path_factory.mktemp("draws") / "spectrograms")


def test_draws_are_nested_stratified_and_different():
    names = [f"{number:03}.wav" for number in range(200)]
    labels = [["Dog"] if number % 5 else ["Bird", "Rain"] for number in range(200)]
    found = deal_subsets(names, labels, seed=1)
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
    assert found == deal_subsets(names, labels, seed=1) != deal_subsets(names, labels, seed=2)


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
