"""The temperature that makes probabilities honest."""

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp

RANGE = (0.05, 20.0)
"""Temperatures that are looked at; a model that wants one beyond is not one to calibrate."""


def fit_temperature(logits: NDArray[np.float32], targets: NDArray[np.integer]) -> float:
    """Find the temperature with the least negative log-likelihood (Guo et al. 2017, section 4.2).

    A model that makes no mistake on val would want a temperature of zero, and be sure of everything. So its targets
    are those of Platt (1999, section 2.2): of n answers that are all right, the next one is right with a probability
    of (n + 1) / (n + 2), and what is missing from 1 is spread over the other classes.

    Args:
        logits: N × C.
        targets: N class indices.

    Returns:
        The temperature, rounded to six digits, within `RANGE`.
    """
    logits = logits.astype(np.float64)
    count, classes = logits.shape
    own = np.take_along_axis(logits, targets[:, np.newaxis].astype(np.int64), axis=1)[:, 0]
    right = (count + 1) / (count + 2)
    expected = right * own + (1 - right) * (logits.sum(axis=1) - own) / (classes - 1)

    def loss(log_temperature: float) -> float:
        scale = np.exp(-log_temperature)
        return float(np.mean(logsumexp(logits * scale, axis=1) - expected * scale))

    found = minimize_scalar(loss, bounds=np.log(RANGE), method="bounded", options={"xatol": 1e-6})
    return round(float(np.exp(found.x)), 6)
