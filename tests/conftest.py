import argparse
import gc
import os
import signal
from datetime import timedelta
from functools import partial

import numpy as np
import pytest
import soundfile
import yaml
from helpers.background import running
from helpers.data_folder import CLASSES, RATE, write_table
from helpers.kubeflow_server import KubeflowServer
from helpers.s3_server import S3Server
from kfp.dsl.pipeline_task import PipelineTask
from kubernetes.config import kube_config
from matplotlib.backends.backend_svg import FigureCanvasSVG

import pipeline
from audiotagging.base import errors
from commands import budget, kfp_internals, main
from commands.cluster import client, events, following

# In a script, processes in the background ignore SIGINT, and so would everything that the tests start and interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)
os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # before a test imports onnxruntime itself


gc.disable()  # until everything is imported and collected, all of which stays


def pytest_collection_finish():
    gc.freeze()
    gc.enable()


def pytest_collection_modifyitems(items):
    """Start with the run of the whole pipeline, so that no process works on it alone in the end.

    Next come the kills of commands: they are forks of the process, and torch trains in no fork of what has trained.
    """
    order = {"test_pipeline.py": 0, "test_kills_of_commands.py": 1}
    items.sort(key=lambda item: order.get(item.path.name, 2))


@pytest.fixture(autouse=True, scope="session")
def quick_compiler():
    """Let kfp compile pipelines more quickly.

    Skip a check at every setting of a task, which reads the sources of pytest's whole stack for a message, and write
    YAML by libyaml.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PipelineTask, "_ensure_container_spec_exists", lambda task: None)
        for name in ("dump", "dump_all"):
            patch.setattr(yaml, name, partial(getattr(yaml, name), Dumper=yaml.CDumper))
        yield


@pytest.fixture(autouse=True)
def no_hidden_secrets(monkeypatch):
    """Hide no secrets of earlier tests, which may be words of messages."""
    monkeypatch.setattr(errors, "_hidden", set())


@pytest.fixture(autouse=True)
def known_speed(monkeypatch):
    """Measure no speed of this machine before a run without members: that takes seconds in a process of its own."""
    monkeypatch.setattr(budget, "_measure", lambda: 100.0)


@pytest.fixture(scope="module")
def blank_plots():
    """Draw nothing in the plots of reports, for a module of tests that look at anything else."""

    def print_svg(canvas, file, metadata):
        file.write('<svg viewBox="0 0 1 1"></svg>')

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FigureCanvasSVG, "print_svg", print_svg)
        yield


@pytest.fixture(scope="module")
def narrow_networks():
    """Make all networks narrow in this process, for a module of tests to which their size makes no difference."""
    from helpers.narrow_networks import NARROW  # here, because most tests need no torch

    from audiotagging.training.networks import NETWORKS

    with pytest.MonkeyPatch.context() as patch:
        for name, network in NARROW.items():
            patch.setitem(NETWORKS, name, network)
        yield


@pytest.fixture
def data(tmp_path):
    """A small valid data folder: 12 curated clips of 3 classes, 4 noisy and 3 test clips of a tenth of a second."""
    folder = tmp_path / "data"
    rng = np.random.default_rng(1)
    curated = [(f"c{i:02}.wav", CLASSES[i % 3] if i % 4 else ",".join(CLASSES[:2])) for i in range(12)]
    noisy = [(f"n{i}.wav", CLASSES[i % 3]) for i in range(4)]
    truth = [("t0.wav", "Bark", "Public"), ("t1.wav", "Bark,Meow", "Private"), ("t2.wav", "Tap_running", "Private")]
    for part, rows in {"train_curated": curated, "train_noisy": noisy, "test": truth}.items():
        (folder / part).mkdir(parents=True)
        for name, *_ in rows:
            soundfile.write(folder / part / name, rng.uniform(-0.5, 0.5, RATE // 10), RATE, subtype="PCM_16")
    write_table(folder / "train_curated.csv", ("fname", "labels"), *curated)
    write_table(folder / "train_noisy.csv", ("fname", "labels"), *noisy)
    write_table(folder / "sample_submission.csv", ("fname", *CLASSES), *[(row[0], 0, 0, 0) for row in truth])
    write_table(folder / "test_post_competition.csv", ("fname", "labels", "usage"), *truth)
    return folder


@pytest.fixture
def sounds(tmp_path):
    """A function that writes different short sounds to the given paths below a data folder, and returns the folder."""
    folder = tmp_path / "sounds"
    folder.mkdir()
    rng = np.random.default_rng(1)

    def write(*names, seconds=0.05):
        for name in names:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(folder / name, rng.uniform(-0.5, 0.5, round(seconds * RATE)), RATE, subtype="PCM_16")
        return folder

    return write


@pytest.fixture(scope="session")
def s3_server():
    server = S3Server()
    yield server
    server.close()


@pytest.fixture
def s3(s3_server, monkeypatch):
    """An S3 server with an empty bucket called "bucket", which the environment names."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_server.url)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    s3_server.reset()
    return s3_server


@pytest.fixture
def server(monkeypatch, tmp_path):
    monkeypatch.setattr(following, "POLL", 0.01)
    monkeypatch.setattr(following, "RETRY_AFTER", 0.01)
    monkeypatch.setattr(events, "PATIENCE", timedelta(days=9999))  # what was recorded is old
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(kube_config, "KUBE_CONFIG_DEFAULT_LOCATION", str(tmp_path / "kubeconfig"))
    monkeypatch.setattr(kfp_internals.kfp.Client, "_LOCAL_KFP_CONTEXT", str(tmp_path / "context.json"))
    with running(KubeflowServer()) as server:
        yield server


@pytest.fixture(name="client")
def connected(server):
    """A client of the server."""
    options = argparse.ArgumentParser()
    client.add_connection(options)
    with client.connection(options.parse_args(["--host", server.url])) as connected:
        yield connected


@pytest.fixture
def call(server, capsys):
    """Return a function that runs a command and returns its exit code, its output and its error output."""

    def run(*arguments, host=None):
        try:
            code = main(pipeline.PIPELINES, [*arguments, "--host", host or server.url])
        except SystemExit as exit:
            code = exit.code
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run
