"""Draws the pictures of the documentation: the compiled pipelines, the rooms, and a report as a browser shows it.

`make pictures` draws the pipelines and the rooms of the library. `make pictures REPORT=OUT/report.html` takes a picture
of that report too.
"""

import re
import shutil
import subprocess
import sys
import tempfile
import textwrap
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

from google.protobuf.json_format import MessageToDict
from kfp.dsl.graph_component import GraphComponent
from PIL import Image

import pipeline
from docs.drawing import legend, picture
from docs.rooms import draw_rooms

FOLDER = Path(__file__).parent
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
REPORT_SIZE = (1280, 920)  # pixels

# The pictures of pipelines, and what their loops go over.
PIPELINES = {
    "pipeline.svg": (pipeline.audiotagging, "for each member and fold"),
    "tagging.svg": (pipeline.tagging, "for each shard"),
}

COLUMN, LANE = 124, 27  # pixels: the width of a stage, the height of the line of an output
TOP, MARGIN = 136, 12  # pixels
LINE, LETTERS = 13.5, 16  # the text of a stage: pixels between its lines, characters per line
RETURNED = {"collect": "counts"}  # what stages return that have no other output


class Stage(NamedTuple):
    """A stage of the compiled pipeline.

    Attributes:
        image: The image it runs in.
        outputs: Names of its outputs. KFP calls what a function returns "Output".
        inputs: The outputs of other stages that it takes, as pairs of stage and output. The output is "" of a stage, a
            loop or a condition that it only follows.
        in_loop: Whether it is in the loop.
    """

    image: str
    outputs: list[str]
    inputs: set[tuple[str, str]]
    in_loop: bool


def stages(graph: GraphComponent) -> dict[str, Stage]:
    """Return the stages of a pipeline, in an order in which every stage follows those whose outputs it takes."""
    spec: dict[str, Any] = MessageToDict(graph.pipeline_spec)
    parts = [spec["root"], *(component for component in spec["components"].values() if "dag" in component)]
    tasks_of = [part["dag"]["tasks"] for part in parts]
    loops = {
        task["componentRef"]["name"] for tasks in tasks_of for task in tasks.values() if "parameterIterator" in task
    }
    looped = [spec["components"][name]["dag"]["tasks"] for name in loops]
    found: dict[str, Stage] = {}
    for tasks in tasks_of:
        for name, task in tasks.items():
            component = spec["components"][task["componentRef"]["name"]]
            if "dag" in component:
                continue
            container = spec["deploymentSpec"]["executors"][component["executorLabel"]]["container"]
            image = re.search(r"audiotagging-(\w+)", container["image"])
            assert image
            outputs = sorted(key for kind in component.get("outputDefinitions", {}).values() for key in kind)
            inputs = {
                source for kind in task["inputs"].values() for value in kind.values() for source in _sources(value)
            }
            inputs |= {(other, "") for other in task.get("dependentTasks", [])}  # it may take nothing of it
            found[name] = Stage(image[1], outputs, inputs, tasks in looped)
    return _in_order(found)


def _sources(value: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the stage and the output that a task's input comes from, if it comes from a stage.

    On its way into or out of a loop or a condition, KFP calls an output `pipelinechannel--STAGE-OUTPUT`, and one of its
    items `pipelinechannel--STAGE-OUTPUT-loop-item`.
    """
    produced = value.get("taskOutputArtifact") or value.get("taskOutputParameter") or {}
    passed = value.get("componentInputArtifact") or value.get("componentInputParameter")
    key = str(produced.get("outputArtifactKey") or produced.get("outputParameterKey") or passed)
    channel = re.fullmatch(r"pipelinechannel--(\w+)-(\w+)(-loop-item)?", key)
    if channel:
        return [(channel[1], channel[2])]
    return [(produced["producerTask"], key)] if produced else []


def _in_order(found: dict[str, Stage]) -> dict[str, Stage]:
    ordered: dict[str, Stage] = {}
    while len(ordered) < len(found):
        ready = [
            name
            for name in found
            if name not in ordered and {stage for stage, _ in found[name].inputs} & {*found} <= {*ordered}
        ]
        ordered |= {name: found[name] for name in sorted(ready)}
    return ordered


def draw_pipeline(graph: GraphComponent, *, loop: str) -> str:
    """Return a pipeline as SVG, with one column per stage and a line from each output to the stages that take it.

    Args:
        graph: The pipeline.
        loop: What its loop goes over.
    """
    columns = stages(graph)
    centres = {name: MARGIN + COLUMN * (number + 0.5) for number, name in enumerate(columns)}
    lanes = [(name, output) for name, stage in columns.items() for output in stage.outputs]
    width, bottom = MARGIN * 2 + COLUMN * len(columns), TOP + LANE * len(lanes) + 8
    parts = [f'<path class="guide" d="M{x:g},{TOP - 22}V{bottom}"/>' for x in centres.values()]
    looped = [x for name, x in centres.items() if columns[name].in_loop]
    left, right = min(looped) - COLUMN / 2 - 3, max(looped) + COLUMN / 2 + 3
    parts.append(f'<rect class="loop" x="{left:g}" y="4" width="{right - left:g}" height="{bottom:g}" rx="8"/>')
    parts.append(f'<text class="muted" x="{left + 10:g}" y="20">{loop}</text>')
    for name, stage in columns.items():
        parts.append(_card(name, stage, centres[name]))
    for number, (name, output) in enumerate(lanes):
        y = TOP + LANE * (number + 0.5)
        readers = [centres[other] for other, stage in columns.items() if (name, output) in stage.inputs]
        label = RETURNED[name] if output == "Output" else output
        parts.append(_lane(label, centres[name], readers, y=y, image=columns[name].image))
    images = dict.fromkeys(stage.image for stage in columns.values())
    key = "".join(legend(image, MARGIN + 10 + COLUMN * place, bottom + 24) for place, image in enumerate(images))
    description = "The stages of the pipeline, and what passes between them"
    return picture("\n".join([*parts, key]), width=width, height=bottom + 36, description=description)


def _card(name: str, stage: Stage, x: float) -> str:
    """Draw a stage with its description in the docstring of pipeline.py. A stage in the loop is a pile of cards."""
    text = re.search(rf"^ +\d+\. {name} +(.*)$", pipeline.__doc__ or "", re.MULTILINE)
    assert text, f"pipeline.py does not say what {name} does"
    left, top, width, height = x - COLUMN / 2 + 5, 30, COLUMN - 12, TOP - 44
    piles = [4, 2, 0] if stage.in_loop else [0]
    cards = "".join(
        f'<rect class="card" x="{left + up:g}" y="{top - up}" width="{width}" height="{height}" rx="5"/>'
        for up in piles
    )
    lines = "".join(
        f'<text class="muted small" x="{left + 10:g}" y="{top + 35 + LINE * number:g}">{escape(line)}</text>'
        for number, line in enumerate(textwrap.wrap(text[1], LETTERS, break_on_hyphens=False))
    )
    bar = f'<rect class="bar" x="{left:g}" y="{top}" width="4" height="{height}" rx="2"/>'
    title = f'<text class="name" x="{left + 10:g}" y="{top + 19}">{name}</text>'
    return f'<g class="{stage.image}">{cards}{bar}{title}{lines}</g>'


def _lane(output: str, start: float, readers: list[float], *, y: float, image: str) -> str:
    line = f'<path class="lane" d="M{start:g},{y:g}H{max(readers):g}"/>' if readers else ""
    dots = "".join(f'<circle class="reader" cx="{x:g}" cy="{y:g}" r="4"/>' for x in readers)
    place = f'x="{start + 9:g}"' if readers else f'x="{start - 9:g}" text-anchor="end"'
    label = f'<text {place} y="{y - 6 if readers else y + 4:g}">{escape(output)}</text>'
    return f'<g class="{image}">{line}<circle class="dot" cx="{start:g}" cy="{y:g}" r="4.5"/>{dots}{label}</g>'


def chromium(*options: str) -> str:
    """Run headless Chromium without network services, and return its output."""
    if CHROMIUM is None:
        sys.exit("expected Chromium or Chrome to take the picture, found neither; install one of them")
    with tempfile.TemporaryDirectory() as profile:
        settings = [
            "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run", "--disable-sync",
            "--disable-background-networking", "--disable-component-update", f"--user-data-dir={profile}",
        ]  # fmt: skip
        command = [CHROMIUM, *settings, *options]
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=120).stdout


def photograph(page: Path, picture: Path, *, width: int, height: int, dark: bool = False) -> None:
    """Write a screenshot of a page as a PNG.

    Args:
        page: The page.
        picture: The file to write.
        width: Width of the window in pixels.
        height: Height of the window in pixels.
        dark: Whether the browser prefers dark mode.
    """
    scheme = f"--blink-settings=preferredColorScheme={0 if dark else 1}"
    chromium(f"--window-size={width},{height}", scheme, f"--screenshot={picture}", page.resolve().as_uri())


if __name__ == "__main__":
    for name, (graph, loop) in PIPELINES.items():
        (FOLDER / name).write_text(draw_pipeline(graph, loop=loop))
    (FOLDER / "rooms.svg").write_text(draw_rooms())
    if sys.argv[1:]:
        picture_path = FOLDER / "report.png"
        width, height = REPORT_SIZE
        photograph(Path(sys.argv[1]), picture_path, width=width, height=height)
        shown = Image.open(picture_path).convert("RGB").quantize(128, method=Image.Quantize.FASTOCTREE)
        shown.save(picture_path, optimize=True)
