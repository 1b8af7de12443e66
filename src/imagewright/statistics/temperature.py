"""The temperature that makes probabilities honest."""

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp

RANGE = (0.05, 20.0)
"""Temperatures that are looked at; a model that wants one beyond is not one to calibrate."""


def fit_temperature(logits: NDArray[np.float32], targets: NDArray[np.integer]) -> float:
    """Find the temperature with the least negative log-likelihood (Guo et al. 2017, section 4.2).

    Args:
        logits: N × C.
        targets: N class indices.

    Returns:
        The temperature, rounded to six digits, within `RANGE`.
    """
    logits = logits.astype(np.float64)
    own = np.take_along_axis(logits, targets[:, np.newaxis].astype(np.int64), axis=1)[:, 0]

    def loss(log_temperature: float) -> float:
        scale = np.exp(-log_temperature)
        return float(np.mean(logsumexp(logits * scale, axis=1) - own * scale))

    found = minimize_scalar(loss, bounds=np.log(RANGE), method="bounded", options={"xatol": 1e-6})
    return round(float(np.exp(found.x)), 6)
