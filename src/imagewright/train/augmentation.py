"""What happens to a training image, and with it to its mask, each time that it is drawn."""

from typing import Any

import torch
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2

from imagewright.config.train import AugmentConfig
from imagewright.tensors.dataset import IGNORE_INDEX


class Augmentation:
    """Random transforms, drawn anew for each image of a batch from PyTorch's global generator.

    Args:
        config: strengths; zero leaves a transform out.
        background: value of the pixels where a picture was moved away; masks get `IGNORE_INDEX` there.
    """

    def __init__(self, config: AugmentConfig, background: int) -> None:
        steps: list[v2.Transform] = []
        if config.horizontal_flip:
            steps.append(v2.RandomHorizontalFlip(config.horizontal_flip))
        if config.vertical_flip:
            steps.append(v2.RandomVerticalFlip(config.vertical_flip))
        if config.rotate or config.translate or config.scale:
            steps.append(
                v2.RandomAffine(
                    degrees=config.rotate,
                    translate=(config.translate, config.translate),
                    scale=(1 - config.scale, 1 + config.scale),
                    interpolation=v2.InterpolationMode.BILINEAR,
                    fill={tv_tensors.Image: background, tv_tensors.Mask: IGNORE_INDEX},
                )
            )
        if config.brightness or config.contrast:
            steps.append(v2.ColorJitter(brightness=config.brightness, contrast=config.contrast))
        self.steps = steps
        self._compose = v2.Compose(steps) if steps else None

    def __call__(self, images: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """N × H × W × C uint8 images and N (× H × W) int64 targets, each image on its own."""
        if self._compose is None:
            return images, targets
        pairs = [self._one(image, target) for image, target in zip(images, targets, strict=True)]
        return torch.stack([image for image, _ in pairs]), torch.stack([target for _, target in pairs])

    def _one(self, image: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        picture: Any = tv_tensors.Image(image.permute(2, 0, 1))
        if target.ndim == 0:
            return self._compose(picture).permute(1, 2, 0), target  # type: ignore[misc]
        picture, mask = self._compose(picture, tv_tensors.Mask(target))  # type: ignore[misc]
        return picture.permute(1, 2, 0), torch.as_tensor(mask)

    def __repr__(self) -> str:
        return "; ".join(repr(step) for step in self.steps) or "none"
