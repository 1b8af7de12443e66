"""`config/{model,loss,optimizer,augment,train}/`: everything that one trial of an experiment is made of."""

from typing import Annotated, Any, Literal

from pydantic import Field

from imagewright.config.section import Section

Probability = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Metric = Literal["accuracy", "macro_f1", "dice", "miou"]


class ModelConfig(Section):
    """One file of `config/model/`."""

    library: Literal["timm", "monai"]
    name: str
    arguments: dict[str, Any] = {}


class CrossEntropy(Section):
    """Cross entropy over classes, per image or per pixel."""

    name: Literal["cross_entropy"]
    label_smoothing: Probability = 0.0


class DiceCrossEntropy(Section):
    """The sum of a soft Dice loss and cross entropy, for segmentation."""

    name: Literal["dice_ce"]
    dice_weight: NotNegative = 1.0
    ce_weight: NotNegative = 1.0
    include_background: bool = False


LossConfig = Annotated[CrossEntropy | DiceCrossEntropy, Field(discriminator="name")]


class Schedule(Section):
    """How the learning rate moves over the steps of a training."""

    name: Literal["constant", "cosine"] = "cosine"
    warmup_epochs: NotNegative = 0.0
    final_ratio: Probability = 0.01


class OptimizerConfig(Section):
    """One file of `config/optimizer/`."""

    name: str
    lr: Positive
    weight_decay: NotNegative = 0.0
    arguments: dict[str, Any] = {}
    schedule: Schedule = Schedule()


class AugmentConfig(Section):
    """One file of `config/augment/`: what happens to a training image on the fly."""

    horizontal_flip: Probability = 0.0
    vertical_flip: Probability = 0.0
    rotate: Annotated[float, Field(ge=0, le=180)] = 0.0
    translate: Annotated[float, Field(ge=0, lt=1)] = 0.0
    scale: Annotated[float, Field(ge=0, lt=1)] = 0.0
    brightness: NotNegative = 0.0
    contrast: NotNegative = 0.0


class TrainConfig(Section):
    """One file of `config/train/`."""

    epochs: Annotated[int, Field(ge=1)] = 10
    batch_size: Annotated[int, Field(ge=1)] = 64
    seed: Annotated[int, Field(ge=0)] = 0
    threads: Annotated[int, Field(ge=1)] = 2
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "32-true"
    gradient_clip: Positive | None = None
    monitor: Metric = "accuracy"
    patience: Annotated[int, Field(ge=1)] | None = None


class TrainSection(Section):
    """What `train` reads for one trial."""

    model: ModelConfig
    loss: LossConfig
    optimizer: OptimizerConfig
    augment: AugmentConfig
    train: TrainConfig
