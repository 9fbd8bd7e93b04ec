"""What a stage waits for, from what Kubernetes and Argo say of its pod."""

import re

GPU = "nvidia.com/gpu"
QUOTA = re.compile(r"exceeded quota: (\S+), requested: (\S+?)=\S+, used: \S+?=(\S+), limited: \S+?=(\S+)$")
SHORT = re.compile(r"Insufficient ([\w./-]*\w)")
SENTENCE_END = re.compile(r"\.(?:\s|$)")


def waits_for(reason: str) -> tuple[str, str]:
    """Return what a stage waits for, and how much of it there is where that is said.

    Args:
        reason: As Kubernetes' scheduler, its quotas, its nodes or Argo say it.
    """
    if found := QUOTA.search(reason):
        name, resource, used, limit = found.groups()
        what = "a GPU" if GPU in resource else f"{resource} in the quota {name}"
        return what, f"{used} of {limit} in use"
    if short := SHORT.findall(reason):
        return " and ".join(dict.fromkeys("a GPU" if name == GPU else f"enough {name}" for name in short)), ""
    if reason.startswith("Backoff for "):  # Argo waits also where it will find that there are no more tries
        return "another try, if there is one", ""
    return SENTENCE_END.split(reason)[0].removeprefix("Unschedulable: "), ""
