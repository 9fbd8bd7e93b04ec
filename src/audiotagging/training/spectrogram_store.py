"""Keeps all spectrograms of a run as one tensor on the device, and returns crops of them."""

import numpy as np
import torch
from torch import Tensor

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
