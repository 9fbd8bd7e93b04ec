"""The champion that answers."""

import gc
import json
import logging
import os
import shutil
import weakref
from threading import Event, Thread

import pytest
from helpers.browser import wait_for
from helpers.fabricated import models_of, replace_weights
from safetensors.torch import load_file, save

from audiotagging.artifacts.ensemble_folder import ensemble_version
from audiotagging.serving import reloading
from audiotagging.serving.app import REFUSED

FIRST, SECOND, CORRUPT = "1" * 16, "2" * 16, "3" * 16


@pytest.fixture
def champions(run, tmp_path):
    """A champions folder of two versions that score differently, and one that is corrupt."""
    for version in (FIRST, SECOND, CORRUPT):
        shutil.copytree(run, tmp_path / "versions" / version)
    for model in models_of(tmp_path / "versions" / SECOND):
        weights = load_file(model / "weights.safetensors")
        replace_weights(model, save({name: -tensor for name, tensor in weights.items()}))
    (models_of(tmp_path / "versions" / CORRUPT)[0] / "weights.safetensors").write_bytes(b"cut")
    promote(tmp_path, FIRST)
    return tmp_path


def promote(champions, version):
    decision = {"version": version, "champion": "", "promoted": True, "reason": "", "since": "2026-01-01T00:00:00"}
    (champions / "champion.new").write_text(json.dumps(decision))
    (champions / "champion.new").replace(champions / "champion.json")  # at once, because a server may be looking


def test_a_new_champion_answers_as_soon_as_it_can_and_the_old_one_until_then(champions, sounds, serve, monkeypatch):
    served = serve(champions)
    content = (sounds / "plain.wav").read_bytes()
    first = served.client.post("/tag", content=content)
    assert first.headers["model-version"] == FIRST
    old = weakref.ref(served.service.models.current.tagger)
    go_on, load = Event(), reloading._load
    monkeypatch.setattr(reloading, "_load", lambda folder: go_on.wait(60) and load(folder))
    promote(champions, SECOND)
    thread = Thread(target=served.service.models.refresh)
    thread.start()
    during = served.client.post("/tag", content=content)
    assert during.json() == first.json() and during.headers["model-version"] == FIRST
    go_on.set()
    thread.join()
    after = served.client.post("/tag", content=content)
    assert after.headers["model-version"] == SECOND and after.json() != first.json()
    assert served.client.get("/readyz").json() == {"ready": True, "version": SECOND, "refused": ""}
    assert f'audiotagging_model{{version="{FIRST}"}}' not in served.client.get("/metrics").text
    wait_for(lambda: gc.collect() >= 0 and old() is None)  # its memory is free again


def test_the_folder_of_a_version_has_its_name_and_another_folder_that_of_its_models(champions, run):
    assert reloading._load(champions / "versions" / SECOND).version == SECOND
    first, again = reloading._load(run), reloading._load(run / "models")
    assert first.version == again.version == ensemble_version(run, models_of(run))


@pytest.mark.parametrize("break_it", ["a corrupt version", "a missing version", "a corrupt champion.json", "a pipe"])
def test_a_champion_that_cannot_be_loaded_does_not_answer_and_is_named(champions, sounds, serve, break_it, caplog):
    served = serve(champions)
    content = (sounds / "plain.wav").read_bytes()
    expected = served.client.post("/tag", content=content).json()
    if break_it == "a corrupt champion.json":
        (champions / "champion.json").write_text("{")
    elif break_it == "a pipe":
        (champions / "champion.json").unlink()
        os.mkfifo(champions / "champion.json")
    else:
        promote(champions, CORRUPT if break_it == "a corrupt version" else "4" * 16)
    with caplog.at_level(logging.INFO):
        for _ in range(3):
            served.service.models.refresh()
    assert len([record for record in caplog.records if record.levelname == "ERROR"]) == 1
    ready = served.client.get("/readyz")
    assert ready.status_code == 200 and ready.json() == {"ready": True, "version": FIRST, "refused": REFUSED}
    assert served.metric("audiotagging_champion_refused") == 1
    assert served.client.post("/tag", content=content).json() == expected
    (champions / "champion.json").unlink()
    promote(champions, SECOND)
    served.service.models.refresh()
    assert served.client.get("/readyz").json() == {"ready": True, "version": SECOND, "refused": ""}
    assert served.metric("audiotagging_champion_refused") == 0


def test_it_looks_for_another_champion_by_itself(champions, serve, monkeypatch):
    monkeypatch.setattr(reloading, "POLL", 0.05)
    served = serve(champions)
    promote(champions, SECOND)
    wait_for(lambda: served.client.get("/readyz").json()["version"] == SECOND)
