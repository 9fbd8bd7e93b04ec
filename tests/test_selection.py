import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from audiotagging.selection import agreeing, margins, read_list


def noisy_scores(seed, clips=200, classes=6):
    """Return labels, and scores that agree with about half of them."""
    rng = np.random.default_rng(seed)
    truth = rng.random((clips, classes)) < 0.2
    truth[np.arange(clips), rng.integers(0, classes, clips)] = True
    return truth, (rng.random((clips, classes)) + 0.5 * truth).astype(np.float32)


@given(st.integers(0, 2**32 - 1), st.sampled_from([0.1, 0.25, 1.0]))
def test_chosen_clips_have_their_labels_on_top_and_no_class_has_more_than_its_share(seed, max_share):
    truth, scores = noisy_scores(seed)
    chosen = agreeing(truth, scores, max_share=max_share)
    on_top = np.array(
        [
            set(np.argsort(-row)[: labels.sum()]) == set(np.flatnonzero(labels))
            for labels, row in zip(truth, scores, strict=True)
        ]
    )
    assert chosen.any() and not (chosen & ~on_top).any()
    full = truth[chosen].sum(axis=0) >= np.ceil(max_share * truth.sum(axis=0))
    assert (truth[chosen].sum(axis=0) <= np.ceil(max_share * truth.sum(axis=0))).all()
    # What agrees and was left out has a class that has its share, of clips that agree at least as well.
    margin = margins(truth, scores)
    for clip in np.flatnonzero(on_top & ~chosen):
        assert any(
            full[label] and margin[chosen & truth[:, label]].min() >= margin[clip]
            for label in np.flatnonzero(truth[clip])
        )


def test_the_choice_follows_the_clips_not_their_order():
    truth, scores = noisy_scores(3)
    order = np.random.default_rng(4).permutation(len(truth))
    assert np.array_equal(agreeing(truth[order], scores[order]), agreeing(truth, scores)[order])


def test_equal_scores_do_not_agree():
    assert not agreeing(np.array([[True, False]]), np.array([[0.5, 0.5]])).any()
    assert agreeing(np.array([[True, True]]), np.array([[0.5, 0.5]])).all()


@pytest.mark.parametrize(
    "text",
    ["a.wav\nb.wav\n", "fname,margin\r\na.wav,0.5\r\nb.wav,0.1\r\n", "\ufeffb.wav\n\na.wav", "idx\n1\n2\n"],
)
def test_a_list_is_names_or_a_table_or_numbers_of_rows(tmp_path, text):
    (tmp_path / "list").write_text(text, newline="")
    assert read_list(tmp_path / "list", ["c.wav", "a.wav", "b.wav"]) == {"a.wav", "b.wav"}
