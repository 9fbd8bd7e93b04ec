"""An MLflow server, as far as results are sent to one. Its answers are those of MLflow 3."""

import json
import re
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

KEY = re.compile(r"[\w.\-/ ]{1,250}", re.ASCII)


class MlflowServer(ThreadingHTTPServer):
    """Keeps what it is sent.

    Attributes:
        scheme: Of the artifacts: "mlflow-artifacts", or another one where the server takes none.
        refused: The path of what it refuses, or "".
        headers: Those of the last request.
    """

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.scheme, self.refused = "mlflow-artifacts", ""
        self.experiments, self.runs, self.artifacts, self.headers = {}, {}, {}, {}

    def get_experiment(self, values):
        name = values["experiment_name"]
        if name not in self.experiments:
            return 404, {"error_code": "RESOURCE_DOES_NOT_EXIST", "message": f"no experiment {name}"}
        return 200, {"experiment": {"experiment_id": self.experiments[name], "name": name}}

    def create_experiment(self, values):
        self.experiments[values["name"]] = str(len(self.experiments) + 1)
        return 200, {"experiment_id": self.experiments[values["name"]]}

    def create_run(self, values):
        run = f"{len(self.runs):032x}"
        self.runs[run] = values | {"params": {}, "metrics": []}
        place = f"{self.scheme}:/{values['experiment_id']}/{run}/artifacts"
        return 200, {"run": {"info": {"run_id": run, "artifact_uri": place}}}

    def log_batch(self, values):
        run, params, metrics = self.runs[values["run_id"]], values.get("params", []), values.get("metrics", [])
        names = [each["key"] for each in (*params, *metrics)]
        if len(params) > 100 or len(metrics) > 1000 or not all(map(KEY.fullmatch, names)):
            return 400, {"error_code": "INVALID_PARAMETER_VALUE", "message": "too much, or a wrong name"}
        run["params"] |= {each["key"]: each["value"] for each in params}
        run["metrics"] += metrics
        return 200, {}

    def update_run(self, values):
        self.runs[values["run_id"]] |= values
        return 200, {}


METHODS = {
    "experiments/get-by-name": "get_experiment",
    "experiments/create": "create_experiment",
    "runs/create": "create_run",
    "runs/log-batch": "log_batch",
    "runs/update": "update_run",
}


class _Handler(BaseHTTPRequestHandler):
    def _answer(self, status, content):
        text = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def _body(self):
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def _do(self):
        body, parts = self._body(), urlsplit(self.path)
        self.server.headers = dict(self.headers)
        if self.server.refused and self.server.refused in self.path:
            return self._answer(500, b"<h1>Internal Server Error</h1>")
        if self.command == "PUT":
            name = unquote(parts.path).removeprefix("/api/2.0/mlflow-artifacts/artifacts/")
            self.server.artifacts[name] = body
            return self._answer(200, b"")
        query = {name: found[0] for name, found in parse_qs(parts.query).items()}
        method = getattr(self.server, METHODS[parts.path.removeprefix("/api/2.0/mlflow/")])
        return self._answer(*method(query or json.loads(body)))

    do_GET = do_POST = do_PUT = _do  # noqa: N815 - the names of http.server

    def log_message(self, *_):
        pass
