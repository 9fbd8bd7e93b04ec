"""Schedules that are changed or deleted while their run is in progress: nothing of it is lost."""

import pytest

from commands.cluster import schedules

MAKE = ["schedule", "--cron", "0 0 3 * * 0", "--data"]


@pytest.fixture
def busy(server, call):
    """Make a schedule whose run is in progress; return its id and that of the run."""
    call(*MAKE, "demo")
    (schedule,) = server.schedules
    times = {"created_at": "2026-11-24T08:00:00Z", "finished_at": "1970-01-01T00:00:00Z"}
    experiment = server.schedules[schedule]["experiment_id"]
    server.runs["its-run"] = {"run_id": "its-run", "experiment_id": experiment, "recurring_run_id": schedule} | times
    server.story = [("RUNNING", [])]
    return schedule, "its-run"


def test_a_schedule_that_is_changed_is_paused_until_its_run_has_ended(server, call, busy):
    old, run = busy
    code, output, _ = call(*MAKE, "other")
    assert code == 0 and "(changed)" in output and f"after its run {run} has ended" in output
    assert server.schedules[old]["mode"] == "DISABLE" and len(server.schedules) == 2
    (new,) = [schedule for schedule in server.schedules if schedule != old]
    assert server.schedules[new]["mode"] == "ENABLE"
    assert call("schedule", "--list")[1].splitlines() == [
        "audiotagging: 0 0 3 * * 0, paused, replaced: deleted when its run has ended",
        "audiotagging: 0 0 3 * * 0, on",
    ]

    assert "(unchanged)" in call(*MAKE, "other")[1] and len(server.schedules) == 2  # still in progress
    server.story = [("SUCCEEDED", [])]
    call("schedule", "--pause", "--name", "audiotagging")
    assert list(server.schedules) == [new] and server.schedules[new]["mode"] == "DISABLE"


def test_any_later_call_deletes_what_was_replaced(server, call, busy):
    old, _ = busy
    call(*MAKE, "other")
    server.story = [("FAILED", [])]
    call(*MAKE, "demo", "--name", "another")
    assert old not in server.schedules and len(server.schedules) == 2


def test_going_back_to_what_was_replaced_makes_a_new_one(server, call, busy):
    old, _ = busy
    call(*MAKE, "other")
    assert "(changed)" in call(*MAKE, "demo")[1]
    assert server.schedules[old]["mode"] == "DISABLE"
    (on,) = [each for each in server.schedules.values() if each["mode"] == "ENABLE"]
    assert on["runtime_config"]["parameters"]["data"] == "/audio/demo"


def test_a_schedule_is_not_deleted_with_its_run_in_progress(server, call, busy):
    old, run = busy
    code, _, error = call("schedule", "--delete")
    assert code == 2 and error.count("\n") == 1 and run in error and "--delete --stop" in error
    assert (
        server.schedules[old]["mode"] == "DISABLE" and f"POST /apis/v2beta1/runs/{run}:terminate" not in server.requests
    )
    server.story = [("SUCCEEDED", [])]
    assert call("schedule", "--delete")[:2] == (0, "audiotagging deleted\n") and not server.schedules


def test_its_run_is_stopped_before_it_is_deleted_if_that_is_asked_for(server, call, busy, monkeypatch):
    monkeypatch.setattr(schedules, "POLL", 0)
    _, run = busy

    def terminate(handler):
        server.story = [("CANCELING", [])]
        return 200, {}

    def look(handler):
        assert server.schedules  # it is there as long as the run
        if server.requests.count(f"GET /apis/v2beta1/runs/{run}") == 3:
            server.story = [("CANCELED", [])]
        return 200, server.runs[run] | {"state": server.story[0][0]}

    server.broken = {rf"POST /apis/v2beta1/runs/{run}:terminate": terminate, rf"GET /apis/v2beta1/runs/{run}": look}
    assert call("schedule", "--delete", "--stop")[:2] == (0, "audiotagging deleted\n") and not server.schedules
    requests = [request for request in server.requests if "runs/" in request and "GET" not in request]
    assert [request.partition(" ")[0] + request.rpartition("/")[2] for request in requests[-4:]] == [
        "POSTschedule-1:disable",
        f"POST{run}:terminate",
        "POSTschedule-1:disable",
        "DELETEschedule-1",
    ]


def test_a_run_that_does_not_end_is_named(server, call, busy, monkeypatch):
    monkeypatch.setattr(schedules, "POLL", 0)
    monkeypatch.setattr(schedules, "STOP_SECONDS", 0)
    server.broken = {r"POST /apis/v2beta1/runs/its-run:terminate": (200, {})}
    code, _, error = call("schedule", "--delete", "--stop")
    assert code == 2 and "run its-run does not end" in error and len(server.schedules) == 1


def test_stop_goes_with_delete(server, call):
    code, _, error = call("schedule", "--pause", "--stop")
    assert code == 2 and "add --delete" in error and not server.requests


def test_what_the_server_says_of_the_cron_fields_is_printed(server, call):
    """Kubeflow's server says this of a field that is out of range."""
    message = {"error": "Invalid input error: cron 0 99 3 * * *: End of range (99) above maximum (59): 99", "code": 3}
    server.broken = {"POST /apis/v2beta1/recurringruns": (400, message)}
    code, _, error = call("schedule", "--cron", "0 99 3 * * *", "--data", "demo")
    assert code == 2 and error.count("\n") == 1 and "End of range (99) above maximum (59)" in error


@pytest.mark.parametrize("verb", ["--list", "--pause", "--resume", "--delete"])
def test_only_making_a_schedule_makes_anything(server, call, verb):
    code, output, error = call("schedule", verb)
    assert code == (0 if verb == "--list" else 2) and "no schedule" in output + error
    assert not any(request.startswith("POST") for request in server.requests)


@pytest.mark.parametrize(
    ("options", "expected"),
    [([], True), (["--always"], False), (["--champions", ""], False), (["--champions-pvc", ""], False)],
)
def test_a_schedule_trains_only_if_something_has_changed_unless_it_cannot_know_or_is_told_otherwise(
    server, call, options, expected
):
    assert call(*MAKE, "demo", *options)[0] == 0
    (schedule,) = server.schedules.values()
    assert schedule["runtime_config"]["parameters"]["if_changed"] is expected


def test_whoever_starts_a_run_gets_a_whole_one_unless_they_ask_for_less(server, call):
    for options, expected in (([], False), (["--if-changed"], True)):
        assert call("submit", "--data", "demo", *options)[0] == 0
        assert list(server.runs.values())[-1]["runtime_config"]["parameters"]["if_changed"] is expected
    code, _, error = call("submit", "--data", "demo", "--if-changed", "--champions", "")
    assert code == 2 and "--if-changed: the folder of the champion has what the last run was of" in error
