"""What a host of code and those who cite a project read: the changelog, the citation, the workflow, the templates."""

import os
import re
from datetime import date
from pathlib import Path

import jsonschema
import pytest
import yaml

from commands import VERSION

ROOT = Path(__file__).parent.parent
GITHUB = ROOT / ".github"
CHANGELOG = (ROOT / "CHANGELOG.md").read_text()
HEADINGS = re.findall(r"^## (.*)$", CHANGELOG, re.MULTILINE)
RELEASES = [re.fullmatch(r"\[(\d+\.\d+\.\d+)\] - (\d{4}-\d\d-\d\d)", heading) for heading in HEADINGS[1:]]
KINDS = ["Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"]  # of Keep a Changelog

# The keys of the Citation File Format 1.2.0 that are used here, as its own schema describes them.
TEXT = {"type": "string", "minLength": 1}
URL = {"type": "string", "pattern": "^https?://.+"}
AUTHOR = {
    "anyOf": [
        {"type": "object", "properties": {"name": TEXT}, "required": ["name"], "additionalProperties": False},
        {
            "type": "object",
            "properties": {"family-names": TEXT, "given-names": TEXT, "alias": TEXT},
            "minProperties": 1,
            "additionalProperties": False,
        },
    ]
}
AUTHORS = {"type": "array", "minItems": 1, "uniqueItems": True, "items": AUTHOR}
REFERENCE = {
    "type": "object",
    "required": ["authors", "title", "type"],
    "additionalProperties": False,
    "properties": {
        "type": {"enum": ["software", "conference-paper"]},
        "title": TEXT,
        "authors": AUTHORS,
        "notes": TEXT,
        "repository-code": URL,
        "license": {"const": "MIT"},
        "collection-title": TEXT,
        "year": {"type": "integer"},
    },
}
CITATION = {
    "type": "object",
    "required": ["authors", "cff-version", "message", "title"],
    "additionalProperties": False,
    "properties": {
        "cff-version": {"const": "1.2.0"},
        "message": TEXT,
        "title": TEXT,
        "abstract": TEXT,
        "type": {"enum": ["software", "dataset"]},
        "authors": AUTHORS,
        "version": TEXT,
        "date-released": {"type": "string", "pattern": r"^\d{4}-\d\d-\d\d$"},
        "license": {"const": "MIT"},
        "keywords": {"type": "array", "minItems": 1, "uniqueItems": True, "items": TEXT},
        "references": {"type": "array", "minItems": 1, "uniqueItems": True, "items": REFERENCE},
    },
}


def test_the_version_is_that_of_the_newest_release():
    assert HEADINGS[0] == "[Unreleased]"
    assert RELEASES[0][1] == VERSION


def test_releases_are_in_order_the_newest_first():
    order = [(tuple(map(int, release[1].split("."))), date.fromisoformat(release[2])) for release in RELEASES]
    assert order == sorted(order, reverse=True)


def test_changes_are_of_the_kinds_that_the_format_has():
    assert set(re.findall(r"^### (.*)$", CHANGELOG, re.MULTILINE)) <= set(KINDS)


def test_the_citation_is_valid_and_of_the_newest_release():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    jsonschema.validate(citation, CITATION)
    assert (citation["version"], citation["date-released"]) == RELEASES[0].groups()
    assert "https://github.com/mnpinto/audiotagging2019" in [
        each.get("repository-code") for each in citation["references"]
    ]


def test_the_workflow_runs_what_must_pass_with_pinned_actions_and_no_rights():
    text = (GITHUB / "workflows" / "ci.yml").read_text()
    workflow = yaml.safe_load(text)
    steps = [step for job in workflow["jobs"].values() for step in job["steps"]]
    assert any(step.get("run", "").split()[-1:] == [".ci/run"] for step in steps)
    assert os.access(ROOT / ".ci" / "run", os.X_OK)
    assert all(re.fullmatch(r"[\w/-]+@[0-9a-f]{40}", step["uses"]) for step in steps if "uses" in step)
    assert workflow["permissions"] == {"contents": "read"} and "secrets." not in text


@pytest.mark.parametrize("path", sorted((GITHUB / "ISSUE_TEMPLATE").glob("*.yml")), ids=lambda path: path.stem)
def test_a_template_of_issues_is_a_form(path):
    form = yaml.safe_load(path.read_text())
    assert {"name", "description", "body"} <= form.keys()
    questions = [part for part in form["body"] if part["type"] != "markdown"]
    assert all(part["attributes"]["label"] for part in questions)
    assert len({part["id"] for part in questions}) == len(questions)
    assert any(part.get("validations", {}).get("required") for part in questions)
