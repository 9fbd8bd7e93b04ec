"""Sends the results of a run to an MLflow server, by its REST API (mlflow.org/docs/latest/rest-api.html).

MLflow's own client is not needed for that. What goes wrong is logged, and no run fails because of it.
"""

import json
import logging
import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import urllib3

from audiotagging.artifacts.model_folder import ModelMetadata, model_folders, read_history, read_metadata
from audiotagging.base.errors import brief
from audiotagging.evaluation.scores import SCORES_FILE, Scores, read_scores

EXPERIMENT = "audiotagging"  # unless MLFLOW_EXPERIMENT_NAME names another, which MLflow's own client reads too
ARTIFACTS = ("report.html", "audit.html", "scores.json", "submission.csv", "ensemble.json", "onnx/MODEL_CARD.md")
MOST_METRICS, MOST_PARAMETERS = 1000, 100  # of one request
LONGEST_VALUE = 6000  # letters of a parameter
TIMEOUT = urllib3.Timeout(connect=10, read=60)  # seconds
PROXIED = "mlflow-artifacts"  # the scheme of artifacts that are sent to the server itself

logger = logging.getLogger(__name__)


class MlflowError(Exception):
    """The server does not do what it is asked for."""


class Server:
    """An MLflow server."""

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/")
        self._headers = {"User-Agent": "audiotagging"} | _authorization()
        self._pool = urllib3.PoolManager(timeout=TIMEOUT, retries=urllib3.Retry(2, backoff_factor=1, redirect=False))

    def get(self, name: str, /, **values: str) -> dict[str, Any]:
        """Ask for something. Raises an `MlflowError` if the server refuses it."""
        return self._answer(name, self._pool.request("GET", self._of(name), fields=values, headers=self._headers))

    def post(self, name: str, /, **values: Any) -> dict[str, Any]:
        """Change something. Raises an `MlflowError` if the server refuses it."""
        headers = self._headers | {"Content-Type": "application/json"}
        body = json.dumps(values).encode()
        return self._answer(name, self._pool.request("POST", self._of(name), body=body, headers=headers))

    def put(self, path: str, content: bytes) -> None:
        """Store an artifact. Raises an `MlflowError` if the server refuses it."""
        url = f"{self._url}/api/2.0/mlflow-artifacts/artifacts/{quote(path)}"
        answer = self._pool.request("PUT", url, body=content, headers=self._headers)
        if answer.status != 200:  # what else it answers differs between versions
            raise _unexpected(path, answer)

    def _of(self, name: str) -> str:
        return f"{self._url}/api/2.0/mlflow/{name}"

    def _answer(self, name: str, answer: urllib3.BaseHTTPResponse) -> dict[str, Any]:
        try:
            found = json.loads(answer.data)
        except ValueError:
            raise _unexpected(name, answer) from None
        if answer.status != 200 or not isinstance(found, dict):
            raise _unexpected(name, answer)
        return found


def _unexpected(name: str, answer: urllib3.BaseHTTPResponse) -> MlflowError:
    text = answer.data.decode(errors="replace")
    return MlflowError(f"{name}: expected an answer of MLflow, found status {answer.status} and {text[:200]!r}")


def send_results(out: Path, url: str) -> bool:
    """Send the results of a finished run, and return whether the server took them. What goes wrong is only logged.

    Args:
        out: The output of the run.
        url: The address of the server. The user and the password in MLFLOW_TRACKING_USERNAME and
            MLFLOW_TRACKING_PASSWORD, or the token in MLFLOW_TRACKING_TOKEN, are sent too.
    """
    try:
        logger.info("sent to MLflow: run %s", _send(out, Server(url)))
    except (MlflowError, urllib3.exceptions.HTTPError) as error:
        logger.warning("these results were not, or not all, sent to MLflow: %s", brief(str(error)))
        return False
    return True


def _send(out: Path, server: Server) -> str:
    """Send everything, and return the id of the run."""
    scores = read_scores(out / SCORES_FILE)
    origin = scores.get("origin")
    started, finished = (_milliseconds(origin["started"]), _milliseconds(origin["finished"])) if origin else (0, 0)
    experiment = _experiment(server, os.environ.get("MLFLOW_EXPERIMENT_NAME", EXPERIMENT))
    tags = [{"key": "mlflow.source.name", "value": origin["command"] if origin else "audiotagging"}]
    info = server.post(
        "runs/create", experiment_id=experiment, run_name=out.resolve().name, start_time=started, tags=tags
    )["run"]["info"]
    run, status = info["run_id"], "FAILED"
    try:
        folders = model_folders(out / "models")
        parameters = list(_parameters([read_metadata(folder) for folder in folders]))
        for first in range(0, len(parameters), MOST_PARAMETERS):
            server.post("runs/log-batch", run_id=run, params=parameters[first : first + MOST_PARAMETERS])
        metrics = [*_score_metrics(scores, at=finished), *_curve_metrics(folders, at=finished)]
        for first in range(0, len(metrics), MOST_METRICS):
            server.post("runs/log-batch", run_id=run, metrics=metrics[first : first + MOST_METRICS])
        place = urlsplit(info["artifact_uri"])
        if place.scheme == PROXIED:
            for name in (name for name in ARTIFACTS if (out / name).is_file()):
                server.put(f"{place.path.strip('/')}/{Path(name).name}", (out / name).read_bytes())
        else:
            logger.warning(
                "the report was not sent to MLflow, whose server takes no files (mlflow server --serve-artifacts)"
            )
        status = "FINISHED"
    finally:
        server.post("runs/update", run_id=run, status=status, end_time=finished)
    return run


def _experiment(server: Server, name: str) -> str:
    """Return the id of an experiment, which is made if there is none."""
    try:
        return server.get("experiments/get-by-name", experiment_name=name)["experiment"]["experiment_id"]
    except MlflowError as error:
        if "RESOURCE_DOES_NOT_EXIST" not in str(error):
            raise
    return server.post("experiments/create", name=name)["experiment_id"]


def _parameters(models: Sequence[ModelMetadata]) -> Iterator[dict[str, str]]:
    """Return what was trained: the settings of every member, and what all of them have in common."""
    members = {model.member.id: model.member for model in models}
    values: dict[str, Any] = {
        f"{name}/{field}": value for name, member in members.items() for field, value in asdict(member).items()
    }
    for field in ("seed", "fingerprint", "versions"):
        values[field] = next((getattr(model, field) for model in models), None)
    values["folds"] = sorted({model.fold for model in models})
    for name, value in values.items():
        if not name.endswith("/id"):
            yield {"key": _key(name), "value": str(value)[:LONGEST_VALUE]}


def _score_metrics(scores: Scores, *, at: int) -> Iterator[dict[str, Any]]:
    """Return the lwlrap and the mAP of every system on every set of clips, with the interval of the ensemble."""
    for measure, systems in (
        ("lwlrap", scores["members"] | {"ensemble": scores["ensemble"]}),
        ("mAP", scores["mean_average_precision"]),
    ):
        for system, found in systems.items():
            yield from (_metric(f"{system}/{measure}/{name}", value, at=at) for name, value in found.items())
    for name, estimates in scores["estimates"].items():
        for end in ("low", "high"):
            yield _metric(f"ensemble/lwlrap/{name}/{end}", estimates["ensemble"][end], at=at)  # type: ignore[literal-required]


def _curve_metrics(folders: Sequence[Path], *, at: int) -> Iterator[dict[str, Any]]:
    """Return the loss and the lwlrap of every epoch of every model."""
    for folder in folders:
        for row in read_history(folder).to_dict("records"):
            for name in ("loss", "lr", "lwlrap"):
                if not math.isnan(row[name]):
                    yield _metric(f"{folder.name}/{name}", row[name], at=at, step=int(row["epoch"]))


def _metric(name: str, value: float, *, at: int, step: int = 0) -> dict[str, Any]:
    return {"key": _key(name), "value": value, "timestamp": at, "step": step}


def _key(name: str) -> str:
    """Return a name as MLflow takes it: letters, digits, and the signs of ids of members."""
    return "".join(sign if sign.isascii() and (sign.isalnum() or sign in "_-. /") else "_" for sign in name)


def _milliseconds(time: str) -> int:
    return round(1000 * datetime.fromisoformat(time).timestamp())


def _authorization() -> dict[str, str]:
    """Return the header that says who asks, from the variables that MLflow's own client reads."""
    token, user, password = (
        os.environ.get(f"MLFLOW_TRACKING_{name}", "") for name in ("TOKEN", "USERNAME", "PASSWORD")
    )
    if token:
        return {"Authorization": f"Bearer {token}"}
    return dict(urllib3.make_headers(basic_auth=f"{user}:{password}")) if user else {}
