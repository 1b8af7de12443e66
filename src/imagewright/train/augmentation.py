"""What happens to a training image, and with it to its mask, each time that it is drawn."""

from typing import Any

import torch
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2

from imagewright.config.train import AugmentConfig
from imagewright.errors import ConfigError
from imagewright.tensors.dataset import IGNORE_INDEX

BLUR_KERNEL = 5
BLUR_SIGMA = (0.1, 2.0)


class Augmentation:
    """Random transforms, drawn anew for each image of a batch from PyTorch's global generator, and no other.

    Masks go where their pictures go, by nearest neighbour; light, noise and blur leave them alone.

    Args:
        config: strengths; zero leaves a transform out.
        background: value of the pixels where a picture was moved away; masks get `IGNORE_INDEX` there.
        classes: number of outputs, for mixed labels.
        window: height and width that pictures are cropped to, where the model sees a window at a time.
        channels, task: of the data, where known: what cannot be done to it is then refused at once.

    Attributes:
        steps: done to each image on its own.
        mixes: done to a whole batch; one of them, where there are two.
        active: whether anything is done at all.

    Raises:
        ConfigError: colours of grey pictures, or mixed masks.
    """

    def __init__(
        self,
        config: AugmentConfig,
        background: int,
        classes: int,
        window: tuple[int, int] | None = None,
        channels: int | None = None,
        task: str | None = None,
    ) -> None:
        self.steps = _steps(config, background, window)
        self.mixes = [
            *([RoundedMixUp(alpha=config.mixup, num_classes=classes)] if config.mixup else []),
            *([v2.CutMix(alpha=config.cutmix, num_classes=classes)] if config.cutmix else []),
        ]
        self._coloured = bool(config.saturation or config.hue)
        self._compose = v2.Compose(self.steps) if self.steps else None
        self._mix = v2.RandomChoice(self.mixes) if self.mixes else None
        self._check(3 if channels is None else channels, task == "segmentation")

    @property
    def active(self) -> bool:
        """Whether anything is done at all."""
        return bool(self.steps or self.mixes)

    def __call__(self, images: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Augment a batch.

        Args:
            images: N × H × W × C uint8.
            targets: N (× H × W) int64.

        Returns:
            Images of the same form, or of the window's size; targets of the same form, or N × classes shares of the
            classes (float32) where pictures are mixed.

        Raises:
            ConfigError: colours of grey pictures, or mixed masks.
        """
        self._check(images.shape[-1], targets.ndim > 1)
        if self._compose is not None:
            pairs = [self._one(image, target) for image, target in zip(images, targets, strict=True)]
            images, targets = torch.stack([image for image, _ in pairs]), torch.stack([target for _, target in pairs])
        if self._mix is not None:
            mixed, targets = self._mix(images.permute(0, 3, 1, 2), targets)
            images = mixed.permute(0, 2, 3, 1)
        return images, targets

    def _one(self, image: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        picture: Any = tv_tensors.Image(image.permute(2, 0, 1))
        if target.ndim == 0:
            return self._compose(picture).permute(1, 2, 0), target  # type: ignore[misc]
        picture, mask = self._compose(picture, tv_tensors.Mask(target))  # type: ignore[misc]
        return picture.permute(1, 2, 0), torch.as_tensor(mask)

    def _check(self, channels: int, masks: bool) -> None:
        if self._coloured and channels != 3:
            raise ConfigError(
                "augment: saturation and hue are for colour, but the pictures are grey",
                "set both to 0, or tensors.colour to rgb",
            )
        if self.mixes and masks:
            raise ConfigError(
                "augment: mixup and cutmix are for classification, but the targets are masks", "set both to 0"
            )

    def __repr__(self) -> str:
        """All settings that take part, for the record."""
        return "; ".join(" ".join(repr(step).split()) for step in (*self.steps, *self.mixes)) or "none"


class CropToOwnSize(v2.RandomResizedCrop):
    """A random part of a picture, stretched to the picture's own size."""

    def __init__(self, smallest: float) -> None:
        super().__init__(size=1, scale=(smallest, 1.0))

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """Draw the part."""
        self.size = list(flat_inputs[0].shape[-2:])
        return super().make_params(flat_inputs)  # type: ignore[no-any-return]

    def extra_repr(self) -> str:
        """The settings, without the size of the last picture."""
        return f"scale={self.scale}, ratio={self.ratio}"


class RoundedNoise(v2.GaussianNoise):
    """Gaussian noise on each pixel; `sigma` is a share of 255.

    torchvision cuts the noise of uint8 pictures off towards zero, which weakens it; here it is rounded.
    """

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """One picture; a mask stays."""
        if not isinstance(inpt, tv_tensors.Image):
            return inpt
        noisy = torch.randn(inpt.shape).mul_(self.sigma * 255).add_(inpt.as_subclass(torch.Tensor))
        return tv_tensors.wrap(noisy.round_().clamp_(0, 255).to(torch.uint8), like=inpt)


class RandomBlur(v2.RandomApply):
    """A Gaussian blur, now and then; torchvision's `RandomApply` does not show its probability."""

    def __init__(self, probability: float) -> None:
        super().__init__([v2.GaussianBlur(BLUR_KERNEL, BLUR_SIGMA)], p=probability)

    def extra_repr(self) -> str:
        """Probability and blur."""
        return f"p={self.p}, {self.transforms[0]}"


class RoundedMixUp(v2.MixUp):
    """torchvision's MixUp for uint8 pictures, which it takes as floats only."""

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """The pictures or the labels of a batch."""
        if inpt is params["labels"]:
            return super().transform(inpt, params)
        return super().transform(inpt.float(), params).round_().to(torch.uint8)


def _steps(config: AugmentConfig, background: int, window: tuple[int, int] | None) -> list[v2.Transform]:
    """Where things are comes first; what light and camera do to the part that is left comes after."""
    steps: list[v2.Transform] = []
    if config.crop < 1:
        steps.append(CropToOwnSize(config.crop))
    if config.horizontal_flip:
        steps.append(v2.RandomHorizontalFlip(config.horizontal_flip))
    if config.vertical_flip:
        steps.append(v2.RandomVerticalFlip(config.vertical_flip))
    if config.rotate or config.translate or config.scale or config.shear:
        steps.append(
            v2.RandomAffine(
                degrees=config.rotate,
                translate=(config.translate, config.translate),
                scale=(1 - config.scale, 1 + config.scale),
                shear=config.shear or None,
                interpolation=v2.InterpolationMode.BILINEAR,
                fill={tv_tensors.Image: background, tv_tensors.Mask: IGNORE_INDEX},
            )
        )
    if window:
        steps.append(v2.RandomCrop(window))
    if config.brightness or config.contrast or config.saturation or config.hue:
        steps.append(v2.ColorJitter(config.brightness, config.contrast, config.saturation, config.hue))
    if config.equalize:
        steps.append(v2.RandomEqualize(config.equalize))
    if config.blur:
        steps.append(RandomBlur(config.blur))
    if config.noise:
        steps.append(RoundedNoise(sigma=config.noise))
    return steps
