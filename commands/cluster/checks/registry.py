"""Asks a registry whether it has an image, with the credentials that Docker has on this machine.

The protocol is https://distribution.github.io/distribution/spec/api/ with tokens as in
https://distribution.github.io/distribution/spec/auth/token/.
"""

import json
import re
from urllib.parse import urlencode

import urllib3
from docker.auth import load_config
from docker.errors import DockerException

from commands.cluster.kubernetes import UnseenError

MANIFESTS = ", ".join(
    f"application/vnd.{kind}+json"
    for kind in (
        "oci.image.index.v1",
        "oci.image.manifest.v1",
        "docker.distribution.manifest.list.v2",
        "docker.distribution.manifest.v2",
    )
)
TIMEOUT = urllib3.Timeout(connect=3, read=10)
LOCAL = re.compile(r"(localhost|127\.0\.0\.1)(:\d+)?")  # registries that Docker asks without TLS
PARAMETER = re.compile(r'(\w+)="([^"]*)"')
DOCKER_HUB = "registry-1.docker.io"


def has_host(image: str) -> bool:
    """Return whether a reference begins with the host of a registry."""
    first, slash, _ = image.partition("/")
    return bool(slash) and ("." in first or ":" in first or first == "localhost")


def registry_has(image: str) -> bool:
    """Return whether a registry has an image.

    Args:
        image: The reference, HOST/PATH/NAME:TAG. Without a host, the registry is that of Docker.

    Raises:
        UnseenError: If the registry does not answer, or lets nobody from here see the image.
    """
    host, _, path = (image if has_host(image) else f"docker.io/{image}").partition("/")
    name, _, tag = path.rpartition(":")
    address = DOCKER_HUB if host == "docker.io" else host
    url = f"{'http' if LOCAL.fullmatch(host) else 'https'}://{address}/v2/{name}/manifests/{tag}"
    credentials = _credentials(host)
    try:
        answer = _head(url, urllib3.make_headers(basic_auth=credentials) if credentials else {})
        challenge = answer.headers.get("WWW-Authenticate", "")
        if answer.status == 401 and challenge.lower().startswith("bearer "):
            answer = _head(url, {"Authorization": f"Bearer {_token(challenge, credentials)}"})
    except (urllib3.exceptions.HTTPError, ValueError, KeyError):
        raise UnseenError(f"the registry {host} does not answer from here") from None
    if answer.status == 404:
        return False
    if answer.status != 200:
        raise UnseenError(f"the registry {host} answers {answer.status} {answer.reason} here; nodes may have a secret")
    return True


def _head(url: str, headers: dict[str, str]) -> urllib3.BaseHTTPResponse:
    return urllib3.request("HEAD", url, headers={"Accept": MANIFESTS, **headers}, timeout=TIMEOUT, retries=False)


def _token(challenge: str, credentials: str | None) -> str:
    """Return the token that a registry asks for, from the server that it names."""
    parameters = dict(PARAMETER.findall(challenge))
    realm = parameters.pop("realm")
    headers = urllib3.make_headers(basic_auth=credentials) if credentials else {}
    answer = urllib3.request("GET", f"{realm}?{urlencode(parameters)}", headers=headers, timeout=TIMEOUT, retries=False)
    said = json.loads(answer.data)
    return str(said.get("token") or said["access_token"])


def _credentials(host: str) -> str | None:
    """Return USER:PASSWORD for a registry from Docker's configuration, None if it has none."""
    try:
        found = load_config().resolve_authconfig(host) or {}
    except (DockerException, OSError, ValueError):
        return None
    return f"{found['username']}:{found['password']}" if found.get("username") and found.get("password") else None
