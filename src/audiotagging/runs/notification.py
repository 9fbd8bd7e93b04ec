"""Tells people how a run ended: posts JSON to a URL, such as the webhook of a chat. It never makes a run fail."""

import http.client
import json
import logging
import queue
import threading
import time
from collections.abc import Sequence
from typing import Any, NotRequired, TypedDict
from urllib.error import HTTPError
from urllib.parse import quote, urlsplit, urlunsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from audiotagging.artifacts.champions_folder import Comparison, Event, Measured
from audiotagging.base.errors import brief, hide_address
from audiotagging.runs.stage_failure import Reason

VARIABLE = "AUDIOTAGGING_NOTIFY"  # has the URL where it must not be in a log: in the stage `notify`
COMPLETE = "COMPLETE"  # what Kubeflow's metadata call stages that succeeded
TIMEOUT = 10.0  # seconds for one attempt
TOLD = 3  # failures of a run
PAUSES = (2.0, 8.0)  # seconds before the second and the third attempt

logger = logging.getLogger(__name__)


class Notice(TypedDict):
    """What is posted.

    Attributes:
        text: One sentence for people. Chats such as Slack and Mattermost show it.
        outcome: "promoted", "candidate" (it was not promoted, but may be accepted), "not promoted" (it is worse),
            "ended" (there is no decision), "nothing new" (only the first stage ran) or "failed".
        run: Id or name of the run.
        recovered: True if the run failed before, and a retry did not.
        version: Version of the ensemble, if one was stored.
        verdict: Its verdict.
        comparison: Its comparison with the best champion, if there is one.
        measured: Its score, if there were labelled clips.
    """

    text: str
    outcome: str
    run: str
    recovered: NotRequired[bool]
    version: NotRequired[str]
    verdict: NotRequired[str]
    comparison: NotRequired[Comparison]
    measured: NotRequired[Measured]


def describe_failures(run: str, failures: Sequence[tuple[str, Reason]]) -> str:
    """Return why a run on a cluster failed, and what to do about it.

    Args:
        run: Id of the run.
        failures: The stages that failed, and why. Empty if that is not known.
    """
    told = [f"{stage}: {reason.text}" for stage, reason in failures[:TOLD]]
    told += [f"{len(failures) - TOLD} more"] if len(failures) > TOLD else []
    reasons = "; ".join(told) or "a stage failed"
    if any(reason.users for _, reason in failures):
        return f"{reasons}. Fix that, and submit it again. `audiotagging follow {run}` shows more"
    return f"{reasons}. `audiotagging retry {run} --wait` runs again what failed, and resumes trainings"


def describe_run(
    run: str,
    candidate: Event | None,
    *,
    news: bool = True,
    failed: str | None = None,
    state: str = COMPLETE,
    recovered: bool = False,
) -> Notice:
    """Return what there is to tell of a run.

    Args:
        run: What the run is called.
        candidate: The version that it added to the history of the champions, if it did.
        news: Whether there was anything to do.
        failed: Why the run failed, or None if it did not.
        state: What Kubeflow's metadata call its stages. It may be "RUNNING" if nothing better is known
            (`audiotagging.runs.final_state`).
        recovered: Whether the run failed before and was retried.
    """
    unclear = "" if state == COMPLETE else f"; Kubeflow calls its stages {state}, so look at it"
    notice = Notice(text=f"it ended{unclear}", outcome="ended", run=run)
    if not news:
        notice = Notice(text="nothing new since the last run that ended well", outcome="nothing new", run=run)
    if candidate:
        decision, verdict = candidate["decision"], candidate["decision"].get("verdict", "")
        outcome = "promoted" if decision["promoted"] else "not promoted" if verdict == "worse" else "candidate"
        notice = Notice(text=decision["reason"], outcome=outcome, run=run, version=decision["version"], verdict=verdict)
        if "comparison" in decision:
            notice["comparison"] = decision["comparison"]
        if "measured" in candidate:
            notice["measured"] = candidate["measured"]
    if failed is not None:
        notice["outcome"], notice["text"] = "failed", f"failed: {failed}"
    elif recovered:
        notice["recovered"], notice["text"] = True, f"recovered by a retry: {notice['text']}"
    notice["text"] = f"audiotagging, run {run}: {notice['text']}"
    return notice


def post(url: str, notice: Notice) -> bool:
    """Post a notice, with three attempts, and return whether it arrived. What goes wrong is only logged.

    The URL is not logged, because those of chats are secrets.

    Args:
        url: An http or https URL. Nothing is posted if it is not one: it may be from a Kubernetes secret, where nobody
            has checked it.
        notice: What to post.
    """
    if not url.startswith(("http://", "https://")):
        logger.warning("nobody is told: expected a URL that begins with http:// or https:// in %s", VARIABLE)
        return False
    hide_address(url)
    for pause in (*PAUSES, None):
        answers: queue.Queue[tuple[str, bool]] = queue.Queue()
        threading.Thread(target=lambda to=answers: to.put(_try(url, notice)), daemon=True).start()
        try:
            reason, may_pass = answers.get(timeout=TIMEOUT)  # also of an answer that comes byte by byte
        except queue.Empty:
            reason, may_pass = f"no answer within {TIMEOUT:g} s", True
        if not reason:
            logger.info("told the receiver of --notify: %s", notice["outcome"])
            return True
        logger.warning("the receiver of --notify did not take the message: %s", reason)
        if pause is None or not may_pass:
            break
        time.sleep(pause)
    return False


class _NoRedirects(HTTPRedirectHandler):
    """Takes a redirect for a refusal: urllib would ask the other address without the message."""

    def redirect_request(self, *_: Any) -> None:
        return None


def _try(url: str, notice: Notice) -> tuple[str, bool]:
    """Post a notice once. Return why it did not arrive, or "", and whether another attempt may succeed."""
    headers = {"Content-Type": "application/json", "User-Agent": "audiotagging"}
    try:
        request = Request(_in_ascii(url), data=json.dumps(notice).encode(), headers=headers)
        with build_opener(_NoRedirects).open(request, timeout=TIMEOUT):
            return "", False
    except HTTPError as error:
        return f"status {error.code}", error.code >= 500 or error.code == 429
    except OSError as error:
        return brief(str(error)), True
    except Exception as error:  # whatever it is, and its message may quote the URL
        return type(error).__name__, isinstance(error, http.client.HTTPException)


def _in_ascii(url: str) -> str:
    """Return a URL as HTTP sends it: with its host in IDNA (RFC 3490), and other letters and spaces percent-encoded."""
    parts = urlsplit(url)
    host = parts.netloc.encode("idna").decode()
    path, query = (quote(part, safe="%/:@!$&'()*+,;=?~") for part in (parts.path, parts.query))
    return urlunsplit((parts.scheme, host, path, query, ""))
