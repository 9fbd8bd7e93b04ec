"""The description of the server in the format of OpenAPI 3.1."""

from typing import Any

from audiotagging.serving.limits import RETRY_AFTER, Limits
from audiotagging.serving.options import PARAMETERS

OBJECT = "object"
TAG = {
    "type": OBJECT,
    "required": ["label", "score"],
    "properties": {"label": {"type": "string"}, "score": {"type": "number", "minimum": 0, "maximum": 1}},
}
SOUND = {
    "type": OBJECT,
    "required": ["file", "tags"],
    "properties": {"file": {"type": "string"}, "tags": {"type": "array", "items": TAG}},
}
WINDOW = {
    "type": OBJECT,
    "required": ["file", "start", "end", "label", "score"],
    "properties": {
        "file": {"type": "string"},
        "start": {"type": "number", "minimum": 0, "description": "In seconds from the beginning of the sound."},
        "end": {"type": "number", "minimum": 0},
        **TAG["properties"],  # type: ignore[dict-item]
    },
}
ERROR = {"type": OBJECT, "required": ["error"], "properties": {"error": {"type": "string"}}}
BINARY = {"type": "string", "format": "binary"}


def document(limits: Limits) -> dict[str, Any]:
    """Return the description of a server with some limits."""
    page = _answer("A page of HTML.", {"type": "string"}, "text/html")
    refusals = {
        "400": "The form is not one of files, or the request is not one of HTTP, or it is ambiguous where it ends.",
        "408": "The request arrives too slowly.",
        "413": f"There is too much in the request: more than {limits.upload / 1e6:g} MB.",
        "421": "The name in Host is none of this server.",
        "422": "A parameter is wrong, or there is something that is not a sound, or one longer than "
        f"{limits.seconds:g} seconds, or of more than {limits.windows} windows, or one that takes too much to decode.",
        "500": "The server failed.",
    }
    busy = _answer("Too much is in progress. Try again later.", ERROR)
    busy["headers"] = {
        "Retry-After": {
            "description": "After how many seconds to try again.",
            "schema": {"type": "integer", "const": RETRY_AFTER},
        }
    }
    tags = _answer(
        "The tags, best first. Without `every`, one object per sound; with it, one per tag of a window.",
        {"type": "array", "items": {"anyOf": [SOUND, WINDOW]}},
    )
    tags["headers"] = {
        "Model-Version": {"description": "Version of the models.", "schema": {"type": "string"}},
        "Notes": {
            "description": "What was not used of the sounds: a JSON list of texts, each with the number of the "
            "sound in the request, from 1 on, before a colon.",
            "schema": {"type": "string"},
        },
    }
    paths = {
        "/tag": {
            "post": {
                "summary": "Tag one sound or several",
                "description": "Tags sounds such as WAV, FLAC, Ogg, MP3 and M4A. The answer is "
                "that of `audiotagging tag --format json`.",
                "parameters": [
                    {"name": name, "in": "query", "description": each.description, "schema": each.schema}
                    for name, each in PARAMETERS.items()
                ],
                "requestBody": {
                    "required": True,
                    "description": f"A sound, or a form of at most {limits.files} files.",
                    "content": {
                        "application/octet-stream": {"schema": BINARY},
                        "multipart/form-data": {
                            "schema": {
                                "type": OBJECT,
                                "required": ["file"],
                                "properties": {"file": {"type": "array", "minItems": 1, "items": BINARY}},
                                "additionalProperties": False,
                            }
                        },
                    },
                },
                "responses": {
                    "200": tags,
                    **{status: _answer(text, ERROR) for status, text in refusals.items()},
                    "503": busy,
                },
            }
        },
        "/healthz": {"get": _get("Is the server alive?", _state({"alive": "boolean"}), {"503": "It is not."})},
        "/readyz": {
            "get": _get(
                "Does the server answer, and with which models?",
                _state({"ready": "boolean", "version": "string", "refused": "string"}),
                {"503": "It does not, because it is about to end."},
            )
        },
        "/metrics": {"get": _get("Metrics for Prometheus", _answer("Metrics.", {"type": "string"}, "text/plain"))},
        "/openapi.json": {"get": _get("This description", _answer("OpenAPI.", {"type": OBJECT}))},
        "/docs": {"get": _get("This description as a page", page)},
        "/": {"get": _get("A page to drop a sound on", page)},
    }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "audiotagging",
            "version": "1",
            "description": 'Tags sounds with a trained ensemble. Errors are `{"error": "..."}`, in one line.',
        },
        "paths": paths,
    }


def _answer(description: str, schema: dict[str, Any], media_type: str = "application/json") -> dict[str, Any]:
    return {"description": description, "content": {media_type: {"schema": schema}}}


def _state(fields: dict[str, str]) -> dict[str, Any]:
    properties = {name: {"type": kind} for name, kind in fields.items()}
    return _answer("The state.", {"type": OBJECT, "required": list(fields), "properties": properties})


def _get(summary: str, answer: dict[str, Any], others: dict[str, str] | None = None) -> dict[str, Any]:
    responses = {"200": answer} | {status: {**answer, "description": text} for status, text in (others or {}).items()}
    return {"summary": summary, "responses": responses}
