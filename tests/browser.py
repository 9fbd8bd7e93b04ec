"""A report as a person sees it: in headless Chromium, where there is one."""

import shutil
import subprocess
from html import escape
from pathlib import Path

import numpy as np
from PIL import Image

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
LIGHT_PAPER, DARK_PAPER = (253, 253, 252), (20, 23, 26)
FRAME = """<!doctype html><body style="margin: 0">
<script>function measure(frame) {{
  document.title = frame.contentDocument.documentElement.scrollWidth + " of " + frame.contentWindow.innerWidth
}}</script>
<iframe sandbox="allow-same-origin" srcdoc="{page}" onload="measure(this)"
style="border: 0; width: {width}px; height: 1200px"></iframe>"""


def check_page(report: Path, *, folder: Path, width: int, dark: bool) -> None:
    """Look at a report in a sandboxed frame, as Kubeflow shows it: it fits, follows the scheme, and is not empty."""
    frame, picture = folder / "frame.html", folder / f"{width}.png"
    frame.write_text(FRAME.format(page=escape(report.read_text()), width=width))
    options = [f"--window-size={width},1200", f"--blink-settings=preferredColorScheme={0 if dark else 1}"]
    assert f"<title>{width} of {width}</title>" in _chromium(folder, *options, "--dump-dom", frame.as_uri())
    _chromium(folder, *options, f"--screenshot={picture}", frame.as_uri())
    pixels = np.asarray(Image.open(picture).convert("RGB"))
    paper = DARK_PAPER if dark else LIGHT_PAPER
    assert tuple(pixels[2, 2]) == paper
    assert (np.abs(pixels.astype(int) - paper).sum(axis=2) > 200).mean() > 0.01  # there is something to see


def _chromium(folder: Path, *options: str) -> str:
    settings = [
        "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run", "--disable-sync",
        "--disable-background-networking", "--disable-component-update", f"--user-data-dir={folder / 'profile'}",
    ]  # fmt: skip
    command = [str(CHROMIUM), *settings, *options]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=120).stdout
