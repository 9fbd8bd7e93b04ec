"""The bill of materials of an image: valid CycloneDX, in which every package has its URL."""

import json

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from components.sbom import bill

IMAGE = "example.org/team/audiotagging-data:0123456789abcdef"
PYTHON = {"type": "generic", "name": "python", "version": "3.11.16", "licence": "PSF-2.0", "architecture": None}
# The URLs are written as https://github.com/package-url/purl-spec says.
PACKAGES = {
    "pkg:generic/python@3.11.16": PYTHON,
    "pkg:pypi/jinja2@3.1.6": {**PYTHON, "type": "pypi", "name": "Jinja2", "version": "3.1.6", "licence": None},
    "pkg:pypi/torch@2.13.0%2Bcpu": {**PYTHON, "type": "pypi", "name": "torch", "version": "2.13.0+cpu"},
    "pkg:deb/debian/libc6@2.36-9%2Bdeb12u10?arch=amd64": {
        **PYTHON,
        "type": "deb",
        "name": "libc6",
        "version": "2.36-9+deb12u10",
        "licence": None,
        "architecture": "amd64",
    },
}


@pytest.fixture
def listed():
    return json.loads(bill(IMAGE, PACKAGES.values()))


def test_it_is_valid_cyclonedx(listed):
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(listed)) is None


def test_every_package_is_listed_with_its_url_version_and_licence(listed):
    found = {component["purl"]: component for component in listed["components"]}
    assert {url: (one["name"], one["version"]) for url, one in found.items()} == {
        url: (package["name"], package["version"]) for url, package in PACKAGES.items()
    }
    licences = {url: one["licenses"][0]["license"]["id"] for url, one in found.items() if "licenses" in one}
    assert licences == {url: package["licence"] for url, package in PACKAGES.items() if package["licence"]}


def test_the_image_is_named_and_depends_on_all_of_them(listed):
    component = listed["metadata"]["component"]
    assert (component["name"], component["version"]) == tuple(IMAGE.rsplit(":", 1))
    depends = {entry["ref"]: set(entry.get("dependsOn", [])) for entry in listed["dependencies"]}
    assert depends[component["bom-ref"]] == set(PACKAGES)
