"""A server on this machine that hands out artifacts as the server of Kubeflow's page 2.17.0 does, from an S3 server."""

import io
import json
import re
import tarfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit


class PageServer(ThreadingHTTPServer):
    """The server.

    Attributes:
        workflows: The workflows of runs by their ids, which it passes on from the API.
        cuts: How many answers with an artifact are broken off from now on.
        is_page: Whether it is the page's server, and not the API's.
    """

    daemon_threads = True

    def __init__(self, s3):
        super().__init__(("127.0.0.1", 0), Handler)
        self.s3, self.workflows, self.cuts, self.is_page = s3, {}, 0, True
        self.url = f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_GET(self):
        path = urlsplit(self.path).path
        if path == "/apis/v2beta1/healthz":
            self.answer(200, {"tag_name": "2.17.0", "apiServerTagName": "2.17.0", "multi_user": False})
        elif (match := re.fullmatch("/apis/v1beta1/runs/(.+)", path)) and match[1] in self.server.workflows:
            manifest = json.dumps(self.server.workflows[match[1]])
            self.answer(200, {"pipeline_runtime": {"workflow_manifest": manifest}})
        elif (match := re.fullmatch("/apis/v2beta1/runs/(.+)", path)) and match[1] in self.server.workflows:
            run = {"run_id": match[1], "display_name": "a run", "created_at": "2026-11-24T08:00:00Z"}
            self.answer(200, run | {"state": "SUCCEEDED"})
        elif (match := re.fullmatch("/artifacts/minio/([^/]+)/(.+)", path)) and self.server.is_page:
            self.hand_out(match[1], unquote(match[2]))
        else:
            self.answer(404, {"code": 5, "message": "Not Found", "details": []})

    def answer(self, status, content):
        body = content.encode() if isinstance(content, str) else json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/html" if isinstance(content, str) else "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def hand_out(self, bucket, key):
        """Send an object as it is, and what lies below a name as a tar archive."""
        files = self.server.s3.files(key, bucket=bucket)
        if key in files:
            return self.send_chunks(files[key], {})
        below = {name.removeprefix(f"{key}/"): file for name, file in files.items() if name.startswith(f"{key}/")}
        if not below:
            return self.answer(404, f"No objects found at {bucket}/{key}")
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w:gz") as archive:
            for name, content in below.items():
                entry = tarfile.TarInfo(name)
                entry.size = len(content)
                archive.addfile(entry, io.BytesIO(content))
        name = key.rpartition("/")[2]
        disposition = f"attachment; filename=\"{name}.tar.gz\"; filename*=UTF-8''{name}.tar.gz"
        headers = {"Content-Type": "application/gzip", "Content-Disposition": disposition}
        return self.send_chunks(packed.getvalue(), headers)

    def send_chunks(self, body, headers):
        self.send_response(200)
        for name, value in {**headers, "Transfer-Encoding": "chunked"}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.server.cuts > 0:
            self.server.cuts -= 1
            self.wfile.write(b"%x\r\n%s\r\n" % (len(body) + 99, body))
            self.close_connection = True
            return
        self.wfile.write(b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body) if body else b"0\r\n\r\n")
