"""What a run on this machine tells others when it has ended."""

import pytest
from helpers.fabricated import fabricate_event, fabricate_run, finish_run
from helpers.hook_server import receiver

import pipeline
from audiotagging.artifacts.champions_folder import Promotion
from commands import main, run
from commands.local.runner import StageError


def command(data, out, url):
    return ["run", "--data", str(data), "--out", str(out), "--notify", url]


@pytest.mark.parametrize("fails", [False, True])
def test_a_run_on_this_machine_tells_how_it_ended(capsys, tmp_path, data, monkeypatch, fails):
    out = tmp_path / "out"

    def run_stages(args, values, folders, *, out, work):
        if fails:
            raise StageError("train", "error", "no space", work / "log.txt")
        event = fabricate_event("undecided", when="2000-01-01T00:00:00+00:00")  # the clock went backwards
        finish_run(fabricate_run(out, clips=6), promotion=Promotion(decision=event["decision"], history=[event]))
        return True

    monkeypatch.setattr(run, "_run_stages", run_stages)
    with receiver(200) as server:
        code = main(pipeline.PIPELINES, command(data, out, server.url))
        output, error = capsys.readouterr()
        assert code == (2 if fails else 0)
        ((path, _, notice),) = server.posted
    assert path in server.url and notice["run"] == "out"
    assert notice["outcome"] == ("failed" if fails else "candidate")
    assert ("no space" if fails else "It is undecided.") in notice["text"]
    assert "secret" not in output + error


def test_a_run_without_news_says_so_and_leaves_the_results_as_they_are(capsys, tmp_path, data, monkeypatch):
    monkeypatch.setattr(run, "_run_stages", lambda *_, **__: False)
    with receiver(200) as server:
        assert main(pipeline.PIPELINES, command(data, tmp_path / "out", server.url)) == 0
        ((_, _, notice),) = server.posted
    assert notice["outcome"] == "nothing new" and "nothing new since the last run" in notice["text"]
    assert f"{tmp_path / 'out'} stays as it is" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_candidate_of_an_earlier_run_is_not_told_again(tmp_path):
    event, later = (fabricate_event("undecided", run=name) for name in ("run-1", "run-2"))
    finish_run(
        fabricate_run(tmp_path, clips=6), promotion=Promotion(decision=event["decision"], history=[event, later])
    )
    assert run._candidate(tmp_path, [event]) == later
    assert run._candidate(tmp_path, [event, later]) is None


def test_the_report_does_not_say_where_a_run_tells_how_it_ended(tmp_path, data, monkeypatch):
    seen = []
    monkeypatch.setattr(run, "_run_stages", lambda args, values, *_, **__: seen.append(values["command"]) or 1 / 0)
    main(pipeline.PIPELINES, command(data, tmp_path / "out", "https://example.org/hooks/a-secret"))
    assert seen[0].endswith("--notify [hidden]")
