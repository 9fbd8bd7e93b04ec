"""What goes into the images, and their tags: equal for equal content, other for other content."""

import io
import tarfile

import pytest

from components import images
from components.images import context, files, image, relocate

FILES = {
    "docker/Dockerfile": "FROM python",
    "pyproject.toml": "[project]",
    "constraints.txt": "numpy==2.0",
    "README.md": "about",
    "components/hear.py": '@stage(image="small")\ndef hear():\n    from audiotagging.sound import hear\n',
    "components/train.py": '@stage(image="train")\ndef train():\n    import audiotagging.training\n',
    "src/audiotagging/__init__.py": "",
    "src/audiotagging/sound.py": "import numpy\nfrom audiotagging import shards\n",
    "src/audiotagging/shards.py": "from audiotagging.sound import nothing",
    "src/audiotagging/training.py": "from audiotagging.shards import read, write",
    "src/audiotagging/training.html": "<p>",
    "src/audiotagging/unused.py": "",
}
COMMON = {"docker/Dockerfile", "pyproject.toml", "constraints.txt", "src/audiotagging/__init__.py"}
SMALL = COMMON | {"src/audiotagging/sound.py", "src/audiotagging/shards.py"}
TRAIN = SMALL | {"src/audiotagging/training.py", "src/audiotagging/training.html"}


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project of two images."""
    for name, content in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    monkeypatch.setattr(images, "ROOT", tmp_path)
    for variable in ("AUDIOTAGGING_REGISTRY", "AUDIOTAGGING_TORCH"):
        monkeypatch.delenv(variable, raising=False)
    return tmp_path


def test_an_image_is_made_of_what_its_stages_import(project):
    assert set(files("small")) == SMALL
    assert set(files("train")) == TRAIN


@pytest.mark.parametrize("file", FILES)
def test_a_tag_changes_with_what_is_in_the_image_alone(project, file):
    before = {target: image(target) for target in ("small", "train")}
    assert before == {target: image(target) for target in ("small", "train")}
    with (project / file).open("a") as stream:
        stream.write("\n")
    changed = {target for target in before if image(target) != before[target]}
    assert changed == {target for target, content in {"small": SMALL, "train": TRAIN}.items() if file in content}


def test_the_context_holds_the_files_for_every_reader(project):
    (project / "pyproject.toml").chmod(0o600)
    with tarfile.open(fileobj=io.BytesIO(context("train"))) as tar:
        assert {entry.name: entry.mode for entry in tar} == dict.fromkeys(TRAIN, 0o644)
        for entry in tar:
            assert tar.extractfile(entry).read().decode() == FILES[entry.name]


def test_the_tag_of_train_tells_the_build_of_torch(project, monkeypatch):
    assert image("train").endswith("-cpu")
    monkeypatch.setenv("AUDIOTAGGING_TORCH", "cuda")
    assert image("train").endswith("-cuda")
    assert not image("small").endswith("-cuda")


@pytest.mark.parametrize("registry", ["example.org/sounds", "example.org/sounds/"])
def test_the_registry_comes_first(project, monkeypatch, registry):
    monkeypatch.setenv("AUDIOTAGGING_REGISTRY", registry)
    assert image("small").startswith("example.org/sounds/audiotagging-small:")


def test_a_reference_can_be_moved_to_another_registry_and_build(project):
    tag = image("train").partition(":")[2].removesuffix("-cpu")
    moved = relocate(image("train", registry="here"), registry="example.org/sounds", torch="cuda")
    assert moved == f"example.org/sounds/audiotagging-train:{tag}-cuda"


def test_an_image_of_no_stage_is_refused(project):
    with pytest.raises(ValueError, match="no stage runs in an image 'trian'"):
        image("trian")


@pytest.mark.parametrize(
    ("target", "module", "other"),
    [("preprocess", "audio", "models"), ("train", "models", "audio"), ("ensemble", "report", "models")],
)
def test_an_image_of_the_project_holds_its_modules_and_not_anothers(target, module, other):
    assert f"src/audiotagging/{module}.py" in files(target)
    assert f"src/audiotagging/{other}.py" not in files(target)
