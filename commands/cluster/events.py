"""Asks Kubernetes about pods that stay in one state: why they do not start, or that their node does not answer."""

import json
from datetime import datetime, timedelta
from typing import Any

import urllib3
from kfp_server_api import ApiException

from audiotagging.runs.run_stages import Pod, Workflow
from commands.cluster.answers import UNREADABLE
from commands.cluster.client import Client

PATIENCE = timedelta(seconds=60)  # in one state, before Kubernetes is asked, and between two questions
SUMMARIES = ("Error: ErrImagePull", "Error: ImagePullBackOff")  # of events that say which image it is, and why
NEVER = "1970-01-01T00:00:00Z"


class Standstills:
    """The pods of a run that stay in one state."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self._state: dict[str, tuple[str, str]] = {}
        self._ask_at: dict[str, datetime] = {}
        self._reasons: dict[str, str] = {}

    def reasons(self, workflow: Workflow, now: datetime) -> dict[str, str]:
        """Return what Kubernetes says of the pods that have been in one state for long, by their names.

        Of a pod that has not started there always is a reason. A running pod has one if something is wrong.
        """
        for _, pod in workflow.unfinished:
            if self._state.get(pod.name) != (pod.phase, pod.message):
                seen = pod.name in self._state
                self._state[pod.name] = pod.phase, pod.message
                self._ask_at[pod.name] = (now if seen else pod.started or now) + PATIENCE
                self._reasons.pop(pod.name, None)
            if now >= self._ask_at[pod.name] and (pod.starting or pod.phase == "Running"):
                self._ask_at[pod.name] = now + PATIENCE
                self._reasons[pod.name] = self._ask(workflow.namespace, pod)
        return {name: reason for name, reason in self._reasons.items() if reason}

    def _ask(self, namespace: str, pod: Pod) -> str:
        """Return what Kubernetes says of a pod, in its own words with the kind of an event in front."""
        unknown = f"Unknown: kubectl -n {namespace} describe pod {pod.name}" if pod.starting else ""
        try:
            events = self._get("/k8s/pod/events", namespace, pod).get("items") or []
            said = of_now(events, starting=pod.starting, node=pod.node)
            if said or not pod.starting:
                return said
            gates = self._get("/k8s/pod", namespace, pod)["spec"].get("schedulingGates") or []
            return "Gated: " + ", ".join(gate["name"] for gate in gates) if gates else unknown
        except (ApiException, urllib3.exceptions.HTTPError, *UNREADABLE):  # the server of the API has no events
            return unknown

    def _get(self, path: str, namespace: str, pod: Pod) -> Any:
        return json.loads(self.client.get_text(path, podname=pod.name, podnamespace=namespace))


def of_now(events: list[dict[str, Any]], *, starting: bool, node: str) -> str:
    """Return the event that says how a pod is now, "" if none does: that of a pull, or the newest warning.

    Warnings do not count if they are from before it was scheduled or, if it runs, from before it was started.
    """
    events = sorted(events, key=time_of)
    begun = "Scheduled" if starting else "Started"
    begin = max((number for number, each in enumerate(events) if each["reason"] == begun), default=0)
    warnings = [each for each in events[begin:] if each["type"] == "Warning" and each["message"] not in SUMMARIES]
    if starting and events and events[-1]["reason"] == "Pulling":
        return _said(events[-1], node)
    return _said(warnings[-1], node) if warnings else ""


def time_of(event: dict[str, Any]) -> datetime:
    """Return when an event happened last. Older and newer parts of Kubernetes say so in different fields."""
    when = event.get("lastTimestamp") or event.get("eventTime") or event["metadata"].get("creationTimestamp")
    return datetime.fromisoformat(when or NEVER).replace(microsecond=0)  # older parts leave them out; the order stays


def _said(event: dict[str, Any], node: str) -> str:
    where = f" ({node})" if event["reason"] == "NodeNotReady" and node else ""
    return f"{event['reason']}: {' '.join(event['message'].split())}{where}"
