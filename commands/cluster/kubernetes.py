"""Kubernetes itself, as kubectl reaches it from here: what Kubeflow's servers do not say of their cluster."""

import json
import re
from typing import Any

import urllib3
import yaml
from kubernetes import client, config
from kubernetes.client.exceptions import ApiException
from kubernetes.config.config_exception import ConfigException

SECONDS = (2.0, 10.0)  # for the connection and for an answer
# In the message of a refusal: the user, the verb, the kind of object, and the namespace if it has one.
FORBIDDEN = re.compile(r'User "(.*?)" cannot (\w+) resource "(\S+)".*?(?: in the namespace "(.*?)")?$')


class UnseenError(Exception):
    """Raised if something cannot be seen from here. Its text says why."""


class ForbiddenError(UnseenError):
    """Raised if the user may not see something."""


class Kubernetes:
    """A connection with the credentials of the user's kubeconfig.

    Attributes:
        context: Name of kubectl's context.
    """

    def __init__(self, context: str, api: client.ApiClient) -> None:
        self.context = context
        self._api = api

    def get(self, path: str, **query: str) -> Any:
        """Return an object or a list, or None if there is none.

        Args:
            path: The path in the API of Kubernetes.
            query: Parameters such as `labelSelector`.

        Raises:
            UnseenError: If the user may not see it, or if there is no answer.
        """
        return json.loads(answer) if (answer := self.request("GET", path, query=query)) is not None else None

    def request(
        self, method: str, path: str, *, query: dict[str, str] | None = None, body: dict[str, Any] | None = None
    ) -> str | None:
        """Send any request, and return the answer as text, or None if there is no such object.

        Raises:
            UnseenError: If the user may not do that, or if there is no answer.
        """
        try:
            answer = self._api.call_api(
                path,
                method,
                query_params=list((query or {}).items()),
                header_params={"Accept": "*/*", "Content-Type": "application/json"},
                body=body,
                auth_settings=["BearerToken"],
                _preload_content=False,
                _return_http_data_only=True,
                _request_timeout=SECONDS,
            )
        except ApiException as error:
            if error.status == 404:
                return None
            raise (ForbiddenError if error.status == 403 else UnseenError)(_refusal(error)) from None
        except (urllib3.exceptions.HTTPError, OSError):
            host = self._api.configuration.host
            raise UnseenError(f"{host} (context {self.context} of kubectl) does not answer") from None
        return str(answer.data.decode(errors="replace"))


def open_kubernetes() -> Kubernetes:
    """Return a connection to the cluster of kubectl's current context.

    Raises:
        UnseenError: If there is no usable kubeconfig.
    """
    configuration = client.Configuration()
    try:
        _, context = config.list_kube_config_contexts()
        config.load_kube_config(client_configuration=configuration)
    except (ConfigException, OSError, yaml.YAMLError, KeyError, TypeError, AttributeError) as error:
        said = " ".join(str(error).split())
        missing = "Invalid kube-config file. No configuration found" in said
        raise UnseenError("there is no kubeconfig" if missing else f"the kubeconfig cannot be used: {said}") from None
    configuration.retries = False
    return Kubernetes(context["name"], client.ApiClient(configuration))


def _refusal(error: ApiException) -> str:
    """Return why a request was refused, in the words of Kubernetes."""
    try:
        said = json.loads(error.body)["message"]
    except (TypeError, ValueError, KeyError):
        said = str(error.body or error.reason)
    said = " ".join(said.split())
    if found := FORBIDDEN.search(said):
        user, verb, kind, namespace = found.groups()
        return f"{user} may not {verb} {kind} in {f'the namespace {namespace}' if namespace else 'the cluster'}"
    return said or f"{error.status} {error.reason}"
