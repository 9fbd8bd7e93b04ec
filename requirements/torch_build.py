"""Prints the build of torch for this machine: `cpu` on Linux without an NVIDIA GPU, if its index answers, or `cuda`.

`make` calls it where no TORCH is given. The CUDA build, from PyPI, works without a GPU too, but is 3 GB to download. On
other systems than Linux, torch-cuda.txt has the only build there is. Needs nothing but Python, because it runs before
anything is installed.
"""

import re
import subprocess
import sys
import urllib.request
from pathlib import Path

PATIENCE = 10  # seconds


def has_gpu() -> bool:
    """Return whether the driver of NVIDIA knows a GPU."""
    try:
        listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, timeout=PATIENCE, check=True)
    except (OSError, subprocess.SubprocessError):
        return False
    return b"GPU" in listed.stdout


def index_answers(url: str) -> bool:
    """Return whether the index of the CPU build has torch."""
    try:
        with urllib.request.urlopen(f"{url}/torch/", timeout=PATIENCE) as answer:
            return b"torch-" in answer.read()
    except (OSError, ValueError):
        return False


def main() -> None:
    """Print the build, and on the error output why it is the large one without a GPU."""
    pinned = Path(__file__).with_name("torch-cpu.txt").read_text(encoding="utf-8")
    url = re.findall(r"^--extra-index-url (\S+)", pinned, re.MULTILINE)[0]
    build = "cuda"
    if sys.platform == "linux" and not has_gpu():
        if index_answers(url):
            build = "cpu"
        else:
            print(f"{url} does not answer: installing the CUDA build of torch instead (3 GB)", file=sys.stderr)
    print(build)


if __name__ == "__main__":
    main()
