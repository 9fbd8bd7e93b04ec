import argparse
import base64
import json
import re
from collections import Counter

import pandas as pd
import pytest
from helpers.browser import check_first_columns, check_page, check_paper, check_players
from helpers.fabricated import fabricate_event, fabricate_origin, fabricate_run, finish_run, models_of, rescore
from helpers.page import Page
from helpers.slow import slow_but
from markupsafe import Markup

from audiotagging.artifacts.champions_folder import Comparison, Decision, Promotion
from audiotagging.artifacts.excerpts import Excerpt, read_excerpts
from audiotagging.artifacts.spectrogram_shards import read_clips
from audiotagging.evaluation import run_metadata
from audiotagging.members import REFERENCE
from audiotagging.report import report as html
from audiotagging.report.clips import ELEMENT_BYTES, audio_url, choose_players
from audiotagging.report.report import duration, length, memory, signed
from audiotagging.sounds import spectrogram
from commands.evaluate import run as evaluate_again
from docs.pictures import CHROMIUM

KINDS = {
    "plain": {"sounds": True},
    "one member, no noisy clips": {"members": REFERENCE[:1], "noisy": False, "verified": False},
    "no folds": {"folds": [-1]},
    "no test labels": {"test_labels": False},
    "nothing to score": {"test_labels": False, "folds": [-1]},
    "nothing predicted": {"test": False, "folds": [-1]},
    "hundreds of classes": {"classes": 300, "clips": 400, "sounds": True},
}


COMPARISON = Comparison(set="all", clips=40, score=0.8, champion=0.85, difference=-0.05, low=-0.08, high=-0.02)
DECISION = Decision(
    version="0" * 16,
    champion="1" * 16,
    promoted=False,
    reason="Not promoted: <worse>.",
    verdict="worse",
    comparison=COMPARISON,
)
PROMOTION = Promotion(
    decision=DECISION,
    history=[
        fabricate_event("first", promoted=True),
        fabricate_event("undecided") | {"version": "2" * 16},
        fabricate_event("pinned") | {"action": "pin"},
    ],
)


@pytest.fixture(scope="module", params=slow_but(KINDS, "plain"))
def run(request, tmp_path_factory):
    run = fabricate_run(tmp_path_factory.mktemp("run"), **KINDS[request.param])
    plain = request.param == "plain"
    finish_run(run, promotion=PROMOTION if plain else None, origin=fabricate_origin() if plain else None)
    if plain:
        evaluate_again(argparse.Namespace(out=run, baseline=run / "submission.csv", before=None, audio=None))
    return run


@pytest.fixture(scope="module")
def page(run):
    return Page((run / "report.html").read_text(encoding="utf-8"))


def test_the_noisy_clips_that_were_chosen_are_listed(run, page):
    chosen = pd.read_csv(run / "selection" / "noisy.csv")["fname"]
    text = (run / "report.html").read_text(encoding="utf-8")
    assert ("with whose labels a linear model of the curated clips agrees" in text) == (len(chosen) > 0)
    noisy = read_clips(run / "spectrograms").query("part == 'noisy'")
    figures = [(figure["data-of"].split("/", 2), figure["text"]) for figure in page.figures]
    shown = {(path[1], path[2]): int(text) for path, text in figures if path[0] == "selection"}
    for label in set(noisy["labels"].explode()):
        have = noisy[[label in labels for labels in noisy["labels"]]]
        assert shown["taken", label] == have["clip"].isin(chosen).sum()
        assert shown["left", label] == (~have["clip"].isin(chosen)).sum()
    assert all(name in text for name in chosen)


def test_the_check_against_librosa_is_told(run):
    text = re.sub("<[^>]*>", "", (run / "report.html").read_text(encoding="utf-8"))
    told = (
        "Spectrograms of 16 of 4,970 clips checked against librosa 0.11.0: equal but for rounding (0.0031% of their "
        "pixels are one level off), 2 of them from samples that we decoded."
    )
    assert (told in text) == (run / "spectrograms" / "verified.json").exists()
    assert ("No spectrogram was checked against librosa." in text) == (told not in text)


def test_every_figure_is_that_of_the_scores(run, page):
    scores = json.loads((run / "scores.json").read_text(encoding="utf-8"))
    number = {
        "score": lambda text: pytest.approx(float(text), abs=0.0005001),
        "signed": lambda text: pytest.approx(float(text.replace("\N{MINUS SIGN}", "-")), abs=0.0005001),
        "count": lambda text: pytest.approx(int(text.replace(",", "")), abs=0.5001),
        "rate": lambda text: pytest.approx(float(text.replace(",", "")), abs=0.05001 if "." in text else 0.5001),
        "short": lambda text: pytest.approx(float(text), abs=0.005001),
        "percent": lambda text: pytest.approx(int(text[:-1]) / 100, abs=0.005001),
        "fraction": lambda text: pytest.approx(float(text[:-1]) / 100, rel=0.05),
    }
    assert page.figures
    for figure in page.figures:
        entry = scores
        for key in figure["data-of"].split("/"):
            entry = entry[int(key)] if isinstance(entry, list) else entry[key]
        assert float(figure["value"]) == entry
        if figure["data-style"] in number:
            assert entry == number[figure["data-style"]](figure["text"]), figure


def test_every_score_is_shown(run, page):
    scores = json.loads((run / "scores.json").read_text(encoding="utf-8"))
    shown = {figure["data-of"] for figure in page.figures}
    assert {f"estimates/{name}/ensemble/score" for name in scores["ensemble"]} <= shown
    assert {f"mean_average_precision/ensemble/{name}" for name in scores["ensemble"]} <= shown
    if "scored" in scores:
        precisions = scores["mean_average_precision"]
        assert {f"mean_average_precision/{system}/{scores['scored']}" for system in precisions} <= shown
        assert {f"classes/{place}/average_precision" for place in range(len(scores["classes"]))} <= shown
        assert {f"estimates/{scores['scored']}/members/{member}/score" for member in scores["members"]} <= shown
        assert {f"classes/{place}/score" for place in range(len(scores["classes"]))} <= shown
        assert {f"worst/{place}/score" for place in range(len(scores["worst"]))} <= shown
        assert {f"confusions/{place}/clips" for place in range(len(scores["confusions"]))} <= shown
        for place in range(len(scores["classes"])):
            assert {f"classes/{place}/members/{member}" for member in scores["members"]} <= shown
    text = (run / "report.html").read_text(encoding="utf-8")
    checked = "calibration" in scores
    assert checked == ("suspicious" in shown) == (run / "suspicious.csv").exists() == (run / "audit.html").exists()
    assert ("labels of the curated clips were not checked" in text) == (not checked)
    assert ("The scores are uncalibrated" in text) == ("scored" in scores and "calibration" not in scores)
    if "calibration" in scores:
        kinds = ("uncalibrated", "calibrated")
        assert {f"calibration/sets/{scores['scored']}/{kind}/error" for kind in kinds} <= shown
        for place, row in enumerate(scores["thresholds"]["classes"]):
            for column, promise in enumerate(row["promises"]):
                path = f"thresholds/classes/{place}/promises/{column}"
                assert (f"{path}/score" in shown) == ("score" in promise)
        assert {f"thresholds/promises/{place}/sets/{scores['scored']}/recall" for place in range(3)} <= shown
    assert {f"disturbances/{place}/{name}" for place in range(4) for name in ("seconds", "score")} <= shown
    rates = {f"disturbances/{place}/promises/{column}" for place in range(4) for column in range(3)}
    rates = {f"{name}/{when}" for name in rates for when in ("before", "after")}
    assert shown & rates == (rates if "calibration" in scores else set())
    if "baseline" in scores["estimates"].get("all", {}):
        assert scores["estimates"]["all"]["baseline"]["baseline"]["difference"] == 0  # it is its own baseline
        assert "Not clearly different from the baseline" in (run / "report.html").read_text(encoding="utf-8")


@pytest.mark.slow
def test_thresholds_that_noise_raised_are_named(tmp_path):
    run = fabricate_run(tmp_path, clips=400)
    rescore(run, "white-noise", "Class_002", 0.2)
    rescore(run, "hum", "Class_006", 1)
    scores = finish_run(run)
    rows = {row["label"]: row["promises"] for row in scores["thresholds"]["classes"]}
    assert rows["Class_002"][0]["above"] == "white noise" and rows["Class_002"][0]["before"] < 0.2
    assert rows["Class_002"][0]["score"] > 0.2
    assert all(promise["reason"] == "not above hum" for promise in rows["Class_006"] if "before" in promise)
    _, noise, hum, _ = scores["disturbances"]
    assert hum["promises"][0] == {"promised": 0.8, "before": 12, "after": 0}  # one class, clips of 5 seconds
    assert noise["promises"][0] == {"promised": 0.8, "before": 12, "after": 0}
    text = (run / "report.html").read_text(encoding="utf-8")
    page = Page(text)
    assert "Class_002 above white noise;" in text
    assert "Class_006 above hum, where no clips are left that keep the promise" in text
    shown = {figure["data-of"] for figure in page.figures}
    assert {f"thresholds/classes/{place}/promises/0/before" for place in (2, 6)} <= shown


def test_a_model_that_did_not_start_with_new_weights_says_what_it_started_with(tmp_path):
    run = fabricate_run(tmp_path)
    first, *others = models_of(run)
    facts = json.loads((first / "member.json").read_text(encoding="utf-8"))
    start = {"source": "out/<models>/a", "sha256": "0" * 64, "taken": 60, "tensors": 62, "new": ["head: 5 classes"]}
    (first / "member.json").write_text(json.dumps(facts | {"start": start}), encoding="utf-8")
    finish_run(run)
    text = (run / "report.html").read_text(encoding="utf-8")
    assert text.count("60 of 62 tensors of <code>out/&lt;models&gt;/a</code>") == 1
    assert text.count("<td>new weights</td>") == len(others)


def test_the_start_is_left_out_where_all_weights_are_new(run):
    assert "Started with" not in (run / "report.html").read_text(encoding="utf-8")


def test_the_page_needs_nothing_else(run, page):
    text = (run / "report.html").read_text(encoding="utf-8")
    assert len(text.encode()) < 8e6
    assert "script" not in page.tags and "link" not in page.tags
    assert all(url.startswith(("data:image/png;base64,", "data:audio/ogg;base64,", "#")) for url in page.urls)
    assert not re.search(r"@import|url\((?!#)", text)
    assert "not a sound file &lt;script&gt;" in text
    assert "curated-bad.wav (no signal)" in text


def test_the_page_is_sound(run, page):
    assert page.open == []
    assert len(page.ids) == len(set(page.ids))
    places = {link.removeprefix("#") for link in page.links if link.startswith("#")}
    assert places <= set(page.ids)
    beside = set(page.links) - {f"#{place}" for place in places}
    assert beside == ({"audit.html"} if (run / "audit.html").exists() else set())
    assert page.tags.count("img") == len(
        html.shown_clips(json.loads((run / "scores.json").read_text(encoding="utf-8")))
    )


def test_clips_are_heard_as_far_as_there_is_room(run, page):
    scores = json.loads((run / "scores.json").read_text(encoding="utf-8"))
    text = (run / "report.html").read_text(encoding="utf-8")
    rows = html.heard_clips(scores)
    players = re.findall(r'<audio controls preload="none" aria-label="Sound of (.*?)" src="(.*?)"></audio>', text)
    excerpts = read_excerpts(run / "spectrograms", clips=[row["clip"] for row in rows])
    assert all(base64.b64decode(url.partition(",")[2]) == excerpts[clip].sound for clip, url in players)
    assert all(row.get("heard") == ([4, 10] if row["clip"] in excerpts else None) for row in rows)
    played = Counter(clip for clip, _ in players)
    left_out = [row["clip"] for row in rows if row["clip"] in excerpts and row["clip"] not in played]
    assert played == Counter(row["clip"] for row in rows if row["clip"] in excerpts and row["clip"] not in left_out)
    if left_out:
        first = [row["clip"] for row in html.shown_clips(scores)]
        assert not set(first) & set(left_out) and f"{len(set(left_out))} clips of this page" in text
        assert 7.9e6 < len(text.encode()) < 8e6
    assert bool(left_out) == (len(scores.get("classes", [])) > 200)
    assert ("heard from" in text) == bool(players)
    assert ("adds players" in text) == (not players and bool(rows))


def test_a_clip_that_is_shown_twice_takes_room_twice():
    excerpts = {clip: Excerpt(start=0, seconds=1, sound=bytes(750)) for clip in "abc"}
    size = len(audio_url(excerpts["a"])) + ELEMENT_BYTES
    room = 3 * size
    assert list(choose_players(excerpts, clips="aab", room=room)) == ["a", "b"]
    assert list(choose_players(excerpts, clips="aabb", room=room)) == ["a"]
    assert list(choose_players(excerpts, clips="abbacd", room=room)) == ["a", "c"]
    assert choose_players(excerpts, clips="ab", room=-1) == {}


def test_axes_of_lwlrap_include_1_and_chance(run):
    scores = json.loads((run / "scores.json").read_text(encoding="utf-8"))
    plots = re.findall(
        r'<svg role="img" aria-label="(.*?)"(.*?)</svg>', (run / "report.html").read_text(encoding="utf-8")
    )
    plots = {label: re.findall(r">([^<>]+)</text>", plot) for label, plot in plots}
    axes = {label: texts for label, texts in plots.items() if re.search("^lwlrap|: lwlrap", label)}
    assert bool(axes) == bool(scores["estimates"])
    for label, texts in axes.items():
        assert {"1.0", "chance"} <= set(texts), label


def test_six_of_the_worst_clips_are_open(run):
    text = (run / "report.html").read_text(encoding="utf-8")
    if "worst" in json.loads((run / "scores.json").read_text(encoding="utf-8")):
        section = re.search(r'<section id="worst">(.*?)</section>', text, re.DOTALL)[1]
        assert section.partition("<details>")[0].count("<img") == 6


def test_a_short_clip_is_as_long_as_its_sound(run):
    scores = json.loads((run / "scores.json").read_text(encoding="utf-8"))
    clips = read_clips(run / "spectrograms").set_index("clip")
    for row in html.heard_clips(scores):
        assert row["seconds"] == pytest.approx(clips.loc[row["clip"], "seconds"])
    for part in scores["data"]["parts"]:
        expected = clips["seconds"][clips["part"] == part["part"]].astype(float).sum()
        assert part["seconds"] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(8.2, "8 s"), (59.7, "1 min"), (3599, "1 h 0 min"), (5000, "1 h 23 min"), (7199.9, "2 h 0 min")],
)
def test_duration(seconds, text):
    assert duration(seconds) == text


@pytest.mark.parametrize(("seconds", "text"), [(0.35, "0.35 s"), (2.04, "2.0 s"), (12.345, "12.3 s")])
def test_length(seconds, text):
    assert length(seconds) == text


@pytest.mark.parametrize(("size", "text"), [(3.5 * 2**20, "4 MiB"), (2**30, "1.0 GiB"), (2.25e9, "2.1 GiB")])
def test_memory(size, text):
    assert memory(size) == text


@pytest.mark.parametrize(("value", "text"), [(0.0123, "+0.012"), (-0.0123, "\N{MINUS SIGN}0.012"), (-0.0001, "0.000")])
def test_signed(value, text):
    assert signed(value) == text


def test_frames_last_as_long_as_the_spectrograms_have_them():
    assert run_metadata.FRAMES_PER_SECOND == spectrogram.RATE / spectrogram.HOP


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
@pytest.mark.parametrize(("width", "dark"), slow_but([(390, True), (768, True), (1280, False)], (390, True)))
def test_the_page_fits_a_sandboxed_frame_in_light_and_dark(width, dark, tmp_path):
    run = fabricate_run(tmp_path, sounds=True)
    finish_run(run)
    check_page(run / "report.html", folder=tmp_path, width=width, dark=dark)


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
def test_no_table_is_cut_off_on_phones_and_paper(tmp_path):
    run = fabricate_run(tmp_path, members=REFERENCE, classes=30, clips=60, folds=[0, 1, 2, 3, 4], sounds=True)
    finish_run(run, origin=fabricate_origin())
    check_first_columns(run / "report.html", folder=tmp_path)
    check_paper(run / "report.html", folder=tmp_path)


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
def test_a_browser_plays_the_clips(tmp_path):
    run = fabricate_run(tmp_path, sounds=True)
    players = len(html.heard_clips(finish_run(run)))
    check_players(run / "report.html", folder=tmp_path, players=players, seconds=6)


def test_the_report_says_whether_the_ensemble_became_the_champion(run):
    promotion = json.loads((run / "scores.json").read_text(encoding="utf-8")).get("promotion")
    page = (run / "report.html").read_text(encoding="utf-8")
    assert ("Not promoted: &lt;worse&gt;." in page) == (promotion is not None)
    assert ("Worse than the best champion" in page) == (promotion is not None)


def test_the_report_shows_every_version_and_what_was_done_by_hand(run):
    page = (run / "report.html").read_text(encoding="utf-8")
    history = json.loads((run / "scores.json").read_text(encoding="utf-8")).get("champions", [])
    section = re.search(r'<section id="champions">(.*?)</section>', page, re.DOTALL)
    assert bool(section) == bool(history) == ('href="#champions"' in page)
    if history:
        assert history == PROMOTION["history"]
        rows = re.findall("<tr>(.*?)</tr>", section[1], re.DOTALL)[1:]
        assert [re.search(r"<code>(\w+)</code>", row)[1] for row in rows] == ["0" * 8, "2" * 8, "0" * 8]
        for row, verdict in zip(rows, ("first", "undecided, not promoted", "pinned by hand"), strict=True):
            assert f"<td>{verdict}</td>" in row
        # Two versions were measured: a dot for each, and a line for the best champion of its time.
        plot = re.search(r'aria-label="Every version.*?</svg>', section[1], re.DOTALL)[0]
        assert [label in plot for label in ("2026-01-01 00000000", "2026-01-01 22222222")] == [True, True]


def test_a_report_that_is_written_again_says_where_the_run_came_from(run, page):
    """That of "plain" was written twice."""
    origin = json.loads((run / "scores.json").read_text(encoding="utf-8")).get("origin")
    shown = {figure["data-of"] for figure in page.figures}
    if origin is None:
        assert not any(name.startswith("origin") for name in shown)
        return
    assert Markup.escape(origin["command"]) in (run / "report.html").read_text(encoding="utf-8")
    names = ("seconds", "cpu_seconds", "peak_bytes")
    assert {f"origin/{name}" for name in names} <= shown
    assert {f"origin/stages/{place}/{name}" for place in range(7) for name in names} <= shown
    assert origin["cpu_seconds"] == pytest.approx(6 * 7200, abs=600) and origin["peak_bytes"] == 3.5e9
