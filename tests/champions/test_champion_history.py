"""The history of a champions folder, and what is put into use by hand."""

import json

import pytest
from helpers.champion_runs import hot, make_equal_runs, make_unequal_runs, promote_run

from audiotagging.artifacts.champions_folder import champion_folder, read_champion, read_events
from audiotagging.artifacts.predictions import read_predictions
from audiotagging.artifacts.spectrogram_shards import read_clips
from audiotagging.base.errors import UserError
from audiotagging.champions.promotion import accept, highest_difference, pin, roll_back, unpin
from audiotagging.champions.versions import compare_versions
from audiotagging.ensemble.ensembling import ENSEMBLE
from audiotagging.statistics.metrics import lwlrap

pytestmark = pytest.mark.usefixtures("blank_plots")


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    return make_unequal_runs(tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def equal_runs(tmp_path_factory):
    return make_equal_runs(tmp_path_factory.mktemp("equal"))


def state(champions):
    champion = read_champion(champions)
    return champion["version"], champion["best"], champion["pinned"]


def events_of(champions):
    return [(event["action"], event["version"], event["before"], event["after"]) for event in read_events(champions)]


def test_the_history_has_an_entry_per_candidate(tmp_path, runs):
    bad, good, again = (promote_run(runs[name], tmp_path, run=name) for name in ("bad", "good", "bad"))
    b, g = bad["version"], good["version"]
    assert events_of(tmp_path) == [("candidate", b, "", b), ("candidate", g, b, g), ("candidate", b, g, g)]
    events = read_events(tmp_path)
    assert [event["decision"] for event in events] == [bad, good, again]
    assert [event["run"] for event in events] == ["bad", "good", "bad"]
    assert [event["best"] for event in events] == [b, g, g]
    table = read_predictions(runs["good"] / "averaged" / "predictions.parquet")
    clips = read_clips(runs["good"] / "spectrograms")
    chosen = ((table.rows["part"] == "test") & (table.rows["member"] == ENSEMBLE)).to_numpy()
    truth = hot(table.rows["clip"][chosen], clips)(table.classes)
    measured = events[1]["measured"]
    assert measured["score"] == pytest.approx(lwlrap(truth, table.scores[chosen])) and measured["clips"] == len(truth)
    assert measured["low"] < measured["score"] < measured["high"] and measured["set"] == "all"


def test_a_retry_of_the_stage_adds_no_entry(tmp_path, runs):
    promote_run(runs["good"], tmp_path)
    first, second = promote_run(runs["bad"], tmp_path), promote_run(runs["bad"], tmp_path)
    assert first == second and len(read_events(tmp_path)) == 2


def test_a_champions_folder_of_an_earlier_version_is_read(tmp_path, runs):
    """It has a pointer without the best champion, no history, and no clips in its versions."""
    old = promote_run(runs["bad"], tmp_path)
    (tmp_path / "history.json").unlink()
    (champion_folder(tmp_path) / "clips.parquet").unlink()
    pointer = json.loads((tmp_path / "champion.json").read_text())
    for name in ("best", "pinned", "verdict"):
        del pointer[name]
    (tmp_path / "champion.json").write_text(json.dumps(pointer))
    assert events_of(tmp_path) == [("candidate", old["version"], "", old["version"])]
    new = promote_run(runs["good"], tmp_path)
    assert new["promoted"] and new["champion"] == old["version"] and len(read_events(tmp_path)) == 2
    assert roll_back(tmp_path) == old["version"]


@pytest.mark.parametrize("policy", ["better", "not-worse", "never"])
def test_the_policy_decides_what_is_promoted_and_the_rest_can_be_accepted(tmp_path, equal_runs, policy):
    first, second = (promote_run(run, tmp_path, policy=policy) for run in equal_runs[:2])
    assert first["promoted"] == (policy != "never") and second["promoted"] == (policy == "not-worse")
    versions = tmp_path / "versions"
    assert {path.name for path in versions.iterdir()} == {first["version"], second["version"]}
    if policy != "not-worse":
        assert f"`audiotagging champion accept {second['version']}` promotes it" in second["reason"]
        accept(tmp_path, second["version"])
    best = second["version"] if policy == "never" else first["version"]
    assert state(tmp_path) == (second["version"], best, False)
    assert champion_folder(tmp_path) == versions / second["version"]


def test_a_policy_that_does_not_exist_is_refused(tmp_path, runs):
    with pytest.raises(UserError, match="expected to promote better, not-worse, never, found 'always'"):
        promote_run(runs["good"], tmp_path, policy="always")


def test_what_is_accepted_becomes_the_best_only_if_it_is_better(tmp_path, runs):
    good = promote_run(runs["good"], tmp_path)["version"]
    bad = promote_run(runs["bad"], tmp_path)["version"]
    assert accept(tmp_path, bad)["verdict"] == "worse"
    assert state(tmp_path) == (bad, good, False)
    assert promote_run(runs["bad"], tmp_path)["version"] == bad  # it is the champion
    assert accept(tmp_path, good)["verdict"] == "not worse"  # compared with itself
    assert state(tmp_path) == (good, good, False)


def test_a_pinned_champion_is_not_replaced_until_it_is_unpinned(tmp_path, runs):
    bad = promote_run(runs["bad"], tmp_path)["version"]
    since = read_champion(tmp_path)["since"]
    pin(tmp_path, bad)
    assert read_champion(tmp_path)["since"] == since and state(tmp_path) == (bad, bad, True)
    good = promote_run(runs["good"], tmp_path)
    assert good["verdict"] == "better" and not good["promoted"] and f"The champion {bad} is pinned." in good["reason"]
    assert state(tmp_path) == (bad, bad, True)
    for change in (accept, roll_back):
        with pytest.raises(UserError, match=f"found {bad} pinned; `audiotagging champion unpin` releases it"):
            change(tmp_path, good["version"])
    assert unpin(tmp_path) == bad
    with pytest.raises(UserError, match="expected a pinned champion, found none"):
        unpin(tmp_path)
    assert promote_run(runs["good"], tmp_path)["promoted"] and state(tmp_path)[0] == good["version"]
    pin(tmp_path, bad)
    assert state(tmp_path) == (bad, good["version"], True)


def test_what_was_rolled_back_does_not_come_back_by_itself(tmp_path, runs):
    with pytest.raises(UserError, match="expected a champion before the present one, found none"):
        roll_back(tmp_path)
    bad, good = (promote_run(runs[name], tmp_path)["version"] for name in ("bad", "good"))
    assert roll_back(tmp_path) == bad and state(tmp_path) == (bad, bad, False)
    again = promote_run(runs["good"], tmp_path)
    assert again["verdict"] == "better" and not again["promoted"] and "It was rolled back by hand." in again["reason"]
    assert state(tmp_path) == (bad, bad, False)
    accept(tmp_path, good)
    assert state(tmp_path) == (good, good, False)
    with pytest.raises(UserError, match=f"expected another version than the champion, found {good}"):
        roll_back(tmp_path, good)


def test_only_versions_that_are_there_can_be_put_into_use(tmp_path, runs):
    promote_run(runs["good"], tmp_path)
    for version in ("0" * 16, "..", "../versions"):
        for change in (accept, pin, roll_back):
            with pytest.raises(UserError, match="expected a version, found no such folder"):
                change(tmp_path, version)


def test_a_switch_by_hand_that_was_cut_short_leaves_the_champion(tmp_path, runs, monkeypatch):
    bad, good = (promote_run(runs[name], tmp_path)["version"] for name in ("bad", "good"))
    writes = []

    def fail_at_the_second(path, content):
        writes.append(path)
        if len(writes) == 2:
            raise OSError(28, "No space left on device")
        path.write_text(json.dumps(content))

    with monkeypatch.context() as patch:
        patch.setattr("audiotagging.champions.versions.write_json", fail_at_the_second)
        with pytest.raises(OSError, match="No space"):
            roll_back(tmp_path)
    assert champion_folder(tmp_path).name == good and len(writes) == 2
    assert roll_back(tmp_path) == bad


def test_the_highest_difference_is_that_of_the_champions_since_the_best_one(tmp_path, runs):
    """What was rolled back, was not promoted, or was compared with another version does not count."""
    good = promote_run(runs["good"], tmp_path)
    event = read_events(tmp_path)[-1]

    def promoted(version, difference, *, champion=good["version"], after=None):
        comparison = {"difference": difference}
        decision = good | {"version": version, "champion": champion, "comparison": comparison}
        return event | {"version": version, "after": after or version, "decision": decision}

    best = good["version"]
    assert highest_difference([event, promoted("a" * 16, -0.005)], best) == 0
    history = [event, promoted("a" * 16, 0.004), promoted("b" * 16, 0.002)]
    assert highest_difference(history, best) == 0.004
    others = [promoted("c" * 16, 0.1, champion="d" * 16), promoted("e" * 16, 0.2, after="a" * 16)]
    assert highest_difference([*history, *others], best) == 0.004
    back = event | {"action": "roll back", "version": "b" * 16, "before": "a" * 16, "after": "b" * 16}
    assert highest_difference([*history, back], best) == 0.002


def test_two_versions_are_compared_with_the_labels_of_the_first(tmp_path, runs):
    bad, good = (promote_run(runs[name], tmp_path) for name in ("bad", "good"))
    assert compare_versions(tmp_path, good["version"], bad["version"]) == good["comparison"]
    for version in (bad, good):
        (tmp_path / "versions" / version["version"] / "clips.parquet").unlink()
        if version is bad:
            assert compare_versions(tmp_path, good["version"], bad["version"]) == good["comparison"]
    with pytest.raises(UserError, match=r"expected the labels of version .*, found none"):
        compare_versions(tmp_path, good["version"], bad["version"])
