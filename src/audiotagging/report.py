"""The report: one self-contained HTML page."""

from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

ENVIRONMENT = Environment(
    loader=PackageLoader("audiotagging", "."),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def render(scores: dict[str, Any]) -> str:
    """Return the page that shows the scores."""
    return ENVIRONMENT.get_template("report.html.jinja").render(scores=scores)
