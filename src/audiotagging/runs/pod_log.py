"""The log of a stage's pod: which lines the program printed, and which kfp, its launcher and Argo.

The launcher is Kubeflow's program in the pod. It fetches the inputs, runs the program of the stage, uploads the
outputs, and reports to Kubeflow's metadata. The patterns were read in the logs of kfp 2.17.
"""

import re
from collections.abc import Iterable, Iterator

# How kfp prints log messages in the process of a stage, how its own messages start, and what its launcher and Argo
# print before and after that on a cluster.
LOGGED = re.compile(r"\[KFP Executor \d{4}-[01]\d-[0-3]\d [0-2]\d:[0-5]\d:[0-5]\d,\d+ (?:INFO|WARNING|ERROR)\]: (.*)")
KFP_MESSAGE = re.compile(
    r"Looking for component |Loading KFP component |Got executor_input:|Wrote executor output file|Did not write output"
)
LAUNCHER = re.compile(r"([IWEF])\d{4} \d\d:\d\d:\d\d\.\d+ +\d+ \S+:\d+\] (.*)|time=\S+ level=")


def logged_message(line: str) -> str | None:
    """Return the message, if the code of a stage logged this line of its output.

    Return None if kfp logged the line, or if it is not a log message.
    """
    found = LOGGED.search(line)
    return found[1] if found and not KFP_MESSAGE.match(found[1]) else None


def own_lines(log: Iterable[str]) -> Iterator[str]:
    """Yield the lines of a pod's log that the program of the stage printed, without those of kfp and Argo."""
    in_json = False
    for line in log:
        if in_json:
            in_json = line != "}"
        elif (message := logged_message(line)) is not None:
            yield message
        elif LOGGED.search(line):
            in_json = line.endswith("Got executor_input:")
        elif not LAUNCHER.match(line):
            yield line


def launcher_errors(log: Iterable[str]) -> list[str]:
    """Return the errors of kfp's launcher or driver in the log of a pod."""
    found = [match for line in log if (match := LAUNCHER.match(line))]
    return [match[2] for match in found if match[1] in {"E", "F"}]


def last_words(log: Iterable[str]) -> str:
    """Return why kfp's launcher or driver gave up, from the log of its pod. Empty if it did not."""
    said = [match[2] for line in log if (match := LAUNCHER.match(line)) and match[1] == "F"]
    return said[-1].removeprefix("failed to execute component: ") if said else ""
