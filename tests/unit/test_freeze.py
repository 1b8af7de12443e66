"""Freezing: a head that knows nothing yet changes nothing but itself."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from imagewright.errors import ModelError
from imagewright.models.build import ModelSpec, build_backbone
from imagewright.models.freeze import Freezer, head_of

SPECS = {
    "timm": ModelSpec("timm", "resnet10t", 3, 4, "classification", 32, 32),
    "smp": ModelSpec("smp", "Unet", 3, 4, "segmentation", 32, 32, {"encoder_name": "resnet18"}),
    "monai": ModelSpec("monai", "FlexibleUNet", 3, 4, "segmentation", 32, 32, {"backbone": "resnet10"}),
    "windowed": ModelSpec(
        "smp", "Unet", 3, 4, "segmentation", 48, 48, {"encoder_name": "resnet18"},
        {"height": 32, "width": 32, "overlap": 0.25},
    ),
}  # fmt: skip
HEADS = {
    "timm": ["fc"],
    "smp": ["decoder", "segmentation_head"],
    "monai": ["decoder", "segmentation_head"],
    "windowed": ["network.decoder", "network.segmentation_head"],
}


def train_a_step(backbone: nn.Module) -> None:
    optimizer = torch.optim.AdamW(backbone.parameters(), lr=0.1, weight_decay=0.1)
    backbone(torch.rand(4, 3, 32, 32)).square().mean().backward()
    optimizer.step()


def changed(backbone: nn.Module, before: dict[str, Tensor]) -> set[str]:
    return {name for name, value in backbone.state_dict().items() if not torch.equal(value, before[name])}


def is_head(name: str, kind: str) -> bool:
    return any(name.startswith(f"{part}.") for part in HEADS[kind])


@pytest.mark.parametrize("kind", SPECS)
def test_only_the_head_moves_and_then_everything(kind: str) -> None:
    backbone = build_backbone(SPECS[kind])
    freezer = Freezer(backbone, SPECS[kind])
    freezer.freeze()
    assert freezer.frozen
    before = {name: value.clone() for name, value in backbone.state_dict().items()}
    for _ in range(2):
        # As the loop does it: validation in between switches the modes.
        backbone.eval()
        freezer.set_training_mode()
        train_a_step(backbone)
    # Running statistics of batch norms count, too: they are buffers, to which no gradient goes.
    moved = changed(backbone, before)
    assert moved and all(is_head(name, kind) for name in moved)

    freezer.unfreeze()
    freezer.set_training_mode()
    assert not freezer.frozen and all(parameter.requires_grad for parameter in backbone.parameters())
    assert all(module.training for module in backbone.modules())
    before = {name: value.clone() for name, value in backbone.state_dict().items()}
    train_a_step(backbone)
    assert any(not is_head(name, kind) and "running_mean" in name for name in changed(backbone, before))


def test_dropout_before_the_head_stays_awake() -> None:
    spec = ModelSpec("timm", "resnet10t", 3, 4, "classification", 32, 32, {"drop_rate": 0.5})
    freezer = Freezer(build_backbone(spec), spec)
    freezer.freeze()
    freezer.set_training_mode()
    images = torch.rand(2, 3, 32, 32)
    assert not torch.equal(freezer.backbone(images), freezer.backbone(images))


def test_what_was_still_before_stays_still() -> None:
    backbone: Any = build_backbone(SPECS["timm"])
    backbone.conv1.requires_grad_(False)
    freezer = Freezer(backbone, SPECS["timm"])
    freezer.freeze()
    freezer.unfreeze()
    assert not any(parameter.requires_grad for parameter in backbone.conv1.parameters())


@pytest.mark.parametrize(
    "spec",
    [
        ModelSpec(
            "monai", "UNet", 1, 3, "segmentation", 16, 16, {"spatial_dims": 2, "channels": [4, 8], "strides": [2]}
        ),
    ],
    ids=["no-encoder"],
)
def test_a_network_in_one_piece_has_no_head(spec: ModelSpec) -> None:
    with pytest.raises(ModelError, match="has no head to train alone") as caught:
        head_of(build_backbone(spec), spec)
    assert len(str(caught.value).splitlines()) == 2


def test_statistics_are_kept_although_weights_move() -> None:
    backbone = build_backbone(SPECS["timm"])
    freezer = Freezer(backbone, SPECS["timm"], keep_statistics=True)
    before = {name: value.clone() for name, value in backbone.state_dict().items()}
    backbone.eval()
    freezer.set_training_mode()
    train_a_step(backbone)
    moved = changed(backbone, before)
    assert "conv1.0.weight" in moved and "bn1.weight" in moved
    assert not {name for name in moved if "running" in name or "num_batches" in name}
