"""The data of a training run: the clips to train and to validate on, their labels, and random batches."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from audiotagging.artifacts.spectrogram_shards import Spectrograms
from audiotagging.base.errors import UserError
from audiotagging.members import Member
from audiotagging.statistics.metrics import label_table
from audiotagging.training.augmentation import VIEWS, augment, mixup

GPU_SHARE = 0.5  # the share of a GPU's free memory that spectrograms may take


class Store:
    """The concatenated spectrograms of many clips, on the device.

    Spectrograms that are too large for the GPU stay in pinned memory of the host. Their crops are copied to the GPU
    while it computes.

    Attributes:
        device: The device of the crops.
        lengths: Number of frames of each clip, int64, shape (clips,).

    Examples:
        Two clips, of three frames and one frame, with two mels. The second crop repeats the last frame.

        >>> frames = np.array([[1, 2], [3, 4], [5, 6], [7, 8]], np.uint8)
        >>> store = Store(frames, np.array([0, 3, 4]), device=torch.device("cpu"))
        >>> store.crops(torch.tensor([0, 1]), torch.tensor([1, 0]), frames=2)
        tensor([[[3, 4],
                 [5, 6]],
        <BLANKLINE>
                [[7, 8],
                 [7, 8]]], dtype=torch.uint8)
    """

    def __init__(self, frames: np.ndarray, offsets: np.ndarray, *, device: torch.device):
        """Copy the spectrograms to the device.

        Args:
            frames: The frames of all clips, uint8, shape (total frames, mels).
            offsets: Clip i is `frames[offsets[i]:offsets[i + 1]]`, int64, shape (clips + 1,).
            device: The device for the crops.
        """
        self.device = device
        self.frames = torch.from_numpy(frames)
        home = device
        if device.type == "cuda" and frames.nbytes > GPU_SHARE * torch.cuda.mem_get_info(device)[0]:
            home = torch.device("cpu")
            self.frames = self.frames.pin_memory()
        self.frames = self.frames.to(home)
        self.starts = torch.from_numpy(offsets[:-1]).to(home)
        self.lengths = torch.from_numpy(np.diff(offsets)).to(home)

    def crops(self, clips: Tensor, starts: Tensor, *, frames: int) -> Tensor:
        """Return one crop of each clip, by a single gather operation.

        Args:
            clips: Indices of the clips, int64, shape (batch,).
            starts: First frame of each crop in its clip, int64, shape (batch,).
            frames: Number of frames of a crop. If a clip ends before its crop does, its last frame is repeated.

        Returns:
            uint8, shape (batch, frames, mels).
        """
        clips, starts = clips.to(self.frames.device), starts.to(self.frames.device)
        steps = torch.arange(frames, device=self.frames.device)
        within = (starts[:, None] + steps).minimum(self.lengths[clips, None] - 1)  # (B, frames)
        crops = self.frames[self.starts[clips, None] + within]
        if crops.device.type != self.device.type:
            crops = crops.pin_memory()
        return crops.to(self.device, non_blocking=True)

    def random_crops(self, clips: Tensor, count: int, *, frames: int) -> tuple[Tensor, Tensor]:
        """Return random crops of clips that are drawn with replacement.

        The first frame of a crop is uniform in [0, clip's frames - `frames`).

        Args:
            clips: Indices of the clips to draw from, int64, shape (any,), on the same device as `lengths`.
            count: Number of crops.
            frames: Number of frames of a crop.

        Returns:
            The crops, uint8, shape (count, frames, mels), and the position of each crop's clip in `clips`, int64, shape
            (count,). Both are on the device.
        """
        home = self.frames.device
        positions = torch.randint(len(clips), (count,), device=home)
        chosen = clips[positions]
        starts = (torch.rand(count, device=home) * (self.lengths[chosen] - frames).clamp(min=1)).long()
        return self.crops(chosen, starts, frames=frames), positions.to(self.device, non_blocking=True)


@dataclass(frozen=True)
class Targets:
    """What to learn instead of labels.

    Attributes:
        clips: Names of the clips, which are all that are trained on.
        scores: A score between 0 and 1 for every class, float32, shape (clips, classes).
    """

    clips: list[str]
    scores: np.ndarray

    @property
    def digest(self) -> str:
        """The SHA-256 digest of the clips and their scores, in hexadecimal digits."""
        found = hashlib.sha256("\n".join(self.clips).encode())
        found.update(np.ascontiguousarray(self.scores, np.float32).tobytes())
        return found.hexdigest()

    def of(self, clips: Sequence[str]) -> np.ndarray:
        """Return the scores of the given clips, shape (clips, classes)."""
        rows = pd.Index(self.clips).get_indexer(clips)
        assert (rows >= 0).all(), "clips without scores"
        return self.scores[rows]


class TrainingData:
    """Spectrograms and labels on the device, split into clips to train on and clips to validate on.

    Attributes:
        store: The spectrograms of all clips.
        classes: Number of classes.
        training: Indices of the clips to train on, int64, shape (training clips,), on the device of `store.lengths`.
        labels: Their labels, 0 or 1, or the scores to learn instead, float32, shape (training clips, classes), on the
            device.
        validation: Indices of the clips to validate on, int64, shape (validation clips,), on the CPU.
        truth: True where these have the label, bool, shape (validation clips, classes). Labels that no clip to train on
            has do not count.
    """

    def __init__(self, data: Spectrograms, *, fold: int, device: torch.device, targets: Targets | None = None) -> None:
        """Copy the spectrograms to the device.

        Args:
            data: Spectrograms of the curated and the noisy clips.
            fold: The fold to hold out, or -1 for none.
            device: The device to train on.
            targets: What to learn. The default is the labels.

        Raises:
            UserError: If there are no clips to train on, or no clips in the fold to hold out.
        """
        self.store = Store(data.frames, data.offsets, device=device)
        self.classes = len(data.classes)
        training, validation = split(data.clips, fold=fold)
        truth = label_table(data.clips["labels"].tolist(), data.classes)
        self.training = torch.from_numpy(training).to(self.store.lengths.device)
        learned = truth[training] if targets is None else targets.of(list(data.clips["clip"].iloc[training]))
        self.labels = torch.from_numpy(learned).float().to(device)
        self.validation = torch.from_numpy(validation)
        self.truth = truth[validation] & truth[training].any(axis=0)

    def batch(self, member: Member) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return a random batch.

        Args:
            member: The member whose settings determine the size of the batch and of its pictures.

        Returns:
            Four tensors: the mixed pictures (batch, 3, size, size); the targets of each crop and those of its partner,
            both (batch, 4 x classes); and the share of each crop in its own mixture (batch,).
        """
        crops, clips = self.store.random_crops(self.training, member.batch_size, frames=member.frames)
        views = torch.randint(VIEWS, (member.batch_size,), device=self.store.device)
        targets = view_targets(self.labels[clips], views)
        pictures, partners, share = mixup(augment(crops, views, size=member.size), probability=member.mixup)
        return pictures, targets, targets[partners], share


def split(clips: pd.DataFrame, *, fold: int) -> tuple[np.ndarray, np.ndarray]:
    """Split clips into those to train on and those to validate on.

    Args:
        clips: Curated and noisy clips, with the columns `part` and `fold`.
        fold: The fold whose curated clips are held out, or -1 for none.

    Returns:
        Indices of the clips to train on, and indices of the clips to validate on.

    Raises:
        UserError: If the fold has no curated clips, or if no clips are left to train on.

    Examples:
        >>> clips = pd.DataFrame({"part": ["curated", "curated", "noisy"], "fold": [0, 1, -1]})
        >>> split(clips, fold=1)
        (array([0, 2]), array([1]))
    """
    held_out = ((clips["part"] == "curated") & (clips["fold"] == fold) & (fold >= 0)).to_numpy()
    if fold >= 0 and not held_out.any():
        found = sorted(set(clips.loc[clips["part"] == "curated", "fold"]))
        raise UserError(f"expected curated clips in fold {fold}, found none; hold out one of the folds {found}")
    if held_out.all():
        raise UserError(
            f"expected clips to train on, found only the {len(clips)} clips of fold {fold}, which is held out; "
            "use more folds"
        )
    return np.flatnonzero(~held_out), np.flatnonzero(held_out)


def view_targets(labels: Tensor, views: Tensor) -> Tensor:
    """Convert labels to targets for the outputs of the views. Class c of view v is output v * classes + c.

    Args:
        labels: Between 0 and 1, float32, shape (batch, classes).
        views: View of each crop, shape (batch,).

    Returns:
        Targets, shape (batch, 4 x classes). The targets for the outputs of all other views are 0.

    Examples:
        >>> view_targets(torch.tensor([[1.0, 0.0]]), torch.tensor([2]))
        tensor([[0., 0., 0., 0., 1., 0., 0., 0.]])
    """
    targets = labels.new_zeros(len(labels), VIEWS, labels.shape[1])
    targets[torch.arange(len(labels), device=labels.device), views] = labels
    return targets.flatten(1)
