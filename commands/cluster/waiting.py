"""Finds out what a stage waits for, from the messages of Kubernetes and Argo."""

import re

GPU = "nvidia.com/gpu"
QUOTA = re.compile(r"exceeded quota: (\S+), requested: (\S+?)=\S+, used: \S+?=(\S+), limited: \S+?=(\S+)$")
SHORT = re.compile(r"Insufficient ([\w./-]*\w)")
NOT_PULLED = ("ErrImagePull: ", "ImagePullBackOff: ")  # in turn, as Kubernetes tries again and again
IMAGE = re.compile(r'image "([^"]+)"')
SENTENCE_END = re.compile(r"\.(?:\s|$)")


def waits_for(reason: str) -> tuple[str, str]:
    """Return what a stage waits for and, if it is known, how much of it is in use.

    Args:
        reason: The message of the scheduler, a quota or a node of Kubernetes, or of Argo.
    """
    if found := QUOTA.search(reason):
        name, resource, used, limit = found.groups()
        what = "a GPU" if GPU in resource else f"{resource} in the quota {name}"
        return what, f"{used} of {limit} in use"
    if short := SHORT.findall(reason):
        return " and ".join(dict.fromkeys("a GPU" if name == GPU else f"enough {name}" for name in short)), ""
    if reason.startswith(NOT_PULLED):  # both end alike
        which = "".join(f" {name}" for name in IMAGE.findall(reason)[-1:])
        return f"the image{which}, which cannot be pulled", reason.rpartition(": ")[2]
    if reason.startswith("Backoff for "):  # Argo also waits if there will be no further attempt
        return "another try, if there is one", ""
    return SENTENCE_END.split(reason)[0].removeprefix("Unschedulable: "), ""
