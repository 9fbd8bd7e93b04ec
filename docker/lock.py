"""Print the lock, from pip's installation report on standard input.

    pip install --dry-run --ignore-installed --report - '.[dev]' | python docker/lock.py

The local part of a version ("+cpu" of torch) is left out: which build of it is taken is the image's choice.
"""

import json
import sys

HEADER = """\
# Exact versions of everything, the indirect dependencies too, for all extras and all images. Written by `make lock`.
# Use: pip install -c constraints.txt -e '.[dev]'
"""


def main() -> None:
    """Write one `name==version` a line, sorted by name."""
    report = json.load(sys.stdin)
    packages = [entry["metadata"] for entry in report["install"]]
    pins = {p["name"].lower().replace("_", "-"): p["version"].partition("+")[0] for p in packages}
    pins.pop("audiotagging")
    print(HEADER + "\n".join(f"{name}=={version}" for name, version in sorted(pins.items())))


if __name__ == "__main__":
    main()
