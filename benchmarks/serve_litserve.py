"""An exported classifier behind LitServe, as its documentation shows it: it batches without waiting."""

import sys
from pathlib import Path
from typing import Any

import litserve
import numpy as np
from fastapi import Request

from imagewright.imaging import load_image
from imagewright.serve.model import Model, open_served


class Classifier(litserve.LitAPI):
    """Pictures that wait at the same moment go through the runtime together."""

    def __init__(self, folder: Path, runtime: str, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._folder, self._runtime = folder, runtime

    def setup(self, device: str) -> None:
        self._served = open_served(self._folder, self._runtime, ungated=True)
        self._model = Model(self._served, threads=1)

    def decode_request(self, request: Request) -> Any:
        return load_image(request["file"].file.read(), self._served.input)

    def batch(self, inputs: list[Any]) -> Any:
        return np.stack(inputs)

    def predict(self, images: Any) -> Any:
        return self._model.answer(images)

    def unbatch(self, output: Any) -> Any:
        return list(output)

    def encode_response(self, output: Any) -> dict[str, Any]:
        best = int(output.argmax())
        return {
            "label": self._served.classes[best],
            "confidence": float(output[best]),
            "probabilities": dict(zip(self._served.classes, output.tolist(), strict=True)),
        }


if __name__ == "__main__":
    api = Classifier(Path(sys.argv[1]), sys.argv[2], max_batch_size=int(sys.argv[4]), batch_timeout=0.0)
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=1)
    server.run(host="127.0.0.1", port=int(sys.argv[3]), log_level="warning", generate_client_file=False)
