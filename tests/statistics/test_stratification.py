import numpy as np
import pytest

from audiotagging.statistics.stratification import stratify


def table(seed, clips=200, classes=12):
    """Return names and labels: 1 to 3 labels a clip, some classes far rarer than others."""
    rng = np.random.default_rng(seed)
    share = 1 / np.arange(1, classes + 1)
    labels = [
        [f"class{label:02}" for label in rng.choice(classes, rng.integers(1, 4), replace=False, p=share / share.sum())]
        for _ in range(clips)
    ]
    return [f"{number:08x}.wav" for number in rng.permutation(clips)], labels


def imbalance(labels, fold, folds):
    """Return the mean, over labels and folds, of how far a fold is from its share of the label's clips."""
    names = sorted({label for clip in labels for label in clip})
    has = np.array([[name in clip for name in names] for clip in labels])
    counts = np.array([has[fold == k].sum(axis=0) for k in range(folds)])
    return np.abs(counts - has.sum(axis=0) / folds).mean()


@pytest.mark.parametrize("folds", [2, 5, 10])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_folds_are_better_balanced_than_a_random_split(folds, seed):
    clips, labels = table(seed)
    fold = stratify(clips, labels, shares=[1] * folds, seed=534)
    assert np.ptp(np.bincount(fold, minlength=folds)) <= 0.3 * len(clips) / folds
    rng = np.random.default_rng(seed)
    random = [imbalance(labels, rng.permutation(np.arange(len(clips)) % folds), folds) for _ in range(20)]
    assert imbalance(labels, fold, folds) < 0.5 * min(random)


def test_every_fold_has_every_label_that_has_enough_clips():
    clips = [f"{i}.wav" for i in range(60)]
    labels = [[f"class{i % 12}"] for i in range(60)]
    fold = stratify(clips, labels, shares=[1] * 5, seed=1)
    assert all({fold[i] for i in range(k, 60, 12)} == set(range(5)) for k in range(12))


def test_folds_do_not_depend_on_the_order_of_rows_or_labels():
    clips, labels = table(3)
    fold = dict(zip(clips, stratify(clips, labels, shares=[1] * 5, seed=1), strict=True))
    order = np.random.default_rng(4).permutation(len(clips))
    moved = [clips[i] for i in order]
    again = stratify(moved, [labels[i][::-1] for i in order], shares=[1] * 5, seed=1)
    assert dict(zip(moved, again, strict=True)) == fold
    assert any(stratify(clips, labels, shares=[1] * 5, seed=2) != stratify(clips, labels, shares=[1] * 5, seed=1))


@pytest.mark.parametrize("seed", range(5))
def test_clips_that_share_no_label_are_dealt_out_evenly(seed):
    fold = stratify([f"{i}.wav" for i in range(23)], [[f"class{i}"] for i in range(23)], shares=[1] * 5, seed=seed)
    assert fold.dtype == np.int8 and sorted(np.bincount(fold, minlength=5)) == [4, 4, 5, 5, 5]


@pytest.mark.parametrize("seed", range(10))
def test_the_rarest_label_is_dealt_out_first(seed):
    """Else its two clips could be in one fold, each there for its other label."""
    labels = [["rare", "frequent"]] * 2 + [["frequent"]] * 18
    fold = stratify([f"{i:02}.wav" for i in range(20)], labels, shares=[1] * 2, seed=seed)
    assert fold[0] != fold[1] and list(np.bincount(fold)) == [10, 10]


def test_a_label_of_every_clip_is_dealt_out_after_the_others():
    fold = stratify([f"{i}.wav" for i in range(10)], [["animal", "sound"], *[["sound"]] * 9], shares=[1] * 2, seed=0)
    assert list(np.bincount(fold)) == [5, 5]
