"""The software bill of materials of an image, in CycloneDX. `make images` writes that of every image.

    python -m components.sbom TARGET                  write build/sbom/TARGET.cdx.json

It lists what is in the image: Python, the packages of its environment and Debian's packages, each with its version and
its package URL, by which databases of vulnerabilities know it. What only built the image is not listed.
"""

import argparse
import json
import subprocess
from collections.abc import Iterable
from typing import TypedDict

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output import make_outputter
from cyclonedx.schema import OutputFormat, SchemaVersion
from packageurl import PackageURL

from components.images import IMAGES, ROOT, image


class Package(TypedDict):
    """A package in an image."""

    type: str  # of its URL: pypi, deb, generic
    name: str
    version: str
    licence: str | None  # an SPDX expression
    architecture: str | None  # Debian's name of it


# Runs in the image, with nothing but Python and Debian's own programs, and prints a list of packages.
INVENTORY = r"""
import json, platform, subprocess
from importlib.metadata import distributions
python = {"type": "generic", "name": "python", "version": platform.python_version(), "licence": "PSF-2.0"}
found = [{**python, "architecture": None}]
for package in distributions():
    licence = package.metadata["License-Expression"]
    found.append(
        {"type": "pypi", "name": package.name, "version": package.version, "licence": licence, "architecture": None}
    )
command = ["dpkg-query", "--show", "--showformat", "${Package} ${Version} ${Architecture}\n"]
for line in subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines():
    name, version, architecture = line.split()
    found.append({"type": "deb", "name": name, "version": version, "licence": None, "architecture": architecture})
print(json.dumps(found))
"""


def inventory(reference: str) -> list[Package]:
    """Return all packages in an image, which must be on this machine."""
    command = ["docker", "run", "--rm", "--network", "none", "--entrypoint", "python3", reference, "-c", INVENTORY]
    return json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)


def bill(reference: str, packages: Iterable[Package]) -> str:
    """Return the bill of materials of an image as CycloneDX 1.6 in JSON.

    Args:
        reference: The image, `[REGISTRY/]NAME:TAG`.
        packages: What it contains.
    """
    name, _, tag = reference.rpartition(":")
    bom = Bom()
    bom.metadata.component = Component(type=ComponentType.CONTAINER, name=name, version=tag, bom_ref=reference)
    licences = LicenseFactory()
    for package in packages:
        url = _url(package)
        component = Component(
            type=ComponentType.LIBRARY,
            name=package["name"],
            version=package["version"],
            purl=url,
            bom_ref=url.to_string(),
            licenses=[licences.make_from_string(package["licence"])] if package["licence"] else [],
        )
        bom.components.add(component)
        bom.register_dependency(bom.metadata.component, [component])
    return make_outputter(bom, OutputFormat.JSON, SchemaVersion.V1_6).output_as_string(indent=2)


def _url(package: Package) -> PackageURL:
    """Return the package URL of a package: https://github.com/package-url/purl-spec."""
    namespace = "debian" if package["type"] == "deb" else None
    qualifiers = {"arch": package["architecture"]} if package["architecture"] else None
    return PackageURL(package["type"], namespace, package["name"], package["version"], qualifiers)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Write the software bill of materials of an image.")
    parser.add_argument("target", choices=IMAGES)
    args = parser.parse_args()
    path = ROOT / "build" / "sbom" / f"{args.target}.cdx.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(bill(image(args.target), inventory(image(args.target))) + "\n")
