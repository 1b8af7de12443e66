"""Stage `select`: the best trial on val, measured afresh, with the temperature that makes it honest."""

# First of all: makes torchvision importable, on which timm leans.
import imagewright.models  # noqa: F401
