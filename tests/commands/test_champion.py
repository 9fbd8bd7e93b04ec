import re

import pytest
from helpers.fabricated import PLAIN, fabricate_run, models_of, predictions_of, replace_weights

import pipeline
from audiotagging.artifacts.champions_folder import champion_folder
from audiotagging.champions.promotion import promote
from audiotagging.ensemble.ensembling import ensemble
from audiotagging.members import REFERENCE
from commands import main


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two runs with the same scores."""
    made = []
    for number in range(2):
        run = fabricate_run(tmp_path_factory.mktemp("run") / "run", members=REFERENCE[:2], pictures=False)
        for path in models_of(run):
            replace_weights(path, f"{number} {path.name}".encode())
        ensemble(predictions_of(run), spectrograms=run / "spectrograms", out=run / "averaged", **PLAIN)
        made.append(run)
    return made


@pytest.fixture
def champions(tmp_path, runs):
    """A champions folder with a champion and a candidate that is not worse."""
    for run in runs:
        inputs = {"models": models_of(run), "spectrograms": run / "spectrograms", "selection": run / "selection"}
        promote(run / "averaged", champions=tmp_path / "champions", policy="better", run="weekly", **inputs)
    return tmp_path / "champions"


@pytest.fixture
def call(champions, capsys):
    def call(*arguments):
        code = main(pipeline.PIPELINES, ["champion", *arguments, "--champions", str(champions)])
        return code, *capsys.readouterr()

    return call


def versions_of(champions):
    first = champion_folder(champions).name
    (second,) = {path.name for path in (champions / "versions").iterdir()} - {first}
    return first, second


def test_the_list_says_what_each_version_scored_and_what_it_is(call, champions):
    first, second = versions_of(champions)
    code, output, _ = call()
    header, *rows = output.splitlines()
    columns = {name: header.index(name) for name in ("version", "lwlrap", "clips", "difference", "verdict", "state")}
    assert code == 0 and call("list")[1] == output
    assert [row[columns["version"] :][:16] for row in rows] == [first, second]
    assert all(re.match(r"0\.\d{4}  0\.\d{4} to 0\.\d{4}  40 test", row[columns["lwlrap"] :]) for row in rows)
    assert rows[0].endswith("champion, best") and "first" in rows[0]
    assert rows[1].endswith("+0.0000     not worse, not promoted")


def test_a_version_is_accepted_rolled_back_and_pinned_by_its_first_digits(call, champions):
    first, second = versions_of(champions)
    assert call("accept", second[:5])[1] == f"{second} is the champion now. Its verdict is: not worse.\n"
    assert champion_folder(champions).name == second
    assert call("rollback")[1].startswith(f"{first} is the champion now")
    assert champion_folder(champions).name == first
    assert call("pin", second[:5])[0] == 0
    assert champion_folder(champions).name == second
    code, _, error = call("accept", first)
    assert code == 2 and "pinned" in error
    assert re.search(f"\n{second} .* pinned +champion, pinned\n$", call("list")[1])
    assert call("unpin")[0] == 0
    assert call("rollback", first)[0] == 0
    assert champion_folder(champions).name == first
    actions = ("accepted", "rolled back to", "pinned", "unpinned", "rolled back to")
    for line, action in zip(call()[1].splitlines()[3:], actions, strict=True):
        assert re.search(rf"\d\d:\d\d .*  {action}(  |$)", line)


def test_two_versions_are_compared(call, champions):
    code, output, _ = call("compare", *versions_of(champions))
    assert code == 0 and "On 40 test clips" in output
    assert "B - A is +0.0000, 95 % interval +0.0000 to +0.0000. The verdict on B: not worse." in output
    assert "The verdict on B: undecided" in call("compare", *versions_of(champions), "--margin", "0")[1]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["pin"], "champion pin: expected 1 of VERSION, found 0"),
        (["compare", "{first}"], "champion compare: expected 2 of VERSION, found 1"),
        (["list", "{first}"], "champion list: expected 0 of VERSION, found 1"),
        (["rollback", "{first}", "{first}"], "champion rollback: expected 0 or 1 of VERSION, found 2"),
        (["pin", "abc"], "expected the beginning of one version, at least 4 digits, found 'abc'"),
        (["pin", "zzzz"], "found 'zzzz', with which none of"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(call, champions, arguments, words):
    first, _ = versions_of(champions)
    code, _, error = call(*(argument.format(first=first) for argument in arguments))
    assert code == 2 and words in error and len(error.splitlines()) == 1


def test_an_empty_folder_has_no_champion_and_a_missing_one_is_an_error(tmp_path, capsys):
    assert main(pipeline.PIPELINES, ["champion", "--champions", str(tmp_path)]) == 0
    assert "There is no champion yet." in capsys.readouterr().out
    assert main(pipeline.PIPELINES, ["champion", "--champions", str(tmp_path / "x")]) == 2
    assert "expected a champions folder, found no folder" in capsys.readouterr().err
