"""The exported folder: its files, and what is tagged with them."""

import io
import json
import os
import re
import shutil
import subprocess
import sys
from contextlib import redirect_stdout
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from helpers.modules import BLOCK
from helpers.tagging_fixtures import calibrated, run, sounds, tagger  # noqa: F401
from helpers.tiny_ensemble import MEMBERS, READABLE, tag_options

import audiotagging
from audiotagging.artifacts.model_folder import model_folders, read_metadata
from audiotagging.base.errors import UserError
from audiotagging.base.files import sha256
from audiotagging.export.folder import export
from audiotagging.sounds.audio import decode
from audiotagging.sounds.spectrogram import clip_spectrogram
from audiotagging.tagging.loading import load_tagger
from audiotagging.tagging.tagger import Tagger
from audiotagging.tagging.torch_networks import TorchNetworks
from commands import main
from commands.outputs import check_out
from commands.tag import run as run_command

ROOT = Path(__file__).parent.parent.parent
MODELS = [f"{member.id}-fold{fold}.onnx" for member in MEMBERS for fold in (0, 1)]


@pytest.fixture(scope="module")
def exported(calibrated, tmp_path_factory):  # noqa: F811
    """The calibrated run as ONNX."""
    folder = tmp_path_factory.mktemp("exported") / "onnx"
    export(calibrated[0], folder)
    return folder


@pytest.fixture(scope="module")
def torch_tagger(calibrated):  # noqa: F811
    return Tagger(TorchNetworks(calibrated[0], precision="float32"))


def test_there_is_a_file_per_model_and_three_of_the_ensemble(exported):
    ours = {*MODELS, *(f"{name}.data" for name in MODELS), "ensemble.onnx", "spectrogram.onnx", "tagger.onnx"}
    ours.add("MODEL_CARD.md")
    assert {path.name for path in exported.iterdir()} == ours
    assert {path.stat().st_mode & 0o777 for path in exported.iterdir()} == {0o666 & ~umask()}
    for path in exported.glob("*.onnx"):
        onnx.checker.check_model(path, full_check=True)
        assert str(ROOT).encode() not in path.read_bytes() and b"site-packages" not in path.read_bytes()
    (exported.parent / "scores.json").touch()
    check_out(exported.parent, force=True)  # it takes everything in it for the output of a run
    sizes = {path.name: path.stat().st_size for path in exported.iterdir()}
    assert sizes["ensemble.onnx"] < min(sizes[f"{name}.data"] for name in MODELS)  # no weight is stored twice


def test_the_checksums_of_the_card_are_those_of_the_files(exported):
    lines = [line for line in (exported / "MODEL_CARD.md").read_text().splitlines() if re.match("[0-9a-f]{64}  ", line)]
    listed = {name: digest for digest, name in (line.split("  ") for line in lines)}
    assert listed == {path.name: sha256(path) for path in exported.iterdir() if path.name != "MODEL_CARD.md"}


def umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_the_metadata_say_how_to_use_a_file_and_how_it_was_trained(exported, calibrated, torch_tagger):  # noqa: F811
    facts = {each.name: each for each in map(read_metadata, model_folders(calibrated[0] / "models"))}
    for path in [exported / "ensemble.onnx", *(exported / name for name in MODELS)]:
        model = onnx.load(path, load_external_data=False)
        metadata = {prop.key: json.loads(prop.value) for prop in model.metadata_props}
        assert metadata["classes"] == torch_tagger.classes
        assert metadata["opset"] == model.opset_import[0].version
        assert list(metadata["inputs"]) == [value.name for value in model.graph.input] == ["spectrogram"]
        assert list(metadata["outputs"]) == [value.name for value in model.graph.output]
        assert metadata["inputs"]["spectrogram"]["shape"] == ["frames", 128]
        names = sorted(facts) if path.stem == "ensemble" else [path.stem]
        trained = {f"{each['member']['id']}-fold{each['fold']}": each for each in metadata["recipe"]}
        assert sorted(trained) == names
        assert {name: each["sha256"] for name, each in trained.items()} == {name: facts[name].sha256 for name in names}


def test_tags_are_those_of_torch(exported, torch_tagger, sounds):  # noqa: F811
    paths = [sounds / name for name in READABLE]
    for models in (exported, exported / "ensemble.onnx"):
        found = load_tagger(models)
        assert found.classes == torch_tagger.classes and found.averaging.calibration
        for one, other in zip(found.tag(paths), torch_tagger.tag(paths), strict=True):
            assert one.path == other.path and one.scores == pytest.approx(other.scores, abs=1e-4)


def test_a_model_alone_has_the_scores_of_its_fold(exported, calibrated, torch_tagger):  # noqa: F811
    random = np.random.default_rng(1)
    clips = [random.integers(0, 256, (length, 128), np.uint8) for length in (128, 300)]
    alone = [load_tagger(exported / name).score(clips) for name in MODELS]
    members = torch_tagger.networks.score(clips)
    for number, member in enumerate(torch_tagger.networks.members):
        folds = [scores for name, scores in zip(MODELS, alone, strict=True) if name.startswith(f"{member}-fold")]
        assert len(folds) == 2 and np.mean(folds, axis=0) == pytest.approx(members[number], abs=1e-4)


@pytest.mark.parametrize("name", READABLE)
def test_the_samples_of_a_clip_are_enough(exported, torch_tagger, sounds, name):  # noqa: F811
    samples = decode(sounds / name).samples
    session = onnxruntime.InferenceSession(exported / "tagger.onnx")
    scores, members = session.run(["scores", "member_scores"], {"samples": samples})
    clip = clip_spectrogram(samples)
    # Up to .1 % of the pixels of the spectrogram may be another of the 256 levels.
    assert scores == pytest.approx(torch_tagger.score([clip])[0], abs=1e-3)
    assert members.shape == (len(MEMBERS), len(torch_tagger.classes))


WITHOUT = {"torch", "safetensors", "pandas", "pyarrow", "kfp", "onnx", "onnxscript", "jinja2", "matplotlib", "docker"}


def tag(*arguments, without=()):
    """Run the command `tag` in a process of its own, in which some packages cannot be imported."""
    script = f"PACKAGES = {set(without)}\n{BLOCK}\nfrom commands import main\nsys.exit(main(dict()))"
    environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"}
    command = [sys.executable, "-c", script, "tag", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=environment)


def printed(*arguments):
    """Return what the command `tag` prints here."""
    out = io.StringIO()
    with redirect_stdout(out):
        assert main({}, ["tag", *map(str, arguments)]) == 0
    return json.loads(out.getvalue())


@pytest.mark.parametrize("options", [[], ["--precision", "0.9"], ["--every", "1", "--overlap", "0.5", "--merge"]])
def test_the_command_needs_neither_torch_nor_parquet(exported, calibrated, sounds, options):  # noqa: F811
    arguments = [*(sounds / name for name in READABLE), "--format", "json", *options]
    done = tag(*arguments, "--models", exported, without=WITHOUT)
    assert done.returncode == 0, done.stderr
    expected = printed(*arguments, "--models", calibrated[0])
    assert json.loads(done.stdout) == approximately(expected) and expected


def approximately(value):
    """Return the same JSON, whose scores may be others by 1e-4."""
    if isinstance(value, list):
        return [approximately(each) for each in value]
    if isinstance(value, dict):
        return {key: approximately(each) for key, each in value.items()}
    return pytest.approx(value, abs=1e-4) if isinstance(value, float) else value


def test_without_torch_a_run_is_refused_and_without_pyarrow_parquet(exported, calibrated, sounds, tmp_path):  # noqa: F811
    done = tag(sounds / "plain.wav", "--models", calibrated[0], without=WITHOUT)
    assert done.returncode == 2
    assert "expected a folder with ensemble.onnx, because torch is not installed here" in done.stderr
    options = ["--every", "1", "--format", "parquet", "--out", tmp_path / "out"]
    done = tag(sounds / "plain.wav", "--models", exported, *options, without=WITHOUT)
    assert done.returncode == 2 and "--format parquet: expected the package pyarrow" in done.stderr
    assert not (tmp_path / "out").exists()


def test_the_runtime_sends_no_events():
    script = "import audiotagging.tagging.onnx_networks, onnxruntime, os; print(os.environ['ORT_DISABLE_TELEMETRY'])"
    environment = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment, check=True)
    assert done.stdout == "1\n"


def cut(path):
    path.write_bytes(path.read_bytes()[:-1000])


def changed(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("name", "damage", "models", "message"),
    [
        (f"{MODELS[0]}.data", Path.unlink, "", "expected an exported model with its weights beside it, found"),
        (f"{MODELS[0]}.data", cut, "", "expected an exported model with its weights beside it, found"),
        (f"{MODELS[0]}.data", changed, "", "expected the weights that ensemble.onnx was written with, found others"),
        ("ensemble.onnx", cut, "", "expected an exported model with its weights beside it, found"),
        ("ensemble.onnx", Path.unlink, "ensemble.onnx", "found no such file"),
        ("", lambda _: None, "tagger.onnx", "takes a spectrogram, found one that takes samples"),
        ("", lambda _: None, "spectrogram.onnx", "takes a spectrogram, found one that takes samples"),
    ],
)
def test_what_is_damaged_or_another_file_is_refused(exported, tmp_path, name, damage, models, message):
    folder = shutil.copytree(exported, tmp_path / "onnx")
    damage(folder / name)
    with pytest.raises(UserError, match=message):
        load_tagger(folder / models)


def test_a_model_of_another_program_is_refused(exported, tmp_path):
    model = onnx.load(exported / "spectrogram.onnx")
    del model.metadata_props[:]
    model.graph.input[0].name = "spectrogram"
    onnx.save(model, tmp_path / "other.onnx")
    with pytest.raises(UserError, match="expected a"):
        load_tagger(tmp_path / "other.onnx")


def test_the_command_refuses_a_folder_that_is_not_empty(exported, calibrated, capsys):  # noqa: F811
    assert main({}, ["export", str(calibrated[0]), "--to", str(exported)]) == 2
    assert "expected a new or an empty folder" in capsys.readouterr().err


def test_the_library_scores_with_an_export_as_the_command_does(exported, sounds, capsys):  # noqa: F811
    loaded = audiotagging.load(exported, device="cpu", threads=1)
    path = sounds / "plain.wav"
    assert run_command(tag_options(files=[path], models=exported, top=99, format="json")) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert loaded.tag(path)[["label", "score"]].to_dict("records") == row["tags"]
    assert sorted(loaded.members) == sorted(member.id for member in MEMBERS)
    with pytest.raises(UserError, match=r"expected cpu for the exported .*, found 'cuda'"):
        audiotagging.load(exported, device="cuda")
