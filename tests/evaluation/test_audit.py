import csv
import re

import numpy as np
import pytest
from helpers.browser import browser, wait_for
from helpers.data_folder import write_table
from helpers.fabricated import REFERENCE, fabricate_run, finish_run

from audiotagging.artifacts.calibration import Curve, calibrate
from audiotagging.artifacts.spectrogram_shards import read_clips
from audiotagging.data.dataset import read_dataset
from audiotagging.evaluation import mistakes as audit
from audiotagging.evaluation.mistakes import suspicious_clips, write_suspicious
from audiotagging.report.audit_page import CLIPS_SHOWN, write_audit
from docs.pictures import CHROMIUM

pytestmark = pytest.mark.usefixtures("blank_plots")

CLASSES = ["Bark", "Meow", 'Tick "tock"', "Rain 🌧"]


@pytest.fixture
def uncalibrated(monkeypatch):
    """Let probabilities be the scores, so that tables can be made by hand."""
    curve = Curve([-9.0, 9.0], [-9.0, 9.0])
    monkeypatch.setattr(
        audit, "cross_calibrate", lambda _, scores, method: calibrate(scores, [curve] * scores.shape[1])
    )


def table(*rows):
    """Return truth and scores of clips, each given as the numbers of its labels and its scores."""
    truth = np.array([[column in labels for column in range(len(rows[0][1]))] for labels, _ in rows])
    return truth, np.array([scores for _, scores in rows], np.float32)


def test_clips_come_worst_first_with_what_the_ensemble_says(uncalibrated):
    truth, scores = table(
        ({0}, [0.9, 0.1, 0.1, 0.1]),  # right
        ({0}, [0.2, 0.1, 0.6, 0.1]),  # odds of 1/4 against 3/2
        ({1}, [0.9, 0.1, 0.2, 0.3]),  # odds of 1/9 against 9
        ({0, 1}, [0.8, 0.05, 0.1, 0.4]),  # one label is certain, which the other one does not make up for ...
        ({0, 1}, [0.9, 0.3, 0.1, 0.6]),  # ... and here it does
        ({0, 1, 2, 3}, [0.1, 0.1, 0.1, 0.1]),  # no other class
    )
    rows = suspicious_clips(truth, scores, list("abcdef"), CLASSES, method="platt")
    assert [row["clip"] for row in rows] == ["c", "b", "d"]
    assert rows[0] == {
        "clip": "c",
        "labels": ["Meow"],
        "label": "Meow",
        "probability": pytest.approx(0.1),
        "rank": 4,
        "instead": "Bark",
        "instead_probability": pytest.approx(0.9),
    }
    assert (rows[2]["labels"], rows[2]["label"], rows[2]["rank"]) == (["Bark", "Meow"], "Meow", 4)
    assert (rows[2]["instead"], rows[2]["instead_probability"]) == ("Rain 🌧", pytest.approx(0.4))


def test_a_label_has_a_few_clips(uncalibrated):
    truth = np.zeros((60, 4), bool)
    truth[:50, 0] = truth[50:, 1] = True
    scores = np.where(truth, 0.1, 0.5).astype(np.float32)
    scores[:50, 2] += np.linspace(0, 0.4, 50)
    rows = suspicious_clips(truth, scores, [f"{number}" for number in range(60)], CLASSES, method="platt")
    assert [row["clip"] for row in rows[:10]] == [f"{number}" for number in range(49, 39, -1)]
    assert [row["label"] for row in rows] == ["Bark"] * 10 + ["Meow"] * 10


def test_wrong_labels_come_before_right_ones():
    rng = np.random.default_rng(5)
    right = rng.integers(4, size=200)
    given = np.where(np.arange(200) < 20, (right + rng.integers(1, 4, 200)) % 4, right)
    scores = rng.beta(1, 12, (200, 4)).astype(np.float32)
    scores[np.arange(200), right] += rng.beta(3, 6, 200).astype(np.float32)
    rows = suspicious_clips(np.eye(4, dtype=bool)[given], scores, list(range(200)), CLASSES, method="platt")
    assert sum(row["clip"] < 20 for row in rows[:25]) >= 15  # chance is 2.5
    wrong = [row for row in rows if row["clip"] < 20]
    assert all(row["label"] == CLASSES[given[row["clip"]]] for row in wrong)
    assert sum(row["instead"] == CLASSES[right[row["clip"]]] for row in wrong) >= 15


ODD = {
    "clip": 'Dög, "bark"; 🐶.wav',
    "labels": ["Meow", 'Tick "tock"'],
    "label": 'Tick "tock"',
    "probability": 0.01,
    "rank": 3,
    "instead": "Rain 🌧",
    "instead_probability": 0.7,
}


def test_the_table_is_read_by_others(tmp_path):
    write_suspicious(tmp_path / "suspicious.csv", [ODD])
    with (tmp_path / "suspicious.csv").open(encoding="utf-8", newline="") as file:
        (row,) = csv.DictReader(file)
    assert row == {
        "fname": ODD["clip"],
        "labels": 'Meow,Tick "tock"',
        "label": 'Tick "tock"',
        "probability": "0.0100",
        "rank": "3",
        "instead": "Rain 🌧",
        "instead_probability": "0.7000",
    }


def test_the_page_has_the_first_clips_and_stays_small(tmp_path):
    rows = [ODD | {"clip": f"clip <{number}>.wav"} for number in range(CLIPS_SHOWN + 3)]
    noise = np.random.default_rng(1).integers(256, size=(640, 128), dtype=np.uint8)
    write_audit(
        tmp_path / "audit.html",
        rows,
        seconds=dict.fromkeys([row["clip"] for row in rows], 10.0),
        pictures=dict.fromkeys([row["clip"] for row in rows], noise),
        excerpts={},
        classes=CLASSES,
    )
    page = (tmp_path / "audit.html").read_text(encoding="utf-8")
    assert len(page.encode()) < 8e6
    assert re.findall("<h3>(.*?)</h3>", page) == [f"clip &lt;{number}&gt;.wav" for number in range(CLIPS_SHOWN)]
    assert "lists 3 more" in page
    assert not re.search(r"""(src|href)="(?!data:|report\.html)""", page)


def test_a_run_with_players_and_an_empty_page(tmp_path):
    run = fabricate_run(tmp_path / "run", clips=60, members=REFERENCE[:1], sounds=True)
    scores = finish_run(run)
    with (run / "suspicious.csv").open(encoding="utf-8", newline="") as file:
        listed = list(csv.DictReader(file))
    page = (run / "audit.html").read_text(encoding="utf-8")
    assert len(listed) == scores["suspicious"] == page.count("<li data-clip=") == page.count("<audio") > 3
    labels = read_clips(run / "spectrograms").set_index("clip")["labels"]
    assert all(labels[row["fname"]] and row["instead"] not in labels[row["fname"]] for row in listed)
    write_audit(tmp_path / "audit.html", [], seconds={}, pictures={}, excerpts={}, classes=CLASSES)
    assert "No clip contradicts its labels" in (tmp_path / "audit.html").read_text(encoding="utf-8")


# The clips of a page by their names, each with its labels.
NAMES = {
    'Dög, "bark"; 🐶 =1+1.wav': ["Bark"],
    "two labels.wav": ["Bark", 'Tick "tock"'],
    "<b>&amp;.wav": ["Meow"],
    "keep'.wav": ["Meow"],
    "later.wav": ["Bark"],
}


@pytest.fixture
def page(tmp_path):
    """The page of clips with odd names. The ensemble says "Rain" instead of their first labels."""
    rows = [ODD | {"clip": clip, "labels": labels, "label": labels[0]} for clip, labels in NAMES.items()]
    write_audit(
        tmp_path / "audit.html",
        rows,
        seconds=dict.fromkeys(NAMES, 1.0),
        pictures=dict.fromkeys(NAMES, np.zeros((190, 128), np.uint8)),
        excerpts={},
        classes=CLASSES,
    )
    return tmp_path / "audit.html"


def choose(number, choice):
    return f"document.querySelectorAll('#clips > li')[{number}].querySelector('input[value={choice}]').click()"


def tick(number, place):
    return f"document.querySelectorAll('#clips > li')[{number}].querySelectorAll('.choices input')[{place}].click()"


STATUS = "document.getElementById('status').textContent"
DOWNLOAD = "document.getElementById('download').click()"


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
def test_decisions_become_a_table_that_ingest_takes(page, tmp_path, data):
    with browser(tmp_path) as tab:
        tab.open(page)
        assert tab.run("document.getElementById('download').disabled")
        for number, choice in enumerate(("proposed", "other", "drop", "keep")):
            tab.run(choose(number, choice))
        assert tab.run(STATUS) == "4 of 5 decided, 2 to correct"  # "other" changes nothing so far
        for place in (0, 1, 3):  # Bark goes, Meow and Rain come
            tab.run(tick(1, place))

        def are_still_there():
            tab.open(page)
            return tab.run(STATUS) == "4 of 5 decided, 3 to correct"

        wait_for(are_still_there)  # where a page is opened in a new process, that sees what was stored a moment later
        table = tab.download(DOWNLOAD)
    assert table.name == "corrections.csv"
    content = table.read_bytes()
    assert content.count(b"\r\n") == content.count(b"\n") == 4
    with table.open(encoding="utf-8", newline="") as file:
        rows = [tuple(row) for row in csv.reader(file, strict=True)]
    first, second, third, _, _ = NAMES
    assert rows == [
        *(("fname", "labels"), (first, "Rain 🌧"), (second, 'Meow,Tick "tock",Rain 🌧'), (third, "")),
    ]

    sound = (data / "train_curated" / "c00.wav").read_bytes()
    for clip in NAMES:
        (data / "train_curated" / clip).write_bytes(sound)
    more = [(f"c{number:02}.wav", CLASSES[number % 4]) for number in range(12)]
    write_table(data / "train_curated.csv", ("fname", "labels"), *more, *[(c, ",".join(ls)) for c, ls in NAMES.items()])
    for unused in ("sample_submission.csv", "test_post_competition.csv", "train_noisy.csv"):
        (data / unused).unlink()
    clips = read_dataset(data, corrections=[str(table)]).clips
    labels = dict(zip(clips["clip"], clips["labels"], strict=True))
    assert {clip: labels.get(clip) for clip in NAMES} == {
        **NAMES,
        **{first: ["Rain 🌧"], second: ["Meow", 'Tick "tock"', "Rain 🌧"], third: None},
    }


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
def test_the_keyboard_is_enough(page, tmp_path):
    with browser(tmp_path, width=390) as tab:
        tab.open(page)
        assert tab.run("document.documentElement.scrollWidth <= innerWidth")  # a phone's width
        tab.run("document.querySelector('#clips input').focus()")
        tab.press(" ", 32)
        assert tab.run(STATUS) == "1 of 5 decided, 0 to correct"
        tab.press("ArrowDown", 40)
        assert tab.run(STATUS) == "1 of 5 decided, 1 to correct"
        assert tab.run("document.activeElement.value") == "proposed"
        tab.run("confirm = () => true")
        tab.run("document.getElementById('clear').click()")
        assert tab.run(STATUS) == "0 of 5 decided, 0 to correct"
        assert tab.run("document.querySelectorAll('input:checked').length") == 0
