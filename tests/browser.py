"""A report as a person sees it: in headless Chromium, where there is one."""

from html import escape
from pathlib import Path

import numpy as np
from PIL import Image

from docs.pictures import chromium, photograph

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
    frame.write_text(FRAME.format(page=escape(report.read_text(encoding="utf-8")), width=width))
    assert f"<title>{width} of {width}</title>" in chromium(f"--window-size={width},1200", "--dump-dom", frame.as_uri())
    photograph(frame, picture, width=width, height=1200, dark=dark)
    pixels = np.asarray(Image.open(picture).convert("RGB"))
    paper = DARK_PAPER if dark else LIGHT_PAPER
    assert tuple(pixels[2, 2]) == paper
    assert (np.abs(pixels.astype(int) - paper).sum(axis=2) > 200).mean() > 0.01  # there is something to see
