"""Make `import torchvision` work beside a CPU-only torch.

torchvision's wheels are built for CUDA. Beside a torch without CUDA their native library does not load, and then the
Python part fails on import, since it describes operators that nobody declared. Declaring the two operators is enough
for all that is pure PyTorch (transforms, feature extraction). The native operators themselves (nms, decoding) stay
absent. Where torchvision imports as it is, this does nothing.
"""

import sys

import torch

_library: torch.library.Library | None = None
"""Kept for as long as the process lives: the declarations go when the library object goes."""


def _make_importable() -> None:
    global _library
    try:
        import torchvision
    except RuntimeError as error:
        if "torchvision::nms" not in str(error):
            raise
        for name in [name for name in sys.modules if name == "torchvision" or name.startswith("torchvision.")]:
            del sys.modules[name]
        _library = torch.library.Library("torchvision", "DEF")
        for operator in ("nms", "qnms"):
            _library.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        import torchvision  # noqa: F401


_make_importable()
