"""README, CONTRIBUTING and docs name only what there is, and the tree has every module."""

import argparse
import re
import subprocess
from pathlib import Path

import pytest

from commands import COMMANDS, OF_PIPELINES, TAGGING, module_of
from docs.pictures import PIPELINES, draw_pipeline
from docs.rooms import draw_rooms

ROOT = Path(__file__).parent.parent
TEXTS = {
    path.relative_to(ROOT).as_posix(): path.read_text()
    for path in (*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / ".github").glob("*.md"))
}
TREE = re.search(r"## Where things are\n.*?```\n(.*?)```", TEXTS["CONTRIBUTING.md"], re.DOTALL)[1]
CODE = [
    path
    for folder in ("commands", "components", "src/audiotagging")
    for path in (ROOT / folder).rglob("*.*")
    if path.suffix != ".pyc" and path.name != "__init__.py"
]


def test_the_tree_has_every_module():
    stages_and_commands = {path.stem for path in CODE if path.parent.name in ("commands", "components")}
    assert stages_and_commands <= set(re.findall(r"\w+", TREE))
    assert {path.name for path in CODE if "src" in path.parts} <= set(re.findall(r"\w+\.[\w.]+", TREE))
    assert set(COMMANDS) <= set(re.findall(r"[\w-]+", TREE))


def test_every_module_has_a_test_of_its_name_or_the_table_says_where():
    rows = re.findall(
        r"^\| (`.*?) \| (.*) \|$", TEXTS["CONTRIBUTING.md"].partition("### Where the tests")[2], re.MULTILINE
    )
    elsewhere = {name for names, _ in rows for name in re.findall("`(.*?)`", names)}
    assert all((ROOT / "tests" / file).is_file() for _, files in rows for file in re.findall("`(.*?)`", files))
    named = {path.stem.removeprefix("test_") for path in (ROOT / "tests").rglob("test_*.py")}
    bases = (ROOT, ROOT / "src" / "audiotagging")
    modules = [path for path in CODE if path.suffix == ".py" and path.name != "__main__.py"]
    names = {
        path.relative_to(bases[path.is_relative_to(bases[1])]).with_suffix("").as_posix(): path for path in modules
    }
    assert elsewhere == {name for name, path in names.items() if path.stem not in named}


def test_named_mutants_are_of_functions_that_there_are():
    rows = re.findall(r"^\| `(\w+)\.(\w+)` \|", (ROOT / "tests" / "mutants.md").read_text(), re.MULTILINE)
    code = {path: path.read_text() for path in CODE if path.suffix == ".py"}
    for place, function in rows:
        texts = [
            text
            for path, text in code.items()
            if path.stem == place or re.search(rf"^class {place}\b", text, re.MULTILINE)
        ]
        assert any(re.search(rf"\bdef {function}\(", text) for text in texts), f"{place}.{function}"
    assert len(rows) > 20


@pytest.mark.parametrize("name", TEXTS)
def test_named_python_files_exist(name):
    others = {path.name for folder in ("tests", "docs") for path in (ROOT / folder).rglob("*.py")} | {"pipeline.py"}
    named = set(re.findall(r"\w+\.py\b", TEXTS[name].replace("__init__.py", "").replace("NAME.py", "")))
    assert named <= {path.name for path in CODE} | others


@pytest.mark.parametrize("name", TEXTS)
def test_named_make_targets_exist(name):
    rules = re.findall(r"^([a-z%-][a-z% -]*):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    targets = {target for rule in rules for target in rule.split()}
    assert set(re.findall(r"(?:^|`)make ([a-z-]+)", TEXTS[name], re.MULTILINE)) <= targets


@pytest.mark.parametrize("name", TEXTS)
def test_named_options_exist(name):
    parser = argparse.ArgumentParser(conflict_handler="resolve")
    for command in COMMANDS:
        module_of(command).add_arguments(parser)
    for command in OF_PIPELINES:
        module_of(command, TAGGING).add_arguments(parser)
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", TEXTS[name]))
    assert named <= set(re.findall(r"--[a-z][a-z-]*", parser.format_help()))


@pytest.mark.parametrize("data", ["zenodo:3612637", "kaggle:freesound-audio-tagging-2019", "s3://bucket/data"])
def test_make_run_takes_every_source_of_data(data):
    command = ["make", "--dry-run", "run", f"DATA={data}"]
    printed = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True).stdout
    assert f"--data {data} --out out/" in printed


@pytest.mark.parametrize("name", PIPELINES)
def test_the_picture_of_a_pipeline_is_that_of_the_pipeline(name):
    graph, loop = PIPELINES[name]
    assert (ROOT / "docs" / name).read_text() == draw_pipeline(graph, loop=loop), "run `make pictures` to draw it again"


def test_the_picture_of_the_rooms_is_that_of_the_imports():
    assert (ROOT / "docs" / "rooms.svg").read_text() == draw_rooms(), "run `make pictures` to draw it again"


def test_the_index_lists_every_page():
    pages = {path.name for path in (ROOT / "docs").glob("*.md")} - {"index.md"}
    assert pages <= set(re.findall(r"\]\(([\w-]+\.md)\)", TEXTS["docs/index.md"]))


@pytest.mark.parametrize("name", TEXTS)
def test_linked_files_exist(name):
    linked = re.findall(r"\]\((?!https?:)([^)#]+)\)", TEXTS[name])
    assert [link for link in linked if not ((ROOT / name).parent / link).is_file()] == []
