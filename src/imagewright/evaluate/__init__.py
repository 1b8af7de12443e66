"""Stage `evaluate`: the selected model on the test split, once; it measures and never judges."""

# First of all: makes torchvision importable, on which timm leans.
import imagewright.models  # noqa: F401
