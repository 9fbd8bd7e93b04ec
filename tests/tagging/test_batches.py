"""Batches of the pipeline `tagging`, on this machine and in an object store."""

import json
import os
import shutil
import signal
from contextlib import suppress
from datetime import datetime
from itertools import count
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from helpers.slow import slow_but
from helpers.tiny_ensemble import READABLE, tag_options

from audiotagging.base.errors import UserError
from audiotagging.base.typed_json import write_json
from audiotagging.tagging import batches
from audiotagging.tagging.batch_results import Options
from audiotagging.tagging.batches import collect, find
from audiotagging.tagging.storage import open_storage
from commands import tag as tag_command

OPTIONS = Options(window=1.0, overlap=0.25, merge=True, top=2, precision=0)


class Pipeline:
    """The stages on a folder of sounds, as the pipeline calls them one after the other."""

    def __init__(self, folder, *, data, out, models, options=OPTIONS):
        self.new = folder / "new.parquet"
        self.data, self.out, self.models, self.options = str(data), str(out), models, options

    def find(self, *, shards=3):
        return find(self.data, out=self.out, models=self.models, options=self.options, shards=shards, new=self.new)

    def run(self):
        """Run all stages, and return the names of the files that were tagged, sorted."""
        batch, shards = self.find()
        for shard in shards:
            batches.tag(batch, new=self.new, shard=shard)
        if not shards:
            return []
        collect(batch)
        return self.files(batch)

    def table(self, batch, name):
        with open_storage(self.out).local(f"batches/{batch.name}/{name}.parquet") as path:
            return pq.read_table(path)

    def files(self, batch):
        return self.table(batch, "files")["file"].to_pylist()

    def all_files(self):
        """Return the files of all batches, in the order of the batches."""
        out = open_storage(self.out)
        found = []
        for name in sorted(name for name in out.list("batches") if name.endswith("files.parquet")):
            with out.local(name) as path:
                found += pq.read_table(path)["file"].to_pylist()
        return found


@pytest.fixture(autouse=True)
def _many_shards(monkeypatch):
    monkeypatch.setattr(batches, "SHARD_BYTES", 100_000)


@pytest.fixture
def recordings(sounds, tmp_path):
    folder = tmp_path / "recordings"
    shutil.copytree(sounds, folder)
    (folder / "deeper").mkdir()
    shutil.move(folder / "stereo.wav", folder / "deeper" / "stereo.wav")
    (folder / "notes.txt").write_text("no sound")
    return folder


@pytest.fixture
def champions(run, tmp_path):
    """A champions folder with two versions, the first of which is the champion."""
    folder = tmp_path / "champions"
    for version in ("0" * 16, "1" * 16):
        shutil.copytree(run, folder / "versions" / version)
    crown(folder, "0" * 16)
    return folder


def crown(champions, version):
    decision = {"version": version, "champion": "", "promoted": True, "reason": "", "since": ""}
    write_json(champions / "champion.json", decision)


@pytest.fixture(params=["folders", "store"])
def pipeline(request, recordings, champions, tmp_path):
    """The pipeline on folders, and on an object store."""
    if request.param == "folders":
        return Pipeline(tmp_path, data=recordings, out=tmp_path / "out", models=champions)
    request.getfixturevalue("s3").put(recordings, "recordings")
    return Pipeline(tmp_path, data="s3://bucket/recordings", out="s3://bucket/some/tags", models=champions)


UNREADABLE = {"text.wav", "empty.wav"}
NAMES = {*READABLE, *UNREADABLE} - {"stereo.wav"} | {"deeper/stereo.wav"}


def tagged_by_command(capsys, monkeypatch, folder, models, **options):
    """Return what the command `tag` prints for a folder with the same options."""
    monkeypatch.chdir(folder)
    given = {"every": 1.0, "overlap": 0.25, "merge": True, "top": 2} | options
    tag_command.run(tag_options(files=[Path()], models=models, format="csv", **given))
    return capsys.readouterr().out


def test_a_batch_has_what_the_command_tag_prints(pipeline, recordings, champions, capsys, monkeypatch):
    batch, shards = pipeline.find()
    assert len(shards) == 3
    for shard in shards:
        batches.tag(batch, new=pipeline.new, shard=shard)
    counts = collect(batch)
    expected = tagged_by_command(capsys, monkeypatch, recordings, champions)
    with open_storage(pipeline.out).local(f"batches/{batch.name}/tags.csv") as path:
        assert path.read_text() == expected
    assert set(pipeline.files(batch)) == NAMES
    numbers = {"files": 10, "unreadable": 2, "tags": len(expected.splitlines()) - 1}
    assert counts == {"batch": batch.name, **numbers, "drift": ""}


def test_the_table_of_tags_has_the_rows_that_the_command_writes(recordings, champions, tmp_path, monkeypatch):
    pipeline = Pipeline(tmp_path, data=recordings, out=tmp_path / "out", models=champions)
    pipeline.run()
    (table,) = (tmp_path / "out").glob("batches/*/tags.parquet")
    monkeypatch.chdir(recordings)
    given = {"every": 1.0, "overlap": 0.25, "merge": True, "top": 2, "out": tmp_path / "command", "format": "parquet"}
    tag_command.run(tag_options(files=[Path()], models=champions, **given))
    found = sorted((tmp_path / "command").rglob("*.parquet"), key=lambda path: path.relative_to(tmp_path / "command"))
    assert pq.read_table(table).equals(pa.concat_tables(map(pq.read_table, found)))


def test_only_what_is_new_or_has_changed_is_tagged(recordings, champions, tmp_path):
    pipeline = Pipeline(tmp_path, data=recordings, out=tmp_path / "out", models=champions)
    assert set(pipeline.run()) == NAMES
    assert pipeline.run() == []
    shutil.copyfile(recordings / "plain.wav", recordings / "another.wav")
    os.utime(recordings / "slow.wav", ns=(5, 5))
    shutil.copyfile(recordings / "plain.wav", recordings / "text.wav")  # can be read from now on
    assert pipeline.run() == ["another.wav", "slow.wav", "text.wav"]
    assert pipeline.run() == []


def test_a_clock_that_goes_backwards_does_not_hide_what_a_later_batch_found(
    recordings, champions, tmp_path, monkeypatch
):
    class Backwards(datetime):
        years = count(2030, -1)

        @classmethod
        def now(cls, tz):
            return cls(next(cls.years), 1, 1, tzinfo=tz)

    monkeypatch.setattr(batches, "datetime", Backwards)
    pipeline = Pipeline(tmp_path, data=recordings, out=tmp_path / "out", models=champions)
    assert set(pipeline.run()) == NAMES
    os.utime(recordings / "slow.wav", ns=(5, 5))
    assert pipeline.run() == ["slow.wav"] and pipeline.run() == []
    assert sorted(path.name for path in (tmp_path / "out" / "batches").iterdir()) == [
        "20300101T000000Z",
        "20300101T000001Z",
    ]


def test_another_champion_tags_everything_again_that_can_be_read(pipeline, champions):
    pipeline.run()
    crown(champions, "1" * 16)
    assert set(pipeline.run()) == NAMES - UNREADABLE
    assert pipeline.run() == []


def test_all_shards_of_a_batch_have_the_champion_that_it_began_with(recordings, champions, tmp_path):
    pipeline = Pipeline(tmp_path, data=recordings, out=tmp_path / "out", models=champions)
    batch, (first, *others) = pipeline.find()
    batches.tag(batch, new=pipeline.new, shard=first)
    crown(champions, "1" * 16)
    for shard in others:
        batches.tag(batch, new=pipeline.new, shard=shard)
    collect(batch)
    assert set(pipeline.table(batch, "files")["champion"].to_pylist()) == {"0" * 16}
    assert set(pipeline.run()) == NAMES - UNREADABLE


class Killed(BaseException):
    """What ends a stage at once."""


@pytest.mark.parametrize("calls", slow_but(range(0, 10, 3), 3))
def test_what_was_tagged_before_an_interruption_is_not_tagged_again(pipeline, monkeypatch, calls):
    tagged, original = [], batches._tag_file

    def tag_file(path, *args, **options):
        if len(tagged) == calls:
            raise Killed
        tagged.append(path.name)
        return original(path, *args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(batches, "_tag_file", tag_file)
        with suppress(Killed):
            pipeline.run()
    assert pipeline.all_files() == []

    def tag_file_again(path, *args, **options):
        tagged.append(path.name)
        return original(path, *args, **options)

    monkeypatch.setattr(batches, "_tag_file", tag_file_again)
    assert set(pipeline.run()) == NAMES
    assert sorted(tagged) == sorted(Path(name).name for name in NAMES)


@pytest.mark.parametrize("calls", slow_but(range(8), 3))
def test_a_batch_that_was_interrupted_while_it_was_written_is_written_whole(pipeline, monkeypatch, calls):
    batch, shards = pipeline.find()
    for shard in shards:
        batches.tag(batch, new=pipeline.new, shard=shard)
    left = [calls]

    def until_killed(method):
        def call(place, *args):
            if left[0] == 0:
                raise Killed
            left[0] -= 1
            return method(place, *args)

        return call

    kind = type(open_storage(pipeline.out))
    with monkeypatch.context() as patch:
        for name in ("put", "remove"):
            patch.setattr(kind, name, until_killed(getattr(kind, name)))
        with suppress(Killed):
            collect(batch)
    pipeline.run()
    assert sorted(pipeline.all_files()) == sorted(NAMES)
    assert pipeline.run() == [] and not open_storage(pipeline.out).list("parts")


def test_a_stage_that_is_told_to_end_keeps_what_it_has_tagged(pipeline, monkeypatch):
    batch, (shard, *_) = pipeline.find(shards=1)
    original = batches._tag_file

    def tag_file(path, *args, **options):
        if path.name == "plain.wav":
            os.kill(os.getpid(), signal.SIGTERM)
        return original(path, *args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(batches, "_tag_file", tag_file)
        with pytest.raises(SystemExit) as ended:
            batches.tag(batch, new=pipeline.new, shard=shard)
    assert ended.value.code == 143 and signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    before = [name for name in sorted(NAMES, key=Path) if Path(name) < Path("plain.wav")]
    _, (*_,) = pipeline.find(shards=1)
    waiting = [os.fsdecode(row) for row in pq.read_table(pipeline.new)["path"].to_pylist()]
    assert before and waiting == [name for name in sorted(NAMES, key=Path) if name not in before]


def test_parts_are_written_while_a_shard_is_tagged(pipeline, monkeypatch):
    monkeypatch.setattr(batches, "PART_SECONDS", 0)
    batch, (shard,) = pipeline.find(shards=1)
    batches.tag(batch, new=pipeline.new, shard=shard)
    assert len(open_storage(pipeline.out).list("parts")) == len(NAMES)
    collect(batch)
    assert pipeline.files(batch) == sorted(NAMES, key=Path)


def test_a_sound_that_is_gone_is_left_out(recordings, champions, tmp_path):
    pipeline = Pipeline(tmp_path, data=recordings, out=tmp_path / "out", models=champions)
    batch, shards = pipeline.find()
    (recordings / "plain.wav").unlink()
    for shard in shards:
        batches.tag(batch, new=pipeline.new, shard=shard)
    collect(batch)
    assert set(pipeline.files(batch)) == NAMES - {"plain.wav"}


def test_the_reason_is_kept_and_the_length_of_what_can_be_read(pipeline):
    batch, shards = pipeline.find()
    for shard in shards:
        batches.tag(batch, new=pipeline.new, shard=shard)
    collect(batch)
    rows = {row["file"]: row for row in pipeline.table(batch, "files").to_pylist()}
    assert {name for name, row in rows.items() if row["reason"]} == UNREADABLE
    assert rows["empty.wav"]["reason"] == "has no samples" and rows["empty.wav"]["seconds"] is None
    assert rows["plain.wav"]["seconds"] == 3.0 and rows["slow.wav"]["seconds"] == 3.0


def test_what_was_not_used_of_a_file_is_noted(recordings, champions, tmp_path):
    content = (recordings / "plain.wav").read_bytes()
    (recordings / "cut.wav").write_bytes(content[: len(content) // 2])
    (recordings / "._plain.wav").write_bytes(content)
    Pipeline(tmp_path, data=recordings, out=tmp_path / "out", models=champions).run()
    rows = {
        row["file"]: row
        for path in (tmp_path / "out").rglob("files.parquet")
        for row in pq.read_table(path).to_pylist()
    }
    assert rows["cut.wav"]["note"] == "cut short: 1.50 of 3.00 s stated" and "._plain.wav" not in rows
    assert rows["plain.wav"]["note"] is None and rows["cut.wav"]["seconds"] == pytest.approx(1.5, abs=1e-3)


def test_some_files_are_also_scored_as_a_whole(pipeline, tagger, recordings, monkeypatch):
    monkeypatch.setattr(batches, "COMPARED", 5)
    batch, shards = pipeline.find()
    for shard in shards:
        batches.tag(batch, new=pipeline.new, shard=shard)
    collect(batch)
    rows = pipeline.table(batch, "scores").to_pylist()
    assert [row["file"] for row in rows] == [name for name in sorted(NAMES, key=Path)[::2] if name not in UNREADABLE]
    for row, expected in zip(rows, tagger.tag([recordings / row["file"] for row in rows]), strict=True):
        assert row["scores"] == pytest.approx(expected.scores)
        assert row["member_scores"] == [pytest.approx(scores) for scores in expected.member_scores]
        assert (row["level"], row["hum"]) == pytest.approx((expected.acoustics.level, expected.acoustics.hum), abs=1e-3)


def test_tags_keep_a_promised_precision(calibrated, recordings, tmp_path, capsys, monkeypatch):
    models, _ = calibrated
    options = Options(window=1.0, overlap=0.0, merge=False, top=5, precision=0.9)
    pipeline = Pipeline(tmp_path, data=recordings, out=tmp_path / "out", models=models, options=options)
    pipeline.run()
    (table,) = (tmp_path / "out").glob("batches/*/tags.csv")
    given = {"overlap": 0.0, "merge": False, "top": 5, "precision": 0.9}
    assert table.read_text() == tagged_by_command(capsys, monkeypatch, recordings, models, **given)


def test_the_output_of_a_run_must_not_change_during_a_batch(run, recordings, tmp_path):
    models = tmp_path / "run"
    shutil.copytree(run, models)
    pipeline = Pipeline(tmp_path, data=recordings, out=tmp_path / "out", models=models)
    batch, (shard, *_) = pipeline.find()
    with (models / "ensemble.json").open("a") as file:
        file.write("\n")
    with pytest.raises(UserError, match="expected the models that the batch began with"):
        batches.tag(batch, new=pipeline.new, shard=shard)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"options": Options(window=2.0, overlap=0.25, merge=True, top=2, precision=0)}, "found --window 1.0 in"),
        ({"options": Options(window=1.0, overlap=0.25, merge=True, top=2, precision=0.9)}, "found --precision 0.0 in"),
        ({"data": "empty"}, "--data: expected a folder with sound files, found none in"),
        ({"models": "empty"}, "--models: expected a champions folder or the output of a run"),
        ({"out": "recordings"}, "found deeper/stereo.wav and no settings.json in"),
        ({"options": Options(window=99, overlap=0, merge=True, top=2, precision=0)}, "--window: expected 0.1 to 60"),
    ],
)
def test_what_cannot_work_is_said_before_anything_is_tagged(recordings, champions, tmp_path, change, message):
    (tmp_path / "empty").mkdir()
    given = {"data": recordings, "out": tmp_path / "out", "models": champions}
    Pipeline(tmp_path, **given).find()
    given |= {name: tmp_path / value if isinstance(value, str) else value for name, value in change.items()}
    with pytest.raises(UserError, match=message):
        Pipeline(tmp_path, **given).find()


def test_a_name_that_is_not_text_is_tagged_and_known_again(recordings, champions, tmp_path):
    name = os.fsdecode(b"caf\xe9.wav")
    shutil.copyfile(recordings / "plain.wav", recordings / name)
    pipeline = Pipeline(tmp_path, data=recordings, out=tmp_path / "out", models=champions)
    assert r"caf\xe9.wav" in pipeline.run()
    assert pipeline.run() == []


@pytest.mark.parametrize("sizes", [[], [0], [1], [300_000] * 4, [10, 900_000, 10, 10, 400_000]])
def test_shards_have_about_the_same_size_and_are_few_for_little_sound(sizes):
    numbers = batches._divide(sizes, 3)
    assert len(numbers) == len(sizes) and numbers == sorted(numbers)
    assert set(numbers) <= set(range(max(1, min(3, sum(sizes) // batches.SHARD_BYTES))))


def test_a_batch_is_compared_with_the_test_clips_where_there_are_any(compared_run, run, recordings, tmp_path, caplog):
    caplog.set_level("INFO")
    for models, expected in ((compared_run, "fine"), (run, "")):
        pipeline = Pipeline(tmp_path, data=recordings, out=tmp_path / f"tags {expected}", models=models)
        batch, shards = pipeline.find()
        for shard in shards:
            batches.tag(batch, new=pipeline.new, shard=shard)
        assert collect(batch)["drift"] == expected
        path = Path(pipeline.out, "batches", batch.name, "drift.json")
        assert path.exists() == bool(expected)
        if expected:
            found = json.loads(path.read_text(encoding="utf-8"))
            assert found["verdict"] == "fine" and found["files"] == found["clips"] == len(READABLE)
            # The files are the test clips. Rounding may break the tie of each of the eight with itself.
            assert all(abs(each["above"] - 0.5) <= 8 / 64 / 2 for each in found["quantities"].values())
            assert "fine: 8 files compared with 8 test clips" in caplog.messages
    assert any(message.startswith("drift is not looked for: ") for message in caplog.messages)
