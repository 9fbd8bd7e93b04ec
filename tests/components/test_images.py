"""What goes into the images, and their tags: equal for equal content, other for other content."""

import io
import tarfile

import pytest

from components import images
from components.images import context, files, image, relocate

FILES = {
    "docker/Dockerfile": "FROM python",
    "pyproject.toml": "[project]",
    "requirements/build.txt": "pip==26.0",
    "requirements/data.txt": "soxr==1.0",
    "requirements/training.txt": "safetensors==0.8",
    "requirements/dev.txt": "pytest==9.0",
    "requirements/lock.sh": "compile",
    "README.md": "about",
    "pipeline.py": "DAG",
    "commands/__init__.py": "main",
    "commands/__main__.py": "main",
    "commands/folders.py": "folders",
    "commands/run.py": "run",
    "commands/tag.py": "tag",
    "commands/tagging/__init__.py": "",
    "commands/tagging/parameters.py": "parameters",
    "commands/local/runner.py": "runner",
    "components/train.py": "train",
    "src/audiotagging/__init__.py": "",
    "src/audiotagging/members.py": "members",
    "src/audiotagging/artifacts/shards.py": "shards",
    "src/audiotagging/data/sound.py": "sound",
    "src/audiotagging/data/deeper/still.py": "still",
    "src/audiotagging/data/__pycache__/sound.cpython-311.pyc": "compiled",
    "src/audiotagging/results/page.html": "<p>",
    "src/audiotagging/training/loop.py": "loop",
    "src/audiotagging/tagging/tagger.py": "tagger",
}
SHARED = {"docker/Dockerfile", "requirements/build.txt", "requirements/data.txt", "requirements/training.txt"}
SHARED |= {f"src/audiotagging/{name}" for name in ("__init__.py", "members.py", "artifacts/shards.py")}
IN = {
    "data": SHARED | {"src/audiotagging/data/sound.py", "src/audiotagging/data/deeper/still.py"},
    "training": SHARED | {"src/audiotagging/training/loop.py"},
    "results": SHARED | {"src/audiotagging/results/page.html"},
    "tagging": SHARED
    | {f"src/audiotagging/{name}" for name in ("data/sound.py", "data/deeper/still.py", "training/loop.py")}
    | {"src/audiotagging/tagging/tagger.py"},
    "onnx": SHARED
    | {f"src/audiotagging/{name}" for name in ("data/sound.py", "data/deeper/still.py", "tagging/tagger.py")}
    | {
        f"commands/{name}.py"
        for name in ("__init__", "__main__", "folders", "tag", "tagging/parameters", "tagging/__init__")
    },
    "client": {name for name in FILES if not name.endswith(".pyc")}
    - {"README.md", "pyproject.toml", "requirements/dev.txt", "requirements/lock.sh"},
}


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project that is as small as can be."""
    for name, content in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    monkeypatch.setattr(images, "ROOT", tmp_path)
    monkeypatch.setattr(images, "LIBRARY", tmp_path / "src" / "audiotagging")
    for variable in ("AUDIOTAGGING_REGISTRY", "AUDIOTAGGING_TORCH"):
        monkeypatch.delenv(variable, raising=False)
    return tmp_path


@pytest.mark.parametrize("target", IN)
def test_an_image_holds_its_folders_and_what_all_share(project, target):
    assert set(files(target)) == IN[target]


@pytest.mark.parametrize("file", FILES)
def test_a_tag_changes_with_what_is_in_the_image_alone(project, file):
    before = {target: image(target) for target in IN}
    assert before == {target: image(target) for target in IN}
    with (project / file).open("a") as stream:
        stream.write("\n")
    changed = {target for target in before if image(target) != before[target]}
    assert changed == {target for target, content in IN.items() if file in content}


def test_the_context_holds_the_files_for_every_reader(project):
    (project / "docker/Dockerfile").chmod(0o600)
    with tarfile.open(fileobj=io.BytesIO(context("training"))) as tar:
        assert {entry.name: entry.mode for entry in tar} == dict.fromkeys(IN["training"], 0o644)
        for entry in tar:
            assert tar.extractfile(entry).read().decode() == FILES[entry.name]


@pytest.mark.parametrize("target", ["training", "tagging"])
def test_the_tag_of_an_image_with_torch_tells_its_build(project, monkeypatch, target):
    assert image(target).endswith("-cpu")
    monkeypatch.setenv("AUDIOTAGGING_TORCH", "cuda")
    assert image(target).endswith("-cuda")
    assert not image("data").endswith("-cuda")


@pytest.mark.parametrize("registry", ["example.org/sounds", "example.org/sounds/"])
def test_the_registry_comes_first(project, monkeypatch, registry):
    monkeypatch.setenv("AUDIOTAGGING_REGISTRY", registry)
    assert image("data").startswith("example.org/sounds/audiotagging-data:")


def test_a_reference_can_be_moved_to_another_registry_and_build(project):
    tag = image("training").partition(":")[2].removesuffix("-cpu")
    moved = relocate(image("training", registry="here"), registry="example.org/sounds", torch="cuda")
    assert moved == f"example.org/sounds/audiotagging-training:{tag}-cuda"


def test_an_image_that_is_not_there_is_refused(project):
    with pytest.raises(ValueError, match="data, training, results, tagging, onnx, client, found 'trian'"):
        image("trian")
