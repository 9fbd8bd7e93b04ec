"""What is answered about sounds."""

import io
import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import soundfile
from helpers.tiny_ensemble import RATE, READABLE, chirp, tag_options

from commands.tag import run as run_command

WAYS = [
    {},
    {"top": 2},
    {"every": 0.7},
    {"every": 1, "overlap": 0.5, "merge": True, "top": 1},
]


def printed(capsys, files, models, **options):
    """Return what the command `tag` prints as JSON."""
    run_command(tag_options(files=files, models=models, format="json", **options))
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("options", WAYS)
@pytest.mark.parametrize("name", READABLE)
def test_the_answer_is_what_the_command_prints_of_the_file(served, run, sounds, name, options, capsys):
    answer = served.client.post("/tag", params=options, content=(sounds / name).read_bytes())
    assert answer.status_code == 200 and answer.headers["model-version"] == served.service.models.current.version
    expected = printed(capsys, [sounds / name], run, **options)
    assert answer.json() == [row | {"file": "body"} for row in expected]


def test_sounds_of_several_minutes_are_tagged_as_by_the_command(served, run, tmp_path, capsys):
    path = tmp_path / "long.wav"
    soundfile.write(path, np.concatenate([chirp(60, seed=seed) for seed in range(5)]), RATE)
    answer = served.client.post("/tag", content=path.read_bytes())
    assert answer.json()[0]["tags"] == printed(capsys, [path], run)[0]["tags"]


@pytest.mark.parametrize("options", WAYS)
def test_several_files_have_their_names_and_their_order(served, run, sounds, options, capsys):
    names = READABLE[::-1]
    files = [("file", (name, (sounds / name).read_bytes())) for name in names]
    rows = served.client.post("/tag", params=options, files=files).json()
    expected = printed(capsys, [sounds / name for name in names], run, **options)
    assert [row["file"] for row in rows] == [row["file"].rpartition("/")[2] for row in expected]
    for found, wanted in zip(rows, expected, strict=True):
        assert without_scores(found) == without_scores(wanted)
        assert scores(found) == pytest.approx(scores(wanted), rel=1e-4)


def scores(row):
    return [tag["score"] for tag in row.get("tags", [row])]


def without_scores(row):
    labels = [tag["label"] for tag in row.get("tags", [row])]
    return labels, row.get("start"), row.get("end")


def test_only_what_a_precision_is_promised_for_is_answered(calibrated, sounds, capsys, serve):
    out, _ = calibrated
    served = serve(out)
    for name in READABLE:
        answer = served.client.post("/tag", params={"precision": 0.9}, content=(sounds / name).read_bytes())
        assert answer.json()[0]["tags"] == printed(capsys, [sounds / name], out, precision=0.9)[0]["tags"]


def test_requests_at_the_same_time_are_scored_at_once_and_answered_alike(served, sounds, monkeypatch):
    content = (sounds / "plain.wav").read_bytes()
    alone = served.client.post("/tag", content=content).json()
    monkeypatch.setattr("audiotagging.serving.scoring.WAIT", 0.5)
    before = served.metric("audiotagging_batch_spectrograms_count")
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda _: served.client.post("/tag", content=content).json(), range(16)))
    assert served.metric("audiotagging_batch_spectrograms_count") - before < 8
    for (answer,) in answers:
        assert [tag["label"] for tag in answer["tags"]] == [tag["label"] for tag in alone[0]["tags"]]
        assert scores(answer) == pytest.approx(scores(alone[0]), rel=1e-4)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "found nothing"),
        (b"no sound", "body: cannot be decoded"),
        (bytes(10_000), "body: cannot be decoded"),
        (b"RIFF\xff\xff\xff\xffWAVEfmt ", "body: cannot be decoded"),
    ],
)
def test_what_is_not_a_sound_is_refused_with_the_reason(served, content, reason):
    answer = served.client.post("/tag", content=content)
    assert answer.status_code == 422 and reason in answer.json()["error"] and "\n" not in answer.json()["error"]


def test_one_file_that_is_not_a_sound_is_named(served, sounds):
    files = [("file", (name, (sounds / name).read_bytes())) for name in ("plain.wav", "text.wav", "short.flac")]
    answer = served.client.post("/tag", files=files)
    assert answer.status_code == 422
    assert answer.json() == {"error": "text.wav: cannot be decoded: it is no sound file of a known format"}


@pytest.mark.parametrize("options", WAYS)
def test_what_was_not_used_of_a_sound_is_said_in_a_header(served, sounds, options):
    contents = [(sounds / name).read_bytes() for name in ("plain.wav", "plain.wav", "silent.wav")]
    contents[1] = contents[1][: len(contents[1]) // 2]
    answer = served.client.post("/tag", params=options, files=[("file", ("a", content)) for content in contents])
    silent = [] if "every" in options else ["3: silent: it has no tags"]
    assert json.loads(answer.headers["notes"]) == ["2: cut short: 1.50 of 3.00 s stated", *silent]
    assert "notes" not in served.client.post("/tag", params=options, content=contents[0]).headers


def test_decoding_ends_where_a_sound_is_too_long_whatever_its_header_states(run, serve):
    served, samples = serve(run, seconds=20), io.BytesIO()
    soundfile.write(samples, np.zeros(300 * RATE), RATE, format="FLAC")
    content = bytearray(samples.getvalue())
    content[21] &= 0xF0  # a pipe does not know how many samples there will be
    content[22:26] = bytes(4)
    answer = served.client.post("/tag", content=bytes(content))
    assert answer.status_code == 422 and "expected at most 20 seconds of sound, found 23" in answer.json()["error"]


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("top=0", "top: expected a number from 1 to 1000, found 0"),
        ("top=1.5", "top: expected a whole number, found '1.5'"),
        ("top=1&top=2", "top: expected one value, found several"),
        ("precision=0.7", "precision: expected 0.8 or 0.9 or 0.95, found 0.7"),
        ("precision=0.9", "expected an ensemble with calibrated scores"),
        ("every=0.01", "every: expected 0.1 to 60 seconds, found 0.01"),
        ("every=nan", "every: expected a number of seconds, found 'nan'"),
        ("every=2&overlap=1.9", "overlap: expected 0 to 1.8 seconds"),
        ("overlap=1", "overlap: expected every=SECONDS"),
        ("merge=true", "merge: expected every=SECONDS"),
        ("every=2&merge=yes", "merge: expected true or false, found 'yes'"),
        ("tpo=1", "expected the parameters top, precision, every, overlap, merge, found 'tpo'"),
    ],
)
def test_wrong_options_are_refused_with_the_reason(served, sounds, query, reason):
    answer = served.client.post(f"/tag?{query}", content=(sounds / "short.flac").read_bytes())
    assert answer.status_code == 422 and reason in answer.json()["error"]


def test_sounds_that_are_too_long_or_have_too_many_windows_are_refused(run, sounds, serve):
    served = serve(run, seconds=2)
    long, short = ((sounds / name).read_bytes() for name in ("plain.wav", "short.flac"))
    answer = served.client.post("/tag", content=long)
    assert answer.status_code == 422 and "expected at most 2 seconds of sound, found 3" in answer.json()["error"]
    assert served.client.post("/tag", content=short).status_code == 200
    answer = served.client.post("/tag", params={"every": 0.1, "overlap": 0.09}, content=short)
    assert answer.status_code == 422 and "expected at most 4 windows, found 31" in answer.json()["error"]


def test_nothing_that_was_sent_is_written_to_disk(served, monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("a file was created")

    monkeypatch.setattr("tempfile._TemporaryFileWrapper", refuse)
    monkeypatch.setattr("tempfile.TemporaryFile", refuse)
    samples = io.BytesIO()
    soundfile.write(samples, np.tile(chirp(3), 10), RATE, format="WAV")  # 2.6 MB
    answer = served.client.post("/tag", files=[("file", ("large.wav", samples.getvalue()))])
    assert answer.status_code == 200


def test_metrics_count_what_was_answered(run, sounds, serve):
    served = serve(run)
    for _ in range(3):
        (row,) = served.client.post("/tag", content=(sounds / "plain.wav").read_bytes()).json()
    served.client.post("/tag", content=b"no sound")
    served.client.get("/any/path")
    assert served.metric('audiotagging_requests_total{path="/tag",status="200"}') == 3
    assert served.metric('audiotagging_requests_total{path="/tag",status="422"}') == 1
    assert served.metric('audiotagging_requests_total{path="other",status="404"}') == 1
    assert served.metric(f'audiotagging_tags_total{{label="{row["tags"][0]["label"]}"}}') == 3
    assert served.metric("audiotagging_sound_seconds_sum") == pytest.approx(9)
    assert served.metric("audiotagging_queue") == served.metric("audiotagging_upload_bytes") == 0
    version = served.service.models.current.version
    assert served.metric(f'audiotagging_model{{version="{version}"}}') == 1
