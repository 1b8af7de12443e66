"""Stage `gate`: the test split through every runtime of the exported folder; it judges, and may stop the run."""

# First of all: makes torchvision importable, on which timm leans.
import imagewright.models  # noqa: F401
