"""Draws the rooms of the library: what each is for, which images have modules of it, and which rooms import it."""

import re
from html import escape
from pathlib import Path
from typing import NamedTuple

from audiotagging.base.import_closure import imported_modules
from components.images import ONNX, TARGETS, files
from docs.drawing import legend, picture

ROOT = Path(__file__).parent.parent
LIBRARY = ROOT / "src" / "audiotagging"
PICTURED = (*TARGETS, ONNX)

ROW, TOP, MARGIN = 27, 34, 12  # pixels: the height of a room, the height of the headings
DESCRIPTIONS, IMAGES, IMAGE, IMPORTS, COLUMN = 144, 424, 17, 526, 23  # pixels: where columns begin, and their widths


class Room(NamedTuple):
    """A folder of the library, or a module beside the folders.

    Attributes:
        description: What it is for.
        images: The images that have modules of it.
        imports: The other rooms that it imports.
    """

    description: str
    images: list[str]
    imports: set[str]


def rooms() -> dict[str, Room]:
    """Return the rooms in the order in which CONTRIBUTING's tree lists them, from the lowest to the highest."""
    tree = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").partition("\nsrc/audiotagging/ ")[2]
    listed = re.findall(r"^  (\w+)(?:/|\.py) +(.*)$", tree.partition("\nsrc/")[0], re.MULTILINE)
    contents = {image: files(image) for image in PICTURED}
    return {name: _room(name, description, contents) for name, description in listed}


def _room(name: str, description: str, contents: dict[str, list[str]]) -> Room:
    folder = LIBRARY / name
    paths = folder.rglob("*.py") if folder.is_dir() else [folder.with_suffix(".py")]
    modules = {path.relative_to(ROOT).as_posix() for path in paths if path.name != "__init__.py"}
    imports = {
        module.split(".")[1]
        for path in modules
        for module in imported_modules((ROOT / path).read_text("utf-8"), [LIBRARY])
    }
    images = [image for image, content in contents.items() if modules & set(content)]
    return Room(re.split("[:;]", description)[0], images, imports - {name})


def draw_rooms() -> str:
    """Return the rooms as SVG, with one row per room and a line from each down to those that import it."""
    found = rooms()
    ys = {name: TOP + ROW * (number + 0.5) for number, name in enumerate(found)}
    xs = {name: IMPORTS + COLUMN * (number + 0.5) for number, name in enumerate(found)}
    width, bottom = IMPORTS + COLUMN * len(found) + MARGIN, TOP + ROW * len(found)
    headings = {IMAGES - 5: "in images", IMPORTS + COLUMN / 2 - 5: "imported by the rooms at the open dots"}
    parts = [
        *(f'<text class="muted small" x="{x:g}" y="20">{heading}</text>' for x, heading in headings.items()),
        *(_row(name, room, ys[name], xs[name]) for name, room in found.items()),
        *(_imports(name, found, ys, xs[name]) for name in found),
        *(legend(image, MARGIN + 5 + 115 * place, bottom + 26) for place, image in enumerate(PICTURED)),
    ]
    description = "The rooms of the library, the images that have modules of them, and the rooms that import them"
    return picture("\n".join(parts), width=width, height=bottom + 38, description=description)


def _row(name: str, room: Room, y: float, x: float) -> str:
    """Return the texts of a room, the dots of its images, and the line that leads to its own dot at x."""
    dots = "".join(
        f'<circle class="dot {image}" cx="{IMAGES + IMAGE * PICTURED.index(image):g}" cy="{y:g}" r="4.5"/>'
        for image in room.images
    )
    return (
        f'<path class="guide" d="M{MARGIN},{y + ROW / 2:g}H{x:g}"/>'
        f'<text class="name" x="{MARGIN}" y="{y + 4:g}">{name}</text>'
        f'<text class="muted" x="{DESCRIPTIONS}" y="{y + 4:g}">{escape(room.description)}</text>{dots}'
    )


def _imports(name: str, found: dict[str, Room], ys: dict[str, float], x: float) -> str:
    """Return the line of a room down to the rooms that import it."""
    readers = [ys[other] for other, room in found.items() if name in room.imports]
    line = f'<path class="lane" d="M{x:g},{ys[name]:g}V{max(readers):g}"/>' if readers else ""
    dots = "".join(f'<circle class="reader" cx="{x:g}" cy="{y:g}" r="4"/>' for y in readers)
    return f'<g class="room">{line}<circle class="dot" cx="{x:g}" cy="{ys[name]:g}" r="4.5"/>{dots}</g>'
