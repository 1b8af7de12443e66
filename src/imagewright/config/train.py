"""`config/{model,loss,optimizer,augment,train}/`: everything that one trial of an experiment is made of."""

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from imagewright.config.section import Section

Probability = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Metric = Literal["accuracy", "macro_f1", "dice", "miou"]
ClassWeights = Literal["none", "balanced"]


class Window(Section):
    """The piece of a large picture that a segmentation network sees at a time."""

    height: Annotated[int, Field(ge=8)]
    width: Annotated[int, Field(ge=8)]
    overlap: Annotated[float, Field(ge=0, lt=1)] = 0.25


class ModelConfig(Section):
    """One file of `config/model/`."""

    library: Literal["timm", "monai", "smp"]
    name: str
    arguments: dict[str, Any] = {}
    pretrained: Annotated[str, Field(pattern=r"^(none|hub|file:.+|package:.+)$")] = "none"
    window: Window | None = None


class CrossEntropy(Section):
    """Cross entropy over classes, per image or per pixel."""

    name: Literal["cross_entropy"]
    label_smoothing: Probability = 0.0
    class_weights: ClassWeights = "none"


class Focal(Section):
    """Focal loss: cross entropy that looks away from what is easy."""

    name: Literal["focal"]
    gamma: NotNegative = 2.0
    class_weights: ClassWeights = "none"


class DiceCrossEntropy(Section):
    """The sum of a soft Dice loss and cross entropy, for segmentation."""

    name: Literal["dice_ce"]
    dice_weight: NotNegative = 1.0
    ce_weight: NotNegative = 1.0
    include_background: bool = False
    class_weights: ClassWeights = "none"


class DiceFocal(Section):
    """The sum of a soft Dice loss and a focal loss, for segmentation."""

    name: Literal["dice_focal"]
    dice_weight: NotNegative = 1.0
    focal_weight: NotNegative = 1.0
    gamma: NotNegative = 2.0
    include_background: bool = False
    class_weights: ClassWeights = "none"


LossConfig = Annotated[CrossEntropy | Focal | DiceCrossEntropy | DiceFocal, Field(discriminator="name")]


class Schedule(Section):
    """How the learning rate moves over the steps of a training."""

    name: Literal["constant", "cosine", "poly", "tanh", "step", "multistep"] = "cosine"
    warmup_epochs: NotNegative = 0.0
    final_ratio: Probability = 0.01
    decay_epochs: list[Positive] = []
    decay_rate: Probability = 0.1

    @model_validator(mode="after")
    def _has_milestones(self) -> "Schedule":
        if self.name in ("step", "multistep") and not self.decay_epochs:
            raise ValueError(f"the schedule {self.name} needs decay_epochs")
        if self.name == "step" and len(self.decay_epochs) > 1:
            raise ValueError("the schedule step takes one value in decay_epochs; several are for multistep")
        return self


class OptimizerConfig(Section):
    """One file of `config/optimizer/`."""

    name: str
    lr: Positive
    weight_decay: NotNegative = 0.0
    layer_decay: Annotated[float, Field(gt=0, le=1)] | None = None
    arguments: dict[str, Any] = {}
    schedule: Schedule = Schedule()


class AugmentConfig(Section):
    """One file of `config/augment/`: what happens to a training image on the fly."""

    crop: Annotated[float, Field(gt=0, le=1)] = 1.0
    horizontal_flip: Probability = 0.0
    vertical_flip: Probability = 0.0
    rotate: Annotated[float, Field(ge=0, le=180)] = 0.0
    translate: Annotated[float, Field(ge=0, lt=1)] = 0.0
    scale: Annotated[float, Field(ge=0, lt=1)] = 0.0
    shear: Annotated[float, Field(ge=0, lt=90)] = 0.0
    brightness: NotNegative = 0.0
    contrast: NotNegative = 0.0
    saturation: NotNegative = 0.0
    hue: Annotated[float, Field(ge=0, le=0.5)] = 0.0
    equalize: Probability = 0.0
    blur: Probability = 0.0
    noise: Annotated[float, Field(ge=0, lt=1)] = 0.0
    mixup: NotNegative = 0.0
    cutmix: NotNegative = 0.0


class TrainConfig(Section):
    """One file of `config/train/`."""

    epochs: Annotated[int, Field(ge=1)] = 10
    batch_size: Annotated[int, Field(ge=1)] = 64
    accumulate: Annotated[int, Field(ge=1)] = 1
    seed: Annotated[int, Field(ge=0)] = 0
    threads: Annotated[int, Field(ge=1)] = 2
    processes: Annotated[int, Field(ge=1)] = 1
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "32-true"
    channels_last: bool = False
    gradient_clip: Positive | None = None
    ema: Annotated[float, Field(gt=0, lt=1)] | None = None
    freeze: Annotated[int, Field(ge=0)] | Literal["all"] = 0
    keep_statistics: bool = False
    sampling: Literal["shuffled", "balanced"] = "shuffled"
    monitor: Metric = "accuracy"
    patience: Annotated[int, Field(ge=1)] | None = None
    checkpoint_steps: Annotated[int, Field(ge=1)] = 200
    workers: Annotated[int, Field(ge=0)] = 0
    profile: bool = False

    @model_validator(mode="after")
    def _divides(self) -> "TrainConfig":
        if self.batch_size % (self.processes * self.accumulate):
            raise ValueError("batch_size has to be a multiple of processes × accumulate")
        return self


class TrainSection(Section):
    """What `train` reads for one trial."""

    model: ModelConfig
    loss: LossConfig
    optimizer: OptimizerConfig
    augment: AugmentConfig
    train: TrainConfig
