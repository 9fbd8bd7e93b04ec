"""A server on this machine that answers as the API of Kubeflow Pipelines 2.17 does, for as much of it as is used.

What it takes and gives are the models of the published API (kfp-server-api); it refuses what is not in them. The
workflows that it shows of a run were recorded (see workflows.py); what it answers for logs, artifacts and the page,
also where it has none, was seen of the servers of 2.17.0.
"""

import base64
import gzip
import json
import re
import time
from email.parser import BytesParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

import kfp_server_api
import yaml

PAGE = "<!--\n  Copyright 2018 The Kubeflow Authors\n-->\n\n<!doctype html>\n<html><head></head></html>"


class KubeflowServer(ThreadingHTTPServer):
    """The server and all that it keeps.

    Attributes:
        health: What it says of itself.
        page: Whether it is the server of Kubeflow's page, which passes on what it does not answer itself.
        story: States of a run and its workflows, one after the other; the last one stays. No run has other ones.
        logs: Logs by pod: of pods that are there.
        events: Events by pod, as Kubernetes has them.
        gates: What holds a pod back from being scheduled, by pod.
        ready: Whether the server of the page reaches that of the API.
        uids: The identities of pods by name; None of a pod that is not there.
        readable: Whether the API's server may read pods, as it may not for runs without a namespace in its database.
        artifacts: Contents of what is in the object store, by URI.
        broken: Answers (status, body) given instead, by a regular expression of method and path.
        ahead: Seconds by which its clock is ahead.
        delay: Seconds before each answer.
        packed: Whether the nodes of a workflow are compressed, as Argo does it from a megabyte on.
        requests: Method and path of all requests.
        headers: Headers of the last request.
    """

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.health = {"commit_sha": "4a3592c", "tag_name": "2.17.0", "multi_user": False}
        self.pipelines, self.versions, self.experiments, self.runs, self.schedules = {}, {}, {}, {}, {}
        self.packages, self.story, self.logs, self.broken = {}, [("SUCCEEDED", None)], {}, {}
        self.events, self.gates, self.ready, self.uids = {}, {}, True, {}
        self.page, self.readable, self.artifacts = True, False, {}
        self.ahead, self.delay, self.packed, self.requests, self.headers = 0, 0, False, [], {}

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"


class RefusedError(Exception):
    def __init__(self, status, message):
        self.status, self.message = status, message


def filtered(things, query):
    """Return those that a list request asks for."""
    things = list(things)
    for predicate in json.loads(query.get("filter", ['{"predicates": []}'])[0])["predicates"]:
        assert predicate["operation"] in (1, "EQUALS")
        things = [each for each in things if each.get(predicate["key"]) == predicate["stringValue"]]
    return things


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # one packet an answer

    def log_message(self, *_):
        pass

    def date_time_string(self, timestamp=None):
        return super().date_time_string(time.time() + self.server.ahead)

    def do_GET(self):
        self.handle_request()

    def do_POST(self):
        self.handle_request()

    def do_DELETE(self):
        self.handle_request()

    def handle_request(self):
        server, (path, query) = self.server, urlsplit(self.path)[2:4]
        self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        server.requests.append(f"{self.command} {path}")
        server.headers = dict(self.headers)
        time.sleep(server.delay)
        status, answer, self.missing = 200, None, 0
        for pattern, broken in server.broken.items():
            if re.fullmatch(pattern, f"{self.command} {path}"):
                status, answer = broken(self) if callable(broken) else broken
        if answer is None:
            try:
                answer = self.route(path, parse_qs(query))
            except RefusedError as refusal:
                status, answer = refusal.status, {"code": 3, "message": refusal.message, "details": []}
        content = answer if isinstance(answer, str | bytes) else json.dumps(answer)
        content = content.encode() if isinstance(content, str) else content
        self.send_response(status)
        self.send_header("Content-Type", "text/plain" if isinstance(answer, str) else "application/json")
        self.send_header("Content-Length", str(len(content) + self.missing))
        self.end_headers()
        self.wfile.write(content)
        self.close_connection = self.close_connection or self.missing > 0

    def route(self, path, query):
        for pattern, method in ROUTES.items():
            if match := re.fullmatch(pattern, f"{self.command} {path}"):
                return method(self, query, *match.groups())
        raise RefusedError(404, f"Not Found: {path}")

    def taken(self, model):
        """Return the body, all of whose fields the API's model must have."""
        body = json.loads(self.body)
        unknown = set(body) - set(getattr(kfp_server_api, model).attribute_map.values())
        if unknown:
            raise RefusedError(400, f"unknown fields {unknown}")
        return body

    def get_health(self, query):
        health = self.server.health
        if not self.server.page:
            return health
        if not self.server.ready:  # seen of the page while no pod of the API was there
            return {"apiServerReady": False, "multi_user": False}
        return {"apiServerTagName": health["tag_name"], "apiServerReady": True, "multi_user": health["multi_user"]}

    def list_pipelines(self, query):
        return {"pipelines": filtered(self.server.pipelines.values(), query)}

    def create_pipeline(self, query):
        body = self.taken("V2beta1Pipeline")
        identity = f"pipeline-{len(self.server.pipelines)}"
        if any(each["display_name"] == body["display_name"] for each in self.server.pipelines.values()):
            raise RefusedError(409, "Already exists")
        return self.server.pipelines.setdefault(identity, body | {"pipeline_id": identity})

    def list_versions(self, query, pipeline):
        versions = [each for each in self.server.versions.values() if each["pipeline_id"] == pipeline]
        return {"pipeline_versions": filtered(versions, query)}

    def upload_version(self, query):
        message = BytesParser().parsebytes(
            b"Content-Type: " + self.headers["Content-Type"].encode() + b"\r\n\r\n" + self.body
        )
        (part,) = [each for each in message.get_payload() if each.get_filename()]
        spec, platform = yaml.safe_load_all(part.get_payload(decode=True))
        assert spec["pipelineInfo"]["name"].startswith("audiotagging") and "kubernetes" in platform["platforms"]
        pipeline, name = query["pipelineid"][0], query["name"][0]
        if any((each["pipeline_id"], each["name"]) == (pipeline, name) for each in self.server.versions.values()):
            raise RefusedError(409, "Already exists")
        identity = f"version-{len(self.server.versions)}"
        self.server.packages[identity] = spec
        return self.server.versions.setdefault(
            identity,
            {"pipeline_id": pipeline, "pipeline_version_id": identity, "name": name, "display_name": name},
        )

    def list_experiments(self, query):
        namespace = query.get("namespace", [""])[0]
        experiments = [each for each in self.server.experiments.values() if each.get("namespace", "") == namespace]
        return {"experiments": filtered(experiments, query)}

    def create_experiment(self, query):
        identity, name = f"experiment-{len(self.server.experiments)}", json.loads(self.body)["display_name"]
        if any(each["display_name"] == name for each in self.server.experiments.values()):
            raise RefusedError(409, "Already exist error: Failed to create a new experiment")
        body = self.taken("V2beta1Experiment") | {"experiment_id": identity}
        return self.server.experiments.setdefault(identity, body)

    def check_reference(self, body):
        version = self.server.versions[body["pipeline_version_reference"]["pipeline_version_id"]]
        inputs = self.server.packages[version["pipeline_version_id"]]["root"]["inputDefinitions"]["parameters"]
        unknown = set(body["runtime_config"]["parameters"]) - set(inputs)
        if unknown or body["experiment_id"] not in self.server.experiments:
            raise RefusedError(400, f"unknown parameters {unknown} or experiment {body['experiment_id']}")

    def create_run(self, query):
        body = self.taken("V2beta1Run")
        self.check_reference(body)
        number = len(self.server.runs)
        identity = f"{number}0402d41-98b6-4f62-a7a6-b6a3bd20cdb5"
        times = {"created_at": f"2026-11-24T08:{number:02}:00Z", "finished_at": "1970-01-01T00:00:00Z"}
        return self.server.runs.setdefault(identity, body | {"run_id": identity, "state": "PENDING"} | times)

    def list_runs(self, query):
        (experiment,), (order,), size = query["experiment_id"], query["sort_by"], int(query["page_size"][0])
        assert order == "created_at desc"
        runs = [run for run in self.server.runs.values() if run["experiment_id"] == experiment]
        runs = sorted(filtered(runs, query), key=lambda run: run["created_at"], reverse=True)
        start = int(query.get("page_token", ["0"])[0])
        more = {"next_page_token": str(start + size)} if start + size < len(runs) else {}
        return {"runs": [self.get_run(query, run["run_id"]) for run in runs[start : start + size]], **more}

    def get_run(self, query, run):
        if run not in self.server.runs:
            raise RefusedError(404, f"Failed to get run: ResourceNotFoundError: Run {run} not found")
        state, _ = self.server.story[0]
        ended = {} if state in ("PENDING", "RUNNING") else {"finished_at": "2026-11-24T08:59:30Z"}
        return self.server.runs[run] | {"state": state} | ended

    def get_run_v1(self, query, run):
        _, workflow = self.server.story[0]
        if len(self.server.story) > 1:
            self.server.story.pop(0)
        if workflow is None:  # before it has been reported
            return {"run": {"id": run}, "pipeline_runtime": {"pipeline_manifest": "{}"}}
        if self.server.packed:
            nodes = base64.b64encode(gzip.compress(json.dumps(workflow["status"]["nodes"]).encode())).decode()
            workflow = workflow | {"status": workflow["status"] | {"nodes": None, "compressedNodes": nodes}}
        return {"run": {"id": run}, "pipeline_runtime": {"workflow_manifest": json.dumps(workflow)}}

    def change_run(self, query, run, verb):
        self.get_run(query, run)
        return {}

    def get_log(self, query, run, pod):
        if pod not in self.server.logs or not self.server.readable:  # with status 200, as the server does it
            return json.dumps({"error_message": f"pods {pod!r} not found", "error_details": "..."})
        return self.server.logs[pod]

    def get_page(self, query):
        self.check_page()
        return PAGE

    def get_pod_log(self, query):
        self.check_page()
        if query["podname"][0] not in self.server.logs or query["podnamespace"] != ["kubeflow"]:
            raise RefusedError(500, "Could not get main container logs: S3Error: The specified key does not exist.")
        return self.server.logs[query["podname"][0]]

    def get_events(self, query):
        self.check_page()
        assert query["podnamespace"] == ["kubeflow"]
        return {"items": self.server.events.get(query["podname"][0], [])}

    def get_pod(self, query):
        self.check_page()
        if self.server.uids.get(query["podname"][0], "") is None:
            raise RefusedError(500, f"Could not get pod {query['podname'][0]} in namespace kubeflow")
        gates = [{"name": name} for name in self.server.gates.get(query["podname"][0], [])]
        uid = self.server.uids.get(query["podname"][0])
        return {"metadata": {"uid": uid}, "spec": {"schedulingGates": gates} if gates else {}}

    def get_artifact(self, query, scheme, bucket, key):
        self.check_page()
        if self.server.health["multi_user"] and "namespace" not in query:
            raise RefusedError(400, "Namespace parameter is required when authentication is enabled")
        uri = f"{scheme}://{bucket}/{unquote(key)}"
        if uri not in self.server.artifacts:
            raise RefusedError(404, f"No objects found at {bucket}/{key}")
        return self.server.artifacts[uri]

    def check_page(self):
        if not self.server.page:
            raise RefusedError(404, "Not Found")

    def list_schedules(self, query):
        experiment = query["experiment_id"][0]
        schedules = [each for each in self.server.schedules.values() if each["experiment_id"] == experiment]
        schedules = filtered(schedules, query)
        start, size = int(query.get("page_token", ["0"])[0]), int(query["page_size"][0])
        more = {"next_page_token": str(start + size)} if start + size < len(schedules) else {}
        return {"recurringRuns": schedules[start : start + size], **more}

    def create_schedule(self, query):
        body = self.taken("V2beta1RecurringRun")
        self.check_reference(body)
        identity = f"schedule-{self.server.requests.count('POST /apis/v2beta1/recurringruns')}"
        if periodic := body["trigger"].get("periodic_schedule"):
            periodic["interval_second"] = str(periodic["interval_second"])  # as protobuf's JSON has 64-bit integers
        return self.server.schedules.setdefault(identity, body | {"recurring_run_id": identity, "status": "ENABLED"})

    def change_schedule(self, query, schedule, verb):
        self.server.schedules[schedule]["mode"] = verb.upper()
        return {}

    def delete_schedule(self, query, schedule):
        del self.server.schedules[schedule]
        return {}


ROUTES = {
    r"GET /apis/v2beta1/healthz": Handler.get_health,
    r"GET /apis/v2beta1/pipelines": Handler.list_pipelines,
    r"POST /apis/v2beta1/pipelines": Handler.create_pipeline,
    r"GET /apis/v2beta1/pipelines/([\w-]+)/versions": Handler.list_versions,
    r"POST /apis/v2beta1/pipelines/upload_version": Handler.upload_version,
    r"GET /apis/v2beta1/experiments": Handler.list_experiments,
    r"POST /apis/v2beta1/experiments": Handler.create_experiment,
    r"POST /apis/v2beta1/runs": Handler.create_run,
    r"GET /apis/v2beta1/runs": Handler.list_runs,
    r"GET /apis/v2beta1/runs/([\w-]+)": Handler.get_run,
    r"POST /apis/v2beta1/runs/([\w-]+):(terminate|retry)": Handler.change_run,
    r"GET /apis/v1beta1/runs/([\w-]+)": Handler.get_run_v1,
    r"GET /apis/v1alpha1/runs/([\w-]+)/nodes/([\w-]+)/log": Handler.get_log,
    r"GET /": Handler.get_page,
    r"GET /k8s/pod/logs": Handler.get_pod_log,
    r"GET /k8s/pod/events": Handler.get_events,
    r"GET /k8s/pod": Handler.get_pod,
    r"GET /artifacts/(minio)/([\w-]+)/(.+)": Handler.get_artifact,
    r"GET /apis/v2beta1/recurringruns": Handler.list_schedules,
    r"POST /apis/v2beta1/recurringruns": Handler.create_schedule,
    r"DELETE /apis/v2beta1/recurringruns/([\w-]+)": Handler.delete_schedule,
    r"POST /apis/v2beta1/recurringruns/([\w-]+):(enable|disable)": Handler.change_schedule,
}
