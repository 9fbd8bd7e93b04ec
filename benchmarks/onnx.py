"""How fast ONNX Runtime scores clips with an exported model, against torch on the CPU."""

import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch

from audiotagging.artifacts.averaging import Averaging
from audiotagging.artifacts.model_folder import ModelMetadata
from audiotagging.export.onnx_files import write_onnx
from audiotagging.members import DEMO, REFERENCE, Member
from audiotagging.tagging.onnx_networks import OnnxNetworks
from audiotagging.training.augmentation import VIEWS
from audiotagging.training.networks import NETWORKS
from audiotagging.training.prediction import Model, score_clips
from benchmarks.frame import Row, race

CLASSES = [str(number) for number in range(80)]
FRAMES = 318  # of a clip of 5 s


def member_row(member: Member, *, clips: int, precision: str) -> Row:
    """Compare the clips per second of ONNX Runtime with those of torch, for a member with new weights.

    Args:
        member: The member.
        clips: Number of clips of 5 s, which are scored at once.
        precision: What torch computes in: "float32" or "auto", as in `devices.autocast`.
    """
    torch.manual_seed(1)
    model = Model(NETWORKS[member.network](VIEWS * len(CLASSES)).eval(), member, CLASSES, fold=-1)
    facts = ModelMetadata(
        member=member,
        fold=-1,
        seed=1,
        classes=CLASSES,
        fingerprint="",
        versions={},
        seconds=0,
        crops_per_second=0,
        device="",
    )
    frames = np.random.default_rng(1).integers(0, 256, (clips * FRAMES, 128), np.uint8)
    offsets = FRAMES * np.arange(clips + 1)
    with tempfile.TemporaryDirectory() as folder:
        write_onnx(Path(folder), models=[(model, facts)], averaging=Averaging("arithmetic", {member.id: 1.0}))
        exported = OnnxNetworks(Path(folder) / "ensemble.onnx")
    ours, other = race(
        lambda: exported.score(np.split(frames, clips)),
        lambda: score_clips(model, frames, offsets, precision=precision, label=None),
        rounds=3,
    )
    return Row(clips / ours, clips / other, "clips/s", f"torch, {precision}")


ROWS: dict[str, Callable[[], Row]] = {
    f"{size}_{precision}": partial(member_row, member, clips=clips, precision=precision)
    for size, member, clips in (("demo", DEMO[0], 32), ("reference", REFERENCE[0], 4))
    for precision in ("float32", "auto")
}
