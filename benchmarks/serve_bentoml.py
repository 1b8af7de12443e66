"""An exported classifier behind BentoML, as its documentation shows it; without its log."""

import os
from pathlib import Path
from typing import Any

import bentoml
import numpy as np

from imagewright.imaging import load_image
from imagewright.serve.model import Model, open_served


@bentoml.service(workers=1, logging={"access": {"enabled": False}}, metrics={"enabled": False})
class Classifier:
    """A picture at a time."""

    def __init__(self) -> None:
        self._served = open_served(Path(os.environ["EXPORTED"]), os.environ["RUNTIME"], ungated=True)
        self._model = Model(self._served, threads=1)

    @bentoml.api
    def predict(self, file: Path) -> dict[str, Any]:
        image = load_image(file.read_bytes(), self._served.input)
        output = self._model.answer(image[np.newaxis])[0]
        best = int(output.argmax())
        return {
            "label": self._served.classes[best],
            "confidence": float(output[best]),
            "probabilities": dict(zip(self._served.classes, output.tolist(), strict=True)),
        }
