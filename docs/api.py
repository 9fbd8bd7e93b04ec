"""Writes docs/api.md, the reference of the library, from its docstrings: `make api`."""

import inspect
import re
import textwrap
from pathlib import Path
from typing import Any

import audiotagging

PAGE = Path(__file__).with_name("api.md")
SECTIONS = ("Attributes", "Args", "Returns", "Raises", "Examples")
HEAD = """\
# The library

`import audiotagging` offers what stands here, with type hints. It takes milliseconds: what a function needs is imported
when one is first used, and torch only for the networks of a run. What a caller can put right is a `UserError`, in one
line; warnings and progress are logged (`logging`). The examples run as tests, where the run in the folder OUT tells
barks, meows and rain apart; `np` is numpy. Two notebooks use the library:
[examples/from_folder_to_report.ipynb](../examples/from_folder_to_report.ipynb) and
[examples/tag_and_explore.ipynb](../examples/tag_and_explore.ipynb).

There is no function for a whole run, from a folder of sounds to a report: its stages are processes, some of them side
by side, which are resumed when one is killed, and reused. `audiotagging run` does that, and the functions here read
what it wrote.

<!-- Written by `make api` from src/audiotagging/api.py. -->
"""


def render() -> str:
    """Return the content of docs/api.md."""
    return HEAD + "".join(_entry(name, getattr(audiotagging, name), level=2) for name in _order())


def _order() -> list[str]:
    """Return the public names in the order of their definitions, those that are defined elsewhere last."""
    source = inspect.getsource(inspect.getmodule(audiotagging.load))  # type: ignore[arg-type]
    places = {name: re.search(rf"^(def|class) {name}\b", source, re.MULTILINE) for name in audiotagging.__all__}
    return sorted(places, key=lambda name: found.start() if (found := places[name]) else len(source))


def _entry(name: str, thing: Any, *, level: int) -> str:
    """Return the heading, the signature and the docstring of a function or a class, and those of its methods."""
    text = f"\n{'#' * level} {name}\n\n"
    if not inspect.isclass(thing):
        text += f"```python\n{_signature(name.rpartition('.')[2], thing)}\n```\n\n"
    text += _docstring(inspect.getdoc(thing) or "")
    if inspect.isclass(thing) and thing.__module__ == "audiotagging.api":
        methods = {each: method for each, method in vars(thing).items() if not each.startswith("_")}
        text += "".join(_entry(f"{name}.{each}", method, level=level + 1) for each, method in methods.items())
    return text


def _signature(name: str, function: Any) -> str:
    """Return the signature as it is written, with one parameter per line if it is long."""
    source = inspect.getsource(function)
    written = re.match(rf"\s*def {name}\((.*?)\) -> (.*?):\n", source, re.DOTALL)
    assert written
    inside = " ".join(written[1].split()).removeprefix("self, ").rstrip(",")
    line = f"{name}({inside}) -> {written[2].strip(chr(34))}"
    if len(line) <= 100:
        return line
    parts = re.split(r", (?=\*|\w+:)", inside)
    return f"{name}(\n" + "".join(f"    {part},\n" for part in parts) + f") -> {written[2]}"


def _docstring(text: str) -> str:
    """Return a docstring in Google's style as Markdown."""
    blocks = re.split(rf"^({'|'.join(SECTIONS)}):\n", text, flags=re.MULTILINE)
    found = [blocks[0]]
    for title, body in zip(blocks[1::2], blocks[2::2], strict=True):
        body = textwrap.dedent(body)
        if title == "Examples":
            found.append(_examples(body))
        elif title == "Returns":
            found.append(f"**{title}**\n\n{body}")
        else:
            found.append(f"**{title}**\n\n{_items(body)}")
    return "\n\n".join(part.strip() for part in found) + "\n"


def _items(text: str) -> str:
    """Return `name: description` with indented lines below it as a list."""
    items = re.sub(r"\n    +", " ", text.strip()).splitlines()
    return "\n".join(re.sub(r"^(\w+): ", r"* `\1`: ", item) for item in items)


def _examples(text: str) -> str:
    """Return doctests as code, and what is said between them as text."""
    parts = re.split(r"\n\n", text.strip())
    blocks = [f"```python\n{part}\n```" if part.startswith(">>>") else part for part in parts]
    return "**Examples**\n\n" + "\n\n".join(blocks).replace("```\n\n```python\n", "\n")


if __name__ == "__main__":
    PAGE.write_text(render(), encoding="utf-8")
