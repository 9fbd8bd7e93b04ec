import errno
import hashlib
import json
import logging
import os
import stat
from dataclasses import asdict, fields, replace
from pathlib import Path

import pandas as pd
import pytest
from helpers.fabricated import fabricate_model

from audiotagging.artifacts.model_folder import (
    ModelMetadata,
    check_weights,
    model_folders,
    read_history,
    read_metadata,
    weights_path,
    write_model,
)
from audiotagging.base.errors import UserError
from audiotagging.members import REFERENCE


@pytest.fixture
def model(tmp_path):
    return fabricate_model(tmp_path / "model", REFERENCE[5], fold=2, classes=["bark", "meow"])


def test_what_is_written_is_read(tmp_path, model):
    facts, history = read_metadata(model), read_history(model)
    copy = tmp_path / "copy"
    write_model(copy, facts=facts, history=history, weights=b"weights")
    digest = hashlib.sha256(b"weights").hexdigest()
    assert (
        read_metadata(copy) == replace(facts, sha256=digest)
        and facts.member == REFERENCE[5]
        and facts.name == "xresnet50-bce-fold2"
    )
    pd.testing.assert_frame_equal(read_history(copy), history)
    assert weights_path(copy).read_bytes() == b"weights"
    assert {path.name for path in copy.iterdir()} == {"weights.safetensors", "member.json", "history.parquet"}


def test_a_model_is_there_when_it_is_complete(tmp_path, model):
    history = read_history(model).drop(columns="loss")  # written last
    with pytest.raises(KeyError, match="loss"):
        write_model(tmp_path / "next", facts=read_metadata(model), history=history, weights=b"weights")
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_all_files_of_a_model_can_be_read_by_those_whom_the_umask_allows(tmp_path, model):
    before = os.umask(0o022)
    try:
        write_model(tmp_path / "next", facts=read_metadata(model), history=read_history(model), weights=b"weights")
    finally:
        os.umask(before)
    assert {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "next").iterdir()} == {0o644}


def test_a_folder_that_cannot_be_read_is_not_taken_for_one_without_models(tmp_path, model, monkeypatch):
    def refuse(path):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(PermissionError):
        model_folders(tmp_path)


def test_only_models_are_listed(tmp_path, model):
    (tmp_path / "another").mkdir()
    (tmp_path / "log.txt").touch()
    assert model_folders(tmp_path) == [model]


def test_weights_are_those_that_were_written(model, caplog):
    check_weights(model)
    with (model / "weights.safetensors").open("ab") as weights:
        weights.write(b"\0")
    with pytest.raises(UserError, match=r"weights\.safetensors: expected the weights that member\.json describes"):
        check_weights(model)
    facts = json.loads((model / "member.json").read_text())
    del facts["sha256"]  # an earlier version did not write it
    (model / "member.json").write_text(json.dumps(facts))
    with caplog.at_level(logging.DEBUG):
        check_weights(model)
    assert "an earlier version wrote this model" in caplog.text


@pytest.mark.parametrize("name", [field.name for field in fields(ModelMetadata)])
@pytest.mark.parametrize("value", [True, 7.5])
def test_facts_of_another_type_are_refused(model, name, value):
    facts = asdict(read_metadata(model))
    value = "text" if isinstance(facts[name], float) and value else value
    (model / "member.json").write_text(json.dumps(facts | {name: value}))
    with pytest.raises(UserError, match=rf"member\.json: expected {name} to be .*, found .*; restore the original"):
        read_metadata(model)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"classes": ["bark", "bark"]}, "expected classes that differ, found bark, bark"),
        ({"classes": []}, "expected classes that differ, found none"),
        ({"fold": -2}, "expected a fold from -1 to 127, found -2"),
        ({"fold": 128}, "expected a fold from -1 to 127, found 128"),
    ],
)
def test_facts_out_of_range_are_refused(model, change, message):
    (model / "member.json").write_text(json.dumps(asdict(read_metadata(model)) | change))
    with pytest.raises(UserError, match=rf"member\.json: {message}"):
        read_metadata(model)


def test_corrupt_files_are_named(model):
    (model / "history.parquet").write_bytes(b"half a table")
    with pytest.raises(UserError, match=r"history\.parquet: this table is corrupt"):
        read_history(model)
    (model / "member.json").write_text('{"member": {}}')
    with pytest.raises(UserError, match=r"member\.json: expected the key fold, found no such key"):
        read_metadata(model)
    (model / "member.json").unlink()
    with pytest.raises(UserError, match=r"model: expected the folder of a trained model, found no member\.json"):
        read_metadata(model)
