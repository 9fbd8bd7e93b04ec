"""Finds out why stages failed, and whether a retry can help."""

import re
import signal
from collections.abc import Iterable
from dataclasses import dataclass

from commands.cluster.client import Client
from commands.cluster.logs import read_log
from commands.cluster.workflow import Pod, Stage, Workflow
from commands.kfp_internals import launcher_errors, own_lines
from components.cluster import NEEDS

LIBRARY = "audiotagging."  # all exceptions that the library defines are user errors
TRACEBACK = "Traceback (most recent call last):"
EXIT_CODE = re.compile(r"\(exit code (\d+)\)")
STATUS = re.compile(r"exit status (\d+)$")  # of the shell in which the launcher starts the program
SHELL = 128  # a shell adds this to the number of the signal that ended its program
DEADLINE = re.compile(r"longer than the specified deadline|exceeded its deadline")


@dataclass(frozen=True)
class Failure:
    """A stage that has failed after all its retries.

    Attributes:
        stage: The stage.
        pod: Its last pod that failed. None if it had no pod.
        reason: Why it failed, in one line.
        users: Whether it is a user error, for which a retry would fail too.
        log: The output of the program.
    """

    stage: Stage
    pod: Pod | None
    reason: str
    users: bool
    log: list[str]


def find_failures(client: Client, run_id: str, workflow: Workflow) -> list[Failure]:
    """Return the failed stages of a run, in the order in which they started."""
    return [_explain(client, run_id, workflow, stage) for stage in workflow.stages if stage.state == "failed"]


def _explain(client: Client, run_id: str, workflow: Workflow, stage: Stage) -> Failure:
    broken = [pod for pod in (*stage.drivers, *stage.pods) if pod.broken]
    if not broken:
        return Failure(stage, None, "failed without a pod", users=False, log=[])
    pod = broken[-1]
    lines = read_log(client, run_id, workflow, stage, pod)
    own = list(own_lines(lines))
    exception = _exception(own)
    users = bool(exception and exception[0].startswith(LIBRARY))
    if users:  # the traceback does not help the user
        own = own[: own.index(TRACEBACK)]
    return Failure(
        stage,
        pod,
        reason=_by_kubernetes(stage, pod) or _by_program(exception, lines) or pod.message or "failed without a message",
        users=users,
        log=launcher_errors(lines) if pod.driver else own,
    )


def _by_kubernetes(stage: Stage, pod: Pod) -> str:
    """Return the reason that Kubernetes gives, or "" if it only says that the program failed."""
    if "OOMKilled" in pod.message:
        return f"out of memory: the stage may use {stage.memory}" if stage.memory else "out of memory"
    if DEADLINE.search(pod.message):
        return f"exceeded {NEEDS[stage.name].hours} hours, the limit of this stage, or the --deadline of the run"
    if "deleted" in pod.message:
        return "its pod was deleted, or its node was lost"
    if pod.message and not EXIT_CODE.search(pod.message):  # such as that of an evicted pod
        return pod.message
    return ""


def _by_program(exception: tuple[str, str] | None, log: list[str]) -> str:
    """Return the exception of the program, or the signal that ended it."""
    if exception:
        kind, message = exception
        return f"{kind.rpartition('.')[2]}: {message}" if message else kind
    errors = launcher_errors(log)
    ended = STATUS.search(errors[-1] if errors else "")
    number = int(ended[1]) - SHELL if ended else 0
    if number == signal.SIGKILL:
        return "killed, most likely because memory ran out"
    return f"ended by {signal.Signals(number).name}" if number > 0 else ""


def _exception(log: Iterable[str]) -> tuple[str, str] | None:
    """Return the type, with its module, and the message of the exception in the last traceback of a log."""
    found, in_traceback = None, False
    for line in log:
        if line == TRACEBACK:
            in_traceback = True
        elif in_traceback and not line.startswith(" "):
            kind, _, message = line.partition(": ")
            found, in_traceback = (kind, message), False
    return found
