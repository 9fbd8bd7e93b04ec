"""The API of Kubeflow Pipelines: the connection, pipeline versions that are named by their content, and runs."""

import argparse
import contextlib
import hashlib
import json
import logging
import os
import re
import tempfile
import warnings
from collections.abc import Callable, Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import kfp_server_api
import urllib3
from kfp import compiler
from kfp.client import ServiceAccountTokenVolumeCredentials
from kfp.client.client import KF_PIPELINES_ENDPOINT_ENV, KF_PIPELINES_UI_ENDPOINT_ENV
from kfp.dsl.graph_component import GraphComponent
from kfp_server_api import ApiException

from audiotagging.base.errors import UserError, hide
from audiotagging.base.files import open_file
from commands.cluster.answers import readable
from commands.kfp_internals import Client

OLDEST = (2, 17)  # the first version that respects the user of a stage
MLFLOW = "mlflow"  # Kubeflow's name for its plugin
TOKEN_FILE = "/var/run/secrets/kubeflow/pipelines/token"  # the token of the service account, from Kubernetes
COOKIES = "AUDIOTAGGING_COOKIES"  # a variable, because other users of the machine can see command lines
NAMESPACE = "kubeflow"  # of Kubeflow, and of the stages if it has no users
HEALTH = "/apis/v2beta1/healthz"
AUTHENTICATION = f"--token-file or the variable {COOKIES}"

logger = logging.getLogger(__name__)


def add_connection(parser: argparse.ArgumentParser) -> None:
    """Add the options for the address of the cluster and for authentication."""
    group = parser.add_argument_group("Kubeflow Pipelines")
    group.add_argument(
        "--host",
        default=os.environ.get(KF_PIPELINES_ENDPOINT_ENV),
        metavar="URL",
        help=f"URL of its page, such as http://localhost:8080 (default: {KF_PIPELINES_ENDPOINT_ENV}, or this cluster)",
    )
    group.add_argument("--namespace", metavar="NAME", help="your namespace, if Kubeflow has users")
    group.add_argument(
        "--token-file",
        type=Path,
        metavar="FILE",
        help=f"file with a bearer token; {COOKIES} in the environment may have the cookies of a browser instead",
    )
    group.add_argument(
        "--experiment", default="audiotagging", metavar="NAME", help="experiment of the runs (default: audiotagging)"
    )


@contextlib.contextmanager
def connection(args: argparse.Namespace) -> Iterator[Client]:
    """Provide a client for parsed options, and turn its exceptions into messages of one line.

    Raises:
        UserError: If the server does not answer, is too old or refuses a request, or if the namespace is wrong.
    """
    host = args.host or "Kubeflow Pipelines inside this cluster (elsewhere, use --host, such as http://localhost:8080)"
    logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)  # it logs every new attempt
    with _one_line_errors(host), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        token, cookies = _token(args.token_file), _cookies()
        in_cluster = Path(TOKEN_FILE).is_file() and not (token or cookies)
        with _quiet():
            client = Client(
                host=args.host,
                namespace=args.namespace,
                existing_token=token,
                cookies=cookies,
                credentials=ServiceAccountTokenVolumeCredentials(TOKEN_FILE) if in_cluster else None,
                ui_host=os.environ.get(KF_PIPELINES_UI_ENDPOINT_ENV),
            )
        _check(client, host, namespace=args.namespace)
        yield client


def _token(file: Path | None) -> str | None:
    if file is None:
        return None
    with open_file(file) as opened:
        token = opened.read().decode(errors="replace").strip()
    hide(token)
    if not re.fullmatch(r"[!-~]+", token):
        raise UserError(f"{file}: expected a bearer token, one line without spaces, found something else")
    return token


def _cookies() -> str | None:
    cookies = os.environ.get(COOKIES)
    if cookies:
        hide(cookies)
        if not re.fullmatch(r"[ -~]+", cookies):
            raise UserError(f"{COOKIES}: expected cookies in one line, such as NAME=VALUE, found something else")
    return cookies or None


def _check(client: Client, host: str, *, namespace: str | None) -> None:
    try:
        health = json.loads(client.get_text(HEALTH))
    except ApiException as error:
        if error.status != 404:
            raise
        raise UserError(f"{host}: expected Kubeflow Pipelines 2.17 or newer, found a server without its API") from None
    except (ValueError, RecursionError):
        raise UserError(
            f"{host}: expected Kubeflow Pipelines, found something else, perhaps a login page; "
            f"use {AUTHENTICATION}, or the address of the service ml-pipeline-ui"
        ) from None
    with readable(host):
        tag = tag_of(health)
        version = re.match(r"(\d+)\.(\d+)", tag)
    if version and (int(version[1]), int(version[2])) < OLDEST:
        expected = ".".join(map(str, OLDEST))
        raise UserError(f"{host}: expected Kubeflow Pipelines {expected} or newer, found {tag}")
    if health.get("multi_user") and not namespace:
        raise UserError(f"{host}: this Kubeflow has users; name your namespace with --namespace")
    if namespace and not health.get("multi_user"):
        raise UserError(f"{host}: this Kubeflow has no users, and so no namespace {namespace!r}; omit --namespace")


def tag_of(health: dict[str, Any]) -> str:
    """Return the version of Kubeflow, as the server of its API or of its page says it. Empty if it does not."""
    return health.get("tag_name") or health.get("apiServerTagName") or ""


@contextlib.contextmanager
def _one_line_errors(host: str) -> Iterator[None]:
    try:
        yield
    except ApiException as error:
        raise UserError(f"{host}: {_said(error)}") from None
    except urllib3.exceptions.HTTPError as error:
        reason = re.sub(r".*?>: |.*?object at 0x\w+>,? ?", "", str(getattr(error, "reason", error)))
        raise UserError(
            f"{host}: no answer from Kubeflow Pipelines ({reason.strip('() ')}); check the address and, if it is on "
            "this machine, that `kubectl port-forward` is running"
        ) from None
    except OSError as error:
        if isinstance(error, BrokenPipeError) or error.filename is not None:  # of our output, or of a file of the user
            raise
        raise UserError(f"{host}: {error}") from None


def _said(error: ApiException) -> str:
    """Return the message of the server in one line, and what to do about it."""
    try:
        body = json.loads(error.body)
        text = body.get("error_message") or body.get("message") or body.get("error") or str(body)
    except (TypeError, ValueError, AttributeError, RecursionError):
        text = str(error.body or error.reason)
    text = " ".join(text.split())
    text = text if len(text) <= 300 else text[:300] + " ..."
    if error.status in (401, 403):
        text += f"; use {AUTHENTICATION}, and your own --namespace"
    return f"{error.status} {error.reason}: {text}"


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Suppress what kfp prints: the URLs of everything it creates, and that kubectl is not configured."""
    with contextlib.redirect_stdout(StringIO()):
        yield


def ensure_version(client: Client, pipeline: GraphComponent, *, namespace: str | None) -> tuple[str, str, str]:
    """Upload the pipeline under a version that is named by its content, unless the server has that version already.

    Returns:
        The ids of the pipeline and of its version, and the version's name.
    """
    with tempfile.TemporaryDirectory() as folder, _quiet():
        package = Path(folder) / "pipeline.yaml"
        compiler.Compiler().compile(pipeline, str(package))
        name = hashlib.sha256(package.read_bytes()).hexdigest()[:16]
        pipeline_id = _found_or_made(
            lambda: _pipeline_id(client, pipeline.name, namespace),
            lambda: (
                client.pipelines.pipeline_service_create_pipeline(
                    kfp_server_api.V2beta1Pipeline(
                        name=pipeline.name,
                        display_name=pipeline.name,
                        description=pipeline.description,
                        namespace=namespace,
                    )
                ).pipeline_id
            ),
        )
        version_id = _found_or_made(
            lambda: _version_id(client, pipeline_id, name),
            lambda: client.upload_pipeline_version(str(package), name, pipeline_id=pipeline_id).pipeline_version_id,
        )
    return pipeline_id, version_id, name


def _found_or_made(find: Callable[[], str | None], make: Callable[[], str]) -> str:
    """Return the id of an object, and create it if needed. Another client may create it at the same time."""
    if found := find():
        return found
    try:
        return make()
    except ApiException as error:
        if error.status == 409 and (found := find()):
            return found
        raise


def _pipeline_id(client: Client, name: str, namespace: str | None) -> str | None:
    found = client.list_pipelines(filter=named(name), namespace=namespace).pipelines
    return found[0].pipeline_id if found else None


def _version_id(client: Client, pipeline_id: str, name: str) -> str | None:
    found = client.list_pipeline_versions(pipeline_id, filter=named(name)).pipeline_versions
    return found[0].pipeline_version_id if found else None


def named(name: str) -> str:
    """Return the filter of a list request for objects with a name."""
    return where("display_name", name)


def where(key: str, value: str) -> str:
    """Return the filter of a list request for objects with a value."""
    return json.dumps({"predicates": [{"operation": "EQUALS", "key": key, "stringValue": value}]})


def find_experiment(client: Client, name: str, *, namespace: str | None) -> str | None:
    """Return the id of an experiment, or None if there is none of this name."""
    found = client.list_experiments(filter=named(name), namespace=namespace).experiments
    return found[0].experiment_id if found else None


def experiment_id(client: Client, name: str, *, namespace: str | None) -> str:
    """Return the id of an experiment, and create the experiment if needed."""
    with _quiet():
        return _found_or_made(
            lambda: find_experiment(client, name, namespace=namespace),
            lambda: client.create_experiment(name, namespace=namespace).experiment_id,
        )


def create_run(
    client: Client,
    name: str,
    parameters: dict[str, Any],
    *,
    experiment: str,
    pipeline: str,
    version: str,
    mlflow: str | None = None,
) -> str:
    """Start a run of a pipeline version in an experiment, and return its id.

    Args:
        client: The connection.
        name: Name of the run.
        parameters: The pipeline's parameters.
        experiment: Id of the experiment.
        pipeline: Id of the pipeline.
        version: Id of its version.
        mlflow: Name of the MLflow experiment that the run is sent to, or None.
    """
    body = kfp_server_api.V2beta1Run(
        experiment_id=experiment,
        display_name=name,
        plugins_input=mlflow_input(mlflow),
        **what_is_run(parameters, pipeline=pipeline, version=version),
    )
    run = kfp_server_api.RunServiceApi(client.pipelines.api_client).run_service_create_run(run=body)
    if mlflow:
        sent = (run.plugins_output or {}).get(MLFLOW)
        if sent is None:
            logger.warning("this server has no MLflow plugin, so the run is not sent to MLflow")
        elif sent.state == "PLUGIN_FAILED":
            logger.warning("the run is not sent to MLflow: %s", sent.state_message)
    return run.run_id


def what_is_run(parameters: dict[str, Any], *, pipeline: str, version: str) -> dict[str, Any]:
    """Return the pipeline version and the parameters, as fields of a run or a recurring run."""
    return {
        "pipeline_version_reference": kfp_server_api.V2beta1PipelineVersionReference(
            pipeline_id=pipeline, pipeline_version_id=version
        ),
        "runtime_config": kfp_server_api.V2beta1RuntimeConfig(parameters=parameters),
    }


def mlflow_input(experiment: str | None) -> dict[str, Any] | None:
    """Return the input of Kubeflow's MLflow plugin for a run or a recurring run. kfp has no argument for it."""
    return {MLFLOW: {"experiment_name": experiment}} if experiment else None
