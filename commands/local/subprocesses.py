"""Runs the stages in subprocesses that end with this process."""

import os
import subprocess
from collections.abc import Mapping, Sequence

from audiotagging.base.processes import STDIN_IS_OPEN


def run_subprocess(full_command: Sequence[str], env_vars: Mapping[str, str]) -> int:
    """Run the process of a stage, print its output, and return its exit code.

    This replaces kfp's function with the same arguments. That one leaves the process running if this one is killed.
    Here it has a pipe as its standard input. The other end is open only in this process, so that it is closed when this
    process ends, for whatever reason.
    """
    with subprocess.Popen(
        full_command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
        env={**os.environ, **env_vars, STDIN_IS_OPEN: "1"},
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            print(line, end="")
        return process.wait()
