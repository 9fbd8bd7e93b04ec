"""Finds out what a stage waits for, from the messages of Kubernetes and Argo."""

import re

GPU = "nvidia.com/gpu"
QUOTA = re.compile(r"exceeded quota: (\S+), requested: (\S+?)=\S+, used: \S+?=(\S+), limited: \S+?=(\S+)$")
SHORT = re.compile(r"Insufficient ([\w./-]*\w)")
# In turn, as Kubernetes tries again and again: two of Argo's messages, and an event.
NOT_PULLED = ("ErrImagePull: ", "ImagePullBackOff: ", "Failed: Failed to pull image ")
IMAGE = re.compile(r'image "([^"]+)"')
MISSING = re.compile(r'(secret|configmap|persistentvolumeclaim)s? "([^"]+)" not found')
NAMES = {"secret": "secret", "configmap": "config map", "persistentvolumeclaim": "volume claim"}
NODE = re.compile(r"NodeNotReady: .*?(?: \((\S+)\))?$")
KUEUE = "kueue.x-k8s.io/"
UNSCHEDULABLE = ("Unschedulable: ", "FailedScheduling: ")  # in Argo's words, and in those of the scheduler
EVENT = re.compile(r"[A-Z]\w+: ")  # how the messages of events begin
SENTENCE_END = re.compile(r"\.(?:\s|$)")


def waits_for(reason: str) -> tuple[str, str]:
    """Return what a pod waits for and, if it is known, how much of it is in use or what more there is to say.

    Args:
        reason: The message of the scheduler, a quota or a node of Kubernetes, or of Argo, or an event as
            `commands.cluster.events` returns it.
    """
    kind, _, message = reason.partition(": ")
    if found := QUOTA.search(reason):
        name, resource, used, limit = found.groups()
        what = "a GPU" if GPU in resource else f"{resource} in the quota {name}"
        return what, f"{used} of {limit} in use"
    if short := SHORT.findall(reason):
        return " and ".join(dict.fromkeys("a GPU" if name == GPU else f"enough {name}" for name in short)), ""
    if missing := MISSING.search(reason):
        return f"the {NAMES[missing[1]]} {missing[2]}, which does not exist", ""
    if reason.startswith(NOT_PULLED):  # all end alike
        which = "".join(f" {name}" for name in IMAGE.findall(reason)[-1:])
        return f"the image{which}, which cannot be pulled", reason.rpartition(": ")[2]
    if kind == "Pulling" and (image := IMAGE.search(message)):
        return f"the image {image[1]}, which is being pulled", ""
    if kind == "Gated":
        return ("Kueue" if message.startswith(KUEUE) else f"what removes the gate {message} of its pod"), ""
    if node := NODE.match(reason):
        return f"the node{f' {node[1]}' if node[1] else ''}, which does not answer", ""
    if kind == "Unknown":
        return "Kubernetes", f"`{message}` says why"
    if reason.startswith("Backoff for "):
        return "another try", ""
    sentence = SENTENCE_END.split(reason)[0]
    for kind in UNSCHEDULABLE:
        sentence = sentence.removeprefix(kind)
    if EVENT.match(sentence):
        return "Kubernetes", sentence
    return sentence, ""


def trouble(reason: str) -> str:
    """Return what is wrong with a running pod.

    Args:
        reason: An event as `commands.cluster.events` returns it.
    """
    if node := NODE.match(reason):
        return f"its node{f' {node[1]}' if node[1] else ''} does not answer"
    return SENTENCE_END.split(reason)[0]
