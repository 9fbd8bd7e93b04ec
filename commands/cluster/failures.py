"""Finds out why stages failed, and whether a retry can help."""

import re
import signal
from dataclasses import dataclass

from audiotagging.gate import LAST_LINE
from commands.cluster.client import Client
from commands.cluster.logs import read_log
from commands.cluster.workflow import Pod, Stage, Workflow
from commands.kfp_internals import launcher_errors, own_lines
from components.cluster import NEEDS

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
    said = next((found for line in reversed(own) if (found := LAST_LINE.fullmatch(line))), None)
    if said:
        own.remove(said[0])
    by_program = said[0] if said else _by_signal(lines)
    return Failure(
        stage,
        pod,
        reason=_by_kubernetes(stage, pod) or by_program or pod.message or "failed without a message",
        users=said is not None and said[1] == "error",
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


def _by_signal(log: list[str]) -> str:
    """Return the signal that ended the program, or "" if none did."""
    errors = launcher_errors(log)
    ended = STATUS.search(errors[-1] if errors else "")
    number = int(ended[1]) - SHELL if ended else 0
    if number == signal.SIGKILL:
        return "killed, most likely because memory ran out"
    return f"ended by {signal.Signals(number).name}" if number > 0 else ""
