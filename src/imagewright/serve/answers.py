"""What is said of a picture: labels and probabilities, or a mask in the form that was asked for."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from imagewright.colours import overlaid
from imagewright.imaging import encode_png
from imagewright.serve.batching import Answer
from imagewright.serve.model import Served

OPACITY = 0.5
TOP = 5


def of_class(served: Served, answer: Answer, name: str, top: int, threshold: float | None) -> dict[str, Any]:
    """The label of a picture.

    Args:
        served: names the classes.
        answer: what the model said.
        name: of the picture.
        top: how many of the most probable classes to list.
        threshold: `unsure` where the best probability is below it.
    """
    order = np.argsort(-answer.probabilities, kind="stable")
    best = int(order[0])
    confidence = float(answer.probabilities[best])
    return {
        "file": name,
        "label": served.classes[best],
        "name": served.names[best],
        "confidence": confidence,
        "unsure": threshold is not None and confidence < threshold,
        "top": [
            {"label": served.classes[index], "probability": float(answer.probabilities[index])} for index in order[:top]
        ],
        "probabilities": dict(zip(served.classes, map(float, answer.probabilities), strict=True)),
    }


def of_mask(served: Served, answer: Answer, name: str) -> dict[str, Any]:
    """The areas of the classes in a picture, as shares of its pixels, and how sure the model is on average."""
    mask = class_indices(answer)
    counts = np.bincount(mask.ravel(), minlength=len(served.classes))
    return {
        "file": name,
        "height": mask.shape[0],
        "width": mask.shape[1],
        "areas": dict(zip(served.classes, (float(count) for count in counts / mask.size), strict=True)),
        "confidence": float(answer.probabilities.max(axis=-1).mean()),
    }


def class_indices(answer: Answer) -> NDArray[np.uint8]:
    """The most probable class of each pixel, height × width, uint8."""
    indices: NDArray[np.uint8] = answer.probabilities.argmax(axis=-1).astype(np.uint8)
    return indices


def mask_png(answer: Answer) -> bytes:
    """The class indices as a grey PNG."""
    return encode_png(class_indices(answer))


def overlay_png(answer: Answer) -> bytes:
    """The picture as the model saw it, with each class but the first in a colour of its own."""
    return encode_png(overlaid(answer.image, class_indices(answer), OPACITY))
