"""Scores clips with a trained network, by batches of windows from many clips in all four views."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from audiotagging.artifacts.model_folder import check_weights, read_metadata, weights_path
from audiotagging.artifacts.predictions import Predictions, write_predictions
from audiotagging.artifacts.selection import read_folds, read_noisy_clips, unheard_classes, with_folds
from audiotagging.artifacts.spectrogram_shards import read_clips, read_spectrograms
from audiotagging.base.errors import UserError
from audiotagging.base.files import regular
from audiotagging.base.machine import check_machine
from audiotagging.base.progress import track
from audiotagging.members import LINEAR, Member
from audiotagging.training.augmentation import VIEWS, normalise, resample
from audiotagging.training.batches import Store
from audiotagging.training.devices import allow_tf32, autocast, best_device, move
from audiotagging.training.linear_model import LinearModel, clip_statistics
from audiotagging.training.networks import NETWORKS

WINDOWS = 128  # windows per batch


@dataclass(frozen=True)
class Model:
    """A trained network, and what it was trained on.

    Attributes:
        network: The network or the linear model, in evaluation mode and on its device.
        member: The member that it was trained for.
        classes: The classes, in the order of the scores.
        fold: The fold that was held out, or -1 for none.
    """

    network: nn.Module
    member: Member
    classes: list[str]
    fold: int


def load_model(folder: Path, *, device: torch.device | None = None) -> Model:
    """Load a trained model.

    Args:
        folder: The folder of the model.
        device: Where it computes. The default is the GPU if there is one.

    Raises:
        UserError: If the folder contains no model, or if the model is corrupt.
    """
    facts = read_metadata(folder)
    network: nn.Module
    if facts.member.network == LINEAR:
        network = LinearModel(len(facts.classes))
    else:
        network = NETWORKS[facts.member.network](VIEWS * len(facts.classes))
    load_weights(network, folder)
    return Model(move(network, device or best_device()).eval(), facts.member, facts.classes, facts.fold)


def load_weights(network: nn.Module, folder: Path) -> None:
    """Load the weights of a trained model into a network of the same kind.

    Raises:
        UserError: If they are corrupt, or the weights of another network.
    """
    check_weights(folder)
    path, expected = weights_path(folder), network.state_dict()
    try:
        found = load_file(regular(path))
    except (SafetensorError, OSError) as error:
        check_machine(error)
        raise UserError(f"{path}: expected complete weights, found a corrupt file ({error}); copy it again") from error
    for name in sorted(expected.keys() | found.keys()):
        tensors = [tensors.get(name) for tensors in (expected, found)]
        kinds = ["no such tensor" if tensor is None else f"{tensor.dtype} {list(tensor.shape)}" for tensor in tensors]
        if kinds[0] != kinds[1]:
            raise UserError(f"{path}: expected {name[:80]} to be {kinds[0]}, found {kinds[1]}; copy the model again")
        if not found[name].isfinite().all():
            raise UserError(f"{path}: expected finite weights, found others in {name}; copy the model again")
    network.load_state_dict(found)


def predict(model: Path, *, spectrograms: Path, selection: Path, out: Path, precision: str = "auto") -> None:
    """Score the test clips, the disturbances and, if a fold was held out, the curated clips of that fold.

    Args:
        model: The folder of a trained model.
        spectrograms: The folder of shards.
        selection: The folder of the selection, which has the folds.
        out: The prediction table to write.
        precision: "auto" or "float32", as in `devices.autocast`.

    Raises:
        UserError: If an input is missing, incomplete or corrupt.
    """
    loaded = load_model(model)
    clips = with_folds(read_clips(spectrograms), read_folds(selection))
    held_out = clips["clip"][(clips["part"] == "curated") & (clips["fold"] == loaded.fold) & (loaded.fold >= 0)]
    parts = {
        "validation": read_spectrograms(spectrograms, parts=["curated"], clips=list(held_out)),
        "test": read_spectrograms(spectrograms, parts=["test"]),
        "disturbance": read_spectrograms(spectrograms, parts=["disturbance"]),
    }
    rows, scores = [], []
    for part, data in parts.items():
        rows.append(pd.DataFrame({"clip": data.clips["clip"], "part": part}))
        scores.append(score_clips(loaded, data.frames, data.offsets, precision=precision))
    table = pd.concat(rows, ignore_index=True).assign(member=loaded.member.id, fold=loaded.fold)
    noisy = set(read_noisy_clips(selection)["fname"])
    unheard = unheard_classes(clips, loaded.classes, fold=loaded.fold, noisy_clips=noisy)
    found = Predictions(loaded.classes, table, np.concatenate(scores), [loaded.member.id], unheard)
    write_predictions(out, found)


def score_clips(
    model: Model, frames: np.ndarray, offsets: np.ndarray, *, precision: str = "auto", label: str | None = "predict"
) -> np.ndarray:
    """Score clips that are not in a `Store` yet.

    Args:
        model: A loaded model.
        frames: The concatenated spectrograms of the clips, uint8, shape (total frames, mels).
        offsets: Clip i is `frames[offsets[i]:offsets[i + 1]]`, int64, shape (clips + 1,).
        precision: "auto" or "float32", as in `devices.autocast`.
        label: Name of the work, to show next to its progress. None shows no progress.

    Returns:
        Probabilities, float32, shape (clips, classes).

    Raises:
        UserError: If the network returns NaN.
    """
    if isinstance(model.network, LinearModel):
        scores = model.network.score(clip_statistics(frames, offsets))
    else:
        store = Store(frames, offsets, device=next(model.network.parameters()).device)
        scores = score(
            model.network,
            store,
            torch.arange(len(store.lengths)),
            member=model.member,
            classes=len(model.classes),
            precision=precision,
            label=label,
        )
    if not np.isfinite(scores).all():
        raise UserError(
            f"member {model.member.id}, fold {model.fold}: expected scores, found NaN; its weights are corrupt, copy "
            "the model again"
        )
    return scores


@torch.inference_mode()
def score(
    network: nn.Module,
    store: Store,
    clips: Tensor,
    *,
    member: Member,
    classes: int,
    precision: str,
    label: str | None = "predict",
) -> np.ndarray:
    """Score stored clips: the maximum over a clip's windows in each view, then the mean over the views.

    Args:
        network: A network in evaluation mode, on the store's device.
        store: The spectrograms.
        clips: Indices of the clips to score, int64, shape (clips,), on the CPU.
        member: The member whose settings determine the windows and the size of the pictures.
        classes: Number of classes.
        precision: "auto" or "float32", as in `devices.autocast`.
        label: Name of the work, to show next to its progress. None shows no progress.

    Returns:
        Probabilities, float32, shape (clips, classes).
    """
    allow_tf32(precision)
    lengths = store.lengths.cpu()[clips]
    owners, starts = window_starts(lengths, frames=member.frames, overlap=member.overlap, tail=member.tail)
    views = torch.arange(VIEWS).repeat(len(owners))
    owners, starts = owners.repeat_interleave(VIEWS), starts.repeat_interleave(VIEWS)
    # The windows of a reversed clip start at the same distances from its own start.
    from_end = (lengths[owners] - member.frames - starts).clamp(min=0)
    starts = torch.where(views % 2 == 1, from_end, starts)

    home = store.frames.device  # copy everything at once, so that no batch waits for a copy
    clips = clips.to(home)
    batches = list(zip(*(tensor.to(home).split(WINDOWS) for tensor in (owners, starts, views)), strict=True))
    best = torch.full((len(clips) * VIEWS, classes), -torch.inf, device=store.device)
    for owner, start, view in track(batches, label=label, total=len(batches)) if label else batches:
        crops = store.crops(clips[owner], start, frames=member.frames)
        rows = (owner * VIEWS + view).to(store.device)
        view = view.to(store.device)
        pictures = normalise(resample(crops, view, size=member.size))
        with autocast(store.device, precision):
            logits = network(pictures).view(-1, VIEWS, classes)
        logits = logits[torch.arange(len(view), device=store.device), view]
        best.scatter_reduce_(0, rows[:, None].expand(-1, classes), logits, "amax")
    return best.sigmoid().view(-1, VIEWS, classes).mean(dim=1).cpu().numpy()


def window_starts(lengths: Tensor, *, frames: int, overlap: float, tail: bool) -> tuple[Tensor, Tensor]:
    """Return where the windows of each clip start.

    Args:
        lengths: Number of frames of each clip, int64, shape (clips,).
        frames: Number of frames of a window.
        overlap: Share of a window that the next window covers too.
        tail: Whether to add a last window that ends with the clip. Without it, as in the published recipe, windows
            start only before `length - frames`, so up to `frames` frames at the end are not in any window.

    Returns:
        The index of each window's clip in `lengths` and the window's first frame, both int64, shape (windows,).

    Examples:
        A clip of 300 frames has two windows side by side, and a third one that ends with the clip.

        >>> window_starts(torch.tensor([300]), frames=128, overlap=0.0, tail=True)
        (tensor([0, 0, 0]), tensor([  0, 128, 172]))
    """
    step = max(1, round(frames * (1 - overlap)))
    last = (lengths - frames).clamp(min=0)
    counts = (last.clamp(min=1) + step - 1) // step
    if tail:
        counts += (counts - 1) * step < last
    owners = torch.arange(len(lengths)).repeat_interleave(counts)
    number = torch.arange(len(owners)) - (counts.cumsum(0) - counts)[owners]
    return owners, (number * step).minimum(last[owners])
