"""All spectrograms of a run as one tensor on the device, and crops from it."""

import numpy as np
import torch
from torch import Tensor

GPU_SHARE = 0.5  # the share of a GPU's free memory that spectrograms may take


class Store:
    """Spectrograms of many clips, one after the other, on the device.

    Where they are too large for a GPU they stay in pinned memory of the host, from which crops are copied while the
    GPU computes.

    Attributes:
        device: Where crops come out.
        lengths: Frames of each clip, int64, shape (clips,).
    """

    def __init__(self, frames: np.ndarray, offsets: np.ndarray, *, device: torch.device):
        """Copy the spectrograms to the device.

        Args:
            frames: All frames, uint8, shape (total frames, mels).
            offsets: Clip i is `frames[offsets[i]:offsets[i + 1]]`; int64, shape (clips + 1,).
            device: Where crops are wanted.
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
        """Return a crop of each of the clips, in one gather.

        Args:
            clips: Numbers of the clips, int64, shape (batch,).
            starts: Where in its clip each crop starts, in frames, int64, shape (batch,).
            frames: Frames of a crop. Where a clip ends before its crop does, its last frame is repeated.

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
        """Return crops of random clips, drawn with replacement, from random starts in [0, clip's frames - frames).

        Args:
            clips: Numbers of the clips to draw from, int64, shape (any,), where `lengths` is.
            count: Crops to draw.
            frames: Frames of a crop.

        Returns:
            Crops, uint8, shape (count, frames, mels), and for each its place in `clips`, int64, shape (count,), both
            on the device.
        """
        home = self.frames.device
        places = torch.randint(len(clips), (count,), device=home)
        chosen = clips[places]
        starts = (torch.rand(count, device=home) * (self.lengths[chosen] - frames).clamp(min=1)).long()
        return self.crops(chosen, starts, frames=frames), places.to(self.device, non_blocking=True)
