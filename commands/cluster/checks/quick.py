"""The quick half of `doctor`: what is known within a second, without a role for the whole cluster."""

import logging
from collections.abc import Iterator
from dataclasses import replace

from audiotagging.base.errors import UserError
from audiotagging.base.wording import listed
from commands.cluster.checks.finding import OK, UNSEEN, WARNING, WRONG, Finding
from commands.cluster.checks.namespaced import (
    check_claims,
    check_namespace,
    check_programs,
    check_queue,
    check_quota,
)
from commands.cluster.checks.secrets import check_secrets
from commands.cluster.checks.site import Check, Site, look, same_cluster
from commands.cluster.kubernetes import UnseenError

NAMESPACE = "namespace"
OUTSIDE: tuple[tuple[str, Check], ...] = (("Kubeflow's programs", check_programs), (NAMESPACE, check_namespace))
INSIDE: tuple[tuple[str, Check], ...] = (
    ("secret", check_secrets),
    ("claims", check_claims),
    ("Kueue queue", check_queue),
    ("quota", check_quota),
)

logger = logging.getLogger(__name__)


def compare(site: Site) -> tuple[Finding, Site]:
    """Return whether kubectl here reaches the cluster of this Kubeflow, and the site without Kubernetes if not."""
    what, elsewhere = "Kubernetes", replace(site, connected="see the row Kubernetes")
    try:
        kubernetes = site.kubernetes
        same = same_cluster(site.client, kubernetes) if site.client else None
    except UnseenError as error:
        remedy = "a kubeconfig for this cluster, with which `kubectl get pods` works, shows what is not seen"
        return Finding(what, UNSEEN, str(error), remedy), elsewhere
    context = f"context {kubernetes.context} of kubectl"
    if same:
        return Finding(what, OK, f"{context} is the cluster of this Kubeflow"), site
    if same is None:
        said = f"whether {context} is the cluster of this Kubeflow"
        return Finding(what, UNSEEN, said, "the rows below take it for it"), site
    said = f"{context} is another cluster than that of this Kubeflow"
    return Finding(what, UNSEEN, said, "`kubectl config use-context NAME` with the context of that cluster"), elsewhere


def look_quickly(site: Site) -> Iterator[Finding]:
    """Yield what the quick checks find. Without a namespace, nothing in it is looked for."""
    findings = list(look(site, OUTSIDE))
    yield from findings
    if any(finding.what == NAMESPACE and finding.state == WRONG for finding in findings):
        yield from (Finding(what, UNSEEN, f"there is no namespace {site.namespace}") for what, _ in INSIDE)
    else:
        yield from look(site, INSIDE)


def check_before_submission(site: Site) -> None:
    """Run the quick half of `doctor`, and log warnings and what is not seen.

    Raises:
        UserError: If something is wrong, so that a run would fail or wait for ever.
    """
    finding, site = compare(site)
    if finding.state != OK:
        logger.warning("nothing was checked in Kubernetes before the submission: %s", finding.said)
        return
    findings = list(look_quickly(site))
    if wrong := [f"{each.what}: {each.said}" for each in findings if each.state == WRONG]:
        raise UserError(
            f"nothing was submitted. {'. '.join(wrong)}. `audiotagging doctor` with the same options says what to do"
        )
    for each in findings:
        if each.state == WARNING:
            logger.warning("%s: %s", each.what, each.said)
    if unseen := [each for each in findings if each.state == UNSEEN]:
        what = listed([each.what for each in unseen])
        logger.warning("not checked before the submission: %s (%s)", what, unseen[0].said)
