import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from helpers.fabricated import fabricate_model

from audiotagging.artifacts.averaging import Averaging
from audiotagging.artifacts.model_folder import read_metadata
from audiotagging.artifacts.sounds_table import SOUNDS, read_sounds, write_sounds
from audiotagging.artifacts.spectrogram_shards import ShardWriter
from audiotagging.base.errors import UserError
from audiotagging.evaluation.differences import Settings, data_differences, settings_differences
from audiotagging.members import REFERENCE

CLASSES = ["cat", "dog"]
ROWS = [
    {"clip": f"{number}.wav", "part": part, "labels": [CLASSES[number % 2]], "fold": fold, "usage": "", "seconds": 1.0}
    for number, (part, fold) in enumerate([("curated", 0)] * 3 + [("curated", 1)] * 3 + [("test", -1)] * 2)
]


def write(folder, rows=ROWS, *, levels=None, digests=None):
    """Write the spectrograms of clips, each of a level of its own, and the digests of their sounds."""
    with ShardWriter(folder, classes=CLASSES) as writer:
        for row in rows:
            level = 10 * int(row["clip"][0]) + (levels or {}).get(row["clip"], 0)
            writer.add(**row, spectrogram=np.full((3, 128), level, np.uint8))
        made = {"clip": "hum-1", "part": "disturbance", "labels": [], "fold": -1, "usage": "", "seconds": 1.0}
        writer.add(**made, spectrogram=np.full((3, 128), len(levels or {}), np.uint8))
    if digests is not None:
        table = pd.DataFrame(rows)[["clip", "part"]]
        write_sounds(folder, table.assign(digest=[digests.get(clip, f"of {clip}") for clip in table["clip"]]))
    return folder


def changed(**changes):
    """Return the clips, those named by their number with other values."""
    return [row | changes.get(f"c{row['clip'][0]}", {}) for row in ROWS]


NAMES = [row["clip"] for row in ROWS]
ALL = "0.wav, 1.wav, 2.wav and 5 more"


@pytest.mark.parametrize(
    ("old", "new", "expected", "rounding"),
    [
        ({}, {}, [], ""),
        ({}, {"rows": ROWS[1:]}, ["1 clip is gone (0.wav)"], ""),
        ({"rows": ROWS[:3] + ROWS[5:]}, {}, ["2 clips are new (3.wav and 4.wav)"], ""),
        ({"rows": ROWS[:2]}, {}, ["6 clips are new (2.wav, 3.wav, 4.wav and 3 more)"], ""),
        ({}, {"rows": changed(c1={"labels": ["cat"]})}, ["1 clip has other labels (1.wav)"], ""),
        ({}, {"rows": changed(c5={"fold": 0})}, ["1 clip is in another fold (5.wav)"], ""),
        ({}, {"rows": changed(c7={"usage": "Public"})}, ["1 clip is used otherwise (7.wav)"], ""),
        (
            {},
            {"rows": changed(c5={"part": "test", "fold": -1})},
            ["1 clip is in another part (5.wav)", "1 clip is in another fold (5.wav)"],
            "",
        ),
        ({"digests": {}}, {"digests": {"3.wav": "x"}}, ["1 clip has another sound (3.wav)"], ""),
        (
            {"digests": {}},
            {"digests": {"3.wav": "x"}, "levels": {"3.wav": 9}},
            ["1 clip has another sound (3.wav)"],
            "",
        ),
        ({"digests": {}}, {"digests": {}, "levels": {"3.wav": 1}}, [], "1 of 8 spectrograms differs by"),
        (
            {"digests": {}},
            {"digests": {}, "levels": {"3.wav": 2, "4.wav": 1}},
            ["1 clip has another spectrogram of the same sound (3.wav)"],
            "1 of 8 spectrograms differs by",
        ),
        (
            {"digests": {}},
            {"levels": {"3.wav": 1, "4.wav": 1}},
            [],
            "2 of 8 spectrograms differ by 1 level of 255, as by rounding (an earlier version did not record the "
            "sounds)",
        ),
        ({}, {"digests": {}, "levels": {"3.wav": 9}}, ["1 clip has another spectrogram (3.wav)"], ""),
        (
            {},
            {"levels": dict.fromkeys([row["clip"] for row in ROWS], 9)},
            [f"8 clips have other spectrograms ({ALL})"],
            "",
        ),
        ({}, {"rows": ROWS[2::-1] + ROWS[3:]}, ["the clips are in another order"], ""),
    ],
)
def test_what_differs_in_the_data(tmp_path, old, new, expected, rounding):
    found = data_differences(write(tmp_path / "old", **old), write(tmp_path / "new", **new))
    assert found.changes == expected and found.rounding.startswith(rounding) and bool(found.rounding) is bool(rounding)


def test_clips_of_two_parts_may_have_one_name(tmp_path):
    rows = [*ROWS, ROWS[0] | {"part": "noisy", "fold": -1}]
    rows.sort(key=lambda row: row["part"])
    others = [row | {"labels": ["dog"]} if row["part"] == "noisy" else row for row in rows]
    folders = [write(tmp_path / name, each, digests={}) for name, each in (("old", rows), ("new", others))]
    assert data_differences(*folders).changes == ["1 clip has other labels (noisy/0.wav)"]


@pytest.mark.parametrize("damage", [lambda path: path.write_bytes(b"PAR1"), lambda path: write_twice(path)])
def test_corrupt_digests_are_refused(tmp_path, damage):
    folder = write(tmp_path / "old", digests={})
    assert read_sounds(folder)["digest"].tolist() == [f"of {row['clip']}" for row in ROWS]
    damage(folder / SOUNDS)
    with pytest.raises(UserError, match=r"sounds.parquet: this table is corrupt"):
        data_differences(folder, write(tmp_path / "new", digests={}))


def write_twice(path):
    write_sounds(path.parent, pd.DataFrame([{"clip": "0.wav", "part": "test", "digest": "x"}] * 2))


@pytest.fixture
def settings(tmp_path):
    def make(*members, folds=(0, 1), mean="arithmetic", weights=None, noisy=("a", "b"), seed=534):
        shutil.rmtree(tmp_path / "models", ignore_errors=True)
        folders = [
            fabricate_model(tmp_path / "models" / f"{member.id}-{fold}", member, fold=fold, classes=CLASSES)
            for member in members
            for fold in folds
        ]
        facts = [replace(read_metadata(folder), seed=seed) for folder in folders]
        weights = weights or {member.id: 1 / len(members) for member in members}
        return Settings(facts, Averaging(mean, weights), noisy)

    return make


ONE, TWO, THREE = REFERENCE[:3]


@pytest.mark.parametrize(
    ("members", "others", "expected"),
    [
        ((ONE, TWO), {}, []),
        ((ONE,), {}, [f"it lacks {TWO.id}"]),
        ((ONE, TWO, THREE), {}, [f"it also has {THREE.id}"]),
        ((replace(ONE, epochs=7), TWO), {}, [f"{ONE.id}: epochs 7 instead of {ONE.epochs}"]),
        (
            (replace(ONE, size=64, frames=99), replace(TWO, size=64)),
            {},
            [f"{ONE.id}: frames 99 instead of {ONE.frames}", f"all members: size 64 instead of {ONE.size}"],
        ),
        ((ONE, TWO), {"folds": (-1,)}, ["folds held out none instead of 0 and 1"]),
        ((ONE, TWO), {"seed": 1}, ["seed 1 instead of 534"]),
        ((ONE, TWO), {"mean": "rank"}, ["mean rank instead of arithmetic"]),
        ((ONE, TWO), {"weights": {ONE.id: 0.6, TWO.id: 0.4}}, ["other weights of the members in the average"]),
        ((ONE, TWO), {"noisy": ("b", "c", "d")}, ["2 noisy clips more to train on, and 1 fewer"]),
    ],
)
def test_what_differs_in_the_settings(settings, members, others, expected):
    assert settings_differences(settings(ONE, TWO), settings(*members, **others)) == expected
