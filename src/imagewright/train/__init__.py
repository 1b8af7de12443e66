"""Stage `train`: one trial of an experiment."""

# First of all: makes torchvision importable, on which lightning and torchmetrics lean.
import imagewright.models  # noqa: F401
