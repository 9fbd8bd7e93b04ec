"""The files that say what more clips are expected to gain."""

import json

import numpy as np
import pandas as pd
import pytest
from helpers.browser import check_first_columns, check_page, check_paper
from helpers.fabricated import fabricate_run
from helpers.page import Page
from helpers.slow import slow_but

from audiotagging.artifacts.predictions import Predictions, write_predictions
from audiotagging.artifacts.spectrogram_shards import read_classes, read_clips
from audiotagging.base.errors import UserError
from audiotagging.members import DEMO
from audiotagging.statistics.metrics import label_table
from audiotagging.studies.learning_curve import StudyMetadata, Trained, render, summarise, write_gains
from docs.pictures import CHROMIUM

SHARES, DRAWS = (0.25, 0.5, 0.75, 1.0), (1, 2, 3)


def fabricate_trainings(folder, *, part, scored, drawn, skill):
    """Write predictions of clips, the better the larger the share; `skill` says how much better, by class."""
    clips = read_clips(folder / "spectrograms")
    classes = read_classes(folder / "spectrograms")
    names = list(scored)
    truth = label_table(clips.set_index(["part", "clip"])["labels"][part][names].tolist(), classes)
    rng = np.random.default_rng(1)
    trained = []
    for draw in DRAWS:
        for share in SHARES:
            noise = rng.random(truth.shape)
            scores = np.clip(noise * 0.9 + truth * skill * share, 0, 1).astype(np.float32)
            path = folder / f"{draw}-{share}.parquet"
            place = "test" if part == "test" else "validation"
            rows = pd.DataFrame({"clip": names, "part": place, "member": "draw", "fold": -1})
            write_predictions(path, Predictions(classes, rows, scores))
            trained.append(Trained(share=share, draw=draw, clips=round(share * len(drawn)), predictions=path))
    return trained


KINDS = ["test clips", "held-out fold", "few clips", "hundreds of classes"]


@pytest.fixture(scope="module", params=slow_but(KINDS, "test clips"))
def written(request, tmp_path_factory):
    """The content of `learning_curve.json`, the folder it is in, and that of the run."""
    few, many = request.param == "few clips", request.param == "hundreds of classes"
    run = fabricate_run(
        tmp_path_factory.mktemp("run"), classes=300 if many else 8, clips=20 if few else 400 if many else 120
    )
    clips = read_clips(run / "spectrograms")
    parts = {part: list(clips["clip"][clips["part"] == part]) for part in ("curated", "test")}
    scored, drawn, part = parts["test"], parts["curated"], "test"
    if request.param == "held-out fold":
        part, scored, drawn = "curated", drawn[:30], drawn[30:]
    skill = np.linspace(0.2, 1.0, len(read_classes(run / "spectrograms")))
    trained = fabricate_trainings(run, part=part, scored=scored, drawn=drawn, skill=skill)
    facts = StudyMetadata(member=DEMO[0], seed=534, more=20, noisy=4, part=part)
    content = summarise(trained, facts, spectrograms=run / "spectrograms", drawn=drawn)
    folder = run / "learning-curve"
    folder.mkdir()
    write_gains(folder, content)
    return content, folder, run


def test_the_scores_are_those_of_the_predictions(written):
    content, folder, run = written
    assert json.loads((folder / "learning_curve.json").read_text(encoding="utf-8")) == content
    clips = read_clips(run / "spectrograms")
    curated, scored = clips[clips["part"] == "curated"], clips[clips["part"] == content["part"]]
    scored = scored.iloc[: content["scored"]]
    assert content["clips"] == len(curated)
    assert content["drawn"] == len(curated) - (content["scored"] if content["part"] == "curated" else 0)
    assert len(content["trainings"]) == 12
    for row in content["classes"]:
        for shown, among in ((row["clips"], curated), (row["scored"], scored)):
            assert shown == sum(row["label"] in labels for labels in among["labels"])
    for share, mean in zip(SHARES, content["scores"], strict=True):
        rows = [row["lwlrap"] for row in content["trainings"] if row["share"] == share]
        assert mean == pytest.approx(np.mean(rows), abs=0.02)
    named = [row["label"] for row in content["classes"]]
    assert sorted([*named, *content["unknown"]]) == sorted(read_classes(run / "spectrograms"))


def test_classes_are_sorted_by_their_gain_and_the_table_has_them_all(written):
    content, folder, _ = written
    told = [row["expected"] for row in content["classes"] if row["expected"] is not None]
    assert told == sorted(told, reverse=True)
    assert all(row["expected"] is None for row in content["classes"][len(told) :])
    table = pd.read_csv(folder / "learning_curve.csv")
    assert list(table["label"]) == [row["label"] for row in content["classes"]]
    assert table["expected_gain"].count() == len(told)
    assert list(table["lwlrap_25_percent"]) == pytest.approx([row["scores"][0] for row in content["classes"]], rel=1e-5)


def test_every_figure_of_the_page_is_that_of_the_file(written):
    content, folder, _ = written
    text = (folder / "learning_curve.html").read_text(encoding="utf-8")
    page = Page(text)
    assert page.open == [] and len(page.ids) == len(set(page.ids))
    assert {link.removeprefix("#") for link in page.links} <= set(page.ids)
    assert "script" not in page.tags and all(url.startswith("#") for url in page.urls)
    for figure in page.figures:
        entry = content
        for key in figure["data-of"].split("/"):
            entry = entry[int(key)] if isinstance(entry, list) else entry[key]
        assert float(figure["value"]) == entry
    shown = {figure["data-of"] for figure in page.figures}
    for place, row in enumerate(content["classes"]):
        assert (f"classes/{place}/expected" in shown) == (row["expected"] is not None)
    assert ("Too few clips to say" in text) == any(row["expected"] is None for row in content["classes"])
    assert "<b>&" not in text


def test_what_is_not_clear_is_said_to_be_so(written):
    content, _, _ = written
    flat = {"expected": 0.01, "low": -0.01, "high": 0.03}
    unclear = content | {
        "classes": [row | flat for row in content["classes"]],
        "gains": [row | flat for row in content["gains"]],
    }
    text = render(unclear)
    assert "none that is clear" in text and text.count("no clear gain") == 2


def test_predictions_of_no_known_class_are_refused(tmp_path):
    run = fabricate_run(tmp_path / "run", classes=2, clips=8, pictures=False)
    clips = read_clips(run / "spectrograms")
    names = list(clips["clip"][clips["part"] == "test"])
    trained = fabricate_trainings(run, part="test", scored=names, drawn=names, skill=np.ones(2))
    facts = StudyMetadata(member=DEMO[0], seed=534, more=20, noisy=0, part="test")
    with pytest.raises(UserError, match="expected a class with clips to train on and to score, found none; add clips"):
        summarise(trained, facts, spectrograms=run / "spectrograms", drawn=[])


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
@pytest.mark.parametrize(
    ("width", "dark"), slow_but([(390, False), (390, True), (1280, False), (1280, True)], (390, True))
)
def test_the_page_fits_phones_and_screens(written, tmp_path, width, dark):
    check_page(written[1] / "learning_curve.html", folder=tmp_path, width=width, dark=dark)


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
def test_the_page_fits_paper_and_keeps_the_first_column_on_phones(written, tmp_path):
    check_paper(written[1] / "learning_curve.html", folder=tmp_path)
    check_first_columns(written[1] / "learning_curve.html", folder=tmp_path)
