"""What a picture looks like in a few numbers: for the log of predictions, and to see whether the world has changed."""

import numpy as np
from numpy.typing import NDArray


def image_features(image: NDArray[np.uint8]) -> dict[str, float]:
    """Describe a picture in the form in which the model sees it.

    Args:
        image: height × width × channels, uint8.

    Returns:
        `brightness` and `contrast`: mean and standard deviation of the grey values, 0 to 1; `sharpness`: variance of
        their Laplacian (Pech-Pacheco et al. 2000, doi:10.1109/ICPR.2000.903548); `colourfulness`: mean distance of the
        channels from grey, 0 for a grey picture.
    """
    pixels = image.astype(np.float32) / 255
    grey = pixels.mean(axis=2)
    inner = grey[1:-1, 1:-1]
    laplacian = grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:] - 4 * inner
    return {
        "brightness": float(grey.mean()),
        "contrast": float(grey.std()),
        "sharpness": float(laplacian.var()) if laplacian.size else 0.0,
        "colourfulness": float(np.abs(pixels - grey[:, :, np.newaxis]).mean()),
    }
