"""What goes into the images, and their tags: equal for equal content, other for other content."""

import io
import tarfile

import pytest

from components import images
from components.images import context, files, image, relocate

STAGE = """@stage(image="{image}")
def {name}(out):
    'Unlike audiotagging.data.unused.'
    from {module} import {name}
"""
FILES = {
    "docker/Dockerfile": "FROM python",
    "pyproject.toml": "[project]",
    "requirements/build.txt": "pip==26.0",
    "requirements/data.txt": "soxr==1.0",
    "requirements/training.txt": "safetensors==0.8",
    "requirements/results.txt": "jinja2==3.1",
    "requirements/tagging.txt": "uvicorn==0.5",
    "requirements/onnx.txt": "onnxruntime==1.3",
    "requirements/torch-cpu.txt": "torch==2.1",
    "requirements/torch-cuda.txt": "torch==2.1",
    "requirements/dev.txt": "pytest==9.0",
    "requirements/lock.sh": "compile",
    "README.md": "about",
    "pipeline.py": "",
    "commands/__init__.py": "from audiotagging.base.gate import through",
    "commands/__main__.py": "",
    "commands/folders.py": "",
    "commands/run.py": "import commands.local.runner",
    "commands/tag.py": "def run():\n    from commands.folders import check\n    import audiotagging.tagging.tagger",
    "commands/local/__init__.py": "",
    "commands/local/runner.py": "",
    "components/stage.py": "def stage(image):\n    return image",
    "components/preprocess.py": STAGE.format(image="data", name="preprocess", module="audiotagging.data.preprocessing"),
    "components/train.py": STAGE.format(image="training", name="train", module="audiotagging.training.supervisor")
    + '    supervise("audiotagging.training.loop:train")\n',
    "components/report.py": STAGE.format(image="results", name="write", module="audiotagging.report.report"),
    "components/tag.py": STAGE.format(image="tagging", name="tag", module="audiotagging.tagging.tagger"),
    "src/audiotagging/__init__.py": "from audiotagging.training.loop import train",  # for others: not followed
    "src/audiotagging/base/__init__.py": "",
    "src/audiotagging/base/gate.py": "",
    "src/audiotagging/data/__init__.py": "",
    "src/audiotagging/data/preprocessing.py": "from audiotagging.data.layouts import tree",
    "src/audiotagging/data/layouts/__init__.py": "",
    "src/audiotagging/data/layouts/tree.py": "",
    "src/audiotagging/data/unused.py": "",
    "src/audiotagging/data/__pycache__/unused.cpython-311.pyc": "compiled",
    "src/audiotagging/training/__init__.py": "",
    "src/audiotagging/training/supervisor.py": "",
    "src/audiotagging/training/loop.py": "def train():\n    import torch, audiotagging.training.losses",
    "src/audiotagging/training/losses.py": "",
    "src/audiotagging/report/__init__.py": "",
    "src/audiotagging/report/report.py": "",
    "src/audiotagging/report/page/report.html": "<p>",
    "src/audiotagging/tagging/__init__.py": "",
    "src/audiotagging/tagging/tagger.py": "from audiotagging.data.layouts.tree import files",
    "src/audiotagging/serving/__init__.py": "",
    "src/audiotagging/serving/__main__.py": "import audiotagging.tagging.tagger",
}


def library(*names):
    return {f"src/audiotagging/{name}.py" for name in names}


SHARED = {"docker/Dockerfile", "requirements/build.txt", *library("__init__", "base/__init__", "base/gate")}
TORCH = {"requirements/torch-cpu.txt", "requirements/torch-cuda.txt", "requirements/training.txt"}
LAYOUTS = library("data/__init__", "data/layouts/__init__", "data/layouts/tree")
TAGGER = LAYOUTS | library("tagging/__init__", "tagging/tagger")
TRAINING = ("__init__", "supervisor", "loop", "losses")
IN = {
    "data": SHARED | LAYOUTS | library("data/preprocessing") | {"requirements/data.txt"},
    "training": SHARED | TORCH | library(*(f"training/{name}" for name in TRAINING)),
    "results": SHARED
    | library("report/__init__", "report/report")
    | {"src/audiotagging/report/page/report.html", "requirements/results.txt"},
    "tagging": SHARED | TORCH | TAGGER | library("serving/__init__", "serving/__main__") | {"requirements/tagging.txt"},
    "onnx": SHARED
    | TAGGER
    | {f"commands/{name}.py" for name in ("__init__", "__main__", "folders", "tag")}
    | {"requirements/onnx.txt"},
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
def test_an_image_holds_what_its_stages_import_and_their_packages(project, target):
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
        lists = {file for file in IN["client"] if file.startswith("requirements/")}  # of all images
        assert {entry.name: entry.mode for entry in tar} == dict.fromkeys({*IN["training"], *lists}, 0o644)
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
