"""Folders of results: what a killed command left of a file is removed by the next one, and nothing else."""

import os

import pytest

from audiotagging.base.errors import UserError
from audiotagging.tagging.batch_results import Options, check_settings, complete_batch
from audiotagging.tagging.output_folder import Settings, open_results
from audiotagging.tagging.storage import open_storage

SETTINGS = Settings(models="0", every=1.0, overlap=0.0, merge=False, top=5, precision=None, format="csv")
OPTIONS = Options(window=1.0, overlap=0.0, merge=False, top=5, precision=0.0)


def open_tags(folder):
    open_results(folder, SETTINGS)


def open_batches(folder):
    check_settings(open_storage(str(folder)), OPTIONS, where=str(folder))


def names(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir()}


@pytest.mark.parametrize("open_folder", [open_tags, open_batches])
def test_what_was_killed_early_resumes(tmp_path, open_folder):
    (tmp_path / "settings.json.0123abcd.part").touch()
    open_folder(tmp_path)
    assert names(tmp_path) == {"settings.json"}
    (tmp_path / "deep").mkdir()
    for name in ("deep/a.wav.csv.0123abcd.part", "settings.json.ffffffff.part", "deep/a.part"):
        (tmp_path / name).touch()
    open_folder(tmp_path)
    assert names(tmp_path) == {"settings.json", "deep/a.part"}


@pytest.mark.parametrize("open_folder", [open_tags, open_batches])
def test_a_folder_of_somebody_else_keeps_what_looks_like_ours(tmp_path, open_folder):
    for name in ("settings.json.0123abcd.part", "letter.txt"):
        (tmp_path / name).touch()
    with pytest.raises(UserError, match="--out: expected a new folder"):
        open_folder(tmp_path)
    assert names(tmp_path) == {"settings.json.0123abcd.part", "letter.txt"}


@pytest.mark.parametrize("open_folder", [open_tags, open_batches])
def test_settings_that_are_a_pipe_are_refused(tmp_path, open_folder):
    os.mkfifo(tmp_path / "settings.json")
    with pytest.raises(OSError, match="expected a regular file, found a pipe"):
        open_folder(tmp_path)


def test_of_an_incomplete_batch_only_its_own_files_are_removed(tmp_path):
    open_batches(tmp_path / "out")
    mine = ["batches/letter.txt", "batches/mine/tags.csv", "batches/20260101T000000Z/letter.txt"]
    for name in (*mine, "batches/20260101T000000Z/tags.csv", "batches/20260101T000000Z/scores.parquet"):
        (tmp_path / "out" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "out" / name).touch()
    complete_batch(
        open_storage(str(tmp_path / "out")), batch="20260102T000000Z", champion="0", compare=lambda sounds: None
    )
    assert {name for name in names(tmp_path / "out") if "20260102" not in name} == {"settings.json", *mine}


def test_a_batch_behind_a_link_is_not_touched(tmp_path):
    open_batches(tmp_path / "out")
    (tmp_path / "mine" / "20260101T000000Z").mkdir(parents=True)
    (tmp_path / "mine" / "20260101T000000Z" / "tags.csv").touch()
    (tmp_path / "out" / "batches").symlink_to(tmp_path / "mine")
    with pytest.raises(UserError, match="batches: expected a folder, found a link"):
        complete_batch(open_storage(str(tmp_path / "out")), batch="b", champion="0", compare=lambda sounds: None)
    assert (tmp_path / "mine" / "20260101T000000Z" / "tags.csv").exists()
