"""Checks that the answers of a Kubeflow server have the shape that its API promises, before anything relies on it."""

import contextlib
import json
import re
import zlib
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

import kfp_server_api

from audiotagging.base.errors import UserError

# What has no useful meaning without these fields.
REQUIRED = {
    "V2beta1Run": ("run_id", "created_at"),
    "V2beta1Experiment": ("experiment_id",),
    "V2beta1Pipeline": ("pipeline_id",),
    "V2beta1PipelineVersion": ("pipeline_version_id",),
    "V2beta1RecurringRun": ("recurring_run_id", "trigger", "pipeline_version_reference", "runtime_config"),
}
CONTAINER = re.compile(r"list\[(.*)\]|dict\(str, (.*)\)")
PLAIN: dict[str, type | tuple[type, ...]] = {"str": (str, int), "bool": bool, "int": (int, str), "float": (int, float)}
UNREADABLE = (LookupError, TypeError, ValueError, AttributeError, EOFError, zlib.error, RecursionError)


class AnswerError(UserError):
    """Raised if a server answers something that its API does not promise."""


@contextlib.contextmanager
def readable(what: str) -> Iterator[None]:
    """Turn the exceptions that reading an answer of another shape raises into one that says so.

    Args:
        what: What is read, for the message.

    Raises:
        AnswerError: If it cannot be read.
    """
    try:
        yield
    except UNREADABLE as error:
        raise AnswerError(
            f"{what}: the server's answer has another shape than expected ({type(error).__name__}: {error}); check "
            "that this is the address of Kubeflow Pipelines 2.17"
        ) from error


def pages(request: Callable[[str], Any]) -> Iterator[Any]:
    """Yield all pages of a list.

    Args:
        request: Requests a page by its token, which is empty for the first one.

    Raises:
        AnswerError: If the list has no end.
    """
    seen, token = set[str](), ""
    while token not in seen:
        seen.add(token)
        page = request(token)
        yield page
        token = page.next_page_token or ""
    if token:
        raise AnswerError("a list: the server's answer has no end, the same page follows again; try again later")


def checked(deserialize: Callable[[Any, str], Any]) -> Callable[[Any, str], Any]:
    """Return a function for the answers of kfp's client which checks them against its models first."""

    def checked_deserialize(response: Any, kind: str) -> Any:
        with readable(kind):
            content = json.loads(response.data)
            if content is None:
                raise ValueError("null")
            _check(content, kind)
            return deserialize(response, kind)

    return checked_deserialize


def _check(content: Any, kind: str) -> None:
    """Check a value against a type of the API: a model, list[TYPE], dict(str, TYPE), datetime, object or a plain type.

    Raises:
        TypeError, LookupError, ValueError: If it is of another type, or if something is missing in it.
    """
    if content is None or kind == "object":
        return
    if container := CONTAINER.fullmatch(kind):
        of = list if container[1] else dict
        _expect(content, of, kind)
        for each in content if of is list else content.values():
            if each is None:
                raise TypeError(f"expected {kind}, found null in it")
            _check(each, container[1] or container[2])
    elif kind == "datetime":
        _expect(content, str, kind)
        datetime.fromisoformat(content)
    elif kind in PLAIN:
        _expect(content, PLAIN[kind], kind)
    else:
        model = getattr(kfp_server_api, kind)
        _expect(content, dict if model.openapi_types else str, kind)  # a model without fields is an enumeration
        for name in REQUIRED.get(kind, ()):
            if content.get(model.attribute_map[name]) is None:
                raise LookupError(f"{kind} without {name}")
        for name, field in model.openapi_types.items():
            _check(content.get(model.attribute_map[name]), field)


def _expect(content: Any, kind: type | tuple[type, ...], name: str) -> None:
    if not isinstance(content, kind):
        raise TypeError(f"expected {name}, found {type(content).__name__}")
