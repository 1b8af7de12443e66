"""From a folder of labelled images to a model you can trust."""

import os

# Else ONNX Runtime (1.29 and later) marks the machine with a number and tells its maker the model's name and hash.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

__version__ = "0.1.0"
