"""A student beside its ensemble: as the comparison of systems, and the share of the gain as its definition says."""

import numpy as np
import pytest

from audiotagging.statistics.intervals import estimate_systems
from audiotagging.studies.student import compare_student

RNG = np.random.default_rng(1)
TRUTH = np.eye(5, dtype=bool)[np.arange(200) % 5]


def scores(noise):
    return TRUTH + RNG.normal(0, noise, TRUTH.shape)


STUDENT, ENSEMBLE, ALONE = scores(0.5), scores(0.4), [scores(0.8), scores(0.9)]


def test_the_scores_are_those_of_the_systems():
    found = compare_student(TRUTH, student=STUDENT, ensemble=ENSEMBLE, alone=ALONE[:1])
    student, others = estimate_systems(TRUTH, STUDENT, {"": {"ensemble": ENSEMBLE, "alone": ALONE[0]}})
    assert found["clips"] == 200 and found["student"] == student
    for name, other in others[""].items():
        assert found[name] == {key: other[key] for key in ("score", "low", "high")}
        difference = [other[key] for key in ("difference", "difference_low", "difference_high")]
        assert list(found[f"student_minus_{name}"].values()) == pytest.approx(difference)


def test_the_share_of_the_gain_is_against_the_mean_of_the_single_networks():
    found = compare_student(TRUTH, student=STUDENT, ensemble=ENSEMBLE, alone=ALONE)
    single = [compare_student(TRUTH, student=STUDENT, ensemble=ENSEMBLE, alone=[each])["alone"] for each in ALONE]
    alone = np.mean([each["score"] for each in single])
    gain = found["ensemble"]["score"] - alone
    assert found["alone"]["score"] == pytest.approx(alone) and found["gain"]["score"] == pytest.approx(gain)
    assert found["kept"]["score"] == pytest.approx((found["student"]["score"] - alone) / gain)
    assert 0.5 < found["kept"]["low"] < found["kept"]["score"] < found["kept"]["high"] < 1.1


@pytest.mark.parametrize(("student", "kept"), [(ENSEMBLE, 1), (ALONE[0], 0)])
def test_an_ensemble_keeps_all_of_its_gain_and_a_single_network_nothing(student, kept):
    found = compare_student(TRUTH, student=student, ensemble=ENSEMBLE, alone=ALONE[:1])
    assert list(found["kept"].values()) == pytest.approx([kept] * 3)


def test_there_is_no_share_of_a_gain_that_may_be_none():
    assert compare_student(TRUTH, student=STUDENT, ensemble=ENSEMBLE, alone=[ENSEMBLE])["kept"] is None
