"""Segment a large picture window by window, inside the network: what is exported does it too."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class SlidingWindow(nn.Module):
    """A segmentation network that sees a window at a time; where windows overlap, their middles count more.

    In evaluation mode each window of a picture is predicted and the logits are blended with a Gaussian weight, as
    `monai.inferers.sliding_window_inference` does. The positions are fixed when the module is built, so that all of it
    is one exported graph with a free batch size. The windows go through the network as one batch: called once for each,
    its layers would stand in that graph as often, and its INT8 weights too. In training mode, batches are crops of the
    window's size already and pass straight through.

    Args:
        network: from N × C × h × w to N × classes × h × w.
        picture: height and width of the pictures.
        window: height and width of a window, at most the picture's.
        overlap: of neighbouring windows, as a share of the window, 0 to below 1.
    """

    importance: Tensor
    total: Tensor

    def __init__(self, network: nn.Module, picture: tuple[int, int], window: tuple[int, int], overlap: float) -> None:
        # Imported here, since it takes a second that others need not wait.
        from monai.data.utils import compute_importance_map, dense_patch_slices

        super().__init__()
        self.network = network
        self.picture = picture
        steps = [max(int(side * (1 - overlap)), 1) for side in window]
        # Padding of each window on all sides to the picture's size, in the order that `pad` takes it.
        self.padding = [
            (int(columns.start), int(picture[1] - columns.stop), int(rows.start), int(picture[0] - rows.stop))
            for rows, columns in dense_patch_slices(picture, window, steps)
        ]
        importance = compute_importance_map(window, mode="gaussian")[None, None]
        # Both follow from the config, so they are no weights.
        self.register_buffer("importance", importance, persistent=False)
        covered = torch.stack([F.pad(importance, padding) for padding in self.padding]).sum(dim=0)
        self.register_buffer("total", covered, persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """N × C × H × W pictures, or crops while training, to logits N × classes × H × W."""
        if self.training:
            crops: Tensor = self.network(images)
            return crops
        height, width = self.picture
        windows = torch.cat(
            [images[:, :, top : height - bottom, left : width - right] for left, right, top, bottom in self.padding]
        )
        logits = self.network(windows) * self.importance
        logits = logits.reshape(len(self.padding), -1, *logits.shape[1:])
        parts = [F.pad(part, padding) for part, padding in zip(logits, self.padding, strict=True)]
        return sum(parts[1:], parts[0]) / self.total


def unwrapped(backbone: nn.Module) -> nn.Module:
    """The architecture itself, out of its window where it has one."""
    return backbone.network if isinstance(backbone, SlidingWindow) else backbone
