"""Stage `export`: the selected model as a complete, servable folder of ONNX and JSON."""

# First of all: makes torchvision importable, on which timm leans.
import imagewright.models  # noqa: F401
