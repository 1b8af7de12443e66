"""From a folder of labelled images to a model you can trust."""

__version__ = "0.1.0"
