"""Translates the names of tensors in files of the published networks into the names that our networks use.

The files come from fastai 1 (the published solution, whose `learn.save` wrote them, and fastai's own xresnets) and from
fastai 2. In all of them a network is a sequence of three layers of the stem (0 to 2), a pooling layer, four groups of
blocks (4 to 7) and a linear layer. A learner with a large head has a sequence of body and head, so that the names start
with `0.` or `1.`. Our body numbers all blocks without groups.
"""

import re
from collections.abc import Callable, Collection, Mapping

PARTED = "0.0.0.weight"  # is in a file of body and head
STEM = re.compile(r"[0-2]\.[01]\.\w+")
BLOCK = re.compile(r"(?P<group>[4-7])\.(?P<number>\d+)\.(?P<rest>.+)")
LINEAR = re.compile(r"1[01]\.(weight|bias)")
HEAD = re.compile(r"1\.(\d+)\.(\w+)")
FIRST_BLOCK = 4  # its number in our body
POOLS = 2  # layers that pool and flatten at the start of a published head; ours have no number

# Patterns of names within a block, and how ours is made of the match and of whether the block halves the picture. The
# shortcut of such a block starts with pooling, which is layer 0.
IN_BLOCK: dict[str, Callable[[re.Match[str], bool], str]] = {
    r"sa\.gamma": lambda match, halves: "attention.gamma",
    r"sa\.conv\.weight_orig": lambda match, halves: "attention.convolution.parametrizations.weight.original",
    r"sa\.conv\.weight_([uv])": lambda match, halves: f"attention.convolution.parametrizations.weight.0._{match[1]}",
    r"(?:convs|convpath)\.(.+)": lambda match, halves: f"convolutions.{match[1]}",
    r"conv([1-3])\.(.+)": lambda match, halves: f"convolutions.{int(match[1]) - 1}.0.{match[2]}",
    r"bn([1-3])\.(.+)": lambda match, halves: f"convolutions.{int(match[1]) - 1}.1.{match[2]}",
    r"(?:idconv|idpath\.[01])\.(.+)": lambda match, halves: f"shortcut.{halves:d}.{match[1]}",
    r"downsample\.([0-2])\.(.+)": lambda match, halves: f"shortcut.{halves:d}.{int(match[1]) - halves}.{match[2]}",
}


def our_names(published: Collection[str]) -> dict[str, str]:
    """Return our name of every tensor in a file, by its published name. A name of another network stays as it is.

    Examples:
        >>> our_names(["0.0.weight", "4.0.convs.0.1.bias", "4.1.sa.gamma", "5.0.idconv.0.weight", "10.bias"])
        ... # doctest: +NORMALIZE_WHITESPACE
        {'0.0.weight': 'body.0.0.weight',
         '4.0.convs.0.1.bias': 'body.4.convolutions.0.1.bias',
         '4.1.sa.gamma': 'body.5.attention.gamma',
         '5.0.idconv.0.weight': 'body.6.shortcut.1.0.weight',
         '10.bias': 'head.2.bias'}
    """
    prefix = "0." if PARTED in published else ""
    matches = [BLOCK.fullmatch(name.removeprefix(prefix)) for name in published if name.startswith(prefix)]
    blocks = sorted({(int(match["group"]), int(match["number"])) for match in matches if match})
    places = {block: place for place, block in enumerate(blocks, FIRST_BLOCK)}
    ours = {}
    for name in published:
        if prefix and (match := HEAD.fullmatch(name)):
            ours[name] = f"head.layers.{int(match[1]) - POOLS}.{match[2]}"
        elif not prefix and (match := LINEAR.fullmatch(name)):
            ours[name] = f"head.2.{match[1]}"
        else:
            ours[name] = _in_body(name.removeprefix(prefix), places) or name
    return ours


def _in_body(name: str, places: Mapping[tuple[int, int], int]) -> str | None:
    if STEM.fullmatch(name):
        return f"body.{name}"
    if block := BLOCK.fullmatch(name):
        group, place = int(block["group"]), places.get((int(block["group"]), int(block["number"])))
        for pattern, ours in IN_BLOCK.items():
            if match := re.fullmatch(pattern, block["rest"]):
                return f"body.{place}.{ours(match, group > 4)}"
    return None
