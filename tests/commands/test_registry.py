"""Whether a registry has an image, asked of a server that wants tokens as registries do."""

import base64
import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest
from helpers.background import running

from commands.cluster.checks.registry import has_host, registry_has
from commands.cluster.kubernetes import UnseenError

ANN = base64.b64encode(b"ann:secret").decode()


class Registry(ThreadingHTTPServer):
    """A registry with the image team/data:1, and the private image team/own:1 of ann; team/closed is for nobody."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)

    @property
    def host(self):
        return f"127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def do_HEAD(self):
        _, _, *name, _, tag = self.path.split("/")
        name, given = "/".join(name), self.headers.get("Authorization", "")
        if given != f"Bearer token-{name}":
            challenge = f'Bearer realm="http://{self.server.host}/token",service="s",scope="repository:{name}:pull"'
            return self.answer(401, {"WWW-Authenticate": challenge})
        if name == "team/closed":
            return self.answer(403)
        assert "application/vnd.oci.image.index.v1+json" in self.headers["Accept"]
        return self.answer(200 if (name, tag) in (("team/data", "1"), ("team/own", "1")) else 404)

    def do_GET(self):
        query = parse_qs(urlsplit(self.path).query)
        assert query["service"] == ["s"]
        name = query["scope"][0].split(":")[1]
        is_ann = self.headers.get("Authorization") == f"Basic {ANN}"
        token = f"token-{name}" if is_ann or name != "team/own" else "none"
        self.answer(200, body=json.dumps({"token": token}).encode())

    def answer(self, status, headers=(), body=b""):
        self.send_response(status)
        for name, value in {**dict(headers), "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def host(monkeypatch, tmp_path):
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    with running(Registry()) as registry:
        yield registry.host


def test_a_registry_has_an_image_or_not(host):
    assert registry_has(f"{host}/team/data:1")
    assert not registry_has(f"{host}/team/data:2")


@pytest.mark.parametrize(
    ("image", "expected"),
    [("ghcr.io/x/y:1", True), ("localhost/y:1", True), ("host:5000/y:1", True), ("team/y:1", False), ("y:1", False)],
)
def test_a_host_has_a_dot_or_a_port(image, expected):
    assert has_host(image) == expected


def test_credentials_are_those_of_docker(host, tmp_path):
    with pytest.raises(UnseenError, match="answers 401 Unauthorized here; nodes may have a secret"):
        registry_has(f"{host}/team/own:1")
    (tmp_path / "config.json").write_text(json.dumps({"auths": {host: {"auth": ANN}}}))
    assert registry_has(f"{host}/team/own:1")


def test_what_cannot_be_seen_is_no_answer(host):
    with pytest.raises(UnseenError, match="answers 403 Forbidden here"):
        registry_has(f"{host}/team/closed:1")
    with pytest.raises(UnseenError, match=r"the registry 127\.0\.0\.1:1 does not answer from here"):
        registry_has("127.0.0.1:1/team/data:1")
