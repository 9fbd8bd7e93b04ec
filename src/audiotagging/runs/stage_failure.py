"""Why a pod of a run failed: from what Kubernetes says, and from its log."""

import re
import signal
from dataclasses import dataclass

from audiotagging.base.errors import brief
from audiotagging.base.gate import LAST_LINE
from audiotagging.runs.pod_log import last_words, launcher_errors, own_lines
from audiotagging.runs.run_stages import Pod, Stage

EXIT_CODE = re.compile(r"\(exit code (\d+)\)")
STATUS = re.compile(r"exit status (\d+)$")  # of the shell in which the launcher starts the program
SHELL = 128  # a shell adds this to the number of the signal that ended its program
DEADLINE = re.compile(r"longer than the specified deadline|exceeded its deadline")


@dataclass(frozen=True)
class Reason:
    """Why a pod failed.

    Attributes:
        text: The reason, in one line.
        users: Whether it is a user error, for which a retry would fail too.
        log: What its program printed, or the errors of Kubeflow's driver.
    """

    text: str
    users: bool
    log: list[str]


def explain(stage: Stage | None, pod: Pod | None, log: list[str]) -> Reason:
    """Return why a pod failed.

    Args:
        stage: The stage that it belongs to, or None.
        pod: The pod. None if the stage failed without one.
        log: The lines of its log. Empty if no server has it.
    """
    if pod is None:
        return Reason("failed without a pod", users=False, log=[])
    if pod.role != "executor":
        text = last_words(log) or pod.message or "failed without a message"
        return Reason(brief(text), users=False, log=launcher_errors(log))
    own = list(own_lines(log))
    said = next((found for line in reversed(own) if (found := LAST_LINE.fullmatch(line))), None)
    if said:
        own.remove(said[0])
    text = _by_kubernetes(stage, pod) or (said[0] if said else _by_launcher(log)) or pod.message
    return Reason(brief(text or "failed without a message"), users=said is not None and said[1] == "error", log=own)


def _by_kubernetes(stage: Stage | None, pod: Pod) -> str:
    """Return the reason that Kubernetes gives, or "" if it only says that the program failed."""
    if "OOMKilled" in pod.message:
        return f"out of memory: the stage may use {stage.memory}" if stage and stage.memory else "out of memory"
    if DEADLINE.search(pod.message):
        limit = (
            f"{stage.hours:g} hours, the limit of this stage" if stage and stage.hours else "the limit of this stage"
        )
        return f"exceeded {limit}, or the --deadline of the run"
    if "deleted" in pod.message:
        return "its pod was deleted, or its node was lost"
    if pod.message and not EXIT_CODE.search(pod.message):  # such as that of an evicted pod
        return pod.message
    return ""


def _by_launcher(log: list[str]) -> str:
    """Return which signal ended the program, or at what Kubeflow's launcher failed. "" if only the program failed."""
    words = last_words(log)
    ended = STATUS.search(words)
    if words and not ended:
        return f"Kubeflow's launcher failed, not the program: {words}"
    number = int(ended[1]) - SHELL if ended else 0
    if number == signal.SIGKILL:
        return "killed, most likely because memory ran out"
    return f"ended by {signal.Signals(number).name}" if number > 0 else ""
