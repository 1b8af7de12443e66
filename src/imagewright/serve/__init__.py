"""Answer over HTTP with a bundle: no torch, nothing that trains."""

import os

# Else ONNX Runtime (1.29 and later) marks the machine with a number and tells its maker the model's name and hash.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
