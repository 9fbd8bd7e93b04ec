"""The options of a cluster, without a cluster."""

import argparse
import re
from dataclasses import replace

import pytest

from audiotagging.base.errors import UserError
from commands.cluster.settings import (
    add_cluster_options,
    add_cluster_parameters,
    cluster_parameters,
    cluster_settings,
)
from components.cluster import Cluster

CLAIMS = {
    "/audio": "audiotagging-audio",
    "/checkpoints": "audiotagging-checkpoints",
    "/champions": "audiotagging-champions",
    "/tags": "audiotagging-tags",
}


def parser(**options):
    parser = argparse.ArgumentParser()
    add_cluster_options(parser)
    add_cluster_parameters(parser, **options)
    return parser


def parse(*options):
    return parser().parse_args(["--data", "demo", *options])


@pytest.fixture(autouse=True)
def no_registry(monkeypatch):
    monkeypatch.delenv("AUDIOTAGGING_REGISTRY", raising=False)


def test_without_options_the_settings_are_the_defaults():
    assert cluster_settings(parse()) == Cluster()


@pytest.mark.parametrize(
    ("options", "changes"),
    [
        (["--gpus", "2"], {"gpus": 2}),
        (["--gpus", "0"], {"gpus": 0, "torch": "cpu"}),
        (["--gpus", "0", "--torch", "cuda"], {"gpus": 0, "torch": "cuda"}),
        (["--torch", "cpu"], {"torch": "cpu"}),
        (["--gpu-label", "gpu=a100"], {"gpu_label": ("gpu", "a100")}),
        (["--gpu-label", "gpu=a=b"], {"gpu_label": ("gpu", "a=b")}),
        (["--gpu-label", "gpu="], {"gpu_label": ("gpu", "")}),  # a label may have no value
        (["--registry", "ghcr.io/team"], {"registry": "ghcr.io/team"}),
        (["--pvc", "sounds"], {"claims": CLAIMS | {"/audio": "sounds"}}),
        (["--checkpoints-pvc", "states"], {"claims": CLAIMS | {"/checkpoints": "states"}}),
        (["--champions-pvc", ""], {"claims": CLAIMS | {"/champions": ""}}),
        (["--tags-pvc", "out"], {"claims": CLAIMS | {"/tags": "out"}}),
        (["--small"], {"small": True}),
        (["--deadline", "1"], {"deadline": 1}),
        (["--queue", "nightly"], {"queue": "nightly"}),
        (["--secret", "store"], {"secret": "store"}),
        (["--notify", "https://chat.example.org/hook"], {"notify": "https://chat.example.org/hook"}),
        (["--notify-secret", "chat"], {"notify_secret": "chat"}),
    ],
)
def test_an_option_changes_its_setting_alone(options, changes):
    assert cluster_settings(parse(*options)) == replace(Cluster(), **changes)


def test_the_environment_names_the_registry_unless_an_option_does(monkeypatch):
    monkeypatch.setenv("AUDIOTAGGING_REGISTRY", "ghcr.io/team")
    assert cluster_settings(parse()).registry == "ghcr.io/team"
    assert cluster_settings(parse("--registry", "")).registry == ""


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--gpus", "-1"], "--gpus: expected a number of at least 0, found -1"),
        (["--deadline", "0"], "--deadline: expected at least 1 hour, found 0"),
        (["--registry", "http://host/team"], "--registry: expected HOST/PATH, .*found 'http://host/team'"),
        (["--registry", "host/my team"], "--registry: expected HOST/PATH, .*found 'host/my team'"),
    ],
)
def test_a_setting_out_of_range_is_refused_with_what_was_found(options, message):
    with pytest.raises(UserError, match=f"^{message}$"):
        cluster_settings(parse(*options))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--gpu-label", "gpu"], "argument --gpu-label: expected KEY=VALUE, .*found 'gpu'"),
        (["--gpu-label", "=gpu"], "argument --gpu-label: expected KEY=VALUE, .*found '=gpu'"),
        (["--torch", "rocm"], "argument --torch: invalid choice: 'rocm'"),
        (["--gpus", "two"], "argument --gpus: invalid int value: 'two'"),
        (["--deadline", "4d"], "argument --deadline: invalid int value: '4d'"),
        (["--notify", "https://chat.example.org/hook", "--notify-secret", "chat"], "--notify-secret: not allowed with"),
    ],
)
def test_an_option_that_cannot_be_read_is_named(capsys, options, message):
    with pytest.raises(SystemExit):
        parse(*options)
    assert re.search(message, capsys.readouterr().err)


def test_data_are_required_unless_a_schedule_has_them_already(capsys):
    with pytest.raises(SystemExit):
        parser().parse_args([])
    assert "--data" in capsys.readouterr().err
    assert parser(data_required=False).parse_args([]).data is None


def test_the_help_states_the_defaults_and_the_credentials(monkeypatch):
    monkeypatch.setenv("COLUMNS", "1000")
    text = " ".join(parser().format_help().split())
    for default in ("nvidia.com/gpu.present=true", *CLAIMS.values(), "(default: 96)"):
        assert default in text
    assert "variables AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, " in text and ", AZURE_TENANT_ID that" in text


@pytest.mark.parametrize(
    ("given", "seen"),
    [
        ("demo", "/audio/demo"),
        ("a/b.zip", "/audio/a/b.zip"),
        ("/elsewhere", "/elsewhere"),
        ("zenodo:3612637", "zenodo:3612637"),
        ("gs://bucket/folder", "gs://bucket/folder"),
    ],
)
def test_data_are_on_the_volume_unless_they_are_a_path_or_a_source(given, seen):
    assert cluster_parameters(parse("--data", given))["data"] == seen


@pytest.mark.parametrize(
    ("options", "folders"),
    [
        ([], ("/audio/downloads", "/checkpoints", "/champions")),
        (["--checkpoints-pvc", ""], ("/audio/downloads", "", "/champions")),
        (["--champions-pvc", ""], ("/audio/downloads", "/checkpoints", "")),
        (["--champions", "/champions/night"], ("/audio/downloads", "/checkpoints", "/champions/night")),
        (["--champions", ""], ("/audio/downloads", "/checkpoints", "")),
        # A volume of another name may hold the champions, without a claim of ours.
        (["--champions-pvc", "", "--champions", "/nfs"], ("/audio/downloads", "/checkpoints", "/nfs")),
        (["--downloads", "/audio/tmp"], ("/audio/tmp", "/checkpoints", "/champions")),
    ],
)
def test_folders_are_those_of_the_volumes_that_are_mounted(options, folders):
    values = cluster_parameters(parse(*options))
    assert (values["downloads"], values["checkpoints"], values["champions"]) == folders


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--champions", "out"], "--champions: expected a folder on a volume .* such as /champions, found out"),
        (["--downloads", "out"], "--downloads: expected a folder on a volume .*, found out"),
        (["--data", "hf://sounds"], "expected the URL of a folder in an object store, .*found 'hf://sounds'"),
        (["--data", "kaggle:sounds"], "--data kaggle:sounds: the images do not have Kaggle's program; .*"),
    ],
)
def test_what_the_stages_cannot_reach_is_refused(options, message):
    with pytest.raises(UserError, match=f"^{message}$"):
        cluster_parameters(parse(*options))


def test_test_clips_are_drawn_only_if_there_is_no_champion_and_the_message_says_how():
    assert cluster_parameters(parse("--test-share", "0.2", "--champions", ""))["test_share"] == 0.2
    with pytest.raises(UserError, match=r'^--test-share draws .*: .*, or promote nothing, with --champions ""$'):
        cluster_parameters(parse("--test-share", "0.2"))


def test_as_many_rows_are_accepted_as_argo_can_store():
    def rows(folds):
        options = ["--members", "demo-xresnet50-bce", "--folds", ",".join(map(str, range(folds)))]
        return cluster_parameters(parse(*options))["rows"]

    assert len(rows(75)) == 75
    with pytest.raises(UserError, match=r"expected at most 75 rows .*, found 76; submit fewer"):
        rows(76)


def test_an_experiment_of_mlflow_may_be_named():
    assert parse().mlflow_experiment is None
    assert parse("--mlflow-experiment", "tagging").mlflow_experiment == "tagging"
