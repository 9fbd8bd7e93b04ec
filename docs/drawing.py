"""What the drawn pictures of the documentation have in common: their style, for light and for dark pages."""

STYLE = """
  text { font: 12px system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; fill: #1b1e22 }
  .name { font-size: 14px; font-weight: 650 } .muted { fill: #5c646e } .small { font-size: 11px }
  .data { --image: #0072b2 } .training { --image: #c24e00 } .results { --image: #00805e }
  .tagging { --image: #7b3f98 } .onnx { --image: #8a6d00 } .room { --image: #4d5660 }
  .card { fill: #fdfdfc; stroke: #b9bfc6 } .bar, .dot { fill: var(--image) }
  .lane { stroke: var(--image); stroke-width: 2 } .reader { fill: #fdfdfc; stroke: var(--image); stroke-width: 2 }
  .guide { stroke: #dcdfe3 } .loop { fill: none; stroke: #9098a1; stroke-dasharray: 4 3 }
  @media (prefers-color-scheme: dark) {
    text { fill: #e7e8e6 } .muted { fill: #9ba4ae } .card, .reader { fill: #14171a } .card { stroke: #4a5259 }
    .guide { stroke: #31373d }
    .data { --image: #56b4e9 } .training { --image: #f0914a } .results { --image: #4cc9a0 }
    .tagging { --image: #c79be0 } .onnx { --image: #d9b64a } .room { --image: #b3bcc5 }
  }"""


def picture(body: str, *, width: float, height: float, description: str) -> str:
    """Return a picture as SVG.

    Args:
        body: The elements in it.
        width: Its width in pixels.
        height: Its height in pixels.
        description: What it shows, for those who do not see it.
    """
    size = f'width="{width:g}" height="{height:g}" viewBox="0 0 {width:g} {height:g}"'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-label="{description}">\n'
        f"<style>{STYLE}\n</style>\n{body}\n</svg>\n"
    )


def legend(image: str, x: float, y: float) -> str:
    """Return the dot of an image with its name."""
    dot = f'<circle class="dot" cx="{x:g}" cy="{y - 4:g}" r="4.5"/>'
    return f'<g class="{image}">{dot}<text class="muted small" x="{x + 10:g}" y="{y:g}">image {image}</text></g>'
