"""What Kubeflow's servers say of themselves: their version, the page, the namespace, the clock and the schedules."""

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import kfp
from kfp_server_api import ApiException, V2beta1RecurringRun

from audiotagging.base.wording import duration
from commands.cluster import schedules
from commands.cluster.answers import readable
from commands.cluster.checks.finding import OK, WARNING, WRONG, Finding
from commands.cluster.checks.site import LOGS, Site
from commands.cluster.client import AUTHENTICATION, HEALTH, Client, find_experiment, tag_of
from commands.cluster.kubernetes import UnseenError

# With which this project was seen to work, as docs/cluster.md says.
SERVERS = ("2.17.0",)
SDKS = ("2.17.0", "2.17.3")
MOST_SECONDS = 60  # that the clocks may differ


def check_server(site: Site) -> Iterator[Finding]:
    """Yield the version of the API, whether it answers, and the version of the SDK."""
    with readable("the server's health"):
        health = json.loads(_client(site).get_text(HEALTH))
        tag = tag_of(health)
    if health.get("apiServerReady") is False:
        yield Finding(
            "Kubeflow's API",
            WRONG,
            "Kubeflow's page answers, and the server of its API (ml-pipeline) does not",
            LOGS,
        )
    else:
        yield _version("Kubeflow's API", tag, SERVERS, "docs/cluster.md says which were seen to work")
    yield _version("the SDK kfp", kfp.__version__, SDKS, "`make venv` installs the one in pyproject.toml")


def _version(what: str, found: str, seen: tuple[str, ...], remedy: str) -> Finding:
    if found in seen:
        return Finding(what, OK, found)
    said = f"{found or 'of unknown version'}: this project was not seen to work with it, but with {' and '.join(seen)}"
    return Finding(what, WARNING, said, remedy)


def check_page(site: Site) -> Iterator[Finding]:
    """Yield whether the address is that of Kubeflow's page, which has logs, artifacts and events."""
    if _client(site).has_page():
        yield Finding("Kubeflow's page", OK, "answers at this address")
    else:
        yield Finding(
            "Kubeflow's page",
            WARNING,
            "this address is that of the API alone, which has no events, no artifacts and few logs: `results` fails, "
            "and `--wait` cannot say why a pod does not start",
            "kubectl -n kubeflow port-forward svc/ml-pipeline-ui 8080:80, and its address as --host",
        )


def check_access(site: Site) -> Iterator[Finding]:
    """Yield whether Kubeflow lets the user into the namespace. Without users it asks nobody."""
    namespace = site.users_namespace
    try:
        find_experiment(_client(site), site.experiment, namespace=namespace)
    except ApiException as error:
        if error.status not in (401, 403, 404) and not (error.status == 400 and namespace):
            raise
        yield Finding(
            "your role in Kubeflow",
            WRONG,
            f"Kubeflow refuses to list the experiments{f' of {namespace}' if namespace else ''}: {error.reason}",
            f"check --namespace and {AUTHENTICATION}; an administrator adds you to the namespace's profile",
        )
    else:
        said = f"experiments of {namespace} can be listed" if namespace else "no users: whoever reaches it may do all"
        yield Finding("your role in Kubeflow", OK, said)


def check_clock(site: Site) -> Iterator[Finding]:
    """Yield how far the clock of the cluster is from that of this machine. Its time is in the head of an answer."""
    before = time.time()
    answer = _client(site).open(HEALTH)
    after = time.time()
    answer.read()
    answer.release_conn()
    if not answer.headers.get("Date"):
        raise UnseenError("the server's answers have no time")
    difference = parsedate_to_datetime(answer.headers["Date"]).timestamp() - (before + after) / 2
    if abs(difference) <= MOST_SECONDS:
        yield Finding("the clock", OK, f"that of the cluster differs by less than {MOST_SECONDS} s")
    else:
        yield Finding(
            "the clock",
            WARNING,
            f"that of the cluster is {duration(abs(difference))} {'ahead of' if difference > 0 else 'behind'} that of "
            "this machine: schedules start at other times, and stores and tokens may be refused",
            "`timedatectl` on this machine and on the nodes says which one is right",
        )


def check_schedules(site: Site) -> Iterator[Finding]:
    """Yield the schedules of the experiment, which may start runs that take what this one needs."""
    client = _client(site)
    experiment = find_experiment(client, site.experiment, namespace=site.users_namespace)
    found = schedules.newest(schedules.find(client, experiment)) if experiment else {}
    if not found:
        yield Finding("schedules", OK, f"none in the experiment {site.experiment}")
    for name, schedule in found.items():
        said = schedules.described(schedule).removeprefix(f"{name}: ")
        yield Finding(f"schedule {name}", OK, said + (_next(site, schedule) if "paused" not in said else ""))


def _next(site: Site, schedule: V2beta1RecurringRun) -> str:
    """Return when a schedule starts a run next, as its object in Kubernetes says it."""
    try:
        objects = site.kubernetes.get(f"/apis/kubeflow.org/v1beta1/namespaces/{site.namespace}/scheduledworkflows")
    except UnseenError as error:
        return f"; when it starts next: not seen ({error})"
    for each in (objects or {}).get("items", []):
        when = each.get("status", {}).get("trigger", {}).get("nextTriggeredTime")
        if each["metadata"].get("uid") == schedule.recurring_run_id and when:
            at = datetime.fromisoformat(when)
            return f"; starts next at {at:%Y-%m-%d %H:%M} UTC, in {duration((at - datetime.now(UTC)).total_seconds())}"
    return "; when it starts next: not seen"


def _client(site: Site) -> Client:
    if site.client is None:
        raise UnseenError("Kubeflow was not asked, because of the first row")
    return site.client
