"""A page as a person sees and uses it: in headless Chromium, where there is one."""

import json
import re
import subprocess
import time
from contextlib import contextmanager
from html import escape
from pathlib import Path
from urllib.request import urlopen

import numpy as np
import pytest
import websocket
from PIL import Image

from docs.pictures import CHROMIUM, chromium, photograph

LIGHT_PAPER, DARK_PAPER = (253, 253, 252), (20, 23, 26)
FRAME = """<!doctype html><meta charset="utf-8"><body style="margin: 0">
<script>function measure(frame) {{ const page = frame.contentDocument; document.title = {measure} }}</script>
<iframe sandbox="allow-same-origin" srcdoc="{page}" onload="measure(this)"
style="border: 0; width: {width}px; height: 1200px"></iframe>"""
WIDTHS = 'page.documentElement.scrollWidth + " of " + frame.contentWindow.innerWidth'
# How far the first column of each table moves if the table is scrolled to its end, and whether any table scrolls.
MOVES = """(() => {{
  const tables = [...page.querySelectorAll(".scroll")].filter(each => each.scrollWidth > each.clientWidth)
  const moves = tables.map(each => {{
    const cell = each.querySelector("tbody th"), left = cell.getBoundingClientRect().left
    each.scrollLeft = 10000
    return Math.abs(cell.getBoundingClientRect().left - left)
  }})
  return Math.max(...moves) + " in " + (tables.length > 0)
}})()"""

# The length of every sound in seconds, or why the browser cannot play it.
LENGTHS = """Promise.all([...page.querySelectorAll("audio")].map(player => new Promise(tell => {{
  player.addEventListener("loadedmetadata", () => tell(player.duration))
  player.addEventListener("error", () => tell(player.error.message))
  player.preload = "metadata"
}}))).then(lengths => {{ document.title = lengths.join(", ") }})"""


def check_page(report: Path, *, folder: Path, width: int, dark: bool) -> None:
    """Look at a report in a sandboxed frame, as Kubeflow shows it: it fits, follows the scheme, and is not empty."""
    frame, picture = folder / "frame.html", folder / f"{width}.png"
    assert _measure(report.read_text(encoding="utf-8"), WIDTHS, frame=frame, width=width) == f"{width} of {width}"
    photograph(frame, picture, width=width, height=1200, dark=dark)
    pixels = np.asarray(Image.open(picture).convert("RGB"))
    paper = DARK_PAPER if dark else LIGHT_PAPER
    assert tuple(pixels[2, 2]) == paper
    assert (np.abs(pixels.astype(int) - paper).sum(axis=2) > 200).mean() > 0.01  # there is something to see


def check_paper(report: Path, *, folder: Path) -> None:
    """Check that no table is cut off on A4 paper, whose margins leave 688 pixels of 1/96 inch, with all folds open."""
    page = (
        report.read_text(encoding="utf-8").replace("@media print", "@media all").replace("<details>", "<details open>")
    )
    assert _measure(page, WIDTHS, frame=folder / "paper.html", width=688) == "688 of 688"


def check_first_columns(report: Path, *, folder: Path) -> None:
    """Check that the first column of a table stays on a phone where the table is scrolled."""
    page = report.read_text(encoding="utf-8").replace("<details>", "<details open>")
    assert _measure(page, MOVES.format(), frame=folder / "phone.html", width=390) == "0 in true"


def check_players(report: Path, *, folder: Path, players: int, seconds: float) -> None:
    """Check that a sandboxed frame can play all players of a report, whose sounds all have the same length."""
    page = report.read_text(encoding="utf-8")
    lengths = _measure(page, LENGTHS.format(), frame=folder / "players.html", width=390)
    assert [float(length) for length in lengths.split(", ")] == [pytest.approx(seconds, abs=0.02)] * players


def _measure(page: str, measure: str, *, frame: Path, width: int) -> str:
    """Return what an expression gives of a page in a frame of a width, at once or within ten seconds."""
    frame.write_text(FRAME.format(page=escape(page), measure=measure, width=width), encoding="utf-8")
    document = chromium(
        f"--window-size={max(width, 500)},1200", "--virtual-time-budget=10000", "--dump-dom", frame.as_uri()
    )
    found = re.search("<title>(.*?)</title>", document)
    assert found
    return found[1]


class Tab:
    """A tab of a browser that is driven through Chromium's DevTools protocol."""

    def __init__(self, address, *, downloads):
        self.socket = websocket.create_connection(address, timeout=60, suppress_origin=True)
        self.calls = 0
        self.downloads = downloads
        self.call("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(downloads))

    def call(self, method, **parameters):
        self.calls += 1
        self.socket.send(json.dumps({"id": self.calls, "method": method, "params": parameters}))
        while (answer := json.loads(self.socket.recv())).get("id") != self.calls:
            pass
        assert "error" not in answer, answer
        return answer["result"]

    def open(self, page):
        """Open a page, also again."""
        self.call("Page.navigate", url=page.as_uri())
        wait_for(lambda: self.run("document.readyState === 'complete' && location.protocol === 'file:'"))

    def run(self, script):
        """Return the value of an expression."""
        answer = self.call("Runtime.evaluate", expression=script, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def press(self, key, code):
        """Press and release a key."""
        text = {"text": key} if key == " " else {}
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, windowsVirtualKeyCode=code, **text)

    def download(self, script):
        """Run a script that downloads a file, and return the file."""
        self.run(script)
        wait_for(lambda: [path for path in self.downloads.iterdir() if not path.name.endswith(".crdownload")])
        (path,) = self.downloads.iterdir()
        return path


@contextmanager
def browser(folder, *, width=1280):
    """Start a browser that keeps everything in a folder, and provide its tab."""
    downloads, profile = folder / "downloads", folder / "profile"
    downloads.mkdir()
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
    options += [f"--user-data-dir={profile}", "--remote-debugging-port=0", f"--window-size={width},1000"]
    with subprocess.Popen([CHROMIUM, *options, "about:blank"], stderr=subprocess.DEVNULL) as process:
        try:
            port = profile / "DevToolsActivePort"
            wait_for(lambda: port.exists() and port.read_text().count("\n"))
            with urlopen(f"http://127.0.0.1:{port.read_text().splitlines()[0]}/json/list") as answer:
                (page,) = [page for page in json.load(answer) if page["type"] == "page"]
            yield Tab(page["webSocketDebuggerUrl"], downloads=downloads)
        finally:
            process.terminate()


def wait_for(condition, *, seconds=60):
    """Wait until a condition is true."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.05)
