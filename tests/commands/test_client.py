"""`submit` and `schedule` against a server that answers as Kubeflow Pipelines does."""

import argparse
import shlex
import socket

import pytest

from commands import kfp_internals, main
from commands.cluster import client, schedules


def test_submit_makes_what_is_missing_and_uses_what_is_there(server, call):
    code, output, _ = call("submit", "--data", "demo")
    assert code == 0 and f"{server.url}/#/runs/details/{next(iter(server.runs))}\n" in output
    assert call("submit", "--data", "demo")[0] == 0
    assert len(server.runs) == 2
    assert [len(kept) for kept in (server.pipelines, server.versions, server.experiments)] == [1, 1, 1]

    assert call("submit", "--data", "demo", "--gpus", "0")[0] == 0  # another content, another version
    assert [len(kept) for kept in (server.pipelines, server.versions, server.experiments)] == [1, 2, 1]
    versions = {run["pipeline_version_reference"]["pipeline_version_id"] for run in server.runs.values()}
    assert versions == {"version-0", "version-1"}


@pytest.mark.parametrize(
    ("given", "seen"),
    [("demo", "/audio/demo"), ("/elsewhere", "/elsewhere"), ("zenodo:3612637", "zenodo:3612637"), ("s3://b/d",) * 2],
)
def test_parameters_are_those_of_the_command_line_with_paths_as_the_stages_see_them(server, call, given, seen):
    options = ["--members", "demo-xresnet50-bce", "--folds", "-1,2", "--seed", "7", "--mean", "rank"]
    options += ["--warm-start", "0.5", "--keep-audio", "--verify", "5", "--set", "epochs=3"]
    assert call("submit", "--data", given, *options)[0] == 0
    (run,) = server.runs.values()
    values = run["runtime_config"]["parameters"]
    rows, command = values.pop("rows"), values.pop("command")
    assert command.startswith(shlex.join(["audiotagging", "submit", "--data", given, *options]))
    assert [(row["id"], row["fold"], row["epochs"]) for row in rows] == [
        ("demo-xresnet50-bce", -1, 3),
        ("demo-xresnet50-bce", 2, 3),
    ]
    assert values == {
        "data": seen,
        "downloads": "/audio/downloads",
        "seed": 7,
        "noisy": "agreement",
        "corrections": [],
        "reading": {},
        "max_rejected": 0.01,
        "test_share": 0.0,
        "keep_audio": True,
        "verify": 5,
        "mean": "rank",
        "weights": "equal",
        "checkpoints": "/checkpoints",
        "champions": "/champions",
        "promotion": "not-worse",
        "margin": 0.01,
        "warm_start": 0.5,
        "init": "",
        "if_changed": False,
    }


def test_the_command_line_of_a_run_is_recorded_without_secrets(server, call):
    assert call("submit", "--data", "demo", "--name", "night of token=4f0c1a and more")[0] == 0
    (run,) = server.runs.values()
    command = run["runtime_config"]["parameters"]["command"]
    assert command.startswith("audiotagging submit --data demo --name 'night of token=[hidden] and more'")


@pytest.mark.parametrize(
    ("given", "seen"),
    [("models", "/audio/models"), ("/champions", "/champions"), ("s3://b/m.pth", "s3://b/m.pth")],
)
def test_weights_to_start_with_are_on_the_volume_of_the_data_or_in_a_store(server, call, given, seen):
    assert call("submit", "--data", "demo", "--init", given, "--set", "freeze_epochs=2")[0] == 0
    (run,) = server.runs.values()
    values = run["runtime_config"]["parameters"]
    assert values["init"] == seen and {row["freeze_epochs"] for row in values["rows"]} == {2}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--champions", "out/champions"], "--champions: expected a folder on a volume of the cluster"),
        (["--downloads", "data"], "--downloads: expected a folder on a volume of the cluster"),
        (["--registry", "https://ghcr.io/team"], "--registry: expected HOST/PATH"),
        (["--data", "hf://datasets/sounds"], "found 'hf://datasets/sounds'"),
        (["--data", "kaggle:freesound-audio-tagging-2019"], "the images do not have Kaggle's program"),
    ],
)
def test_places_that_the_cluster_does_not_know_are_refused(server, call, options, message):
    code, _, error = call("submit", "--data", "demo", *options)
    assert code == 2 and message in error and not server.requests


def test_more_rows_than_argo_can_keep_are_refused_with_the_number(server, call):
    folds = ",".join(map(str, range(14)))
    assert call("submit", "--data", "demo", "--folds", folds[: folds.index(",12")])[0] == 0  # 72 rows
    code, _, error = call("submit", "--data", "demo", "--folds", folds)
    assert code == 2 and "expected at most 75 rows (members times folds)" in error and len(server.runs) == 1


def test_without_volumes_there_are_no_checkpoints_and_no_champion(server, call):
    assert call("submit", "--data", "demo", "--checkpoints-pvc", "", "--champions-pvc", "")[0] == 0
    (run,) = server.runs.values()
    values = run["runtime_config"]["parameters"]
    assert (values["checkpoints"], values["champions"]) == ("", "")


def test_two_that_submit_at_once_use_one_version_in_one_experiment(server, call):
    seen = []

    def other_was_first(handler):
        """Another client makes the same between our question and our attempt."""
        path = handler.path.partition("?")[0]
        if path not in seen:
            seen.append(path)
            handler.route(path, client_query(handler))
        return 200, None

    def client_query(handler):
        from urllib.parse import parse_qs, urlsplit

        return parse_qs(urlsplit(handler.path).query)

    server.broken = {r"POST /apis/v2beta1/(experiments|pipelines(/upload_version)?)": other_was_first}
    assert call("submit", "--data", "demo")[0] == 0
    kept = (server.pipelines, server.versions, server.experiments, server.runs)
    assert len(seen) == 3 and [len(each) for each in kept] == [1, 1, 1, 1]


def test_a_reader_of_the_output_that_is_gone_is_not_taken_for_the_server(server):
    parser = argparse.ArgumentParser()
    client.add_connection(parser)
    with pytest.raises(BrokenPipeError), client.connection(parser.parse_args(["--host", server.url])):
        raise BrokenPipeError


def test_slow_answers_are_waited_for(server, call):
    server.delay = 0.2
    assert call("submit", "--data", "demo")[0] == 0


def test_an_answer_that_never_comes_ends_in_one_line(server, call, monkeypatch):
    monkeypatch.setattr(kfp_internals, "TIMEOUT", 1)
    server.delay = 60
    code, _, error = call("submit", "--data", "demo")
    assert code == 2 and error.count("\n") == 1 and "no answer" in error and server.url in error


def test_a_host_that_cannot_be_reached_ends_in_one_line(call):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    code, _, error = call("submit", "--data", "demo", host=f"http://127.0.0.1:{port}")
    assert code == 2 and error.count("\n") == 1 and "no answer" in error and "refused" in error
    code, _, error = call("submit", "--data", "demo", host="http://kubeflow.invalid")
    assert code == 2 and error.count("\n") == 1 and "no answer" in error


def test_without_a_host_only_one_line_says_that_there_is_no_server(capsys, monkeypatch):
    def refuse(*arguments):
        print("Failed to load kube config.")  # as kfp does
        raise ConnectionRefusedError("refused")

    monkeypatch.setattr("commands.cluster.client.Client.__init__", lambda self, **options: refuse())
    assert main(None, ["runs"]) == 2
    output, error = capsys.readouterr()
    assert output == "" and error.count("\n") == 1 and "elsewhere, use --host" in error


@pytest.mark.parametrize(
    ("health", "options", "message"),
    [
        ({"tag_name": "2.5.0"}, [], "expected Kubeflow Pipelines 2.17 or newer, found 2.5.0"),
        ({"multi_user": True}, [], "this Kubeflow has users; name your namespace"),
        ({}, ["--namespace", "mine"], "no namespace 'mine'"),
    ],
)
def test_a_server_that_does_not_fit_is_named_in_one_line(server, call, health, options, message):
    server.health |= health
    code, _, error = call("submit", "--data", "demo", *options)
    assert code == 2 and error.count("\n") == 1 and message in error and not server.runs


@pytest.mark.parametrize("tag", ["2.17.0", "2.17.3", "3.0.0", "unknown", ""])
def test_servers_that_fit_are_used(server, call, tag):
    server.health["tag_name"] = tag
    assert call("submit", "--data", "demo")[0] == 0


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        ({r"GET /apis/v2beta1/healthz": (404, "404 page not found")}, "found a server without its API"),
        ({r"GET /apis/v2beta1/healthz": (200, "<html>Log in</html>")}, "perhaps a login page"),
        (
            {r"GET /apis/v2beta1/healthz": (401, "Jwt is missing")},
            "401 Unauthorized: Jwt is missing; use --token-file",
        ),
        (
            {r"GET /apis/v2beta1/pipelines": (403, {"code": 7, "message": "User 'x' is not\n authorized"})},
            "User 'x' is not authorized; use --token-file or the variable AUDIOTAGGING_COOKIES",
        ),
        ({r"POST /apis/v2beta1/runs": (500, {"error": "Internal", "message": "x" * 1000})}, "500 Internal"),
    ],
)
def test_what_the_server_refuses_is_said_in_one_line(server, call, broken, message):
    server.broken = broken
    code, _, error = call("submit", "--data", "demo")
    assert code == 2 and error.count("\n") == 1 and message in error and len(error) < 500


def test_who_asks_is_told_by_token_cookie_or_service_account(server, call, tmp_path, monkeypatch):
    token = tmp_path / "token"
    token.write_text("secret\n")
    assert call("submit", "--data", "demo", "--token-file", str(token))[0] == 0
    assert server.headers["authorization"] == "Bearer secret"
    monkeypatch.setenv("AUDIOTAGGING_COOKIES", "session=1")
    assert call("submit", "--data", "demo")[0] == 0
    assert server.headers["Cookie"] == "session=1" and "authorization" not in server.headers
    monkeypatch.delenv("AUDIOTAGGING_COOKIES")
    monkeypatch.setattr(client, "TOKEN_FILE", str(token))
    assert call("submit", "--data", "demo")[0] == 0
    assert server.headers["authorization"] == "Bearer secret"
    code, _, error = call("submit", "--data", "demo", "--token-file", str(tmp_path / "absent"))
    assert code == 2 and error.count("\n") == 1 and "absent" in error


@pytest.mark.parametrize("token", ["first-part\nsecond-part", "first-part second-part", "", "first-pärt"])
def test_a_token_that_cannot_be_sent_is_refused_and_not_quoted(server, call, tmp_path, monkeypatch, token):
    (tmp_path / "token").write_text(token, encoding="utf-8")
    code, _, error = call("submit", "--data", "demo", "--token-file", str(tmp_path / "token"))
    assert code == 2 and error.count("\n") == 1 and "expected a bearer token, one line" in error
    monkeypatch.setenv("AUDIOTAGGING_COOKIES", "session=first-part\nx=second-part")
    code, _, more = call("submit", "--data", "demo")
    assert code == 2 and more.count("\n") == 1 and "AUDIOTAGGING_COOKIES: expected cookies in one line" in more
    assert not any(part in error + more for part in ("first-p", "second-part")) and not server.requests


def test_a_token_file_that_is_missing_is_not_blamed_on_the_server(server, call, tmp_path):
    code, _, error = call("runs", "--token-file", str(tmp_path / "token"))
    assert (code, error) == (2, f"error: {tmp_path / 'token'}: No such file or directory\n")


def test_a_token_that_the_server_repeats_is_not_shown(server, call, tmp_path):
    (tmp_path / "token").write_text("eyJhbGciOi.payload.sig\n")
    server.broken = {r"GET /apis/v2beta1/pipelines": (401, {"message": "cannot parse eyJhbGciOi.payload.sig of user"})}
    code, _, error = call("submit", "--data", "demo", "--token-file", str(tmp_path / "token"))
    assert code == 2 and "cannot parse [hidden] of user" in error


def test_users_have_namespaces(server, call):
    server.health["multi_user"] = True
    assert call("submit", "--data", "demo", "--namespace", "mine")[0] == 0
    assert server.pipelines["pipeline-0"]["namespace"] == "mine"
    assert server.experiments["experiment-0"]["namespace"] == "mine"


CRON = ["--cron", "0 0 3 * * 0"]


@pytest.mark.parametrize(
    ("options", "trigger", "text"),
    [
        (CRON, {"cron_schedule": {"cron": "0 0 3 * * 0"}}, "0 0 3 * * 0"),
        (["--every", "7d"], {"periodic_schedule": {"interval_second": "604800"}}, "every 604800 s"),
    ],
)
def test_a_schedule_runs_one_at_a_time_and_catches_nothing_up(server, call, options, trigger, text):
    code, output, _ = call("schedule", *options, "--data", "demo")
    assert code == 0 and text in output and "made" in output
    (made,) = server.schedules.values()
    assert made["trigger"] == trigger and made["display_name"] == "audiotagging"
    assert made["max_concurrency"] in (1, "1") and made["no_catchup"] is True and made["mode"] == "ENABLE"
    assert made["runtime_config"]["parameters"]["data"] == "/audio/demo"


def test_a_schedule_is_made_again_safely(server, call):
    call("schedule", *CRON, "--data", "demo")
    (first,) = server.schedules
    code, output, _ = call("schedule", *CRON, "--data", "demo")
    assert code == 0 and "unchanged" in output and list(server.schedules) == [first]

    for change in (["--data", "other"], ["--data", "demo", "--gpus", "0"], ["--data", "demo", "--every", "1d"]):
        before = set(server.schedules)
        options = [] if "--every" in change else CRON
        code, output, _ = call("schedule", *options, *change)
        assert code == 0 and "changed" in output and len(server.schedules) == 1 and not before & set(server.schedules)


def test_one_that_was_left_over_is_removed_and_others_are_let_alone(server, call):
    call("schedule", *CRON, "--data", "demo")
    call("schedule", *CRON, "--data", "demo", "--name", "other")
    first = next(iter(server.schedules))
    server.schedules["left-over"] = server.schedules[first] | {"recurring_run_id": "left-over"}
    call("schedule", *CRON, "--data", "demo")
    assert sorted(each["display_name"] for each in server.schedules.values()) == ["audiotagging", "other"]


def test_a_schedule_is_paused_resumed_listed_and_deleted(server, call, monkeypatch):
    monkeypatch.setattr(schedules, "PAGE", 1)
    call("schedule", *CRON, "--data", "demo")
    call("schedule", "--every", "90m", "--data", "demo", "--name", "often")
    assert call("schedule", "--pause")[1] == "audiotagging paused\n"
    assert call("schedule", "--list")[1].splitlines() == [
        "audiotagging: 0 0 3 * * 0, paused",
        "often: every 5400 s, on",
    ]
    assert "unchanged" in call("schedule", *CRON, "--data", "demo")[1]
    call("schedule", *CRON, "--data", "other")
    assert "audiotagging: 0 0 3 * * 0, paused" in call("schedule", "--list")[1]
    assert call("schedule", "--resume")[0] == 0
    assert "audiotagging: 0 0 3 * * 0, on" in call("schedule", "--list")[1]
    assert call("schedule", "--delete")[0] == 0
    assert call("schedule", "--list")[1].splitlines() == ["often: every 5400 s, on"]
    code, _, error = call("schedule", "--delete")
    assert code == 2 and "no schedule is called 'audiotagging'" in error


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--cron", "0 3 * * 0"], '"0 0 3 * * 0"'),
        (["--cron", "* * * *"], "expected six fields, second minute hour"),
        (["--every", "weekly"], "expected an interval such as 30m"),
        (["--every", "0d"], "expected an interval such as 30m"),
        (CRON[:2], "a schedule needs --data"),
        ([*CRON, "--pause"], "not allowed with"),
        ([], "one of the arguments --cron --every --pause --resume --delete --list is required"),
    ],
)
def test_wrong_schedules_say_what_was_expected(server, call, options, message):
    code, _, error = call("schedule", *options)
    assert code == 2 and message in error and not server.requests


def test_runs_and_schedules_name_the_experiment_of_mlflow(server, call, caplog):
    wanted = {"mlflow": {"experiment_name": "tagging"}}
    assert call("submit", "--data", "demo", "--mlflow-experiment", "tagging")[0] == 0
    (run,) = server.runs.values()
    assert run["plugins_input"] == wanted
    assert caplog.messages[-1] == "this server has no MLflow plugin, so the run is not sent to MLflow"

    assert call("schedule", *CRON, "--data", "demo")[0] == 0
    assert "(changed)" in call("schedule", *CRON, "--data", "demo", "--mlflow-experiment", "tagging")[1]
    assert "(unchanged)" in call("schedule", *CRON, "--data", "demo", "--mlflow-experiment", "tagging")[1]
    assert [schedule.get("plugins_input") for schedule in server.schedules.values()] == [wanted]


@pytest.mark.parametrize(
    ("output", "messages"),
    [
        ({"state": "PLUGIN_SUCCEEDED"}, []),
        (
            {"state": "PLUGIN_FAILED", "state_message": "connection refused"},
            ["the run is not sent to MLflow: connection refused"],
        ),
    ],
)
def test_it_is_said_when_mlflow_does_not_get_the_run(server, call, caplog, output, messages):
    server.broken = {
        r"POST /apis/v2beta1/runs": (
            200,
            {"run_id": "run", "created_at": "2026-11-24T08:00:00Z", "plugins_output": {"mlflow": output}},
        )
    }
    assert call("submit", "--data", "demo", "--mlflow-experiment", "tagging")[0] == 0
    assert caplog.messages[1:] == messages  # the first one is that there is no kubeconfig


@pytest.mark.parametrize(
    ("limit", "most", "message"),
    [("MOST_BYTES", 2**20, "it sent more than 1 MiB"), ("MOST_SECONDS", -1, "it sent something for more than")],
)
def test_an_answer_without_end_is_left(server, call, monkeypatch, limit, most, message):
    monkeypatch.setattr(kfp_internals, limit, most)
    server.broken = {".*experiments": (200, " " * 2**21)}
    code, _, error = call("runs")
    if limit == "MOST_BYTES":
        assert server.requests[-1].endswith("experiments")  # the others are small
    assert code == 2 and message in error.splitlines()[-1]  # after what the server says of a client that leaves
