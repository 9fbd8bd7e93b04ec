"""Damages every file that a command reads.

What reads it either refuses it in one line that names the file, or returns what it returned before. `READERS` lists the
files of a finished run and of a champions folder.
"""

import json
import shutil
from dataclasses import asdict, dataclass, replace
from fnmatch import fnmatch
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from helpers.damage import damages, restore
from helpers.fabricated import fabricate_run, finish_run, models_of, predictions_of, replace_weights
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save
from torch import nn

from audiotagging.artifacts.averaging import Averaging
from audiotagging.artifacts.champions_folder import Champion, History, champion_folder, read_events
from audiotagging.artifacts.excerpts import read_excerpts
from audiotagging.artifacts.model_folder import ModelMetadata, read_history
from audiotagging.artifacts.predictions import read_predictions
from audiotagging.artifacts.spectrogram_shards import read_clips, read_spectrograms
from audiotagging.base.errors import UserError
from audiotagging.base.typed_json import parse_json, read_json
from audiotagging.champions.promotion import promote
from audiotagging.champions.rescoring import newer_clips
from audiotagging.ensemble.ensembling import ensemble
from audiotagging.evaluation.comparison import compare
from audiotagging.evaluation.scores import Scores, StoredScores, read_scores
from audiotagging.members import DEMO
from audiotagging.report import evaluate as evaluation
from audiotagging.tagging.loading import load_tagger
from audiotagging.training.networks import NETWORKS, Network
from audiotagging.training.prediction import predict

MEMBERS = [replace(member, frames=128, size=32) for member in (DEMO[0], DEMO[2])]
CLASSES = 4


@dataclass(frozen=True)
class Storage:
    """What the readers read: a finished run, another one, a champions folder, and a place for what they write."""

    run: Path
    other: Path
    champions: Path
    sound: Path
    scratch: Path

    def averaged(self, run):
        return run.parent.with_name(f"{run.name} averaged")


def tiny(outputs):
    head = nn.Sequential(nn.Conv2d(3, 4, 3, stride=4), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 8 * 8, outputs))
    return Network(nn.Identity(), head)


def finished_run(folder, seed):
    run = fabricate_run(folder, members=MEMBERS, classes=CLASSES, clips=6, sounds=True, seed=seed)
    for number, path in enumerate(models_of(run)):
        torch.manual_seed(10 * seed + number)
        replace_weights(path, save(tiny(4 * CLASSES).state_dict()))
    finish_run(run)
    return run


@pytest.fixture(scope="module")
def intact(tmp_path_factory):
    """Everything that is damaged, and a copy to restore it from."""
    folder = tmp_path_factory.mktemp("damage")
    run, other = finished_run(folder / "files" / "run", 1), finished_run(folder / "files" / "other", 1)
    champions = folder / "files" / "champions"
    for each in (other, run):
        options = {"models": models_of(each), "spectrograms": each / "spectrograms", "selection": each / "selection"}
        promote(each / "averaged", champions=champions, **options)
        (each / "averaged").rename(folder / f"{each.name} averaged")
        (each / "log.txt").touch()
    samples = np.random.default_rng(1).uniform(-0.5, 0.5, 44_100)
    soundfile.write(folder / "sound.wav", samples, 44_100)
    shutil.copytree(folder / "files", folder / "copy")
    (folder / "scratch").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(NETWORKS, MEMBERS[0].network, tiny)
        patch.setattr(evaluation.html, "render", lambda scores, **_: "")
        yield Storage(run, other, champions, folder / "sound.wav", folder / "scratch")


# The readers. Each returns something that depends on all that it reads.


def tag(place, models=None):
    (tagged,) = load_tagger(models or place.run).tag([place.sound])
    return tagged.scores.tolist()


def tag_with_champion(place):
    return tag(place, champion_folder(place.champions))


def evaluate(place, baseline=None):
    return evaluation.evaluate(
        place.run,
        models=models_of(place.run),
        spectrograms=place.run / "spectrograms",
        selection=place.run / "selection",
        report=place.scratch / "report.html",
        scores=place.scratch / "scores.json",
        audit=place.scratch / "audit",
        baseline=baseline,
    )


def evaluate_with_baseline(place):
    return evaluate(place, place.run / "submission.csv")


def compare_both_ways(place):
    return compare(place.run, place.other), compare(place.other, place.run)


def print_results(place):
    return read_scores(place.run / "scores.json")


def evaluate_again(place):
    return read_json(place.run / "scores.json", StoredScores)


def predict_again(place):
    out = place.scratch / "predictions.parquet"
    options = {"spectrograms": place.run / "spectrograms", "selection": place.run / "selection"}
    predict(models_of(place.run)[0], out=out, **options)
    return read_predictions(out).scores.tolist()


def average_again(place):
    out = place.scratch / "ensemble"
    options = {"spectrograms": place.run / "spectrograms", "mean": "rank", "weights": "equal"}
    ensemble(predictions_of(place.run), out=out, **options)
    try:
        return (out / "submission.csv").read_text(), read_predictions(out / "predictions.parquet").scores.tolist()
    finally:
        shutil.rmtree(out)


def promote_again(place):
    run = place.other
    options = {"models": models_of(run), "spectrograms": run / "spectrograms", "selection": run / "selection"}
    return promote(place.averaged(run), champions=place.champions, **options)


def promote_run(place):
    champions = place.scratch / "champions"
    try:
        run = place.run
        options = {"models": models_of(run), "spectrograms": run / "spectrograms", "selection": run / "selection"}
        return promote(place.averaged(place.run), champions=champions, **options)
    finally:
        shutil.rmtree(champions, ignore_errors=True)


def find_newer_clips(place):
    """Look for clips that the champion has not predicted."""
    run = place.run
    found = newer_clips(
        champion_folder(place.champions), ensemble=place.averaged(run), spectrograms=run / "spectrograms"
    )
    return found.to_dict("list")


def list_events(place):
    """List what an earlier version of the program, which wrote no history, knew too."""
    return [[event[key] for key in ("version", "before", "after", "best")] for event in read_events(place.champions)]


NOBODY = ()
MAY_BE_MISSING = (
    "run/spectrograms/verified.json",  # then nothing was checked
    "run/selection/linear.parquet",  # then an earlier version wrote the rest
)
MODEL = (tag, evaluate, predict_again, promote_run)
VERSION = "champions/versions/*"
READERS = {
    "run/submission.csv": (evaluate_with_baseline,),
    "run/ensemble.json": (tag, evaluate, compare_both_ways),
    "run/predictions.parquet": (evaluate, compare_both_ways),
    "run/scores.json": (compare_both_ways, evaluate_again, print_results),
    "run/report.html": NOBODY,
    "run/suspicious.csv": NOBODY,
    "run/audit.html": NOBODY,
    "run/log.txt": NOBODY,
    "run/models/*-fold0/member.json": MODEL,
    "run/models/*-fold0/weights.safetensors": (tag, predict_again, promote_run),
    "run/models/*-fold0/history.parquet": (evaluate,),
    "run/predictions/*-fold0.parquet": (average_again,),
    "run/spectrograms/*-of-*.parquet": (evaluate, compare_both_ways, predict_again, average_again),
    "run/spectrograms/excerpts.parquet": NOBODY,  # it may be missing, and no score depends on it
    "run/spectrograms/rejected.csv": (evaluate, average_again),
    "run/spectrograms/verified.json": (evaluate,),
    "run/selection/folds.csv": (predict_again,),
    "run/selection/noisy.csv": (evaluate,),
    "run/selection/linear.parquet": (evaluate,),
    "champions/champion.json": (tag_with_champion, promote_again),
    "champions/history.json": (list_events,),
    "champions/.audiotagging*": NOBODY,
    f"{VERSION}/submission.csv": NOBODY,
    f"{VERSION}/ensemble.json": (tag_with_champion, promote_again),
    f"{VERSION}/predictions.parquet": (promote_again, find_newer_clips),
    f"{VERSION}/clips.parquet": (find_newer_clips,),
    f"{VERSION}/models/*-fold0/member.json": (tag_with_champion,),
    f"{VERSION}/models/*-fold0/weights.safetensors": (tag_with_champion,),
    f"{VERSION}/models/*-fold0/history.parquet": NOBODY,
}


def path_of(place, pattern):
    """Return the first file that a pattern stands for, in the version of the champion."""
    champion = champion_folder(place.champions).name
    return min(place.run.parent.glob(pattern.replace("versions/*", f"versions/{champion}")))


def test_the_table_lists_every_file_of_a_run_and_of_the_champions(intact):
    for root in (intact.run, intact.champions):
        for path in root.rglob("*"):
            name = path.relative_to(intact.run.parent).as_posix().replace("-fold1", "-fold0")
            assert path.is_dir() or any(fnmatch(name, pattern) for pattern in READERS), f"{name} is not in READERS"
    for pattern in READERS:
        assert path_of(intact, pattern).is_file()


@pytest.mark.slow
@pytest.mark.parametrize("pattern", [pattern for pattern, readers in READERS.items() if readers])
def test_what_is_damaged_is_refused_in_one_line_or_makes_no_difference(intact, pattern):
    files, path = intact.run.parent, path_of(intact, pattern)
    copy = files.with_name("copy")
    before = {reader: json.dumps(reader(intact)) for reader in READERS[pattern]}
    wrong = []
    for what, damage in damages(path):
        if what == "removed" and pattern in MAY_BE_MISSING:
            continue
        damage(path)
        for reader, expected in before.items():
            fault = fault_of(reader, intact, expected=expected, path=path)
            wrong += [f"{what}, {reader.__name__}: {fault}"] if fault else []
        for changed in (path, path.with_name("member.json")):
            original = copy / changed.relative_to(files)
            if original.exists():
                restore(changed, original)
    assert not wrong, "\n".join(wrong)


def fault_of(reader, place, *, expected, path):
    """Return what is wrong with a reader of a damaged file, or an empty string."""
    try:
        return "" if json.dumps(reader(place)) == expected else "another result"
    except (UserError, OSError) as error:
        message = str(error)
        is_right = "\n" not in message and len(message) < 500 and (str(path.parent) in message or not path.exists())
        return "" if is_right else f"its message is {message}"
    except Exception as error:
        return f"{type(error).__name__}: {error}"


# Damage at random.

KEYS = st.sampled_from(["id", "member", "mean", "weights", "version", "ensemble", "classes", "x", "\ud800"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=10,
)
KINDS = {
    "champion.json": Champion,
    "history.json": History,
    "ensemble.json": Averaging,
    "scores.json": Scores,
    "member.json": ModelMetadata,
}


def change_somewhere(draw, content):
    """Put a value of another type, or none of the type at all, somewhere into the content of a JSON file."""
    while True:
        place = draw(st.sampled_from(list(content) if isinstance(content, dict) else range(len(content))))
        if not isinstance(content[place], dict | list) or not content[place] or draw(st.booleans()):
            content[place] = draw(VALUES)
            return
        content = content[place]


@pytest.mark.parametrize("name", KINDS)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_json_is_read_as_its_type_or_refused_in_one_line(intact, name, data):
    content = json.loads(path_of(intact, next(pattern for pattern in READERS if pattern.endswith(name))).read_text())
    for _ in range(data.draw(st.integers(1, 3))):
        change_somewhere(data.draw, content)
    text = json.dumps(content)
    text = text[: data.draw(st.just(len(text)) | st.integers(0, len(text)))]
    try:
        found = parse_json(text, KINDS[name], source="here")
    except UserError as error:
        assert str(error).startswith("here: ") and "\n" not in str(error) and len(str(error)) < 500
    else:
        written = json.dumps(found if isinstance(found, dict) else asdict(found))
        assert parse_json(written, KINDS[name], source="") == found


NUMBERS = {
    "run/predictions.parquet": lambda path: read_predictions(path).scores.tolist(),
    "run/models/*-fold0/history.parquet": lambda path: read_history(path.parent).fillna(-1).to_numpy().tolist(),
    "run/spectrograms/*-of-*.parquet": lambda path: read_spectrograms(path.parent).frames.tolist(),
    "run/spectrograms/excerpts.parquet": lambda path: read_excerpts(path.parent, read_clips(path.parent)["clip"]),
}


@pytest.mark.parametrize("pattern", NUMBERS)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_numbers_in_parquet_are_those_that_were_written_or_refused_in_one_line(intact, pattern, data):
    path = path_of(intact, pattern)
    original = path.read_bytes()
    place = data.draw(st.integers(0, len(original) - 1))
    length, added = data.draw(st.integers(0, 5)), data.draw(st.binary(max_size=5))
    expected = NUMBERS[pattern](path)
    path.write_bytes(original[:place] + added + original[place + length :])
    try:
        assert NUMBERS[pattern](path) == expected
    except UserError as error:
        message = str(error)
        assert message.startswith(str(path.parent)) and "\n" not in message and len(message) < 500
    finally:
        path.write_bytes(original)


@pytest.mark.parametrize(
    ("version", "message"),
    [
        ("../../../run", "expected a version of 16 hexadecimal digits, found '../../../run'"),
        ("/etc", "expected a version of 16 hexadecimal digits, found '/etc'"),
        ("", "expected a version of 16 hexadecimal digits, found ''"),
        ("..", "expected a version of 16 hexadecimal digits, found '..'"),
        ("0123456789abcdef\n", "expected a version of 16 hexadecimal digits"),
        ("0123456789abcdef", "expected the champion that .*champion.json names, found no such folder"),
        ("fedcba9876543210", "expected a folder in the champions folder .*, found a link to"),
    ],
)
def test_a_champion_is_inside_the_champions_folder(intact, version, message):
    champion = intact.champions / "champion.json"
    original = champion.read_text()
    link = intact.champions / "versions" / "fedcba9876543210"
    link.symlink_to(intact.run)
    champion.write_text(json.dumps(json.loads(original) | {"version": version}))
    try:
        with pytest.raises(UserError, match=message):
            champion_folder(intact.champions)
    finally:
        champion.write_text(original)
        link.unlink()
