"""The images, and the pipeline run in them. `make test-containers` builds the images first."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote

import pytest
from docker.client import DockerClient
from helpers.locked_packages import pins

import pipeline
from audiotagging.demo import write_dataset
from audiotagging.tagging.tagger import Tagger
from audiotagging.tagging.torch_networks import TorchNetworks
from commands import main
from commands.local.containers import LABEL, docker_runner, run_container
from components.images import ONNX, TARGETS, WITH_TORCH, files, image

pytestmark = pytest.mark.containers

TORCH = f"torch-{os.environ.get('AUDIOTAGGING_TORCH', 'cpu')}"  # a file of requirements/
MEGABYTES = {"data": 750, "results": 700, ONNX: 500} | dict.fromkeys(WITH_TORCH, 1500 if TORCH == "torch-cpu" else 6000)
NOT_IN = {
    "data": {"torch", "matplotlib", "numba", "llvmlite"},
    "results": {"torch", "soundfile", "soxr", "librosa", "scipy"},
    "training": {"matplotlib", "soundfile", "soxr", "librosa", "scipy"},
    "tagging": {"matplotlib", "librosa", "scikit-learn"},
    ONNX: {"torch", "pandas", "pyarrow", "kfp"},
}
ROOT = Path(pipeline.__file__).parent
TINY = ["--set", "epochs=1", "epoch_size=2", "batch_size=4", "size=32"]


@pytest.fixture(scope="module")
def client():
    client = DockerClient.from_env()
    yield client
    client.close()


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clips") / "data"
    write_dataset(folder, curated=39, noisy=13, test=13)
    return folder


def command(*arguments):
    return [sys.executable, "pipeline.py", "run", *map(str, arguments)]


def run(*arguments):
    # The order of a sum, and so its rounding, is the same with one thread and without what containers are not told.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OPENBLAS_")}
    environment["OMP_NUM_THREADS"] = "1"
    return subprocess.run(command(*arguments), capture_output=True, text=True, cwd=ROOT, env=environment)


def inside(client, target, script, capsys, **arguments):
    """Run a Python script as a stage would, and return the JSON that it prints."""
    code = run_container(client, image(target), ["-c", script], {}, entrypoint=["python3"], **arguments)
    printed = capsys.readouterr().out
    assert code == 0, printed
    return json.loads(printed)


@pytest.fixture(scope="module")
def runs(tmp_path_factory, dataset):
    """Results of one run in containers and of the same run in subprocesses."""
    folder = tmp_path_factory.mktemp("runs")
    options = ["--data", dataset, "--members", "demo-xresnet18ssa-focal", "--folds", "-1,0", "--keep-audio"]
    options += ["--parallel", 2, *TINY]
    for kind, option in {"containers": ["--docker"], "subprocesses": []}.items():
        done = run(*options, "--out", folder / kind, *option)
        assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.mark.parametrize("folder", ["spectrograms", "predictions"])
def test_containers_give_the_same_bytes_as_subprocesses(runs, folder):
    ours, other = (
        {path.name: path.read_bytes() for path in (runs / kind / folder).iterdir()}
        for kind in ("containers", "subprocesses")
    )
    assert ours and ours == other


def test_the_submission_and_the_scores_are_the_same_too(runs):
    submissions = {(runs / kind / "submission.csv").read_text() for kind in ("containers", "subprocesses")}
    assert len(submissions) == 1
    ours, other = (json.loads((runs / kind / "scores.json").read_text()) for kind in ("containers", "subprocesses"))
    assert (ours["ensemble"], ours["members"]) == (other["ensemble"], other["members"])


def test_the_caller_owns_what_a_run_leaves(runs):
    assert {path.stat().st_uid for path in (runs / "containers").rglob("*")} == {os.getuid()}


def test_sounds_are_tagged_in_containers_as_in_subprocesses(runs, dataset, tmp_path):
    options = ["--pipeline", "tagging", "--data", dataset / "test", "--models", runs / "subprocesses"]
    for kind, option in {"containers": ["--docker"], "subprocesses": []}.items():
        done = run(*options, "--out", tmp_path / kind, *option)
        assert done.returncode == 0 and "13 of 13 sounds to tag" in done.stdout + done.stderr
    ours, other = (list((tmp_path / kind).glob("batches/*/tags.csv")) for kind in ("containers", "subprocesses"))
    assert [path.read_bytes() for path in ours] == [path.read_bytes() for path in other] and len(ours) == 1
    assert {path.stat().st_uid for path in (tmp_path / "containers").rglob("*")} == {os.getuid()}


@pytest.mark.parametrize("target", [*TARGETS, ONNX])
def test_an_image_is_small_and_runs_as_nobody_special(client, target):
    attributes = client.images.get(image(target)).attrs
    assert attributes["Size"] < MEGABYTES[target] * 1e6
    assert attributes["Config"]["User"] == "1000:1000"
    assert "PYTHONUNBUFFERED=1" in attributes["Config"]["Env"]
    labels = attributes["Config"]["Labels"]
    assert labels["org.opencontainers.image.version"] and labels["org.opencontainers.image.revision"]


def test_a_node_with_both_images_has_torch_once(client):
    training, tagging = (client.images.get(image(target)).attrs["RootFS"]["Layers"] for target in WITH_TORCH)
    *environment, code = training
    assert tagging[: len(environment)] == environment and code not in tagging


DISTRIBUTIONS = """
import json
from importlib.metadata import distributions
print(json.dumps({d.name.lower().replace("_", "-"): d.version for d in distributions()}))
"""


@pytest.mark.parametrize("target", [*TARGETS, ONNX])
def test_an_image_holds_its_locked_packages_and_no_others(client, target, capsys):
    found = inside(client, target, DISTRIBUTIONS, capsys)
    assert found == pins(target, *[TORCH] * (target in WITH_TORCH))
    assert not NOT_IN[target] & set(found)


def test_the_image_without_torch_tags_with_exported_models(client, runs, dataset, tmp_path):
    exported, sound = tmp_path / "onnx", sorted((dataset / "test").glob("*.wav"))[0]
    assert main({}, ["export", str(runs / "subprocesses"), "--to", str(exported)]) == 0
    for folder in (exported, tmp_path, dataset):
        folder.chmod(0o755)
    done = client.containers.run(
        image(ONNX),
        ["tag", "/sounds/test/" + sound.name, "--models", "/models", "--format", "json"],
        volumes={str(exported): {"bind": "/models", "mode": "ro"}, str(dataset): {"bind": "/sounds", "mode": "ro"}},
        network_mode="none",
        read_only=True,
        remove=True,
    )
    (file,) = json.loads(done)
    (expected,) = Tagger(TorchNetworks(runs / "subprocesses", precision="float32")).tag([sound])
    assert len(file["tags"]) == 5
    classes = TorchNetworks(runs / "subprocesses").classes
    for tag in file["tags"]:
        assert tag["score"] == pytest.approx(expected.scores[classes.index(tag["label"])], abs=1e-4)


@pytest.mark.parametrize("target", TARGETS)
def test_the_bill_of_materials_lists_what_is_in_the_image(client, target, capsys):
    packages = inside(client, target, DISTRIBUTIONS, capsys)
    debian = inside(client, target, DEBIAN, capsys)
    listed = json.loads((ROOT / "build" / "sbom" / f"{target}.cdx.json").read_text())
    assert image(target).endswith(listed["metadata"]["component"]["version"])
    urls = {component["purl"].partition("?")[0] for component in listed["components"]}
    python = {url for url in urls if url.startswith("pkg:generic/python@3.11.")}
    assert len(python) == 1
    assert urls - python == {f"pkg:pypi/{name}@{quote(version)}" for name, version in packages.items()} | {
        f"pkg:deb/debian/{quote(name)}@{quote(version, safe=':')}" for name, version in debian.items()
    }


# Debian's record of its packages, without its own programs.
DEBIAN = """
import json
from email import message_from_string
from pathlib import Path
records = map(message_from_string, Path("/var/lib/dpkg/status").read_text().strip().split("\\n\\n"))
print(json.dumps({one["Package"]: one["Version"] for one in records if one["Status"].endswith(" installed")}))
"""


LEFTOVERS = """
import json, shutil
from pathlib import Path
programs = [name for name in ("cc", "gcc", "pip", "pip3", "git") if shutil.which(name)]
places = [name for name in ("/pip", "/wheels", "/build", "/etc/pip.conf") if Path(name).exists()]
print(json.dumps([programs + places, sorted(str(path) for path in Path("/app").rglob("*") if path.is_file())]))
"""


@pytest.mark.parametrize("target", TARGETS)
def test_an_image_holds_the_stages_modules_and_nothing_of_how_it_was_built(client, target, capsys):
    leftovers, modules = inside(client, target, LEFTOVERS, capsys)
    assert leftovers == []
    assert modules == sorted(f"/app/{file.removeprefix('src/')}" for file in files(target) if file.startswith("src/"))


SURROUNDINGS = """
import json, os, socket, sys
from pathlib import Path
def writable(folder):
    try:
        Path(folder, "probe").write_text("")
    except OSError:
        return False
    return True
folders = [folder for folder in ("/", "/tmp", "/app", "/venv", "/var/tmp", *sys.argv[1:]) if writable(folder)]
print(json.dumps([os.getuid(), folders, [name for _, name in socket.if_nameindex()]]))
"""


def arguments_of(dataset):
    """Return the arguments with which a stage that reads some data runs in a container."""
    return docker_runner(images=[], data=[dataset], work=Path("/none")).container_run_args


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("user", [1000, 4242])
def test_a_stage_writes_only_tmp_as_any_user_and_sees_no_network(client, target, user, dataset, capsys):
    arguments = arguments_of(dataset) | {"user": f"{user}:{user}"}
    assert inside(client, target, SURROUNDINGS, capsys, **arguments) == [user, ["/tmp"], ["lo"]]


def test_the_data_is_seen_in_its_place_and_cannot_be_changed(client, dataset, capsys):
    script = f"import os, sys\nsys.argv.append({str(dataset)!r})\nassert os.listdir(sys.argv[1])\n{SURROUNDINGS}"
    assert inside(client, "data", script, capsys, **arguments_of(dataset))[1] == ["/tmp"]


@pytest.mark.parametrize(("runtimes", "requests"), [(["runc"], 0), (["nvidia", "runc"], 1)])
def test_gpus_are_passed_on_where_the_engine_can(dataset, monkeypatch, runtimes, requests):
    monkeypatch.setattr(DockerClient, "info", lambda client: {"Runtimes": dict.fromkeys(runtimes)})
    assert len(arguments_of(dataset)["device_requests"]) == requests


def test_the_client_submits_what_is_submitted_from_here(client, tmp_path):
    options = ["--registry", "example.org/team", "--gpus", "0", "-o"]
    here = tmp_path / "here.yaml"
    subprocess.run([sys.executable, "pipeline.py", "compile", *options, here], check=True, cwd=ROOT)
    script = shlex.join(["python3", "/app/pipeline.py", "compile", *options, "/tmp/there.yaml"])
    there = client.containers.run(
        image("client"),
        ["-c", f"{script} >&2 && cat /tmp/there.yaml"],
        entrypoint="sh",
        network_mode="none",
        remove=True,
    )
    assert there.decode() == here.read_text()


def test_a_stage_killed_for_memory_fails_the_run_and_the_message_says_so(tmp_path, dataset):
    done = run("--data", dataset, "--out", tmp_path / "out", "--docker", "--memory", "30m", *TINY)
    assert done.returncode == 1
    assert "killed, because it needed more memory than the 30m of --memory" in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_missing_image_is_named_before_anything_starts(tmp_path, dataset, monkeypatch):
    monkeypatch.setenv("AUDIOTAGGING_TORCH", "other")
    done = run("--data", dataset, "--out", tmp_path / "out", "--docker")
    assert done.returncode == 2
    assert f"{image('training')} is not on this machine" in done.stderr
    assert list(tmp_path.iterdir()) == []


def containers_of(client, work):
    return client.containers.list(all=True, filters={"label": f"{LABEL}={work}"})


def test_a_killed_run_stops_its_containers_and_the_next_one_removes_them(client, tmp_path, dataset):
    member = ["--members", "demo-xresnet18ssa-focal"]
    options = ["--data", dataset, "--out", tmp_path / "out", "--docker", *member]
    endless = ["--set", "epochs=1000", "epoch_size=2", "batch_size=4", "size=32"]
    with subprocess.Popen(command(*options, *endless), stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert any(re.search(r"epoch \d+ of 1000", line) for line in process.stdout)
        process.kill()
    (container,) = containers_of(client, tmp_path / "out.work")
    assert container.wait(timeout=60)["StatusCode"] == 128 + signal.SIGTERM
    assert list((tmp_path / "out.work").rglob("*.checkpoint"))

    done = run(*options, *TINY)
    assert done.returncode == 0, done.stdout + done.stderr
    assert not containers_of(client, tmp_path / "out.work")


def test_an_interrupted_run_stops_its_containers_after_a_checkpoint(client, tmp_path, dataset):
    options = [
        "--members",
        "demo-xresnet18ssa-focal",
        "--set",
        "epochs=1000",
        "epoch_size=2",
        "batch_size=4",
        "size=32",
    ]
    arguments = command("--data", dataset, "--out", tmp_path / "out", "--docker", *options)
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert any(re.search(r"epoch \d+ of 1000", line) for line in process.stdout)
        process.send_signal(signal.SIGTERM)
    assert process.returncode == 128 + signal.SIGTERM
    assert not [
        container for container in client.containers.list(all=True) if image("training") in container.image.tags
    ]
    assert [path for path in (tmp_path / "out.work").rglob("*checkpoint*") if path.is_file()]
