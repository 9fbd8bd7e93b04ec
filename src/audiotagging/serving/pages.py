"""The pages of the server: one to drop a sound on, and one that shows its description. They need nothing else."""

import base64
import hashlib
from collections.abc import Sequence
from functools import cache
from html import escape
from pathlib import Path
from typing import Any

from starlette.responses import HTMLResponse

FOLDER = Path(__file__).parent / "page"


@cache
def index() -> HTMLResponse:
    """Return the page to drop a sound on."""
    return _page(_read("index.html"), script=_read("index.js"))


def reference(description: dict[str, Any]) -> HTMLResponse:
    """Return a page that shows a description in the format of OpenAPI."""
    parts = [f"<p>{_text(description['info']['description'])}</p>"]
    for path, methods in description["paths"].items():
        for method, operation in methods.items():
            parts += _operation(f"{method.upper()} {path}", operation)
    return _page(_read("reference.html").replace("{{ operations }}", "\n".join(parts)))


def _operation(name: str, operation: dict[str, Any]) -> list[str]:
    parts = ["<section>", f"<h2><code>{escape(name)}</code></h2>", f"<p>{_text(operation['summary'])}.</p>"]
    if "description" in operation:
        parts.append(f"<p>{_text(operation['description'])}</p>")
    if "requestBody" in operation:
        kinds = " or ".join(f"<code>{escape(kind)}</code>" for kind in operation["requestBody"]["content"])
        parts.append(f"<p>Body: {kinds}. {_text(operation['requestBody']['description'])}</p>")
    if "parameters" in operation:
        rows = [(each["name"], _values(each["schema"]), each["description"]) for each in operation["parameters"]]
        parts.append(_table(("Parameter", "Values", ""), rows))
    parts.append(_table(("Status", ""), [(key, each["description"]) for key, each in operation["responses"].items()]))
    return [*parts, "</section>"]


def _values(schema: dict[str, Any]) -> str:
    values = ", ".join(map(str, schema["enum"])) if "enum" in schema else schema["type"]
    if "minimum" in schema:
        values += f" from {schema['minimum']:g} to {schema['maximum']:g}"
    return values + (f"; {str(schema['default']).lower()} by default" if "default" in schema else "")


def _table(header: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    head = "".join(f"<th>{name}</th>" for name in header)
    body = "".join(
        f"<tr><th><code>{escape(first)}</code></th>{''.join(f'<td>{_text(each)}</td>' for each in others)}</tr>"
        for first, *others in rows
    )
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _text(text: str) -> str:
    """Return text as HTML, with what is between backquotes as code."""
    parts = escape(text).split("`")
    return "".join(f"<code>{part}</code>" if number % 2 else part for number, part in enumerate(parts))


def _read(name: str) -> str:
    return (FOLDER / name).read_text(encoding="utf-8")


def _page(page: str, *, script: str = "") -> HTMLResponse:
    """Return a page with its style and script, which runs no other script and loads nothing from elsewhere."""
    content = page.replace("{{ style }}", _read("page.css")).replace("{{ script }}", script)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; connect-src 'self'; "
        "media-src blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return HTMLResponse(content, headers={"Content-Security-Policy": policy})
