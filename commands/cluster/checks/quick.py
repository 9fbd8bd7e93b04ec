"""The quick half of `doctor`: what is known within a second, without a role for the whole cluster."""

import logging
from collections.abc import Iterator
from dataclasses import replace

from audiotagging.base.errors import UserError
from audiotagging.base.wording import listed
from commands.cluster.checks.finding import OK, UNSEEN, WARNING, WRONG, Finding
from commands.cluster.checks.namespaced import (
    check_account,
    check_claims,
    check_namespace,
    check_programs,
    check_queue,
)
from commands.cluster.checks.secrets import check_secrets
from commands.cluster.checks.site import Check, Site, look, same_cluster
from commands.cluster.kubernetes import UnseenError

QUICK: tuple[tuple[str, Check], ...] = (
    ("Kubeflow's programs", check_programs),
    ("namespace", check_namespace),
    ("the stages' account", check_account),
    ("secret", check_secrets),
    ("claims", check_claims),
    ("Kueue queue", check_queue),
)

logger = logging.getLogger(__name__)


def compare(site: Site) -> tuple[Finding, Site]:
    """Return whether kubectl here reaches the cluster of this Kubeflow, and the site without Kubernetes if not."""
    what = "Kubernetes"
    try:
        kubernetes = site.kubernetes
        same = same_cluster(site.client, kubernetes) if site.client else None
    except UnseenError as error:
        remedy = "a kubeconfig for this cluster (`kubectl get pods` must work) shows what is not seen"
        return Finding(what, UNSEEN, str(error), remedy), replace(site, connected=str(error))
    context = f"context {kubernetes.context} of kubectl"
    if same:
        return Finding(what, OK, f"{context} is the cluster of this Kubeflow"), site
    if same is None:
        return Finding(
            what, UNSEEN, f"whether {context} is the cluster of this Kubeflow; the rows below take it for it"
        ), site
    said = f"{context} is another cluster than that of this Kubeflow"
    remedy = "`kubectl config use-context NAME` with the context of that cluster"
    return Finding(what, UNSEEN, said, remedy), replace(site, connected=said)


def check_before_submission(site: Site) -> None:
    """Run the quick half of `doctor`, and log warnings and what is not seen.

    Raises:
        UserError: If something is wrong, so that a run would fail or wait for ever.
    """
    for line in _noteworthy(site):
        logger.warning("%s", line)


def _noteworthy(site: Site) -> Iterator[str]:
    finding, site = compare(site)
    if finding.state != OK:
        yield f"nothing was checked in Kubernetes: {finding.said}"
        return
    findings = list(look(site, QUICK))
    wrong = [f"{each.what}: {each.said} (-> {each.remedy})" for each in findings if each.state == WRONG]
    if wrong:
        raise UserError(f"nothing was submitted; {'; '.join(wrong)}; `audiotagging doctor` shows more")
    yield from (f"{each.what}: {each.said}" for each in findings if each.state == WARNING)
    if unseen := [each for each in findings if each.state == UNSEEN]:
        yield f"not checked: {listed([each.what for each in unseen])} ({unseen[0].said})"
