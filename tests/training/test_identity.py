"""The identity of a run: whatever decides its weights changes it, and nothing else does."""

import shutil
from dataclasses import fields, replace

import pytest
import torch

from audiotagging.members import REFERENCE, Member
from audiotagging.training import identity
from audiotagging.training.identity import code_version, run_identity

OPTIONS = {
    "member": REFERENCE[0],
    "module": "audiotagging.training.train",
    "fold": 0,
    "seed": 1,
    "fingerprint": "abc",
    "precision": "auto",
    "start": None,
    "held_out": ["c.wav", "d.wav"],
    "noisy_clips": ["a.wav", "b.wav"],
}


def changed(**changes):
    """Return the names of what differs in the identity after a change."""
    before, after = (run_identity(**options) for options in (OPTIONS, OPTIONS | changes))
    assert before.keys() == after.keys()
    return [name for name in before if before[name] != after[name]]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"fold": 1}, "fold"),
        ({"seed": 2}, "seed"),
        ({"fingerprint": "other data"}, "data fingerprint"),
        ({"precision": "float32"}, "precision"),
        ({"held_out": ["c.wav"]}, "held-out clips"),
        ({"noisy_clips": ["a.wav"]}, "noisy clips"),
        ({"noisy_clips": []}, "noisy clips"),
        ({"start": "5f1d"}, "initial weights"),
    ],
)
def test_what_decides_the_weights_changes_it(change, named):
    assert changed(**change) == [named]


@pytest.mark.parametrize("field", [field.name for field in fields(Member)])
def test_every_field_of_the_member_changes_it(field):
    value = getattr(REFERENCE[0], field)
    others = {"network": "xresnet50", "loss": "bce", "id": "other", "overlap": 0.5, "tail": False}
    others |= {"lr": 0.02, "mixup": 0.5}
    other = others.get(field, value + 1 if isinstance(value, (int, float)) else None)
    assert changed(member=replace(REFERENCE[0], **{field: other})) == [f"member {field}"]


def test_the_order_of_the_clips_does_not_change_it():
    assert changed(noisy_clips=["b.wav", "a.wav"], held_out=["d.wav", "c.wav"]) == []


@pytest.mark.parametrize("named", ["code version", "torch"])
def test_another_version_of_the_code_or_of_torch_changes_it(monkeypatch, named):
    before = run_identity(**OPTIONS)
    monkeypatch.setattr(identity, "code_version", lambda module: before["code version"])
    if named == "torch":
        monkeypatch.setattr(torch, "__version__", "another")
    else:
        monkeypatch.setattr(identity, "code_version", lambda module: "another")
    after = run_identity(**OPTIONS)
    assert [name for name in before if before[name] != after[name]] == [named]


@pytest.mark.parametrize(
    ("name", "decides"),
    [
        ("training/train.py", True),
        ("training/augmentation.py", True),
        ("statistics/metrics.py", True),  # the label table
        ("artifacts/selection.py", True),  # the folds
        ("training/distillation.py", False),
        ("report/report.py", False),
        ("studies/student.py", False),
    ],
)
def test_code_that_the_training_imports_changes_it_and_no_other(monkeypatch, tmp_path, name, decides):
    shutil.copytree(identity.PACKAGE, tmp_path / "audiotagging")
    monkeypatch.setattr(identity, "PACKAGE", tmp_path / "audiotagging")
    before = code_version.__wrapped__("audiotagging.training.train")
    with (tmp_path / "audiotagging" / name).open("a") as file:
        file.write("# changed\n")
    assert (code_version.__wrapped__("audiotagging.training.train") != before) == decides
